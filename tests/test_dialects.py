"""The dialects: what a flow asks for, said in either API."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from safeklaviyo.errors import BadRequestError
from safeklaviyo.identity import Identity, Kind
from safeklaviyo.models import CLEAR, Binding
from support.values import NOTHING, Event, Person
from support.wire import CurrentDialect, Dialect, LegacyDialect, Response, Secret, current, legacy

ANN = Identity("cust-1", "ann@shop.ch")
BINDING = Binding("cust-1", "ann@shop.ch", "abc123")
GOLD = Person(properties={"plan": "gold"})
ORDER = Event("Placed Order", {}, None, None, datetime(2026, 11, 23, 12, tzinfo=UTC), "order-7")
CURRENT = CurrentDialect("2026-10-15")
KEY = Secret("pk_1")
LEGACY = LegacyDialect("PubKey", KEY)


def answer(body: object, status: int = 200) -> Response:
    """Return an answer with a JSON body."""
    return Response(status, {}, json.dumps(body).encode())


@pytest.mark.parametrize("dialect", [CurrentDialect, LegacyDialect])
def test_both_dialects_say_the_same_things(dialect: type) -> None:
    """Each dialect has every method of the protocol, with the same parameters, and says what it can promise."""
    methods = [name for name, _ in inspect.getmembers(Dialect, inspect.isfunction) if not name.startswith("_")]
    for name in methods:
        assert inspect.signature(getattr(Dialect, name)) == inspect.signature(getattr(dialect, name))
    assert set(inspect.get_annotations(Dialect)) <= set(vars(dialect))


def test_the_current_dialect_finds_and_reads_profiles() -> None:
    """A search names all profiles found, and a profile is read by its id."""
    assert current.search_profiles(Kind.EMAIL, "ann@shop.ch") == CURRENT.search(Kind.EMAIL, "ann@shop.ch")
    found = [{"id": "a", "attributes": {}}, {"id": "b", "attributes": {}}]
    assert ("a", "b") == CURRENT.read_search(answer({"data": found}))
    assert () == CURRENT.read_search(answer({"data": []}))
    assert current.get_profile("abc123", subscriptions=True) == CURRENT.get("abc123")
    assert "a" == CURRENT.read(answer({"data": found[0]})).id
    assert frozenset() == CURRENT.empty_search_statuses


def test_the_current_dialect_writes_by_profile_id() -> None:
    """A create carries the pair; a known profile is written by its id, without identifiers unless they are moved."""
    assert current.create_profile(ANN, GOLD) == CURRENT.create(ANN, GOLD)
    assert current.update_profile("abc123", GOLD) == CURRENT.update(BINDING, GOLD)
    moved = CURRENT.move("abc123", external_id="2", email="b@shop.ch", phone_number="+12345678901")
    expected = current.update_profile(
        "abc123", NOTHING, external_id="2", email="b@shop.ch", phone_number="+12345678901"
    )
    assert expected == moved
    cleared = current.update_profile("abc123", NOTHING, external_id=CLEAR, phone_number=CLEAR)
    assert cleared == CURRENT.move("abc123", external_id=CLEAR, phone_number=CLEAR)
    assert None is CURRENT.failure_in(answer(None, 202))


def test_with_nothing_to_write_a_profile_is_read() -> None:
    """R15: an update without properties reads the profile, so that its answer can still be checked."""
    assert current.get_profile("abc123") == CURRENT.update(BINDING, NOTHING)


@pytest.mark.parametrize(
    ("alone", "names"),
    [(False, {"external_id": "cust-1", "email": "ann@shop.ch"}), (True, {"external_id": None, "email": None})],
)
def test_p2_an_event_names_its_customer(alone: bool, names: dict[str, Any]) -> None:
    """P2: an event names profile id and pair, or the profile id alone where that is asked for."""
    expected = current.create_event(ORDER, profile_id="abc123", person=GOLD, **names)
    assert expected == CURRENT.event(ORDER, BINDING, GOLD, by_profile_id_alone=alone)


def test_the_legacy_dialect_finds_and_reads_people() -> None:
    """A search names the one person found, and 404 says nobody."""
    assert legacy.search_person(KEY, Kind.EMAIL, "a@shop.ch") == LEGACY.search(Kind.EMAIL, "a@shop.ch")
    assert ("abc123",) == LEGACY.read_search(answer({"id": "abc123"}))
    assert () == LEGACY.read_search(answer({"detail": "There is no profile matching the given parameters."}, 404))
    assert legacy.get_person(KEY, "abc123") == LEGACY.get("abc123")
    assert "abc123" == LEGACY.read(answer({"id": "abc123"})).id
    assert frozenset({404}) == LEGACY.empty_search_statuses


def test_p1_the_legacy_dialect_writes_by_the_pair() -> None:
    """P1: creating, updating and tracking name a customer by external id and email together."""
    identified = legacy.identify("PubKey", ANN, GOLD)
    assert identified == LEGACY.create(ANN, GOLD)
    assert identified == LEGACY.update(BINDING, GOLD)
    tracked = legacy.track("PubKey", ORDER, ANN, GOLD)
    for alone in (False, True):
        assert tracked == LEGACY.event(ORDER, BINDING, GOLD, by_profile_id_alone=alone)
    moved = legacy.update_person(KEY, "abc123", external_id="2", email="b@shop.ch", phone_number="+12345678901")
    assert moved == LEGACY.move("abc123", external_id="2", email="b@shop.ch", phone_number="+12345678901")


def test_the_legacy_dialect_looks_into_its_answers() -> None:
    """A successful status with the body `0` reports a failure."""
    assert None is LEGACY.failure_in(Response(200, {}, b"1"))
    assert isinstance(LEGACY.failure_in(Response(200, {}, b"0")), BadRequestError)


def test_each_dialect_says_what_it_can_do() -> None:
    """Everything a flow may ask of a dialect holds for the current one, and nothing of it for the legacy one."""
    flags = [name for name, kind in inspect.get_annotations(Dialect).items() if kind == "bool"]
    assert {(True, False)} == {(getattr(CURRENT, name), getattr(LEGACY, name)) for name in flags}
    assert len(flags) >= 8
    assert ("current", "legacy") == (CURRENT.name, LEGACY.name)


def test_f27_no_dialect_shows_its_keys() -> None:
    """F-27: the repr of a dialect holds neither key."""
    assert KEY.reveal() not in repr(LEGACY)
    assert "PubKey" not in repr(LEGACY)
