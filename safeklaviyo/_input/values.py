"""Values: what can travel as JSON, what is converted to it, and what is left out, with its path.

Decided here: types and the limits of single values (Klaviyo's Events API overview, "Limitations"). Not here: what a
key means (`reserved_keys`), what becomes of what cannot be sent (`findings`), and the size of a whole body, which is
checked where it is encoded (`_api`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from uuid import UUID

from safeklaviyo.identity import mask, text_of
from safeklaviyo.models import CLEAR, Clear

if TYPE_CHECKING:
    from safeklaviyo._input.findings import Findings

# Klaviyo does not say whether its KB are 1000 or 1024 bytes; the smaller reading never sends what could be dropped.
KB = 1000
MAX_TEXT_BYTES = 100 * KB
MAX_ITEMS = 4000
MAX_DEPTH = 10
MAX_INT = 2**63 - 1
MIN_INT = -(2**63)

_SAFE_LENGTH = MAX_TEXT_BYTES // 4  # no character takes more than four bytes
_MAX_SHOWN_KEY = 64
_MANY_DIGITS = 7
_TEXT_METHODS = ("casefold", "encode", "splitlines")
_NO_VALUE = {
    CLEAR: "is None, which could erase it by accident; to erase it, give CLEAR",
    None: "is CLEAR, which is for a person's properties; give None",
}
"""Why what means "no value" elsewhere cannot be sent, by what means it here."""


class _LeftOut(Enum):
    LEFT_OUT = "LEFT_OUT"


LEFT_OUT: Final = _LeftOut.LEFT_OUT
"""Stands for a value that cannot be sent; what was found says why."""

Path: TypeAlias = "tuple[Path | None, str | int]"
"""Where something stands: what it stands in, and the key or index there. Written out only when it is needed."""


class UnsendableError(Exception):
    """A single value cannot be sent. Never leaves this package."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def sendable(properties: Mapping[str, Any], where: str, findings: Findings, *, of_person: bool) -> dict[str, Any]:
    """Return the properties as JSON can say them: the same object where nothing needs converting.

    Strings, numbers, booleans, lists, tuples and mappings stay. An aware datetime and a date become ISO 8601, a UUID a
    string, an Enum its value, a text that is translated late its text. A Decimal becomes the JSON number that reads
    back as the same Decimal; one with more digits than a number carries becomes a string. Tuples are left as they are:
    JSON writes them as lists. What cannot be sent is left out, and so is what then is empty: an empty list in its place
    would erase what Klaviyo has.

    Args:
        where: The name of the properties in a path, such as ``"customer_properties"``.
        of_person: Leave None out, and turn `CLEAR` into null; in an event it is the other way round.
    """
    sent = _Reader(findings, CLEAR if of_person else None).mapping(properties, 1, (None, where))
    return {} if sent is LEFT_OUT else sent


def sendable_value(value: object, where: str, findings: Findings, *, of_person: bool) -> Any:
    """Return one value as JSON can say it, or `LEFT_OUT`. See `sendable`."""
    return _Reader(findings, CLEAR if of_person else None).value(value, 1, None, where)


def mapping_of(value: object, where: str, findings: Findings) -> dict[Any, Any] | None:
    """Return a mapping as a dict: the same object if it is one, None where the value cannot be read."""
    if type(value) is dict:  # pyright: ignore[reportUnknownVariableType] - checked key by key, by its readers
        return cast("dict[Any, object]", value)
    kind = type(value).__name__
    if not isinstance(value, Mapping):
        findings.leave_out(where, f"is a {kind}; give a mapping")
        return None
    try:
        return dict(cast("Mapping[Any, object]", value))
    except Exception:  # noqa: BLE001 - the code of a class of the caller's, which may raise anything
        findings.leave_out(where, f"is a {kind} that cannot be read")
        return None


def shown(key: object) -> str:
    """Return a key as it can stand in a message: printable, not endless, and without an address or a number in it."""
    text = str.__str__(key) if isinstance(key, str) else f"<{type(key).__name__}>"
    if "@" in text or sum(map(str.isdigit, text[:_MAX_SHOWN_KEY])) >= _MANY_DIGITS:
        text = mask(text)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _MAX_SHOWN_KEY else f"{text[:_MAX_SHOWN_KEY]}…"


