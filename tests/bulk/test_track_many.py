"""`track_many`: each row is recorded once or refused by itself, in as few requests as Klaviyo allows."""

from __future__ import annotations

import json
import threading
from collections import Counter
from threading import Barrier, Event

import httpx
import pytest

from safeklaviyo import (
    AuthenticationError,
    ConfigurationError,
    InvalidIdentifierError,
    InvalidPropertyError,
    Policy,
    RetryPolicy,
    StoreUnavailableError,
)
from safeklaviyo.testing import Readings
from support.scenes import asked, edit, ours, rejected

ONCE = RetryPolicy(max_attempts=1)
DAY = 1_799_000_000


def order(number, who=None, **more):
    """Return a row about one of 50 customers."""
    who = number % 50 + 1 if who is None else who
    return {
        "event": "Placed Order", "external_id": f"c-{who}", "email": f"c{who}@shop.test",
        "unique_id": f"order-{number}", "time": DAY + number, "properties": {"number": number},
    } | more  # fmt: skip


@pytest.fixture
def refused():
    """What `on_refused` was told: the numbers of rows, and their errors."""
    return []


@pytest.fixture
def tell(refused):
    """An `on_refused` that keeps what it is told."""
    return lambda number, row, error: refused.append((number, row, error))


@pytest.fixture
def known(client):
    """A client that knows three customers."""
    k = client()
    for who in (1, 2, 3):
        k.identify(external_id=f"c-{who}", email=f"c{who}@shop.test")
    return k


def recorded(simulator):
    """Return how often each event was recorded, by its customer and its key, once Klaviyo has done everything."""
    simulator.drain()
    return Counter((event.profile_id, event.unique_id) for event in simulator.events)


def numbers(simulator):
    """Return the numbers of the orders that were recorded, each as often as it was."""
    simulator.drain()
    return sorted(event.properties["number"] for event in simulator.events)


