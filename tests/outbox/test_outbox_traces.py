"""The traces by which simpler outboxes fail, each by its number in `docs/traces.md`."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import pytest

from safeklaviyo import LeaseHeldError, NoResponseError, Policy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.outbox import MemoryFile, NewRow, SqliteOutbox, calls

ACCOUNT = "SiMuLa"
ONE, TWO = "one@shop.test", "two@shop.test"


class Clock:
    """A clock to set."""

    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """The clock of the outbox."""
    return Clock()


@pytest.fixture
def outbox(clock):
    """An outbox without a client."""
    return SqliteOutbox(MemoryFile(), None, clock=clock)


@pytest.fixture
def shop(simulator, store, open_client):
    """A blocking client; the simulator's time passes where it waits."""
    return open_client(simulator, store)


def put(outbox, *names, lane=0, verb="track"):
    """Insert a row by its names alone, and return its id."""
    about = outbox.perform(calls.ReadAbout(ACCOUNT))
    row = NewRow(lane, names, (), None, verb, "{}", None, 0.0)
    return outbox.perform(calls.Insert(ACCOUNT, row, about.id))


def ready(outbox, lane=0, limit=100):
    """Return the ids of the rows that may go."""
    return [row.id for row in outbox.perform(calls.Ready(ACCOUNT, lane, limit))]


def recorded(simulator):
    """Return the keys of the events of each profile, once Klaviyo has done everything."""
    simulator.drain()
    return Counter((event.profile_id, event.unique_id) for event in simulator.events if event.unique_id)


def profile_of(k, external_id):
    """Return the id of a customer's profile."""
    return k.resolve(external_id=external_id).profile_id


def bodies(simulator, part):
    """Return the bodies of the requests to a path with that part."""
    return [entry.body for entry in simulator.journal if part in entry.path and entry.method == "POST"]


class TestH12:
    def test_a_token_that_was_overtaken(self, outbox, clock):
        """A drain whose lane another one has taken deletes, parks, marks and delays nothing."""
        row = put(outbox, "a")
        old = outbox.perform(calls.Take(ACCOUNT, 0, 10.0))
        assert outbox.perform(calls.Take(ACCOUNT, 0, 10.0)) is None
        clock.now += 11
        new = outbox.perform(calls.Take(ACCOUNT, 0, 10.0))
        assert new > old
        assert not outbox.perform(calls.Delete(ACCOUNT, 0, old, [row]))
        assert not outbox.perform(calls.Park(ACCOUNT, 0, old, [row], "{}", None))
        assert not outbox.perform(calls.Mark(ACCOUNT, 0, old, [row]))
        assert not outbox.perform(calls.Wait(ACCOUNT, 0, old, [row], 60.0, unsure=True))
        assert not outbox.perform(calls.Keep(ACCOUNT, 0, old, 10.0))
        assert [row] == ready(outbox)
        assert outbox.perform(calls.Delete(ACCOUNT, 0, new, [row]))
        assert [] == ready(outbox)

    def test_ids_never_come_again(self, outbox):
        """The id of the newest row is not given again after that row was deleted."""
        first = put(outbox, "a")
        token = outbox.perform(calls.Take(ACCOUNT, 0, 10.0))
        outbox.perform(calls.Delete(ACCOUNT, 0, token, [first]))
        assert put(outbox, "a") > first


class TestH13H14:
    @pytest.mark.parametrize("loses", [False, True], ids=["H13", "H14"])
    def test_an_address_that_has_gone_to_another(self, simulator, shop, loses):
        """A queued event is its customer's, also if another has the address when it is sent, or sent again."""
        shop.identify(external_id="a", email=ONE)
        shop.outbox.track("E", email=ONE, unique_id="u")
        if loses:
            simulator.fail_next("create_event", when="after", times=4)
            assert 1 == shop.outbox.drain().waiting
        shop.change_email(TWO, external_id="a")
        shop.identify(external_id="b", email=ONE)
        simulator.advance(60)
        assert 1 == shop.outbox.drain().delivered
        assert {(profile_of(shop, "a"), "u"): 1} == recorded(simulator)


