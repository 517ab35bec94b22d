"""Making the identity map's tables, and copying a map: nothing is lost on the way, or the command says so."""

from __future__ import annotations

import re
import sqlite3
import sys
import tempfile
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.cli import main
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry, JournalRow, Match
from safeklaviyo.stores.sqlite import SqliteStore
from support import commands

ACCOUNT = "SiMuLa"
_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture
def folder():
    """A folder for identity maps: in memory where the system has one, because each write of a map reaches the disk."""
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        yield Path(name)


@pytest.fixture
def source(folder):
    """The map that is copied."""
    with SqliteStore(folder / "from.db") as store:
        yield store


@pytest.fixture
def target(folder):
    """The map that is copied to."""
    with SqliteStore(folder / "to.db") as store:
        yield store


@pytest.fixture
def copy(run, folder):
    """Copies the one to the other."""

    def copy(*more, source="from.db"):
        return run(
            "store", "copy", f"sqlite:///{folder}/{source}", f"sqlite:///{folder}/to.db", "--account", ACCOUNT, *more
        )

    return copy


def people(number, first=0):
    """Return so many customers."""
    return [Binding(f"c{n}", f"c{n}@shop.test", f"P{n}") for n in range(first, first + number)]


def email(value):
    """Return an address."""
    return Identifier(Kind.EMAIL, value)


def change(store, old, new):
    """Change an address, so that the old one is a former one, and write it down."""
    [match] = store.find(ACCOUNT, (email(old),)).matches
    entry = JournalEntry("change_email", old, new)
    store.bind(ACCOUNT, Change(replace(match.binding, email=new), verified=False, journal=entry))


def tell(store, binding, number):
    """Write so many rows about somebody down."""
    rows = [JournalRow(0, 1000.0 + n, "", None, None, JournalEntry("x")) for n in range(number)]
    assert number == store.restore_journal(ACCOUNT, [(binding, row) for row in rows])


def content(store):
    """Return all that a copy carries, without what is a store's own."""
    bindings = store.page(ACCOUNT, limit=10_000).bindings
    former = {
        (match.identifier, match.retired_at, *_values(match.binding)) for match in store.former(ACCOUNT, bindings)
    }
    by_key = {each.key: each for each in bindings}
    journal = [
        (*_values(by_key[row.key]), row.at, row.profile_id, row.external_id, row.entry)
        for row in store.journal(ACCOUNT, since=0, limit=10_000)
        if row.key in by_key
    ]
    customers = {(*_values(each), each.verified_at) for each in bindings}
    return customers, former, journal, store.notes(ACCOUNT, limit=10_000)


def _values(binding):
    return binding.external_id, binding.email, binding.profile_id, binding.phone_number


# Making the tables.


@pytest.mark.parametrize("url", ["memory://", "sqlite:///nowhere.db", "redis://127.0.0.1:1"])
def test_other_stores_need_no_tables(run, url):
    """Where there is nothing to make, the command says so, asks no server, and leaves no file."""
    status, out, err = run("store", "migrate", "--store", url)
    assert (0, "") == (status, err)
    assert "nothing to do" in out
    assert not Path("nowhere.db").exists()


def test_a_url_that_names_no_store_is_refused_without_showing_it(run, monkeypatch):
    """A misspelt kind of store is no success."""
    monkeypatch.setenv("SHOP_MAP", "postgre://root:hunter2@host/db")
    status, out, err = run("store", "migrate", "--store", "env:SHOP_MAP")
    assert (1, "") == (status, out)
    assert err.startswith("ConfigurationError: ")
    assert "hunter2" not in err


def test_a_server_that_is_away_is_told_of_without_its_password(run, monkeypatch):
    """The failure is one line."""
    monkeypatch.setenv("SHOP_MAP", "postgresql://shop:hunter2@127.0.0.1:1/shop")
    status, out, err = run("store", "migrate", "--store", "env:SHOP_MAP")
    assert (1, "") == (status, out)
    assert re.fullmatch(r"StoreUnavailableError: .+\n", err)
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        ((), "safeklaviyo"),
        (("--store", "postgresql://host/db?schema=own"), "own"),
        (("--store", "postgresql://host/db?schema=own", "--schema", 'o"ther'), 'o""ther'),
    ],
)
def test_the_sql_is_printed_without_a_server(run, arguments, schema):
    """``--sql`` needs no database, and names the schema of the argument, of the URL, or its own."""
    status, out, err = run("store", "migrate", "--sql", *arguments)
    assert (0, "") == (status, err)
    assert f'CREATE TABLE "{schema}".binding(' in out