def is_plain(item: Any) -> bool:
    """Tell whether a value surely is JSON and within the limits; most values are, and this is all they cost (F-32)."""
    kind: type = type(item)  # pyright: ignore[reportUnknownVariableType] - it is the type of anything
    if kind is str:
        return len(item) <= _SAFE_LENGTH and str.isascii(item)
    if kind is int:
        return bool(MIN_INT <= item <= MAX_INT)
    return isfinite(item) if kind is float else kind is bool


def leaf(value: object) -> str | int | float | bool:
    """Return one value that is neither a list nor a mapping as JSON can say it.

    Raises:
        UnsendableError: The value cannot be sent.
    """
    if is_plain(value):
        return cast("str | int | float | bool", value)
    plain = value if type(value) in (str, int, float) else _plain(value)
    why = _limits(plain)
    if why is not None:
        raise UnsendableError(why)
    return cast("str | int | float | bool", plain)


class _Reader:
    """Reads one tree of values.

    Args:
        null: What becomes null: `CLEAR` for a person, None for an event.
    """

    __slots__ = ("_findings", "_null")

    def __init__(self, findings: Findings, null: Clear | None) -> None:
        self._findings = findings
        self._null = null

    def mapping(self, value: Mapping[Any, Any], depth: int, path: Path) -> Any:
        """Return a mapping as Klaviyo takes it; `LEFT_OUT` if none of it is left."""
        if depth > MAX_DEPTH:
            return self._leave_out(path, f"is nested deeper than {MAX_DEPTH} levels")
        result = value if isinstance(value, dict) else mapping_of(value, _written(path), self._findings)
        if result is None:
            return LEFT_OUT
        # Copied only when something has to be converted: most properties can travel as they are (F-32).
        changed: dict[str, Any] | None = None
        for key, item in result.items():
            name = key if type(key) is str and key.isascii() else self._key(key, path, result)
            # Texts are most of all values, and are judged here, because a call costs more than the answer.
            is_text = type(item) is str and len(item) <= _SAFE_LENGTH and item.isascii()
            if name is key and (is_text or is_plain(item)):
                continue
            sent = LEFT_OUT if name is None else self._read(item, depth, path, name)
            if sent is item and name is key:
                continue
            if changed is None:
                changed = dict(result)
            if name is not key or sent is LEFT_OUT:
                del changed[key]
            if name is not None and sent is not LEFT_OUT:
                changed[name] = sent
        if changed is None:
            return result
        return changed or LEFT_OUT

    def value(self, item: Any, depth: int, path: Path | None, step: Any) -> Any:
        """Return a value as Klaviyo takes it; `LEFT_OUT` if it cannot be sent."""
        return item if is_plain(item) else self._read(item, depth, path, step)

    def _read(self, item: Any, depth: int, path: Path | None, step: Any) -> Any:
        kind = type(item)  # pyright: ignore[reportUnknownVariableType] - it is the type of anything
        # By exact type. A subclass goes through `_converted`, which makes a plain value of it.
        if kind is dict:
            return self.mapping(item, depth + 1, (path, step))
        if kind is list or kind is tuple:
            return self._array(item, depth + 1, (path, step))
        if kind is not str and kind is not int and kind is not float:
            return self._converted(item, depth, (path, step))
        why = _limits(item)
        return item if why is None else self._leave_out((path, step), why)

    def _array(self, value: list[Any] | tuple[Any, ...], depth: int, path: Path) -> Any:
        if depth > MAX_DEPTH:
            return self._leave_out(path, f"is nested deeper than {MAX_DEPTH} levels")
        if len(value) > MAX_ITEMS:
            return self._leave_out(path, f"has more than {MAX_ITEMS} items")
        changed: list[Any] | None = None
        for index, item in enumerate(value):
            # As in a mapping: most items are texts.
            is_text = type(item) is str and len(item) <= _SAFE_LENGTH and item.isascii()
            sent = item if is_text or is_plain(item) else self._read(item, depth, path, index)
            if sent is not item and changed is None:
                changed = list(value[:index])
            if changed is not None and sent is not LEFT_OUT:
                changed.append(sent)
        if changed is None:
            return value
        return changed or LEFT_OUT

    def _converted(self, item: object, depth: int, path: Path) -> Any:
        outer, step = path
        if item is None or item is CLEAR:
            return None if item is self._null else self._leave_out(path, _NO_VALUE[self._null])
        if isinstance(item, Enum):
            return self.value(item.value, depth, outer, step)
        if isinstance(item, Mapping):
            return self.mapping(cast("Mapping[object, object]", item), depth + 1, path)
        if isinstance(item, list | tuple):
            return self._array(list(cast("list[object]", item)), depth + 1, path)
        try:
            return leaf(item)
        except UnsendableError as exc:
            return self._leave_out(path, exc.why)

    def _key(self, key: object, path: Path, beside: Mapping[Any, Any]) -> str | None:
        """Return a key as JSON can say it, or None if it cannot be sent."""
        if isinstance(key, str):
            text = str.__str__(key)
            why = _text_limits(text)
        elif isinstance(key, int | UUID) and not isinstance(key, bool):
            text = text_of(key)
            why = "is a key that stands there as a text too" if text in beside else None
        else:
            text, why = shown(key), "is a key that is not a string"
        if why is not None:
            self._leave_out((path, text), why)
            return None
        return key if type(key) is str else text

    def _leave_out(self, path: Path, why: str) -> _LeftOut:
        self._findings.leave_out(_written(path), why)
        return LEFT_OUT


