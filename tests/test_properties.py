"""Properties: how what is said about a person is sorted into Klaviyo's fields."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import InvalidPropertyError
from safeklaviyo.models import CLEAR
from support.values import NO_IDENTIFIERS, NOTHING, GivenIdentifiers, Person, combine, person_from

KEYS = st.text(st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=14, max_size=20)
VALUES = st.integers(-9, 9) | st.text(max_size=5) | st.booleans()


def refusal(properties: Any = None, **changes: Any) -> InvalidPropertyError:
    """Return the error by which something is refused."""
    with pytest.raises(InvalidPropertyError) as caught:
        person_from(properties, **changes)
    assert "not_applied" == caught.value.outcome
    return caught.value


def test_nothing_said_costs_nothing() -> None:
    """A call that says nothing about a person shares one empty person."""
    assert (NOTHING, NO_IDENTIFIERS) == person_from(None)
    assert NOTHING is person_from(None)[0]
    assert NOTHING.is_empty


def test_legacy_keys_are_taken_as_they_stand() -> None:
    """Keys of the Track and Identify API land in the fields of the current one."""
    person, given_identifiers = person_from(
        {
            "$id": 7,
            "$email": "Ann@shop.ch",
            "$phone_number": "+41791234567",
            "$first_name": "Ann",
            "last_name": "Miller",
            "$city": "Bern",
            "$latitude": 46.9,
            "city": "home",
            "plan": "gold",
            "$source": "till",
            "$append": {"tags": "a"},
            "$unappend": {"lists": ["b"]},
            "$unset": ["old", "$title"],
        }
    )
    assert (
        Person(
            attributes={
                "first_name": "Ann",
                "last_name": "Miller",
                "title": None,
                "location": {"city": "Bern", "latitude": 46.9},
            },
            properties={"city": "home", "plan": "gold", "$source": "till"},
            append={"tags": "a"},
            unappend={"lists": ["b"]},
            unset=("old",),
        )
        == person
    )
    assert GivenIdentifiers(7, "Ann@shop.ch", "+41791234567") == given_identifiers
    assert not person.is_empty


def test_a_location_is_taken_as_a_whole_too() -> None:
    """The current API's own form of a location means the same as its parts."""
    person, _ = person_from({"location": {"city": "Bern", "latitude": "46.9", "zip": CLEAR}, "$city": "Bern"})
    assert {"location": {"city": "Bern", "latitude": "46.9", "zip": None}} == person.attributes


def test_changes_of_lists_are_taken_as_arguments() -> None:
    """What is appended, unappended and unset can be given beside the properties, which need not be given."""
    person, given_identifiers = person_from(None, append={"a": 1}, unappend=UserDict(b=[2]), unset="c")
    assert Person(append={"a": 1}, unappend={"b": [2]}, unset=("c",)) == person
    assert GivenIdentifiers() == given_identifiers


def test_f15_clearing_is_always_asked_for() -> None:
    """F-15: only CLEAR and unset clear a field; None is refused wherever it stands."""
    person, _ = person_from({"first_name": CLEAR, "plan": CLEAR}, unset=["$city", "last_name"])
    assert {"first_name": None, "last_name": None, "location": {"city": None}} == person.attributes
    assert {"plan": None} == person.properties
    for key in ("first_name", "plan", "$city", "email", "$id", "location"):
        assert f"properties.{key}" == refusal({key: None}).path


@pytest.mark.parametrize("key", ["email", "$id", "external_id", "$phone_number"])
def test_p3_identifiers_are_never_cleared_as_properties(key: str) -> None:
    """P3: an identifier is changed by its own verb, which the refusal names."""
    assert "is changed by change_" in str(refusal({key: CLEAR}))
    assert "is changed by change_" in str(refusal(unset=[key]))


@pytest.mark.parametrize(
    ("properties", "changes", "path", "why"),
    [
        (["a"], {}, "properties", "give a mapping"),
        ({None: "a"}, {}, "properties.<NoneType>", "not a string"),
        ({"emial": "a"}, {}, "properties.emial", "looks like email"),
        ({"$consent": ["email"]}, {}, "properties.$consent", "subscribe"),
        ({"first_name": 7.0}, {}, "properties.first_name", "is a float; Klaviyo keeps a string"),
        ({"$zip": True}, {}, "properties.$zip", "Klaviyo keeps a string"),
        ({"$latitude": [1]}, {}, "properties.$latitude", "give a number or a string"),
        ({"location": {"town": "Bern"}}, {}, "properties.location.town", "is no part of a location"),
        ({"location": {"ann@shop.ch": "Bern"}}, {}, "properties.location.a***@***", "is no part of a location"),
        ({"location": {"city": ["a"]}}, {}, "properties.location.city", "Klaviyo keeps a string"),
        ({"location": "Bern"}, {}, "properties.location", "give a mapping"),
        ({"$append": {"tags": CLEAR}}, {}, "properties.$append.tags", "use unset"),
        ({"$append": 3}, {}, "properties.$append", "give a mapping"),
        (None, {"append": {"email": "x"}}, "append.email", "cannot be changed by append"),
        (None, {"unappend": {"$city": "x"}}, "unappend.$city", "cannot be changed by unappend"),
        (None, {"append": {"tags": CLEAR}}, "append.tags", "use unset"),
        (None, {"append": {"tags": None}}, "append.tags", "is None"),
        (None, {"append": {"tags": [{1}]}}, "append.tags[0]", "is a set"),
        (None, {"append": {"emial": 1}}, "append.emial", "looks like email"),
        (None, {"unset": 7}, "unset", "neither a key nor a list of keys"),
        (None, {"unset": [7]}, "unset.<int>", "not a string"),
        (None, {"unset": ["location"]}, "unset.location", "name its parts"),
    ],
)
def test_what_cannot_be_sorted_is_refused_with_its_path(properties: Any, changes: Any, path: str, why: str) -> None:
    """What Klaviyo has no place for is refused before sending; the error names the place and the way out."""
    error = refusal(properties, **changes)
    assert path == error.path
    assert why in str(error)


