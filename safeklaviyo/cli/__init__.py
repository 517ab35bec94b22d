"""The command line: what becomes of a command, and of what goes wrong in it.

Decided here: the exit codes. A failure that was foreseen is one line on stderr, never a traceback, and holds no secret
(P8). What the commands are called is in `_arguments`; each stands in a module beside.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from safeklaviyo.cli._arguments import parser
from safeklaviyo.cli._console import MissingExtraError, complain
from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import TextIOWrapper

__all__ = ["main"]

FAILED: Final = 1
MISSING_EXTRA: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments; else those of the process.

    Returns:
        0 if it did what was asked; 1 if it could not, or found something amiss; 2 if it was called wrongly or needs a
        package that is not installed; 130 after Ctrl-C; 141 if nobody reads its output any more.
    """
    cast("TextIOWrapper", sys.stdout).reconfigure(encoding="utf-8", errors="backslashreplace")
    arguments = parser().parse_args(argv)
    try:
        command = getattr(import_module(f"safeklaviyo.cli.{arguments.module}"), arguments.function)
        status: int = command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except MissingExtraError as error:
        complain(str(error))
        return MISSING_EXTRA
    except (SafeKlaviyoError, OSError) as error:
        complain(f"{type(error).__name__}: {error}")
        return FAILED
    return status
