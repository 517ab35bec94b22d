"""What the command line makes of calls, failures and interruptions: exit codes, and one line instead of a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import safeklaviyo
from safeklaviyo import __main__, __version__
from safeklaviyo.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = str(Path(safeklaviyo.__file__).parents[1])
COMMANDS = {
    ("demo",): "a shop's day",
    ("simulate",): "a pretend Klaviyo",
    ("explain",): "by which rule",
    ("bindings",): "import",
    ("bindings", "import"): "run again",
    ("bindings", "export"): "Only its owner",
    ("bindings", "get"): "as JSON",
    ("bindings", "remove"): "Remove",
    ("track",): "a second run doubles no event",
    ("identify",): "--number says which ones hold numbers",
    ("store",): "migrate",
    ("store", "migrate"): "the missing tables",
    ("store", "copy"): "by count and by checksum",
    ("doctor",): "prints no secret",
}


@contextmanager
def started(*arguments: str, **how) -> Iterator[subprocess.Popen[str]]:
    """Start a command as a process of its own, which does not outlive the test."""
    environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "safeklaviyo", *arguments]
    # A child ignores what its parent ignores, as a shell lets its background jobs ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE, **how)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_says_what_it_does(run, command):
    """``--help`` succeeds and describes the command."""
    status, out, err = run(*command, "--help")
    assert (0, "") == (status, err)
    assert COMMANDS[command] in " ".join(out.split())


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_a_help_is_wider_than_the_terminal(run, monkeypatch, command, columns):
    """Paragraphs are filled to the terminal's width, so that it breaks no word; the items of lists stay apart."""
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = run(*command, "--help")
    assert max(map(len, out.splitlines())) <= columns
    if command == ("bindings", "import"):
        assert "\n  added      the row is new, or completes a customer\n  unchanged  the map" in out
        assert columns > 60 or "So an interrupted\n             import can" in out


def test_the_help_documents_the_exit_codes(run):
    """The codes that a script has to know stand in the help."""
    _, out, _ = run("--help")
    assert all(f"  {code} " in out for code in (0, 1, 2, 130, 141))


def test_the_version_is_the_packages(run):
    """``--version`` names the version."""
    assert (0, f"safeklaviyo {__version__}\n", "") == run("--version")


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("dance",),
        ("bindings",),
        ("demo", "--customers", "0"),
        ("demo", "--customers", "x"),
        ("simulate", "--leg", "gone"),
        ("simulate", "--port", "80800"),
        ("simulate", "--port", "-1"),
    ],
)
def test_a_wrong_call_is_2(run, wrong):
    """What the parser refuses is a usage error."""
    assert 2 == run(*wrong).status


def test_an_expected_failure_is_its_class_and_message(run, here):
    """A failure that was foreseen is one line, without what was given (P8)."""
    status, out, err = run("explain", "--email", "ada@@shop.test", *here)
    assert (1, "", "InvalidIdentifierError: the email is not a valid address\n") == (status, out, err)


def test_a_failure_of_the_system_is_its_class_and_message(run, here, tmp_path):
    """A file that is not there is no traceback either."""
    status, out, err = run("bindings", "import", str(tmp_path / "none.csv"), *here)
    assert (1, "") == (status, out)
    assert err.startswith("FileNotFoundError: ")
    assert 1 == err.count("\n")


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [(("demo",), "rich", "server"), (("demo",), "uvicorn", "server"), (("simulate",), "uvicorn", "server")],
)
def test_a_missing_package_is_named_with_its_extra(run, monkeypatch, command, package, extra):
    """A command that needs an extra says which, in one line."""
    monkeypatch.setitem(sys.modules, package, None)
    assert (2, "", f'this needs {package}: pip install "safeklaviyo[{extra}]"\n') == run(*command)


def test_importing_the_main_module_runs_nothing():
    """Tools that import every module of a package start no command."""
    assert __main__.main is main


@pytest.fixture(params=["foreground", "background"])
def _job(request):
    """These tests as a job of a shell, which lets its background jobs ignore SIGINT."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler if request.param == "foreground" else signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("_job")
def test_ctrl_c_is_130_without_a_traceback():
    """A server that is interrupted ends at once and says so in a word, however the tests were started."""
    simulate = ("simulate", "--port", "0", "--rate-limits", "--legacy", "alive")
    with started(*simulate, stdout=subprocess.PIPE) as process:
        assert "a pretend Klaviyo listens on http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (130, "interrupted\n") == (process.returncode, err)


def test_a_broken_pipe_is_quiet(run, here, typed):
    """Nobody reading the output any more is no failure that needs words."""
    typed(b"email\nada@shop.test\n")
    assert 0 == run("bindings", "import", "-", *here).status
    reading, writing = os.pipe()
    os.close(reading)
    with started("bindings", "export", "-", *here, stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=30)
    assert (141, "") == (process.returncode, err)
