"""One pretend account: its profiles, its events, what is queued, and what its search shows.

Decided here: ids, the queue, and how late the search is. Not here: requests and answers (`profile_endpoints`,
`event_endpoints`, `legacy_endpoints`), which profile a write changes (`matching`).
"""

from __future__ import annotations

import secrets
from bisect import insort
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from safeklaviyo.testing.simulator.records import Event, Job, MailingList, Metric, Profile, PushToken, Record, Segment
from safeklaviyo.testing.simulator.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.testing.simulator.clocks import Clock
    from safeklaviyo.testing.simulator.readings import Readings

Lag: TypeAlias = float | Literal["until_drain"]

_OWN_METRICS = frozenset({
    "Marked Email as Spam", "Merged Profile", "Subscribed to Back in Stock", "Subscribed to Email Marketing",
    "Subscribed to SMS Marketing", "Unsubscribed from Email Marketing", "Unsubscribed from SMS Marketing",
})  # fmt: skip
"""The metrics that Klaviyo makes itself."""
# Without I, L, O and U, as in Klaviyo's ids.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Task(Protocol):
    """A request that Klaviyo has accepted and carries out later."""

    def apply(self, account: Account) -> None:
        """Carry it out."""
        ...


@dataclass(frozen=True, slots=True)
class Queued(Record):
    """One accepted task.

    Attributes:
        due: When it is done at the latest, in unix seconds; infinity until the queue is drained.
        endpoint: The endpoint that accepted it.
    """

    due: float
    endpoint: str
    task: Task


def _due(queued: Queued) -> float:
    return queued.due


@dataclass(frozen=True, slots=True)
class _Pending(Record):
    """A profile, or None for a deleted one, that the search shows from a later time on."""

    due: float
    profile_id: str
    profile: Profile | None


