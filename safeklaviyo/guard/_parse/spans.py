"""JSON with the places of its values, so that a few of them can be replaced and everything else stays as it was sent.

Only what a *shape* names is opened; all other values are skipped at the speed of Python's own scanner. A body in which
one name stands twice within an opened object is marked: readers disagree about which of the two counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from json import decoder
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEEPEST: Final = 100
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_value_at = decoder.JSONDecoder().raw_decode
_name_at: Callable[[str, int], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]  # not in typeshed

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
        value: The value: an `Object` or an `Array` where the shape opens it; else as Python's decoder returns it.
    """

    at: int
    start: int
    end: int
    value: Any


@dataclass(slots=True, repr=False)
class Object:
    """An object that was opened.

    Attributes:
        start: Where its brace stands.
        end: Where what follows it begins.
        has_twins: A name stands in it twice.
    """

    start: int
    end: int = 0
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    has_twins: bool = False

    def get(self, name: str) -> Any:
        """Return a value; None where the name is not there."""
        member = self.members.get(name)
        return None if member is None else member.value

    def opened(self, name: str) -> Object | None:
        """Return the object of that name; None where there is none, or the value is something else."""
        value = self.get(name)
        return value if isinstance(value, Object) else None


@dataclass(slots=True, repr=False)
class Array:
    """An array whose elements were opened."""

    start: int
    end: int = 0
    elements: list[Any] = field(default_factory=list[Any])


def scan(text: str, shape: Shape) -> Any:
    """Return the document: an `Object` or an `Array` where the shape opens it, else as Python's decoder returns it.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    value, end = _value(text, _skipped(text, 0), shape, 0)
    if _skipped(text, end) != len(text):
        raise ValueError("something follows the document")
    return value


def _skipped(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _value(text: str, at: int, shape: Shape | None, depth: int) -> tuple[Any, int]:
    if shape is None or depth > _DEEPEST:
        return _value_at(text, at)
    first = text[at : at + 1]
    if first == "{":
        opened = _object(text, at, shape, depth)
        return opened, opened.end
    if first == "[" and EACH in shape:
        array = _array(text, at, shape[EACH], depth)
        return array, array.end
    return _value_at(text, at)


def _object(text: str, start: int, shape: Shape, depth: int) -> Object:
    opened = Object(start)
    at = _skipped(text, start + 1)
    if text[at : at + 1] == "}":
        opened.end = at + 1
        return opened
    while True:
        if text[at : at + 1] != '"':
            raise ValueError("a name was expected")
        name, after = _name_at(text, at + 1)
        after = _skipped(text, after)
        if text[after : after + 1] != ":":
            raise ValueError("a colon was expected")
        begin = _skipped(text, after + 1)
        value, end = _value(text, begin, shape.get(name), depth + 1)
        opened.has_twins = opened.has_twins or name in opened.members
        opened.members[name] = Member(at, begin, end, value)
        at = _skipped(text, end)
        mark = text[at : at + 1]
        if mark == "}":
            opened.end = at + 1
            return opened
        if mark != ",":
            raise ValueError("a comma was expected")
        at = _skipped(text, at + 1)


def _array(text: str, start: int, shape: Shape, depth: int) -> Array:
    opened = Array(start)
    at = _skipped(text, start + 1)
    if text[at : at + 1] == "]":
        opened.end = at + 1
        return opened
    while True:
        value, end = _value(text, at, shape, depth + 1)
        opened.elements.append(value)
        at = _skipped(text, end)
        mark = text[at : at + 1]
        if mark == "]":
            opened.end = at + 1
            return opened
        if mark != ",":
            raise ValueError("a comma was expected")
        at = _skipped(text, at + 1)
