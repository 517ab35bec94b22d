"""The revision that answers, and what it has (Klaviyo's *API versioning and deprecation policy*, and its changelog)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo.testing.simulator.readings import Readings

LATEST = "2026-10-15"
OPT_OUT = "x-klaviyo-revision-fall-forward-opt-out"

RETIRED = (
    "2022-10-17", "2022-12-15", "2023-01-24", "2023-02-22", "2023-06-15", "2023-07-15", "2023-08-15", "2023-09-15",
    "2023-10-15", "2023-12-15", "2024-02-15", "2024-05-15", "2024-06-15", "2024-07-15", "2024-10-15",
)  # fmt: skip
LIVE = ("2025-01-15", "2025-04-15", "2025-07-15", "2025-10-15", "2026-01-15", "2026-04-15", "2026-07-15", LATEST)

_KNOWN = frozenset({*RETIRED, *LIVE})


def effective(headers: Mapping[str, str], readings: Readings) -> str:
    """Return the revision that answers: a retired one falls forward to the oldest that is live.

    Raises:
        Refusal: 410 for a retired one that opts out; 400 for a missing or unknown one, by the readings.
    """
    revision = headers.get("revision")
    if revision is None:
        if readings.revision_missing == 400:
            raise Refusal(400, "A revision header is required.")
        return LATEST
    stable = revision.removesuffix(".pre")
    if stable not in _KNOWN:
        if readings.revision_unknown == 400:
            raise Refusal(400, "The revision is not a valid revision.")
        return LATEST
    if stable in LIVE:
        return stable
    if headers.get(OPT_OUT) == "1":
        raise Refusal(410)
    return LIVE[0]


def retirement(revision: str) -> str | None:
    """Return when a deprecated revision is retired, two years after its day; None for one that is not deprecated."""
    year, rest = int(revision[:4]), revision[4:]
    return f"{year + 2}{rest}" if year < int(LATEST[:4]) else None


def event_meta_beside_attributes(revision: str) -> bool:
    """Whether an event's profile has its ``meta`` beside its attributes, not among them."""
    # Dates in this form are in order as texts, here and below.
    return revision >= "2026-10-15"


def has_backfill(revision: str) -> bool:
    """Whether an event may be a backfill."""
    return revision >= "2026-04-15"


def profiles_take_anonymous_id(revision: str) -> bool:
    """Whether profile writes accept an anonymous id."""
    return revision <= "2025-07-15"
