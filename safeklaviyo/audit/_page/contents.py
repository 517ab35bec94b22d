"""What the report page says: the verdict, what to do first, and the rows of its tables, masked or not."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo.audit._page.charts import columns_of, share_of
from safeklaviyo.audit._page.words import FIRST_STEPS, MEANINGS, TITLES
from safeklaviyo.identity import mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LENGTH: Final = 64
"""The characters of one field that the page shows."""
_MONTHS: Final = 36
_MONTH: Final = re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])(?=-)", re.ASCII)
_MAKERS: Final = 10
_PAIRS: Final = frozenset({"A2", "A3", "A5", "A7"})
"""The rules that find two profiles of one person."""


def contents_of(audit: Mapping[str, Any], *, reveal: bool, shown: int) -> dict[str, Any]:
    """Return the variables of the template.

    Args:
        audit: The audit, as `Audit.to_dict` returns it.
        reveal: Show identifiers and names in full.
        shown: How many findings of one rule are shown.
    """
    findings = cast("Sequence[Mapping[str, Any]]", audit["findings"])
    rules = [_rule(rule, findings, reveal=reveal, shown=shown) for rule in audit["rules"]]
    most = max((rule["found"] for rule in rules if rule["checked"]), default=0)
    for rule in rules:
        rule["share"] = share_of(rule["found"], most) if rule["checked"] else 0
    extra = len({profile for finding in findings for profile in _extra(finding)})
    since, undated = _since(findings)
    return {
        "audit": audit,
        "made_at": str(audit["made_at"])[:16].replace("T", " "),
        "rules": rules,
        "found": sum(rule["found"] or 0 for rule in rules),
        "new": sum(rule["new"] or 0 for rule in rules),
        "extra": extra,
        "extra_percent": 100 * extra / audit["profiles"] if audit["profiles"] else 0,
        "not_checked": [rule for rule in rules if not rule["checked"]],
        "steps": _steps(audit, rules),
        "since": since,
        "undated": undated,
        "makers": _makers(findings),
        "reveal": reveal,
    }


def _rule(
    rule: Mapping[str, Any], findings: Sequence[Mapping[str, Any]], *, reveal: bool, shown: int
) -> dict[str, Any]:
    number = rule["rule"]
    mine = [finding for finding in findings if finding["rule"] == number]
    # New findings first: a person who reads the page each week wants to see those.
    mine.sort(key=lambda finding: not finding["new"])
    rows = [_row(finding, reveal=reveal) for finding in mine[:shown]]
    return {
        **rule,
        "title": TITLES.get(number, rule["title"]),
        "meaning": MEANINGS.get(number, ""),
        "rows": rows,
        "left_out": len(mine) - len(rows),
    }


def _row(finding: Mapping[str, Any], *, reveal: bool) -> dict[str, Any]:
    return {
        "new": finding["new"],
        "safe": finding["safe"],
        "why": _short(finding["why"], 200),
        "why_not": _short(finding["why_not"], 200),
        "planned": finding["merge"] is not None,
        "profiles": [_profile(profile, finding["merge"], reveal=reveal) for profile in finding["profiles"]],
        "binding": _binding(finding["binding"], reveal=reveal) if finding["binding"] else None,
    }


def _profile(profile: Mapping[str, Any], merge: Mapping[str, Any] | None, *, reveal: bool) -> dict[str, Any]:
    name = profile["name"]
    roles = {merge["source"]: "goes", merge["into"]: "stays"} if merge else {}
    return {
        "role": roles.get(profile["profile_id"]),
        "id": _short(profile["profile_id"]),
        "line": profile["line"],
        "external_id": _shown(profile["external_id"], reveal=reveal),
        "email": _shown(profile["email"], reveal=reveal),
        "phone_number": _shown(profile["phone_number"], reveal=reveal),
        # A name is masked as a whole, because its length and initials are enough to recognise a neighbour.
        "name": _short(name) if reveal or not name else "***",
        "consent": _short(str(profile["consent"]).replace("_", " ")),
        "sms": _short(str(profile["sms"]).replace("_", " ")),
        "created": _day(profile["created"]),
        "last_event": _day(profile["last_event"]),
    }


def _binding(binding: Mapping[str, Any], *, reveal: bool) -> dict[str, Any]:
    return {
        "id": _short(binding["profile_id"]),
        "external_id": _shown(binding["external_id"], reveal=reveal),
        "email": _shown(binding["email"], reveal=reveal),
        "former": [_shown(former, reveal=reveal) for former in binding["former"][:3]],
    }


def _shown(identifier: str | None, *, reveal: bool) -> str | None:
    return _short(identifier) if reveal or not identifier else mask(identifier)


def _short(text: str | None, length: int = _LENGTH) -> str | None:
    return text if text is None or len(text) <= length else f"{text[: length - 1]}…"


def _day(moment: object) -> str | None:
    return str(moment)[:10] if moment else None


def _extra(finding: Mapping[str, Any]) -> list[object]:
    """Return the superfluous profile of a finding, in a list; an empty list if the finding has none."""
    if finding["rule"] not in _PAIRS:
        return []
    # Without a plan, either of the two may be the one too many; the last one is counted, so that a pair counts once.
    source = finding["merge"] and finding["merge"]["source"]
    pair = [profile["profile_id"] or profile["line"] for profile in finding["profiles"]]
    return [source or pair[-1]] if pair else []


def _since(findings: Sequence[Mapping[str, Any]]) -> tuple[Any, int]:
    """Return the chart of the months in which the younger profiles were created, and how many pairs have none."""
    months: Counter[str] = Counter()
    undated = 0
    for finding in findings:
        if finding["rule"] in _PAIRS:
            # The younger of the two made the pair: until then the customer had one profile.
            created = [month[0] for profile in finding["profiles"] if (month := _MONTH.match(str(profile["created"])))]
            if created:
                months[max(created)] += 1
            else:
                undated += 1
    # A column for each month, even without duplicates: the chart shows since when there are any.
    span = _months(min(months), max(months))[-_MONTHS:] if months else []
    return columns_of([(month, months[month]) for month in span]), undated


def _months(first: str, last: str) -> list[str]:
    year, month = int(first[:4]), int(first[5:7])
    end = int(last[:4]) * 12 + int(last[5:7])
    return [f"{(at - 1) // 12:04}-{(at - 1) % 12 + 1:02}" for at in range(year * 12 + month, end + 1)]


def _makers(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what made the younger profiles of the pairs, most frequent first; empty if the data do not show it."""
    made: Counter[str] = Counter()
    for finding in findings:
        if finding["rule"] in _PAIRS and finding["profiles"]:
            youngest = max(finding["profiles"], key=lambda profile: str(profile["created"] or ""))
            if youngest.get("made_by"):
                made[str(youngest["made_by"])] += 1
    most = max(made.values(), default=0)
    return [
        {"name": _short(name), "number": number, "share": share_of(number, most)}
        for name, number in made.most_common(_MAKERS)
    ]


def _steps(audit: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the steps that a reader should take, the most urgent first."""
    found = {rule["rule"] for rule in rules if rule["found"]}
    steps = [step for needed, step in FIRST_STEPS if needed & found]
    merges = audit["plan"]["merges"]
    if merges:
        steps.append(
            f"{merges} merges are proven by the data and cost no consent. Write the plan with --plan, read it, and run "
            "safeklaviyo repair: it is a dry run until you say --apply. A merge cannot be undone."
        )
    if any(not rule["checked"] for rule in rules):
        steps.append("Some kinds could not be looked for. The section below says which, and what would show them.")
    return steps or ["Nothing has to be done. Run the audit again in a week, with this one as its baseline."]
