"""Events: what one may say about itself, and what fixes it before the first attempt (P5)."""

from __future__ import annotations

import enum
from collections import UserDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import InvalidPropertyError
from support.values import MAX_EVENT_PROPERTIES, Event, event_from

NOW = datetime(2026, 11, 23, 12, 0, 0, 700_000, tzinfo=UTC).timestamp()
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
YEAR = 365 * 86_400


class Metric(enum.Enum):
    PLACED = "Placed Order"


def event(name: Any = "Placed Order", properties: Any = None, **fields: Any) -> Event:
    """Return an event made at a fixed time."""
    return event_from(name, properties, now=NOW, new_id="made-id", **fields)


def refusal(*args: Any, **fields: Any) -> InvalidPropertyError:
    """Return the error by which an event is refused."""
    with pytest.raises(InvalidPropertyError) as caught:
        event(*args, **fields)
    assert "not_applied" == caught.value.outcome
    return caught.value


def test_p5_an_event_is_fixed_when_it_is_made() -> None:
    """P5: without a key and a time of its own, an event gets the ones it was offered, to the second."""
    assert Event("Placed Order", {}, None, None, NOON, "made-id", backfill=False) == event()


def test_everything_can_be_given() -> None:
    """Each field of an event goes where it belongs, converted to what JSON has for it."""
    made = event(
        Metric.PLACED,
        {"Items": [{"Price": Decimal("1.5")}], "note": None},
        value=Decimal("10.50"),
        value_currency="chf",
        time="2026-11-22T13:00:00.9+01:00",
        unique_id=UUID(int=7),
        backfill=True,
    )
    day_before = NOON - timedelta(days=1)
    properties = {"Items": [{"Price": 1.5}], "note": None}
    expected = Event("Placed Order", properties, 10.5, "CHF", day_before, str(UUID(int=7)), backfill=True)
    assert expected == made
    assert "Event('Placed Order', 2 properties, time='2026-11-22T12:00:00+00:00')" == repr(made)


def test_properties_are_not_copied_without_need() -> None:
    """What can be sent as it stands is the caller's own object."""
    properties = {"a": [1, {"b": "c"}]}
    assert properties is event(properties=properties).properties


def test_legacy_keys_mean_the_arguments() -> None:
    """The special keys of the Track API become the event's own fields, and the caller's mapping keeps them."""
    properties = {"$event_id": 17, "$value": Decimal("9.90"), "$currency_code": "eur", "$extra": "x", "Brand": "y"}
    made = event(properties=UserDict(properties))
    assert Event("Placed Order", {"$extra": "x", "Brand": "y"}, 9.9, "EUR", NOON, "17") == made
    assert 5 == len(properties)


@pytest.mark.parametrize(
    ("properties", "fields"),
    [
        ({"$event_id": "17"}, {"unique_id": 17}),
        ({"$event_id": "17"}, {}),
        ({"$event_id": None}, {"unique_id": "17"}),
        ({"$value": 5}, {"unique_id": "17", "value": 5.0}),
        ({"$currency_code": "EUR", "$value_currency": "eur"}, {"unique_id": "17"}),
    ],
)
def test_the_same_field_given_twice_is_given_once(properties: Any, fields: Any) -> None:
    """A field given among the properties and as an argument is no contradiction if both mean the same."""
    assert "17" == event(properties=properties, **fields).unique_id


