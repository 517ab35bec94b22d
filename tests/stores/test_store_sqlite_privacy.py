"""Who may read the file of an identity map: its owner, and a group that was let in on purpose."""

from __future__ import annotations

import logging
import os
from stat import S_IMODE

import pytest

from safeklaviyo import Binding, ConfigurationError
from safeklaviyo.stores.sqlite import SqliteStore

ANN = Binding("ann-1", "ann@shop.dev")


def mode(path):
    """Return what users may do with a file."""
    return S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path):
    """The path of a map that somebody is in."""
    path = tmp_path / "identity.db"
    with SqliteStore(path) as store:
        store.add("shop", [ANN])
    return path


@pytest.mark.parametrize(("before", "after"), [(0o666, 0o660), (0o604, 0o600), (0o777, 0o770)])
def test_a_file_that_all_users_may_read_is_closed_to_them(path, caplog, before, after):
    """What all users may do is taken away, with a warning that names no path."""
    path.chmod(before)
    with SqliteStore(path) as store:
        assert 1 == store.count("shop")
        beside = [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]
        assert {after} == {mode(each) for each in (path, *beside)}
    (record,) = [each for each in caplog.records if each.name == "safeklaviyo"]
    assert logging.WARNING == record.levelno
    assert "every user of this host could read the identity map's file" in record.getMessage()
    assert str(path) not in record.getMessage()


@pytest.mark.parametrize("allowed", [0o600, 0o640, 0o660])
def test_a_group_may_be_let_in(path, caplog, allowed):
    """What the owner and the group may do stays, and nothing is said."""
    path.chmod(allowed)
    with SqliteStore(path) as store:
        assert 1 == store.count("shop")
    assert allowed == mode(path)
    assert [] == [each for each in caplog.records if each.name == "safeklaviyo"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
class TestOwners:
    def test_another_users_file_is_refused(self, path, monkeypatch):
        """Its owner could read all customers, and write bindings of their own."""
        os.chown(path, 4711, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 4712)
        with SqliteStore(path) as store, pytest.raises(ConfigurationError, match="belongs to another user") as raised:
            store.count("shop")
        assert str(path) not in str(raised.value)

    def test_root_may_look_into_any_map(self, path):
        """A command that an operator runs as root works on the application's map."""
        os.chown(path, 4711, -1)
        with SqliteStore(path) as store:
            assert 1 == store.count("shop")
        assert 4711 == path.stat().st_uid

    def test_a_file_of_roots_may_be_used(self, path, monkeypatch):
        """Root can read everything anyway."""
        monkeypatch.setattr(os, "geteuid", lambda: 4712)
        with SqliteStore(path) as store:
            assert 1 == store.count("shop")
