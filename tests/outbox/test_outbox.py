"""The outbox: what was queued is carried out once and in order, and what cannot be is parked or waits."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple
from datetime import UTC, datetime

import pytest

from safeklaviyo import (
    AuthenticationError,
    ConfigurationError,
    InvalidIdentifierError,
    InvalidPropertyError,
    Klaviyo,
    Policy,
)
from support.outbox import MemoryFile, NewRow, SqliteOutbox, calls

ADA = {"external_id": "c-1", "email": "ada@shop.test"}

LARGE = {f"p{number}": "x" * 3000 for number in range(50)}


def recorded(simulator):
    """Return how often each event was recorded, by its key, once Klaviyo has done everything."""
    simulator.drain()
    return Counter(event.unique_id for event in simulator.events)


def test_queued_is_delivered(client, simulator):
    """A queued event is recorded once by a drain, under the key and the time that were fixed when it was queued."""
    k = client()
    queued = k.outbox.track("Placed Order", **ADA, time=1_700_000_000)
    assert Counter() == recorded(simulator)
    assert 1 == k.outbox.counts().waiting
    report = k.outbox.drain()
    assert (1, 0, 0, None) == (report.delivered, report.waiting, report.dead, report.next_due)
    assert {queued.unique_id: 1} == recorded(simulator)
    assert datetime.fromtimestamp(1_700_000_000, UTC) == queued.time
    assert 1_700_000_000 == simulator.events[0].time
    assert 0 == k.outbox.drain().delivered


def test_every_verb_in_order(client, simulator):
    """Each verb can be queued, and one customer's calls are carried out in the order in which they were queued."""
    k = client()
    k.outbox.identify({"first_name": "Ada"}, **ADA)
    k.outbox.track("First", external_id="c-1")
    k.outbox.change_email("ada@new.test", external_id="c-1")
    k.outbox.track("Second", external_id="c-1", email="ada@new.test")
    k.outbox.subscribe("email", external_id="c-1")
    k.outbox.unsubscribe("email", external_id="c-1")
    assert 6 == k.outbox.drain().delivered
    simulator.drain()
    assert ["First", "Second"] == [event.metric for event in simulator.events]
    assert [("ada@new.test", "Ada")] == [(each.email, each.attributes["first_name"]) for each in simulator.profiles]
    assert not k.consent(external_id="c-1").channels["email"].can_receive


@pytest.mark.parametrize(
    ("verb", "given", "error"),
    [
        ("track", {"event": "", **ADA}, InvalidPropertyError),
        ("track", {"event": "E", "email": "nobody"}, InvalidIdentifierError),
        ("track", {"event": "E", **ADA, "time": 1}, InvalidPropertyError),
        ("track", {"event": "E"}, InvalidIdentifierError),
        ("track", {"event": "E", **ADA, "customer_properties": LARGE}, InvalidPropertyError),
        ("identify", {"properties": LARGE, **ADA}, InvalidPropertyError),
        ("change_email", {"new_email": "nobody", "external_id": "c-1"}, InvalidIdentifierError),
        ("change_email", {"new_email": "a@shop.test", "external_id": "c-1", "on_taken": "?"}, ConfigurationError),
        ("subscribe", {"channels": "mail", **ADA}, InvalidPropertyError),
        ("subscribe", {"channels": "email", **ADA, "historical": True}, InvalidPropertyError),
        ("unsubscribe", {"channels": "email", "list_id": "?", **ADA}, InvalidPropertyError),
    ],
)
def test_refused_at_the_insert(client, verb, given, error):
    """What the direct verb refuses of its arguments is refused when it is queued, and nothing is written."""
    k = client()
    with pytest.raises(error):
        getattr(k, verb)(**given)
    with pytest.raises(error):
        getattr(k.outbox, verb)(**given)
    assert 0 == k.outbox.counts().waiting


def test_parked_and_retried(client, simulator):
    """What the rules refuse for good is parked with its rule, and can be tried again once the reason is gone."""
    k = client()
    k.identify(**ADA)
    k.outbox.track("Placed Order", external_id="c-1", email="bea@shop.test", unique_id="u")
    assert 1 == k.outbox.drain().dead
    (row,) = k.outbox.dead()
    assert ("track", "u", "EmailMismatchError", "R6", 1) == (
        row.verb, row.unique_id, row.error, row.rule, row.attempts,
    )  # fmt: skip
    assert "bea" not in repr(row)
    k.change_email("bea@shop.test", external_id="c-1")
    assert (0, 1) == (k.outbox.retry(rule="R7"), k.outbox.retry(rule="R6"))
    assert 1 == k.outbox.drain().delivered
    assert {"u": 1} == recorded(simulator)
    assert [] == list(k.outbox.dead())


