"""What goes on beside a consent that Klaviyo has accepted and not carried out, and what waits for it (R13)."""

from __future__ import annotations

import pytest

from safeklaviyo import LeaseHeldError, Policy
from support.consent import (
    READINGS,
    SUBSCRIBED,
    UNSUBSCRIBED,
    can_receive,
    come_to_rest,
    receiving,
    requests,
    rows,
    subscribed,
)
from support.flows import WithdrawIntent
from support.scenes import ANN, BOB, NEW, PHONE, asked, leases, meanwhile, pairs, rejected

OLD = ANN["email"]
GONE = {"consent": UNSUBSCRIBED}
every_reading = pytest.mark.parametrize(
    "settings", [{"readings": reading} for reading in READINGS.values()], ids=list(READINGS)
)
OPENED = {
    "subscribe": lambda k: k.subscribe("email", **ANN),
    "unsubscribe": lambda k: k.unsubscribe("email", **ANN),
    "suppress": lambda k: k.suppress(**ANN),
}
"""Calls after which an intent stays open."""
opened = pytest.mark.parametrize("first", OPENED)

CHANGES = {
    "change_email": lambda k: k.change_email(NEW, external_id="ann-1"),
    "change_external_id": lambda k: k.change_external_id("ann-9", email=OLD),
    "change_phone_number": lambda k: k.change_phone_number(PHONE, external_id="ann-1"),
    "erase": lambda k: k.erase(external_id="ann-1"),
    "first contact": lambda k: k.identify(external_id="ann-1", email=NEW),
    "identify by a former address": lambda k: k.identify(external_id="eve-3", email=OLD),
}


