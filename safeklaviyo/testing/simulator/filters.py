"""Klaviyo's filter language, as far as profiles have it (Klaviyo's *Filtering*, and the *Get Profiles* reference).

A filter is a conjunction: ``and(…)`` or terms joined by commas. Strings are quoted, with JSON's escapes; a string
without quotes is refused, as Klaviyo does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from safeklaviyo.testing.simulator.refusals import Refusal, invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

STRINGS = frozenset({"id", "email", "phone_number", "external_id"})
TIMES = frozenset({"created", "updated"})

_NAME = re.compile(r"\s*([A-Za-z_$][\w.$-]*)\s*")
_STRING = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
_MOMENT = re.compile(r"\s*(\d{4}-\d{2}-\d{2}[0-9T:.+Z-]*)\s*")
_OPERATORS: Mapping[str, frozenset[str]] = {
    "equals": STRINGS | {"_kx"},
    "any": STRINGS,
    "greater-than": TIMES,
    "less-than": TIMES,
}


@dataclass(frozen=True, slots=True, repr=False)
class Term:
    """One comparison.

    Attributes:
        values: Strings for equals and any; none for times.
        moment: Unix seconds for greater-than and less-than.
    """

    operator: str
    name: str
    values: tuple[str, ...] = ()
    moment: float = 0.0


def parse(text: str) -> list[Term]:
    """Read a filter.

    Raises:
        Refusal: 400, if the filter is malformed or uses an operator that the field does not have.
    """
    reader = _Reader(text)
    try:
        terms = reader.terms()
    except RecursionError:
        raise reader.refusal("this is nested too deeply") from None
    if not reader.at_end():
        raise reader.refusal("something follows the filter")
    return terms


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        return not self._text[self._at :].strip()

    def terms(self) -> list[Term]:
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
            if name not in _OPERATORS.get(operator, ()):
                raise self.refusal(f"'{operator}' is not an allowed operator for this field")
            self._expect(",")
            terms = [self._comparison(operator, name)]
        self._expect(")")
        return terms

    def _operator(self) -> str:
        operator = self._match(_NAME, "an operator")
        if operator != "and" and operator not in _OPERATORS:
            raise self.refusal("this is no operator")
        return operator

    def _comparison(self, operator: str, name: str) -> Term:
        if name in TIMES:
            return Term(operator, name, moment=self._moment())
        if operator == "equals":
            return Term(operator, name, (self._string(),))
        self._expect("[")
        values = [self._string()]
        while self._taken(","):
            values.append(self._string())
        self._expect("]")
        return Term(operator, name, tuple(values))

    def _string(self) -> str:
        raw = self._match(_STRING, "a string in double quotes")
        try:
            # Escapes are JSON's. Not strict: a raw line break in a string is accepted.
            return cast("str", json.loads(f'"{raw}"', strict=False))
        except ValueError:
            raise self.refusal("an escape in a string is malformed") from None

    def _moment(self) -> float:
        quoted = _STRING.match(self._text, self._at)
        text = self._match(_STRING if quoted else _MOMENT, "a time in ISO 8601")
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
        return invalid_parameter(f"Invalid filter provided: {why} at position {self._at}.", "filter")
