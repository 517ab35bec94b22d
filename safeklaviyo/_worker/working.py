"""The worker's threads: some drain lanes, one looks for lanes, one does the chores, and the main one watches over them.

Decided here: when the worker is well. The worker is stuck if a thread has made no step for longer than any step takes.
Then the worker no longer reports to systemd's watchdog, its health file says ``stuck``, and the supervisor restarts the
process. A restart loses no row: a row is deleted only when Klaviyo has accepted it, and a lane that was held becomes
free when its token expires.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from threading import Event, Lock, Thread, current_thread
from typing import TYPE_CHECKING, Final

from safeklaviyo._worker.agenda import Agenda
from safeklaviyo._worker.chores import Chores
from safeklaviyo._worker.health import EVERY, Health

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._flows.outbox.drain import Done
    from safeklaviyo._worker.contract import Client
    from safeklaviyo._worker.health import HealthFile
    from safeklaviyo._worker.systemd import Notifier

RUN: Final = 1000
"""Rows that a thread delivers of one lane before it takes the next lane: as many as one of Klaviyo's jobs holds."""
REPORT_EVERY: Final = 60.0
AWAY: Final = 2.0
"""Seconds that the next look waits longer after a look that failed."""

STOPPED: Final = 0
NOT_IN_TIME: Final = 3

logger = logging.getLogger("safeklaviyo.worker")


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that a worker goes by.

    Attributes:
        threads: How many lanes are drained at once.
        sweep: Seconds between two looks at all lanes. After a drain was killed, its lane is free when the token
            expires, and taken by the next look.
        grace: Seconds that the runs in hand may take once the worker is told to stop.
        stuck: Seconds without a step after which a thread counts as stuck.
    """

    threads: int = 4
    sweep: float = 0.5
    grace: float = 40.0
    stuck: float = 300.0


class Tally:
    """What the threads did. Safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failing: dict[int | None, str] = {}
        self.delivered = 0
        self.dropped = 0
        self.failures = 0

    @property
    def error(self) -> str | None:
        """The class of a failure, until the same lane is drained or has no more rows; None without one."""
        with self._lock:
            return next(iter(self._failing.values()), None)

    def add(self, lane: int, done: Done) -> None:
        """Count the rows that a drain has delivered, and those that it has dropped."""
        with self._lock:
            self.delivered += done.delivered
            self.dropped += done.dropped
            self._failing.pop(lane, None)

    def fail(self, lane: int | None, error: Exception) -> None:
        """Count a failure of a lane, or of the look at all lanes (`lane` is None)."""
        # The class alone is kept: an error's message may name a customer.
        with self._lock:
            self.failures += 1
            self._failing[lane] = type(error).__name__

    def look(self, lanes: list[int]) -> None:
        """Note which lanes have rows that may go. A lane without any fails no more: another worker has drained it."""
        with self._lock:
            self._failing = {lane: error for lane, error in self._failing.items() if lane in lanes}


