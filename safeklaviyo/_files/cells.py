"""The cells of a line of CSV as text: how one is written that a spreadsheet would take for a formula."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# The beginnings that make a cell a formula (OWASP's "CSV Injection"), full-width characters included.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_GUARD: Final = "'"
_GUARDED: Final = (*_FORMULA, _GUARD)


def own_columns(delimiter: str) -> re.Pattern[str]:
    """Return a pattern for the first two cells of a line, with the delimiters behind them."""
    between = re.escape(delimiter)
    cell = rf'(?:"(?:[^"]|"")*"|[^"{between}\r\n]*){between}'
    return re.compile(rf"\A{cell}{cell}")


def csv_line(cells: Sequence[str], delimiter: str) -> str:
    """Return cells as one line of CSV, without the line's end."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator="").writerow(cells)
    return file.getvalue()


def ended(text: str) -> str:
    """Return a line with a line end. The last line of a file may have none."""
    return text if text.endswith(("\n", "\r")) else text + "\n"


def guarded(cell: str | None) -> str:
    """Return the cell in a form that a spreadsheet takes for text."""
    return _GUARD + cell if cell is not None and cell.startswith(_GUARDED) else cell or ""


def has_apostrophe(cell: str) -> bool:
    """Tell whether a cell begins with an apostrophe that `guarded` has not put there."""
    return cell.startswith(_GUARD) and not cell[1:].startswith(_GUARDED)


def unguarded(cell: str, *, strips: bool = False) -> str:
    """Return the cell that `guarded` was given, or that a spreadsheet was told to take for text."""
    return cell[1:] if cell.startswith(_GUARD) and (strips or not has_apostrophe(cell)) else cell