class TestBeside:
    @opened
    @pytest.mark.parametrize("by", [{"external_id": "ann-1"}, {"email": OLD}, ANN], ids=["id", "email", "both"])
    def test_warm_calls_do_not_wait(self, client, simulator, *, first, by):
        """R13: `track` and `identify` of a known customer name the profile by its id, and go on at once."""
        k = client()
        k.identify(**ANN)
        OPENED[first](k)
        before, simulator_time = len(simulator.journal), simulator.now()
        k.track("Ordered", **by)
        k.identify({"plan": "gold"}, **by)
        assert simulator_time == simulator.now()
        assert ["create_event", "update_profile"] == [entry.endpoint for entry in simulator.journal[before:]]

    @opened
    def test_another_customer_does_not_wait(self, client, simulator, *, first):
        """R13: a lease is on one customer's identifiers alone."""
        k = client()
        k.identify(**ANN)
        OPENED[first](k)
        then = simulator.now()
        k.identify(**BOB)
        k.change_email("bob@new.test", external_id="bob-2")
        assert then == simulator.now()

    @opened
    def test_reading_does_not_wait(self, client, simulator, *, first):
        """`consent` and `resolve` read only."""
        k = client()
        k.identify(**ANN)
        OPENED[first](k)
        then = simulator.now()
        assert k.consent(**ANN).profile_id == k.resolve(**ANN).profile_id
        assert then == simulator.now()

    def test_one_consent_goes_on_beside_another(self, client, simulator, store):
        """R18: the second consent is asked for without waiting for the first, and both are waited for then."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        k = client()
        k.subscribe("email", **ANN)
        assert "accepted" == k.subscribe("sms", **ANN).status
        assert [{"email"}, {"sms"}] == [set(row["subscriptions"]) for row in rows(simulator)]
        simulator.step(1)
        simulator.advance(5)
        assert ([], 1) == (k.recover(), leases(store))
        come_to_rest(simulator, k)
        (profile,) = simulator.profiles
        assert (SUBSCRIBED, SUBSCRIBED, 0) == (profile.consent, profile.sms_consent, leases(store))

    @every_reading
    def test_a_withdrawal_never_waits_for_a_consent(self, client, simulator, store):
        """R19: it is sent whatever Klaviyo shows, because the consent may be carried out yet."""
        simulator.add_profile(**ANN)
        simulator.withdraw(email=OLD)
        simulator.advance(1)
        k = client(policy=Policy(wait=3.0))
        k.subscribe("email", resubscribe=True, **ANN)
        change = k.unsubscribe("email", **ANN)
        assert "accepted" == change.status
        sent = [each.endpoint for each in requests(simulator) if each.status == 202]
        assert ["bulk_subscribe_profiles", "bulk_unsubscribe_profiles"] == sent
        assert {"completed"} == set(come_to_rest(simulator, k))
        assert ([], 0) == (can_receive(simulator), leases(store))

    @every_reading
    @pytest.mark.parametrize("order", [(0, 0), (1, 0)], ids=["in order", "crossed"])
    def test_h27_in_whatever_order_klaviyo_carries_them_out(self, client, simulator, store, *, order):
        """H27: the withdrawal stands in the end, although the consent is carried out last."""
        simulator.add_profile(**ANN)
        k = client()
        k.subscribe("email", **ANN)
        k.unsubscribe("email", **ANN)
        for each in order:
            simulator.step(each)
        come_to_rest(simulator, k)
        assert ([], 0) == (can_receive(simulator), leases(store))

    def test_the_same_again_asks_for_nothing(self, client, simulator, store):
        """R19: a second click on the same link is one withdrawal: a copy that lands late would create the address."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        assert ["accepted"] * 3 == [k.unsubscribe("email", **ANN).status for _ in range(3)]
        assert 1 == len(requests(simulator))
        come_to_rest(simulator, k)
        assert ([], 0) == (can_receive(simulator), leases(store))

    @pytest.mark.parametrize("wider", [["email", "sms"], "email"], ids=["another channel", "the same"])
    def test_r19_a_wider_one_does_not_ask_twice_for_the_same(self, client, simulator, *, wider):
        """R19: a second copy would be carried out over the consent that the customer gives once the first shows."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.unsubscribe("email", **ANN)
        k.unsubscribe(wider, **ANN)
        simulator.step(0)
        simulator.advance(5)
        assert "accepted" == k.subscribe("email", resubscribe=True, **ANN).status
        simulator.step(len(simulator.pending) - 1)
        come_to_rest(simulator, k)
        assert [OLD] == subscribed(simulator)

    def test_r19_a_wider_one_asks_for_what_is_new(self, client, simulator):
        """R19: of a number that was withdrawn from for marketing, the other kind of message alone is asked for."""
        simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED, sms_consent=SUBSCRIBED)
        k = client()
        k.subscribe("sms_transactional", **ANN)
        come_to_rest(simulator, k)
        k.unsubscribe("sms", **ANN)
        k.unsubscribe(["email", "sms", "sms_transactional"], **ANN)
        withdrawn = [{"sms": {"marketing": GONE}}, {"email": {"marketing": GONE}}, {"sms": {"transactional": GONE}}]
        assert withdrawn == [row["subscriptions"] for row in rows(simulator)[-3:]]
        come_to_rest(simulator, k)
        assert set() == receiving(simulator.find(**ANN))

    def test_h27_one_after_a_consent_is_asked_for_anew(self):
        """H27: what was accepted of an earlier withdrawal may be carried out before the consent."""
        named = {"job": "unsubscribe", "emails": (OLD,), "channels": ("email",), "asked_at": 1.0}
        earlier = WithdrawIntent(**named, accepted_at=2.0, asked=1, sent=(f"email:{OLD}",))
        joined = WithdrawIntent(**named, forced=True).beside(earlier)
        assert (None, ()) == (joined.accepted_at, joined.sent)
        joined = WithdrawIntent(**named).beside(earlier)
        assert (2.0, (f"email:{OLD}",)) == (joined.accepted_at, joined.sent)

    def test_r19_what_klaviyo_never_carried_out_is_asked_for_again(self, client, simulator):
        """R19: after `Policy.consent_wait`, and by as few requests as before."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.unsubscribe("email", **ANN)
        k.unsubscribe(["email", "sms"], **ANN)
        simulator._account.queue.clear()
        simulator.advance(301)
        come_to_rest(simulator, k)
        assert ([], 2) == (can_receive(simulator), len(requests(simulator)))

    def test_a_ghost_that_comes_in_between_is_reached(self, client, simulator):
        """R19: the same again reaches what was not there before."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        k.unsubscribe("email", external_id="ann-1")
        simulator.submit_form(email=OLD)
        simulator.advance(1)
        k.unsubscribe("email", external_id="ann-1")
        assert [NEW, OLD] == [row["email"] for row in rows(simulator)]
        come_to_rest(simulator, k)
        assert [] == can_receive(simulator)

    @pytest.mark.parametrize("order", [(0, 0), (1, 0)], ids=["in order", "crossed"])
    def test_h27_a_suppression_beside_a_consent(self, client, simulator, store, *, order):
        """H27: a suppression is waited for as long as the consent may still lift it."""
        simulator.add_profile(**ANN)
        k = client()
        k.subscribe("email", **ANN)
        k.suppress(**ANN)
        simulator.step(order[0])
        simulator.advance(5)
        k.recover()
        simulator.step(order[1])
        come_to_rest(simulator, k)
        assert ([], 0) == (can_receive(simulator), leases(store))

    def test_two_withdrawals_are_one(self, client, simulator, store):
        """R19: a second withdrawal, of another channel, waits for the effect of both."""
        simulator.add_profile(**ANN, phone_number=PHONE, consent=SUBSCRIBED, sms_consent=SUBSCRIBED)
        k = client()
        k.unsubscribe("email", **ANN)
        k.unsubscribe("sms", **ANN)
        simulator.step(0)
        simulator.advance(5)
        assert ([], 1) == (k.recover(), leases(store))
        come_to_rest(simulator, k)
        (profile,) = simulator.profiles
        assert (UNSUBSCRIBED, UNSUBSCRIBED, 0) == (profile.consent, profile.sms_consent, leases(store))


class TestWaiting:
    @opened
    @pytest.mark.parametrize("change", CHANGES)
    def test_what_changes_an_identity_waits(self, client, simulator, *, first, change):
        """R13, H26: it waits for the job, and ends after `Policy.wait` with nothing changed."""
        k = client(policy=Policy(wait=3.0))
        k.identify(**ANN)
        OPENED[first](k)
        before = pairs(simulator)
        error = rejected(CHANGES[change], k)
        assert (LeaseHeldError, "R13", "not_applied") == (type(error), error.rule, error.outcome), change
        assert before == pairs(simulator)

    @opened
    @pytest.mark.parametrize("change", ["change_email", "change_external_id", "change_phone_number", "erase"])
    def test_it_goes_on_once_klaviyo_is_done(self, client, simulator, store, *, first, change):
        """R13: whoever waits looks whether the job is done, closes the intent, and goes on."""
        k = client()
        k.identify(**ANN)
        simulator._account.consent_lag = 4.0
        OPENED[first](k)
        CHANGES[change](k)
        simulator.drain()
        assert 1 >= leases(store)
        expected = {
            "change_email": {("ann-1", NEW)},
            "change_external_id": {("ann-9", OLD)},
            "change_phone_number": {("ann-1", OLD)},
            "erase": set(),
        }[change]
        assert expected == pairs(simulator)

    @opened
    def test_it_waits_no_longer_than_the_policy_says(self, client, simulator, *, first):
        """`Policy.consent_wait`: what Klaviyo never shows keeps nobody from changing an address for ever."""
        k = client(policy=Policy(consent_wait=30.0))
        k.identify(**ANN)
        OPENED[first](k)
        for _ in range(6):
            simulator._account.queue.clear()
            simulator.advance(31)
            k.recover()
        k.change_email(NEW, external_id="ann-1")
        assert {("ann-1", NEW)} == pairs(simulator)

    def test_a_merge_waits(self, client, simulator):
        """R13, H31: of a ghost that a withdrawal has reached."""
        k = client(policy=Policy(wait=3.0))
        own = k.identify(**ANN).profile_id
        k.change_email(NEW, external_id="ann-1")
        ghost = simulator.add_profile(email=OLD, consent=SUBSCRIBED).id
        k.unsubscribe("email", external_id="ann-1")
        error = rejected(k.profiles.merge, ghost, into=own)
        assert (LeaseHeldError, 2) == (type(error), len(simulator.profiles))

    @every_reading
    def test_h26_a_former_address_is_not_given_away(self, client, simulator):
        """R13: first contact of another customer on a former address waits until the withdrawal is carried out."""
        k = client(policy=Policy(wait=3.0))
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        simulator.add_profile(email=OLD, consent=SUBSCRIBED)
        k.unsubscribe("email", external_id="ann-1")
        error = rejected(k.identify, external_id="bob-2", email=OLD)
        assert isinstance(error, LeaseHeldError)
        come_to_rest(simulator, k)
        k.identify(external_id="bob-2", email=OLD)
        assert {("ann-1", NEW), ("bob-2", OLD)} == pairs(simulator)

    @pytest.mark.parametrize(
        "second", [lambda k: k.suppress(**ANN), lambda k: k.subscribe("email", **ANN), lambda k: k.unsuppress(**ANN)],
        ids=["suppress", "subscribe", "unsuppress"],
    )  # fmt: skip
    def test_nothing_else_goes_on_beside_a_withdrawal(self, client, simulator, *, second):
        """R18: a consent waits for a withdrawal, and so does another kind of job."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client(policy=Policy(wait=3.0))
        k.unsubscribe("email", **ANN)
        error = rejected(second, k)
        assert (LeaseHeldError, 1) == (type(error), len(requests(simulator)))

    def test_a_withdrawal_waits_for_a_change(self, client, simulator, store, open_client):
        """R13: an address that is on its way to another one is withdrawn from once it has arrived."""
        k = client()
        k.identify(**ANN)
        other = open_client(simulator, store, policy=Policy(wait=0.5))
        errors = []
        meanwhile(
            simulator,
            "update_profile",
            lambda: errors.append(rejected(other.unsubscribe, "email", external_id="ann-1")),
        )
        k.change_email(NEW, external_id="ann-1")
        assert [LeaseHeldError] == [type(error) for error in errors]
        k.unsubscribe("email", external_id="ann-1")
        come_to_rest(simulator, k)
        assert ([], {("ann-1", NEW)}) == (can_receive(simulator), pairs(simulator))

    def test_a_consent_of_a_number_waits_for_a_change_of_it(self, client, simulator):
        """R14: the number is read under the lease, so that no consent goes to a number that was just left."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        k = client()
        k.subscribe("sms", **ANN)
        come_to_rest(simulator, k)
        k.change_phone_number("+12345678999", external_id="ann-1")
        assert "accepted" == k.subscribe("sms", **ANN).status
        come_to_rest(simulator, k)
        assert SUBSCRIBED == simulator.find(**ANN).sms_consent


class TestIntents:
    def test_of_a_consent_on_a_profile_that_is_gone(self, client, simulator, store):
        """A profile that is gone is not waited for: Klaviyo has nobody left to subscribe."""
        k = client()
        own = k.identify(**ANN).profile_id
        k.subscribe("email", **ANN)
        simulator._account.remove(own)
        come_to_rest(simulator, k)
        assert (0, []) == (leases(store), subscribed(simulator))

    def test_a_double_opt_in_leaves_none(self, client, simulator, store):
        """Nobody knows when, or whether, a customer clicks."""
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        client().subscribe("email", list_id=news, **ANN)
        assert 0 == leases(store)

    def test_they_survive_a_change_of_process(self, client, simulator, store, open_client):
        """What the intent says is enough for another process, under the consent's own terms."""
        simulator.add_profile(**ANN, phone_number=PHONE)
        news = simulator.add_list("News")
        simulator.fail_next("bulk_subscribe_profiles", times=9)
        given = {
            "historical": True,
            "consented_at": simulator.now() - 1e6,
            "source": "2026",
            "date_of_birth": "1990-01-02",
        }
        rejected(client().subscribe, ["email", "sms"], list_id=news, **given, **ANN)
        simulator._faults._next.clear()
        simulator.advance(3600)
        other = open_client(simulator, store)
        assert ["completed"] == [each.status for each in other.recover()]
        bodies = [entry.body for entry in requests(simulator)]
        assert 1 < len(bodies)
        assert all(body == bodies[0] for body in bodies)

    def test_nothing_is_asked_before_a_second(self, client, simulator):
        """The next look comes a second after the last one, at most."""
        k = client()
        k.subscribe("email", **ANN)
        before = len(asked(simulator))
        assert [] == k.recover()
        assert before == len(asked(simulator))
        simulator.advance(1.1)
        k.recover()
        assert ["get_profile"] == asked(simulator)[before:]
