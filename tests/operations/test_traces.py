"""Traces by which simpler designs fail (H1 to H11): the shortest history of each, and what closes it."""

from __future__ import annotations

import pytest

from safeklaviyo import EmailMismatchError, IdentityDriftError, NoResponseError, Policy, RetryPolicy
from safeklaviyo.policy import DAY
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import (
    ANN,
    BOB,
    NEW,
    Troubled,
    bound,
    browse,
    codes,
    delete,
    edit,
    expire,
    kill,
    leases,
    meanwhile,
    merge,
    ours,
    pairs,
    patiently,
    rejected,
    rejected_for_good,
)

OLD = "ann@shop.test"


def test_h1_a_queued_event_that_puts_the_old_address_back_is_repaired(client, simulator):
    """H1: an event that Klaviyo applies after the change puts the old address back; the next `identify` repairs it."""
    k = client()
    k.track("Ordered", **ANN)
    k.change_email(NEW, external_id="ann-1")
    simulator.drain()
    assert {("ann-1", OLD)} == pairs(simulator)
    assert ["put_back_repaired"] == codes(k.identify(external_id="ann-1"))
    assert {("ann-1", NEW)} == pairs(simulator)


def test_h1_naming_by_profile_id_alone_puts_nothing_back(client, simulator):
    """H1: with ``event_naming="profile_id"`` there is nothing in the queue that could be put back."""
    k = client(policy=Policy(event_naming="profile_id"))
    k.track("Ordered", **ANN)
    k.change_email(NEW, external_id="ann-1")
    simulator.drain()
    assert ({("ann-1", NEW)}, 1) == (pairs(simulator), len(simulator.events))


@pytest.mark.parametrize("lands", ["before", "between", "late"])
def test_h2_whoever_takes_a_former_address_takes_no_profile(client, simulator, lands):
    """H2: Bob comes with the address Ann has left, the late event puts it back: nobody's id is overwritten."""
    k = client()
    k.track("Ordered", **ANN)
    k.change_email(NEW, external_id="ann-1")
    if lands == "before":
        simulator.drain()
    elif lands == "between":
        meanwhile(simulator, "create_profile", simulator.drain)
    result = k.identify(external_id="bob-2", email=OLD)
    simulator.drain()
    k.identify(external_id="ann-1")
    k.identify(external_id="bob-2")
    assert {("ann-1", NEW), ("bob-2", OLD)} == pairs(simulator)
    assert result.profile_id == simulator.find(external_id="bob-2").id


def test_h3_a_warm_write_that_lands_late_puts_nothing_back(client, simulator, store, open_client):
    """H3: a warm `identify` that is overtaken by a change of address carries no address."""
    k = client()
    k.identify(**ANN)
    other = open_client(simulator, store)
    meanwhile(simulator, "update_profile", lambda: other.change_email(NEW, external_id="ann-1"))
    k.identify({"tier": "gold"}, **ANN)
    assert ({("ann-1", NEW)}, {"tier": "gold"}) == (pairs(simulator), simulator.profiles[0].properties)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"external_id": "ann-1", "email": OLD}, {"external_id": "bob-2", "email": OLD}),
        ({"external_id": "ann-1", "email": OLD}, {"external_id": "ann-1", "email": NEW}),
    ],
)
@pytest.mark.parametrize("where", ["get_profiles", "create_profile"])
def test_h4_two_that_meet_on_one_identifier_make_no_duplicate(client, simulator, open_client, *, first, second, where):
    """H4: two ids on one address, or one id on two: whoever comes second finishes the first's, and is refused."""
    store = MemoryStore(clock=simulator.now)
    other = open_client(simulator, store)
    refused = []

    def overtake() -> None:
        expire(simulator)
        refused.append(rejected(other.identify, **second))

    meanwhile(simulator, where, overtake)
    result = client(store=store).identify(**first)
    assert (True, 1, 0) == (refused[0].rule in {"R6", "R7"}, len(simulator.profiles), leases(store))
    assert {(first["external_id"], first["email"])} == pairs(simulator)
    assert simulator.profiles[0].id == result.profile_id


def test_h5_a_look_up_that_was_overtaken_writes_nothing_over_the_map(client, simulator, open_client):
    """H5: `track` looks Ann up, her change completes, and what was looked up is forgotten (compare-and-set)."""
    simulator.add_profile(**ANN)
    store = Troubled(simulator)
    other = open_client(simulator, store)
    store.before["bind"] = lambda: other.change_email(NEW, external_id="ann-1")
    result = client(store=store).track("Ordered", external_id="ann-1")
    assert (NEW, NEW) == (result.identity.email, bound(client(store=store), external_id="ann-1").email)


def test_h6_a_write_that_was_cut_off_is_finished_first(client, simulator, open_client):
    """H6: Bob is being created with Ann's former address when his process dies; Ann's events do not become Bob's."""
    store = Troubled(simulator)
    k = client(store=store)
    ann = k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    kill(simulator, store, "bind", open_client(simulator, store).identify, external_id="bob-2", email=OLD)
    expire(simulator)
    event = k.track("Ordered", email=OLD)
    assert ("bob-2", True) == (event.identity.external_id, event.profile_id != ann.profile_id)
    assert {("ann-1", NEW), ("bob-2", OLD)} == pairs(simulator)


@pytest.mark.parametrize("shown", [OLD, NEW])
def test_h7_a_stale_search_decides_nothing(open_client, shown):
    """H7: a search that shows the new address already, or still the old one, skips no PATCH."""
    simulator = KlaviyoSimulator(search_lag="until_drain")
    k = open_client(simulator, MemoryStore(clock=simulator.now))
    profile_id = k.identify(**ANN).profile_id
    if shown == NEW:
        edit(simulator, profile_id, email=NEW)
        simulator.drain()
        edit(simulator, profile_id, email=OLD)
    else:
        simulator.drain()
    k.change_email(NEW, external_id="ann-1")
    assert ({("ann-1", NEW)}, "R11") == (pairs(simulator), k.explain(email=OLD).rule)


