"""The measures of the page's charts: the place and the size of each mark, in the units of its SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 720
"""The width of a chart. The page scales it to the width that there is."""
_HEIGHT = 160
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a chart over time.

    Attributes:
        label: The month, such as ``2026-11``.
        number: How many findings the month has.
        x: The left edge.
        y: The upper edge.
        width: The column's width.
        height: The column's height.
        shown: Whether there is room for the label below the column.
    """

    label: str
    number: int
    x: float
    y: float
    width: float
    height: float
    shown: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """A chart over time.

    Attributes:
        columns: The columns, in the order of time.
        most: The number of the highest column.
        width: The width of the chart.
        height: The height of the chart.
    """

    columns: tuple[Column, ...]
    most: int
    width: int = WIDTH
    height: int = _HEIGHT


def columns_of(numbers: Sequence[tuple[str, int]]) -> Columns:
    """Return the chart of these labelled numbers, in their order; empty without any."""
    most = max((number for _, number in numbers), default=0)
    if not most:
        return Columns((), 0)
    step = WIDTH / len(numbers)
    every = -(-len(numbers) // 12)  # a dozen labels fit
    marks: list[Column] = []
    for place, (label, number) in enumerate(numbers):
        height = round(_HEIGHT * number / most, 1)
        # A column of one beside one of thousands must still be seen, as a line.
        height = max(height, 1.5) if number else 0
        width = round(max(step - _GAP, 1), 1)
        marks.append(
            Column(
                label,
                number,
                round(place * step, 1),
                _HEIGHT - height,
                width,
                height,
                shown=place % every == 0 and place * step <= WIDTH - 50,
            )
        )
    return Columns(tuple(marks), most)


def share_of(number: int, most: int) -> float:
    """Return the length of a bar in hundredths of the longest one's."""
    return max(round(100 * number / most, 1), 0.5) if number else 0
