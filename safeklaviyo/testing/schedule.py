"""Schedules: every interleaving of some operations, every crash point, every lost answer, each run deterministic.

An operation is a flow, so it can be driven one effect at a time. `explore` drives several operations over one simulator
and one store. It tries every order of their visible effects, and calls a check at each end, when no operation can go
on. A state that was reached before is not explored again. That loses nothing: a flow's future depends only on what its
frames hold (`frames`), and on the results that it is sent. Where two schedules part, the world is copied, and the
copies share the tree of each operation (`points`).
"""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from safeklaviyo._api.messages import Repeat, Request, Response
from safeklaviyo._effects import Monotonic, NewId, Now, Send, Sleep, StartDeadline
from safeklaviyo.errors import NoResponseError, NotSentError, SafeKlaviyoError
from safeklaviyo.stores.base import Found
from safeklaviyo.stores.calls import Call as StoreEffect
from safeklaviyo.stores.calls import Find, Recall, Renew
from safeklaviyo.stores.outbox.calls import OutboxCall
from safeklaviyo.testing.actors import Actor
from safeklaviyo.testing.points import Point
from safeklaviyo.testing.simulator import ConnectionLost, ConnectionRefused, KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeklaviyo._effects import Effect, Flow
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing.simulator import Answer

Kind: TypeAlias = Literal["step", "crash", "lose", "refuse", "delay", "land", "expire", "apply"]
Move: TypeAlias = tuple[Kind, int]
"""What happens next, and the index of the operation, the late request or the queued task that it happens to:

- ``step``: the operation's effect is carried out;
- ``crash``: its process dies;
- ``lose``: its request is carried out, and the answer is lost;
- ``refuse``: its request is lost;
- ``delay``: it waits no longer for the answer, and the request is still on its way;
- ``land``: such a late request arrives at Klaviyo;
- ``expire``: time passes until every lease has expired;
- ``apply``: Klaviyo does one of its queued tasks.
"""

_HEADERS = {"authorization": "Klaviyo-API-Key pk_schedule", "revision": "2026-10-15"}
_LONG = 3600.0


