"""The guard of a whole process, for code that makes a new HTTP client for each call and so cannot be handed a hook.

`wrapt` wraps the classes with which the usual libraries send. Taking the guard away puts the originals back. A class
that another program has wrapped since keeps the guard's wrapper, which then does nothing.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Self

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.guard._async_core import AsyncCore
from safeklaviyo.guard._core import Core
from safeklaviyo.guard._hooks.bypasses import Bypasses

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo.guard._core import OnStoreFailure, UniqueId
    from safeklaviyo.guard._decide.verdicts import Modes

logger = logging.getLogger("safeklaviyo")

_SEAMS: Final = (
    ("httpx", "httpx", "HTTPTransport", "handle_request", "httpx"),
    ("httpx", "httpx", "AsyncHTTPTransport", "handle_async_request", "httpx_async"),
    ("httpx2", "httpx2", "HTTPTransport", "handle_request", "httpx"),
    ("httpx2", "httpx2", "AsyncHTTPTransport", "handle_async_request", "httpx_async"),
    ("requests", "requests.adapters", "HTTPAdapter", "send", "requests"),
    ("openapi_client", "openapi_client.rest", "RESTClientObject", "request", "sdk"),
    ("aiohttp", "aiohttp", "ClientSession", "_request", "aiohttp"),
)
"""Where requests are caught: the library, the module, the class, the method, and the way to guard that method."""


class Guard:
    """A guard that is installed in this process. A ``with`` statement takes the guard away at its end.

    Attributes:
        core: The part that decides, counts and logs.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self._is_on = True
        self._undo: list[Callable[[], None]] = []
        self._bypasses = Bypasses(core)
        ways = {
            "httpx": self._httpx, "httpx_async": self._httpx_async, "requests": self._requests, "sdk": self._sdk,
            "aiohttp": self._aiohttp,
        }  # fmt: skip
        self._async = AsyncCore(core)
        for library, module, owner, method, way in _SEAMS:
            self._wrap(library, module, owner, method, ways[way])
        self._bypasses.begin()

    @property
    def counters(self) -> Mapping[str, int]:
        """How often each counted thing has happened since the start. Names that have not happened yet count 0."""
        return self.core.counters

    def flush(self, seconds: float = 2.0) -> bool:
        """Wait until the log is written; return whether it was written in time."""
        return self.core.flush(seconds)

    def uninstall(self) -> None:
        """Take the guard away, and write what waits for the log. May be called twice."""
        self._is_on = False
        self._bypasses.end()
        while self._undo:
            self._undo.pop()()
        self.core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.uninstall()

    def _wrap(self, library: str, module: str, owner: str, method: str, wrapper: Callable[..., Any]) -> None:
        """Wrap a method of a library now, or as soon as the shop loads the library."""
        wrapt = _wrapt()

        def _wrap_loaded(_loaded: object = None) -> None:
            if not self._is_on:
                return
            kind = getattr(import_module(module), owner)
            # Older ones have no `as_bytes`, and a body that is read once could not be sent afterwards.
            if library == "aiohttp" and not hasattr(import_module("aiohttp.payload").Payload, "as_bytes"):
                logger.warning("this aiohttp is too old, so its calls pass unguarded: 3.12.4 or later is needed")
                return
            original = kind.__dict__[method]
            patched = wrapt.FunctionWrapper(original, wrapper, enabled=lambda: self._is_on)
            setattr(kind, method, patched)

            def _undo() -> None:
                # Another program's wrapper around this one would be lost with it.
                if kind.__dict__.get(method) is patched:
                    setattr(kind, method, original)

            self._undo.append(_undo)

        # A library that the shop loads later is wrapped then. Loading it now would cost shops that never use it.
        if library in sys.modules:
            with suppress(ImportError):
                _wrap_loaded()
        else:
            wrapt.register_post_import_hook(_wrap_loaded, module)

    def _httpx(self, send: Any, _transport: object, given: tuple[Any, ...], _named: object) -> Any:
        from safeklaviyo.guard._hooks.over_httpx import send_guarded  # noqa: PLC0415 - with its library

        return send_guarded(self.core, send, given[0])

    async def _httpx_async(self, send: Any, _transport: object, given: tuple[Any, ...], _named: object) -> Any:
        from safeklaviyo.guard._hooks.over_httpx import send_guarded_async  # noqa: PLC0415 - with its library

        return await send_guarded_async(self._async, send, given[0])

    def _requests(self, send: Any, _adapter: object, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        from safeklaviyo.guard._hooks.over_requests import send_guarded  # noqa: PLC0415 - with its library

        return send_guarded(self.core, lambda request: send(request, *given[1:], **named), given[0])

    def _sdk(self, send: Any, _client: object, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        from safeklaviyo.guard._hooks.over_sdk import send_guarded  # noqa: PLC0415 - with its library

        # The SDK gives these by place or by name; by name they are found in both cases.
        named = dict(zip(("method", "url", "headers", "body", "post_params"), given, strict=False)) | named
        headers: dict[str, str] = named.get("headers") or {}
        request = (named.pop("method"), named.pop("url"), headers, named.pop("body", None))
        return send_guarded(self.core, lambda way, to, body: send(way, to, body=body, **named), request)

    async def _aiohttp(self, send: Any, session: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        from safeklaviyo.guard._hooks.over_aiohttp import GuardMiddleware  # noqa: PLC0415 - with its library

        # The guard comes last, so that it sees what the shop's own middlewares have made of the request.
        own = named.pop("middlewares", None)
        others = session._middlewares if own is None else own  # noqa: SLF001 - a request's own replace these
        return await send(*given, middlewares=(*others, GuardMiddleware(self._async)), **named)


def install(
    k: Klaviyo | AsyncKlaviyo,
    *more: Klaviyo | AsyncKlaviyo,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
    unique_id: UniqueId = "as_sent",
) -> Guard:
    """Guard all calls of this process to Klaviyo, by httpx, httpx2, requests, aiohttp and Klaviyo's own SDK.

    Args:
        k: The client of the account; a `Klaviyo` also works for code that is awaited.
        more: The clients of further accounts. A call belongs to the client with the key that the call carries.
        mode: See `transport`.
        decision_log: See `transport`.
        on_store_failure: See `transport`.
        learn: See `transport`.
        unique_id: See `transport`.

    Raises:
        ConfigurationError: An argument makes no sense, or `wrapt` is not installed.
    """
    _wrapt()
    return Guard(
        Core(
            k, *more, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn,
            unique_id=unique_id,
        )
    )  # fmt: skip


def _wrapt() -> Any:
    try:
        import wrapt  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise ConfigurationError("guard.install needs another package: pip install 'safeklaviyo[guard]'") from exc
    return wrapt
