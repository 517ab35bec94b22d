"""The commands about the outbox: what they show names nobody, unless the user asks to see it."""

import json
from pathlib import Path

import pytest

from safeklaviyo.testing import KlaviyoSimulator
from support.engines import url_of
from support.postgres_servers import own_database


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
    assert 'track "Placed Order"  ***78 b***@***  EmailMismatchError (R6)' in row
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


def test_show_and_export_mask_within(run, here, tmp_path):
    """Addresses and phone numbers in names and keys are masked, and the other words of these stay."""
    simulator = KlaviyoSimulator()
    personal = ("bob", "2025550123", "555-0123", "Robertina", "Bobway", "12.5")
    with simulator.client(store=here[1], account=here[3]) as k:
        k.identify(external_id="c-1", email="ada@shop.test")
        k.outbox.track(
            "Order of bob@shop.test +12025550123", external_id="c-1", email="bea@shop.test", value=12.5,
            properties={"bob@shop.test": 1, "name": "Robertina", "of (202) 555-0123": [{"name": "Bobway"}], "gift": 1},
            customer_properties={"name": "Robertina", "channels": ["Bobway"]},
        )  # fmt: skip
        k.outbox.drain()
        (row,) = k.outbox.dead()
    assert 'track "Order of b***@*** ***23"  ***' in run("outbox", "list", *here).out
    path = tmp_path / "rows.jsonl"
    run("outbox", "export", str(path), *here)
    for text in (run("outbox", "show", str(row.id), *here).out, path.read_text()):
        assert not [each for each in personal if each in text]
        event = json.loads(text)["payload"]["event"]
        assert ("Order of b***@*** ***23", row.time.timestamp()) == (event["name"], event["time"])
        assert {"b***@***", "name", "of (***23", "gift"} == set(event["properties"])
    shown = run("outbox", "show", str(row.id), "--reveal", *here).out
    assert not [each for each in personal if each not in shown]


def test_retry_and_drop(run, parked):
    """Parked rows are tried again, by their numbers or by their rule, or deleted."""
    number, here = parked
    ran = run("outbox", "retry", "--rule", "R7", *here)
    assert (1, "0 will be tried again\n") == (ran.status, ran.out)
    assert "no row that was refused by that rule is parked" in ran.err
    assert "1 will be tried again\n" == run("outbox", "retry", str(number), *here).out
    assert "0 parked, 2 waiting\n" == run("outbox", "list", *here).out
    assert (0, "1 deleted\n", "") == run("outbox", "drop", "--waiting", str(number + 2), *here)
    assert "0 parked, 1 waiting\n" == run("outbox", "list", *here).out
    assert (0, "0 will be tried again\n", "") == run("outbox", "retry", *here)


def test_drop_leaves_rows_that_wait(run, parked):
    """Only parked rows are deleted, unless those that wait are asked for; numbers that are not there are told."""
    number, here = parked
    waiting = number + 1
    ran = run("outbox", "drop", str(waiting), str(number), "4242", *here)
    assert (1, "1 deleted\n") == (ran.status, ran.out)
    assert f"not parked, so not deleted: {waiting}, 4242\n" == ran.err
    assert "0 parked, 1 waiting\n" == run("outbox", "list", *here).out
    ran = run("outbox", "drop", str(waiting), "4242", "--waiting", *here)
    assert (1, "1 deleted\n", "there are no rows of these numbers: 4242\n") == ran
    assert "0 parked, 0 waiting\n" == run("outbox", "list", *here).out


def test_retry_says_what_is_not_there(run, parked):
    """Rows that are named and not parked, or that another rule has refused, are told, and the others are put back."""
    number, here = parked
    ran = run("outbox", "retry", "--rule", "R7", str(number), *here)
    assert (1, "0 will be tried again\n") == (ran.status, ran.out)
    assert ran.err.startswith("not parked, or not refused by that rule, ")
    ran = run("outbox", "retry", "4242", str(number), str(number + 1), *here)
    assert (1, "1 will be tried again\n") == (ran.status, ran.out)
    assert f"not parked, see `safeklaviyo outbox list`: {number + 1}, 4242\n" == ran.err


@pytest.mark.parametrize("named", [True, False])
def test_retry_says_what_a_later_change_has_overtaken(run, here, named):
    """Such a row stays parked, and the command says why."""
    simulator = KlaviyoSimulator()
    with simulator.client(store=here[1], account=here[3]) as k:
        k.identify(external_id="c-1", email="ada@shop.test")
        k.outbox.change_email("bea@shop.test", external_id="c-1")
        k.change_email("cleo@shop.test", external_id="c-1")
        k.outbox.drain()
        (row,) = k.outbox.dead()
    ran = run("outbox", "retry", *([str(row.id)] if named else []), *here)
    assert (1, "0 will be tried again\n") == (ran.status, ran.out)
    assert ran.err.startswith("a later change of the same customer was made since")
    assert ran.err.endswith(f": {row.id}\n")