@pytest.mark.parametrize(
    ("properties", "changes"),
    [
        ({"first_name": "Ann", "$first_name": "Bea"}, {}),
        ({"$city": "Bern", "location": {"city": "Basel"}}, {}),
        ({"email": "a@shop.ch", "$email": "b@shop.ch"}, {}),
        ({"$id": 1, "external_id": "2"}, {}),
        ({"$append": {"tags": 1}}, {"append": {"tags": 2}}),
        ({"first_name": "Ann"}, {"unset": ["first_name"]}),
        ({"tags": [1]}, {"append": {"tags": 2}}),
        ({"tags": [1]}, {"unappend": {"tags": 2}}),
        ({"tags": [1]}, {"unset": "tags"}),
        (None, {"append": {"tags": 2}, "unset": ["tags"]}),
        (None, {"unappend": {"tags": 2}, "unset": ["tags"]}),
    ],
)
def test_what_is_given_twice_is_refused(properties: Any, changes: Any) -> None:
    """Two different things said about one field are refused, because nobody knows which one is meant."""
    assert "is given twice" in str(refusal(properties, **changes))


def test_the_same_said_twice_is_said_once() -> None:
    """A field given twice with the same value, however written, is no contradiction."""
    person, given_identifiers = person_from(
        {"first_name": "Ann", "$first_name": "Ann", "email": "Ann@shop.ch ", "$email": "ann@shop.ch", "$id": 7,
         "external_id": "7", "phone_number": "+41 79 123 45 67", "$phone_number": "+41791234567"}
    )  # fmt: skip
    assert {"first_name": "Ann"} == person.attributes
    assert GivenIdentifiers(7, "Ann@shop.ch ", "+41 79 123 45 67") == given_identifiers


def test_the_argument_is_named_in_the_path() -> None:
    """A refusal names the argument by which the properties were given."""
    assert "customer_properties.plan" == refusal({"plan": None}, where="customer_properties").path


def test_arguments_and_properties_are_combined() -> None:
    """An identifier can be given among the properties or as an argument, and as both only if they agree."""
    assert GivenIdentifiers("1", "a@shop.ch", None) == combine(NO_IDENTIFIERS, external_id="1", email="a@shop.ch")
    among = GivenIdentifiers(external_id=1, phone_number="+1 234 567 8901")
    combined = combine(among, external_id="1", email="a@shop.ch", phone_number="+12345678901")
    assert GivenIdentifiers("1", "a@shop.ch", "+12345678901") == combined
    with pytest.raises(InvalidPropertyError) as caught:
        combine(among, external_id="2")
    assert "external_id" == caught.value.path


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=3))
@settings(max_examples=60, deadline=None)
def test_f10_no_call_leaves_anything_behind(properties: dict[str, Any], append: dict[str, Any]) -> None:
    """F-10: the caller's mappings stay as they were, and a call shows nothing of an earlier one."""
    append = {key: value for key, value in append.items() if key not in properties}
    before = (dict(properties), dict(append))
    person, _ = person_from({**properties, "$id": "1", "$city": "Bern"}, append=append)
    assert (properties, append) == (person.properties, person.append)
    assert before == (properties, append)
    assert (Person(), GivenIdentifiers()) == person_from({})
    assert Person() == NOTHING


@pytest.mark.parametrize(
    ("properties", "changes"),
    [
        ({"ann@shop.ch": None}, {}),
        (None, {"append": {"ann@shop.ch": CLEAR}}),
        ({"$append": {"ann@shop.ch": 1}}, {"append": {"ann@shop.ch": 2}}),
        ({"ann@shop.ch": 1}, {"unset": "ann@shop.ch"}),
    ],
)
def test_p8_a_key_that_is_an_address_is_masked(properties: Any, changes: Any) -> None:
    """P8: an address used as a key is in no message and no path."""
    error = refusal(properties, **changes)
    assert "a***@***" in str(error)
    assert "ann@" not in f"{error} {error.path}"


def test_p8_reprs_say_only_what_kind_of_thing_was_given() -> None:
    """P8: the reprs of what a call says hold no value of it."""
    person, given_identifiers = person_from({"first_name": "Ann", "email": "ann@shop.ch", "plan": "secret"})
    assert "Person(1 attributes, 1 properties)" == repr(person)
    assert "GivenIdentifiers(email)" == repr(given_identifiers)
