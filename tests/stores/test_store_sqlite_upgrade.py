"""A map that version 0.1.1 has left in SQLite."""

import sqlite3
from contextlib import closing

import pytest
from old_maps import OldMap, text

from safeklaviyo.stores.sqlite import SqliteStore


class TestSqlite(OldMap):
    migrated = "there is nothing to do: only PostgreSQL has to be told to make the tables"

    @pytest.fixture
    def url(self, folder):
        """Where the old map is."""
        with closing(sqlite3.connect(folder / "old.db")) as file:
            file.executescript(text("sqlite.sql"))
        return f"sqlite:///{folder}/old.db"

    @pytest.fixture
    def old(self, url, folder):
        """The old map."""
        with SqliteStore(folder / "old.db") as store:
            store.path = folder / "old.db"
            yield store

    @pytest.fixture
    def empty(self, folder):
        """A map that this version makes."""
        with SqliteStore(folder / "new.db") as store:
            store.path = folder / "new.db"
            yield store

    def snapshot(self, store):
        """Return the file as SQL, with the two numbers by which SQLite knows it."""
        with closing(sqlite3.connect(store.path)) as file:
            numbers = [file.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
            return [*map(str, numbers), *file.iterdump()]
