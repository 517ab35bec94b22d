"""Values: what travels as JSON, what is converted to it, and what is refused with its path (F-25)."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict, UserDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import InvalidPropertyError
from safeklaviyo.models import CLEAR
from support.examples import examples
from support.values import MAX_DEPTH, MAX_INT, MAX_ITEMS, MAX_TEXT_BYTES, MIN_INT, sendable, sendable_value, shown

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(MIN_INT, MAX_INT) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
Pair = namedtuple("Pair", "first second")  # noqa: PYI024 - an untyped one is what shops have


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()


class Count(int):
    pass


class Price(float):
    pass


def nested(depth: int) -> dict[str, Any]:
    """Return properties of that many levels, the whole being the first."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@given(st.dictionaries(TEXT, JSON, max_size=5))
@settings(max_examples=examples(150), deadline=None)
def test_what_is_json_already_is_not_copied(properties: dict[str, Any]) -> None:
    """Properties that JSON can say are the same object afterwards, at every level."""
    assert properties is sendable(properties, "properties", of_person=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 11, 23, 12, 0, tzinfo=UTC), "2026-11-23T12:00:00+00:00"),
        (datetime(2026, 11, 23, 12, 0, tzinfo=timezone(timedelta(hours=1))), "2026-11-23T12:00:00+01:00"),
        (date(2026, 11, 23), "2026-11-23"),
        (UUID("12345678-1234-5678-1234-567812345678"), "12345678-1234-5678-1234-567812345678"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Word("x"), "x"),
        (Count(7), 7),
        (Price(1.5), 1.5),
        (Decimal("10.10"), 10.1),
        (Decimal("7.00"), 7),
        (Decimal(2**63 - 1), 2**63 - 1),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (Decimal(2**63), str(2**63)),
        (Decimal("1E+400"), "1E+400"),
        ((1, Colour.RED, Colour.RED), [1, "red", "red"]),
        (Pair(1, Colour.RED), [1, "red"]),
        (UserDict({"a": Decimal("1.5")}), {"a": 1.5}),
        (OrderedDict(a=[Colour.RED]), {"a": ["red"]}),
    ],
)
def test_f25_what_has_one_meaning_is_converted(value: object, expected: object) -> None:
    """F-25: dates, decimals, UUIDs and Enums become what JSON has for them, as plain types, within anything."""
    sent = sendable({"deep": [{"value": value}]}, "properties", of_person=False)
    assert {"deep": [{"value": expected}]} == sent
    assert type(expected) is type(sent["deep"][0]["value"])


@given(st.decimals(allow_nan=False, allow_infinity=False))
@settings(max_examples=200, deadline=None)
def test_a_decimal_reads_back_as_itself(value: Decimal) -> None:
    """The JSON number of a Decimal is exactly that Decimal; where no number is, it becomes its text."""
    written = json.dumps(sendable_value(value, "value", of_person=False))
    assert value == Decimal(json.loads(written, parse_float=Decimal, parse_int=Decimal))


