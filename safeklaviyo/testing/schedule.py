"""Schedules: every interleaving of some operations, every crash point, every lost answer, each run deterministic.

An operation is a flow, so it can be driven one effect at a time. `explore` drives several of them over one simulator
and one store, tries every order in which their visible effects can happen, and calls a check wherever all has come to
rest. States that were reached before are not explored again, which changes nothing: a flow's future depends only on
what it was told, and that is part of the state. Where two schedules part, the world is copied, with its operations
(`points`).
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
from safeklaviyo.testing.points import Point
from safeklaviyo.testing.simulator import ConnectionLost, ConnectionRefused, KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeklaviyo._effects import Effect, Flow
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing.simulator import Answer

Kind: TypeAlias = Literal["step", "crash", "lose", "refuse", "delay", "land", "expire", "apply"]
Move: TypeAlias = tuple[Kind, int]
"""What happens next: a flow's effect is carried out; its process dies; its request is carried out and the answer lost;
its request is lost; its request is given up and still on its way; such a request lands; time passes until every lease
has expired; one of Klaviyo's queued tasks is done."""

_HEADERS = {"authorization": "Klaviyo-API-Key pk_schedule", "revision": "2026-10-15"}
_LONG = 3600.0


class VirtualClock:
    """A clock that stands until it is told to move."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in unix seconds."""
        return self.now


