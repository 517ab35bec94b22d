"""Django: the shop's own tests, run by Django on PostgreSQL and on SQLite in a file and in memory."""

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest
from psycopg.conninfo import conninfo_to_dict

from support.django_clients import INSERTING, outbox_calls
from support.postgres_servers import own_database
from support.programs import ROOT, SHOPS


def run_shop(databases, *, environment=None, labels=("django_shop",)):
    """Run the tests of the shop, and return what they print."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "test", "--noinput", *labels],
        cwd=SHOPS,
        env={
            "PYTHONPATH": f"{ROOT}:{SHOPS}",
            "DJANGO_SETTINGS_MODULE": "django_settings",
            "SHOP_DATABASES": json.dumps({"default": {"ATOMIC_REQUESTS": True, **databases}}),
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stderr


def test_the_shop_works_on_postgresql():
    """Rows and orders are in one transaction; the map and the outbox are in the test's database."""
    with own_database() as url:
        given = conninfo_to_dict(url)
        database = {
            "ENGINE": "django.db.backends.postgresql", "NAME": given["dbname"], "HOST": given["host"],
            "PORT": given.get("port", ""), "USER": given.get("user", ""), "TEST": {"TEMPLATE": "template0"},
        }  # fmt: skip
        assert "OK (skipped=1)" in run_shop(database)


@pytest.mark.slow
@pytest.mark.parametrize("is_file", [True, False], ids=["file", "memory"])
def test_the_shop_works_on_sqlite(tmp_path, is_file):
    """The outbox is in Django's file, the map in another one; in memory, all goes over Django's connection."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.db")}
    if is_file:
        database["TEST"] = {"NAME": str(tmp_path / "test.db")}
    environment = {"SAFEKLAVIYO_STORE": f"sqlite:///{tmp_path}/map.db"}
    assert "OK (skipped=1)" in run_shop(database, environment=environment)


def test_every_call_that_takes_a_connection_is_given_djangos():
    """A new way to insert must not write beside Django's transaction."""
    calls = [each for each in vars(outbox_calls).values() if isinstance(each, type) and is_dataclass(each)]
    taking = {each for each in calls if "connection" in {field.name for field in fields(each)}}
    assert set(INSERTING) == taking
