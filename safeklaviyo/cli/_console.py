"""The commands' output: lines, progress bars, and the message for a package that is missing."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class MissingExtraError(Exception):
    """A command needs a package that is not installed. The message names the extra."""


def require(*packages: str, extra: str) -> None:
    """Check that optional packages are installed.

    Raises:
        MissingExtraError: One is not.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(f'this needs {package}: pip install "safeklaviyo[{extra}]"')


def say(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{text}\n")


@contextmanager
def progress(what: str, total: int | None, *, unit: str | None = None) -> Generator[Callable[..., None]]:
    """Show a progress bar, if stderr is a terminal and rich is installed.

    Args:
        total: How much there is to do; None if that cannot be said.
        unit: What is counted besides, to show how many of it are done, and how many a second.

    Yields:
        A function to call with how much is done by now, and how many units that is.
    """
    # A bar in a log file would be thousands of lines.
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.progress import Progress, TextColumn  # noqa: PLC0415 - an extra

    # Without a total there is no percentage, so the number itself is shown.
    columns = Progress.get_default_columns()
    if total is None:
        columns = (*columns[:2], TextColumn("{task.completed:,.0f}"))
    if unit is not None:
        columns = (*columns, TextColumn("{task.fields[said]}"))
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, said="")

        def _show(done: int, units: int = 0) -> None:
            pace = units / max(time.monotonic() - began, 0.001)
            bar.update(task, completed=done, said=f"{units:,} {unit}, {pace:,.0f}/s")

        yield _show