def _written(path: Path) -> str:
    steps: list[str] = []
    at: Path | None = path
    while at is not None:
        at, step = at
        if at is None:
            steps.append(cast("str", step))
        else:
            steps.append(f"[{step}]" if type(step) is int else f".{shown(step)}")
    return "".join(reversed(steps))


def _limits(plain: object) -> str | None:
    """Return why a plain value is more than Klaviyo takes, or None."""
    if isinstance(plain, str):
        return _text_limits(plain)
    if isinstance(plain, float):
        return None if isfinite(plain) else "is not a finite number"
    if isinstance(plain, int) and not MIN_INT <= plain <= MAX_INT:
        return "does not fit into 64 bits; give a string"
    return None


def _text_limits(text: str) -> str | None:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        return "has half of a surrogate pair, which is no character"
    return None if size <= MAX_TEXT_BYTES else "is longer than 100 KB"


def _plain(item: object) -> str | int | float:
    if isinstance(item, str):
        return str.__str__(item)
    if isinstance(item, int):
        return int.__index__(item)
    if isinstance(item, float):
        return float.__float__(item)
    if isinstance(item, Decimal):
        return _decimal(item)
    if isinstance(item, UUID):
        return str(item)
    try:
        plain = _converted_by_its_class(item)
    except UnsendableError:
        raise
    except Exception:  # noqa: BLE001 - the code of a class of the caller's, which may raise anything
        raise UnsendableError(f"is a {type(item).__name__} that cannot be read") from None
    if plain is None:
        raise UnsendableError(f"is a {type(item).__name__}, which JSON cannot say; convert it first")
    return plain


def _converted_by_its_class(item: object) -> str | int | float | None:
    if isinstance(item, date):
        return _moment(item)
    # numpy's numbers.
    if isinstance(item, Integral):
        return int(item)
    if isinstance(item, Real):
        number = float(item)
        return number if number == item or not isfinite(number) else None
    # Django's and others' texts that are translated when they are read. Asked of the class: a mock has every method.
    if all(callable(getattr(type(item), method, None)) for method in _TEXT_METHODS):
        return str(item)
    return None


def _moment(item: date) -> str:
    # pandas' missing date is a datetime to Python, and equals nothing.
    if item != item:  # noqa: PLR0124
        raise UnsendableError("is a missing date; leave it out")
    # A datetime without a zone would be read in a zone that neither side has agreed on.
    if isinstance(item, datetime) and item.utcoffset() is None:
        raise UnsendableError("is a datetime without a time zone; give one that has it")
    return item.isoformat()


def _decimal(item: Decimal) -> str | int | float:
    if not item.is_finite():
        raise UnsendableError("is not a finite number")
    if -1 <= item.adjusted() <= 18 and item == item.to_integral_value() and MIN_INT <= item <= MAX_INT:
        return int(item)
    # A float if it reads back as the same Decimal; else text, so that a price does not become another price.
    number = float(item)
    return number if isfinite(number) and Decimal(repr(number)) == item else str(item)
