"""Many flows about one person each, and the one request that they send together: how a batch of them is driven.

Decided here: when the requests that wait are sent, and what each flow is told of the answer.

- Each flow holds the lease of its own person. All leases are renewed right before the request leaves. If another call
  has taken a lease over, its person is left out, and decided again.
- No person waits longer than `_LONGEST_WAIT`, because other calls about them wait as long.
- What Klaviyo refuses as a whole is sent row by row, and only a row's own answer refuses it.
- A process that dies in between leaves leases with their intents, which `recover` finishes one by one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias

from safeklaviyo._api.consent import MOST_GIVEN, MOST_WITHDRAWN, put_together, taken_apart
from safeklaviyo._api.paths import SUBSCRIBE_PROFILES
from safeklaviyo._effects import Monotonic, Sleep
from safeklaviyo._flows.call import LeaseLostError
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.joining import Join
from safeklaviyo._flows.many.rows import ENDING, Batch, R, Refused, goes_singly, send_patiently
from safeklaviyo.errors import APIConnectionError, BadRequestError, SafeKlaviyoError, ServerError
from safeklaviyo.stores.calls import Each, Renew

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._effects import Effect, Flow
    from safeklaviyo._flows.call import Call

    Step: TypeAlias = Callable[[], Effect[object]]

_LONGEST_WAIT: Final = 10.0
"""Seconds that a person's request waits for those of others."""
_LONGEST_PAUSE: Final = 5.0
"""Seconds of a pause before which what waits is sent first."""
_PROBES: Final = 2
"""Rows of a refused request that go alone first: they show whether Klaviyo refuses what all have in common."""
_SILENCES: Final = 3
"""Rows after one another that get no answer, before the others are not tried."""


class _ChangedError(SafeKlaviyoError):
    """A person has left the request, which has to be built again. Never leaves this module."""


@dataclass(slots=True, eq=False)
class _Member(Generic[R]):
    """One person's flow, with what it wants to send.

    Attributes:
        row: The row of the batch.
        rows: The rows of the request that it asks for: one, or several addresses of the person.
    """

    row: R
    flow: Flow[object]
    join: Join | None = None
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def wish(self) -> Join:
        """What it wants to send."""
        assert self.join is not None
        return self.join


class _Joint(Generic[R]):
    """One request for many people.

    Attributes:
        members: Those who are in it.
        left: Those who have left it, each with the error that its flow is told.
    """

    def __init__(self, call: Call, members: list[_Member[R]]) -> None:
        self._call = call
        self._was_tried = False
        self.members = members
        self.left: list[tuple[_Member[R], SafeKlaviyoError]] = []

    def send(self) -> Flow[Response | None]:
        """Send it; None if all people have left it."""
        while self.members:
            try:
                return (yield from send_patiently(self._call, self._request(), again=self._again, before=self._renew))
            except _ChangedError:
                continue
        return None

    def _request(self) -> Request:
        return put_together(self.members[0].wish.request, [row for member in self.members for row in member.rows])

    def _again(self) -> Flow[Request]:
        """Build it again from what each person's flow reads now."""
        for member in tuple(self.members):
            yield from start_deadline(member.wish.call)
            try:
                request = yield from member.wish.again()
            except ENDING:
                raise
            except SafeKlaviyoError as error:
                self._leave(member, error)
            else:
                member.rows = taken_apart(request)[1]
        if not self.members:
            raise _ChangedError
        return self._request()

    def _renew(self, seconds: float) -> Flow[None]:
        """Renew every lease. If another call has taken a lease over, its person is not sent (P4)."""
        ttl = seconds + self._call.policy.lease
        renewals = tuple(Renew(self._call.account, member.wish.lease.token, ttl=ttl) for member in self.members)
        kept = yield from Each(self._call.account, renewals)
        for member, is_kept in zip(tuple(self.members), kept, strict=True):
            if not is_kept:
                self._leave(member, LeaseLostError())
        if not all(kept):
            raise _ChangedError
        self._was_tried = True

    def _leave(self, member: _Member[R], error: SafeKlaviyoError) -> None:
        if self._was_tried:
            # An attempt that named this person may yet be carried out.
            member.wish.call.writes.doubtful(main=True)
        self.members.remove(member)
        self.left.append((member, error))


