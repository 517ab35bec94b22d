"""The rows of bulk requests are written by a faster encoder than json's, and say what json's say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.examples import examples
from support.values import read, values
from support.wire import current


class _Text(str):
    """A text of a class of its own, as Django's templates make them."""

    __slots__ = ()


class _Kind(Enum):
    """A value that a shop keeps as an enumeration."""

    SHIRT = "shirt"


def as_json(document):
    """Return what the single calls send."""
    text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(document)
    return text.encode()


NUMBERS = [1e16, 1e-5, 1e-4, 123456789012345680.0, 0.00001234, -0.0, 5e-324, 1.7e308, 99.0, 2**63, 10**30]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.builds(_Text, st.text(max_size=8)) | st.just(_Kind.SHIRT)
    | st.datetimes(timezones=st.just(UTC)) | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from(NUMBERS) | st.just("NaN")
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3),
    max_leaves=4,
)


def values_of(body):
    """Return what a body says, each number with its kind and its sign."""
    return repr(json.loads(body))


@settings(max_examples=examples(100), deadline=None)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_whatever_can_be_sent_says_the_same(properties):
    """Klaviyo reads of a bulk request what it reads of a single one."""
    sent, _ = read(lambda found: values.sendable(properties, "properties", found, of_person=False), "drop")
    document = {"type": "event", "attributes": {"properties": sent, "time": datetime.now(UTC).isoformat()}}
    assert values_of(as_json(document)) == values_of(current.encoded_bytes(document))


@settings(max_examples=examples(400), deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_each_number_says_the_same(number):
    """The two encoders write some powers of ten in other forms."""
    assert values_of(as_json({"value": number})) == values_of(current.encoded_bytes({"value": number}))


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_each_odd_number_says_the_same(number):
    """Those at which one of the two changes its form, or its kind."""
    assert values_of(as_json({"value": number})) == values_of(current.encoded_bytes({"value": number}))


def test_a_text_that_looks_like_a_number_is_a_text():
    """A product that is named so is no reason to refuse an order."""
    assert b'{"name":"NaN"}' == current.encoded_bytes({"name": "NaN"})


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), "\ud800", object()], ids=["NaN", "infinity", "half", "object"]
)
def test_what_is_no_json_is_refused_as_before(value):
    """It cannot come so far; if it does, nothing is sent in its place."""
    with pytest.raises((TypeError, ValueError)):
        as_json({"value": value})
    with pytest.raises((TypeError, ValueError)):
        current.encoded_bytes({"value": value})
