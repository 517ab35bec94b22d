"""The traces of consent (H26 to H31): the shortest history of each, under every reading, and what closes it."""

from __future__ import annotations

import pytest

from safeklaviyo import ConsentWithdrawnError, LeaseHeldError, Policy
from support.consent import (
    READINGS,
    SUBSCRIBED,
    can_receive,
    come_to_rest,
    leaves,
    named,
    requests,
    subscribed,
)
from support.scenes import ANN, NEW, edit, expire, leases, meanwhile, merge, pairs, rejected

OLD = ANN["email"]
LATER = 400.0
pytestmark = [
    pytest.mark.proof,
    pytest.mark.parametrize("settings", [{"readings": each} for each in READINGS.values()], ids=list(READINGS)),
]


@pytest.fixture
def k(client, simulator):
    """Returns a client; Ann is known and subscribed."""
    k = client(policy=Policy(wait=3.0))
    simulator.add_profile(**ANN, consent=SUBSCRIBED)
    k.identify(**ANN)
    return k


@pytest.fixture
def moved(k, simulator):
    """Returns a client; Ann has moved, and a ghost on her former address is subscribed."""
    k.change_email(NEW, external_id="ann-1")
    simulator.add_profile(email=OLD, consent=SUBSCRIBED)
    return k


@pytest.mark.parametrize("lands", ["while it waits", "after it has given up"])
def test_h26_an_address_that_changes_after_a_withdrawal(k, simulator, lands):
    """H26: no profile is created on the old address, and Ann is withdrawn from, whenever the job is carried out."""
    k.unsubscribe("email", external_id="ann-1")
    if lands == "while it waits":
        meanwhile(simulator, "get_profile", simulator.drain)
    else:
        assert isinstance(rejected(k.change_email, NEW, external_id="ann-1"), LeaseHeldError)
        simulator.drain()
        simulator.advance(2)
    k.change_email(NEW, external_id="ann-1")
    come_to_rest(simulator, k)
    assert ({("ann-1", NEW)}, []) == (pairs(simulator), can_receive(simulator))


def test_h27_a_subscription_that_is_carried_out_last(k, simulator, store, open_client):
    """H27: it has read the consent, the withdrawal comes, and its job is carried out last: nothing is received."""
    other = open_client(simulator, store, policy=Policy(wait=0.5))
    simulator.withdraw(email=OLD)
    simulator.advance(1)
    errors = []
    meanwhile(
        simulator,
        "bulk_subscribe_profiles",
        lambda: errors.append(rejected(other.unsubscribe, "email", external_id="ann-1")),
    )
    k.subscribe("email", external_id="ann-1", resubscribe=True)
    assert [LeaseHeldError] == [type(error) for error in errors]
    k.unsubscribe("email", external_id="ann-1")
    simulator.step(1)
    come_to_rest(simulator, k)
    assert [] == can_receive(simulator)


def test_h27_a_subscription_that_is_carried_out_a_day_later(k, simulator):
    """H27: even one that nobody waits for any more: `recheck_changes` compares each withdrawal with what is shown."""
    k.subscribe("email", external_id="ann-1", resubscribe=True)
    queued = simulator._account.queue.copy()
    k.unsubscribe("email", external_id="ann-1")
    simulator._account.queue[:] = [each for each in simulator._account.queue if each not in queued]
    come_to_rest(simulator, k)
    for each in queued:
        each.task.apply(simulator._account)
    expire(simulator)
    k.recheck_changes()
    come_to_rest(simulator, k)
    assert [] == can_receive(simulator)


def test_h28_a_ghost_that_the_search_hides(client, open_client, settings):
    """H28: it is found once the search shows it, and withdrawn from then."""
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator

    simulator = KlaviyoSimulator(account="SiMuLa", search_lag=30.0, **settings)
    k = open_client(simulator, MemoryStore(clock=simulator.now))
    k.identify(**ANN)
    simulator.advance(60)
    k.change_email(NEW, external_id="ann-1")
    simulator.submit_form(email=OLD)
    k.unsubscribe("email", external_id="ann-1")
    simulator.drain()
    assert [OLD] == can_receive(simulator)
    expire(simulator)
    k.recover()
    k.recheck_changes()
    come_to_rest(simulator, k)
    assert [] == can_receive(simulator)
    assert client is not None


@pytest.mark.parametrize("by", ["email", "external_id"])
def test_h28_an_identifier_that_nobody_is_found_by(open_client, settings, by):
    """H28: a moment too early: it is kept by what it was made with, and carried out once that is found."""
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator

    simulator = KlaviyoSimulator(account="SiMuLa", search_lag=30.0, **settings)
    k = open_client(simulator, MemoryStore(clock=simulator.now))
    own = simulator.submit_form(email=OLD)
    edit(simulator, own.id, external_id="ann-1")
    change = k.unsubscribe("email", **{by: ANN[by]})
    assert ("unchanged", [OLD]) == (change.status, can_receive(simulator))
    simulator.advance(LATER)
    k.recheck_changes()
    come_to_rest(simulator, k)
    assert ([], 1) == (can_receive(simulator), len(simulator.profiles))