@pytest.mark.parametrize(
    ("properties", "fields", "path"),
    [
        ({"$event_id": "17"}, {"unique_id": "18"}, "properties.$event_id"),
        ({"$value": 5}, {"value": 6}, "properties.$value"),
        ({"$currency_code": "EUR", "$value_currency": "CHF"}, {}, "properties.$value_currency"),
    ],
)
def test_a_field_given_twice_with_different_values_is_refused(properties: Any, fields: Any, path: str) -> None:
    """Nobody knows which of two keys, values or currencies is meant."""
    error = refusal(properties=properties, **fields)
    assert path == error.path
    assert "is given twice" in str(error)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (None, NOON),
        (NOON, NOON),
        (NOON.replace(microsecond=999_999), NOON),
        (datetime(2026, 11, 23, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
        (1_795_435_200, NOON),
        (1_795_435_200.9, NOON),
        ("2026-11-23T12:00:00Z", NOON),
        (" 2026-11-23 12:00:00+00:00 ", NOON),
        (NOW + YEAR, NOON + timedelta(days=365)),
        (datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_to_the_second(time: object, expected: datetime) -> None:
    """Aware datetimes, unix seconds and ISO 8601 with an offset mean the same moment, cut to the second."""
    made = event(time=time)
    assert expected == made.time
    assert timedelta(0) == made.time.utcoffset()


@pytest.mark.parametrize(
    ("time", "why"),
    [
        (datetime(2026, 11, 23, 12), "no time zone"),  # noqa: DTZ001 - refused for that
        ("2026-11-23T12:00:00", "no time zone"),
        ("2026-11-23", "no time zone"),
        ("1795435200", "unix seconds as a number"),
        ("yesterday", "ISO 8601"),
        (1_795_435_200_000, "divide milliseconds"),
        (float("nan"), "seconds since 1970"),
        (float("inf"), "seconds since 1970"),
        (10**400, "seconds since 1970"),
        (True, "is a bool"),
        (Decimal(1_795_435_200), "is a Decimal"),
        (946_684_799, "before the year 2000"),
        (NOW + YEAR + 1, "more than a year ahead"),
        (datetime.max.replace(tzinfo=UTC), "seconds since 1970"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "year 2000"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_f25_a_time_that_could_be_another_is_refused(time: object, why: str) -> None:
    """F-25: naive times, milliseconds, and times that Klaviyo refuses are refused before sending."""
    with pytest.raises(InvalidPropertyError, match=why) as caught:
        event(time=time)
    assert "time" == caught.value.path


@given(st.integers(946_684_800, int(NOW) + YEAR - 1), st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_p5_each_form_of_a_time_is_the_same_time(second: int, fraction: float) -> None:
    """P5: an event's time read back from what was recorded is the same time again."""
    made = event(time=second)
    moment = datetime.fromtimestamp(second, UTC)
    for form in (second + fraction, moment, moment.isoformat(), made.time):
        assert made.time == event(time=form).time


@pytest.mark.parametrize(
    ("fields", "path", "why"),
    [
        ({"name": ""}, "event", "is not a name"),
        ({"name": "  "}, "event", "is not a name"),
        ({"name": None}, "event", "is not a name"),
        ({"name": "x" * 128}, "event", "longer than 127"),
        ({"name": "\ud800"}, "event", "surrogate"),
        ({"value": "ten"}, "value", "give a number"),
        ({"value": [10]}, "value", "is a list; give a number"),
        ({"value": True}, "value", "is a bool"),
        ({"value": float("nan")}, "value", "finite"),
        ({"value": 2**63}, "value", "64 bits"),
        ({"value_currency": "Euro"}, "value_currency", "ISO 4217"),
        ({"value_currency": "E1R"}, "value_currency", "ISO 4217"),
        ({"value_currency": "ÄÄÄ"}, "value_currency", "ISO 4217"),
        ({"value_currency": 978}, "value_currency", "ISO 4217"),
        ({"unique_id": ""}, "unique_id", "1 to 255"),
        ({"unique_id": " "}, "unique_id", "1 to 255"),
        ({"unique_id": "x" * 256}, "unique_id", "1 to 255"),
        ({"unique_id": 10**5000}, "unique_id", "1 to 255"),
        ({"unique_id": True}, "unique_id", "is a bool"),
        ({"unique_id": 1.5}, "unique_id", "is a float"),
        ({"unique_id": "\ud800"}, "unique_id", "surrogate"),
        ({"backfill": 1}, "backfill", "neither True nor False"),
        ({"properties": ["a"]}, "properties", "give a mapping"),
        ({"properties": {None: 2}}, "properties.<NoneType>", "not a string"),
        ({"properties": {"a": {1}}}, "properties.a", "is a set"),
        ({"properties": {"uniqe_id": "1"}}, "properties.uniqe_id", "looks like unique_id"),
        ({"properties": {"$email": "1"}}, "properties.$email", "customer_properties"),
        ({"properties": {"$value": "x"}}, "properties.$value", "give a number"),
        (
            {"properties": {f"k{i}": i for i in range(MAX_EVENT_PROPERTIES + 1)}},
            "properties.k400",
            "comes after 400 others",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_what_klaviyo_would_drop_or_refuse_is_refused_first(fields: Any, path: str, why: str) -> None:
    """A field that Klaviyo would refuse, cut or drop is refused before sending, with its name."""
    error = refusal(**fields)
    assert path == error.path
    assert why in str(error)


def test_the_limits_themselves_are_allowed() -> None:
    """The longest name and key and the most properties that Klaviyo allows can be sent."""
    properties = {str(i): i for i in range(MAX_EVENT_PROPERTIES)}
    made = event("x" * 127, properties, unique_id="x" * 255, value=2**63 - 1)
    assert (127, 255, 400) == (len(made.name), len(made.unique_id), len(made.properties))


def test_a_value_of_many_digits_is_the_nearest_number() -> None:
    """A Decimal value that no JSON number holds is sent as the nearest one, because Klaviyo takes numbers only."""
    assert 0.1 == event(value=Decimal("0.1000000000000000000001")).value


def test_p8_a_refused_time_is_not_quoted() -> None:
    """P8: what stands in a field is in no message and no chained error."""
    error = refusal(time="secret")
    assert "secret" not in str(error)
    assert error.__suppress_context__ or error.__context__ is None
