"""Answers that contradict the map (R15), and bindings that were not checked for a while (R16)."""

from __future__ import annotations

import pytest

from safeklaviyo import IdentityDriftError, IdOnlyError, Policy, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.policy import DAY
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.scenes import (
    ANN,
    BOB,
    NEW,
    PHONE,
    Troubled,
    asked,
    bound,
    codes,
    delete,
    edit,
    journal_of,
    leases,
    meanwhile,
    merge,
    pairs,
    patiently,
    rejected,
    writes,
)

OLD = "ann@shop.test"
MONTH = 30 * DAY


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann; the journal is empty."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    return k


def ann(simulator):
    """Return Ann's profile id."""
    return simulator.find(external_id="ann-1").id


@pytest.mark.parametrize(
    ("shown", "found_id", "found_email"),
    [
        ({"email": "eve@shop.test"}, "ann-1", "eve@shop.test"),
        ({"external_id": "eve-3"}, "eve-3", OLD),
        ({"external_id": None}, None, OLD),
        ({"email": None}, "ann-1", None),
    ],
)
def test_r15_a_pair_that_was_changed_by_hand_is_refused(known, simulator, store, *, shown, found_id, found_email):
    """R15: the write has happened, and the error says that Klaviyo shows another pair; the map stays as it is."""
    profile_id = ann(simulator)
    edit(simulator, profile_id, **shown)
    error = rejected(known.identify, {"tier": "gold"}, **ANN)
    assert (IdentityDriftError, "R15", "applied", False, profile_id, found_id, found_email, "ann-1", OLD) == (
        type(error),
        error.rule,
        error.outcome,
        error.may_retry,
        error.profile_id,
        error.found_external_id,
        error.found_email,
        error.external_id,
        error.email,
    )
    assert (OLD, 0) == (bound(known, external_id="ann-1").email, leases(store))


def test_r15_adopt_takes_over_what_klaviyo_says(known, client, simulator, store):
    """R15: with ``drift="adopt"`` the map takes the new address, the old one retires, and the journal says so."""
    edit(simulator, ann(simulator), email=NEW)
    k = client(policy=Policy(drift="adopt"))
    result = k.identify({"tier": "gold"}, external_id="ann-1")
    assert (["drift_adopted"], NEW, [("adopt", OLD, NEW)]) == (codes(result), result.identity.email, journal_of(store))
    assert ("R11", NEW) == (k.explain(email=OLD).rule, k.explain(email=OLD).identity.email)


def test_r15_adopt_takes_over_another_external_id(known, client, simulator):
    """R15: with ``drift="adopt"`` an external id changed by hand is taken over, and the former one speaks on."""
    edit(simulator, ann(simulator), external_id="ann-9")
    k = client(policy=Policy(drift="adopt"))
    assert "ann-9" == k.identify({"tier": "gold"}, **ANN).identity.external_id
    assert ("R8", True) == (k.explain(external_id="ann-1").rule, k.explain(external_id="ann-1").rewritten)


def test_r15_adopt_takes_nobody_elses_address(known, client, simulator):
    """R15: an address that is bound to somebody else is not adopted."""
    known.bindings.add([{"email": "bob@shop.test", "external_id": "bob-2"}])
    edit(simulator, ann(simulator), email="bob@shop.test")
    error = rejected(client(policy=Policy(drift="adopt")).identify, {"tier": "gold"}, external_id="ann-1")
    assert (IdentityDriftError, "bob@shop.test", OLD) == (
        type(error),
        error.found_email,
        bound(known, external_id="ann-1").email,
    )


def test_r15_adopt_takes_no_missing_address(known, client, simulator):
    """R15: a profile without an address offers none to adopt."""
    edit(simulator, ann(simulator), email=None)
    error = rejected(client(policy=Policy(drift="adopt")).identify, {"tier": "gold"}, external_id="ann-1")
    assert (IdentityDriftError, None) == (type(error), error.found_email)


