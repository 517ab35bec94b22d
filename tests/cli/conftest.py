"""How these tests run commands: in this process, and on an identity map of their own."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from safeklaviyo.cli import main
from safeklaviyo.testing import KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCOUNT = "SiMuLa"


class Ran(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


class Run(Protocol):
    """Runs a command."""

    def __call__(self, *arguments: str) -> Ran: ...


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; a refusal of its arguments counts as its exit code."""

    def run(*arguments: str) -> Ran:
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def here(tmp_path: Path) -> tuple[str, ...]:
    """The arguments that name an empty identity map."""
    return ("--store", f"sqlite:///{tmp_path}/identity.db", "--account", ACCOUNT)


class Typed(Protocol):
    """Lets stdin hold bytes."""

    def __call__(self, content: bytes) -> None: ...


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Lets stdin hold bytes."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[KlaviyoSimulator, str]]:
    """A pretend Klaviyo behind a socket, and its address."""
    simulator = KlaviyoSimulator(account=ACCOUNT)
    with simulator.serve() as url:
        yield simulator, url
