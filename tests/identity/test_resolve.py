"""`resolve`: who somebody is, by the map and else by Klaviyo; it reads, and writes nothing anywhere."""

from __future__ import annotations

import copy
import pickle

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    EmailMismatchError,
    ErasedError,
    ExternalIdMismatchError,
    NoResponseError,
    Policy,
    RetryPolicy,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identifier, Kind
from support.scenes import ACCOUNT, ANN, BOB, NEW, asked, expire, hold, leases, rejected, writes

OLD = ANN["email"]
READS = {"get_profiles", "get_profile"}


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann by her second address; the journal is empty."""
    k = client()
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    simulator.journal.clear()
    return k


def shape(resolution):
    """Return the pair and the rule."""
    return resolution.identity.external_id, resolution.identity.email, resolution.rule


@pytest.mark.parametrize(
    ("who", "rule"),
    [
        ({"external_id": "ann-1", "email": NEW}, "R3"),
        ({"external_id": "ann-1", "email": OLD}, "R5"),
        ({"external_id": "ann-1"}, "R8"),
        ({"email": NEW}, "R10"),
        ({"email": OLD}, "R11"),
    ],
    ids=str,
)
def test_whoever_the_map_knows_costs_no_request(known, simulator, who, rule):
    """R3, R5, R8, R10, R11: current and former identifiers lead to the current pair and its profile."""
    resolution = known.resolve(**who)
    assert (("ann-1", NEW, rule), simulator.profiles[0].id) == (shape(resolution), resolution.profile_id)
    assert [] == simulator.journal


def test_r16_an_old_check_is_good_enough(known, client, simulator, store):
    """R16: what was not checked for a while is told as it stands, because nothing is written by it."""
    simulator.advance(10)
    resolution = client(policy=Policy(refresh_after=1)).resolve(email=NEW)
    assert (("ann-1", NEW, "R16"), []) == (shape(resolution), simulator.journal)


@pytest.mark.parametrize(
    ("profile", "who", "rule"),
    [
        (ANN, ANN, "R4"),
        ({"email": OLD}, ANN, "R4"),
        ({"external_id": "ann-1"}, ANN, "R4"),
        (ANN, {"external_id": "ann-1"}, "R9"),
        ({"external_id": "ann-1"}, {"external_id": "ann-1"}, "R9"),
        (ANN, {"email": OLD}, "R12"),
        ({"email": OLD}, {"email": OLD}, "R12"),
    ],
    ids=str,
)
def test_whoever_only_klaviyo_knows_is_read_there(*, client, simulator, store, profile, who, rule):
    """R4, R9, R12: the profile is told as it stands in Klaviyo; neither Klaviyo nor the map changes."""
    theirs = simulator.add_profile(**profile)
    resolution = client().resolve(**who)
    assert ((theirs.external_id, theirs.email, rule), theirs.id) == (shape(resolution), resolution.profile_id)
    assert set(asked(simulator)) <= READS
    assert ([theirs], (), 0) == (simulator.profiles, store.page(ACCOUNT).bindings, leases(store))


@pytest.mark.parametrize(
    ("who", "rule"), [(ANN, "R4"), ({"external_id": "ann-1"}, "R9"), ({"email": OLD}, "R12")], ids=str
)
def test_whoever_nobody_knows_has_no_profile(client, simulator, store, who, rule):
    """R4, R9, R12: nobody is told as nobody, and is not made."""
    resolution = client().resolve(**who)
    assert ((who.get("external_id"), who.get("email"), rule), None) == (shape(resolution), resolution.profile_id)
    assert ([], []) == (simulator.profiles, writes(simulator))


def test_a_pair_without_a_profile_is_looked_for(client, simulator, store):
    """A pair that the map was given without its profile is looked for by both, and not written down."""
    k = client()
    k.bindings.add([ANN])
    assert None is k.resolve(external_id="ann-1").profile_id
    theirs = simulator.add_profile(**ANN)
    assert (("ann-1", OLD, "R4"), theirs.id) == (shape(k.resolve(email=OLD)), k.resolve(email=OLD).profile_id)
    assert None is store.page(ACCOUNT).bindings[0].profile_id


def test_different_customers_are_refused(known, simulator):
    """R6, R7: identifiers of two customers are refused as by any other call."""
    known.identify(**BOB)
    error = rejected(known.resolve, external_id="ann-1", email="third@shop.test")
    assert (EmailMismatchError, "R6", NEW) == (type(error), error.rule, error.current_email)
    error = rejected(known.resolve, external_id="eve-3", email=NEW)
    assert (ExternalIdMismatchError, "R7", "ann-1") == (type(error), error.rule, error.current_external_id)


def test_different_profiles_are_refused(client, simulator):
    """R4, F-5: identifiers of two profiles, or several profiles of one identifier, are refused."""
    simulator.add_profile(external_id="eve-3", email="eve@shop.test")
    simulator.add_profile(external_id="ann-1")
    simulator.add_profile(email=OLD)
    k = client()
    assert isinstance(rejected(k.resolve, external_id="eve-4", email="eve@shop.test"), ExternalIdMismatchError)
    assert isinstance(rejected(k.resolve, external_id="eve-3", email="else@shop.test"), EmailMismatchError)
    assert isinstance(rejected(k.resolve, **ANN), AmbiguousIdentityError)
    simulator.add_profile(external_id="ann-1", email="second@shop.test")
    error = rejected(k.resolve, external_id="ann-1")
    assert (AmbiguousIdentityError, 2) == (type(error), len(error.profile_ids))


def test_the_policy_holds_here_too(known, client):
    """R9, R11: an unknown id is looked for all the same, and a former address speaks as the policy lets it."""
    assert None is client(policy=Policy(unknown_id="refuse")).resolve(external_id="eve-3").profile_id
    error = rejected(client(policy=Policy(retired="refuse")).resolve, email=OLD)
    assert (EmailMismatchError, "R11") == (type(error), error.rule)


def test_whoever_was_erased_is_refused(known):
    """An erased customer is not told, by any name."""
    known.erase(external_id="ann-1")
    for who in ({"external_id": "ann-1"}, {"email": NEW}, {"email": OLD}):
        assert isinstance(rejected(known.resolve, **who), ErasedError)


def test_a_lease_is_no_obstacle(known, store, simulator):
    """R13: somebody who writes about the customer is not waited for, and their intent stays as it is."""
    hold(store, Identifier(Kind.EMAIL, NEW), ttl=1)
    before = pickle.dumps(copy.copy(store._accounts[ACCOUNT].leases))
    assert "R10" == known.resolve(email=NEW).rule
    expire(simulator)
    assert ("R10", before) == (known.resolve(email=NEW).rule, pickle.dumps(store._accounts[ACCOUNT].leases))


def test_nobody_is_somebody_without_an_answer(client, simulator, store):
    """P6: where Klaviyo or the map cannot answer, neither "nobody" nor anything else is said."""
    simulator.fail_next("get_profiles", times=2)
    error = rejected(client(retry=RetryPolicy(max_attempts=1)).resolve, email=OLD)
    assert (NoResponseError, "not_applied") == (type(error), error.outcome)
    store.close()
    assert isinstance(rejected(client().resolve, email=OLD), StoreUnavailableError)


@pytest.mark.parametrize("settings", [{"legacy": "alive"}])
def test_the_legacy_api_resolves_as_well(client, simulator):
    """The legacy dialect reads too: by the people search, and the person it names."""
    theirs = simulator.add_profile(**ANN)
    k = client(dialect="legacy", public_key=ACCOUNT, base_url="http://127.0.0.1:1")
    assert [theirs.id, theirs.id] == [k.resolve(**who).profile_id for who in ({"external_id": "ann-1"}, {"email": OLD})]
    assert (None, {"search_people", "get_person"}) == (k.resolve(email=NEW).profile_id, set(asked(simulator)))


def test_nobody_is_resolved_without_being_named(client, simulator):
    """R1, R2: a claim says who is meant, by a usable identifier."""
    k = client()
    assert ["R2", "R1"] == [rejected(k.resolve).rule, rejected(k.resolve, email="nobody").rule]
    assert [] == simulator.journal
