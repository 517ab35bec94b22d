"""How processes that answer from what they remember (`layered`) say so to those who change who a customer is.

Decided here: what a cache says, in a note of the shared map, before it remembers anything, and how long that counts.
Whoever is about to change, merge or erase a customer takes the lease, after which no process can begin to remember that
customer, reads the note, and waits for as long as any process may still remember what was before. So no cached answer
outlives a change, whichever process made it.

The note is the time at which somebody said so last, by the map's own clock. Every cache writes the same, so that none
can hide another; it is said anew while somebody caches, and counts no more when nobody has for a while.
"""

from __future__ import annotations

from typing import Final

from safeklaviyo.errors import StoreIncompatibleError

NOTE: Final = "remembered"
"""The name of the note."""

LONGEST: Final = 2.0
"""For how long a process may remember an answer at most, in seconds, and so for how long a change waits."""

SAID_FOR: Final = 60.0
"""For how long a cache may remember answers without saying so again, in seconds."""


def may_until(note: str | None, now: float) -> float:
    """Return until when answers may be remembered; 0.0 if it has to be said first."""
    at = _read(note)
    return at + SAID_FOR if at is not None and at <= now < at + SAID_FOR / 2 else 0.0


def outlast(note: str | None, now: float) -> float:
    """Return for how long some process may still remember what was so before now, in seconds."""
    at = _read(note)
    return LONGEST if at is not None and now < at + 2 * SAID_FOR else 0.0


def _read(note: str | None) -> float | None:
    try:
        return None if note is None else float(note)
    except ValueError as exc:
        raise StoreIncompatibleError("the identity map holds a note that this version cannot read") from exc
