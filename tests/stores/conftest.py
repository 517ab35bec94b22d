"""What the tests of the stores share."""

import tempfile
import uuid
from pathlib import Path

import pytest

from safeklaviyo.testing import KlaviyoSimulator
from safeklaviyo.testing.contract import ManualClock

pytest.register_assert_rewrite("old_maps")

_IN_MEMORY = Path("/dev/shm")
_SERVERS = {f"support.{name}" for name in ("postgres_servers", "redis_servers", "storms", "topologies")}


def pytest_collection_modifyitems(items):
    """Mark the tests of each module that uses a server, so that ``-m "not server"`` leaves them out."""
    with_server = {module for module in {item.module for item in items} if _SERVERS & _names_in(module)}
    for item in items:
        if item.module in with_server:
            item.add_marker(pytest.mark.server)


def _names_in(module):
    """Return the names of what a module has imported, and of the modules that it comes from."""
    return {name for each in vars(module).values() for name in _names_of(each)}


def _names_of(value):
    """Return the name of a module, and the name of the module that something comes from."""
    return {str(getattr(value, name, None)) for name in ("__module__", "__name__")}


@pytest.fixture
def folder():
    """A folder for identity maps: in memory where the system has one, because each write of a map reaches the disk."""
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def account():
    """An account that nobody else uses."""
    return uuid.uuid4().hex[:6]


@pytest.fixture
def simulator(account):
    """A pretend Klaviyo."""
    return KlaviyoSimulator(account=account, queue_lag=0.0, clock="real")