class TestAllTogether:
    def test_known_customers_go_in_one_request(self, known, simulator):
        """The map is read once, and a thousand events are one request."""
        simulator.journal.clear()
        report = known.track_many(order(n, 1 + n % 3) for n in range(1000))
        assert (1000, 1000, 0, 0) == (report.total, report.accepted, report.refused, report.unknown)
        assert ["bulk_create_events"] == asked(simulator)
        assert list(range(1000)) == numbers(simulator)

    def test_each_event_names_its_profile_by_id_and_pair(self, known, simulator):
        """P2: as `track` names it. What an event says about the person stays with that event."""
        simulator.journal.clear()
        rows = [order(1, 1), order(2, 1, customer_properties={"plan": "gold", "phone_number": None}), order(3, 2)]
        known.track_many(rows)
        (job,) = [entry.body["data"]["attributes"]["events-bulk-create"]["data"] for entry in ours(simulator)]
        groups = [each["attributes"] for each in job]
        said = [(each["profile"]["data"]["attributes"], len(each["events"]["data"])) for each in groups]
        pair = {"external_id": "c-1", "email": "c1@shop.test"}
        assert [(pair, 1), ({"external_id": "c-2", "email": "c2@shop.test"}, 1)] == said[:2]
        assert ({**pair, "properties": {"plan": "gold"}}, 1) == said[2]
        assert all(each["profile"]["data"]["id"] for each in groups)

    def test_by_profile_id_alone(self, client, known, simulator):
        """`Policy.event_naming` holds here too."""
        k = client(policy=Policy(event_naming="profile_id"))
        simulator.journal.clear()
        k.track_many([order(1, 1)])
        (entry,) = ours(simulator)
        assert "order-1" in json.dumps(entry.body)
        assert "c1@shop.test" not in json.dumps(entry.body)

    def test_strangers_make_first_contact_once_and_the_rest_follows_together(self, client, simulator):
        """Of 500 events of 50 strangers 50 go singly, and 450 in one request."""
        report = client().track_many(order(n) for n in range(500))
        counts = Counter(asked(simulator))
        assert (500, 50, 50, 1) == (
            report.accepted, counts["create_profile"], counts["create_event"], counts["bulk_create_events"],
        )  # fmt: skip
        assert list(range(500)) == numbers(simulator)
        assert 50 == len(simulator.profiles)

    def test_rows_of_one_person_keep_their_order(self, client, simulator):
        """Rows that go singly are sent several at once, but never two of one person."""
        simulator.fail_next("bulk_create_events", status=400, times=9)
        client().track_many([order(n, n % 4 + 1) for n in range(40)])
        simulator.drain()
        for profile in simulator.profiles:
            theirs = [each.properties["number"] for each in simulator.events if each.profile_id == profile.id]
            assert (10, sorted(theirs)) == (len(theirs), theirs)

    def test_a_stranger_by_id_alone_costs_no_other_row(self, known, simulator, tell, refused):
        """R9 refuses what `track` would refuse, row by row."""
        rows = [order(1, 1), order(2, 77, email=None), order(3, 77, email=None), order(4, 2)]
        report = known.track_many(rows, on_refused=tell)
        assert (2, 2) == (report.accepted, report.refused)
        assert [(1, "R9"), (2, "R9")] == sorted((number, error.rule) for number, _, error in refused)
        assert [1, 4] == numbers(simulator)

    def test_a_customer_under_a_lease_waits_for_it_and_others_do_not(self, known, simulator, store):
        """R13: rows of a customer about whom another call writes go singly, which waits."""
        (match,) = store.find("SiMuLa", (_email("c1@shop.test"),)).matches
        store.acquire("SiMuLa", frozenset({match.identifier}), intent='{"verb": "contact", "email": "x@y.zz"}', ttl=2)
        simulator.journal.clear()
        report = known.track_many([order(1, 1), order(2, 2), order(3, 3)])
        assert (3, 0) == (report.accepted, report.refused)
        assert "bulk_create_events" == asked(simulator)[0]
        assert "order-1" not in json.dumps(ours(simulator)[0].body)
        assert [1, 2, 3] == numbers(simulator)

    def test_more_than_a_thousand(self, known, simulator):
        """Rows are drawn a thousand at a time, from any iterable, and four thousand ahead at most."""
        drawn = []

        def rows():
            for n in range(5500):
                drawn.append(n)
                yield order(n, 1 + n % 3)

        seen = []
        report = known.track_many(rows(), on_progress=lambda p: seen.append((p.done, p.total, len(drawn))))
        ahead = [(1000, None, 4000), (2000, None, 5000)]
        assert [*ahead, *[(done, None, 5500) for done in (3000, 4000, 5000, 5500)]] == seen
        assert 5500 == report.accepted == len(numbers(simulator))

    def test_progress_says_what_is_left(self, known):
        """Where the number of rows is known, so are the rest and the time."""
        seen = []
        known.track_many([order(n, 1) for n in range(1500)], on_progress=seen.append)
        assert [(1000, 1500, 0), (1500, 1500, 0)] == [(p.done, p.total, p.refused) for p in seen]
        assert (True, 0.0) == (seen[0].per_second > 0 and seen[0].remaining > 0, seen[1].remaining)

    def test_large_rows_are_split_by_size(self, known, simulator):
        """A request stays under 5 MB, however large its events are."""
        simulator.journal.clear()
        known.track_many([order(n, 1, properties={"number": n, "text": "x" * 90_000}) for n in range(120)])
        sizes = [len(json.dumps(entry.body)) for entry in ours(simulator)]
        assert 3 == len(sizes)
        assert max(sizes) <= 5_000_000
        assert list(range(120)) == numbers(simulator)


def _email(value):
    from safeklaviyo.identity import Identifier, Kind

    return Identifier(Kind.EMAIL, value)