def test_doctor(run, parked, monkeypatch):
    """`doctor` counts the rows, and warns of parked ones; without an outbox it says nothing of one, and makes none."""
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)
    _, here = parked
    assert "warn  outbox         1 rows wait, 1 are parked: see `safeklaviyo outbox list`" in run("doctor", *here).out
    other = ("--store", here[1].replace("identity", "other"), *here[2:])
    assert "outbox" not in run("doctor", *other).out
    assert "outbox" not in run("doctor", *other).out


@pytest.fixture
def elsewhere():
    """The URL of a database without any tables."""
    with own_database() as conninfo:
        yield url_of(conninfo)


def found_by(doctor):
    """Return what the doctor says of the outbox."""
    return [line.split(maxsplit=2)[::2] for line in doctor.out.splitlines() if line.split()[1] == "outbox"]


@pytest.mark.parametrize(
    ("url", "finding"),
    [
        ("sqlite:////nowhere/shop.db", "there is no such file"),
        ("sqlite:///{here}/none.db", "there is no such file"),
        ("sqlite:///{here}/none.txt", "the outbox's file is no SQLite database"),
        ("postgresql://127.0.0.1:1/db", "the outbox's database could not be reached"),
        ("postgresql://127.0.0.1/db?nonsense=1", "the PostgreSQL URL of the outbox is not understood"),
        ("redis://127.0.0.1/0", "outbox has to be a URL such as"),
        ("mysql://127.0.0.1/db", "outbox has to be a URL such as"),
    ],
)
def test_doctor_fails_for_a_named_outbox_that_is_not_there(run, here, tmp_path, url, finding):
    """Whether the option or the environment names it; neither the account nor a map is needed, and nothing is made."""
    (tmp_path / "none.txt").write_text("no database " * 100)
    named = url.replace("{here}", str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        for option, variable in ((("--outbox", named), ""), ((), named)):
            patch.setenv("SAFEKLAVIYO_OUTBOX", variable)
            for arguments in (here, ("--store", "memory://")):
                examined = run("doctor", *arguments, *option)
                [(verdict, told)] = found_by(examined)
                assert (1, "fail", True) == (examined.status, verdict, told.startswith(finding))
    assert not Path(tmp_path / "none.db").exists()


def test_doctor_knows_a_named_file_without_tables(run, here, served, tmp_path, monkeypatch):
    """The first row makes the tables, so that this is a warning; the doctor makes none."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    (tmp_path / "shop.db").touch()
    arguments = (*here, "--base-url", served[1], "--outbox", f"sqlite:///{tmp_path}/shop.db")
    for _ in range(2):
        examined = run("doctor", *arguments)
        assert (0, [["warn", "its file has no tables yet: the first row makes them"]]) == (
            examined.status,
            found_by(examined),
        )


def test_an_outbox_elsewhere_gets_its_tables(run, here, served, elsewhere, monkeypatch):
    """Each command says that the outbox's tables are missing, and `store migrate` makes them, wherever the map is."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    monkeypatch.setenv("SAFEKLAVIYO_OUTBOX", elsewhere)
    [(verdict, told)] = found_by(examined := run("doctor", *here, "--base-url", served[1]))
    missing = "the outbox's tables are missing, or not those of this version; run `safeklaviyo store migrate`"
    assert (1, "fail", True) == (examined.status, verdict, told.startswith(missing))
    for command in (("outbox", "list"), ("worker",)):
        ran = run(*command, *here)
        assert (1, True) == (ran.status, f"StoreIncompatibleError: {missing}" in ran.err)
    for _ in range(2):
        made = "the outbox's tables are there in its own database, and of this version\n"
        assert (0, made, "") == run("store", "migrate", *here[:2])
    assert [["ok", "0 rows wait, 0 are parked"]] == found_by(run("doctor", *here, "--base-url", served[1]))


def test_migrate_makes_the_tables_of_two_databases(run, elsewhere, monkeypatch):
    """The map's database gets its own, and the outbox's too; the same database named twice is one."""
    own, other = f"{elsewhere}&schema=own", f"{elsewhere}&schema=other"
    ours = "the tables are there, and of this version\n"
    theirs = "the outbox's tables are there in its own database, and of this version\n"
    assert (0, ours, "") == run("store", "migrate", "--store", own, "--outbox", own)
    assert (0, ours + theirs, "") == run("store", "migrate", "--store", own, "--outbox", other)
    for outbox in (own, other):
        assert (
            "0 parked, 0 waiting\n" == run("outbox", "list", "--store", own, "--outbox", outbox, "--account", "A").out
        )
    assert (0, ours, "") == run("store", "migrate", "--store", own, "--outbox", "sqlite:///nowhere.db")


def test_migrate_prints_the_sql_of_an_outbox_elsewhere(run):
    """Under a heading of its own, and alone where the map is not in PostgreSQL."""
    outbox = ("--outbox", "postgresql://host/shop?schema=queue")
    both = run("store", "migrate", "--sql", "--store", "postgresql://host/map", *outbox).out
    ours, theirs = both.split("-- In the database of the outbox:\n")
    assert "safeklaviyo.outbox_about" in ours.replace('"', "")
    assert ['"queue".outbox_about' in theirs, ".binding(" in theirs] == [True, False]
    alone = run("store", "migrate", "--sql", "--store", "sqlite:///map.db", *outbox).out
    assert f"-- In the database of the outbox:\n{theirs}" == alone