def test_the_callers_mapping_is_not_changed() -> None:
    """Converting makes copies of what it changes and of nothing else."""
    untouched = {"x": [1]}
    given_properties = {"when": date(2026, 1, 1), "list": [Colour.RED, untouched], "other": untouched}
    sent = sendable(given_properties, "properties", of_person=False)
    assert {"when": date(2026, 1, 1), "list": [Colour.RED, untouched], "other": untouched} == given_properties
    assert untouched is sent["other"]
    assert untouched is sent["list"][1]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "not a finite number"),
        (float("-inf"), "not a finite number"),
        (Price("nan"), "not a finite number"),
        (Decimal("sNaN"), "not a finite number"),
        (Decimal("Infinity"), "not a finite number"),
        (b"x", "is a bytes"),
        ({1, 2}, "is a set"),
        (object(), "is a object"),
        (time(12, 0), "is a time"),
        (1j, "is a complex"),
        (datetime(2026, 11, 23), "without a time zone"),  # noqa: DTZ001 - refused for that
        (MAX_INT + 1, "64 bits"),
        (Count(MIN_INT - 1), "64 bits"),
        ("\ud800", "half of a surrogate pair"),
        (Word("\ud800"), "half of a surrogate pair"),
        ("x" * (MAX_TEXT_BYTES + 1), "longer than 100 KB"),
        ("é" * (MAX_TEXT_BYTES // 2 + 1), "longer than 100 KB"),
        ([0] * (MAX_ITEMS + 1), "more than 4000 items"),
        ({(1,): "x"}, "a key that is not a string"),
        (UserDict({None: "x"}), "a key that is not a string"),
        ({"\ud800": 1}, "half of a surrogate pair"),
        (CLEAR, "is CLEAR"),
    ],
)
def test_f25_what_json_cannot_say_is_refused_with_its_path(value: object, why: str) -> None:
    """F-25: a value that cannot travel is refused before sending, and the error says where it stands and why."""
    with pytest.raises(InvalidPropertyError, match=why) as caught:
        sendable({"items": [{}, {"price": value}]}, "properties", of_person=False)
    assert caught.value.path is not None
    assert caught.value.path.startswith("properties.items[1].price")
    assert "not_applied" == caught.value.outcome
    assert str(caught.value).startswith(caught.value.path)


def test_the_limits_themselves_are_allowed() -> None:
    """The longest text, list and number and the deepest nesting that Klaviyo allows can be sent."""
    at_limit = {"text": "é" * (MAX_TEXT_BYTES // 2), "list": [0] * MAX_ITEMS, "ints": [MAX_INT, MIN_INT]}
    assert at_limit is sendable(at_limit, "properties", of_person=False)
    assert nested(MAX_DEPTH) == sendable(nested(MAX_DEPTH), "properties", of_person=False)


@pytest.mark.parametrize("inner", [nested(MAX_DEPTH), [[nested(MAX_DEPTH - 2)]]])
def test_what_is_nested_too_deep_is_refused(inner: object) -> None:
    """More than ten levels of mappings and lists are refused."""
    with pytest.raises(InvalidPropertyError, match="deeper than 10 levels"):
        sendable({"a": inner}, "properties", of_person=False)


def test_a_list_nested_too_deep_is_refused() -> None:
    """Lists count as levels, and one that holds itself is refused rather than followed for ever."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidPropertyError, match="deeper than 10 levels") as caught:
        sendable({"a": endless}, "properties", of_person=False)
    assert f"properties.a{'[0]' * 9}" == caught.value.path


def test_f15_none_never_clears_by_accident() -> None:
    """F-15: of a person only CLEAR becomes null, and None is refused with its key; in an event, None is null."""
    assert {"a": None} == sendable({"a": CLEAR}, "properties", of_person=True)
    assert {"a": None} == sendable({"a": None}, "properties", of_person=False)
    with pytest.raises(InvalidPropertyError, match="is None, which could erase it by accident") as caught:
        sendable({"a": None}, "customer_properties", of_person=True)
    assert "customer_properties.a" == caught.value.path


def test_a_single_value_is_refused_where_it_stands() -> None:
    """A value of its own is named by its argument, with the way to what is inside it."""
    with pytest.raises(InvalidPropertyError) as caught:
        sendable_value([{"a": {1}}], "append.tags", of_person=True)
    assert "append.tags[0].a" == caught.value.path


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("plan", "plan"),
        ("ann@shop.ch", "a***@***"),
        ("a\nb", "a\\nb"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 64 + "…"),
        (7, "<int>"),
        (None, "<NoneType>"),
    ],
)
def test_p8_a_key_is_shown_without_an_address(key: object, expected: str) -> None:
    """P8: a key in a message is printable, not endless, and no address."""
    assert expected == shown(key)


def test_p8_a_refusal_shows_no_value() -> None:
    """P8: a refused value is named by its place, never quoted."""
    for value in ("secret\ud800", Decimal("NaN"), {"secret"}):
        with pytest.raises(InvalidPropertyError) as caught:
            sendable({"ann@shop.ch": value}, "properties", of_person=False)
        assert "secret" not in str(caught.value)
        assert "ann@" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
