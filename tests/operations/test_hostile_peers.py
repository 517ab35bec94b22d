"""Peers that hold a call up in each way they can: every call ends with its deadline, and says what is known."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import AsyncKlaviyo, DeadlineExceededError, Klaviyo, NoResponseError, NotSentError
from support.clients import opened
from support.peers import DRIPS, listening, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN: dict[str, Any] = {"external_id": "ann-1", "email": "ann@shop.dev"}
LARGE = {f"page-{number}": "x" * 90_000 for number in range(40)}
DEADLINE = 0.4
LATE = 0.4
"""Seconds by which a busy machine may notice the end of a call, besides the tenth that is allowed."""


@pytest.fixture(params=[Klaviyo, AsyncKlaviyo])
def kind(request: pytest.FixtureRequest) -> type:
    """Each kind of client in turn."""
    kind: type = request.param
    return kind


@pytest.fixture(params=[False, True], ids=["client", "view"])
def options(request: pytest.FixtureRequest) -> tuple[dict[str, float], dict[str, float]]:
    """The deadline, given to the client or to a view of it."""
    limit = {"deadline": DEADLINE}
    return ({}, limit) if request.param else (limit, {})


Options = "tuple[dict[str, float], dict[str, float]]"


def cause_of(kind: type, options: Options, properties: dict[str, str] | None = None, **more: Any) -> type:
    """Track an event, make sure that the call ends in time, and return the kind of failure behind its error."""
    with opened(kind, store="memory://", **options[0], **more) as k:
        view = k.with_options(**options[1])
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            view.track("Ordered", properties=properties or {}, **ANN)
        assert time.monotonic() - began < 1.1 * DEADLINE + LATE
    assert caught.value.may_retry
    return type(caught.value.__cause__)


@pytest.mark.slow
@pytest.mark.parametrize("part", DRIPS)
def test_dripping(kind: type, options: Options, part: str) -> None:
    """A host that sends any part of its answer byte by byte."""
    with listening(DRIPS[part]) as base:
        assert NoResponseError is cause_of(kind, options, base_url=base)


def test_a_host_that_does_not_read(kind: type, options: Options) -> None:
    """A host that accepts a connection and reads nothing of a large event."""

    def serve(connection: socket.socket) -> None:
        time.sleep(2 * DEADLINE)

    with listening(serve) as base:
        assert NoResponseError is cause_of(kind, options, LARGE, base_url=base)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_a_silent_proxy(kind: type, options: Options, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A proxy that accepts a connection and never answers; nothing was sent."""
    with listening(silent) as base:
        monkeypatch.setenv("https_proxy", base.replace("http", scheme))
        assert NotSentError is cause_of(kind, options)


@pytest.fixture
def _slow_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A DNS that answers only after the end of a call."""

    def look_up(host: Any, *given: Any, real: Any = socket.getaddrinfo, **named: Any) -> Any:
        if "klaviyo" in str(host):
            time.sleep(2 * DEADLINE)
            raise socket.gaierror
        return real(host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield
    time.sleep(0.1)


@pytest.mark.usefixtures("_slow_resolver")
def test_a_slow_resolver(kind: type, options: Options) -> None:
    """A DNS that is slow to answer; nothing was sent."""
    assert NotSentError is cause_of(kind, options)
