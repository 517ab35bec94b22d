"""What stands behind the command line: its parser, and a module for each kind of command."""

from safeklaviyo._files import encodings, records, rows
from safeklaviyo.cli import _console as console
from safeklaviyo.cli import _copy as copying
from safeklaviyo.cli import _doctor as doctor
from safeklaviyo.cli import _simulation as simulation
from safeklaviyo.cli import _store as store
from safeklaviyo.cli._arguments import parser
from safeklaviyo.cli._simulation import _ROWS as COUNTED

__all__ = ["COUNTED", "console", "copying", "doctor", "encodings", "parser", "records", "rows", "simulation", "store"]
