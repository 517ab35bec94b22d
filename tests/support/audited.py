"""An audit as `to_json` writes it, made by a seed, for the tests of the report page."""

from __future__ import annotations

import random
from typing import Any

TITLES = {
    "A1": "id without email",
    "A2": "one email in two spellings",
    "A3": "one external id twice",
    "A4": "one phone twice",
    "A5": "live profile on a former address",
    "A6": "map and Klaviyo disagree",
    "A7": "email-only twin of a customer",
    "A8": "plus and dot variants",
    "A9": "placeholder identifiers",
}
NAMES = ("Ada Lovelace", "Zoë Ångström", "李雷", "محمد", "Nikolaos Papadopoulos-Konstantinidis", None)
CONSENTS = ("subscribed", "unsubscribed", "suppressed", "never_subscribed", "unknown")
MAKERS = ("Shopify", "Checkout backend (Python)", "Website form", "Loyalty import")


def audited(
    *,
    number: int = 60,
    text: str | None = None,
    baseline: bool = True,
    not_checked: tuple[str, ...] = ("A6",),
    makers: bool = True,
    seed: int = 1,
) -> dict[str, Any]:
    """Return an audit.

    Args:
        number: How many findings.
        text: Put into every field that comes from outside.
        not_checked: The rules that the data could not show.
    """
    source = random.Random(seed)
    kinds = [rule for rule in TITLES if rule not in not_checked]
    findings = [_finding(source, source.choice(kinds), text, makers=makers) for _ in range(number)]
    rules = [_rule(rule, findings, checked=rule not in not_checked) for rule in TITLES]
    return {
        "kind": "safeklaviyo audit",
        "version": 1,
        "made_at": "2026-11-29T05:00:00+00:00",
        "source": "export",
        "account": text or "AbC123",
        "profiles": 12_345,
        "unreadable": 3,
        "bindings": 9_000,
        "rules": rules,
        "has_baseline": baseline,
        "gone": 4 if baseline else None,
        "findings": findings,
        "plan": {
            "merges": sum(finding["merge"] is not None for finding in findings),
            "left_out": {text or "a consent may be lost": 4},
        },
    }


def _rule(rule: str, findings: list[dict[str, Any]], *, checked: bool) -> dict[str, Any]:
    mine = [finding for finding in findings if finding["rule"] == rule]
    counts = (len(mine), sum(each["new"] for each in mine), sum(each["merge"] is not None for each in mine))
    found, new, planned = counts if checked else (None, None, None)
    because = "" if checked else "there is no identity map to compare with"
    numbers = {"found": found, "new": new, "planned": planned}
    return {"rule": rule, "title": TITLES[rule], "checked": checked, "because": because, **numbers}


def _finding(source: random.Random, rule: str, text: str | None, *, makers: bool) -> dict[str, Any]:
    pair = rule in {"A2", "A3", "A4", "A5", "A7", "A8"}
    profiles = [_profile(source, text, makers=makers) for _ in range(2 if pair else 1)]
    merge = None
    if rule in {"A2", "A3"} and source.random() < 0.7:
        merge = {"source": profiles[1]["profile_id"], "into": profiles[0]["profile_id"]}
    binding = None
    if rule in {"A5", "A6", "A7"}:
        former = [text or f"old{source.randrange(99)}@shop.test"]
        binding = {**{name: profiles[0][name] for name in ("external_id", "email", "profile_id")}, "former": former}
    return {
        "key": f"{source.getrandbits(64):016x}",
        "rule": rule,
        "new": source.random() < 0.3,
        "safe": merge is not None,
        "why": text or "both profiles show the same identifier",
        "why_not": "" if merge else text or "a consent of the second profile may be lost",
        "merge": merge,
        "profiles": profiles,
        "binding": binding,
    }


def _profile(source: random.Random, text: str | None, *, makers: bool) -> dict[str, Any]:
    number = source.randrange(10_000)
    month = source.choices(range(1, 24), weights=range(1, 24))[0]
    return {
        "profile_id": text or f"01HX{source.getrandbits(80):020X}",
        "line": source.randrange(2, 12_000),
        "external_id": text or source.choice((str(number), None)),
        "email": text or f"ada.lovelace{number}@shop.test",
        "phone_number": text or source.choice((f"+4930{number:07}", None)),
        "name": text or source.choice(NAMES),
        "consent": text or source.choice(CONSENTS),
        "sms": text or source.choice(CONSENTS),
        "created": text or f"{2025 + month // 12}-{month % 12 + 1:02}-{source.randrange(1, 28):02}T10:00:00+00:00",
        "last_event": text or source.choice(("2026-11-20T08:00:00+00:00", None)),
        "made_by": text or (source.choice(MAKERS) if makers else None),
    }
