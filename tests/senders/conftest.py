"""Each kind of sender in turn."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.sending import CLIENTS, OWN, Sending

if TYPE_CHECKING:
    from collections.abc import Iterator


def _sending(kind: str) -> Iterator[Sending]:
    with ExitStack() as opened:
        runner = opened.enter_context(asyncio.Runner())
        yield Sending(kind, opened, runner)


@pytest.fixture(params=[*OWN, *CLIENTS])
def sending(request: pytest.FixtureRequest) -> Iterator[Sending]:
    """Each kind of sender in turn."""
    yield from _sending(request.param)


@pytest.fixture(params=OWN)
def own(request: pytest.FixtureRequest) -> Iterator[Sending]:
    """Both senders over connections of our own."""
    yield from _sending(request.param)


@pytest.fixture(params=CLIENTS)
def over_client(request: pytest.FixtureRequest) -> Iterator[Sending]:
    """Each kind of sender over a client of the caller's."""
    yield from _sending(request.param)
