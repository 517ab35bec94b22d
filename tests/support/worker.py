"""The parts of the worker, and a client that stands in for a real one where only the worker is looked at."""

from threading import Event

from safeklaviyo._flows.outbox.drain import Done
from safeklaviyo._worker import agenda, chores, health, systemd, waking, working
from safeklaviyo._worker.agenda import Agenda
from safeklaviyo._worker.chores import Chores
from safeklaviyo._worker.contract import OfKlaviyo
from safeklaviyo._worker.health import Health, HealthFile, check
from safeklaviyo._worker.starting import warn_at_start
from safeklaviyo._worker.systemd import Notifier
from safeklaviyo._worker.waking import Listener
from safeklaviyo._worker.working import NOT_IN_TIME, STOPPED, Limits, Worker

__all__ = [
    "NOT_IN_TIME", "STOPPED", "Agenda", "Chores", "Health", "HealthFile", "Limits", "Listener", "Notifier", "OfKlaviyo",
    "PretendClient", "Worker", "agenda", "check", "chores", "health", "systemd", "waking", "warn_at_start", "working",
]  # fmt: skip


class PretendClient:
    """A client whose outbox has lanes with so many rows each, and fails as a test wants."""

    def __init__(self, lanes=(), failures=(), dead=0):
        self.lanes_left = dict(lanes)
        self.failures = list(failures)
        self.dead = dead
        self.drained = []
        self.done = Event()
        self.may_end = Event()
        self.may_end.set()
        self.in_hand = Event()
        self.calls = []
        self.found = []
        self.dropped = {}
        self.recovered = []
        self.others = []

    def lanes(self):
        return tuple(lane for lane, left in self.lanes_left.items() if left)

    def drain(self, lane, limit, is_stopped):
        self.in_hand.set()
        if self.failures:
            raise self.failures.pop(0)
        self.may_end.wait(10)
        delivered = 0
        while delivered < min(limit, self.lanes_left[lane]) and not (delivered and is_stopped()):
            delivered += 1
        self.lanes_left[lane] -= delivered
        self.drained.append((lane, delivered))
        if not any(self.lanes_left.values()):
            self.done.set()
        return Done(delivered, 0, self.dropped.pop(lane, 0))

    def count_dead(self):
        self.calls.append("count")
        return self.dead

    def other_account(self):
        self.calls.append("compare")
        other = self.others.pop(0) if self.others else None
        if isinstance(other, Exception):
            raise other
        return other

    def recover(self, limit):
        self.calls.append("recover")
        if self.failures:
            raise self.failures.pop(0)
        return self.recovered

    def recheck(self):
        self.calls.append("recheck")
        return self.found
