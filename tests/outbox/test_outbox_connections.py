"""A row over the caller's own connection is committed or rolled back with the caller's transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from safeklaviyo import AsyncKlaviyo, ConfigurationError, Klaviyo, StoreIncompatibleError, StoreUnavailableError
from safeklaviyo.testing import KlaviyoSimulator
from support.outbox import AsyncPostgresOutbox, PostgresOutbox, calls, statements_of
from support.postgres_servers import migrated, own_database
from support.redis_servers import free_port

ADA = {"external_id": "c-1", "email": "ada@shop.test"}


def url_of(conninfo):
    """Return a connection string as a URL."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    user = f"{parts['user']}@" if parts.get("user") else ""
    return f"postgresql://{user}{parts['host']}:{parts['port']}/{parts['dbname']}"


@pytest.fixture(scope="module")
def server():
    """The URL of a database with a map and an outbox."""
    with own_database() as conninfo:
        url = migrated(url_of(conninfo))
        with closing(PostgresOutbox(url)) as outbox:
            outbox.migrate()
        yield url


@pytest.fixture
def file(tmp_path):
    """The URL of a file of a shop's own, which is the outbox's, too."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE customer_order(number INTEGER)")
    return f"sqlite:///{path}"


def path_of(url):
    """Return the path of an SQLite URL."""
    return url.removeprefix("sqlite:///")


def alchemy(url):
    """Return a URL as SQLAlchemy names its driver."""
    return url.replace("postgresql://", "postgresql+psycopg://")


@contextmanager
def django_connection(url):
    """Open a connection of Django's."""
    import django
    from django.conf import settings
    from django.db.utils import ConnectionHandler

    if not settings.configured:
        settings.configure()
        django.setup()
    parts = sa.make_url(url)
    config = {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.database}
    if parts.drivername == "postgresql":
        config = {
            "ENGINE": "django.db.backends.postgresql", "NAME": parts.database, "HOST": parts.host or "",
            "PORT": parts.port or "", "USER": parts.username or "",
        }  # fmt: skip
    connection = ConnectionHandler({"default": config})["default"]
    try:
        yield connection
    finally:
        connection.close()


