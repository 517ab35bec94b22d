"""What stands behind the command line: its parser, and a module for each kind of command."""

from collections.abc import Callable, Sequence
from importlib import import_module

from safeklaviyo._files import encodings, records, rows
from safeklaviyo.cli import _bulk as bulk
from safeklaviyo.cli import _console as console
from safeklaviyo.cli import _copy as copying
from safeklaviyo.cli import _doctor as doctor
from safeklaviyo.cli import _simulation as simulation
from safeklaviyo.cli import _store as store
from safeklaviyo.cli._arguments import parser
from safeklaviyo.cli._simulation import _ROWS as COUNTED

__all__ = [
    "COUNTED", "bulk", "console", "copying", "doctor", "encodings", "function_of", "parser", "records", "rows",
    "simulation", "store",
]  # fmt: skip


def function_of(words: Sequence[str]) -> Callable[..., int]:
    """Return the function that carries a command out; the parser exits where an option or a value is wrong."""
    arguments = parser().parse_args(words)
    function: Callable[..., int] = getattr(import_module(f"safeklaviyo.cli.{arguments.module}"), arguments.function)
    return function
