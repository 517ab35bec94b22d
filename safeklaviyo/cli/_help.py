"""How the texts of the commands' help are wrapped: paragraphs are filled to the terminal's width, lists stay lists."""

from __future__ import annotations

import re
import textwrap
from argparse import HelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HANGING = re.compile(r" +(- |\S+(?: \S+)*  +)?")


class Paragraphs(HelpFormatter):
    """Fills the paragraphs of a description. An indented line is an item of a list, and goes on under its text."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filler = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
        lines: list[str] = []
        for item in _items(text):
            filler.initial_indent, filler.subsequent_indent = indent + _indent(item), indent + _hanging(item)
            lines.append(filler.fill(item.strip()))
        return "\n".join(lines)


def _items(text: str) -> Iterator[str]:
    """Yield the paragraphs and the items of lists; an empty text for each blank line."""
    paragraph: list[str] = []
    for line in [*text.strip().splitlines(), ""]:
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        if paragraph:
            yield " ".join(paragraph)
            paragraph.clear()
        yield line


def _indent(item: str) -> str:
    return item[: len(item) - len(item.lstrip())]


def _hanging(item: str) -> str:
    found = _HANGING.match(item)
    return "" if found is None else " " * len(found[0])