@pytest.mark.parametrize("drift", ["refuse", "adopt"])
def test_r15_f13_a_former_address_that_was_put_back_is_repaired(known, client, simulator, store, drift):
    """R15, F-13: an address that this customer has left is no drift: the profile is restored, with a warning."""
    known.change_email(NEW, external_id="ann-1")
    edit(simulator, ann(simulator), email=OLD)
    result = client(policy=Policy(drift=drift)).identify({"tier": "gold"}, external_id="ann-1")
    assert (["put_back_repaired"], NEW, {("ann-1", NEW)}) == (codes(result), result.identity.email, pairs(simulator))
    assert ("restore", OLD, NEW) == journal_of(store)[-1]
    assert () == known.identify({"tier": "new"}, external_id="ann-1").warnings
    assert 0 == leases(store)


def test_r15_a_put_back_that_cannot_be_restored_is_drift(known, simulator, store):
    """R15, P3: where the current address is on another profile by now, nothing is forced, and the error says so."""
    known.change_email(NEW, external_id="ann-1")
    edit(simulator, ann(simulator), email=OLD)
    simulator.add_profile(external_id="eve-3", email=NEW)
    error = rejected(known.identify, {"tier": "gold"}, external_id="ann-1")
    assert (IdentityDriftError, "applied", OLD) == (type(error), error.outcome, error.found_email)
    assert {("ann-1", OLD), ("eve-3", NEW)} == pairs(simulator)
    assert (NEW, 0) == (bound(known, external_id="ann-1").email, leases(store))


def test_r15_a_put_back_that_somebody_else_repairs_first_is_fine(known, simulator, store, open_client):
    """R15: a profile that is restored by somebody else meanwhile needs no second restoring."""
    known.change_email(NEW, external_id="ann-1")
    edit(simulator, ann(simulator), email=OLD)
    other = open_client(simulator, store)
    meanwhile(simulator, "get_profile", lambda: other.identify({"tier": "x"}, external_id="ann-1"))
    known.identify({"tier": "gold"}, external_id="ann-1")
    assert {("ann-1", NEW)} == pairs(simulator)
    assert 1 == [row[0] for row in journal_of(store)].count("restore")


def test_r15_a_put_back_with_another_id_is_drift(known, simulator):
    """R15: a profile that shows a former address and somebody else's id is not restored: it may be theirs."""
    known.change_email(NEW, external_id="ann-1")
    edit(simulator, ann(simulator), email=OLD, external_id="eve-3")
    error = rejected(known.identify, {"tier": "gold"}, external_id="ann-1")
    assert (IdentityDriftError, "R15", "eve-3", OLD) == (
        type(error),
        error.rule,
        error.found_external_id,
        error.found_email,
    )
    assert {("eve-3", OLD)} == pairs(simulator)


def test_r15_a_guest_who_gained_an_id_is_bound_with_it(client, simulator):
    """R15: a guest's profile that has got an external id by hand is no contradiction: the map learns it."""
    k = client()
    guest = k.identify(email=OLD)
    edit(simulator, guest.profile_id, external_id="ann-1")
    result = k.identify({"tier": "gold"}, email=OLD)
    assert ("ann-1", ()) == (result.identity.external_id, result.warnings)
    assert guest.profile_id == bound(k, external_id="ann-1").profile_id


def test_r15_a_guest_who_gained_somebody_elses_id_is_drift(client, simulator):
    """R15: an id that the map gives to another customer is not learnt."""
    k = client()
    k.identify(**BOB)
    guest = k.identify(email=OLD)
    edit(simulator, simulator.find(external_id="bob-2").id, external_id=None)
    edit(simulator, guest.profile_id, external_id="bob-2")
    error = rejected(k.identify, {"tier": "gold"}, email=OLD)
    assert (IdentityDriftError, "applied", "bob-2") == (type(error), error.outcome, error.found_external_id)


