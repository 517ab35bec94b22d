"""The rows of bulk requests are written by a faster encoder than json's, byte for byte as json writes them."""

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


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.builds(_Text, st.text()) | st.just(_Kind.SHIRT)
    | st.datetimes(timezones=st.just(UTC)) | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e16, 1e-5, 1e-4, 123456789012345680.0, 0.00001234, -0.0, 5e-324, 1.7e308, "1e5", "NaN", 2**63])
)  # fmt: skip
VALUES = st.recursive(LEAVES, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=6)


@settings(max_examples=examples(400), deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_whatever_can_be_sent_is_written_as_before(properties):
    """A byte that differs could be another value in Klaviyo, or another size."""
    sent, _ = read(lambda found: values.sendable(properties, "properties", found, of_person=False), "drop")
    document = {"type": "event", "attributes": {"properties": sent, "time": datetime.now(UTC).isoformat()}}
    assert as_json(document) == current.encoded_bytes(document)


@settings(max_examples=examples(1000), deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_each_number_is_written_as_before(number):
    """The two encoders write some powers of ten in other forms."""
    assert as_json({"value": number}) == current.encoded_bytes({"value": number})


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), "\ud800", object()], ids=["NaN", "infinity", "half", "object"]
)
def test_what_is_no_json_is_refused_as_before(value):
    """It cannot come so far; if it does, nothing is sent in its place."""
    with pytest.raises((TypeError, ValueError)):
        as_json({"value": value})
    with pytest.raises((TypeError, ValueError)):
        current.encoded_bytes({"value": value})