class TestSeveralJobs:
    @staticmethod
    def opened(simulator, store, open_client, answer):
        """Open a client whose requests are answered so, and whose map knows the customers."""
        k = open_client(simulator, store, http_client=httpx.Client(transport=httpx.MockTransport(answer)))
        k.bindings.add(
            [{"external_id": f"c-{n}", "email": f"c{n}@shop.test", "profile_id": f"P{n}"} for n in range(1, 51)],
            trusted=True,
        )
        return k

    def test_jobs_are_on_their_way_together(self, simulator, store, open_client):
        """Klaviyo may take long for each: the next ones are begun before the first is answered."""
        together = Barrier(3)

        def answer(request):
            together.wait(20)
            return httpx.Response(202, headers={"x-klaviyo-req-id": "1"})

        k = self.opened(simulator, store, open_client, answer)
        assert 3000 == k.track_many(order(n) for n in range(3000)).accepted

    def test_nothing_is_sent_after_the_call_has_ended(self, simulator, store, open_client):
        """A job that was to be repeated is not: the caller has been told that the call has failed."""
        ended, bodies = Event(), []

        def answer(request):
            is_first = b'"order-1"' in request.content
            assert is_first or ended.wait(20)
            bodies.append(request.content)
            return httpx.Response(202 if is_first else 429, headers={"x-klaviyo-req-id": "1", "retry-after": "1"})

        def stop(*_):
            raise LookupError

        k = self.opened(simulator, store, open_client, answer)
        rows = [order(n) | ({} if n else {"colour": "red"}) for n in range(4000)]
        with pytest.raises(LookupError):
            k.track_many(rows, on_refused=stop)
        ended.set()
        for thread in threading.enumerate():
            if thread.name == "safeklaviyo-job":
                thread.join(20)
        assert len(bodies) == len(set(bodies)) > 1


class TestWhoIsMeant:
    def test_r6_a_pair_of_two_customers_is_refused(self, known, simulator, tell, refused):
        """The id is one customer's and the email another's: nothing is recorded of either."""
        rows = [order(1, 1), order(2, 1, email="c2@shop.test"), order(3, 1, email="new@shop.test"), order(4, 2)]
        report = known.track_many(rows, on_refused=tell)
        assert (2, [(1, "R6"), (2, "R6")]) == (report.accepted, [(number, error.rule) for number, _, error in refused])
        assert [1, 4] == numbers(simulator)

    def test_r5_a_former_address_goes_with_the_others(self, known, simulator):
        """The customer is known all the same, and is named by the address of today."""
        known.change_email("new@shop.test", external_id="c-1")
        simulator.journal.clear()
        assert 3 == known.track_many([order(1, 1), order(2, 2), order(3, 1, email="new@shop.test")]).accepted
        assert ["bulk_create_events"] == asked(simulator)
        assert "c1@shop.test" not in json.dumps(ours(simulator)[0].body)

    def test_r8_r10_one_identifier_is_enough(self, known, simulator):
        """The map has the other."""
        simulator.journal.clear()
        known.track_many([order(1, 1, email=None), order(2, 1, external_id=None), order(3, 2)])
        assert ["bulk_create_events"] == asked(simulator)
        assert [1, 2, 3] == numbers(simulator)


