"""The command line: runs a command, and turns its failures into exit codes.

Decided here: the exit codes. An expected failure is one line on stderr, without a traceback and without a secret (P8).
The commands' names are in `_arguments`; each command is a function in one of the modules beside.
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
        One of

        - 0: the command did what was asked;
        - 1: it could not, or found something wrong;
        - 2: it was called wrongly, or needs a package that is not installed;
        - 130: Ctrl-C;
        - 141: the reader of its output has gone.
    """
    cast("TextIOWrapper", sys.stdout).reconfigure(encoding="utf-8", errors="backslashreplace")
    arguments = parser().parse_args(argv)
    try:
        # Imported by name, so that a command loads only what it needs itself.
        command = getattr(import_module(f"safeklaviyo.cli.{arguments.module}"), arguments.function)
        status: int = command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it ends, which would fail again, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except MissingExtraError as error:
        complain(str(error))
        return MISSING_EXTRA
    except (SafeKlaviyoError, OSError) as error:
        complain(f"{type(error).__name__}: {error}")
        return FAILED
    return status