class Worker:
    """Drains the outbox of a client until it is told to stop.

    Args:
        client: The client with the outbox.
        limits: The numbers that the worker goes by.
        notifier: Tells systemd how the worker is.
        health: The health file; None writes none.
        listen: Runs in a thread of its own and waits for committed rows. It is called with a function that wakes lanes,
            and with an event that ends it. None leaves the waking to the looks at all lanes.
    """

    def __init__(
        self,
        client: Client,
        limits: Limits,
        notifier: Notifier,
        health: HealthFile | None = None,
        listen: Callable[[Callable[[tuple[int, ...]], None], Event], None] | None = None,
    ) -> None:
        self._client = client
        self._limits = limits
        self._notifier = notifier
        self._health = health
        self._listen = listen
        self._stopping = Event()
        self._agenda = Agenda(time.monotonic)
        self._tally = Tally()
        self._steps: dict[str, float] = {}
        self._written_at = self._reported_at = time.monotonic()
        self._reported = self._reported_dropped = 0

    def stop(self) -> None:
        """Tell the worker to stop, once the runs in hand are done. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> int:
        """Work until told to stop.

        Returns:
            `STOPPED`, or `NOT_IN_TIME` if a run in hand took longer than `Limits.grace`. The rows that it has not
            delivered stay in the outbox.
        """
        # Step 1: make the threads. The main one keeps to signals, systemd and the health file.
        drainers = [self._thread(f"drain-{each}", self._drain) for each in range(self._limits.threads)]
        others = [self._thread("sweep", self._sweep), self._thread("chores", self._do_chores)]
        if self._listen is not None:
            others.append(self._thread("listen", self._listen, self._agenda.wake, self._stopping))
        # Step 2: the health file first. A probe that came before the first row would find none.
        self._tell("working")
        for each in (*drainers, *others):
            each.start()
        self._notifier.ready()
        logger.info("draining the outbox with %d threads", self._limits.threads)
        # Step 3: watch, twice in each interval of the watchdog, so that one late turn is not taken for a stuck worker.
        try:
            while not self._stopping.wait(min(1.0, (self._notifier.watchdog or 2.0) / 2)):
                self._watch()
            return self._end(drainers)
        finally:
            if self._health is not None:
                self._health.remove()

    def _thread(self, name: str, target: Callable[..., None], *arguments: object) -> Thread:
        # Daemons: a thread that waits for Klaviyo must not keep the process from ending.
        return Thread(target=target, args=arguments, name=name, daemon=True)

    def _end(self, drainers: list[Thread]) -> int:
        """Wait for the runs in hand, at most for the grace."""
        self._notifier.stopping(self._limits.grace + 5)
        logger.info("stopping: the runs in hand may take %.0f more seconds", self._limits.grace)
        self._agenda.close()
        give_up_at = time.monotonic() + self._limits.grace
        while any(each.is_alive() for each in drainers) and time.monotonic() < give_up_at:
            next(each for each in drainers if each.is_alive()).join(0.5)
            self._notifier.alive()
            self._tell("stopping")
        self._report()
        if not any(each.is_alive() for each in drainers):
            logger.info("stopped")
            return STOPPED
        logger.warning("stopped before a run in hand was done; what it has not delivered stays in the outbox")
        return NOT_IN_TIME

    def _watch(self) -> None:
        """Tell systemd and the health file how the worker is."""
        now = time.monotonic()
        # A copy, because other threads add to the dictionary.
        late = [name for name, at in list(self._steps.items()) if now - at > self._limits.stuck]
        if late:
            if now - self._written_at >= EVERY:
                logger.error("no progress for %.0f seconds in: %s", self._limits.stuck, ", ".join(sorted(late)))
                self._tell("stuck")
            return
        self._notifier.alive()
        if now - self._written_at >= EVERY:
            self._tell("failing" if self._tally.error else "working")
        if now - self._reported_at >= REPORT_EVERY:
            self._report()

    def _tell(self, state: str) -> None:
        self._written_at = time.monotonic()
        tally = self._tally
        health = Health(state, tally.delivered, tally.dropped, tally.failures, tally.error)
        self._notifier.status(f"{state}; {tally.delivered} rows delivered, {tally.failures} failures")
        if self._health is not None:
            try:
                self._health.write(health)
            except OSError as exc:
                # A probe notices, because the file gets too old.
                logger.warning("the health file cannot be written: %s", type(exc).__name__)

    def _report(self) -> None:
        """Log what was done since the last time, if anything was."""
        self._reported_at = time.monotonic()
        delivered = self._tally.delivered
        if delivered != self._reported:
            logger.info("delivered %d rows since the last such line", delivered - self._reported)
        self._reported = delivered
        # No row of an erased customer is kept (H23), so that this line and the health file alone tell of it.
        dropped = self._tally.dropped
        if dropped != self._reported_dropped:
            logger.info(
                "dropped %d rows of erased customers since the last such line", dropped - self._reported_dropped
            )
        self._reported_dropped = dropped

    def _drain(self) -> None:
        """Drain one lane after the other. Each draining thread runs this."""
        name = current_thread().name
        while True:
            self._steps.pop(name, None)  # waiting for work is no lack of progress
            lane = self._agenda.take()
            if lane is None or self._stopping.is_set():
                return
            self._steps[name] = time.monotonic()
            try:
                done = self._client.drain(lane, RUN, self._step)
            except Exception as exc:  # noqa: BLE001 - the other lanes go on, and this one comes again
                self._tally.fail(lane, exc)
                pause = self._agenda.failed(lane)
                logger.warning("lane %d could not be drained, next try in %.0f s: %s", lane, pause, _shown(exc))
            else:
                self._tally.add(lane, done)
                self._agenda.done(lane, has_more=done.delivered >= RUN)

    def _step(self) -> bool:
        """Note that this thread makes progress, and tell whether to stop. A drain calls this before each row."""
        self._steps[current_thread().name] = time.monotonic()
        return self._stopping.is_set()

    def _sweep(self) -> None:
        """Look at all lanes again and again: rows become due, and a notification may be lost."""
        while not self._stopping.is_set():
            self._steps["sweep"] = time.monotonic()
            self._look()
            self._stopping.wait(self._limits.sweep)

    def _look(self) -> None:
        try:
            lanes = list(self._client.lanes())
        except Exception as exc:  # noqa: BLE001 - the outbox may be back at the next look
            self._tally.fail(None, exc)
            logger.warning("the outbox cannot be looked at, and will be again: %s", _shown(exc))
            self._stopping.wait(AWAY)
            return
        self._tally.look(lanes)
        # In a random order, so that workers on several hosts begin at different lanes.
        random.shuffle(lanes)
        self._agenda.wake(lanes)

    def _do_chores(self) -> None:
        chores = Chores(self._client, time.monotonic, random.random())  # noqa: S311 - to spread, not to hide
        while not self._stopping.wait(1.0):
            chores.run_due()


def _shown(error: Exception) -> str:
    """Return an error's class, and the message of this package's own errors, which name no customer (P8)."""
    from safeklaviyo.errors import SafeKlaviyoError  # noqa: PLC0415

    return f"{type(error).__name__}: {error}" if isinstance(error, SafeKlaviyoError) else type(error).__name__