class Account:
    """The state of a pretend Klaviyo.

    Attributes:
        live: The profiles as they are.
        shown: The profiles as the search shows them; the same table where it does not lag.
        anonymous: The id of the profile that each device or browser is known as.
        merged: The id of the profile that each merged profile became part of, by its former id.
        recorded: The keys of the recorded events (profile, metric, unique id or second).
        metrics: By name.
        push_tokens: By id.
        lists: By id.
        segments: By id.
        members: When each profile joined each list or segment, by its id and the profile's.
        opt_ins: What each address still has to confirm, by address.
        jobs: The jobs that can be asked for, by id.
        subscribed_at: When each profile was last in a subscription job, by its id.
    """

    def __init__(
        self, account_id: str, readings: Readings, clock: Clock, *, search_lag: Lag, queue_lag: Lag, consent_lag: Lag
    ) -> None:
        self.id = account_id
        self.readings = readings
        self.clock = clock
        self.live = Table(readings)
        self.shown = self.live if search_lag == 0 else Table(readings)
        self.anonymous: dict[str, str] = {}
        self.merged: dict[str, str] = {}
        self.events: list[Event] = []
        self.dropped: list[Event] = []
        self.deduplicated: list[Event] = []
        self.recorded: set[tuple[str, str, str | int]] = set()
        self.queue: list[Queued] = []
        self.metrics: dict[str, Metric] = {}
        self.push_tokens: dict[str, PushToken] = {}
        self.lists: dict[str, MailingList] = {}
        self.lists_made = 0
        self.segments: dict[str, Segment] = {}
        self.members: dict[tuple[str, str], float] = {}
        self.opt_ins: dict[str, tuple[Task, ...]] = {}
        self.jobs: dict[str, Job] = {}
        self.subscribed_at: dict[str, float] = {}
        self.consent_lag: Lag = consent_lag
        self._search_lag: Lag = search_lag
        self._queue_lag: Lag = queue_lag
        self._pending: list[_Pending] = []
        self._serial = 0
        self._origin = "01" + "".join(secrets.choice(_ALPHABET) for _ in range(16))

    def __deepcopy__(self, memo: dict[int, Any]) -> Account:
        copied = memo[id(self)] = copy(self)
        for name, value in vars(self).items():
            # A shallow copy is enough: records are never changed in place. It is what makes schedules affordable.
            if isinstance(value, dict | list | set):
                setattr(copied, name, value.copy())
        # In one call: `shown` may be the same table as `live`, and has to be the same in the copy too.
        copied.clock, copied.live, copied.shown = deepcopy((self.clock, self.live, self.shown), memo)
        return copied

    def serial(self) -> int:
        """Return the next number."""
        self._serial += 1
        return self._serial

    def new_id(self) -> str:
        """Return an id of the form of Klaviyo's: 26 letters and digits, later ones after earlier ones.

        No account in any process has the same id. So a map that is older than the account cannot name a profile of it
        by accident.
        """
        number, tail = self.serial(), ""
        while number:
            number, digit = divmod(number, 32)
            tail = _ALPHABET[digit] + tail
        return self._origin + tail.rjust(26 - len(self._origin), "0")

    def event_id(self) -> str:
        """Return an id of the form of an event's: 11 letters and digits."""
        return self._origin[-5:] + self.new_id()[-6:]

    def record(self, event: Event) -> None:
        """Record an event, and the metric of which it is the first."""
        now = self.clock.now()
        metric = self.metrics.get(event.metric)
        if metric is None:
            origin = ("Klaviyo", "Internal") if event.metric in _OWN_METRICS else ("API", "API")
            metric = Metric(self.new_id()[-6:].replace("0", "M"), event.metric, *origin, now, now)
        if event.value is not None:
            metric = replace(metric, valued=True)
        self.metrics[event.metric] = metric
        self.events.append(event)

    def push_tokens_of(self, profile_id: str) -> list[PushToken]:
        """Return the push tokens of a profile."""
        return [each for each in self.push_tokens.values() if each.profile_id == profile_id]

    def get(self, profile_id: str) -> Profile | None:
        """Return the profile that an id leads to, now."""
        profile = self.live.get(profile_id)
        # In one reading the id of a profile that was merged away leads to the profile that it became part of.
        if profile is None and self.readings.merged_id == "alias" and profile_id in self.merged:
            return self.get(self.merged[profile_id])
        return profile

    def create(self, fill: Callable[[Profile], Profile]) -> Profile:
        """Add a profile.

        Args:
            fill: Returns the empty profile filled.
        """
        now = self.clock.now()
        empty = Profile(self.new_id(), created=now, updated=now, serial=self._serial)
        return self.put(fill(empty))

    def add(self, fill: Callable[[Profile], Profile]) -> Profile:
        """Add a profile that the search shows at once."""
        profile = self.create(fill)
        self.shown.put(profile)
        return profile

    def put(self, profile: Profile) -> Profile:
        """Store a profile as it is now."""
        # The search gets the profile as it is now, and not as it is when the search shows it.
        changed = replace(profile, updated=self.clock.now())
        self.live.put(changed)
        self._show_later(changed.id)
        return changed

    def remove(self, profile_id: str) -> None:
        """Delete a profile, and its events."""
        self.live.remove(profile_id)
        self._show_later(profile_id)

    def enqueue(self, endpoint: str, task: Task, lag: Lag | None = None) -> None:
        """Accept a task.

        Args:
            lag: When it is done; None for the account's usual lag.
        """
        due = self._due(self._queue_lag if lag is None else lag)
        # What is due at the same time is done in the order of acceptance.
        insort(self.queue, Queued(due, endpoint, task), key=_due)

    def add_list(self, name: str, opt_in_process: str) -> MailingList:
        """Add a list. The first list of every account has the same id, so that a program may name it."""
        now = self.clock.now()
        made = MailingList(f"Xy{12 + self.lists_made}Ab", name, opt_in_process, now, now)
        self.lists_made += 1
        self.lists[made.id] = made
        return made

    def join(self, group_id: str, profile_id: str) -> None:
        """Add a profile to a list or segment, if it is not there."""
        self.members.setdefault((group_id, profile_id), self.clock.now())

    def leave(self, group_id: str, profile_id: str) -> None:
        """Take a profile from a list or segment, if it is there."""
        self.members.pop((group_id, profile_id), None)

    def lists_of(self, profile_id: str) -> list[str]:
        """Return the ids of the lists that a profile is in."""
        return [group for group, member in self.members if member == profile_id and group in self.lists]

    def segments_of(self, profile_id: str) -> list[str]:
        """Return the ids of the segments that a profile is in."""
        return [group for group, member in self.members if member == profile_id and group in self.segments]

    def step(self, index: int) -> None:
        """Carry out one of the queued tasks."""
        self.queue.pop(index).task.apply(self)

    def catch_up(self) -> None:
        """Carry out what is due, and show the search what is due for it."""
        now = self.clock.now()
        while self.queue and self.queue[0].due <= now:
            self.step(0)
        while self._pending and self._pending[0].due <= now:
            self._show(self._pending.pop(0))

    def drain(self) -> None:
        """Carry out everything that was accepted, and let the search see all of it."""
        # A task may queue another one, so the queue is looked at again after each.
        while self.queue:
            self.step(0)
        for pending in self._pending:
            self._show(pending)
        self._pending.clear()

    def _due(self, lag: Lag) -> float:
        return float("inf") if lag == "until_drain" else self.clock.now() + lag

    def _show_later(self, profile_id: str) -> None:
        if self.shown is not self.live:
            self._pending.append(_Pending(self._due(self._search_lag), profile_id, self.live.get(profile_id)))

    def _show(self, pending: _Pending) -> None:
        if pending.profile is None:
            self.shown.remove(pending.profile_id)
        else:
            self.shown.put(pending.profile)
