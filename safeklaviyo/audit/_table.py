"""The temporary SQLite file of an audit: the profiles and the map's customers.

Memory stays flat, because at most two profiles are read together. The file holds identifiers, so only its owner may
read it, and it is removed when the audit is closed. Decided here: which row is kept of a profile that was read twice.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Final, NamedTuple

from safeklaviyo.audit._finding import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from safeklaviyo.audit._finding import ShownConsent

VERSION: Final = 2
"""The version of the tables. A file of another version is begun again."""


class Row(NamedTuple):
    """One profile.

    Attributes:
        line: The line of the export; None if Klaviyo was asked.
        mail: The address in its comparable form; None without an address, or for a placeholder.
        variant: The address without dots, and without the part behind a plus; None if that is the same as `mail`.
        number: The phone number in its comparable form; None without a number, or for a placeholder.
        key: The external id; None without one, or for a placeholder.
        spoilt: The kinds of identifiers that are placeholders, with blanks between.
        others: Other channels that the profile is subscribed to, with blanks between.
        bound: The map has learnt this profile, so it is the one that stays.
    """

    line: int | None
    profile_id: str | None
    external_id: str | None
    email: str | None
    phone_number: str | None
    first_name: str | None
    last_name: str | None
    consent: ShownConsent
    sms: ShownConsent
    created: str | None
    last_event: str | None
    mail: str | None
    variant: str | None
    number: str | None
    key: str | None
    spoilt: str = ""
    others: str = ""
    bound: bool = False

    @property
    def shown(self) -> Shown:
        """The profile as a finding has it."""
        name = " ".join(filter(None, (self.first_name, self.last_name)))
        return Shown(
            self.profile_id, self.line, self.external_id, self.email, self.phone_number, name or None,
            self.consent, self.sms, self.created, self.last_event,
        )  # fmt: skip

    @property
    def content(self) -> tuple[str, ...]:
        """The key by which rows are ordered. It does not depend on the order in which they were read."""
        return tuple("" if each is None else str(each) for each in (self.profile_id, *self[2:]))


class Customer(NamedTuple):
    """What the map says about one customer, with identifiers in their comparable form."""

    number: int
    external_id: str | None
    mail: str | None
    profile_id: str | None


_COLUMNS: Final = ", ".join(Row._fields)
_TABLES: Final = f"""
CREATE TABLE profile (n INTEGER PRIMARY KEY, {_COLUMNS});
CREATE TABLE customer (n INTEGER PRIMARY KEY, external_id, mail, profile_id);
CREATE TABLE former (mail, customer INTEGER, retired_at);
CREATE TABLE note (name PRIMARY KEY, value);
CREATE TABLE finding (n INTEGER PRIMARY KEY, rule, name, source, stays, why_not, body);
CREATE INDEX finding_by_name ON finding (rule, name);
CREATE INDEX finding_by_source ON finding (source);
CREATE TABLE baseline (name PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE merge (source PRIMARY KEY, stays, name) WITHOUT ROWID;
CREATE INDEX merge_by_name ON merge (name);
"""
# Built after all rows are read: an index that grows with each row would cost three times as much.
_INDEXES: Final = """
CREATE INDEX IF NOT EXISTS by_key ON profile (key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_mail ON profile (mail) WHERE mail IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_number ON profile (number) WHERE number IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_variant ON profile (variant) WHERE variant IS NOT NULL;
CREATE INDEX IF NOT EXISTS customer_by_key ON customer (external_id);
CREATE INDEX IF NOT EXISTS customer_by_mail ON customer (mail);
CREATE INDEX IF NOT EXISTS customer_by_profile ON customer (profile_id);
CREATE INDEX IF NOT EXISTS former_by_customer ON former (customer);
CREATE INDEX IF NOT EXISTS former_by_mail ON former (mail);
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much was read."""

    profiles: int
    customers: int
    unreadable: int


class Table:
    """The tables of one audit.

    Args:
        path: A file that outlives this process, so that an interrupted audit can go on; else a temporary file.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            handle, name = mkstemp(prefix="safeklaviyo-audit-", suffix=".sqlite3")
            os.close(handle)
            path = Path(name)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        self.path = path
        self._connection = _connect(path)
        self._end = weakref.finalize(self, _discard, self._connection, path)
        self._has_customers: bool | None = None
        self._prepare()

    def _prepare(self) -> None:
        """Create the tables, unless the file has them."""
        if self._connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            self._begin_again()

    def _begin_again(self) -> None:
        names = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            self._connection.execute(f"DROP TABLE {name}")
        self._connection.executescript(f"{_TABLES} PRAGMA user_version = {VERSION};")

    def begin_again(self) -> None:
        """Forget all profiles and customers."""
        self._begin_again()
        self._connection.commit()

    def add_profiles(self, rows: Iterable[Row]) -> None:
        """Keep profiles. They last once `commit` was called."""
        marks = ", ".join("?" * len(Row._fields))
        self._connection.executemany(f"INSERT INTO profile ({_COLUMNS}) VALUES ({marks})", rows)  # noqa: S608 - our names

    def add_customers(self, rows: Iterable[tuple[Customer, Sequence[tuple[str, float | None]]]]) -> None:
        """Keep customers of the map, each with the former addresses and when each address was retired."""
        kept = list(rows)
        self._connection.executemany("INSERT INTO customer VALUES (?, ?, ?, ?)", (customer for customer, _ in kept))
        self._connection.executemany(
            "INSERT INTO former VALUES (?, ?, ?)",
            ((mail, customer.number, at) for customer, former in kept for mail, at in former),
        )

    def forget_customers(self) -> None:
        """Forget all customers, after the map was not read to its end."""
        self._connection.executescript("DELETE FROM customer; DELETE FROM former;")

    def note(self, name: str, value: str | None) -> None:
        """Keep a note."""
        self._connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))

    def noted(self, name: str) -> str | None:
        """Return a note."""
        found = self._connection.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def commit(self) -> None:
        """Write what was kept to the file, so that it outlives the process."""
        self._connection.commit()

    def finish_reading(self) -> None:
        """Build the indexes, and keep one row of each profile that was read twice."""
        # IF NOT EXISTS: a run that was killed here has done a part of this.
        index = "CREATE INDEX IF NOT EXISTS by_id ON profile (profile_id) WHERE profile_id IS NOT NULL"
        self._connection.execute(index)
        twice = "SELECT profile_id FROM profile WHERE profile_id IS NOT NULL GROUP BY profile_id HAVING count(*) > 1"
        for (profile_id,) in self._connection.execute(twice).fetchall():
            self._keep_one(profile_id)
        self._connection.executescript(_INDEXES)
        self.commit()

    def _keep_one(self, profile_id: str) -> None:
        """Keep the row with the latest event, so that the order of reading does not matter."""
        found = self._connection.execute(f"SELECT n, {_COLUMNS} FROM profile WHERE profile_id = ?", (profile_id,))  # noqa: S608 - our names
        rows = [(number, Row(*rest)) for number, *rest in found]
        best = max(rows, key=lambda each: (each[1].last_event or "", each[1].content, -(each[1].line or 0)))
        self._connection.execute("DELETE FROM profile WHERE profile_id = ? AND n <> ?", (profile_id, best[0]))

    @property
    def has_customers(self) -> bool:
        """Whether there are customers of a map to compare with."""
        if self._has_customers is None:
            self._has_customers = next(self.ask("SELECT 1 FROM customer LIMIT 1"), None) is not None
        return self._has_customers

    def counts(self) -> Counts:
        """Return how much was read."""
        (profiles,) = self._connection.execute("SELECT count(*) FROM profile").fetchone()
        (customers,) = self._connection.execute("SELECT count(*) FROM customer").fetchone()
        return Counts(profiles, customers, int(self.noted("unreadable") or 0))

    def select(self, where: str, *given: object) -> Iterator[Row]:
        """Yield the profiles that meet a condition.

        Args:
            where: An SQL condition, which is a constant of this package.
            given: Its parameters.
        """
        for found in self._connection.execute(f"SELECT {_COLUMNS} FROM profile WHERE {where}", given):  # noqa: S608 - our conditions
            yield Row(*found)

    def ask(self, query: str, *given: object) -> Iterator[tuple[object, ...]]:
        """Yield the rows of a query, which is a constant of this package."""
        yield from self._connection.execute(query, given)

    def customers(self, where: str, *given: object) -> Iterator[Customer]:
        """Yield the customers for whom a condition of this package's own holds."""
        query = f"SELECT n, external_id, mail, profile_id FROM customer WHERE {where}"  # noqa: S608 - our conditions
        for found in self._connection.execute(query, given):
            yield Customer(*found)

    def run(self, script: str) -> None:
        """Carry out statements of this package's own."""
        self._connection.executescript(script)

    def write(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Carry out a statement of this package's own for each of some rows."""
        self._connection.executemany(statement, rows)

    def leave(self) -> None:
        """Close the file without removing it, so that the next audit goes on with it."""
        self._end.detach()
        self._connection.close()

    def close(self) -> None:
        """Remove the file. May be called twice."""
        self._end()


def _connect(path: Path) -> sqlite3.Connection:
    # An audit may be used by several threads, one at a time.
    connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        # SQLite does not wait for the disk: after a power cut the audit has to begin again, after a kill it goes on.
        connection.executescript(
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -32000; PRAGMA temp_store = FILE; "
            "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; COMMIT;"
        )
    except BaseException:
        # Another audit holds the file, or it is no database.
        connection.close()
        raise
    return connection


def _discard(connection: sqlite3.Connection, path: Path) -> None:
    connection.close()
    path.unlink(missing_ok=True)
