"""JSON with the places of its values, so that a few of them can be replaced and everything else stays as it was sent.

Only the values that a *shape* names are opened. All other values are skipped at the speed of Python's own scanner. A
body with the same name twice in an opened object is marked, because readers disagree about which of the two counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from json import decoder
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NAMED: Final = r"""[ \t\n\r]*"((?:[^"\\\x00-\x1f]|\\.)*)"[ \t\n\r]*:[ \t\n\r]*"""
_FIRST: Final = re.compile(rf"\{{(?:[ \t\n\r]*(\}})|{_NAMED})")
"""A brace, and the first name behind it or the closing brace."""
_NEXT: Final = re.compile(rf"[ \t\n\r]*(?:(\}})|,{_NAMED})")
"""What follows a value: a comma with the next name, or the closing brace."""
_AFTER: Final = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")
# `raw_decode` without its own frame. It raises `StopIteration` where there is no value.
_value_at: Final[Callable[[str, int], tuple[Any, int]]] = cast("Any", decoder.JSONDecoder()).scan_once

Shape: TypeAlias = "Mapping[str, Shape]"
"""The names to open in an object, each with what to open below it. ``EACH`` stands for the elements of an array."""

EACH: Final = "*"


@dataclass(slots=True, repr=False)
class Member:
    """One name of an object with its value.

    Attributes:
        at: Where the name begins.
        start: Where the value begins.
        end: Where the value ends.
        value: An `Object` or an `Array` if the shape opens the value; else what Python's decoder returns.
    """

    at: int
    start: int
    end: int
    value: Any


@dataclass(slots=True, repr=False)
class Object:
    """An object that was opened.

    Attributes:
        start: The place of the opening brace.
        end: The place behind the closing brace.
        members: The names of the object with their values.
    """

    start: int
    end: int
    members: dict[str, Member]

    def get(self, name: str) -> Any:
        """Return the value of a name; None if the object does not have the name."""
        member = self.members.get(name)
        return None if member is None else member.value

    def opened(self, name: str) -> Object | None:
        """Return the object of a name; None if there is none, or the value is no object."""
        value = self.get(name)
        return value if isinstance(value, Object) else None


@dataclass(slots=True, repr=False)
class Array:
    """An array with opened elements."""

    start: int
    end: int
    elements: list[Any]


def plain(value: Any) -> Any:
    """Return a value as Python's decoder would have returned it, where it is opened or not."""
    if isinstance(value, Object):
        return {name: plain(member.value) for name, member in value.members.items()}
    if isinstance(value, Array):
        return [plain(each) for each in value.elements]
    return value


def scan(text: str, shape: Shape) -> tuple[Any, bool]:
    """Read a document.

    Returns:
        The document, as `Member.value` describes it; and whether any opened object has the same name twice.

    Raises:
        ValueError: The text is no JSON.
        RecursionError: The document is nested too deep.
    """
    scanner = _Scanner(text)
    try:
        value, end = scanner.value(_skipped(text, 0), shape)
    except StopIteration:
        raise ValueError("a value was expected") from None
    if _skipped(text, end) != len(text):
        raise ValueError("something follows the document")
    return value, scanner.has_twins


def _skipped(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


class _Scanner:
    """Reads one text."""

    __slots__ = ("_text", "has_twins")

    def __init__(self, text: str) -> None:
        self._text = text
        self.has_twins = False

    def value(self, at: int, shape: Shape | None) -> tuple[Any, int]:
        """Read the value that begins at a place; return it, and where what follows it begins."""
        if shape is not None:
            first = self._text[at : at + 1]
            if first == "{":
                opened = self._object(at, shape)
                return opened, opened.end
            if first == "[" and EACH in shape:
                array = self._array(at, shape[EACH])
                return array, array.end
        return _value_at(self._text, at)

    def _object(self, start: int, shape: Shape) -> Object:
        members: dict[str, Member] = {}
        text, opens, follows = self._text, shape.get, _NEXT.match
        found = _FIRST.match(text, start)
        while True:
            if found is None:
                raise ValueError("a name was expected")
            name = found[2]
            if name is None:
                return Object(start, found.end(), members)
            at, begin = found.start(2) - 1, found.end()
            if "\\" in name:
                name = _value_at(text, at)[0]
            inner = opens(name)
            value, after = _value_at(text, begin) if inner is None else self.value(begin, inner)
            if name in members:
                self.has_twins = True
            members[name] = Member(at, begin, after, value)
            found = follows(text, after)

    def _array(self, start: int, shape: Shape) -> Array:
        elements: list[Any] = []
        text = self._text
        at = _skipped(text, start + 1)
        if text[at : at + 1] == "]":
            return Array(start, at + 1, elements)
        while True:
            value, after = self.value(at, shape)
            elements.append(value)
            end = _AFTER.match(text, after)
            if end is None:
                raise ValueError("a comma was expected")
            if end[1] == "]":
                return Array(start, end.start(1) + 1, elements)
            at = end.end()