class VirtualClock:
    """A clock that stands until a move advances it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in unix seconds."""
        return self.now


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may go wrong in one run.

    Attributes:
        crashes: Processes that die.
        losses: Requests or answers that are lost.
        delays: Writes that their sender has given up and that land at any time later.
        expiries: Times that every lease expires, although its holder may still be at work.
        applies: Whether Klaviyo's queued tasks are done at any time, or only at the end.
    """

    crashes: int = 0
    losses: int = 0
    delays: int = 0
    expiries: int = 0
    applies: bool = False


@dataclass(slots=True)
class World:
    """Everything there is in one run.

    Attributes:
        store: The map that all operations share.
        moves: What has happened so far.
        changes: How often the map may have changed, or a lease expired: a sleeping operation may see something new.
        late: Requests that were given up and have not landed yet.
        digest: The digest of the pretend Klaviyo; empty if it may have changed since.
        merges: Operations that remember the same count as one, even if they were sent different answers before.
    """

    simulator: KlaviyoSimulator
    store: MemoryStore
    clock: VirtualClock
    actors: list[Actor] = field(default_factory=list[Actor])
    moves: list[Move] = field(default_factory=list[Move])
    changes: int = 0
    late: list[Request] = field(default_factory=list[Request])
    digest: bytes = b""
    merges: bool = True

    def add(self, name: str, begin: Callable[[], Flow[Any]]) -> None:
        """Let an operation take part, in a process of its own.

        Args:
            begin: Starts the operation from the beginning; the same operation each time. It must share nothing with
                other operations. If it does, the world must not be copied, because a copy starts it again.
        """
        actor = Actor(name, Point(begin))
        self.actors.append(actor)
        self._go_on(actor)

    def run(self, flow: Flow[Any]) -> Any:
        """Carry out one flow alone, to its end, and return what it returns."""
        alone = Actor("alone", Point(lambda: flow))
        self._go_on(alone)
        while alone.ended == "running":
            self._carry_out(alone)
        if alone.error is not None:
            raise alone.error
        return alone.result

    def copy(self) -> World:
        """Return a copy; what happens in one of the two worlds does not show in the other."""
        # In one call, so that the copied store goes by the copied clock.
        simulator, store, clock = copy.deepcopy((self.simulator, self.store, self.clock))
        copied = replace(
            self, simulator=simulator, store=store, clock=clock, actors=[], moves=[*self.moves], late=[*self.late]
        )
        copied.actors.extend(replace(actor) for actor in self.actors)
        return copied

    def options(self, limits: Limits) -> Iterator[Move]:
        """Yield everything that could happen next."""
        awake = [index for index, actor in enumerate(self.actors) if self._can_move(actor)]
        # All sleep, and none would see anything new: time passes until the first wakes.
        if not awake:
            sleeping = [(a.wake, i) for i, a in enumerate(self.actors) if a.ended == "running" and a.wake is not None]
            awake = [min(sleeping)[1]] if sleeping else []
        spent: Counter[Kind] = Counter(kind for kind, _ in self.moves)
        for index in awake:
            yield from self._options_of(index, spent, limits)
        # The end: what is still late or queued is for the check to land or drain.
        if not awake:
            return
        if spent["expire"] < limits.expiries and self._leases():
            yield "expire", 0
        for index in range(len(self.late)):
            yield "land", index
        for index in range(len(self.simulator.pending) if limits.applies else 0):
            yield "apply", index

    def _options_of(self, index: int, spent: Counter[Kind], limits: Limits) -> Iterator[Move]:
        actor = self.actors[index]
        yield "step", index
        if isinstance(actor.effect, Send):
            if spent["lose"] + spent["refuse"] < limits.losses:
                yield "lose", index
                yield "refuse", index
            # A read that lands late changes nothing.
            if spent["delay"] < limits.delays and actor.effect.request.repeat is not Repeat.READ:
                yield "delay", index
        # A process that dies before its first visible effect has changed nothing.
        if spent["crash"] < limits.crashes and actor.has_begun:
            yield "crash", index

    def move(self, move: Move) -> None:
        """Make a move."""
        kind, index = move
        self.moves.append(move)
        if kind == "expire":
            self.clock.now += _LONG
            self.changes += 1
        elif kind == "apply":
            self.simulator.step(index)
            self.digest = b""
        elif kind == "land":
            self.land(index)
        elif kind == "crash":
            self.actors[index].point.die()
            self.actors[index].has_crashed = True
        else:
            self._carry_out(self.actors[index], kind)

    def land(self, index: int) -> None:
        """Let a late request arrive at Klaviyo. The check decides about those that are late still at the end."""
        self._arrive(self.late.pop(index))

    def state(self) -> bytes:
        """Return a digest of all that the future depends on."""
        actors = tuple((actor.ended, self._past(actor), actor.wake is not None) for actor in self.actors)
        # How many faults are left is part of the state, because it limits what can still happen.
        spent = tuple(kind for kind, _ in self.moves if kind not in {"step", "land", "apply"})
        return _digest(self.shared(), (actors, len(spent), sorted(spent)))

    def _past(self, actor: Actor) -> bytes:
        """Return a digest of what an operation's future depends on: all that it was sent, or what it knows of that."""
        if not self.merges:
            return actor.past
        return b"" if actor.has_crashed else actor.point.remembers or actor.past

    def shared(self) -> bytes:
        """Return a digest of all that the operations share: Klaviyo, the map, the time, the late requests."""
        if not self.digest:
            self.digest = _digest(b"", self.simulator._account)  # noqa: SLF001 - its whole state, without its journal
        return _digest(self.digest, (self.store._accounts, self.clock.now, self.late))  # noqa: SLF001 - likewise

    def _leases(self) -> bool:
        return any(account.leases for account in self.store._accounts.values())  # noqa: SLF001 - as above

    def _can_move(self, actor: Actor) -> bool:
        # A sleeping operation waits for another one. It wakes early only if the map has changed since: without a change
        # it would see the same and sleep again.
        return actor.ended == "running" and (actor.wake is None or actor.slept_at < self.changes)

    def _carry_out(self, actor: Actor, kind: Kind = "step") -> None:
        effect = actor.effect
        assert effect is not None
        actor.has_begun = True
        if isinstance(effect, Sleep):
            # An operation that a change wakes goes on at once. Otherwise every operation sleeps, and time passes.
            if actor.slept_at == self.changes:
                self.clock.now = max(self.clock.now, actor.wake or 0.0)
            actor.wake = None
            self._resume(actor, None)
            return
        try:
            result = self._result(effect, kind)
        except SafeKlaviyoError as error:
            # The class alone: apart from their class, the errors that are thrown here differ in their texts only.
            actor.past = _digest(actor.past, type(error).__name__)
            self._go_on(actor, error)
        else:
            self._resume(actor, result)

    def _result(self, effect: Effect[object], kind: Kind) -> object:
        if isinstance(effect, Send):
            return self._send(effect, kind)
        if isinstance(effect, OutboxCall) and effect.in_passing:
            return effect.absent  # these operations have no outbox
        assert isinstance(effect, StoreEffect)
        # These change nothing that another operation waits for.
        if not isinstance(effect, Find | Recall | Renew):
            self.changes += 1
        return effect.on(self.store)

    def _send(self, effect: Send, kind: Kind) -> Response:
        request = effect.request
        if kind == "refuse":
            raise NoResponseError("the request was lost", outcome="unknown")
        if kind == "delay":
            self.late.append(request)
            raise NoResponseError("the answer took too long", outcome="unknown")
        try:
            answer = self._arrive(request)
        except ConnectionRefused as exc:
            raise NotSentError("no connection") from exc
        except ConnectionLost as exc:
            raise NoResponseError("no answer", outcome="unknown") from exc
        if kind == "lose":
            raise NoResponseError("the answer was lost", outcome="unknown")
        return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)

    def _arrive(self, request: Request) -> Answer:
        self.digest = b""
        headers = {**_HEADERS, "content-type": request.content_type}
        return self.simulator.handle(request.method, request.path, headers, request.body or b"")

    def _resume(self, actor: Actor, result: object) -> None:
        actor.past = _digest(actor.past, result)
        self._go_on(actor, result)

    def _go_on(self, actor: Actor, *results: object) -> None:
        """Send an operation a result, if there is one, and drive it to its next visible effect.

        Clocks and ids are invisible to the other operations. So they are answered at once, which spares the exploration
        the orders that differ in them alone.
        """
        for result in results:
            actor.point = actor.point.after(result)
        while (answer := self._private(actor)) is not None:
            actor.point = actor.point.after(answer)
        if isinstance(actor.effect, Sleep):
            actor.wake, actor.slept_at = self.clock.now + actor.effect.seconds, self.changes

    def _private(self, actor: Actor) -> object:
        """Return the result of an effect that no other operation can see; None for any other effect."""
        if isinstance(actor.effect, Now | Monotonic | StartDeadline):
            return self.clock.now
        if isinstance(actor.effect, NewId):
            actor.ids += 1
            return f"{actor.name}-{actor.ids}"
        return None


