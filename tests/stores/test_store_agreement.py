"""The store in memory and the one in SQLite give the same answers to the same operations, whatever these are."""

import tempfile
from dataclasses import astuple, fields, is_dataclass, replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry, JournalRow, Match
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.sqlite import SqliteStore
from safeklaviyo.testing.contract import ManualClock
from support.examples import examples

ACCOUNTS = st.sampled_from(["one", "two"])
VALUES = st.sampled_from(["a", "b", "c", "d\0'"])
OPTIONAL = st.none() | VALUES
IDENTIFIERS = st.builds(Identifier, st.sampled_from(Kind), VALUES)
SETS = st.frozensets(IDENTIFIERS, min_size=1, max_size=4)
ROWS = st.builds(Binding, OPTIONAL, OPTIONAL, OPTIONAL, OPTIONAL, st.none() | st.floats(0, 9))
PICK = st.integers(0, 20)
TIMES = st.sampled_from([1.0, 1000.25])
ENTRY = st.builds(JournalEntry, VALUES, OPTIONAL, OPTIONAL)
ENTRIES = st.none() | ENTRY
TOLD = st.builds(JournalRow, st.just(7), st.sampled_from([1.0, 1000.25, 5000.0]), VALUES, OPTIONAL, OPTIONAL, ENTRY)
TTLS = st.sampled_from([0.0, 1.0, 2.5, 600.0])

_FOLDER = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


def by_content(bindings):
    """Return bindings in an order that does not depend on their keys."""
    return tuple(sorted(bindings, key=lambda each: repr(astuple(each)[:-1])))


class Names:
    """A store's own keys, tokens and numbers, in the order in which they were first seen."""

    def __init__(self):
        self.seen = {}

    def plain(self, value):
        """Replace whatever only the store could have made up."""
        if is_dataclass(value) or isinstance(value, Match):
            own = {"key", "token", "number", "next"}
            names = value._fields if isinstance(value, Match) else [each.name for each in fields(value)]
            parts = {name: getattr(value, name) for name in names}
            return type(value).__name__, [
                (name, self.number(name, part) if name in own and part else self.plain(part))
                for name, part in parts.items()
            ]
        return [self.plain(each) for each in value] if isinstance(value, tuple) and type(value) is tuple else value

    def number(self, name, value):
        """Return the how-manieth of its sort the value is."""
        sort = "key" if name == "next" else name
        return sort, self.seen.setdefault((sort, value), len(self.seen))


