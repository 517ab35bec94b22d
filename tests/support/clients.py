"""Clients for tests: made for the simulator, whose time passes where they would wait, and what they are made of."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack, contextmanager
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Protocol

from safeklaviyo import AsyncKlaviyo, Klaviyo
from safeklaviyo._client.async_outbox import AsyncOutbox
from safeklaviyo._client.bindings import AsyncBindings, Bindings
from safeklaviyo._client.lists import AsyncLists, Lists
from safeklaviyo._client.outbox import Outbox
from safeklaviyo._client.profiles import AsyncProfiles, Profiles
from safeklaviyo._effects import Monotonic, Now, Sleep, StartDeadline
from safeklaviyo._runtime.async_shell import AsyncShell
from safeklaviyo._runtime.config import BASE_URL, REVISION, Wiring, store_url, wiring
from safeklaviyo._runtime.shell import Shell
from safeklaviyo._version import VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from safeklaviyo import IdentityStore
    from safeklaviyo._effects import Effect
    from safeklaviyo.testing import KlaviyoSimulator

__all__ = [
    "ACCOUNT",
    "BASE_URL",
    "BLOCKING",
    "BOTH",
    "KEY",
    "REVISION",
    "VERSION",
    "AsyncBindings",
    "AsyncLists",
    "AsyncOutbox",
    "AsyncProfiles",
    "Awaited",
    "Bindings",
    "Lists",
    "NewClient",
    "OpenClient",
    "Outbox",
    "Profiles",
    "QuickAsyncShell",
    "QuickShell",
    "Shell",
    "Wiring",
    "opened",
    "store_url",
    "usual",
    "wiring",
]

KEY = "pk_0123456789abcdef"
ACCOUNT = "SiMuLa"
BLOCKING = ["safeklaviyo._client.klaviyo"]
BOTH = [*BLOCKING, "safeklaviyo._client.async_klaviyo"]
"""What a process imports that makes such clients, so that it can be imported beforehand."""


class NewClient(Protocol):
    """Makes a client that talks to the simulator; each argument of `Klaviyo` may be given another value."""

    def __call__(self, **arguments: Any) -> Klaviyo:
        """Return the client; it is closed after the test."""
        ...


class OpenClient(Protocol):
    """Makes a blocking client for a simulator and a map of the caller's own, as in each example of a property test."""

    def __call__(self, simulator: KlaviyoSimulator, store: IdentityStore, **arguments: Any) -> Klaviyo:
        """Return the client; it opens nothing, so that nobody has to close it."""
        ...


class Awaited:
    """Something asynchronous, called as its blocking twin is: each call runs to its end in a loop."""

    def __init__(self, subject: Any, runner: asyncio.Runner) -> None:
        self._subject = subject
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._subject, {"close": "aclose"}.get(name, name))
        if iscoroutinefunction(value):
            return lambda *args, **named: self._runner.run(value(*args, **named))
        if name == "with_options":
            return lambda **options: Awaited(value(**options), self._runner)
        if isasyncgenfunction(value):
            return lambda *args, **named: self._pulled(value(*args, **named))
        return Awaited(value, self._runner) if name in {"profiles", "bindings", "lists", "outbox", "_shell"} else value

    def __iter__(self) -> Iterator[Any]:
        return self._pulled(aiter(self._subject))

    def __repr__(self) -> str:
        return repr(self._subject)

    def _pulled(self, source: AsyncIterator[Any]) -> Iterator[Any]:
        async def pull() -> list[Any]:
            try:
                return [await anext(source)]
            except StopAsyncIteration:
                return []

        while items := self._runner.run(pull()):
            yield from items


class QuickShell(Shell):
    """A shell for which the simulator's time passes."""

    def __init__(self, shell: Shell, simulator: KlaviyoSimulator, root: Shell | None = None) -> None:
        super().__init__(shell._wiring, shell.store, shell._client, root)
        self._simulator = simulator

    def view(self, wiring: Any) -> Shell:
        return QuickShell(super().view(wiring), self._simulator, self._root)

    def _perform(self, sender: Any, effect: Effect[object]) -> Any:
        if isinstance(effect, Sleep | Now | Monotonic | StartDeadline):
            return _pass_time(self._simulator, effect)
        return super()._perform(sender, effect)

    def _let_go(self, sender: Any, held: Any, error: BaseException) -> None:
        if not _is_dead():
            super()._let_go(sender, held, error)


class QuickAsyncShell(AsyncShell):
    """Same as `QuickShell`, awaited."""

    def __init__(self, shell: AsyncShell, simulator: KlaviyoSimulator, root: AsyncShell | None = None) -> None:
        super().__init__(shell._wiring, shell.store, shell._client, root)
        self._simulator = simulator

    def view(self, wiring: Any) -> AsyncShell:
        return QuickAsyncShell(super().view(wiring), self._simulator, self._root)

    async def _perform(self, sender: Any, effect: Effect[object]) -> Any:
        if isinstance(effect, Sleep | Now | Monotonic | StartDeadline):
            return _pass_time(self._simulator, effect)
        return await super()._perform(sender, effect)

    async def _let_go(self, sender: Any, held: Any, error: BaseException) -> None:
        if not _is_dead():
            await super()._let_go(sender, held, error)


def _is_dead() -> bool:
    """Tell whether what ends a call stands for the death of its process."""
    return getattr(sys.exception(), "is_death", False)


def _pass_time(simulator: KlaviyoSimulator, effect: Sleep | Now | Monotonic | StartDeadline) -> float:
    if isinstance(effect, Sleep):
        simulator.advance(effect.seconds)
    return simulator.now()


def usual(store: IdentityStore) -> dict[str, Any]:
    """Return what the clients of most tests are given: no deadline, because tests let minutes pass in a call."""
    return {"api_key": KEY, "account": ACCOUNT, "store": store, "deadline": None}


@contextmanager
def opened(kind: type, **options: Any) -> Iterator[Any]:
    """Open a client that really waits, and yield it with blocking calls."""
    with ExitStack() as stack:
        options = {"api_key": KEY, "account": ACCOUNT} | options
        if kind is Klaviyo:
            yield stack.enter_context(Klaviyo(**options))
            return
        runner = stack.enter_context(asyncio.Runner())
        k = AsyncKlaviyo(**options)
        stack.callback(lambda: runner.run(k.aclose()))
        yield Awaited(k, runner)