@dataclass(frozen=True, slots=True)
class Explored:
    """What was tried.

    Attributes:
        states: Different states that were reached.
        endings: Different states in which no operation could go on.
    """

    states: int
    endings: int


def explore(scene: Callable[[], World], check: Callable[[World], None], limits: Limits = Limits()) -> Explored:
    """Try everything that can happen, and check every end.

    Args:
        scene: Builds the world.
        check: Raises if the end is wrong. It may change the world.

    Raises:
        AssertionError: An end is wrong; the note has the moves that led to it.
    """
    # Depth first, without recursion: `branches` has the worlds in which moves are left to try, the latest last.
    seen: set[bytes] = set()
    endings = 0
    world = scene()
    branches: list[tuple[World, list[Move]]] = []
    while True:
        while (state := world.state()) not in seen:
            seen.add(state)
            options = list(world.options(limits))
            if not options:
                endings += 1
                _checked(world, check)
                break
            # Copied only where there is a choice, because copying is what an exploration spends its time on.
            if others := options[1:]:
                branches.append((world.copy(), others))
            world.move(options[0])
        if not branches:
            return Explored(len(seen), endings)
        here, others = branches[-1]
        move = others.pop()
        world = here.copy() if others else branches.pop()[0]  # the last move may have the world itself
        world.move(move)


def _checked(world: World, check: Callable[[World], None]) -> None:
    moves = [
        kind if kind in {"land", "expire", "apply"} else f"{kind} {world.actors[index].name}"
        for kind, index in world.moves
    ]
    try:
        check(world)
    except AssertionError as error:
        ends = ", ".join(f"{a.name}: {a.ended} {a.result or a.error or ''!s}" for a in world.actors)
        error.add_note(f"after: {'; '.join(moves)}\nends: {ends}")
        raise


def _digest(before: bytes, result: object) -> bytes:
    # A lease's remaining time decides how long an operation sleeps, which makes no difference here, and whether the
    # lease has expired. So states that differ in the first alone count as one.
    if isinstance(result, Found) and result.lease is not None:
        result = replace(result, now=0.0, lease=replace(result.lease, remaining=float(result.lease.remaining > 0)))
    return blake2b(before + pickle.dumps(result), digest_size=16).digest()