def over_psycopg(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    with psycopg.connect(url) as connection:
        work(connection)
        connection.commit() if commit else connection.rollback()


def over_psycopg_cursor(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection, connection.cursor() as cursor:
        work(cursor)
        connection.commit() if commit else connection.rollback()


def over_sqlite3(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    with closing(sqlite3.connect(path_of(url))) as connection:
        connection.row_factory = sqlite3.Row
        work(connection)
        connection.commit() if commit else connection.rollback()


def over_sqlite3_cursor(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    with closing(sqlite3.connect(path_of(url))) as connection:
        work(connection.cursor())
        connection.commit() if commit else connection.rollback()


def over_sqlalchemy(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    engine = sa.create_engine(alchemy(url))
    with engine.connect() as connection:
        work(connection)
        connection.commit() if commit else connection.rollback()
    engine.dispose()


def over_session(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    engine = sa.create_engine(alchemy(url))
    with Session(engine) as session:
        work(session)
        session.commit() if commit else session.rollback()
    engine.dispose()


def over_scoped_session(url, work, *, commit):
    """Work over what stands for the session of this thread, as Flask-SQLAlchemy's does, and end its transaction."""
    engine = sa.create_engine(alchemy(url))
    sessions = scoped_session(sessionmaker(engine))
    work(sessions)
    sessions.commit() if commit else sessions.rollback()
    sessions.remove()
    engine.dispose()


def over_django(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    with django_connection(url) as connection:
        connection.set_autocommit(False)
        work(connection)
        connection.commit() if commit else connection.rollback()


def over_django_cursor(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    with django_connection(url) as connection:
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            work(cursor)
        connection.commit() if commit else connection.rollback()


ON_BOTH = [over_sqlalchemy, over_session, over_scoped_session, over_django, over_django_cursor]
ON_POSTGRES = [over_psycopg, over_psycopg_cursor, *ON_BOTH]
ON_SQLITE = [over_sqlite3, over_sqlite3_cursor, *ON_BOTH]


def check_blocking(over, url, store, simulator):
    """A rollback leaves nothing, and what is committed is delivered."""
    with simulator.client(store=store, outbox=url, account="SiMuLa") as k:
        for commit in (False, True):
            over(url, lambda connection: k.outbox.track("E", **ADA, connection=connection), commit=commit)
            assert int(commit) == k.outbox.counts().waiting
        assert 1 == k.outbox.drain().delivered
        simulator.drain()
        assert 1 == len(simulator.events)


@pytest.mark.parametrize("over", ON_SQLITE)
def test_sqlite(over, file, simulator):
    """Over each kind of connection to SQLite a row belongs to the caller's transaction."""
    check_blocking(over, file, "memory://", simulator)


@pytest.mark.parametrize("over", ON_POSTGRES)
def test_postgres(over, server, simulator):
    """Over each kind of connection to PostgreSQL a row belongs to the caller's transaction."""
    check_blocking(over, server, server, simulator)


class Proxy:
    """Stands for a connection of any package, as those of frameworks do that give each request its own."""

    def __init__(self, of):
        self._of = of

    @property
    def __class__(self):
        return type(self._of)

    def __getattr__(self, name):
        return getattr(self._of, name)


def test_proxies(server, file, simulator):
    """A proxy is recognised by what it stands for, and one of the same class may stand for another package's."""
    for over, url, store in ((over_sqlite3, file, "memory://"), (over_psycopg, server, server)):
        with simulator.client(store=store, outbox=url, account="SiMuLa") as k:
            before = k.outbox.counts().waiting
            over(url, lambda connection, k=k: k.outbox.track("E", **ADA, connection=Proxy(connection)), commit=True)
            assert 1 == k.outbox.counts().waiting - before
            k.outbox.drain()


async def over_psycopg_async(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await work(connection)
        await (connection.commit() if commit else connection.rollback())


async def over_psycopg_async_cursor(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    async with await psycopg.AsyncConnection.connect(url) as connection, connection.cursor() as cursor:
        await work(cursor)
        await (connection.commit() if commit else connection.rollback())


async def over_sqlalchemy_async(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    engine = create_async_engine(alchemy(url).replace("sqlite://", "sqlite+aiosqlite://"))
    async with engine.connect() as connection:
        await work(connection)
        await (connection.commit() if commit else connection.rollback())
    await engine.dispose()


async def over_async_session(url, work, *, commit):
    """Work over such a connection, and end its transaction."""
    engine = create_async_engine(alchemy(url).replace("sqlite://", "sqlite+aiosqlite://"))
    async with AsyncSession(engine) as session:
        await work(session)
        await (session.commit() if commit else session.rollback())
    await engine.dispose()


async def check_async(over, url, store, simulator):
    """Same as `check_blocking`, awaited."""
    import httpx

    async with (
        httpx.AsyncClient(transport=simulator.transport) as http,
        AsyncKlaviyo("pk_x", store=store, outbox=url, account="SiMuLa", http_client=http) as k,
    ):
        for commit in (False, True):
            await over(url, lambda connection: k.outbox.track("E", **ADA, connection=connection), commit=commit)
            assert int(commit) == (await k.outbox.counts()).waiting
        assert 1 == (await k.outbox.drain()).delivered
        simulator.drain()
        assert 1 == len(simulator.events)


@pytest.mark.parametrize("over", [over_sqlalchemy_async, over_async_session])
def test_sqlite_async(over, file, simulator):
    """Over each kind of asynchronous connection to SQLite a row belongs to the caller's transaction."""
    asyncio.run(check_async(over, file, "memory://", simulator))


@pytest.mark.parametrize(
    "over", [over_psycopg_async, over_psycopg_async_cursor, over_sqlalchemy_async, over_async_session]
)
def test_postgres_async(over, server, simulator):
    """Over each kind of asynchronous connection to PostgreSQL a row belongs to the caller's transaction."""
    asyncio.run(check_async(over, server, server, simulator))


EVE = {"external_id": "c-7", "email": "eve@shop.test"}


@pytest.mark.parametrize("named", [{"external_id": "c-7"}, {"email": "eve@shop.test"}])
def test_names_postgres(named, server, simulator):
    """However a known customer is named, the row has the names of the id, the address and the profile.

    Some of them are hashed here, the others by the server.
    """
    with simulator.client(store=server, outbox=server, account="SiMuLa") as k, psycopg.connect(server) as connection:
        k.bindings.add([{**EVE, "profile_id": "01JEVE"}])
        queued = [k.outbox.track("E", **given, connection=connection).id for given in (EVE, named)]
        sql = "SELECT array_agg(name ORDER BY name) FROM safeklaviyo.outbox_name WHERE id = ANY(%s) GROUP BY id"
        both, same = connection.execute(sql, [queued]).fetchall()
        assert 3 == len(both[0])
        assert both == same
        names = connection.execute("SELECT names FROM safeklaviyo.outbox WHERE id = ANY(%s)", [queued]).fetchall()
        assert [sorted(each) for (each,) in names] == [both[0], both[0]]
        connection.rollback()


def test_quotes_postgres(server, simulator):
    """An id with quotes and backslashes is looked up in the map as it is."""
    quoted = {"external_id": 'c "8"\\', "email": "quoted@shop.test"}
    with simulator.client(store=server, outbox=server, account="SiMuLa") as k, psycopg.connect(server) as connection:
        k.bindings.add([{**quoted, "profile_id": "01JQUOTED"}])
        row = k.outbox.track("E", **quoted, connection=connection).id
        sql = "SELECT profile, jsonb_array_length(names) FROM safeklaviyo.outbox WHERE id = %s"
        assert [("01JQUOTED", 3)] == connection.execute(sql, [row]).fetchall()
        connection.rollback()


def test_rows_behind_others_postgres(server):
    """The server finds the sign-up behind an order by an id alone (R9), and when the next row may be tried."""
    simulator = KlaviyoSimulator(account="BeHiNd", clock="real")
    with simulator.client(store=server, outbox=server, account="BeHiNd") as k:
        k.outbox.track("E", external_id="c-1")
        k.outbox.identify(external_id="c-1", email="one@shop.test")
        held = [k.outbox.track("E", external_id="c-2").id for _ in range(2)]
        begun = datetime.now(UTC)
        report = k.outbox.drain()
        assert 2 == k.outbox.drop(*held)
    assert (2, 2, 0) == (report.delivered, report.waiting, report.dead)
    assert report.next_due is not None
    assert report.next_due > begun


def test_the_caller_has_written_sqlite(file, simulator):
    """The first row of a process can be queued in a transaction that has written already."""
    with simulator.client(outbox=file, account="SiMuLa") as k:
        k.outbox.counts()
    with simulator.client(outbox=file, account="SiMuLa") as k, closing(sqlite3.connect(path_of(file))) as connection:
        connection.execute("INSERT INTO customer_order VALUES (1)")
        k.outbox.track("E", **ADA, connection=connection)
        connection.commit()
        assert 1 == k.outbox.counts().waiting


def test_other_database_sqlite(file, tmp_path, simulator):
    """A connection to another database is refused before anything is written, with a table of rows or without one."""
    other = f"sqlite:///{tmp_path}/other.db"
    with simulator.client(outbox=other) as k:
        k.outbox.counts()
    with simulator.client(outbox=file) as k:
        k.outbox.counts()
        for path in (path_of(other), tmp_path / "empty.db"):
            with closing(sqlite3.connect(path)) as connection:
                with pytest.raises(ConfigurationError, match="another database"):
                    k.outbox.track("E", **ADA, connection=connection)
                connection.commit()
        with pytest.raises(ConfigurationError, match="has to be a connection"):
            k.outbox.track("E", **ADA, connection=object())
        assert 0 == k.outbox.counts().waiting


def test_other_database_postgres(server, file, simulator):
    """A connection to another database of PostgreSQL is refused, and the caller's transaction goes on."""
    with own_database() as other, simulator.client(store=server, account="SiMuLa") as k:
        with psycopg.connect(other) as connection:
            connection.execute("CREATE TABLE customer_order(number integer)")
            for _ in range(2):
                with pytest.raises(ConfigurationError, match="another database"):
                    k.outbox.track("E", **ADA, connection=connection)
            connection.execute("INSERT INTO customer_order VALUES (1)")
        with psycopg.connect(other) as connection:
            assert [(1,)] == connection.execute("SELECT * FROM customer_order").fetchall()
        with closing(PostgresOutbox(other)) as outbox:
            outbox.migrate()
        with psycopg.connect(other) as connection, pytest.raises(ConfigurationError, match="another database"):
            k.outbox.track("E", **ADA, connection=connection)
        with closing(sqlite3.connect(path_of(file))) as connection, pytest.raises(ConfigurationError):
            k.outbox.track("E", **ADA, connection=connection)
        assert 0 == k.outbox.counts().waiting


def check_failed(k, connection, code):
    """Queue over a connection that fails: the error shows the driver's class and code, and none of its words."""
    said = "the caller's connection failed while a row was inserted into the outbox; roll its transaction back"
    with pytest.raises(StoreUnavailableError) as raised:
        k.outbox.track("E", **ADA, connection=connection)
    assert f"{said} ({code})" == str(raised.value)
    assert raised.value.__cause__ is None


def test_failed_postgres(server, simulator):
    """Each failure of a connection to PostgreSQL has its SQLSTATE; SQLAlchemy and Django show their driver's."""
    missing, read_only = "SELECT * FROM nowhere", "SET TRANSACTION READ ONLY"
    engine = sa.create_engine(alchemy(server))
    with simulator.client(store=server, outbox=server, account="SiMuLa") as k:
        with psycopg.connect(server) as connection:
            with pytest.raises(psycopg.Error):
                connection.execute(missing)
            check_failed(k, connection, "InFailedSqlTransaction, SQLSTATE 25P02")
            connection.rollback()
            connection.execute(read_only)
            check_failed(k, connection, "ReadOnlySqlTransaction, SQLSTATE 25006")
        check_failed(k, connection, "OperationalError")
        with engine.connect() as connection:
            connection.exec_driver_sql(read_only)
            check_failed(k, connection, "ReadOnlySqlTransaction, SQLSTATE 25006")
        check_failed(k, connection, "ResourceClosedError")
        with django_connection(server) as connection:
            connection.set_autocommit(False)
            with connection.cursor() as cursor:
                cursor.execute(read_only)
            check_failed(k, connection, "ReadOnlySqlTransaction, SQLSTATE 25006")
    engine.dispose()


def test_failed_sqlite(file, simulator):
    """Each failure of a connection to SQLite has SQLite's name for it, where the failure is SQLite's."""
    engine = sa.create_engine(file, connect_args={"timeout": 0})
    with simulator.client(outbox=file, account="SiMuLa") as k:
        k.outbox.counts()
        with closing(sqlite3.connect(path_of(file))) as connection:
            connection.execute("PRAGMA query_only=1")
            check_failed(k, connection, "OperationalError, SQLITE_READONLY")
        check_failed(k, connection, "ProgrammingError")
        with closing(sqlite3.connect(path_of(file))) as other, engine.connect() as connection:
            other.execute("BEGIN IMMEDIATE")
            check_failed(k, connection, "OperationalError, SQLITE_BUSY")
    engine.dispose()


def test_plans_postgres(server, simulator):
    """Rows are found by their numbers, also before PostgreSQL has statistics of them: a join takes a second a run."""
    with (
        simulator.client(store=server, outbox=server, account="SiMuLa") as k,
        closing(PostgresOutbox(server)) as outbox,
        psycopg.connect(server) as connection,
    ):
        ids = [k.outbox.track("E", **EVE, connection=connection).id for _ in range(500)]
        mark = calls.Mark("SiMuLa", 1, 1, ids)
        delete = calls.Delete("SiMuLa", 1, 1, ids)
        for sql, parameters in (statements_of(outbox, mark)[-1], statements_of(outbox, delete)[-1]):
            plan = "\n".join(row for (row,) in connection.execute(f"EXPLAIN {sql}", parameters))
            assert "Index" in plan
            assert "Semi Join" not in plan
        connection.rollback()


def test_other_accounts_postgres(server, simulator):
    """They are found at the ends of an index, however many rows wait, also where all of them are of one account."""
    with (
        simulator.client(store=server, outbox=server, account="SiMuLa") as k,
        closing(PostgresOutbox(server)) as outbox,
        psycopg.connect(server) as connection,
    ):
        for _ in range(500):
            k.outbox.track("E", **EVE, connection=connection)
        for analysed in (False, True):
            if analysed:
                connection.execute("ANALYZE")
            for sql, parameters in statements_of(outbox, calls.OtherAccounts("SiMuLa")):
                plan = "\n".join(row for (row,) in connection.execute(f"EXPLAIN {sql}", parameters))
                assert ["Index" in plan, "Sort" in plan] == [True, False]
        connection.rollback()
    with simulator.client(store=server, outbox=server, account="OtherA") as k:
        number = k.outbox.track("E", external_id="c-1", email="ada@shop.test").id
        with closing(PostgresOutbox(server)) as outbox:
            found = [outbox.perform(calls.OtherAccounts(each)) for each in ("SiMuLa", "OtherA")]
        assert 1 == k.outbox.drain().delivered, number
    assert [("OtherA",), ()] == found


def test_missing_tables(simulator):
    """Without its tables the outbox names the command that makes them."""
    with (
        own_database() as conninfo,
        Klaviyo("pk_x", store="memory://", outbox=url_of(conninfo), account="SiMuLa") as k,
        pytest.raises(
            StoreIncompatibleError, match=r"the outbox's tables .* `safeklaviyo store migrate`, with --outbox"
        ),
    ):
        k.outbox.counts()


async def test_errors_speak_of_the_outbox():
    """The outbox uses the map's drivers, and who reads of the map would look into the wrong database."""
    away = f"postgresql://127.0.0.1:{free_port()}/db"
    unreachable = "the outbox's database could not be reached"
    with closing(PostgresOutbox(away)) as outbox:
        for work in (outbox.migrate, lambda: outbox.perform(calls.CountDead("SiMuLa"))):
            with pytest.raises(StoreUnavailableError, match=unreachable):
                work()
    awaited = AsyncPostgresOutbox(away)
    for work in (awaited.migrate, lambda: awaited.perform(calls.CountDead("SiMuLa"))):
        with pytest.raises(StoreUnavailableError, match=unreachable):
            await work()
    await awaited.aclose()
    with pytest.raises(StoreUnavailableError, match="the outbox has been closed"):
        await awaited.perform(calls.CountDead("SiMuLa"))
