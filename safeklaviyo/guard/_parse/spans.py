"""JSON with the places of its values, so that a few of them can be replaced and everything else stays as it was sent.

Only the values that a *shape* names are opened. All other values are skipped at the speed of Python's own scanner. A
body with the same name twice in an opened object is marked, because readers disagree about which of the two counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from json import decoder
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NAME: Final = re.compile(r'[ \t\n\r]*("(?:[^"\\\x00-\x1f]|\\.)*")[ \t\n\r]*:[ \t\n\r]*')
_AFTER: Final = re.compile(r"[ \t\n\r]*([,\]}])[ \t\n\r]*")
_value_at = decoder.JSONDecoder().raw_decode

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
    end: int = 0
    members: dict[str, Member] = field(default_factory=dict[str, Member])

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
    end: int = 0
    elements: list[Any] = field(default_factory=list[Any])


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
    value, end = scanner.value(_skipped(text, 0), shape)
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
        """Read the value that begins at a place; return the value, and the place behind it."""
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
        opened, text = Object(start), self._text
        members, at = opened.members, start + 1
        end = _AFTER.match(text, at)
        while end is None or end[1] != "}" or members:
            found = _NAME.match(text, at)
            if found is None:
                raise ValueError("a name was expected")
            name = found[1][1:-1]
            # An escaped name is the same name to Klaviyo. Unread, it would pass by the shape.
            if "\\" in name:
                name = _value_at(found[1])[0]
            begin = found.end()
            value, after = self.value(begin, shape.get(name))
            self.has_twins = self.has_twins or name in members
            members[name] = Member(found.start(1), begin, after, value)
            end = _AFTER.match(text, after)
            if end is None or end[1] == "]":
                raise ValueError("a comma was expected")
            if end[1] == "}":
                break
            at = end.end()
        opened.end = end.start(1) + 1
        return opened

    def _array(self, start: int, shape: Shape) -> Array:
        opened, text = Array(start), self._text
        at = _skipped(text, start + 1)
        if text[at : at + 1] == "]":
            opened.end = at + 1
            return opened
        while True:
            value, after = self.value(at, shape)
            opened.elements.append(value)
            end = _AFTER.match(text, after)
            if end is None or end[1] == "}":
                raise ValueError("a comma was expected")
            if end[1] == "]":
                opened.end = end.start(1) + 1
                return opened
            at = end.end()
