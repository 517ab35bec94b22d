"""What the tests of consent share: what Klaviyo was asked for, who can receive, and what customers do themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo._api.consent import MOST_WITHDRAWN, read_event_names
from safeklaviyo._input.consents import Agreement
from safeklaviyo._rules.consent import (
    Withdrawal,
    all_channels,
    channel_consent,
    in_the_way,
    is_given,
    is_withdrawn,
    lets_pass,
    withdrawals,
    withdrawn_in,
)
from safeklaviyo.testing import Readings
from support.scenes import by_hand, expire, ours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import Entry, KlaviyoSimulator
    from safeklaviyo.testing.simulator import Profile

__all__ = [
    "MOST_WITHDRAWN",
    "Agreement",
    "Withdrawal",
    "all_channels",
    "channel_consent",
    "in_the_way",
    "is_given",
    "is_withdrawn",
    "lets_pass",
    "read_event_names",
    "withdrawals",
    "withdrawn_in",
]

SUBSCRIBED, UNSUBSCRIBED, NEVER = "SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"
REQUESTS = {
    "bulk_subscribe_profiles",
    "bulk_unsubscribe_profiles",
    "bulk_suppress_profiles",
    "bulk_unsuppress_profiles",
}
"""The requests that ask for a change of consent."""

READINGS = {
    "usual": Readings(),
    "no row by id": Readings(subscribe_by_id=400),
    "withdrawals create nothing": Readings(withdrawal_creates=False),
    "spam reports unsubscribe": Readings(spam_report_unsubscribes=True),
    "merged ids live on": Readings(merged_id="alias"),
    "addresses keep their case": Readings(email_case="kept"),
}
"""The answers to what Klaviyo has not confirmed that matter here."""


def requests(simulator: KlaviyoSimulator) -> list[Entry]:
    """Return the requests of the library that ask for a change of consent, in order."""
    return [entry for entry in ours(simulator) if entry.endpoint in REQUESTS]


def rows(simulator: KlaviyoSimulator) -> list[dict[str, Any]]:
    """Return the rows of those requests: the id, if there is one, and the attributes in one dictionary."""
    found: list[dict[str, Any]] = []
    for entry in requests(simulator):
        for row in entry.body["data"]["attributes"]["profiles"]["data"]:
            named = {"id": row["id"]} if "id" in row else {}
            found.append(named | row["attributes"])
    return found


def named(simulator: KlaviyoSimulator) -> list[set[str]]:
    """Return what each of those rows names a person by."""
    return [{"id", "email", "phone_number"} & row.keys() for row in rows(simulator)]


def addressed(simulator: KlaviyoSimulator) -> list[str]:
    """Return the addresses and numbers that those rows carry, sorted."""
    return sorted(row[kind] for row in rows(simulator) for kind in ("email", "phone_number") if kind in row)


def receiving(profile: Profile) -> set[str]:
    """Return the channels by which Klaviyo would send to a profile."""
    channels = {name for name, consent in profile.consents.items() if consent.status == SUBSCRIBED}
    channels.discard("email.marketing")
    # Email goes to whoever is not suppressed, subscribed or not.
    if profile.email is not None and all(each.list_id is not None for each in profile.suppressions):
        channels.add("email.marketing")
    return channels


def can_receive(simulator: KlaviyoSimulator, among: Iterable[str] | None = None) -> list[str | None]:
    """Return the addresses of the profiles to which Klaviyo would send email, sorted.

    Args:
        among: The addresses that are looked at; None for all.
    """
    wanted = None if among is None else {each.lower() for each in among}
    return sorted(
        str(profile.email)
        for profile in simulator.profiles
        if "email.marketing" in receiving(profile) and (wanted is None or str(profile.email).lower() in wanted)
    )


def subscribed(simulator: KlaviyoSimulator) -> list[str | None]:
    """Return the addresses of the profiles that show consent to email, sorted."""
    return sorted(str(profile.email) for profile in simulator.profiles if profile.consent == SUBSCRIBED)


def leaves(simulator: KlaviyoSimulator, email: str, metric: str = "Unsubscribed from Email Marketing") -> None:
    """Let a customer use the link of a mail: the consent goes at once, and Klaviyo records its own event."""
    simulator.withdraw(email=email)
    if simulator.readings.consent_events:
        return
    attributes = {
        "properties": {},
        "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": email}}},
    }
    assert 202 == by_hand(simulator, "POST", "/api/events", {"type": "event", "attributes": attributes}).status
    simulator.step(len(simulator.pending) - 1)


def come_to_rest(simulator: KlaviyoSimulator, k: Klaviyo) -> list[str]:
    """Let Klaviyo do what it has accepted and let `recover` look at it, until no lease is left; return its words."""
    said: list[str] = []
    for _ in range(6):
        simulator.drain()
        expire(simulator)
        said += [each.status for each in k.recover()]
    return said