def test_dropped(client):
    """A row that is dropped is gone, and one that is not named stays."""
    k = client()
    first, second = (k.outbox.track("E", **ADA).id for _ in range(2))
    assert 1 == k.outbox.drop(first)
    assert (0, 1) == (k.outbox.drop(first), k.outbox.counts().waiting)
    assert 0 == k.outbox.drop(*[row.id for row in k.outbox.dead()])
    with pytest.raises(ConfigurationError):
        k.outbox.drop("1")
    assert second > first


@pytest.mark.parametrize(
    "given",
    [{"lane": 64}, {"lane": -1}, {"lane": "x"}, {"lane": 1.0}, {"lane": True}, {"limit": -1}, {"limit": "x"}],
)
def test_drain_of_what_there_is_not(client, simulator, given):
    """A lane that there is not, and a limit that is no number of rows, are refused at once."""
    (name,) = given
    with pytest.raises(ConfigurationError, match=f"{name} has to be a number"):
        client().outbox.drain(**given)
    assert [] == simulator.journal


def test_drain_of_no_rows(client):
    """A limit of none delivers none."""
    k = client()
    k.outbox.track("E", **ADA)
    assert (0, 1) == (k.outbox.drain(limit=0).delivered, k.outbox.drain(limit=1).delivered)


def test_key_refused(client, simulator):
    """A key that Klaviyo does not accept ends the drain with that error, and the rows wait."""
    k = client()
    k.identify(**ADA)
    k.outbox.track("E", **ADA)
    simulator.fail_next("create_event", status=401)
    with pytest.raises(AuthenticationError):
        k.outbox.drain()
    assert 1 == k.outbox.drain().delivered


def test_klaviyo_is_away(client, simulator):
    """While Klaviyo fails, a drain ends after one row, and all rows are delivered once it is back."""
    k = client()
    k.identify(**ADA)
    k.identify(external_id="c-2", email="bea@shop.test")
    for who in ("c-1", "c-2", "c-1"):
        k.outbox.track("E", external_id=who)
    simulator.fail_next(status=503, times=100)
    report = k.outbox.drain()
    assert (0, 3, 0) == (report.delivered, report.waiting, report.dead)
    assert 1 == len({entry.path for entry in simulator.journal if entry.status == 503})
    assert report.next_due is not None
    simulator.advance(60)
    simulator._faults = type(simulator._faults)()
    assert 3 == k.outbox.drain().delivered
    assert [1, 1, 1] == sorted(recorded(simulator).values())


def test_limit_and_lane(client):
    """A drain carries out as many rows as it may, and with a lane given those of that lane alone."""
    k = client()
    for _ in range(3):
        k.outbox.track("E", **ADA)
    assert 2 == k.outbox.drain(limit=2).delivered
    (lane,) = k.outbox.lanes()
    assert 0 == k.outbox.drain(lane=(lane + 1) % 64).delivered
    assert 1 == k.outbox.drain(lane=lane).delivered
    assert () == k.outbox.lanes()


def test_what_is_left(outbox_of_rows):
    """A drain's report has the number of rows that wait, and the earliest time at which one of any lane may go."""
    perform, now = outbox_of_rows
    due = {}
    for lane, seconds in ((3, 60.0), (7, 30.0), (7, 90.0)):
        about = perform(calls.ReadAbout("SiMuLa"))
        row = perform(
            calls.Insert("SiMuLa", NewRow(lane, (f"n{seconds}",), (), None, "track", "{}", None, 0.0), about.id)
        )
        token = perform(calls.Take("SiMuLa", lane, 10.0))
        perform(calls.Wait("SiMuLa", lane, token, [row], seconds, unsure=False))
        perform(calls.Leave("SiMuLa", lane, token))
        due[row] = now + seconds
    assert (3, min(due.values())) == astuple(perform(calls.CountLeft("SiMuLa")))
    assert (0, None) == astuple(perform(calls.CountLeft("other")))


@pytest.fixture
def outbox_of_rows():
    """An outbox in memory without a client, and the time on its clock."""
    outbox = SqliteOutbox(MemoryFile(), None, clock=lambda: 1000.0)
    return outbox.perform, 1000.0


def test_no_outbox_for_redis():
    """Beside a map in Redis there is no outbox without a URL: its first use says so, and nothing before."""
    pytest.importorskip("redis")
    with Klaviyo("pk_x", store="redis://127.0.0.1:1/0", account="SiMuLa") as k, pytest.raises(ConfigurationError):
        k.outbox.counts()


@pytest.mark.parametrize("url", ["memory://", "redis://host/0", "mysql://host/db", 5])
def test_outbox_url(url):
    """An outbox is in SQLite or PostgreSQL; any other URL is refused at once."""
    with pytest.raises(ConfigurationError):
        Klaviyo("pk_x", store="memory://", outbox=url)


