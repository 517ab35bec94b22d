"""Customers whom the map knows from an import, and Klaviyo from before: their binding has no profile id yet (F-35)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safeklaviyo import AmbiguousIdentityError, ErasedError, ExternalIdMismatchError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Change
from support.scenes import ACCOUNT, ANN, NEW, asked, bound, edit, leases, pairs, rejected

OLD = ANN["email"]


@pytest.fixture
def imported(client, simulator):
    """A client of a shop that has imported Ann, whom Klaviyo has known for long."""
    simulator.add_profile(**ANN, properties={"mine": True})
    made = client()
    made.bindings.add([ANN])
    return made


def test_an_erasure_reaches_the_profile(imported, simulator, store):
    """1.3: the profile is looked up and deleted, and the erasure says which it was."""
    ann = simulator.profiles[0].id
    erasure = imported.erase(external_id="ann-1")
    simulator.drain()
    assert (ann, True, set(), 0) == (erasure.profile_id, erasure.was_known, pairs(simulator), leases(store))
    assert isinstance(rejected(imported.identify, **ANN), ErasedError)


def test_an_erasure_of_somebody_klaviyo_does_not_know_says_so(client, simulator):
    """Where Klaviyo shows no profile, nothing is deleted, and `profile_id` is None."""
    k = client()
    k.bindings.add([ANN])
    erasure = k.erase(external_id="ann-1")
    assert (None, True) == (erasure.profile_id, erasure.was_known)
    assert "request_profile_deletion" not in asked(simulator)


def test_an_erasure_refuses_before_it_deletes(client, simulator):
    """1.6: an address that is another customer's in Klaviyo is refused, and neither is deleted."""
    simulator.add_profile(external_id="eve-3", email=OLD)
    k = client()
    k.bindings.add([ANN])
    assert isinstance(rejected(k.erase, external_id="ann-1"), ExternalIdMismatchError)
    assert OLD == bound(k, external_id="ann-1").email
    assert "request_profile_deletion" not in asked(simulator)


def test_an_erasure_by_a_profile_id_that_is_anothers_is_refused(imported, simulator):
    """1.6: the profile that is named shows another customer than the binding that is named."""
    eve = simulator.add_profile(external_id="eve-3", email="eve@shop.test").id
    assert isinstance(rejected(imported.erase, external_id="ann-1", profile_id=eve), AmbiguousIdentityError)
    assert 2 == len(simulator.profiles)


def test_an_erasure_of_a_profile_that_the_map_gives_to_another_is_refused(client, simulator):
    """1.6: an imported address on a profile that the map knows as another customer's deletes neither."""
    k = client()
    bob = k.identify(external_id="bob-2", email="bob@shop.test").profile_id
    edit(simulator, bob, external_id=None, email="guest@shop.test")
    k.bindings.add([{"email": "guest@shop.test"}])
    assert isinstance(rejected(k.erase, email="guest@shop.test"), AmbiguousIdentityError)
    assert [bob] == [profile.id for profile in simulator.profiles]


def test_an_imported_stub_is_merged_as_the_orphan_it_is(client, simulator, store):
    """B55: a newsletter address that was imported does not block a change of email that may merge."""
    k = client()
    k.identify(**ANN)
    simulator.add_profile(email=NEW)
    k.bindings.add([{"email": NEW}])
    simulator.advance(3600)

    def change():
        result = k.change_email(NEW, external_id="ann-1", on_taken="merge")
        simulator.drain()
        return result

    while change().status == "merge_requested":
        simulator.advance(3600)
    assert ({("ann-1", NEW)}, 0) == (pairs(simulator), leases(store))
    assert "ann-1" == bound(k, email=NEW).external_id


def test_an_imported_stub_that_klaviyo_does_not_know_is_taken_in(client, simulator, store):
    """A guest of the map without a profile becomes one with the customer who takes the address."""
    k = client()
    k.identify(**ANN)
    k.bindings.add([{"email": NEW}])
    assert "changed" == k.change_email(NEW, external_id="ann-1", on_taken="merge").status
    assert ({("ann-1", NEW)}, 0, 1) == (pairs(simulator), leases(store), len(list(k.bindings)))


def test_a_merge_takes_an_imported_binding_along(client, simulator):
    """1.3: the source's imported binding becomes the survivor's, so that a later event does not re-make the profile."""
    k = client()
    ann = k.identify(**ANN).profile_id
    guest = simulator.add_profile(email=NEW).id
    k.bindings.add([{"email": NEW}])
    simulator.drain()
    k.profiles.merge(guest, into=ann)
    simulator.drain()
    assert ann == k.track("Ordered", email=NEW).profile_id
    simulator.drain()
    assert {("ann-1", OLD)} == pairs(simulator)


def test_a_merge_of_an_imported_customer_is_refused(client, simulator):
    """P3: a profile that the map gives by its address to a customer with an id is not merged away."""
    k = client()
    ann = k.identify(**ANN).profile_id
    source = simulator.add_profile(email=NEW).id
    k.bindings.add([{"external_id": "eve-3", "email": NEW}])
    assert isinstance(rejected(k.profiles.merge, source, into=ann), AmbiguousIdentityError)
    assert "merge_profiles" not in asked(simulator)


@pytest.mark.parametrize(
    "change",
    [
        lambda k: k.change_email(NEW, external_id="ann-1"),
        lambda k: k.change_external_id("ann-9", email=OLD),
        lambda k: k.change_phone_number("+12345678901", external_id="ann-1"),
    ],
    ids=["email", "external_id", "phone_number"],
)
def test_a_change_reaches_the_profile(imported, simulator, store, change):
    """1.3: the customer's own profile is changed, and no second one is made."""
    ann = simulator.profiles[0].id
    result = change(imported)
    assert ("changed", ann, 1, 0) == (result.status, result.profile_id, len(simulator.profiles), leases(store))
    assert {"mine": True} == simulator.profiles[0].properties


def test_a_recheck_looks_the_profile_up(client, simulator, store):
    """1.3: a changed customer whose binding has no profile id is compared with their profile, not called missing."""
    k = client()
    ann = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    forget_profile_id(store, external_id="ann-1")
    assert [] == k.recheck_changes()
    edit(simulator, ann, email=OLD)
    assert [("put_back", ann)] == [(each.finding, each.profile_id) for each in k.recheck_changes()]
    edit(simulator, ann, email="else@shop.test")
    assert ["drift"] == [each.finding for each in k.recheck_changes()]


def forget_profile_id(store, external_id):
    """Take the profile id of a binding away, as a map has it that was filled by an import."""
    binding = store.find(ACCOUNT, [Identifier(Kind.EXTERNAL_ID, external_id)]).current(Kind.EXTERNAL_ID)
    assert "bound" == store.bind(ACCOUNT, Change(replace(binding, profile_id=None))).status