@pytest.mark.parametrize("how", ["by us", "by hand"])
def test_h29_an_address_that_changes_after_a_subscription(client, simulator, settings, how):
    """H29: the job does not put the old address back; where Klaviyo takes no row by id, the next call puts it right."""
    k = client(policy=Policy(wait=3.0))
    simulator.add_profile(**ANN)
    k.subscribe("email", **ANN)
    if how == "by us":
        assert isinstance(rejected(k.change_email, NEW, external_id="ann-1"), LeaseHeldError)
    else:
        edit(simulator, simulator.profiles[0].id, email=NEW)
    come_to_rest(simulator, k)
    if settings["readings"].subscribe_by_id == 202:
        assert [{"id"}] == named(simulator)
        assert {("ann-1", OLD if how == "by us" else NEW)} == pairs(simulator)
    assert 1 == len(simulator.profiles)


class TestH30:
    """The customer uses the link of a mail while a consent is on its way."""

    def test_h30_before_the_repeat_of_a_lost_request(self, client, simulator):
        """H30: consent is read again before each attempt."""
        k = client()
        k.identify(**ANN)
        simulator.fail_next("bulk_subscribe_profiles", status=500)
        meanwhile(simulator, "get_profile", lambda: leaves(simulator, OLD), turn=2)
        assert isinstance(rejected(k.subscribe, "email", **ANN), ConsentWithdrawnError)
        come_to_rest(simulator, k)
        assert [] == subscribed(simulator)

    @pytest.mark.parametrize("resubscribe", [True, False])
    def test_h30_before_klaviyo_carries_it_out(self, client, simulator, store, *, resubscribe):
        """H30: once the effect shows, the withdrawal since is carried out again."""
        k = client()
        k.subscribe("email", resubscribe=resubscribe, **ANN)
        simulator.advance(5)
        leaves(simulator, OLD)
        come_to_rest(simulator, k)
        assert ([], 0) == (subscribed(simulator), leases(store))

    def test_h30_in_an_intent_that_was_left(self, client, simulator, store):
        """H30: the answer was lost, the request is carried out over the link, and `recover` looks."""
        k = client()
        simulator.fail_next("bulk_subscribe_profiles", times=9, when="after")
        rejected(k.subscribe, "email", **ANN)
        simulator._faults._next.clear()
        simulator.advance(5)
        leaves(simulator, OLD)
        come_to_rest(simulator, k)
        assert ([], 0) == (subscribed(simulator), leases(store))

    def test_h30_another_consent_does_not_go_on_beside(self, client, simulator):
        """H30: while the withdrawal is carried out again, the lifted consent that shows is no consent."""
        k = client(policy=Policy(wait=3.0))
        k.subscribe("email", **ANN)
        simulator.advance(5)
        leaves(simulator, OLD)
        simulator.drain()
        assert isinstance(rejected(k.subscribe, "email", **ANN), LeaseHeldError)
        come_to_rest(simulator, k)
        assert isinstance(rejected(k.subscribe, "email", **ANN), ConsentWithdrawnError)
        assert [] == subscribed(simulator)

    def test_h30_before_another_consent_beside(self, client, simulator):
        """H30: a consent beside an earlier one looks for withdrawals since the earlier one."""
        simulator.add_profile(**ANN, phone_number="+12025550123")
        k = client()
        k.subscribe("email", **ANN)
        simulator.advance(5)
        leaves(simulator, OLD)
        simulator.advance(5)
        k.subscribe("sms", **ANN)
        come_to_rest(simulator, k)
        assert ([], SUBSCRIBED) == (subscribed(simulator), simulator.find(**ANN).sms_consent)

    def test_h30_where_events_could_not_be_read(self, client, simulator):
        """H30: `recheck_changes` reads them again."""
        k = client()
        k.subscribe("email", **ANN)
        simulator.advance(5)
        leaves(simulator, OLD)
        simulator.fail_next("get_events", status=403)
        come_to_rest(simulator, k)
        assert [OLD] == subscribed(simulator)
        assert ["withdrawn_again"] == [each.finding for each in k.recheck_changes()]
        come_to_rest(simulator, k)
        assert [] == subscribed(simulator)


def test_h31_an_erasure_after_a_withdrawal(k, simulator):
    """H31: the erasure waits for the withdrawal, so that no job creates the address anew."""
    k.unsubscribe("email", external_id="ann-1")
    assert isinstance(rejected(k.erase, external_id="ann-1"), LeaseHeldError)
    simulator.drain()
    simulator.advance(2)
    k.erase(external_id="ann-1")
    come_to_rest(simulator, k)
    assert [] == simulator.profiles