def test_r15_a_merged_profile_that_answers_under_another_id_is_learnt(open_client):
    """R15, H11: where a merged profile's id leads to the destination, the map learns the new id."""
    simulator = KlaviyoSimulator(Readings(merged_id="alias"))
    k = open_client(simulator, MemoryStore(clock=simulator.now))
    old = k.identify(**ANN)
    kept = simulator.add_profile(first_name="Ann", phone_number=PHONE)
    merge(simulator, old.profile_id, kept.id)
    simulator.advance(MONTH)
    result = k.track("Ordered", **ANN)
    assert (kept.id, kept.id) == (result.profile_id, bound(k, external_id="ann-1").profile_id)


def test_r15_evidence_that_is_older_than_the_map_accuses_nobody(known, simulator, store, open_client):
    """R15, H7: an answer that contradicts the map, because the map has changed since, is read anew."""
    other = open_client(simulator, store)
    meanwhile(simulator, "update_profile", lambda: other.change_email(NEW, external_id="ann-1"))
    result = known.identify({"tier": "gold"}, **ANN)
    assert ((), NEW, 0) == (result.warnings, result.identity.email, leases(store))


def test_r15_a_customer_who_is_removed_meanwhile_is_nobodys_drift(known, simulator, store, open_client):
    """R15: where the binding is gone when the contradiction is looked at, the write stands as it is."""
    profile_id = ann(simulator)
    edit(simulator, profile_id, email="eve@shop.test")
    other = open_client(simulator, store)
    meanwhile(simulator, "update_profile", lambda: other.bindings.remove(external_id="ann-1"))
    assert profile_id == known.identify({"tier": "gold"}, **ANN).profile_id


def test_r15_a_profile_that_is_deleted_while_it_is_looked_at_is_nobodys_drift(client, simulator, open_client):
    """R15: a profile that is gone when it is read anew, because the map had changed, accuses nobody."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    profile_id = ann(simulator)
    other = open_client(simulator, store)

    def change_and_delete() -> None:
        other.change_email(NEW, external_id="ann-1")
        meanwhile(simulator, "get_profile", lambda: delete(simulator, profile_id))

    meanwhile(simulator, "update_profile", change_and_delete)
    assert (profile_id, []) == (k.identify({"tier": "gold"}, **ANN).profile_id, simulator.profiles)


@pytest.mark.parametrize("verb", ["identify", "track"])
def test_r16_a_binding_is_checked_after_a_while(known, client, simulator, verb):
    """R16: once `refresh_after` has passed, the profile is read first; what it shows is written down."""
    simulator.advance(MONTH - 1)
    known.track("Ordered", **ANN)
    assert ["create_event"] == asked(simulator)
    simulator.advance(1)
    simulator.journal.clear()
    call = known.identify if verb == "identify" else lambda **who: known.track("Ordered", **who)
    assert "R3" == call(**ANN).rule
    assert "get_profile" == asked(simulator)[0]
    assert simulator.now() == bound(known, external_id="ann-1").verified_at
    simulator.journal.clear()
    known.track("Ordered", **ANN)
    assert ["create_event"] == asked(simulator)


@pytest.mark.parametrize("who", [ANN, {"external_id": "ann-1"}, {"email": OLD}])
def test_r16_an_import_is_checked_at_its_first_use(client, simulator, who):
    """R16: a row that was added with its profile id is checked once, before the first event."""
    profile = simulator.add_profile(**ANN)
    k = client()
    k.bindings.add([{**ANN, "profile_id": profile.id}])
    for expected in (["get_profile", "create_event"], ["create_event"]):
        simulator.journal.clear()
        assert profile.id == k.track("Ordered", **who).profile_id
        assert expected == asked(simulator)


def test_r16_a_trusted_import_is_used_as_it_stands(client, simulator):
    """R16: trusted rows count as checked just now."""
    profile = simulator.add_profile(**ANN)
    k = client()
    k.bindings.add([{**ANN, "profile_id": profile.id}], trusted=True)
    k.track("Ordered", **ANN)
    assert ["create_event"] == asked(simulator)


def test_r16_a_profile_that_is_gone_is_found_again(known, simulator):
    """R16, H11: a profile id that leads nowhere is forgotten, and the customer's other profile is found by the pair."""
    old = ann(simulator)
    delete(simulator, old)
    heir = simulator.add_profile(**ANN)
    simulator.advance(MONTH)
    result = patiently(simulator, known.track, "Ordered", external_id="ann-1")
    assert (heir.id, 1) == (result.profile_id, len(simulator.profiles))
    simulator.drain()
    assert [heir.id] == [event.profile_id for event in simulator.events]