class TestH15:
    @pytest.mark.parametrize("reading", ["dropped", "refused", "refused_without_pointer"])
    def test_a_run_that_is_sent_again(self, reading, open_client):
        """After a run whose answer was lost its rows go singly: each counts once, none is parked, none stays."""
        simulator = KlaviyoSimulator(Readings(bulk_repeats=reading), account=ACCOUNT)
        k = open_client(simulator, MemoryStore(clock=simulator.now))
        k.identify(external_id="a", email=ONE)
        for number in range(3):
            k.outbox.track("E", external_id="a", unique_id=f"u{number}")
        simulator.fail_next("bulk_create_events", when="after")
        assert 3 == k.outbox.drain().waiting
        simulator.advance(60)
        report = k.outbox.drain()
        assert (3, 0, 0) == (report.delivered, report.waiting, report.dead)
        assert [1, 1, 1] == list(recorded(simulator).values())

    def test_a_run_that_is_refused(self, simulator, shop):
        """The rows of a run that Klaviyo has refused go singly, and each answer decides about its own row."""
        shop.identify(external_id="a", email=ONE)
        for number in range(3):
            shop.outbox.track("E", external_id="a", unique_id=f"u{number}")
        simulator.fail_next("bulk_create_events", status=400)
        simulator.fail_next("create_event", status=400, match=lambda asked: b"u1" in asked.body)
        report = shop.outbox.drain()
        assert (2, 1) == (report.delivered, report.dead)
        assert ["u1"] == [row.unique_id for row in shop.outbox.dead()]
        assert [1, 1] == list(recorded(simulator).values())


class TestH16:
    def test_a_row_that_waits_holds_back_its_person(self, outbox):
        """A row that waits holds back each later one that shares a name with it, or with one that it holds back."""
        first, second, third, other = put(outbox, "a"), put(outbox, "a", "b"), put(outbox, "b"), put(outbox, "c")
        token = outbox.perform(calls.Take(ACCOUNT, 0, 10.0))
        assert [first, second, third, other] == ready(outbox)
        outbox.perform(calls.Wait(ACCOUNT, 0, token, [first], 60.0, unsure=False))
        assert [other] == ready(outbox)
        outbox.perform(calls.Park(ACCOUNT, 0, token, [first], "{}", None))
        assert [second, third, other] == ready(outbox)


class TestH17:
    def test_the_window_counts_rows_that_may_go(self, outbox):
        """However many rows wait behind one, those of other people go."""
        first = put(outbox, "a")
        for _ in range(5):
            put(outbox, "a")
        other = put(outbox, "b")
        token = outbox.perform(calls.Take(ACCOUNT, 0, 10.0))
        outbox.perform(calls.Wait(ACCOUNT, 0, token, [first], 60.0, unsure=False))
        assert [other] == ready(outbox, limit=2)

    def test_more_rows_than_are_read_at_once(self, outbox):
        """So it is where they do not fit into one part of what is read."""
        first = put(outbox, "a")
        for _ in range(1001):
            put(outbox, "a")
        other = put(outbox, "b")
        token = outbox.perform(calls.Take(ACCOUNT, 0, 10.0))
        outbox.perform(calls.Wait(ACCOUNT, 0, token, [first], 60.0, unsure=False))
        assert [other] == ready(outbox, limit=1)


class TestH18:
    def test_other_lanes(self, outbox):
        """An earlier row of another lane holds back a later one that shares a name, until it is done."""
        first, second = put(outbox, "a", lane=5), put(outbox, "a", "b", lane=1)
        assert ([first], []) == (ready(outbox, 5), ready(outbox, 1))
        token = outbox.perform(calls.Take(ACCOUNT, 5, 10.0))
        outbox.perform(calls.Delete(ACCOUNT, 5, token, [first]))
        assert [second] == ready(outbox, 1)

    def test_a_guest_who_signs_up_while_rows_wait(self, simulator, shop):
        """Rows by the address come before rows by the id, once a sign-up has made them one customer's."""
        shop.outbox.track("E", email=ONE, unique_id="u1")
        shop.outbox.track("E", external_id="a", unique_id="u2")
        shop.identify(external_id="a", email=ONE)
        first, second = sorted(shop.outbox.lanes()), sorted(shop.outbox.lanes(), reverse=True)
        for lane in (*first, *second, *first):
            shop.outbox.drain(lane=lane)
        assert 0 == shop.outbox.counts().waiting
        sent = [body["data"]["attributes"]["unique_id"] for body in bodies(simulator, "/api/events")]
        assert ["u1", "u2"] == sent

    def test_rows_of_one_run_that_others_stand_between(self, simulator, shop):
        """Of a run, a row that turns out to have an earlier one in another lane waits for it, singly too."""
        shop.outbox.track("E", external_id="a", email=ONE, unique_id="u1")
        shop.outbox.track("E", email=ONE, unique_id="u2")
        shop.outbox.track("E", external_id="a", unique_id="u3")
        shop.outbox.track("E", external_id="a", email=ONE, unique_id="u4")
        shop.identify(external_id="a", email=ONE)
        for _ in range(3):
            for lane in sorted(shop.outbox.lanes(), reverse=True):
                shop.outbox.drain(lane=lane)
            for lane in shop.outbox.lanes():
                shop.outbox.drain(lane=lane)
        assert 0 == shop.outbox.counts().waiting
        keys = [body["data"]["attributes"].get("unique_id") for body in bodies(simulator, "/api/events")]
        assert keys == sorted(keys)
        simulator.drain()
        assert ["u1", "u2", "u3", "u4"] == [event.unique_id for event in simulator.events]