class Together(Generic[R]):
    """The flows of one batch."""

    def __init__(self, call: Call, batch: Batch[R]) -> None:
        self._call = call
        self._batch = batch
        self._waiting: dict[str, list[_Member[R]]] = {}
        self._since = 0.0
        self._silences = 0

    def begin(self, row: R, flow: Flow[object]) -> Flow[None]:
        """Start the flow of a row, and drive it until it waits for others, or ends."""
        if self._waiting and (yield from Monotonic()) - self._since > _LONGEST_WAIT:
            yield from self.finish()
        yield from self._drive(_Member(row, flow), partial(next, flow))

    def finish(self) -> Flow[None]:
        """Send everything that waits."""
        while self._waiting:
            _, members = self._waiting.popitem()
            yield from self._send(members)

    def _drive(self, member: _Member[R], step: Step) -> Flow[None]:
        """Drive a flow until it wants to join others, or ends; and count it then."""
        try:
            while not isinstance(effect := step(), Join):
                # The flow may wait for a lease that another row of this batch holds, so the batch is sent first. No
                # lease is held for long.
                if isinstance(effect, Sleep) and (effect.reason == "lease" or effect.seconds > _LONGEST_PAUSE):
                    yield from self.finish()
                step = yield from _next_step(member.flow, effect)
        except StopIteration:
            self._batch.accepted += 1
            self._silences = 0
            return
        except SafeKlaviyoError as error:
            ended: SafeKlaviyoError = error
        else:
            yield from self._wait(member, effect)
            return
        yield from self._refuse(member, ended)

    def _refuse(self, member: _Member[R], error: SafeKlaviyoError) -> Flow[None]:
        error.operation = self._call.operation
        if isinstance(error, ENDING):
            yield from self._end(error)
            raise error
        self._silences = self._silences + 1 if _is_silence(error) else 0
        self._batch.refused.append(Refused(member.row.number, member.row.row, error))

    def _end(self, error: SafeKlaviyoError) -> Flow[None]:
        """Let the flows that wait give their leases back: the whole call ends."""
        waiting = [member for members in self._waiting.values() for member in members]
        self._waiting.clear()
        for member in waiting:
            yield from _ended(member.flow, copy.copy(error))

    def _wait(self, member: _Member[R], join: Join) -> Flow[None]:
        member.join = join
        frame, member.rows = taken_apart(join.request)
        most = MOST_GIVEN if join.request.endpoint is SUBSCRIBE_PROFILES else MOST_WITHDRAWN
        beside = self._waiting.get(frame, [])
        if sum(len(each.rows) for each in beside) + len(member.rows) > most:
            yield from self._send(self._waiting.pop(frame))
        if not self._waiting:
            self._since = yield from Monotonic()
        self._waiting.setdefault(frame, []).append(member)

    def _send(self, members: list[_Member[R]]) -> Flow[None]:
        """Send one request for these people, and let each flow go on with its answer."""
        joint = _Joint(self._call, members)
        yield from start_deadline(self._call)
        failed: SafeKlaviyoError | None = None
        response: Response | None = None
        try:
            response = yield from joint.send()
        except SafeKlaviyoError as error:
            failed = error
        for member, reason in joint.left:
            yield from self._throw(member, reason)
        if failed is not None:
            yield from self._after_failure(joint.members, failed)
            return
        for member in joint.members:
            member.wish.call.writes.applied(main=True)
            yield from self._answer(member, response)

    def _after_failure(self, members: list[_Member[R]], error: SafeKlaviyoError) -> Flow[None]:
        """Let each flow send its own request, where the answer to all says nothing about one."""
        for member in members:
            writes = member.wish.call.writes
            if error.outcome == "unknown":
                writes.doubtful(main=True)
            else:
                writes.refused(main=True)
        if not goes_singly(error):
            # The first one last, because its error ends the whole call where it is one that does.
            for member in members[:0:-1] if isinstance(error, ENDING) else ():
                yield from _ended(member.flow, copy.copy(error))
            for member in members[:1] if isinstance(error, ENDING) else members:
                yield from self._throw(member, copy.copy(error))
            return
        self._silences = 0
        joined_again = 0
        for number, member in enumerate(members):
            # Klaviyo refuses each row in this form, and the verb has another one: that goes together as well.
            is_form = isinstance(error, BadRequestError) and number >= _PROBES and joined_again == number
            if is_form or self._silences >= _SILENCES:
                yield from self._throw(member, copy.copy(error))
            else:
                yield from self._answer(member, None)
            joined_again += member.join is not None

    def _answer(self, member: _Member[R], response: Response | None) -> Flow[None]:
        yield from start_deadline(member.wish.call)
        member.join = None
        yield from self._drive(member, partial(member.flow.send, response))

    def _throw(self, member: _Member[R], error: SafeKlaviyoError) -> Flow[None]:
        yield from start_deadline(member.wish.call)
        member.join = None
        yield from self._drive(member, partial(member.flow.throw, error))


def _is_silence(error: SafeKlaviyoError) -> bool:
    return isinstance(error, APIConnectionError | ServerError)


def _next_step(flow: Flow[object], effect: Effect[object]) -> Flow[Step]:
    """Let the driver carry out an effect of a flow; return what resumes the flow with what came of it."""
    try:
        answer = yield effect
    except SafeKlaviyoError as error:
        return partial(flow.throw, error)
    return partial(flow.send, answer)


def _ended(flow: Flow[object], error: SafeKlaviyoError) -> Flow[None]:
    """Throw the error with which the whole call ends into a flow, which gives its lease back."""
    step: Step = partial(flow.throw, error)
    try:
        while not isinstance(effect := step(), Join):
            step = yield from _next_step(flow, effect)
    except (StopIteration, SafeKlaviyoError):
        return
    flow.close()
