"""How processes that answer from what they remember (`layered`) say so to those who change who a customer is.

Decided here: what a cache says, in a note of the shared map, before it remembers anything, and how long that counts.
Whoever is about to change, merge or erase a customer takes the lease, after which no process can begin to remember that
customer, reads the note, and waits for as long as any process may still remember what was before. So no cached answer
outlives a change, whichever process made it.

The note is the time at which somebody said so last, by the map's own clock. Every cache writes the same, so that none
can hide another; it is said anew while somebody caches, and counts no more a day after the last has.
"""

from __future__ import annotations

from typing import Final

NOTE: Final = "remembered"
"""The name of the note."""

LONGEST: Final = 2.0
"""For how long a process may remember an answer at most, in seconds, and so for how long a change waits."""

SAID_FOR: Final = 60.0
"""For how long a cache may remember answers without saying so again, in seconds."""

_BELIEVED: Final = 86_400.0
"""For how long a note counts, in seconds: longer than any clock is put right by, or any process stands still."""


def may_until(note: str | None, now: float) -> float:
    """Return until when answers may be remembered; 0.0 if it has to be said first."""
    at = _read(note)
    return at + SAID_FOR if at is not None and at <= now < at + SAID_FOR / 2 else 0.0


def outlast(note: str | None, now: float) -> float:
    """Return for how long some process may still remember what was so before now, in seconds."""
    at = _read(note)
    is_over = note is None or (at is not None and now >= at + _BELIEVED)
    return 0.0 if is_over else LONGEST


def _read(note: str | None) -> float | None:
    """Return when it was said; None if it was not, or nobody can tell when."""
    try:
        return None if note is None else float(note)
    except ValueError:
        return None