class TestOnce:
    def test_a_key_that_comes_twice_counts_once(self, known, simulator):
        """Klaviyo may refuse a whole job for it, so that the second is not sent."""
        simulator.journal.clear()
        report = known.track_many([order(1, 1), order(2, 2), order(1, 1)])
        assert (3, [1, 2]) == (report.accepted, numbers(simulator))
        assert 2 == json.dumps(ours(simulator)[0].body).count('"unique_id"')

    @pytest.mark.parametrize("reading", ["dropped", "refused", "refused_without_pointer"])
    @pytest.mark.parametrize("settings", [None])
    def test_the_same_rows_again_double_nothing(self, client, simulator, reading, settings):
        """H15: under each reading of a repeated key the rows of a refused job go singly, where a repeat is dropped."""
        simulator.readings = Readings(bulk_repeats=reading)
        k = client()
        rows = [order(n) for n in range(120)]
        first = k.track_many(rows[:70])
        simulator.drain()
        again = k.track_many(rows)
        assert (70, 120, 0) == (first.accepted, again.accepted, again.refused)
        assert {1} == set(recorded(simulator).values())
        assert list(range(120)) == numbers(simulator)

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_lost_answer_doubles_and_loses_nothing(self, client, known, simulator, when):
        """Whether Klaviyo has taken the job is not known, so each event is sent again with its key."""
        k = client(retry=ONCE)
        simulator.fail_next("bulk_create_events", when=when)
        report = k.track_many([order(n, 1 + n % 3) for n in range(30)])
        assert (30, 0, 0) == (report.accepted, report.refused, report.unknown)
        assert list(range(30)) == numbers(simulator)

    def test_a_job_whose_answer_was_lost_is_not_sent_again(self, known, simulator):
        """H15: the same job again could be refused whole, or be recorded twice; its rows go singly at once."""
        simulator.journal.clear()
        simulator.fail_next("bulk_create_events", when="after")
        known.track_many([order(n, 1) for n in range(3)])
        assert {"bulk_create_events": 1, "create_event": 3} == Counter(asked(simulator))

    def test_a_row_without_a_key_gets_one(self, known, simulator):
        """It is fixed before the first attempt, so that a repeat is the same event."""
        simulator.fail_next("bulk_create_events", when="after")
        known.track_many([order(n, 1, unique_id=None) for n in range(3)])
        assert [0, 1, 2] == numbers(simulator)

    def test_rows_of_which_nothing_is_known_are_counted_as_unknown(self, client, known, simulator, tell, refused):
        """P7: such a row may be sent again, and its error says so."""
        k = client(retry=ONCE)
        simulator.fail_next("bulk_create_events", when="after")
        simulator.fail_next("create_event", when="after", times=9)
        report = k.track_many([order(1, 1), order(2, 2)], on_refused=tell)
        assert (0, 0, 2) == (report.accepted, report.refused, report.unknown)
        assert [("unknown", True), ("unknown", True)] == [(error.outcome, error.may_retry) for _, _, error in refused]

    def test_an_address_that_changes_while_a_request_waits_is_not_put_back(self, known, simulator, store, open_client):
        """H10: a repeat after 429 reads the address again."""
        profile = known.resolve(external_id="c-1").profile_id
        other = open_client(simulator, store)

        def change(_):
            other.change_email("new@shop.test", external_id="c-1")
            return True

        simulator.fail_next("bulk_create_events", status=429, headers={"retry-after": "1"}, match=change)
        known.track_many([order(1, 1), order(2, 2)])
        simulator.drain()
        assert "new@shop.test" == next(each.email for each in simulator.profiles if each.id == profile)


