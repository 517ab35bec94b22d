"""A large file of events with every kind of dirt, and what has to become of each of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE: Final = 500
EVERY: Final = 40
"""One row of so many is dirty."""
HEADER: Final = "event,external_id,email,time,value,number,unique_id,note\n"
BEGAN: Final = 1_790_000_000
REFUSED: Final = (
    "Placed Order,NULL,x@shop.test,{time},,{number},,",
    "Placed Order,c-1,nobody,{time},,{number},,",
    "Placed Order,c-1,c1@shop.test,yesterday,,{number},,",
    "Placed Order,c-1,c1@shop.test,NaT,,{number},,",
    "Placed Order,c-1,c1@shop.test,{time}000,,{number},,",
    "Placed Order,\\N,c1@shop.test,{time},7,{number},,",
    'Placed Order,c-1,c1@shop.test,{time},"1,234.50",{number},,',
    'Placed Order,c-1,c1@shop.test,{time},7,"1,2",,',
    "Placed Order,c-1,c1@shop.test",
    "Placed Order,c-1,c1@shop.test,{time},7,{number},,a,b",
    "Placed Order,'901,c1@shop.test,{time},7,{number},,",
    "Placed Order,c-1,c1@shop.test,{time},7,{number},,a\0b",
    "Placed Order,5912842371.0,c1@shop.test,{time},7,{number},,",
    "Placed Order,c-1,c2@shop.test,{time},7,{number},,",
    "Placed Order,c-1,c1@shop.test,{time},7,{number},{long},",
    "{long},c-1,c1@shop.test,{time},7,{number},,",
    ",c-1,c1@shop.test,{time},7,{number},,",
    ",,,,,,,x",
)
TAKEN: Final = (
    'Placed Order,c-{who},c{who}@shop.test,{time},12.50,{number},,"two\nlines, and ""quotes"""',
    "  Placed Order ,c-{who},C{who}@Shop.test,2026-09-21T12:00:00Z,,{number},,\ufeff\u200b\U0001f462",
    "Placed Order,,c{who}@shop.test,{time}.0,0,{number},,NULL",
    "Placed Order,c-{who},,{time},,{number},,{long}",
    "\n,,,,,,,\nPlaced Order,c-{who},c{who}@shop.test,{time},-1,{number},,",
)
LONG: Final = "x" * 300


class Written(NamedTuple):
    """What a file has: how many rows, the numbers of the events that arrive, and of how many rows none does."""

    rows: int
    taken: range | list[int]
    refused: int


def person(who: int) -> dict[str, str]:
    """Return a customer of the file."""
    return {"external_id": f"c-{who}", "email": f"c{who}@shop.test", "profile_id": f"P{who}"}


def write(path: Path, rows: int) -> Written:
    """Write a file of so many rows, dirty ones between the clean, each kind in turn."""
    taken: list[int] = []
    refused = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for number in range(rows):
            given = {"number": number, "who": number % PEOPLE, "time": BEGAN + number, "long": LONG}
            turn, is_dirty = divmod(number, EVERY)
            if not is_dirty and turn % 2:
                file.write(REFUSED[turn // 2 % len(REFUSED)].format(**given) + "\n")
                refused += 1
                continue
            line = (
                TAKEN[turn // 2 % len(TAKEN)]
                if not is_dirty
                else "Placed Order,c-{who},c{who}@shop.test,{time},,{number},,"
            )
            file.write(line.format(**given) + "\n")
            taken.append(number)
    return Written(rows, taken, refused)


PROGRAM: Final = """
import resource, sys
from safeklaviyo.cli import main
status = main(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
"""Runs a command, and says how it ended and the most memory that it had, in KiB."""
