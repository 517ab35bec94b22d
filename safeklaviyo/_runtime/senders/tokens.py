"""Requests with an access token that the caller's `access_token` returns, and requests of a client without a key.

Decided here:

- The token is asked for before each request, so the caller's function caches it. One thread or task asks at a time.
- After Klaviyo's own 401 it is asked for once more, and the request sent once more if the token is another one. Calls
  that held the refused token at the same time wait for that one answer, and do not ask again.
- Asking is part of the attempt's time. An awaited function is cut off at its end. A blocking one is not: it runs in
  the caller's thread, where the caller's own connections are, and nothing can stop it there. Once it returns too late,
  nothing is sent. Other calls, which wait for it, end in time.
- What the function raises, or a signal handler raises in it, reaches the caller as it is. Nothing has been sent then,
  so the call's leases are given back.
"""

from __future__ import annotations

import time
from contextlib import suppress
from inspect import isawaitable, iscoroutine
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from safeklaviyo._api.responses import is_from_klaviyo
from safeklaviyo._runtime.credentials import NO_KEY, bearer
from safeklaviyo._secrets import Secret
from safeklaviyo.errors import ConfigurationError, NotSentError

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._runtime.credentials import Ask, Credentials
    from safeklaviyo._runtime.held_leases import Held
    from safeklaviyo._runtime.senders.contract import AsyncSender, Sender
    from safeklaviyo._runtime.senders.timeouts import Timeouts

_REFUSED = 401


class Unsent(BaseException):
    """Asking for the token has raised something, and no byte of the request has left. Never leaves `_runtime`.

    Attributes:
        error: What was raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def raise_error(self, held: Held | None) -> NoReturn:
        """Raise what was raised, as it was, and let the leases of its call be given back."""
        if held is not None:
            held.unsend()
        error = self.error
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
            del error, context, self  # else the error and this frame keep each other alive


class _Given(NamedTuple):
    """What the function has returned, and how often it had been asked by then."""

    token: Secret
    number: int


class _State:
    """What was asked for last: by which call, and after which 401."""

    __slots__ = ("asked", "last", "renewed")

    def __init__(self) -> None:
        self.last = Secret("")
        self.asked = 0
        self.renewed = 0

    def has_renewed(self, since: int | None) -> bool:
        """Tell whether the token was asked for after a 401, later than a call got its own."""
        return since is not None and self.renewed > since

    def note(self, token: Secret, since: int | None) -> None:
        """Note what the function has returned."""
        self.last = token
        self.asked += 1
        if since is not None:
            self.renewed = self.asked


def _plain(answer: object) -> Secret:
    """Return the header's value for what a function has returned to a blocking client."""
    if iscoroutine(answer):
        answer.close()  # it is refused, and Python would warn that it was never awaited
    return bearer(answer)


def _late() -> NotSentError:
    return NotSentError("access_token did not return in the time that was left; nothing was sent")


class TokenSender:
    """A sender's requests, each with the token that the caller's function returns. Safe between threads."""

    def __init__(self, inner: Sender, ask: Ask) -> None:
        self._inner = inner
        self._ask = ask
        self._state = _State()
        self._lock = RLock()

    def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:  # noqa: ARG002 - it is asked for
        """Same as `Sender.send`."""
        ends_at = time.monotonic() + timeouts.limit
        given = self._given(ends_at, None)
        response = self._inner.send(request, _left(timeouts, ends_at), given.token)
        if not _is_refused(request, response):
            return response
        renewed = self._given(ends_at, given.number).token
        return response if renewed == given.token else self._inner.send(request, _left(timeouts, ends_at), renewed)

    def _given(self, ends_at: float, since: int | None) -> _Given:
        try:
            given = self._shared(ends_at, since)
        except ConfigurationError:
            raise
        except BaseException as error:  # noqa: BLE001 - the shell raises it again, after it has given back the leases
            raise Unsent(error) from None
        if given is None:
            raise _late()
        return given

    def _shared(self, ends_at: float, since: int | None) -> _Given | None:
        """Ask, unless another call has asked after the same 401; None if it is not this call's turn in time."""
        # Twice, because a signal handler can raise at the first: the lock must not stay taken.
        try:
            try:
                if not self._lock.acquire(timeout=max(ends_at - time.monotonic(), 0.0)):
                    return None
                if not self._state.has_renewed(since):
                    self._state.note(_plain(self._ask()), since)
                return _Given(self._state.last, self._state.asked)
            finally:
                self._release()
        finally:
            self._release()

    def _release(self) -> None:
        # An RLock refuses to be released by a thread that has not taken it.
        with suppress(RuntimeError):
            self._lock.release()

    def close(self) -> None:
        """Same as `Sender.close`."""
        self._inner.close()


class AsyncTokenSender:
    """Same as `TokenSender`, awaited; the function may return an awaitable. Belongs to one event loop."""

    def __init__(self, inner: AsyncSender, ask: Ask) -> None:
        from asyncio import Lock, timeout  # noqa: PLC0415 - here asyncio is loaded; blocking programs need not load it

        self._inner = inner
        self._ask = ask
        self._state = _State()
        self._lock = Lock()
        self._timeout = timeout

    async def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:  # noqa: ARG002 - as above
        """Same as `TokenSender.send`."""
        ends_at = time.monotonic() + timeouts.limit
        given = await self._given(ends_at, None)
        response = await self._inner.send(request, _left(timeouts, ends_at), given.token)
        if not _is_refused(request, response):
            return response
        renewed = (await self._given(ends_at, given.number)).token
        if renewed == given.token:
            return response
        return await self._inner.send(request, _left(timeouts, ends_at), renewed)

    async def _given(self, ends_at: float, since: int | None) -> _Given:
        timing = self._timeout(max(ends_at - time.monotonic(), 0.0))
        try:
            async with timing, self._lock:
                if not self._state.has_renewed(since):
                    answer = self._ask()
                    self._state.note(bearer(await answer if isawaitable(answer) else answer), since)
                return _Given(self._state.last, self._state.asked)
        except ConfigurationError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            if isinstance(error, TimeoutError) and timing.expired():
                raise _late() from None
            raise Unsent(error) from None

    async def aclose(self) -> None:
        """Same as `TokenSender.close`."""
        await self._inner.aclose()


class NoKeySender:
    """The sender of a client without a key: nothing is sent."""

    def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:  # noqa: ARG002 - nothing is sent
        """Refuse.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(NO_KEY)

    def close(self) -> None:
        """Close nothing."""


class AsyncNoKeySender:
    """Same as `NoKeySender`, awaited."""

    async def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:  # noqa: ARG002 - as above
        """Same as `NoKeySender.send`."""
        raise ConfigurationError(NO_KEY)

    async def aclose(self) -> None:
        """Close nothing."""


def authorized(sender: Sender, given: Credentials) -> Sender:
    """Return a sender that adds the token to each request. A key, or a lasting token, is in the target already."""
    if given.ask is not None:
        return TokenSender(sender, given.ask)
    return NoKeySender() if given.is_nothing else sender


def authorized_async(sender: AsyncSender, given: Credentials) -> AsyncSender:
    """Same as `authorized`, awaited."""
    if given.ask is not None:
        return AsyncTokenSender(sender, given.ask)
    return AsyncNoKeySender() if given.is_nothing else sender


def _is_refused(request: Request, response: Response) -> bool:
    """Tell whether Klaviyo itself has refused the token, and so has done nothing (F-34)."""
    return response.status == _REFUSED and is_from_klaviyo(request.endpoint, response)


def _left(timeouts: Timeouts, ends_at: float) -> Timeouts:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise _late()
    return timeouts.within(left)