def test_outbox_waits_for_the_sign_up(client, simulator):
    """An order by an id alone waits for the sign-up (H24), and is parked only after `Policy.outbox_wait`."""
    k = client(policy=Policy(outbox_wait=3600))
    k.outbox.track("Placed Order", external_id="c-1", unique_id="u1")
    k.outbox.track("Shipped", external_id="c-1", unique_id="u2")
    report = k.outbox.drain()
    assert (0, 2, 0) == (report.delivered, report.waiting, report.dead)
    k.identify(**ADA)
    simulator.advance(10)
    assert 2 == k.outbox.drain().delivered
    assert {"u1": 1, "u2": 1} == recorded(simulator)
    k.outbox.track("Placed Order", external_id="c-9")
    assert 1 == k.outbox.drain().waiting
    simulator.advance(4000)
    assert 1 == k.outbox.drain().dead


def test_parked_rows_expire(client, simulator):
    """A row that was parked is deleted after `Policy.outbox_keep`, and what waits is not."""
    k = client(policy=Policy(outbox_keep=3600, outbox_wait=10_000))
    k.identify(**ADA)
    k.outbox.track("E", external_id="c-1", email="bea@shop.test")
    k.outbox.track("E", external_id="c-9")
    assert 1 == k.outbox.drain().dead
    simulator.advance(3601)
    k.outbox.drain()
    assert (1, 0) == (k.outbox.counts().waiting, k.outbox.counts().dead)


def test_parked_rows_are_looked_through_once_a_minute(client, simulator):
    """A worker drains each second, and looking for what is too old reads all parked rows."""
    k = client(policy=Policy(outbox_keep=10))
    k.identify(**ADA)
    k.outbox.track("E", external_id="c-1", email="bea@shop.test")
    assert 1 == k.outbox.drain().dead
    simulator.advance(30)
    k.outbox.drain()
    assert 1 == k.outbox.counts().dead
    simulator.advance(31)
    k.outbox.drain()
    assert 0 == k.outbox.counts().dead


def test_a_sign_up_that_is_queued_says_whose_the_id_is(client, simulator):
    """A row by an id alone would wait for the sign-up behind it for ever, and the sign-up for the row (H16, H24)."""
    k = client()
    k.outbox.track("Viewed", external_id="c-1", unique_id="u1")
    k.outbox.track("Viewed", external_id="c-1", unique_id="u2")
    k.outbox.identify({"plan": "gold"}, **ADA)
    k.outbox.track("Paid", **ADA, unique_id="u3")
    assert (4, 0, 0) == astuple(k.outbox.drain())[:3]
    simulator.drain()
    (profile,) = simulator.profiles
    assert ("c-1", ADA["email"], "gold") == (profile.external_id, profile.email, profile.properties["plan"])
    assert ["u1", "u2", "u3"] == [event.unique_id for event in simulator.events]


def test_a_sign_up_is_found_however_many_rows_are_before_it(client, simulator):
    """The rows behind one of an unknown customer are read part by part until one names the customer."""
    k = client()
    for number in range(230):
        k.outbox.track("Viewed", external_id="c-1", unique_id=f"u{number}")
    k.outbox.identify(**ADA)
    assert (231, 0, 0) == astuple(k.outbox.drain())[:3]
    simulator.drain()
    assert [f"u{number}" for number in range(230)] == [event.unique_id for event in simulator.events]


@pytest.mark.parametrize("verb", ["change_email", "identify"])
def test_what_does_not_say_whose_the_id_is(client, simulator, verb):
    """A change of address names two at different times, and a pair that the rules refuse names nobody."""
    k = client()
    k.identify(external_id="c-2", email="taken@shop.test")
    k.outbox.track("Viewed", external_id="c-1", unique_id="u1")
    if verb == "change_email":
        k.outbox.change_email("new@shop.test", external_id="c-1", old_email="old@shop.test")
        k.outbox.identify(external_id="c-1", email="old@shop.test")
    else:
        k.outbox.identify(external_id="c-1", email="taken@shop.test")
        k.outbox.identify(external_id="c-3", email="third@shop.test")
    report = k.outbox.drain()
    assert (int(verb == "identify"), 0) == (report.delivered, report.dead)
    simulator.drain()
    assert "c-1" not in {profile.external_id for profile in simulator.profiles}
    assert [] == simulator.events


def test_the_next_that_may_be_tried_is_not_one_that_is_held_back(client, simulator):
    """A caller that sleeps until `next_due` would drain again and again in vain."""
    k = client()
    k.outbox.track("Viewed", external_id="c-1")
    k.outbox.track("Paid", external_id="c-1")
    report = k.outbox.drain()
    assert (0, 2) == (report.delivered, report.waiting)
    assert report.next_due.timestamp() > simulator.now()
    # Those that a limit has left may be tried at once.
    k.outbox.track("Viewed", external_id="c-2", email="two@shop.test")
    k.outbox.track("Viewed", external_id="c-3", email="three@shop.test")
    report = k.outbox.drain(limit=1)
    assert 1 == report.delivered
    assert report.next_due.timestamp() <= simulator.now()
