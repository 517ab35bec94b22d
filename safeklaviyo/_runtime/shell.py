"""The shell that carries out the effects of flows, one by one, with blocking calls. Its twin is in `async_shell`.

Nothing is decided here. What both shells share is `Wiring`: all that follows from a client's arguments.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from os import getpid
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from safeklaviyo._effects import Concluded, Decided, Effect, Flow, Monotonic, NewId, Now, Send, Sleep, StartDeadline
from safeklaviyo._runtime.held_leases import LEASING, PROMPT, Held
from safeklaviyo._runtime.observing import Observed, is_idle, is_told, observer
from safeklaviyo._runtime.senders.client import ClientSender, SyncClient, check_client
from safeklaviyo._runtime.senders.own import OwnSender
from safeklaviyo._runtime.senders.tokens import Unsent, authorized
from safeklaviyo._sending.shared_pacing import SharedPacer
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError
from safeklaviyo.stores import patience
from safeklaviyo.stores.calls import Call as StoreEffect
from safeklaviyo.stores.outbox.calls import OutboxCall, TakeTurn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from safeklaviyo._flows.call import Setup
    from safeklaviyo._runtime.config import Wiring
    from safeklaviyo._runtime.observing import Observer
    from safeklaviyo._runtime.senders.contract import Sender
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import Found, IdentityStore
    from safeklaviyo.stores.outbox.base import Outbox

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class _Process:
    """What a client has opened in one process."""

    pid: int
    setup: Setup
    sender: Sender
    observer: Observer | None


class Shell:
    """Carries out flows with blocking calls. Safe between threads; after a fork the child gets its own connections.

    Args:
        root: The shell to share connections, pacing and account with; None for a shell with its own.
    """

    def __init__(
        self, wiring: Wiring, store: IdentityStore, client: SyncClient | None, root: Shell | None = None
    ) -> None:
        check_client(client, "Client")
        self._wiring = wiring
        self._client = client
        self._process: _Process | None = None
        # By process: see `_start`.
        self._locks: dict[int, Lock] = {}
        self.is_closed: bool = False
        self._root = root or self
        self._outbox: Outbox | None = None
        self._shares_pace = False
        self.store = store

    @property
    def outbox(self) -> Outbox:
        """The outbox, which the first use opens.

        Raises:
            ConfigurationError: There can be none.
        """
        if self._root is not self:
            return self._root.outbox
        if self._outbox is None:
            from safeklaviyo.stores.outbox.opening import open_outbox  # noqa: PLC0415 - most clients use none

            self._outbox = open_outbox(self._wiring.outbox, self.store)
        return self._outbox

    @property
    def has_credentials(self) -> bool:
        """Whether there is a key or a token to show Klaviyo."""
        return not self._wiring.credentials.is_nothing

    def view(self, wiring: Wiring) -> Shell:
        """Return a shell that shares everything with this one, but for what the wiring says otherwise."""
        return Shell(wiring, self.store, self._client, self._root)

    def run(self, operation: Callable[Concatenate[Setup, P], Flow[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Carry out an operation's flow, and return what it returns.

        Raises:
            ConfigurationError: The client is closed.
        """
        # After a fork the connections are the parent's, so the child makes its own.
        process = self._process
        if process is None or process.pid != getpid() or self._root.is_closed:
            process = self._start()
        # Without an observer, which is the usual case, an effect costs no further call.
        if process.observer is None or is_idle(process.observer):
            return self._drive(process, operation(process.setup, *args, **kwargs), self._perform)
        with Observed(process.observer) as observed:
            flow = operation(process.setup, *args, **kwargs)
            return self._drive(process, flow, observed.performing(self._perform))

    def look(self, identifiers: Sequence[Identifier]) -> tuple[Setup, Found] | None:
        """Look into the map as an operation would, without the cost of a flow.

        Returns:
            None where only a flow will do: the account is not known yet, or telemetry is told of each operation.
        """
        process = self._process
        if process is None or process.pid != getpid() or self._root.is_closed or is_told(process.observer):
            return None
        account, seconds = process.setup.shared.account, process.setup.deadline
        if account is None:
            return None
        before = patience.current()
        try:
            if seconds is not None:
                patience.begin(seconds)
            return process.setup, self.store.find(account, identifiers)
        finally:
            patience.restore(before)

    def _drive(self, process: _Process, flow: Flow[T], perform: Callable[[Sender, Effect[object]], Any]) -> T:
        before = patience.current()
        held: Held | None = None
        try:
            effect = next(flow)
            while True:
                if held is not None or type(effect) in LEASING:
                    held = held or Held()
                    effect = held.begin(effect)
                try:
                    result = perform(process.sender, effect)
                except Unsent as stopped:
                    stopped.raise_error(held)
                except SafeKlaviyoError as error:
                    # Into the flow, which decides whether it repeats, releases its lease or lets the caller know.
                    effect = flow.throw(error)
                else:
                    if held is not None:
                        held.end(effect, result)
                    effect = flow.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value
        except BaseException as error:
            flow.close()  # calls in flight are over, while the leases are given back
            self._let_go(process.sender, held, error)
            raise
        finally:
            patience.restore(before)

    def _let_go(self, sender: Sender, held: Held | None, error: BaseException) -> None:
        """Release the leases of a run that was cut off, if the map answers within `PROMPT` seconds.

        In a thread of its own: a store that does not answer must not keep the exception from the caller.
        """
        if held is None:
            return
        late, seconds = patience.late_work(), PROMPT
        if isinstance(error, SafeKlaviyoError):
            # The flow has decided about its leases itself, but for one that the map may yet grant. The call is over.
            held.forget_granted(may_come=late is not None)
            seconds = 0.0

        def _work() -> None:
            flow = held.let_go()
            with suppress(Exception):  # it ends with `StopIteration`; where the map fails, the leases expire
                if late is not None:
                    late()
                effect = next(flow)
                while True:
                    effect = flow.send(self._perform(sender, effect))

        if held.is_nothing:
            return
        with suppress(Exception):  # a second exception may come here; the caller gets the first
            thread = Thread(target=_work, name="safeklaviyo-release", daemon=True)
            thread.start()
            thread.join(seconds)

    def _start(self) -> _Process:
        if self._root is not self:
            shared = self._root._start()  # noqa: SLF001 - a shell, too
            viewed = _Process(getpid(), self._wiring.view_of(shared.setup), shared.sender, shared.observer)
            self._process = viewed
            return viewed
        # A lock for each process: one that another thread held at the fork would never be released in the child.
        with self._locks.setdefault(getpid(), Lock()):
            process = self._process
            if process is None or process.pid != getpid():
                check_open(is_closed=self.is_closed)
                target, client = self._wiring.target, self._client
                check_process(client, None if process is None else process.pid)
                sender: Sender = OwnSender(target) if client is None else ClientSender(target, client)
                sender = authorized(sender, self._wiring.credentials)
                told = observer(self._wiring.on_decision, target.host)
                setup = self._wiring.setup(is_observed=told is not None)
                if self._shares_pace:
                    setup.line.pacer = self._shared_pacer(setup)
                self._process = process = _Process(getpid(), setup, sender, told)
            return process

    def share_pace(self) -> None:
        """Let requests take turns with those of all processes that do the same over this outbox."""
        if self._root is not self:
            self._root.share_pace()
        elif not self._shares_pace:
            self._shares_pace = True
            process = self._process
            if process is not None and process.pid == getpid():
                process.setup.line.pacer = self._shared_pacer(process.setup)

    def _shared_pacer(self, setup: Setup) -> SharedPacer:
        def _take_turn(endpoint: str, limits: Mapping[int, int], latest: float) -> float:
            account = setup.shared.account or ""
            return self.outbox.perform(TakeTurn(account, endpoint, tuple(limits.items()), latest))

        return SharedPacer(_take_turn, published=self._wiring.target.is_klaviyo)

    def _perform(self, sender: Sender, effect: Effect[object]) -> Any:
        if isinstance(effect, Send):
            return sender.send(effect.request, self._wiring.timeouts.within(effect.within))
        if isinstance(effect, StoreEffect):
            return effect.on(self.store)
        if isinstance(effect, OutboxCall):
            return self._ask_outbox(effect)
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds)
        return ambient(effect)

    def _ask_outbox(self, call: OutboxCall[Any]) -> Any:
        if call.in_passing:
            from safeklaviyo.stores.outbox.opening import is_possible  # noqa: PLC0415 - few calls ask

            if not is_possible(self._wiring.outbox, self.store) or not self.outbox.is_there():
                return call.absent
        return self.outbox.perform(call)

    def close(self) -> None:
        """Close what was opened here, but for the store; a view has opened nothing. May be called twice."""
        if self._root is not self:
            return
        # Before anything is closed: a call of another thread must not open connections again that no call would close.
        self.is_closed = True
        if self._outbox is not None:
            self._outbox.close()
        process, self._process = self._process, None
        # After a fork the connections are the parent's, and closing them takes locks that it may have held.
        if process is not None and process.pid == getpid():
            process.sender.close()


def check_process(client: object, pid: int | None) -> None:
    """Refuse to send through a client of the caller's that another process has used before a fork.

    Both would read from the same connections, and take each other's answers for their own.

    Raises:
        ConfigurationError: That process has used the client.
    """
    if client is not None and pid not in (None, getpid()):
        raise ConfigurationError("the http_client was used before this process was forked; give each process its own")


def check_open(*, is_closed: bool) -> None:
    """Refuse to go on with a client that has been closed.

    Raises:
        ConfigurationError: The client has been closed.
    """
    if is_closed:
        raise ConfigurationError("this client is closed; make a new one")


def ambient(effect: Effect[object]) -> Any:
    """Carry out an effect that takes no time: a look at a clock, a new id, or what an observer would be told."""
    if isinstance(effect, Monotonic):
        return time.monotonic()
    if isinstance(effect, Now):
        return time.time()
    if isinstance(effect, StartDeadline):
        patience.begin(effect.seconds)
        return time.monotonic()
    if isinstance(effect, NewId):
        return uuid4().hex
    # Told to no one: OpenTelemetry is installed, and the program has not set it up.
    assert isinstance(effect, Decided | Concluded)
    return None