class TestH19:
    def test_nothing_later_of_a_run(self, simulator, shop):
        """After an answer that was lost, the later rows of that customer wait."""
        shop.identify(external_id="a", email=ONE)
        shop.outbox.track("E", external_id="a", unique_id="u1")
        shop.outbox.identify({"plan": "gold"}, external_id="a")
        simulator.fail_next("create_event", when="after", times=4)
        report = shop.outbox.drain()
        assert (0, 2) == (report.delivered, report.waiting)
        assert [] == [entry for entry in simulator.journal if entry.method == "PATCH"]


class TestH21:
    def test_an_old_change_over_a_newer_one(self, simulator, shop):
        """A parked change is not tried again after a later one was made, in the outbox or by a direct call."""
        shop.identify(external_id="a", email=ONE)
        shop.identify(external_id="b", email=TWO)
        for is_direct in (False, True):
            shop.outbox.change_email(TWO, external_id="a")
            simulator.advance(1)
            shop.outbox.drain()
            assert 1 == shop.outbox.counts().dead
            if is_direct:
                shop.change_email("four@shop.test", external_id="a")
            else:
                shop.outbox.change_email("three@shop.test", external_id="a")
                assert 1 == shop.outbox.drain().delivered
            assert 0 == shop.outbox.retry()
            (row,) = shop.outbox.dead()
            shop.outbox.drop(row.id)

    def test_a_queued_change_that_a_direct_one_overtakes(self, simulator, shop):
        """A row that waits does not undo a direct change that was made since."""
        shop.identify(external_id="a", email=ONE)
        shop.outbox.change_email(TWO, external_id="a")
        simulator.advance(1)
        shop.change_email("three@shop.test", external_id="a")
        assert 1 == shop.outbox.drain().dead
        assert "three@shop.test" == shop.resolve(external_id="a").identity.email
        assert ["SupersededError"] == [row.error for row in shop.outbox.dead()]

    def test_a_withdrawal_that_a_consent_overtakes(self, simulator, shop):
        """A withdrawal that waits does not take back a consent that was given since."""
        shop.identify(external_id="a", email=ONE)
        shop.outbox.unsubscribe("email", external_id="a")
        simulator.advance(1)
        shop.subscribe("email", external_id="a")
        simulator.drain()
        assert 1 == shop.outbox.drain().dead
        simulator.drain()
        assert shop.consent(external_id="a").channels["email"].can_receive

    def test_the_old_time(self, shop):
        """A row that is tried again has a new id, at the end, and its old time."""
        shop.identify(external_id="a", email=ONE)
        queued = shop.outbox.track("E", external_id="a", email=TWO, time=1_700_000_000)
        shop.outbox.drain()
        assert 1 == shop.outbox.retry(queued.id)
        shop.outbox.drain()
        (row,) = shop.outbox.dead()
        assert row.id > queued.id
        assert queued.time == row.time


class TestH22:
    def test_events_before_a_change(self, simulator, shop):
        """While a change of email waits, events name the profile by its id alone, together and singly."""
        shop.identify(external_id="a", email=ONE)
        shop.outbox.track("E", external_id="a")
        shop.outbox.track("E", external_id="a")
        shop.outbox.change_email(TWO, external_id="a")
        assert 3 == shop.outbox.drain().delivered
        shop.outbox.track("E", external_id="a")
        shop.outbox.change_email("three@shop.test", external_id="a")
        assert 2 == shop.outbox.drain().delivered
        for body in bodies(simulator, "event"):
            assert ONE not in json.dumps(body)
            assert TWO not in json.dumps(body)
        simulator.drain()
        assert ["three@shop.test"] == [profile.email for profile in simulator.profiles]


