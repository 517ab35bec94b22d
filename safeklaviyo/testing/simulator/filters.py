"""Klaviyo's filter language (Klaviyo's *Filtering*): which fields and operators there are is each endpoint's own.

A filter is a conjunction: ``and(…)`` or terms joined by commas. Strings are in double or single quotes, with JSON's
escapes and one of a single quote; a string without quotes is refused, as Klaviyo does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import ge, gt, le, lt
from typing import Any, cast

from safeklaviyo.testing.simulator.refusals import Refusal, invalid_parameter

Fields = Mapping[str, tuple[str, ...]]
"""The operators of each field."""

SAME = ("equals",)
AMONG = ("equals", "any")
LATER = ("greater-than",)
AROUND = ("greater-than", "less-than")
RANGE = (*AROUND, "greater-or-equal", "less-or-equal")
THERE = ("has",)

_TIMES = ("created", "updated", "datetime", "joined_group_at")
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "greater-than": gt, "greater-or-equal": ge, "less-than": lt, "less-or-equal": le,
}  # fmt: skip
_LITERALS = {"true": True, "false": False}
_NAME = re.compile(r"\s*([A-Za-z_$][\w.$-]*)\s*")
_STRING = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*""", re.DOTALL)
_LITERAL = re.compile(r"\s*(true|false)\s*")
_INTEGER = re.compile(r"\s*(-?\d{1,18})\s*", re.ASCII)
_ESCAPED = re.compile(r'\\.|"', re.DOTALL)
_AS_JSON = {"\\'": "'", '"': '\\"'}
"""What a single quote escapes, and what JSON escapes instead."""
_MOMENT = re.compile(r"\s*(\d{4}-\d{2}-\d{2}[0-9T:.+Z-]*)\s*")
_OPERATORS = frozenset({*AMONG, *RANGE, *THERE})


@dataclass(frozen=True, slots=True, repr=False)
class Term:
    """One comparison.

    Attributes:
        values: What the field is compared with: strings, truth values, or unix seconds; none for ``has``.
    """

    operator: str
    name: str
    values: tuple[Any, ...] = ()

    def meets(self, value: Any) -> bool:
        """Whether a field's value is described. Of several values one is enough."""
        given = [each for each in _several(value) if each is not None]
        if self.operator == "has":
            return bool(given)
        if self.operator in AMONG:
            return any(each in self.values for each in given)
        return any(_COMPARED[self.operator](each, self.values[0]) for each in given)


def parse(text: str, fields: Fields) -> list[Term]:
    """Read a filter.

    Args:
        fields: What this endpoint allows.

    Raises:
        Refusal: 400, if the filter is malformed or uses an operator that the field does not have.
    """
    reader = _Reader(text, fields)
    try:
        terms = reader.terms()
    except RecursionError:
        raise reader.refusal("this is nested too deeply") from None
    if not reader.at_end():
        raise reader.refusal("something follows the filter")
    return terms


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]


class _Reader:
    """Reads one filter from its beginning to its end."""

    def __init__(self, text: str, fields: Fields) -> None:
        self._text = text
        self._fields = fields
        self._at = 0

    def at_end(self) -> bool:
        """Tell whether the whole filter was read."""
        return not self._text[self._at :].strip()

    def terms(self) -> list[Term]:
        """Read terms up to the last one that a comma joins.

        Raises:
            Refusal: 400.
        """
        terms = self._term()
        while self._taken(","):
            terms += self._term()
        return terms

    def _term(self) -> list[Term]:
        operator = self._operator()
        self._expect("(")
        if operator == "and":
            terms = self.terms()
        else:
            name = self._match(_NAME, "a field's name")
            if operator not in self._fields.get(name, ()):
                raise self.refusal(f"'{operator}' is not an allowed operator for this field")
            terms = [Term(operator, name, () if operator == "has" else self._values(operator, name))]
        self._expect(")")
        return terms

    def _operator(self) -> str:
        operator = self._match(_NAME, "an operator")
        if operator != "and" and operator not in _OPERATORS:
            raise self.refusal("this is no operator")
        return operator

    def _values(self, operator: str, name: str) -> tuple[Any, ...]:
        self._expect(",")
        if operator != "any":
            return (self._value(name),)
        self._expect("[")
        values = [self._value(name)]
        while self._taken(","):
            values.append(self._value(name))
        self._expect("]")
        return tuple(values)

    def _value(self, name: str) -> str | float | bool:
        # The field's name decides the type of its value; the filter language has no types of its own.
        if name == "timestamp":
            return float(self._match(_INTEGER, "a time in unix seconds"))
        if name.endswith((*_TIMES, ".timestamp")):
            return self._moment()
        return _LITERALS[self._match(_LITERAL, "true or false")] if name.startswith("is_") else self._string()

    def _string(self) -> str:
        raw = self._match(_STRING, "a string in quotes")
        if raw.startswith("'"):
            inner = _ESCAPED.sub(lambda found: _AS_JSON.get(found[0], found[0]), raw[1:-1])
            raw = f'"{inner}"'
        try:
            # Escapes are JSON's. Not strict: a raw line break in a string is accepted.
            return cast("str", json.loads(raw, strict=False))
        except ValueError:
            raise self.refusal("an escape in a string is malformed") from None

    def _moment(self) -> float:
        quoted = _STRING.match(self._text, self._at)
        text = self._string() if quoted else self._match(_MOMENT, "a time in ISO 8601")
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise self.refusal("a time is not ISO 8601") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self.refusal(f"expected {what}")
        self._at = found.end()
        return found[1]

    def _taken(self, mark: str) -> bool:
        rest = self._text[self._at :]
        if not rest.lstrip().startswith(mark):
            return False
        self._at += len(rest) - len(rest.lstrip()) + len(mark)
        return True

    def _expect(self, mark: str) -> None:
        if not self._taken(mark):
            raise self.refusal(f"expected '{mark}'")

    def refusal(self, why: str) -> Refusal:
        """Return the refusal of the filter, with the place at which it is wrong."""
        return invalid_parameter(f"Invalid filter provided: {why} at position {self._at}.", "filter")
