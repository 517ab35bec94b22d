"""The regular work of a worker: finishing interrupted changes, rechecking changes, and warning of what is wrong.

Decided here: how often. No chore holds up the draining, and no failure of a chore ends the worker. Several workers may
do the same chores. That costs some reads and does no harm, because each step takes its leases.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeklaviyo._worker.contract import Client

RECOVER_EVERY: Final = 180.0
RECHECK_EVERY: Final = 3600.0
COUNT_EVERY: Final = 60.0
COMPARE_EVERY: Final = 180.0
WARN_EVERY: Final = 3600.0
RECOVERED_AT_ONCE: Final = 100

logger = logging.getLogger("safeklaviyo.worker")


@dataclass
class _Chore:
    """Work that is done every so many seconds."""

    do: Callable[[], None]
    every: float
    due: float


class Chores:
    """The chores of one worker, for one thread.

    Args:
        client: The client.
        clock: Returns seconds, and never goes back.
        spread: From 0 to 1, another number for each worker. It delays the first time of each chore, so that workers
            that start together do not all ask at once.
    """

    def __init__(self, client: Client, clock: Callable[[], float], spread: float) -> None:
        self._client = client
        self._clock = clock
        now = clock()
        self._warned_at: float | None = None
        # Only until Klaviyo has answered: the key's account stays the same.
        self._comparing = _Chore(self._compare, COMPARE_EVERY, now)
        self._chores = [
            _Chore(self._recover, RECOVER_EVERY, now + spread * 10),
            _Chore(self._recheck, RECHECK_EVERY, now + 60 + spread * RECHECK_EVERY / 4),
            _Chore(self._count, COUNT_EVERY, now),
            self._comparing,
        ]

    def run_due(self) -> None:
        """Do the chores that are due."""
        for chore in self._due():
            try:
                chore.do()
            except Exception as exc:  # noqa: BLE001 - the worker goes on, and the chore comes again
                name = chore.do.__name__.strip("_")
                logger.warning("%s failed, and will be done again: %s", name, type(exc).__name__)
            # Counted from now: a process that slept for hours must not do all the missed times at once.
            chore.due = self._clock() + chore.every

    def _due(self) -> Iterator[_Chore]:
        return (each for each in self._chores if each.due <= self._clock())

    def _recover(self) -> None:
        recovered = self._client.recover(RECOVERED_AT_ONCE)
        if recovered:
            logger.info("finished %d interrupted changes of customers", len(recovered))

    def _recheck(self) -> None:
        found = Counter(each.finding for each in self._client.recheck())
        for finding, number in sorted(found.items()):
            logger.warning("rechecking changed customers found %d: %s", number, finding)

    def _compare(self) -> None:
        other = self._client.other_account()
        self._comparing.every = math.inf
        if other is not None:
            logger.error(
                "the key is of the account %s, which is not this worker's: start it with that account, or with the key"
                " of its own", other,
            )  # fmt: skip

    def _count(self) -> None:
        dead = self._client.count_dead()
        now = self._clock()
        if not dead or (self._warned_at is not None and now - self._warned_at < WARN_EVERY):
            return
        self._warned_at = now
        logger.warning("%d rows of the outbox are dead and will not be sent; see `safeklaviyo outbox list`", dead)
