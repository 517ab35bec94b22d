"""The commands about the outbox: what they show names nobody, unless the user asks to see it."""

import json

import pytest

from safeklaviyo.testing import KlaviyoSimulator


@pytest.fixture
def parked(here):
    """The arguments that name a map beside which one row is parked and one waits."""
    simulator = KlaviyoSimulator()
    with simulator.client(store=here[1], account=here[3]) as k:
        k.identify(external_id="c-12345678", email="ada@shop.test")
        k.outbox.track(
            "Placed Order", external_id="c-12345678", email="bea@shop.test", properties={"gift": "ring"}, unique_id="u"
        )
        k.outbox.drain()
        k.outbox.track("Placed Order", external_id="c-12345678")
        (row,) = k.outbox.dead()
    return row.id, here


def test_list(run, parked):
    """A line for each parked row, with its error and its rule, and the counts."""
    number, here = parked
    ran = run("outbox", "list", *here)
    row, counts = ran.out.splitlines()
    assert (0, "1 parked, 1 waiting") == (ran.status, counts)
    assert row.startswith(f"{number}  ")
    assert "track  ***78 b***@***  EmailMismatchError (R6)" in row
    assert "bea" not in ran.out


def test_show_and_export(run, parked, tmp_path):
    """A row is shown and written with its names masked, or with everything on request; the file is its owner's."""
    number, here = parked
    for ran in (run("outbox", "show", str(number), *here),):
        shown = json.loads(ran.out)
        assert "Placed Order" == shown["payload"]["event"]["name"]
        assert not [text for text in ("bea", "ring", "12345678") if text in ran.out]
    path = tmp_path / "rows.jsonl"
    assert "1 written\n" == run("outbox", "export", str(path), "--reveal", *here).out
    assert "bea@shop.test" == json.loads(path.read_text())["payload"]["claim"]["email"]
    assert 0o600 == path.stat().st_mode & 0o777
    assert 1 == run("outbox", "show", "999", *here).status


def test_retry_and_drop(run, parked):
    """Parked rows are tried again, by their numbers or by their rule, or deleted."""
    number, here = parked
    assert "0 will be tried again\n" == run("outbox", "retry", "--rule", "R7", *here).out
    assert "1 will be tried again\n" == run("outbox", "retry", str(number), *here).out
    assert "0 parked, 2 waiting\n" == run("outbox", "list", *here).out
    assert "1 deleted\n" == run("outbox", "drop", str(number + 2), *here).out
    assert "0 parked, 1 waiting\n" == run("outbox", "list", *here).out


def test_doctor(run, parked, monkeypatch):
    """`doctor` counts the rows, and warns of parked ones; without an outbox it says nothing of one, and makes none."""
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)
    _, here = parked
    assert "warn  outbox         1 rows wait, 1 are parked: see `safeklaviyo outbox list`" in run("doctor", *here).out
    other = ("--store", here[1].replace("identity", "other"), *here[2:])
    assert "outbox" not in run("doctor", *other).out
    assert "outbox" not in run("doctor", *other).out
