"""An error of a store that is used by itself shows neither its password nor whom it was asked about (P8)."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import ConfigurationError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from support.leaks import frames_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "hunter2"
EMAIL = "zebulon.quux@shop.dev"
KINDS = [PostgresStore, AsyncPostgresStore, RedisStore, AsyncRedisStore]


def assert_shows_nothing(error: BaseException) -> None:
    """Fail if a frame that is not the program's shows the password or a person."""
    assert list(frames_of(error))
    for text in texts_of(error):
        assert not any(each in text for each in (PASSWORD, EMAIL)), text


def url_of(kind: type, rest: str) -> str:
    """Return a URL of a store with a password in it."""
    scheme = "redis" if "Redis" in kind.__name__ else "postgresql"
    return f"{scheme}://shop:{PASSWORD}@127.0.0.1:9/{rest}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_cannot_be_made(kind: type) -> None:
    """A URL that is not understood is in no variable."""
    with pytest.raises(ConfigurationError) as raised:
        kind(url_of(kind, f"1/2?{PASSWORD}"))
    assert_shows_nothing(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_not_there(kind: type) -> None:
    """Nor is a password in the frames of a driver that has failed to connect, nor what was asked."""
    with asyncio.Runner() as runner:
        store = kind(url_of(kind, "0"))
        with pytest.raises(StoreUnavailableError) as raised:
            done(runner, lambda: store.find("SiMuLa", [Identifier(Kind.EMAIL, EMAIL)]))
        done(runner, store.aclose if hasattr(store, "aclose") else store.close)
    assert_shows_nothing(raised.value)


def done(runner: asyncio.Runner, work: Callable[[], Any]) -> None:
    """Do some work of a blocking store, or of one that is awaited."""
    result = work()
    if inspect.iscoroutine(result):
        runner.run(result)
