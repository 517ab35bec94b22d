"""What a store's URL may say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.models import Binding
from safeklaviyo.stores import default_url, open_async_store, open_store
from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore
from safeklaviyo.stores.sqlite import AsyncSqliteStore, SqliteStore

BAD = [
    "",
    "identity.db",
    "/var/identity.db",
    "memory:",
    "memory:/",
    "memory:///",
    "memory://here",
    "memory://?",
    "sqlite:",
    "sqlite://",
    "sqlite:///",
    "sqlite:////",
    "sqlite:identity.db",
    "sqlite:/identity.db",
    "sqlite://identity.db",
    "sqlite://host/identity.db",
    "sqlite:///folder/",
    "sqlite:///:memory:",
    "sqlite:///~/identity.db",
    "sqlite:///a%00b",
    "sqlite:///identity.db?mode=ro",
    "sqlite:///identity.db?",
    "sqlite:///identity.db#here",
    "sqlite:///identity.db#",
    "sqlite+aiosqlite:///identity.db",
    "mysql://root:hunter2@host/db",
    "http://root:hunter2@[bad",
]


@pytest.mark.parametrize("url", BAD)
@pytest.mark.parametrize("opener", [open_store, open_async_store])
def test_a_url_that_names_no_store_is_refused(opener, url):
    """The error says what is accepted, and quotes nothing of the URL."""
    with pytest.raises(ConfigurationError) as caught:
        opener(url)
    assert str(caught.value).endswith("redis+sentinel://host/service or postgresql://host/database")
    assert "hunter2" not in str(caught.value)


def test_each_memory_url_is_a_map_of_its_own():
    """Two stores in memory share nothing."""
    one, other = open_store("memory://"), open_store("memory://")
    assert isinstance(one, MemoryStore)
    one.add("shop", [Binding("ann", None)])
    assert (1, 0) == (one.count("shop"), other.count("shop"))
    assert isinstance(open_async_store("memory://"), AsyncMemoryStore)


def test_an_absolute_url_names_its_file(folder):
    """Four slashes begin an absolute path; what is percent-encoded is read as it was meant."""
    with open_store(f"sqlite:///{folder}/my%20map%3F%23.db") as store:
        assert isinstance(store, SqliteStore)
        store.count("shop")
        assert (folder / "my map?#.db").is_file()


def test_a_relative_url_starts_where_the_store_was_opened(folder, monkeypatch):
    """Changing the directory afterwards does not lead the store elsewhere."""
    monkeypatch.chdir(folder)
    with open_store("sqlite:///sub/identity.db") as store:
        monkeypatch.chdir("/")
        store.count("shop")
    assert (folder / "sub/identity.db").is_file()


async def test_an_async_url_opens_the_async_store(folder):
    """The asynchronous opener takes the same URLs."""
    async with open_async_store(f"sqlite:///{folder}/identity.db") as store:
        assert isinstance(store, AsyncSqliteStore)
        assert 0 == await store.count("shop")


def test_opening_touches_nothing(folder):
    """Neither folder nor file is made before the first use."""
    open_store(f"sqlite:///{folder}/sub/identity.db").close()
    assert [] == list(folder.iterdir())


def test_the_default_is_in_the_users_state_folder(folder, monkeypatch):
    """The default URL leads to a file that the user may write, whatever characters its path has."""
    state = folder / "100% mine?"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    with open_store(default_url()) as store:
        store.count("shop")
    assert (state / "safeklaviyo" / "identity.db").is_file()


def test_importing_the_package_loads_no_driver():
    """No store's driver is imported before the store is wanted."""
    drivers = "{'sqlite3', 'platformdirs', 'redis', 'psycopg'}"
    code = f"import sys, safeklaviyo.stores; print(sorted({drivers} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    # Measuring coverage in the child would itself load a driver.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=plain)
    assert "[]\n" == done.stdout