def test_h8_a_change_whose_answer_was_lost_is_finished_before_the_next(client, simulator, store):
    """H8: a change with an unknown outcome is finished first, and then the second change is made."""
    k = client(retry=RetryPolicy(max_attempts=1), policy=Policy(wait=60))
    k.identify(**ANN)
    simulator.fail_next("update_profile", when="after")
    assert isinstance(rejected(k.change_email, NEW, external_id="ann-1"), NoResponseError)
    k.change_email("ann@third.test", external_id="ann-1")
    assert ({("ann-1", "ann@third.test")}, 0) == (pairs(simulator), leases(store))
    assert "ann@third.test" == k.explain(email=NEW).identity.email


def test_h9_an_event_by_email_alone_binds_before_it_is_sent(client, simulator, store, open_client):
    """H9: an event of somebody unmapped, raced by a change away from that address, makes no ghost."""
    simulator.add_profile(**ANN)
    other = open_client(simulator, store)
    meanwhile(simulator, "create_event", lambda: other.change_email(NEW, old_email=OLD))
    k = client()
    k.track("Ordered", email=OLD)
    simulator.drain()
    k.identify(external_id="ann-1")
    assert ({("ann-1", NEW)}, 1) == (pairs(simulator), len(simulator.events))


def test_h10_the_second_copy_of_an_event_makes_no_ghost(open_client):
    """H10: an event that is recorded, and whose answer is lost, is repeated on the same profile, and counts once."""
    simulator = KlaviyoSimulator(queue_lag=0.0)
    store = Troubled(simulator)
    k, other = open_client(simulator, store), open_client(simulator, store)
    k.identify(**ANN)

    def change_before_the_next_look() -> None:
        store.before["find"] = lambda: other.change_email(NEW, external_id="ann-1")

    meanwhile(simulator, "create_event", change_before_the_next_look)
    simulator.fail_next("create_event", when="after")
    k.track("Ordered", **ANN)
    simulator.drain()
    assert ({("ann-1", NEW)}, 1, 1) == (pairs(simulator), len(simulator.events), len(simulator.deduplicated))


def test_h11_a_browsers_ghost_is_left_alone_and_does_no_harm(client, simulator):
    """H11: a browser's call with the old address makes a ghost; the library's own calls stay with the customer."""
    k = client()
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    browse(simulator, email=OLD)
    simulator.drain()
    assert {("ann-1", NEW), (None, OLD)} == pairs(simulator)
    assert profile_id == k.track("Ordered", email=OLD).profile_id
    assert profile_id == k.identify({"tier": "gold"}, **ANN).profile_id


def test_h11_an_edit_by_hand_is_seen(client, simulator):
    """H11: an address that was changed by hand is seen at the next `identify`."""
    k = client()
    k.identify(**ANN)
    edit(simulator, simulator.profiles[0].id, email="hand@shop.test")
    assert "hand@shop.test" == rejected(k.identify, {"tier": "x"}, **ANN).found_email


def test_h11_a_merge_by_hand_is_survived(client, simulator):
    """H11: a customer whose profile was merged away by hand is found again under the destination's id."""
    k = client()
    old = k.identify(**ANN).profile_id
    kept = simulator.add_profile(phone_number="+12345678901")
    merge(simulator, old, kept.id)
    assert kept.id == patiently(simulator, k.identify, {"tier": "gold"}, **ANN).profile_id
    k.track("Ordered", **ANN)
    simulator.drain()
    assert ({("ann-1", OLD)}, kept.id) == (pairs(simulator), bound(k, external_id="ann-1").profile_id)


def test_h11_a_merge_by_hand_into_another_customer_is_refused(client, simulator):
    """H11: a customer who was merged into another by hand is not written onto that one."""
    k = client()
    ann, bob = k.identify(**ANN), k.identify(**BOB)
    merge(simulator, ann.profile_id, bob.profile_id)
    result = patiently(simulator, k.identify, {"tier": "gold"}, **ANN)
    assert result.created
    assert {("bob-2", "bob@shop.test"), ("ann-1", OLD)} == pairs(simulator)
    assert {} == simulator.find(external_id="bob-2").properties


def test_h11_another_backends_id_is_left_alone(client, simulator):
    """H11: another backend that gives the address another id is told, and nothing is overwritten."""
    k = client()
    k.identify(**ANN)
    edit(simulator, simulator.profiles[0].id, external_id="other-9")
    assert isinstance(rejected(k.identify, {"tier": "x"}, **ANN), IdentityDriftError)
    simulator.advance(31 * DAY)
    assert isinstance(rejected(k.track, "Ordered", **ANN), IdentityDriftError)
    assert {("other-9", OLD)} == pairs(simulator)


def test_h11_a_profile_made_anew_by_hand_is_found(client, simulator):
    """H11: a profile that was deleted and made anew by another backend is found by the pair."""
    k = client()
    k.identify(**ANN)
    delete(simulator, simulator.profiles[0].id)
    other = simulator.add_profile(external_id="ann-1", email="else@shop.test")
    error = patiently(simulator, rejected_for_good, k.identify, {"tier": "x"}, **ANN)
    assert (EmailMismatchError, "else@shop.test") == (type(error), error.current_email)
    assert other.properties == simulator.profiles[0].properties
    assert 200 == ours(simulator)[-1].status
