"""Without `connection`, inside an open transaction of the same SQLite file: refused at once, others are waited for."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from threading import Event, Thread

import pytest

from safeklaviyo import ConfigurationError, StoreUnavailableError
from support.outbox import ShopFile, SqliteOutbox, calls

ADA = {"external_id": "c-1", "email": "ada@shop.test"}
LONG = 2.0
"""Seconds that are longer than any refusal takes, and shorter than the 5 s that other writers are waited for."""


ALONE = """
import sqlite3, sys
from safeklaviyo import Klaviyo, SafeKlaviyoError
db = sqlite3.connect(sys.argv[1], check_same_thread=False)
k = Klaviyo("pk_alone", account="SiMuLa", store="memory://", outbox=f"sqlite:///{sys.argv[1]}")
k.outbox.counts()
db.execute("CREATE TABLE customer_order(number INTEGER)")
db.execute("INSERT INTO customer_order VALUES (1)")
try:
    k.outbox.track("E", external_id="c-1", email="ada@shop.test")
except SafeKlaviyoError as error:
    print(type(error).__name__)
k.close()
db.close()
"""


@pytest.fixture(params=["the map's file", "a file of the shop's own"])
def place(request, tmp_path, simulator):
    """A client, and the path of its outbox with a table of the shop's."""
    path = tmp_path / "shop.db"
    store = f"sqlite:///{path}" if request.param == "the map's file" else "memory://"
    with simulator.client(store=store, outbox=f"sqlite:///{path}", account="SiMuLa") as k:
        k.outbox.counts()
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE customer_order(number INTEGER)")
        yield k, path


def check_refused_at_once(k):
    """Queue without a connection, which has to be refused before any other writer would have been given up."""
    start = time.monotonic()
    with pytest.raises(ConfigurationError, match="give its connection"):
        k.outbox.track("E", **ADA)
    assert time.monotonic() - start < LONG


def test_sqlite3(place):
    """A connection of sqlite3 as it comes: the row is refused while its transaction is open, and committed after it."""
    k, path = place
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO customer_order VALUES (1)")
        check_refused_at_once(k)
        k.outbox.track("E", **ADA, connection=db)
        db.commit()
        k.outbox.track("E", **ADA)
        assert 2 == k.outbox.counts().waiting


def test_the_only_thread(tmp_path):
    """A connection that any thread may use is this thread's in a process that has no other thread."""
    done = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path / "shop.db")], capture_output=True, check=False)
    assert b"ConfigurationError" == done.stdout.strip(), done.stderr


@pytest.mark.usefixtures("another_thread")
def test_django(place):
    """Django's connection of this thread, which any thread could use."""
    import django
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        settings.configure()
        django.setup()
    k, path = place
    config = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
    connections.settings["shop"] = connections.configure_settings({"default": config, "shop": config})["shop"]
    try:
        connections["shop"].set_autocommit(False)
        connections["shop"].cursor().execute("INSERT INTO customer_order VALUES (1)")
        check_refused_at_once(k)
        connections["shop"].rollback()
    finally:
        connections["shop"].close()
        del connections["shop"], connections.settings["shop"]


@pytest.fixture
def another_thread():
    """A thread that does nothing, so that this one is not the only one."""
    end = Event()
    thread = Thread(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()


@pytest.mark.parametrize("is_shared", [False, True])
def test_another_thread(place, is_shared):
    """A short transaction of another thread is waited for, also while this one has a transaction in another file."""
    k, path = place
    begun = Event()

    def write():
        with closing(sqlite3.connect(path, check_same_thread=not is_shared)) as db:
            db.execute("INSERT INTO customer_order VALUES (1)")
            begun.set()
            time.sleep(0.3)
            db.commit()

    thread = Thread(target=write)
    with closing(sqlite3.connect(path.with_name("other.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        thread.start()
        begun.wait()
        k.outbox.track("E", **ADA)
    thread.join()
    assert 1 == k.outbox.counts().waiting


@pytest.mark.usefixtures("another_thread")
def test_django_without_settings(place):
    """Django may have been imported by a program that has no settings for it."""
    import django.db

    assert django.db.connections
    test_sqlite3(place)


@pytest.mark.usefixtures("another_thread")
def test_unknown(tmp_path):
    """Where it cannot be told whose transaction it is, the time runs out, and the error says what may help."""
    path = tmp_path / "shop.db"
    outbox = SqliteOutbox(ShopFile(path, 0.2), path)
    with closing(outbox), closing(sqlite3.connect(path, check_same_thread=False)) as db:
        db.execute("CREATE TABLE customer_order(number INTEGER)")
        db.execute("INSERT INTO customer_order VALUES (1)")
        with pytest.raises(StoreUnavailableError, match="give its connection"):
            outbox.perform(calls.Leave("SiMuLa", 1, 1))
