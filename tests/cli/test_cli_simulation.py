"""The commands `demo` and `simulate`, and the shop's day itself."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from safeklaviyo import Klaviyo
from support import commands
from support.simulator import Counts, Interruption, RawShop, SafeShop, State, demo, script

if TYPE_CHECKING:
    from safeklaviyo.testing import KlaviyoSimulator

CLEAN = Counts(
    requests=9,
    profiles=2,
    complete=2,
    duplicates=0,
    id_only=0,
    mixed=0,
    sent=5,
    recorded=5,
    lost=0,
    doubled=0,
    misplaced=0,
)
DONE = State(is_in_map=True, is_in_klaviyo=True, profiles=1)
COMPLETED = Interruption(-9, replace(DONE, is_in_map=False), ("completed",), DONE, is_late_call_right=True)
ADA = script.Customer(0, 0, "1815", "ada@shop.test")


def test_the_demonstration_shows_what_the_client_is_for(run):
    """Through the client each customer is one whole profile and each event is there once; without it neither holds."""
    status, out, err = run("demo", "--customers", "6", "--json")
    assert (0, "") == (status, err)
    outcome = json.loads(out)
    raw, safe = outcome["raw"], outcome["safe"]
    assert (6, True) == (outcome["customers"], outcome["clean"])
    assert (6, 6, safe["sent"]) == (safe["profiles"], safe["complete"], safe["recorded"])
    assert [0] * 6 == [safe[name] for name in ("duplicates", "id_only", "mixed", "lost", "doubled", "misplaced")]
    assert all(raw[name] > 0 for name in ("duplicates", "id_only", "mixed", "lost", "doubled", "misplaced"))
    assert raw["complete"] < 6 < raw["profiles"]
    assert raw["sent"] == safe["sent"]
    assert 1 == outcome["postponed"]
    assert raw == outcome["observed"]
    guarded = outcome["guarded"]
    assert (6, 6, guarded["sent"]) == (guarded["profiles"], guarded["complete"], guarded["recorded"])
    assert [0] * 6 == [guarded[name] for name in ("duplicates", "id_only", "mixed", "lost", "doubled", "misplaced")]
    assert 1 == outcome["parked"]
    for side in (raw, safe):
        assert side["sent"] - side["lost"] + side["doubled"] == side["recorded"]


def test_the_demonstration_prints_a_table(run):
    """For people there is a table with a line for each count."""
    status, out, err = run("demo", "--customers", "1")
    assert (0, "") == (status, err)
    assert all(words in out for words in commands.simulation._ROWS.values())
    assert "another's recover()    completed" in out


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("safe", "interrupted"),
    [
        (replace(CLEAN, profiles=3, duplicates=1), COMPLETED),
        (CLEAN, replace(COMPLETED, is_late_call_right=False, after_recovery=replace(DONE, is_in_klaviyo=False))),
    ],
)
def test_a_demonstration_that_is_not_clean_fails(capsys, safe, interrupted, as_json):
    """If the client left a duplicate, or a change half done, the command says so."""
    outcome = demo.Outcome(2, CLEAN, safe, 0, CLEAN, CLEAN, 0)
    assert 1 == commands.simulation.report(outcome, interrupted, as_json=as_json)
    assert "safeklaviyo left something behind that it should not have\n" == capsys.readouterr().err


def test_every_count_decides_what_is_clean():
    """Nothing that is counted against a side may be overlooked."""
    assert CLEAN.is_clean(2)
    assert not CLEAN.is_clean(3)
    decisive = Counts.__dataclass_fields__.keys() - {"requests"}
    assert not [name for name in decisive if replace(CLEAN, **{name: 1}).is_clean(2)]


def test_every_count_has_a_line_in_the_table():
    """The table shows all that is counted, in the same order."""
    assert list(Counts.__dataclass_fields__) == list(commands.simulation._ROWS)


def test_the_raw_day_comes_out_the_same_each_time():
    """What is counted depends on the script, not on how fast the machine or either worker is."""
    people = script.customers(12)
    first, second = (demo._run_raw(people, script.day(people)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("number", [1, 2, 5, 30])
def test_the_script_names_everything_apart(number):
    """No two customers share an id or an address, and no two events a reference."""
    people = script.customers(number)
    calls = [call for moment in script.day(people) for call in moment.calls]
    references = [call.reference for call in calls if call.verb == "track"]
    names = [name for each in people for name in (each.external_id, each.email, each.new_email) if name]
    assert (number, len(names), len(references)) == (len(people), len(set(names)), len(set(references)))


@pytest.fixture
def shop(simulator: KlaviyoSimulator):
    """The shop of plain calls, whose waiting is the simulator's time."""
    headers = {"Authorization": "Klaviyo-API-Key pk_test", "revision": "2026-10-15"}
    with httpx.Client(transport=simulator.transport, base_url="https://a.klaviyo.com", headers=headers) as http:
        yield RawShop(http, wait=simulator.advance)


def test_the_raw_shop_repeats_what_broke(shop, simulator):
    """A lost answer is tried again a second later, which makes two events of one (F-19)."""
    simulator.fail_next("create_event", when="after", broken="lost")
    shop.perform(script.Call("track", ADA, email=ADA.email, event="Placed Order", reference="one"))
    simulator.drain()
    assert ["one", "one"] == [event.properties["reference"] for event in simulator.events]


def test_the_raw_shop_waits_as_klaviyo_asks_and_gives_up_in_the_end(shop, simulator):
    """It is no worse than Klaviyo's guide: 429 and 503 are repeated after Retry-After, four attempts in all."""
    simulator.fail_next("create_event", status=429, headers={"retry-after": "7"}, times=9)
    before = simulator.now()
    shop.perform(script.Call("track", ADA, email=ADA.email, event="Placed Order", reference="one"))
    assert (21.0, 4) == (simulator.now() - before, len(simulator.journal))


def test_the_safe_shop_repeats_the_same_event(simulator):
    """An event that had to wait, twice here, has the key and the time of its first attempt, and counts once."""
    order = script.Call("track", ADA, external_id=ADA.external_id, event="Placed Order", reference="one")
    with simulator.mock(), Klaviyo("pk_test", store="memory://") as klaviyo:
        shop = SafeShop([klaviyo])
        shop.perform(order)
        [(_, error)] = shop._queue
        error.time -= timedelta(hours=1)
        shop.catch_up()
        shop.perform(script.Call("identify", ADA, ADA.external_id, ADA.email))
        shop.catch_up()
    simulator.drain()
    [event] = simulator.events
    assert (error.unique_id, int(error.time.timestamp()), 1) == (event.unique_id, event.time, shop.postponed)


def test_a_port_that_is_taken_is_a_failure(run):
    """The server says that it cannot listen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, out, err = run("simulate", "--port", str(taken.getsockname()[1]))
    assert (1, "") == (status, out)
    assert err.startswith("OSError: ")