@dataclass(slots=True)
class Actor:
    """One operation in one process.

    Attributes:
        name: For reports.
        point: How far it has come.
        has_crashed: Whether its process has died.
        wake: Until when it sleeps, if it does.
        told: A digest of all it was told so far.
    """

    name: str
    point: Point
    has_crashed: bool = False
    wake: float | None = None
    told: bytes = b""
    ids: int = 0
    slept_at: int = -1

    @property
    def effect(self) -> Effect[object] | None:
        """What it asks for next; None once it has ended."""
        return None if self.has_crashed else self.point.effect

    @property
    def ended(self) -> Literal["running", "returned", "raised", "crashed"]:
        """How it ended."""
        return "crashed" if self.has_crashed else self.point.ended

    @property
    def result(self) -> Any:
        """What it returned."""
        return self.point.result

    @property
    def error(self) -> SafeKlaviyoError | None:
        """What it raised."""
        return self.point.error


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may go wrong in one run.

    Attributes:
        crashes: Processes that die.
        losses: Requests or answers that are lost.
        delays: Writes whose answer is not waited for any longer, and which land at any time later.
        expiries: Times that every lease expires, whoever still holds it.
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
        store: The map that all share.
        moves: What has happened so far.
        changes: How often the map may have changed for those who wait.
        late: Requests that have not landed yet.
        digest: One of the pretend Klaviyo; empty once it may have changed.
    """

    simulator: KlaviyoSimulator
    store: MemoryStore
    clock: VirtualClock
    actors: list[Actor] = field(default_factory=list[Actor])
    moves: list[Move] = field(default_factory=list[Move])
    changes: int = 0
    late: list[Request] = field(default_factory=list[Request])
    digest: bytes = b""

    def add(self, name: str, begin: Callable[[], Flow[Any]]) -> None:
        """Let an operation take part, in a process of its own.

        Args:
            begin: Starts the operation from the beginning, in a process of its own; the same each time. One that shares
                its process cannot be started twice, so a world that it is in is not to be copied.
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
        """Return a world that goes its own way from here, where all is as it is here."""
        simulator, store, clock = copy.deepcopy((self.simulator, self.store, self.clock))
        twin = replace(
            self, simulator=simulator, store=store, clock=clock, actors=[], moves=[*self.moves], late=[*self.late]
        )
        twin.actors.extend(replace(actor) for actor in self.actors)
        return twin

    def options(self, limits: Limits) -> Iterator[Move]:
        """Yield everything that could happen next."""
        awake = [index for index, actor in enumerate(self.actors) if self._can_move(actor)]
        if not awake:  # everybody sleeps: the first to wake goes on
            sleeping = [(a.wake, i) for i, a in enumerate(self.actors) if a.ended == "running" and a.wake is not None]
            awake = [min(sleeping)[1]] if sleeping else []
        spent: Counter[Kind] = Counter(kind for kind, _ in self.moves)
        for index in awake:
            yield from self._options_of(index, spent, limits)
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
            if spent["delay"] < limits.delays and actor.effect.request.repeat is not Repeat.READ:
                yield "delay", index
        if spent["crash"] < limits.crashes and actor.told:
            yield "crash", index

    def move(self, move: Move) -> None:
        """Let something happen."""
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
        """Let a request that is late land. Those that have not done so when all has come to rest are the check's."""
        self._arrive(self.late.pop(index))

    def state(self) -> bytes:
        """Return a digest of all that the future depends on."""
        actors = tuple((actor.ended, actor.told, actor.wake is not None) for actor in self.actors)
        spent = tuple(kind for kind, _ in self.moves if kind not in {"step", "land", "apply"})
        return _digest(self.shared(), (actors, len(spent), sorted(spent)))

    def shared(self) -> bytes:
        """Return a digest of all that is not some operation's own: Klaviyo, the map, the time, what is on its way."""
        if not self.digest:
            self.digest = _digest(b"", self.simulator._account)  # noqa: SLF001 - its whole state, without its journal
        return _digest(self.digest, (self.store._accounts, self.clock.now, self.late))  # noqa: SLF001 - likewise

    def _leases(self) -> bool:
        return any(account.leases for account in self.store._accounts.values())  # noqa: SLF001 - as above

    def _can_move(self, actor: Actor) -> bool:
        # Whoever waits for somebody looks again once the map has changed; otherwise it would see the same.
        return actor.ended == "running" and (actor.wake is None or actor.slept_at < self.changes)

    def _carry_out(self, actor: Actor, kind: Kind = "step") -> None:
        effect = actor.effect
        assert effect is not None
        if isinstance(effect, Sleep):
            # Time passes only where nobody can do anything else: whoever is woken by a change is woken at once.
            if actor.slept_at == self.changes:
                self.clock.now = max(self.clock.now, actor.wake or 0.0)
            actor.wake = None
            self._tell(actor, None)
            return
        try:
            result = self._result(effect, kind)
        except SafeKlaviyoError as error:
            actor.told = _digest(actor.told, type(error).__name__)
            self._go_on(actor, error)
        else:
            self._tell(actor, result)

    def _result(self, effect: Effect[object], kind: Kind) -> object:
        if isinstance(effect, Send):
            return self._send(effect, kind)
        assert isinstance(effect, StoreEffect)
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

    def _tell(self, actor: Actor, result: object) -> None:
        actor.told = _digest(actor.told, result)
        self._go_on(actor, result)

    def _go_on(self, actor: Actor, *told: object) -> None:
        """Tell an operation something, and answer what nobody else can see until it asks for what others can."""
        for each in told:
            actor.point = actor.point.after(each)
        while (answer := self._ambient(actor)) is not None:
            actor.point = actor.point.after(answer)
        if isinstance(actor.effect, Sleep):
            actor.wake, actor.slept_at = self.clock.now + actor.effect.seconds, self.changes

    def _ambient(self, actor: Actor) -> object:
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
        endings: Different states in which all had come to rest.
    """

    states: int
    endings: int


def explore(scene: Callable[[], World], check: Callable[[World], None], limits: Limits = Limits()) -> Explored:
    """Try everything that can happen, and check every end.

    Args:
        scene: Builds the world.
        check: Raises if the end is wrong. It may use the world up.

    Raises:
        AssertionError: An end is wrong; the note says what had happened.
    """
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
            if others := options[1:]:
                branches.append((world.copy(), others))
            world.move(options[0])
        if not branches:
            return Explored(len(seen), endings)
        here, others = branches[-1]
        move = others.pop()
        world = here.copy() if others else branches.pop()[0]
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


def _digest(before: bytes, told: object) -> bytes:
    # How long a lease still lives decides how long somebody sleeps, and nothing else but whether it has expired.
    if isinstance(told, Found) and told.lease is not None:
        told = replace(told, now=0.0, lease=replace(told.lease, remaining=float(told.lease.remaining > 0)))
    return blake2b(before + pickle.dumps(told), digest_size=16).digest()
