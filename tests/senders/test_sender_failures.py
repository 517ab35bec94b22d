"""Which exceptions mean that nothing was sent, and which that an answer was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import httpcore
import httpx
import pytest

from safeklaviyo.errors import NoResponseError, NotSentError
from support.wire import senders

if TYPE_CHECKING:
    from types import ModuleType

NOT_SENT = {
    "ConnectError", "ConnectTimeout", "InvalidURL", "PoolTimeout", "ProxyError", "UnsupportedProtocol",
}  # fmt: skip


class TestMeanings:
    @pytest.mark.parametrize("library", [httpx, httpcore])
    def test_only_six_say_that_nothing_left(self, library: ModuleType) -> None:
        """Of all exceptions of httpx and httpcore, only those of connecting say that nothing was sent."""
        classes = [
            each
            for name in library.__all__
            if isinstance(each := getattr(library, name), type) and issubclass(each, Exception)
        ]
        assert len(classes) >= 13
        meant = {each.__name__: type(senders.failure(each.__new__(each))) for each in classes}
        assert {name for name, meaning in meant.items() if meaning is NotSentError} == NOT_SENT & set(meant)
        assert {NotSentError, NoResponseError} == set(meant.values())

    def test_a_namesake_is_not_believed(self) -> None:
        """An exception of another package with such a name says nothing."""
        namesake = type("ConnectError", (Exception,), {"__module__": "shop.errors"})
        assert NoResponseError is type(senders.failure(namesake()))

    def test_aiohttp_knows_better(self) -> None:
        """A connect timeout with an error of aiohttp behind it is believed only if that is one of connecting."""
        connecting = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)
        classes = [
            each
            for name in aiohttp.__all__
            if isinstance(each := getattr(aiohttp, name), type) and issubclass(each, aiohttp.ClientError)
        ]
        assert len(classes) >= 15
        for each in classes:
            seen = httpx.ConnectTimeout("")
            seen.__cause__ = each.__new__(each)
            wanted = NotSentError if issubclass(each, connecting) else NoResponseError
            assert wanted is type(senders.failure(seen)), each

    def test_unknown_error(self) -> None:
        """What nobody has heard of leaves open what was done."""
        assert NoResponseError is type(senders.failure(RuntimeError("the event loop is closed")))
