"""Copying a map into one that has tombstones of its own: the erased of both stay erased."""

from __future__ import annotations

import pytest

from safeklaviyo import Binding, ErasedError
from safeklaviyo.stores.sqlite import SqliteStore

ACCOUNT = "SiMuLa"
ANN = {"external_id": "a-1", "email": "ann@shop.dev"}
BOB = {"external_id": "b-2", "email": "bob@shop.dev"}


def test_the_erased_of_both_maps_are_found(run, tmp_path, open_client, simulator):
    """A tombstone is found under its own key alone, so the target keeps its key beside the one of the source."""
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("from", "to")]
    with SqliteStore(tmp_path / "from.db") as source, SqliteStore(tmp_path / "to.db") as target:
        for store, who in ((source, ANN), (target, BOB)):
            k = open_client(simulator, store)
            k.identify(**who)
            k.erase(**who)
        for number, store in enumerate((source, target)):
            store.add(ACCOUNT, [Binding(f"c-{number}", f"c{number}@shop.dev", f"P{number}")])
        assert 1 == run("store", "copy", *urls, "--account", ACCOUNT).status  # the target was not empty
        keys = target.recall(ACCOUNT, "tombstone keys")
        assert 2 == len(keys.split())
        for who in (ANN, BOB):
            with pytest.raises(ErasedError):
                open_client(simulator, target).identify(**who)
        run("store", "copy", *urls, "--account", ACCOUNT)
        assert keys == target.recall(ACCOUNT, "tombstone keys")
