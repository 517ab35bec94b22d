"""The shell that carries out the effects of flows with awaited calls. Loaded with the first `AsyncKlaviyo`.

Read `_runtime.shell` first.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from os import getpid
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from safeklaviyo._effects import Effect, Flow, Send, Sleep
from safeklaviyo._runtime.held_leases import LEASING, PROMPT, Held
from safeklaviyo._runtime.observing import Observed, is_idle, is_told, observer
from safeklaviyo._runtime.senders.awaited import AsyncOwnSender
from safeklaviyo._runtime.senders.client import AsyncClient, AsyncClientSender, check_client
from safeklaviyo._runtime.senders.tokens import Unsent, authorized_async
from safeklaviyo._runtime.shell import ambient, check_open, check_process
from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.stores import patience
from safeklaviyo.stores.calls import Call as StoreEffect
from safeklaviyo.stores.outbox.calls import OutboxCall

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence

    from safeklaviyo._flows.call import Setup
    from safeklaviyo._runtime.config import Wiring
    from safeklaviyo._runtime.observing import Observer
    from safeklaviyo._runtime.senders.contract import AsyncSender
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import AsyncIdentityStore, Found
    from safeklaviyo.stores.outbox.base import AsyncOutbox

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class _Home:
    """What a client has opened in one event loop of one process.

    Attributes:
        keeper: Closes the connections when it is closed.
    """

    pid: int
    loop: AbstractEventLoop
    setup: Setup
    sender: AsyncSender
    observer: Observer | None
    keeper: AsyncGenerator[None, None]


class _Held(Held):
    """What a run holds, and how it waits for a lease.

    The store's call goes on in a task of its own. If the run is cancelled while the store grants the lease, the token
    is still learnt, and the lease can be released.
    """

    __slots__ = ("_asked", "_granted")

    def __init__(self) -> None:
        super().__init__()
        self._asked: Effect[Any] | None = None

    def waits(self, effect: Effect[Any], done: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """Return what to wait for."""
        if type(effect) not in LEASING:
            return done
        self._asked, self._granted = effect, asyncio.ensure_future(done)
        return asyncio.shield(self._granted)

    async def settle(self) -> None:
        """Wait for the lease that was last asked for, and note it."""
        asked = self._acquiring
        if asked is None or asked is not self._asked:
            return
        # Shielded above, so this task goes on after the cancellation; its failure has nothing to release.
        await asyncio.wait({self._granted})
        with suppress(SafeKlaviyoError, asyncio.CancelledError):
            self.end(asked, self._granted.result())


class AsyncShell:
    """Carries out flows with awaited calls, in one event loop after another. Each loop gets its own connections."""

    def __init__(
        self, wiring: Wiring, store: AsyncIdentityStore, client: AsyncClient | None, root: AsyncShell | None = None
    ) -> None:
        check_client(client, "AsyncClient")
        self._wiring = wiring
        self._client = client
        self._home: _Home | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.is_closed: bool = False
        self._root = root or self
        self._outbox: AsyncOutbox | None = None
        self.store = store

    @property
    def outbox(self) -> AsyncOutbox:
        """Same as `Shell.outbox`."""
        if self._root is not self:
            return self._root.outbox
        if self._outbox is None:
            from safeklaviyo.stores.outbox.opening import open_async_outbox  # noqa: PLC0415 - most clients use none

            self._outbox = open_async_outbox(self._wiring.outbox, self.store)
        return self._outbox

    def view(self, wiring: Wiring) -> AsyncShell:
        """Same as `Shell.view`."""
        return AsyncShell(wiring, self.store, self._client, self._root)

    async def run(self, operation: Callable[Concatenate[Setup, P], Flow[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Same as `Shell.run`."""
        home, loop = self._home, asyncio.get_running_loop()
        if home is None or home.loop is not loop or home.pid != getpid() or self._root.is_closed:
            home = await self._start(loop)
        if home.observer is None or is_idle(home.observer):
            return await self._drive(home, operation(home.setup, *args, **kwargs), self._perform)
        with Observed(home.observer) as observed:
            flow = operation(home.setup, *args, **kwargs)
            return await self._drive(home, flow, observed.performing_async(self._perform))

    async def look(self, identifiers: Sequence[Identifier]) -> tuple[Setup, Found] | None:
        """Same as `Shell.look`."""
        home = self._home
        if home is None or home.loop is not asyncio.get_running_loop() or home.pid != getpid() or self._root.is_closed:
            return None
        account, seconds = home.setup.shared.account, home.setup.deadline
        if account is None or is_told(home.observer):
            return None
        before = patience.current()
        try:
            if seconds is not None:
                patience.begin(seconds)
            return home.setup, await self.store.find(account, identifiers)
        finally:
            patience.restore(before)

    async def _drive(
        self, home: _Home, flow: Flow[T], perform: Callable[[AsyncSender, Effect[object]], Coroutine[Any, Any, Any]]
    ) -> T:
        before = patience.current()
        held: _Held | None = None
        try:
            effect = next(flow)
            while True:
                if held is not None or type(effect) in LEASING:
                    held = held or _Held()
                    effect = held.begin(effect)
                try:
                    done = perform(home.sender, effect)
                    result = await (done if held is None else held.waits(effect, done))
                except Unsent as stopped:
                    stopped.raise_error(held)
                except SafeKlaviyoError as error:
                    effect = flow.throw(error)
                else:
                    if held is not None:
                        held.end(effect, result)
                    effect = flow.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value
        except BaseException as error:
            flow.close()
            await self._let_go(home.sender, held, error)
            raise
        finally:
            patience.restore(before)

    async def _let_go(self, sender: AsyncSender, held: _Held | None, error: BaseException) -> None:
        """Same as `Shell._let_go`, in a task that no further cancellation of the call's reaches."""
        # A `SafeKlaviyoError` came out of the flow, which has decided about its leases itself. After a GeneratorExit
        # there is no loop that could wait.
        if held is None or isinstance(error, SafeKlaviyoError | GeneratorExit):
            return

        async def _work() -> None:
            with suppress(Exception):
                await held.settle()
                flow = held.let_go()
                effect = next(flow)
                while True:
                    effect = flow.send(await self._perform(sender, effect))

        if held.is_nothing:
            return
        task = asyncio.create_task(_work())
        # asyncio keeps only a weak reference to a task, which may vanish before it has run.
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        with suppress(asyncio.CancelledError):  # a second cancellation may come here; the caller gets the first
            await asyncio.wait({task}, timeout=PROMPT)

    async def _start(self, loop: AbstractEventLoop) -> _Home:
        if self._root is not self:
            # The root's connections are used where they belong to this loop and this process.
            shared = self._root._home  # noqa: SLF001 - a shell, too
            if shared is None or shared.loop is not loop or shared.pid != getpid():
                shared = await self._root._start(loop)  # noqa: SLF001 - as above
            self._home = home = replace(shared, setup=self._wiring.view_of(shared.setup))
            return home
        check_open(is_closed=self.is_closed)
        target, client = self._wiring.target, self._client
        check_process(client, None if self._home is None else self._home.pid)
        sender: AsyncSender = AsyncOwnSender(target) if client is None else AsyncClientSender(target, client)
        sender = authorized_async(sender, self._wiring.credentials)
        keeper = _keep(sender)
        # The generator has to run up to its `yield`: one that was never begun has no end to come to.
        await anext(keeper)
        told = observer(self._wiring.on_decision, target.host)
        setup = self._wiring.setup(is_observed=told is not None)
        self._home = home = _Home(getpid(), loop, setup, sender, told, keeper)
        return home

    async def _perform(self, sender: AsyncSender, effect: Effect[object]) -> Any:
        if isinstance(effect, Send):
            return await sender.send(effect.request, self._wiring.timeouts.within(effect.within))
        if isinstance(effect, StoreEffect):
            return await effect.on(self.store)
        if isinstance(effect, OutboxCall):
            return await self._ask_outbox(effect)
        if isinstance(effect, Sleep):
            return await asyncio.sleep(effect.seconds)
        return ambient(effect)

    async def _ask_outbox(self, call: OutboxCall[Any]) -> Any:
        if call.in_passing:
            from safeklaviyo.stores.outbox.opening import is_possible  # noqa: PLC0415 - few calls ask

            if not is_possible(self._wiring.outbox, self.store) or not await self.outbox.is_there():
                return call.absent
        return await self.outbox.perform(call)

    async def aclose(self) -> None:
        """Same as `Shell.close`."""
        if self._root is not self:
            return
        self.is_closed = True
        if self._outbox is not None:
            await self._outbox.aclose()
        home, self._home = self._home, None
        # Connections of another loop are closed by that loop, once the keeper has no reference left.
        if home is not None and home.loop is asyncio.get_running_loop() and home.pid == getpid():
            await home.keeper.aclose()


async def _keep(sender: AsyncSender) -> AsyncGenerator[None, None]:
    """Close connections at the end: on `aclose`, or when the loop ends, which closes its generators before itself."""
    try:
        yield
    finally:
        await sender.aclose()