def test_h31_a_request_that_lands_after_an_erasure(k, simulator, settings):
    """H31: a copy that was lost and lands late creates the address: the second look deletes it."""
    k.unsubscribe("email", external_id="ann-1")
    (late,) = simulator._account.queue.copy()
    come_to_rest(simulator, k)
    k.erase(external_id="ann-1")
    simulator.drain()
    late.task.apply(simulator._account)
    assert int(settings["readings"].withdrawal_creates) == len(simulator.profiles)
    simulator.advance(LATER)
    found = k.recheck_changes()
    simulator.drain()
    assert ([], settings["readings"].withdrawal_creates) == (
        simulator.profiles,
        "reborn" in {each.finding for each in found},
    )


def test_h23_an_event_that_lands_after_an_erasure(k, simulator):
    """H23: it names the pair and makes the profile anew; its id is the erased one, so the second look deletes it."""
    k.track("Ordered", external_id="ann-1")
    (late,) = simulator._account.queue.copy()
    simulator.drain()
    k.erase(external_id="ann-1")
    simulator.drain()
    late.task.apply(simulator._account)
    assert ["ann-1"] == [each.external_id for each in simulator.profiles]
    simulator.advance(LATER)
    assert ["reborn"] == [each.finding for each in k.recheck_changes()]
    simulator.drain()
    assert [] == simulator.profiles


def test_h23_a_customer_who_comes_back_under_another_id(k, simulator):
    """H23: a profile on the erased address with an id that was never erased is left alone."""
    k.erase(external_id="ann-1")
    simulator.drain()
    simulator.add_profile(email=NEW, external_id="ann-2")
    simulator.add_profile(email=OLD, external_id="ann-3")
    simulator.advance(LATER)
    assert [] == k.recheck_changes()
    assert ["ann-2", "ann-3"] == [each.external_id for each in simulator.profiles]


def test_h31_a_merge_after_a_withdrawal(moved, simulator):
    """H31: the merge of the ghost waits for the withdrawal, which reaches both; the survivor receives nothing."""
    ghost, own = simulator.find(email=OLD).id, simulator.find(email=NEW).id
    moved.unsubscribe("email", external_id="ann-1")
    assert isinstance(rejected(moved.profiles.merge, ghost, into=own, allow_suppressed=True), LeaseHeldError)
    simulator.drain()
    simulator.advance(2)
    moved.profiles.merge(ghost, into=own, allow_suppressed=True)
    come_to_rest(simulator, moved)
    assert ({("ann-1", NEW)}, []) == (pairs(simulator), can_receive(simulator))


def test_h31_a_merge_by_hand_after_a_withdrawal(moved, simulator):
    """H31: nobody can be made to wait by hand; what the jobs make receives nothing, and the survivor neither."""
    moved.unsubscribe("email", external_id="ann-1")
    late, simulator._account.queue[:] = simulator._account.queue.copy(), []
    merge(simulator, simulator.find(email=OLD).id, simulator.find(email=NEW).id)
    simulator._account.queue[:] = late
    come_to_rest(simulator, moved)
    simulator.advance(LATER)
    moved.recheck_changes()
    come_to_rest(simulator, moved)
    assert [] == can_receive(simulator)
    assert "ann-1" == simulator.find(email=NEW).external_id


def test_h29_an_address_that_changes_by_hand_where_it_travels(client, simulator, settings):
    """H29: where Klaviyo takes no row by id, the job puts it back: the map and Klaviyo agree, on one profile."""
    k = client(policy=Policy(wait=3.0))
    simulator.add_profile(**ANN)
    k.subscribe("email", **ANN)
    edit(simulator, simulator.profiles[0].id, email=NEW)
    come_to_rest(simulator, k)
    travels = settings["readings"].subscribe_by_id == 400
    assert ({("ann-1", OLD if travels else NEW)}, 1) == (pairs(simulator), len(simulator.profiles))


def test_h31_a_withdrawal_after_a_merge_that_klaviyo_has_not_done(moved, simulator):
    """H31: a merge's intent stays open until the source is gone, and the withdrawal waits for it."""
    ghost, own = simulator.find(email=OLD).id, simulator.find(email=NEW).id
    moved.profiles.merge(ghost, into=own, allow_suppressed=True)
    assert isinstance(rejected(moved.unsubscribe, "email", external_id="ann-1"), LeaseHeldError)
    simulator.drain()
    simulator.advance(2)
    moved.unsubscribe("email", external_id="ann-1")
    come_to_rest(simulator, moved)
    assert ({("ann-1", NEW)}, []) == (pairs(simulator), can_receive(simulator))
    assert 1 >= len([each for each in requests(simulator) if each.endpoint == "bulk_unsubscribe_profiles"])