def test_the_sql_needs_the_driver(run, monkeypatch):
    """Without the extra the command says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setattr(commands.console, "find_spec", lambda _: None)
    status, out, err = run("store", "migrate", "--sql")
    assert (2, "") == (status, out)
    assert "safeklaviyo[postgres]" in err


# Copying.


def test_a_copy_has_all_that_counts(copy, source, target):
    """Customers, their former identifiers with the times, and who was erased, are there; the output counts them."""
    source.add(ACCOUNT, [*people(3), Binding(None, "guest@shop.test", None, "+12025550100", 1.5)])
    source.add("Others", people(2, 7))
    change(source, "c1@shop.test", "new@shop.test")
    source.restore(ACCOUNT, [Match(Identifier(Kind.EXTERNAL_ID, "c1-old"), people(2)[1], 1_600_000_000.123456)])
    source.remember(ACCOUNT, "erased:0123", "1")
    status, out, err = copy()
    assert (0, "") == (status, err)
    assert content(source) == content(target)
    assert 0 == target.count("Others")
    expected = [
        "FROM  4 customers, 2 former identifiers, 1 journal rows, 1 notes",
        "TO    4 customers, 2 former identifiers, 1 journal rows, 1 of these notes",
        "counts and checksums are the same",
    ]
    assert expected == out.splitlines()


def test_all_notes_are_carried_however_many(copy, source, target):
    """Who was erased is remembered, of more people than are read at once."""
    source.add(ACCOUNT, people(1))
    expected = {f"erased:{number}": "1" for number in range(commands.copying.AT_ONCE + 1)}
    for name, value in expected.items():
        source.remember(ACCOUNT, name, value)
    assert 0 == copy().status
    assert expected == dict(target.notes(ACCOUNT, limit=10_000).notes)


def test_a_copy_may_be_run_again(copy, source, target):
    """What is there counts as copied, and what came since is added."""
    source.add(ACCOUNT, people(3))
    assert 0 == copy().status
    source.add(ACCOUNT, people(1, 3))
    change(source, "c3@shop.test", "new@shop.test")
    assert 0 == copy().status
    assert content(source) == content(target)


def test_the_whole_journal_is_carried_in_order(copy, source, target):
    """More rows than are read at once keep their times and their order; nothing is told of somebody who is gone."""
    source.add(ACCOUNT, people(3))
    for binding, number in zip(people(3), (commands.copying.AT_ONCE, 2, 1), strict=True):
        tell(source, binding, number)
    assert source.remove(ACCOUNT, email("c1@shop.test"))
    status, out, _ = copy()
    assert (0, "FROM  2 customers, 0 former identifiers, 1001 journal rows, 0 notes") == (status, out.splitlines()[0])
    assert commands.copying.AT_ONCE + 1 == len(target.journal(ACCOUNT, since=0, limit=10_000))
    assert content(source) == content(target)


def test_who_changed_before_the_copy_is_rechecked_after_it(copy, source, target, client, simulator):
    """The journal that was carried leads `recheck_changes` to an address that Klaviyo has put back meanwhile (P4)."""
    before, after = (client(store=store) for store in (source, target))
    before.identify(external_id="c0", email="old@shop.test")
    before.change_email("new@shop.test", external_id="c0")
    [profile] = simulator.profiles
    data = {"type": "profile", "id": profile.id, "attributes": {"email": "old@shop.test"}}
    headers = {"Authorization": "Klaviyo-API-Key pk_other", "revision": "2026-10-15"}
    url = f"https://a.klaviyo.com/api/profiles/{profile.id}"
    httpx.Client(transport=simulator.transport).patch(url, headers=headers, json={"data": data}).raise_for_status()
    assert [] == after.recheck_changes(since=0.0)
    assert 0 == copy().status
    assert ["put_back"] == [each.finding for each in after.recheck_changes(since=0.0)]


def test_an_account_that_nobody_knows_is_refused(copy, source):
    """A misspelt account is no success."""
    source.add("Others", people(1))
    status, out, err = copy()
    assert (1, "") == (status, out)
    assert "no customer of this account" in err


TEXTS = st.sampled_from(["a", "b", "Ä'\0", "d"])
OPTIONAL = st.none() | TEXTS
ROWS = st.builds(Binding, OPTIONAL, TEXTS, OPTIONAL, OPTIONAL, st.none() | st.floats(0, 9))
FORMER = st.frozensets(st.builds(Identifier, st.sampled_from(Kind), TEXTS), max_size=3)
HISTORIES = st.lists(st.tuples(ROWS, FORMER, st.booleans(), st.booleans()), max_size=12)


@settings(max_examples=25, deadline=None)
@given(HISTORIES)
def test_any_map_is_copied_as_it_is(history):
    """Whatever was bound, changed, absorbed and retired before, the copy says the same."""
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        first, second = f"{name}/from.db", f"{name}/to.db"
        with SqliteStore(first) as source, SqliteStore(second) as target:
            source.bind(ACCOUNT, Change(Binding("first", "first")))
            for number, (row, retire, is_change, absorbs) in enumerate(history):
                stands = source.page(ACCOUNT).bindings
                key, version = (stands[0].key, stands[0].version) if is_change else ("", 0)
                absorb = (stands[-1].key,) if absorbs else ()
                binding = replace(row, key=key, version=version)
                entry = JournalEntry(str(number), row.email, row.external_id) if is_change or absorbs else None
                change = Change(binding, verified=False, retire=retire, absorb=absorb, journal=entry)
                source.bind(ACCOUNT, change)
            assert 0 == main(["store", "copy", f"sqlite:///{first}", f"sqlite:///{second}", "--account", ACCOUNT])
            assert content(source) == content(target)


# What keeps a copy from being made, or from being one.


@pytest.mark.parametrize("about", ["c0@shop.test", "nobody@shop.test"])
@pytest.mark.parametrize("place", ["FROM", "TO"])
@pytest.mark.parametrize(("ttl", "advice"), [(0.0, "recover()"), (60.0, "stop all programs that use it")])
def test_a_map_that_is_not_idle_is_not_copied(copy, source, target, *, about, place, ttl, advice):
    """A lease in either map, of a customer or of somebody new, expired or not, is told of; nothing is copied."""
    source.add(ACCOUNT, people(1))
    busy = source if place == "FROM" else target
    busy.acquire(ACCOUNT, frozenset({email(about)}), intent="x", ttl=ttl)
    status, out, err = copy()
    assert (1, "", 0) == (status, out, target.count(ACCOUNT))
    assert re.fullmatch(rf"ConfigurationError: [^\n]* {place}\b[^\n]*\n", err)
    assert advice in err


@pytest.mark.parametrize("place", ["FROM", "TO"])
def test_a_map_that_is_used_meanwhile_is_no_copy(source, target, copy, place):
    """A lease that is there when all is compared keeps the copy from being called good."""
    source.add(ACCOUNT, people(1))
    assert 0 == copy().status
    busy = source if place == "FROM" else target
    busy.acquire(ACCOUNT, frozenset({email("nobody@shop.test")}), intent="x", ttl=60.0)
    with pytest.raises(ConfigurationError, match=place):
        compare(source, target)


def test_a_customer_of_whom_the_other_map_says_otherwise_is_refused(copy, source, target):
    """Nobody is overwritten, nothing personal is told, the past stays where it is, and the others are copied."""
    source.add(ACCOUNT, people(3))
    change(source, "c1@shop.test", "new@shop.test")
    target.add(ACCOUNT, [Binding("c1", "other@shop.test")])
    own = target.page(ACCOUNT).bindings
    status, out, err = copy()
    assert 1 == status
    assert 1 == err.count("TO contradicts it")
    assert "the two differ" in err
    assert "@" not in out + err
    assert () == target.find(ACCOUNT, (email("c1@shop.test"),)).matches
    assert own == target.page(ACCOUNT).bindings[:1]
    assert () == target.journal(ACCOUNT, since=0)
    assert 3 == target.count(ACCOUNT)


def test_a_map_that_has_more_is_no_copy(copy, source, target):
    """Customers who are in the one map alone make the comparison fail."""
    source.add(ACCOUNT, people(2))
    target.add(ACCOUNT, people(1, 7))
    status, out, err = copy()
    assert 1 == status
    assert "TO    3 customers" in out
    assert "the two differ" in err


def compare(source, target):
    """Compare two maps, as a copy does at its end."""
    return commands.copying.compare(
        commands.copying.Map(source, ACCOUNT, "FROM"), commands.copying.Map(target, ACCOUNT, "TO")
    )


def tell_anew(store, owner, **changes):
    """Write a row of the journal down otherwise than it was."""
    [row] = store.journal(ACCOUNT, since=0)
    assert 1 == store.forget_journal(ACCOUNT, row.key)
    assert 1 == store.restore_journal(ACCOUNT, [(owner, replace(row, **changes))])


def retire_anew(store, binding, at):
    """Retire the former address otherwise than it was."""
    assert store.release_identifier(ACCOUNT, email("old@shop.test"))
    assert 1 == store.restore(ACCOUNT, [Match(email("old@shop.test"), binding, at)])


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(
            lambda store: store.add(ACCOUNT, [Binding("c0", None, None, "+12025550100")]), id="another phone number"
        ),
        pytest.param(lambda store: store.release_identifier(ACCOUNT, email("old@shop.test")), id="released"),
        pytest.param(lambda store: retire_anew(store, people(2)[1], 1.000001), id="another time"),
        pytest.param(lambda store: retire_anew(store, people(1)[0], 1.0), id="another owner"),
        pytest.param(lambda store: store.remember(ACCOUNT, "name", "other"), id="another note"),
        pytest.param(lambda store: tell(store, people(1)[0], 2), id="another row"),
        pytest.param(lambda store: tell_anew(store, people(1)[0]), id="a row about another"),
        pytest.param(lambda store: tell_anew(store, people(2)[1], at=1000.000001), id="a row of another time"),
        pytest.param(lambda store: tell_anew(store, people(2)[1], profile_id="P"), id="a row of another profile"),
        pytest.param(lambda store: tell_anew(store, people(2)[1], external_id="x"), id="a row of another id"),
        pytest.param(
            lambda store: tell_anew(store, people(2)[1], entry=JournalEntry("x", "a")), id="a row of another address"
        ),
    ],
)
def test_a_difference_is_found(source, target, copy, spoil, capsys):
    """The comparison sees each part of what a copy carries."""
    source.add(ACCOUNT, people(2))
    source.restore(ACCOUNT, [Match(email("old@shop.test"), people(2)[1], 1.0)])
    tell(source, people(2)[1], 1)
    source.remember(ACCOUNT, "name", "value")
    assert 0 == copy().status
    assert 0 == compare(source, target)
    spoil(target)
    assert 1 == compare(source, target)


# Going on.


@contextmanager
def full(folder, table, when):
    """Let the map that is copied to refuse some rows, as a full disk would."""
    for statement in (
        f"CREATE TRIGGER full BEFORE INSERT ON {table} WHEN {when} BEGIN SELECT RAISE(ABORT, 'full'); END",
        "DROP TRIGGER full",
    ):
        with closing(sqlite3.connect(folder / "to.db")) as database:
            database.execute(statement)
        if statement.startswith("CREATE"):
            yield


@pytest.fixture
def whole(source, target):
    """The map that is copied, with more of everything than is read at once."""
    source.add(ACCOUNT, people(commands.copying.AT_ONCE + 2))
    tell(source, people(1)[0], commands.copying.AT_ONCE + 3)
    for number in range(commands.copying.AT_ONCE + 4):
        source.remember(ACCOUNT, f"note {number}", "value")
    target.count(ACCOUNT)  # the file is there
    return source


def forget_journal(store):
    """Forget what is written down about the first customer."""
    assert store.forget_journal(ACCOUNT, store.page(ACCOUNT).bindings[0].key)


THOUSAND = f"(SELECT count(*) FROM {{}}) >= {commands.copying.AT_ONCE}"


@pytest.mark.parametrize(
    ("table", "when", "said", "undo", "left"),
    [
        pytest.param(
            "binding",
            THOUSAND.format("binding"),
            "1000 customers",
            lambda store: store.remove(ACCOUNT, email("c1@shop.test")),
            "1001 customers, 0 former identifiers, 1003 journal rows, 1004 of these notes",
            id="customers",
        ),
        pytest.param(
            "journal",
            "true",
            "0 journal rows",
            lambda store: store.remove(ACCOUNT, email("c1@shop.test")),
            "1001 customers, 0 former identifiers, 1003 journal rows, 1004 of these notes",
            id="before the journal",
        ),
        pytest.param(
            "journal",
            THOUSAND.format("journal"),
            "1000 journal rows",
            forget_journal,
            "1002 customers, 0 former identifiers, 3 journal rows, 1004 of these notes",
            id="journal",
        ),
        pytest.param(
            "note",
            "new.name = 'note 0'",
            "0 notes",
            forget_journal,
            "1002 customers, 0 former identifiers, 0 journal rows, 1004 of these notes",
            id="before the notes",
        ),
        pytest.param(
            "note",
            "new.name = 'note 999'",
            "1000 notes",
            lambda store: store.remember(ACCOUNT, "note 0", None),
            "1002 customers, 0 former identifiers, 1003 journal rows, 1003 of these notes",
            id="notes",
        ),
    ],
)
def test_a_copy_goes_on_where_it_stopped(whole, copy, target, folder, *, table, when, said, undo, left):
    """With ``--resume`` what was done is not done again, which the comparison tells where it is gone meanwhile."""
    with full(folder, table, when):
        status, out, err = copy()
    assert (1, "") == (status, out)
    assert f"stopped after {said}; " in err
    undo(target)
    status, out, _ = copy("--resume")
    assert (1, f"TO    {left}") == (status, out.splitlines()[1])
    assert 0 == copy().status
    assert commands.copying.PROGRESS not in dict(target.notes(ACCOUNT, limit=10_000).notes)


@pytest.fixture
def stopped(copy, source, target, folder):
    """A copy that stopped after its first part; one customer of it is gone."""
    source.add(ACCOUNT, people(commands.copying.AT_ONCE + 2))
    target.count(ACCOUNT)  # the file is there
    with full(folder, "binding", THOUSAND.format("binding")):
        assert 1 == copy().status
    target.remove(ACCOUNT, email("c0@shop.test"))


def test_without_being_told_to_a_copy_begins_anew(stopped, copy, source, target):
    """Running it again is always right."""
    assert 0 == copy().status
    assert content(source) == content(target)


def test_a_copy_that_never_began_goes_on_from_the_start(copy, source, target):
    """``--resume`` does no harm where there is nothing to go on with."""
    source.add(ACCOUNT, people(1))
    assert 0 == copy("--resume").status
    assert content(source) == content(target)


def test_a_copy_from_elsewhere_does_not_go_on(stopped, copy, source, target, folder):
    """A place in one map means nothing in another."""
    with SqliteStore(folder / "other.db") as other:
        other.add(ACCOUNT, people(commands.copying.AT_ONCE + 2))
        assert 0 == copy("--resume", source="other.db").status
        assert content(other)[0] == content(target)[0]


def test_a_place_does_not_depend_on_who_copies():
    """The digest of where a map is leaves out user, password and how to get there, but not the schema."""
    expected = commands.store._subject("postgresql://host/shop")
    assert expected == commands.store._subject("postgresql://ann:hunter2@host/shop?sslmode=require&password=hunter2")
    assert expected != commands.store._subject("postgresql://host/other")
    own = commands.store._subject("postgresql://host/shop?schema=own&sslmode=require")
    assert own == commands.store._subject("postgresql://host/shop?sslmode=disable&schema=own")
    assert expected != own


def test_how_far_a_copy_got_is_no_part_of_a_map(stopped, copy, target, folder, run):
    """An unfinished copy that is copied itself leaves no place behind in the third map."""
    third = f"sqlite:///{folder}/third.db"
    assert 0 == run("store", "copy", f"sqlite:///{folder}/to.db", third, "--account", ACCOUNT).status
    assert commands.copying.PROGRESS in dict(target.notes(ACCOUNT).notes)
    with SqliteStore(folder / "third.db") as store:
        assert () == store.notes(ACCOUNT).notes
