"""Values: what can travel as JSON, what is converted to it, and what is refused with its path.

Decided here: types and the limits of single values (Klaviyo's Events API overview, "Limitations"). Not here: what a
key means (`reserved_keys`), and the size of a whole body, which is checked where it is encoded (`_api`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, cast
from uuid import UUID

from safeklaviyo.errors import InvalidPropertyError
from safeklaviyo.identity import mask
from safeklaviyo.models import CLEAR, Clear

# Klaviyo does not say whether its KB are 1000 or 1024 bytes; the smaller reading never sends what could be dropped.
KB = 1000
MAX_TEXT_BYTES = 100 * KB
MAX_ITEMS = 4000
MAX_DEPTH = 10
MAX_INT = 2**63 - 1
MIN_INT = -(2**63)

_SAFE_LENGTH = MAX_TEXT_BYTES // 4  # no character takes more than four bytes
_MAX_SHOWN_KEY = 64


def refused(path: str, why: str) -> InvalidPropertyError:
    """Return the error that names what cannot be sent and where it stands."""
    return InvalidPropertyError(f"{path} {why}", path=path)


def sendable(properties: Mapping[str, Any], where: str, *, of_person: bool) -> dict[str, Any]:
    """Return the properties as JSON can say them: the same object where nothing needs converting.

    Strings, numbers, booleans, lists, tuples and mappings stay. An aware datetime and a date become ISO 8601, a UUID a
    string, an Enum its value. A Decimal becomes the JSON number that reads back as the same Decimal; one with more
    digits than a number carries becomes a string. Tuples are left as they are: JSON writes them as lists.

    Args:
        where: The name of the properties in a path, such as ``"customer_properties"``.
        of_person: Refuse None, and turn `CLEAR` into null; in an event it is the other way round.

    Raises:
        InvalidPropertyError: A value, a key or the depth cannot be sent; `path` says which.
    """
    try:
        return _object(properties, 1, CLEAR if of_person else None)
    except _UnsendableError as exc:
        raise refused(exc.path(where), exc.why) from None


def sendable_value(value: object, where: str, *, of_person: bool) -> Any:
    """Return one value as JSON can say it. See `sendable`.

    Raises:
        InvalidPropertyError: It cannot be sent.
    """
    try:
        return _value(value, 1, CLEAR if of_person else None)
    except _UnsendableError as exc:
        raise refused(exc.path(where), exc.why) from None


def shown(key: object) -> str:
    """Return a key as it can stand in a message: printable, not endless, and without an address."""
    text = key if isinstance(key, str) else f"<{type(key).__name__}>"
    if "@" in text:
        text = mask(text)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _MAX_SHOWN_KEY else f"{text[:_MAX_SHOWN_KEY]}…"


class _UnsendableError(Exception):
    """A value cannot be sent. Each level that the error passes adds its step, so a path costs nothing without one."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.steps: list[str] = []

    def path(self, where: str) -> str:
        return where + "".join(reversed(self.steps))


def _object(value: Mapping[Any, Any], depth: int, null: Clear | None) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise _UnsendableError(f"is nested deeper than {MAX_DEPTH} levels")
    # Copied only when something has to be converted: most properties can travel as they are (F-32).
    result: dict[str, Any] = value if isinstance(value, dict) else dict(value)
    changed: dict[str, Any] | None = None
    key: Any = None
    try:
        for key, item in result.items():
            if type(key) is not str or not key.isascii():
                _check_key(key)
            sent = _value(item, depth, null)
            if sent is not item:
                if changed is None:
                    changed = dict(result)
                changed[key] = sent
    except _UnsendableError as exc:
        exc.steps.append(f".{shown(key)}")
        raise
    return result if changed is None else changed


def _array(value: list[Any] | tuple[Any, ...], depth: int, null: Clear | None) -> list[Any] | tuple[Any, ...]:
    if depth > MAX_DEPTH:
        raise _UnsendableError(f"is nested deeper than {MAX_DEPTH} levels")
    if len(value) > MAX_ITEMS:
        raise _UnsendableError(f"has more than {MAX_ITEMS} items")
    changed: list[Any] | None = None
    index = 0
    try:
        for index, item in enumerate(value):
            sent = _value(item, depth, null)
            if sent is not item:
                if changed is None:
                    changed = list(value)
                changed[index] = sent
    except _UnsendableError as exc:
        exc.steps.append(f"[{index}]")
        raise
    return value if changed is None else changed


def _value(item: Any, depth: int, null: Clear | None) -> Any:
    # By exact type, the commonest first. A subclass goes through `_converted`, which makes a plain value of it.
    kind = type(item)  # pyright: ignore[reportUnknownVariableType] - it is the type of anything
    if kind is str:
        if len(item) > _SAFE_LENGTH or not item.isascii():
            _check_text(item)
    elif kind is int:
        if not MIN_INT <= item <= MAX_INT:
            raise _UnsendableError("does not fit into 64 bits; give a string")
    elif kind is float:
        if not isfinite(item):
            raise _UnsendableError("is not a finite number")
    elif kind is dict:
        return _object(item, depth + 1, null)
    elif kind is list or kind is tuple:
        return _array(item, depth + 1, null)
    elif kind is not bool:
        return _converted(item, depth, null)
    return item


def _converted(item: object, depth: int, null: Clear | None) -> Any:
    if item is null:
        return None
    if item is None:
        raise _UnsendableError("is None, which could erase it by accident; leave it out, or give CLEAR to erase it")
    if item is CLEAR:
        raise _UnsendableError("is CLEAR, which is for a person's properties; give None")
    if isinstance(item, Enum):
        return _value(item.value, depth, null)
    if isinstance(item, Mapping):
        return _object(cast("Mapping[object, object]", item), depth + 1, null)
    if isinstance(item, list | tuple):
        return _array(item, depth + 1, null)  # pyright: ignore[reportUnknownArgumentType]
    return _value(_plain(item), depth, null)


def _plain(item: object) -> str | int | float:
    if isinstance(item, str):
        return str.__str__(item)
    if isinstance(item, int):
        return int.__index__(item)
    if isinstance(item, float):
        return float.__float__(item)
    # A datetime without a zone would be read in a zone that neither side has agreed on.
    if isinstance(item, datetime) and item.utcoffset() is None:
        raise _UnsendableError("is a datetime without a time zone; give one that has it")
    if isinstance(item, date):
        return item.isoformat()
    if isinstance(item, UUID):
        return str(item)
    if isinstance(item, Decimal):
        return _decimal(item)
    raise _UnsendableError(f"is a {type(item).__name__}, which JSON cannot say; convert it first")


def _decimal(item: Decimal) -> str | int | float:
    if not item.is_finite():
        raise _UnsendableError("is not a finite number")
    if -1 <= item.adjusted() <= 18 and item == item.to_integral_value() and MIN_INT <= item <= MAX_INT:
        return int(item)
    # A float if it reads back as the same Decimal; else text, so that a price does not become another price.
    number = float(item)
    return number if isfinite(number) and Decimal(repr(number)) == item else str(item)


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise _UnsendableError("is a key that is not a string")
    _check_text(key)


def _check_text(text: str) -> None:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        # Not chained: the codec's message quotes the text.
        raise _UnsendableError("has half of a surrogate pair, which is no character") from None
    if size > MAX_TEXT_BYTES:
        raise _UnsendableError("is longer than 100 KB")
