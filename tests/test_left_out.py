"""What cannot be sent is left out and told of, or refused as a whole: the two policies see the same problems."""

from __future__ import annotations

import json
import math
from collections import UserDict, UserString
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import InvalidPropertyError, Problem
from safeklaviyo.models import CLEAR
from support.examples import examples
from support.values import (
    MAX_EVENT_PROPERTIES,
    Event,
    Person,
    event_from,
    event_without_problems,
    person_from,
    person_without_problems,
)

if TYPE_CHECKING:
    from safeklaviyo.models import Notice

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
WHERE = "properties"
GONE = object()

NAMES = st.text("abcdefgh", min_size=14, max_size=16)  # none is near a reserved one
PLAIN = (
    st.text(max_size=5)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
)
UNSENDABLE = st.sampled_from([
    math.nan, -math.inf, {1}, b"x", object(), datetime(2026, 1, 1), 2**63, "\ud800", 1j, Decimal("NaN"), range(3),  # noqa: DTZ001
])  # fmt: skip
TREES = st.recursive(
    PLAIN | UNSENDABLE | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)
PROPERTIES = st.dictionaries(NAMES, TREES, max_size=5)

KEYS = NAMES | st.sampled_from([
    "first_name", "$city", "$latitude", "location", "properties", "$append", "$unset", "meta", "subscriptions",
    "$consent", "id", "emial", "$use_ip", "$odd", "$value", "value", "value_currency", "data", "type", "attributes",
    "a@b.ch", "\ud800",
]) | st.integers() | st.none() | st.tuples(st.integers()) | st.booleans() | st.uuids()  # fmt: skip
ANYTHING = st.recursive(
    PLAIN | UNSENDABLE | st.none() | st.just(CLEAR) | st.decimals() | st.dates() | st.datetimes() | st.times()
    | st.binary(max_size=3) | st.sets(st.integers(), max_size=2) | st.just(int) | st.just(UserString("late")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
    | st.dictionaries(KEYS, inner, max_size=4).map(UserDict) | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


def event(properties: Any, **fields: Any) -> tuple[Event, tuple[Notice, ...]]:
    """Return an event without what cannot be sent."""
    return event_without_problems("Placed Order", properties, now=NOW, new_id="made-id", **fields)


def paths(notices: tuple[Notice, ...]) -> list[str | None]:
    """Return where things were left out."""
    assert {"property_dropped"} >= {notice.code for notice in notices}
    return [notice.path for notice in notices]


def is_sendable(leaf: object, *, of_person: bool) -> bool:
    """Tell whether a leaf of these trees is JSON."""
    if leaf is None:
        return not of_person
    if isinstance(leaf, str):
        return leaf != "\ud800" and all(not "\ud800" <= each <= "\udfff" for each in leaf)
    return isinstance(leaf, bool) or (isinstance(leaf, int | float) and math.isfinite(leaf) and leaf != 2**63)


def expected(tree: Any, path: str, lost: list[str], *, of_person: bool) -> Any:
    """Return what is to be sent of a tree, and note the leaves that are not: a second reader, which only copies."""
    if isinstance(tree, dict):
        parts = {key: expected(item, f"{path}.{key}", lost, of_person=of_person) for key, item in tree.items()}
        kept: Any = {key: item for key, item in parts.items() if item is not GONE}
    elif isinstance(tree, list):
        items = [expected(item, f"{path}[{at}]", lost, of_person=of_person) for at, item in enumerate(tree)]
        kept = [item for item in items if item is not GONE]
    else:
        if is_sendable(tree, of_person=of_person):
            return tree
        lost.append(path)
        return GONE
    return kept if kept or not tree else GONE


@given(PROPERTIES)
@settings(max_examples=examples(300), deadline=None)
def test_of_a_person_exactly_what_cannot_travel_is_left_out(properties: dict[str, Any]) -> None:
    """What is plain JSON is sent unchanged; each other leaf, and None, is left out with a notice that has its path."""
    lost: list[str] = []
    kept = expected(properties, WHERE, lost, of_person=True)
    person, notices = person_without_problems(properties)
    assert ({} if kept is GONE else kept) == person.properties
    assert lost == paths(notices)
    assert_refused_alike(lost, lambda: person_from(properties))


@given(PROPERTIES)
@settings(max_examples=examples(300), deadline=None)
def test_of_an_event_exactly_what_cannot_travel_is_left_out(properties: dict[str, Any]) -> None:
    """As for a person, but for None, which is JSON null in an event."""
    lost: list[str] = []
    kept = expected(properties, WHERE, lost, of_person=False)
    made, notices = event(properties)
    assert ({} if kept is GONE else kept) == made.properties
    assert lost == paths(notices)
    assert_refused_alike(lost, lambda: event_from("Placed Order", properties, now=NOW, new_id="made-id"))


def assert_refused_alike(lost: list[str], read: Any) -> None:
    """Check that the other policy refuses at once everything that was left out, and nothing else."""
    if not lost:
        read()
        return
    with pytest.raises(InvalidPropertyError) as caught:
        read()
    assert lost == [problem.path for problem in caught.value.problems]
    assert lost[0] == caught.value.path


@given(ANYTHING)
@settings(max_examples=examples(400), deadline=None)
def test_no_tree_raises_and_all_that_is_sent_is_json(tree: Any) -> None:
    """Whatever stands in the properties, the call is made, and what it sends can be written as JSON."""
    person, notices = person_without_problems(tree, append=tree, unappend=tree, unset=tree)
    for part in (person.attributes, person.properties, person.append, person.unappend, list(person.unset)):
        json.dumps(part, allow_nan=False).encode()
    made, more = event(tree, value=tree, value_currency=tree)
    json.dumps([made.properties, made.value, made.value_currency], allow_nan=False).encode()
    assert all(notice.path and notice.message.startswith(notice.path) for notice in (*notices, *more))


@given(ANYTHING)
@settings(max_examples=examples(200), deadline=None)
def test_both_policies_see_the_same_problems(tree: Any) -> None:
    """What is left out under one policy is what the other names."""
    _, notices = person_without_problems(tree, append=tree, unset=tree)
    lost = [notice.path for notice in notices if notice.code == "property_dropped"]
    assert_refused_alike([path for path in lost if path], lambda: person_from(tree, append=tree, unset=tree))


def test_f15_what_is_emptied_is_left_out_too() -> None:
    """F-15: a list or mapping of which nothing can be sent would erase what Klaviyo has; one given empty stays."""
    person, notices = person_without_problems(
        {"address": {"line": None}, "tags": [None], "deep": {"a": [{"b": {1}}]}, "given": [], "also": {}}
    )
    assert {"given": [], "also": {}} == person.properties
    assert ["properties.address.line", "properties.tags[0]", "properties.deep.a[0].b"] == paths(notices)


@Integral.register
class Whole:
    """A whole number of its own kind, as numpy has them."""

    def __int__(self) -> int:
        return 7


def test_f25_what_has_one_meaning_is_converted_without_a_word() -> None:
    """F-25: a whole number as a zip, a late text, a number as a key and a half have one meaning each."""
    person, notices = person_without_problems(
        {
            "$zip": 8001,
            "first_name": 7,
            "late": UserString("Zürich"),
            5: "five",
            "whole": Whole(),
            "half": Fraction(1, 2),
            "third": Fraction(1, 3),
        }
    )
    assert {"first_name": "7", "location": {"zip": "8001"}} == person.attributes
    assert {"late": "Zürich", "5": "five", "whole": 7, "half": 0.5} == person.properties
    assert ["properties.third"] == paths(notices)


def test_a_key_that_stands_there_twice_is_taken_once() -> None:
    """A number and its text are one key to JSON, so that the number gives way."""
    person, notices = person_without_problems({5: "number", "5": "text"})
    assert {"5": "text"} == person.properties
    assert ["properties.5"] == paths(notices)


class Broken(UserDict[str, int]):
    def __iter__(self) -> Any:
        raise AttributeError("secret")


class Late(UserString):
    def __str__(self) -> str:
        raise LookupError("secret")


def test_a_value_of_which_the_class_fails_is_left_out() -> None:
    """What the caller's own classes raise while they are read reaches nobody, and is quoted nowhere."""
    person, notices = person_without_problems({"odd": Broken(a=1), "late": Late("x"), "plan": "gold"})
    assert {"plan": "gold"} == person.properties
    assert ["properties.odd", "properties.late"] == paths(notices)
    assert not [notice for notice in notices if "secret" in notice.message]
    assert ["properties"] == paths(person_without_problems(Broken(a=1))[1])
    assert ["properties.properties"] == paths(person_without_problems({"properties": Broken(a=1)})[1])


class Missing(datetime):
    """A missing date as pandas has it: a datetime that equals nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = datetime.__hash__


def test_a_missing_date_of_pandas_is_no_date() -> None:
    """A missing date, which calls itself a datetime, is left out rather than sent as a text."""
    _, notices = person_without_problems({"since": Missing(2026, 1, 1, tzinfo=UTC)})
    assert ["properties.since"] == paths(notices)


def test_all_problems_are_named_at_once() -> None:
    """One run shows everything that has to be corrected, each with its path and its reason, and the text has an end."""
    with pytest.raises(InvalidPropertyError) as caught:
        person_from({"a": {1}, "$consent": [], "meta": {}, "first_name": None, "emial": "x"}, append={"$city": "x"})
    error = caught.value
    assert [
        "properties.a", "properties.$consent", "properties.meta", "properties.first_name", "properties.emial",
        "append.$city",
    ] == [problem.path for problem in error.problems]  # fmt: skip
    assert all(
        isinstance(problem, Problem) and f"{problem.path} {problem.reason}" in str(error) for problem in error.problems
    )
    with pytest.raises(InvalidPropertyError, match=r"; and 80 more$") as many:
        person_from({f"key{'x' * 14}{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]}": {1} for n in range(100)})
    assert 100 == len(many.value.problems)


def test_f38_the_attributes_of_a_profile_are_understood() -> None:
    """F-38: what a caller of Klaviyo's API holds for a profile means the same here, with or without the document."""
    attributes = {
        "email": "leila@shop.ch", "external_id": "7", "first_name": "Leila", "location": {"city": "Wien"},
        "properties": {"Birthday": "1990-02-03", "language": "de-DE"},
    }  # fmt: skip
    wanted = Person(
        attributes={"first_name": "Leila", "location": {"city": "Wien"}},
        properties={"Birthday": "1990-02-03", "language": "de-DE", "plan": "gold"},
    )
    document = {"type": "profile", "attributes": {"plan": "gold", **attributes}}
    bare = {"attributes": document["attributes"]}
    for form in ({"plan": "gold", **attributes}, document, {"data": document}, {"data": bare}):
        person, notices = person_without_problems(form)
        assert (wanted, ()) == (person, notices)
    _, notices = person_without_problems({"data": {**document, "id": "01A", "meta": {}, "links": {}}})
    assert ["properties.data.id", "properties.data.meta", "properties.data.links"] == paths(notices)


def test_f38_only_a_mapping_of_properties_is_the_whole_of_them() -> None:
    """F-38: a property that is called so, and one within, stay the shop's own; what is said twice is said once."""
    assert {"properties": 3} == person_without_problems({"properties": 3})[0].properties
    person, notices = person_without_problems(
        {"plan": "gold", "properties": {"plan": "silver", "properties": {"a": 1}}}
    )
    assert {"plan": "gold", "properties": {"a": 1}} == person.properties
    assert ["properties.properties.plan"] == paths(notices)


def test_f38_the_attributes_of_an_event_are_understood() -> None:
    """F-38: what a caller of Create Event holds is understood, and starts no flow that was not to start."""
    made, notices = event({
        "properties": {"sku": 1, "value": 3}, "value": "9.50", "value_currency": "eur", "unique_id": "o-1",
        "time": "2026-11-22T00:00:00Z", "backfill": True, "metric": {"data": {}}, "profile": {"data": {}},
    })  # fmt: skip
    day_before = datetime(2026, 11, 22, tzinfo=UTC)
    wanted = Event("Placed Order", {"sku": 1, "value": 3}, 9.5, "EUR", day_before, "o-1", backfill=True)
    assert wanted == made
    assert ["properties.metric", "properties.profile"] == [
        each.path for each in notices if each.code == "property_dropped"
    ]
    attributes = {"properties": {"sku": 1}, "unique_id": "o-1"}
    for form in (attributes, {"type": "event", "attributes": attributes}, {"data": {"attributes": attributes}}):
        made, notices = event(form)
        assert ({"sku": 1}, "o-1", ()) == (made.properties, made.unique_id, notices)
    assert {"properties": {"sku": 1}, "Brand": "x"} == event({"properties": {"sku": 1}, "Brand": "x"})[0].properties


@pytest.mark.parametrize("key", ["subscriptions", "meta", "$consent"])
def test_f38_what_has_a_verb_is_no_property(key: str) -> None:
    """F-38: consent and changes of lists are left out of the properties, and the notice names the verb."""
    person, (notice,) = person_without_problems({key: {"email": {}}, "plan": "gold"})
    assert {"plan": "gold"} == person.properties
    assert "append" in notice.message if key == "meta" else "subscribe" in notice.message


@pytest.mark.parametrize("key", ["$use_ip", "$is_session_activity", "$referrer", "$last_referrer", "$consent_method"])
def test_f39_what_klaviyo_knows_is_sent_as_it_is(key: str) -> None:
    """F-39: keys that Klaviyo's own scripts write are sent, wherever they stand."""
    assert ({key: "x"}, ()) == (
        person_without_problems({key: "x"})[0].properties,
        person_without_problems({key: "x"})[1],
    )
    assert ({key: "x"}, ()) == (event({key: "x"})[0].properties, event({key: "x"})[1])


def test_f39_a_key_that_is_new_to_this_library_is_sent_too() -> None:
    """F-39: another name with a dollar sign is sent under either policy, and a notice says that it may mean nothing."""
    for made, notices in (person_without_problems({"$brand_new": 1}), event({"$brand_new": 1})):
        assert {"$brand_new": 1} == made.properties
        assert [("key_unknown", "properties.$brand_new")] == [(each.code, each.path) for each in notices]
    assert {"$brand_new": 1} == person_from({"$brand_new": 1})[0].properties


@pytest.mark.parametrize("text", ["12.50", " 12.5 ", "+12.500000"])
def test_a_value_given_as_a_text_is_that_number(text: str) -> None:
    """A text that is one number is the event's value, and a notice says so."""
    made, notices = event(None, value=text)
    assert 12.5 == made.value
    assert ["value_taken"] == [notice.code for notice in notices]


@pytest.mark.parametrize(
    "value", ["12,50", "1.250", "1,250.00", "12.50 EUR", "€12", "", "1e5", "٣", True, math.nan, [1], Decimal("1E+400")],
    ids=repr,
)  # fmt: skip
def test_a_value_that_is_no_one_number_is_left_out(value: object) -> None:
    """A text that could be two numbers, or is none, costs the event its value and nothing else."""
    made, notices = event({"sku": 1}, value=value)
    assert (None, {"sku": 1}) == (made.value, made.properties)
    assert ["value"] == paths(notices)


def test_what_an_event_is_worth_is_found_among_its_properties() -> None:
    """A value and a currency among the properties count, with a notice each, and stay there; arguments go first."""
    properties = {"OrderId": "1", "value": 99.99, "value_currency": "EUR"}
    made, notices = event(properties)
    assert (99.99, "EUR", properties) == (made.value, made.value_currency, made.properties)
    assert [("value_taken", "properties.value"), ("value_taken", "properties.value_currency")] == [
        (each.code, each.path) for each in notices
    ]
    made, notices = event(properties, value=5, value_currency="CHF")
    assert (5, "CHF", ()) == (made.value, made.value_currency, notices)
    made, notices = event({"value": "high", "value_currency": None})
    assert (None, None, ()) == (made.value, made.value_currency, notices)


def test_of_two_values_the_first_counts() -> None:
    """What an event is worth is no reason to lose it: of two different values the argument counts."""
    made, notices = event({"$value": 6, "$currency_code": "EUR", "$value_currency": "CHF"}, value=5)
    assert (5, "EUR") == (made.value, made.value_currency)
    assert ["properties.$value", "properties.$value_currency"] == paths(notices)


def test_an_event_has_at_most_as_many_properties_as_klaviyo_takes() -> None:
    """The properties after the 400th are left out, each with a notice."""
    made, notices = event({f"key{n}": n for n in range(MAX_EVENT_PROPERTIES + 2)})
    assert {f"key{n}": n for n in range(MAX_EVENT_PROPERTIES)} == made.properties
    assert ["properties.key400", "properties.key401"] == paths(notices)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Placed Order ", "Placed Order"),
        ("\tPlaced Order\r\n", "Placed Order"),
        ("Placed\u00a0Order", "Placed Order"),
        ("\ufeffPlaced\u200b Order", "Placed Order"),
    ],
)
def test_f44_blanks_of_a_name_make_no_other_metric(name: str, plain: str) -> None:
    """F-44: blanks around a name, and spaces that only look like one, are made plain with a notice."""
    made, notices = event_without_problems(name, None, now=NOW, new_id="made-id")
    assert (plain, ["name_trimmed"]) == (made.name, [notice.code for notice in notices])
    assert () == event_without_problems("Placed  Order é", None, now=NOW, new_id="made-id")[1]


