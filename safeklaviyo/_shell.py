"""Shells: they carry out the effects of flows, one by one, synchronously or asynchronously.

Nothing is decided here. What both shells share is `Wiring`: all that follows from a client's arguments.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from os import getpid
from threading import Lock
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar
from uuid import uuid4

from safeklaviyo._flow import Effect, Flow, Monotonic, NewId, Now, Send, Sleep, StoreEffect
from safeklaviyo._http import AsyncClientSender, AsyncTransportSender, ClientSender, TransportSender
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._http import AsyncClient, AsyncSender, Sender, SyncClient
    from safeklaviyo._operations._call import Setup
    from safeklaviyo._wiring import Wiring
    from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class _Process(Generic[S]):
    """What a client has opened in one process.

    Attributes:
        home: The process, and where calls are awaited, the event loop.
    """

    home: object
    setup: Setup
    sender: S


class Shell:
    """Carries out flows with blocking calls. Safe between threads; after a fork the child opens what it needs anew."""

    def __init__(self, wiring: Wiring, store: IdentityStore, client: SyncClient | None) -> None:
        self._wiring = wiring
        self._client = client
        self._process: _Process[Sender] | None = None
        self._locks: dict[int, Lock] = {}
        self._is_closed = False
        self.store = store

    def run(self, operation: Callable[Concatenate[Setup, P], Flow[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Carry out an operation's flow, and return what it returns.

        Raises:
            ConfigurationError: The client is closed.
        """
        process = self._process
        if process is None or process.home != getpid():
            process = self._start()
        flow = operation(process.setup, *args, **kwargs)
        try:
            effect = next(flow)
            while True:
                try:
                    result = self._perform(process.sender, effect)
                except SafeKlaviyoError as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            flow.close()

    def _start(self) -> _Process[Sender]:
        # A lock for each process: one that another thread held at the fork would never be released in the child.
        with self._locks.setdefault(getpid(), Lock()):
            process = self._process
            if process is None or process.home != getpid():
                _check_open(is_closed=self._is_closed)
                target, client = self._wiring.target, self._client
                sender: Sender = TransportSender(target) if client is None else ClientSender(target, client)
                self._process = process = _Process(getpid(), self._wiring.setup(), sender)
            return process

    def _perform(self, sender: Sender, effect: Effect[object]) -> Any:
        if isinstance(effect, Send):
            return sender.send(effect.request)
        if isinstance(effect, StoreEffect):
            return effect.on(self.store)
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds)
        return _ambient(effect)

    def close(self) -> None:
        """Close what was opened here, but for the store. May be called twice."""
        self._is_closed = True
        process, self._process = self._process, None
        if process is not None:
            process.sender.close()


class AsyncShell:
    """Carries out flows with awaited calls, in one event loop after another: each opens what it needs anew."""

    def __init__(self, wiring: Wiring, store: AsyncIdentityStore, client: AsyncClient | None) -> None:
        self._wiring = wiring
        self._client = client
        self._process: _Process[AsyncSender] | None = None
        self._is_closed = False
        self.store = store

    async def run(
        self, operation: Callable[Concatenate[Setup, P], Flow[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Same as `Shell.run`."""
        process = self._process
        home = (getpid(), asyncio.get_running_loop())
        if process is None or process.home != home:
            process = self._start(home)
        flow = operation(process.setup, *args, **kwargs)
        try:
            effect = next(flow)
            while True:
                try:
                    result = await self._perform(process.sender, effect)
                except SafeKlaviyoError as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            flow.close()

    def _start(self, home: object) -> _Process[AsyncSender]:
        _check_open(is_closed=self._is_closed)
        target, client = self._wiring.target, self._client
        sender: AsyncSender = AsyncTransportSender(target) if client is None else AsyncClientSender(target, client)
        self._process = process = _Process(home, self._wiring.setup(), sender)
        return process

    async def _perform(self, sender: AsyncSender, effect: Effect[object]) -> Any:
        if isinstance(effect, Send):
            return await sender.send(effect.request)
        if isinstance(effect, StoreEffect):
            return await effect.on(self.store)
        if isinstance(effect, Sleep):
            return await asyncio.sleep(effect.seconds)
        return _ambient(effect)

    async def aclose(self) -> None:
        """Same as `Shell.close`."""
        self._is_closed = True
        process, self._process = self._process, None
        if process is not None and process.home == (getpid(), asyncio.get_running_loop()):
            await process.sender.aclose()


def _check_open(*, is_closed: bool) -> None:
    if is_closed:
        raise ConfigurationError("this client is closed")


def _ambient(effect: Effect[object]) -> Any:
    if isinstance(effect, Monotonic):
        return time.monotonic()
    if isinstance(effect, Now):
        return time.time()
    assert isinstance(effect, NewId)
    return uuid4().hex