def test_r16_drift_is_found_before_the_event(known, simulator):
    """R16, R15: a check that shows another pair refuses, and nothing is sent."""
    edit(simulator, ann(simulator), email="eve@shop.test")
    simulator.advance(MONTH)
    error = rejected(known.track, "Ordered", external_id="ann-1")
    assert (IdentityDriftError, "not_applied", []) == (type(error), error.outcome, writes(simulator))


def test_r16_drift_is_adopted_before_the_event(known, client, simulator):
    """R16, R15: with ``drift="adopt"`` the check takes the new address over, and the event names it."""
    edit(simulator, ann(simulator), email=NEW)
    simulator.advance(MONTH)
    result = client(policy=Policy(drift="adopt")).track("Ordered", external_id="ann-1")
    assert (NEW, ["drift_adopted"]) == (result.identity.email, codes(result))


def test_r16_a_put_back_is_repaired_before_the_event(known, simulator):
    """R16, R15: a check that shows a former address restores the profile first."""
    known.change_email(NEW, external_id="ann-1")
    edit(simulator, ann(simulator), email=OLD)
    simulator.advance(MONTH)
    result = known.track("Ordered", external_id="ann-1")
    assert (["put_back_repaired"], {("ann-1", NEW)}) == (codes(result), pairs(simulator))


def test_r16_a_check_by_the_instant_of_the_policy(client, simulator):
    """R16: `refresh_after` is the policy's."""
    k = client(policy=Policy(refresh_after=60))
    k.identify(**ANN)
    simulator.journal.clear()
    simulator.advance(60)
    k.track("Ordered", **ANN)
    assert ["get_profile", "create_event"] == asked(simulator)


def test_h5_a_check_that_was_overtaken_writes_nothing_over_the_map(client, simulator, open_client):
    """R16, H5: where the address is changed between the check and its writing down, the change stands."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    simulator.advance(MONTH)
    other = open_client(simulator, store)
    store.before["bind"] = lambda: other.change_email(NEW, external_id="ann-1")
    assert NEW == k.track("Ordered", external_id="ann-1").identity.email
    assert (NEW, {("ann-1", NEW)}) == (bound(k, external_id="ann-1").email, pairs(simulator))


def test_p6_a_check_that_cannot_be_written_down_stops_the_call(client, simulator):
    """P6: where the map cannot take the check, nothing is written."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    simulator.advance(MONTH)
    store.failing.add("bind")
    error = rejected(k.track, "Ordered", **ANN)
    assert (StoreUnavailableError, "not_applied", True) == (type(error), error.outcome, error.may_retry)


def test_r9_the_profile_of_a_removed_binding_is_looked_up_again(known, simulator, store):
    """R9: a customer who is removed from the map is looked up at their next call by id."""
    known.bindings.remove(external_id="ann-1")
    assert () == store.find("SiMuLa", (Identifier(Kind.EXTERNAL_ID, "ann-1"),)).matches
    assert "R8" == known.track("Ordered", external_id="ann-1").rule
    edit(simulator, ann(simulator), email=None)
    known.bindings.remove(external_id="ann-1")
    assert isinstance(rejected(known.track, "Ordered", external_id="ann-1"), IdOnlyError)