@pytest.mark.parametrize(
    ("name", "properties", "fields", "path"),
    [
        (" ", None, {}, "event"),
        ("\u200b", None, {}, "event"),
        ("x", None, {"time": "yesterday"}, "time"),
        ("x", None, {"unique_id": []}, "unique_id"),
        ("x", None, {"backfill": "yes"}, "backfill"),
        ("x", {"$event_id": object()}, {}, "properties.$event_id"),
        ("x", {"unique_id": "1"}, {}, "properties.unique_id"),
        ("x", {"uniqueId": "1"}, {}, "properties.uniqueId"),
        ("x", {"$evnt_id": "1"}, {}, "properties.$evnt_id"),
        ("x", {"__track_once__": True}, {}, "properties.__track_once__"),
        ("x", {"$event_id": "1"}, {"unique_id": "2"}, "properties.$event_id"),
    ],
)
def test_p5_what_fixes_an_event_is_refused_whatever_the_policy(
    name: Any, properties: Any, fields: Any, path: str
) -> None:
    """P5: without its name, key or time it would be another event, so that the call is refused, and names only that."""
    given_properties = {**(properties or {}), "odd": {1}}
    with pytest.raises(InvalidPropertyError) as caught:
        event_without_problems(name, given_properties, now=NOW, new_id="made-id", **fields)
    assert [path] == [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("properties", "changes", "path"),
    [
        ({"email": CLEAR}, {}, "properties.email"),
        (None, {"unset": ["$id"]}, "unset.$id"),
        ({"email": "a@shop.ch", "$email": "b@shop.ch"}, {}, "email"),
        ({"email": "a@shop.ch", "properties": {"email": "b@shop.ch"}}, {}, "email"),
        ({"email": ["a@shop.ch"], "$email": "a@shop.ch"}, {}, "email"),
    ],
)
def test_p3_who_it_is_is_refused_whatever_the_policy(properties: Any, changes: Any, path: str) -> None:
    """P3: an identifier that is to be erased, or is given twice, is never left out in silence."""
    with pytest.raises(InvalidPropertyError) as caught:
        person_without_problems(properties, **changes)
    assert [path] == [problem.path for problem in caught.value.problems]


def test_p8_keys_that_look_personal_are_masked() -> None:
    """P8: an address or a number that is used as a key is in no notice."""
    _, notices = person_without_problems({"ann@shop.ch": {1}, "+41791234567": {1}, 41791234567: {1}})
    text = "".join(f"{each.path} {each.message}" for each in notices)
    assert 3 == len(notices)
    assert "ann@" not in text
    assert "4179" not in text