class TestH23:
    def test_erase(self, simulator, shop):
        """An erasure deletes the customer's rows, waiting and parked; rows that come later are dropped, not kept."""
        shop.identify(external_id="a", email=ONE)
        shop.identify(external_id="b", email=TWO)
        shop.outbox.track("E", external_id="a", email="other@shop.test")
        shop.outbox.drain()
        shop.outbox.track("E", external_id="a")
        shop.outbox.track("E", external_id="b")
        assert (1, 2) == (shop.outbox.counts().dead, shop.outbox.counts().waiting)
        shop.erase(external_id="a")
        assert (0, 1) == (shop.outbox.counts().dead, shop.outbox.counts().waiting)
        shop.outbox.track("E", external_id="a")
        report = shop.outbox.drain()
        assert (1, 0, 0, 1) == (report.delivered, report.waiting, report.dead, report.dropped)
        simulator.drain()
        assert ["b"] == [profile.external_id for profile in simulator.profiles]


class TestH24:
    def test_an_order_before_its_sign_up(self, simulator, shop):
        """A refusal that may pass by itself waits and holds back its customer; any other is parked at once."""
        shop.identify(external_id="b", email=TWO)
        shop.outbox.track("E", external_id="a", unique_id="u1")
        shop.outbox.track("E", external_id="a", unique_id="u2")
        shop.outbox.track("E", external_id="b", email=ONE, unique_id="u3")
        report = shop.outbox.drain()
        assert (0, 2, 1) == (report.delivered, report.waiting, report.dead)
        shop.identify(external_id="a", email=ONE)
        simulator.advance(60)
        report = shop.outbox.drain()
        assert (2, 0, 0) == (report.delivered, report.waiting, report.dead)


class TestH25:
    def test_a_merge_while_a_row_is_in_hand(self, simulator, shop):
        """A merge waits until rows of its source that were sent are gone, and a while longer: each counts once."""
        shop.identify(email=ONE)
        shop.identify(external_id="a", email=TWO)
        guest, ann = (profile.id for profile in simulator.profiles)
        shop.outbox.track("E", email=ONE, unique_id="u")
        simulator.fail_next("create_event", when="after", times=4)
        assert 1 == shop.outbox.drain().waiting
        with pytest.raises(LeaseHeldError):
            shop.profiles.merge(guest, ann)
        simulator.advance(60)
        assert 1 == shop.outbox.drain().delivered
        with pytest.raises(LeaseHeldError) as held:
            shop.profiles.merge(guest, ann)
        simulator.advance(held.value.retry_after + 1)
        simulator.drain()
        shop.profiles.merge(guest, ann)
        assert {"u": 1} == Counter(key for _, key in recorded(simulator).elements())

    def test_rows_that_were_not_sent(self, simulator, shop):
        """A row that was never sent holds back no merge, and is recorded on the survivor."""
        shop.identify(email=ONE)
        shop.identify(external_id="a", email=TWO)
        guest, ann = (profile.id for profile in simulator.profiles)
        shop.outbox.track("E", email=ONE, unique_id="u")
        shop.profiles.merge(guest, ann)
        simulator.drain()
        assert 1 == shop.outbox.drain().delivered
        assert [(ann, "u")] == list(recorded(simulator))


class TestReserved:
    def test_a_direct_call_with_the_new_address(self, simulator, store, open_client):
        """While a change to an address waits, a direct call with it waits too (R13), and makes no second profile."""
        k = open_client(simulator, store, policy=Policy(wait=1))
        k.identify(external_id="a", email=ONE)
        k.outbox.change_email(TWO, external_id="a")
        for call in (partial(k.track, "E", email=TWO), partial(k.identify, external_id="b", email=TWO)):
            with pytest.raises(LeaseHeldError) as held:
                call()
            assert ("R13", True) == (held.value.rule, held.value.may_retry)
        assert 1 == k.outbox.drain().delivered
        assert profile_of(k, "a") == k.track("E", email=TWO).profile_id
        assert 1 == len(simulator.profiles)


def test_a_value_that_would_be_appended_twice(simulator, shop):
    """A row that appends is parked after an answer that was lost: sent again, it could append twice (F-19)."""
    shop.identify(external_id="a", email=ONE)
    shop.outbox.identify(external_id="a", append={"tags": "x"})
    simulator.fail_next("update_profile", when="after")
    assert 1 == shop.outbox.drain().dead
    assert [NoResponseError.__name__] == [row.error for row in shop.outbox.dead()]
    assert [["x"]] == [profile.properties["tags"] for profile in simulator.profiles]