class TestDirt:
    ROWS = (
        (order(1, 1, event=""), InvalidPropertyError),
        (order(1, 1, event=None), InvalidPropertyError),
        (order(1, 1, time="yesterday"), InvalidPropertyError),
        (order(1, 1, time=1_799_000_000_000), InvalidPropertyError),
        (order(1, 1, unique_id="x" * 256), InvalidPropertyError),
        (order(1, 1, email="null"), InvalidIdentifierError),
        (order(1, 1, external_id="5.0E+05"), InvalidIdentifierError),
        ({"event": "Ordered"}, InvalidIdentifierError),
        (order(1, 1, colour="red"), InvalidPropertyError),
        ([1, 2], InvalidPropertyError),
        (None, InvalidPropertyError),
        ("a row", InvalidPropertyError),
    )

    @pytest.mark.parametrize(("row", "kind"), ROWS, ids=[str(number) for number in range(len(ROWS))])
    def test_one_bad_row_is_one_refused_row(self, known, *, simulator, tell, refused, row, kind):
        """Every kind has its error, with the row's number, and costs no other row."""
        report = known.track_many([order(7, 1), row, order(8, 2)], on_refused=tell)
        assert (3, 2, 1) == (report.total, report.accepted, report.refused)
        assert [(1, kind)] == [(number, type(error)) for number, _, error in refused]
        assert [7, 8] == numbers(simulator)

    def test_odd_properties_cost_the_property(self, known, simulator):
        """As in `track`: what cannot travel is left out, and the order is kept."""
        known.track_many([order(1, 1, properties={"number": 1, "odd": object()}, value="12.50")])
        simulator.drain()
        (event,) = simulator.events
        assert ({"number": 1}, 12.5) == ({"number": event.properties["number"]}, event.value)
        assert "odd" not in event.properties

    def test_an_event_that_klaviyo_refuses_costs_no_other(self, known, simulator, tell, refused):
        """A 400 for the job sends its rows singly; only the row that is refused there is refused."""
        simulator.fail_next("bulk_create_events", status=400)
        simulator.fail_next("create_event", status=400, match=lambda request: b"order-2" in request.body)
        report = known.track_many([order(n, 1) for n in range(4)], on_refused=tell)
        assert (3, 1, [2]) == (report.accepted, report.refused, [number for number, _, _ in refused])
        assert [0, 1, 3] == numbers(simulator)

    @pytest.mark.parametrize("status", [413, 500, 503])
    def test_a_job_that_klaviyo_does_not_take_goes_singly(self, client, known, simulator, status):
        """Whatever the reason, each row's own answer counts."""
        k = client(retry=ONCE)
        simulator.fail_next("bulk_create_events", status=status)
        assert 3 == k.track_many([order(n, 1) for n in range(3)]).accepted
        assert [0, 1, 2] == numbers(simulator)

    def test_a_key_that_is_refused_ends_the_call(self, known, simulator):
        """Each further row would end the same way."""
        simulator.fail_next("bulk_create_events", status=401)
        assert isinstance(rejected(known.track_many, [order(1, 1)]), AuthenticationError)

    def test_a_key_that_is_refused_for_strangers_ends_the_call(self, client, simulator):
        """They go singly, several at once, and the first such error is the caller's."""
        simulator.fail_next("create_profile", status=401, times=3)
        assert isinstance(rejected(client().track_many, [order(n, n) for n in (1, 2, 3)]), AuthenticationError)

    def test_a_map_that_is_away_ends_the_call(self, known, store, monkeypatch):
        """P6: nothing is sent without the map."""

        def away(*_, **__):
            raise StoreUnavailableError("away")

        monkeypatch.setattr(store, "find", away)
        assert isinstance(rejected(known.track_many, [order(1, 1)]), StoreUnavailableError)

    @pytest.mark.parametrize("rows", [None, 5, "rows", {"event": "x"}, b"rows"])
    def test_what_is_no_rows(self, known, rows):
        """A mapping is one row, and a text none: neither is many."""
        assert isinstance(rejected(known.track_many, rows), ConfigurationError)

    def test_nothing_at_all(self, known, simulator):
        """No row, no request."""
        simulator.journal.clear()
        assert (0, []) == (known.track_many([]).total, asked(simulator))


def test_429_is_waited_for(known, simulator):
    """Beyond the patience for one person: a nightly run is in no hurry."""
    simulator.fail_next("bulk_create_events", status=429, times=12, headers={"retry-after": "2"})
    assert 3 == known.track_many([order(n, 1) for n in range(3)]).accepted


def test_a_profile_that_was_edited_keeps_its_events(known, simulator):
    """P5: an event is fixed to its profile, whatever that shows by then."""
    profile = known.resolve(external_id="c-1").profile_id
    edit(simulator, profile, first_name="Ann")
    known.track_many([order(1, 1)])
    assert {(profile, "order-1"): 1} == recorded(simulator)