class Agreement(RuleBasedStateMachine):
    """Both stores side by side, on one clock."""

    def __init__(self):
        super().__init__()
        self.clock = ManualClock(1000.0)
        self.folder = tempfile.TemporaryDirectory(dir=_FOLDER)
        path = Path(self.folder.name) / "identity.db"
        self.stores = (MemoryStore(clock=self.clock), SqliteStore(path, clock=self.clock))
        self.names = (Names(), Names())
        self.bindings = [(Binding(None, None, key="none", version=1),) * 2]
        self.tokens = [(4_711, 4_711)]

    def teardown(self):
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def both(self, *calls):
        answers = [call(store) for call, store in zip(calls * (2 // len(calls)), self.stores, strict=True)]
        first, second = (names.plain(answer) for names, answer in zip(self.names, answers, strict=True))
        assert first == second
        return answers

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def advance(self, seconds):
        self.clock.advance(seconds)

    @rule(account=ACCOUNTS, identifiers=st.lists(IDENTIFIERS, max_size=5, unique=True))
    def find(self, account, identifiers):
        self.both(lambda store: store.find(account, identifiers))

    @rule(account=ACCOUNTS, identifiers=SETS, intent=VALUES, ttl=TTLS)
    def acquire(self, account, identifiers, intent, ttl):
        leases = self.both(lambda store: store.acquire(account, identifiers, intent=intent, ttl=ttl))
        if leases[0] is not None:
            self.tokens.append(tuple(lease.token for lease in leases))

    @rule(account=ACCOUNTS, pick=PICK, ttl=TTLS, intent=OPTIONAL)
    def renew(self, account, pick, ttl, intent):
        self.both(*self.each_token(pick, lambda store, token: store.renew(account, token, ttl=ttl, intent=intent)))

    @rule(account=ACCOUNTS, pick=PICK)
    def release(self, account, pick):
        self.both(*self.each_token(pick, lambda store, token: store.release(account, token)))

    def each_token(self, pick, call):
        tokens = self.tokens[-1 - pick % len(self.tokens)]
        return [lambda store, token=token: call(store, token) for token in tokens]

    @rule(
        account=ACCOUNTS,
        row=ROWS,
        base=st.none() | PICK,
        under=st.none() | PICK,
        absorb=st.lists(PICK, max_size=2),
        rest=st.tuples(st.booleans(), st.frozensets(IDENTIFIERS, max_size=3), ENTRIES),
    )
    def bind(self, account, *, row, base, under, absorb, rest):
        verified, retire, entry = rest

        def changes():
            for index in range(2):
                stands = None if base is None else self.bindings[-1 - base % len(self.bindings)][index]
                token = None if under is None else self.tokens[-1 - under % len(self.tokens)][index]
                keys = tuple(self.bindings[-1 - pick % len(self.bindings)][index].key for pick in absorb)
                binding = row if stands is None else replace(row, key=stands.key, version=stands.version)
                yield Change(binding, verified, token, retire, keys, entry)

        outcomes = self.both(*[lambda store, change=change: store.bind(account, change) for change in changes()])
        if outcomes[0].binding is not None:
            self.bindings.append(tuple(outcome.binding for outcome in outcomes))

    @rule(account=ACCOUNTS, rows=st.lists(ROWS, max_size=3))
    def add(self, account, rows):
        self.both(lambda store: store.add(account, rows))

    @rule(account=ACCOUNTS, identifier=IDENTIFIERS)
    def remove(self, account, identifier):
        self.both(lambda store: store.remove(account, identifier))

    @rule(account=ACCOUNTS, identifier=IDENTIFIERS)
    def release_identifier(self, account, identifier):
        self.both(lambda store: store.release_identifier(account, identifier))

    @rule(account=ACCOUNTS, former=st.lists(st.builds(Match, IDENTIFIERS, ROWS, TIMES), max_size=3))
    def restore(self, account, former):
        self.both(lambda store: store.restore(account, former))

    @rule(account=ACCOUNTS, other=ACCOUNTS)
    def former(self, account, other):
        def told(store):
            return tuple(sorted(store.former(account, store.page(other).bindings), key=lambda each: each.identifier))

        self.both(told)

    @rule(account=ACCOUNTS, picks=st.lists(PICK, max_size=3))
    def keyed(self, account, picks):
        def call(index):
            keys = [self.bindings[-1 - pick % len(self.bindings)][index].key for pick in picks]
            return lambda store: by_content(store.bindings(account, keys))

        self.both(call(0), call(1))

    @rule(account=ACCOUNTS, rows=st.lists(st.tuples(ROWS, TOLD), max_size=3))
    def restore_journal(self, account, rows):
        self.both(lambda store: store.restore_journal(account, rows))

    @rule(account=ACCOUNTS, pick=PICK, told=st.lists(TOLD, min_size=1, max_size=3))
    def restore_the_journal_of_one(self, account, pick, told):
        stands = self.bindings[-1 - pick % len(self.bindings)][0]
        self.both(lambda store: store.restore_journal(account, [(stands, row) for row in told]))

    @rule(account=ACCOUNTS, pick=PICK)
    def forget_journal(self, account, pick):
        keys = self.bindings[-1 - pick % len(self.bindings)]
        self.both(*[lambda store, each=each: store.forget_journal(account, each.key) for each in keys])

    @rule(account=ACCOUNTS, limit=st.integers(1, 3))
    def expired(self, account, limit):
        self.both(lambda store: store.expired(account, limit))
        self.both(lambda store: store.leases(account, limit))

    @rule(account=ACCOUNTS, since=st.floats(0, 20) | st.floats(995, 1020), limit=st.integers(1, 3))
    def journal(self, account, since, limit):
        def walk(store):
            rows = store.journal(account, since=since, limit=limit)
            return rows, *((store.journal(account, since=since, after=rows[0].number, limit=limit),) if rows else ())

        self.both(walk)

    @rule(account=ACCOUNTS, name=VALUES, value=OPTIONAL)
    def remember(self, account, name, value):
        self.both(lambda store: store.remember(account, name, value))
        self.both(lambda store: store.recall(account, name))
        self.both(lambda store: tuple(sorted(store.notes(account).notes)))

    @rule(account=ACCOUNTS, limit=st.integers(1, 3))
    def pages(self, account, limit):
        def walk(store):
            parts = [store.page(account, limit=limit)]
            while parts[-1].next is not None:
                parts.append(store.page(account, after=parts[-1].next, limit=limit))
            # Which of two rows of one `add` gets the lower key is the store's own affair.
            assert [each.key for part in parts for each in part.bindings] == sorted(
                {each.key for part in parts for each in part.bindings}, key=int
            )
            return len(parts), by_content(each for part in parts for each in part.bindings)

        self.both(walk)

    @invariant()
    def nobody_is_doubled(self):
        """Rules 1 and 2: each identifier is on one binding at most, and current wherever a binding has it."""
        for store in self.stores:
            for account in ("one", "two"):
                bindings = store.page(account).bindings
                assert store.count(account) == len(bindings)
                for kind in (Kind.EXTERNAL_ID, Kind.EMAIL, Kind.PROFILE_ID):
                    values = [value for each in bindings if (value := getattr(each, kind)) is not None]
                    assert sorted(set(values)) == sorted(values)
                    current = [store.find(account, (Identifier(kind, value),)).current(kind) for value in values]
                    assert [each for each in bindings if getattr(each, kind) is not None] == current


Agreement.TestCase.settings = settings(
    max_examples=examples(40),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class TestAgreement(Agreement.TestCase):
    """Memory and SQLite agree."""
