"""How plainly the package speaks: riddling words and comments, counted for each room.

Run it as ``python tests/plain_words.py``. Two counts, and what they should be:

- riddling words per 1,000 words of docstrings and comments: at most 1.0. They hide who acts (`RIDDLES`);
- comments per 100 lines of code: 3 to 8. Fewer leave out why a line must stand, more repeat what it does.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from support.source import MODULES, PACKAGE

RIDDLES = re.compile(
    r"\b(?:whoever|whomever|whose|somebody|anybody|nobody|whatever|meanwhile|anew)\b",  # each hides an actor
    re.IGNORECASE,
)
DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|pragma:|pyright:|fmt:|ruff:)")
"""A comment that speaks to a tool."""


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted in some source; counts add up."""

    words: int = 0
    riddles: int = 0
    comments: int = 0
    code: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.words + other.words,
            self.riddles + other.riddles,
            self.comments + other.comments,
            self.code + other.code,
        )

    @property
    def riddling(self) -> float:
        """Riddling words per 1,000 words of docstrings and comments."""
        return 1000 * self.riddles / max(self.words, 1)

    @property
    def commented(self) -> float:
        """Comments per 100 lines of code."""
        return 100 * self.comments / max(self.code, 1)


def docstrings(source: str) -> list[ast.Constant]:
    """Return the docstrings of modules, classes, functions and attributes."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


def comments(source: str) -> list[tokenize.TokenInfo]:
    """Return the comments for people."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [each for each in tokens if each.type == tokenize.COMMENT and not DIRECTIVE.match(each.string)]


def count(source: str) -> Count:
    """Count the words, the riddles, the lines with a comment, and the lines of code."""
    texts, notes = docstrings(source), comments(source)
    lines = source.splitlines()
    alone = {note.start[0] for note in notes if lines[note.start[0] - 1].lstrip().startswith("#")}
    told = {number for text in texts for number in range(text.lineno, (text.end_lineno or 0) + 1)}
    blank = {number for number, line in enumerate(lines, 1) if not line.strip()}
    prose = " ".join([*(str(text.value) for text in texts), *(note.string for note in notes)])
    return Count(
        words=len(re.findall(r"[A-Za-z']+", prose)),
        riddles=len(RIDDLES.findall(prose)),
        comments=len(notes),
        code=len(lines) - len(told | blank | alone),
    )


@cache
def by_room() -> dict[str, Count]:
    """Count for each folder of the package, and for each module beside them."""
    rooms: dict[str, Count] = defaultdict(Count)
    for name in MODULES:
        path = PurePosixPath(name)
        rooms[path.stem if path.parent.name == "" else path.parent.as_posix()] += count((PACKAGE / name).read_text())
    return dict(sorted(rooms.items()))


def report() -> str:
    """Return the table of all rooms, and the total."""
    rooms = by_room() | {"total": sum(by_room().values(), Count())}
    head = f"{'room':24}{'riddles per 1,000 words':>26}{'comments per 100 lines':>26}"
    return "\n".join([head, *(f"{room:24}{each.riddling:26.1f}{each.commented:26.1f}" for room, each in rooms.items())])


if __name__ == "__main__":
    print(report())
