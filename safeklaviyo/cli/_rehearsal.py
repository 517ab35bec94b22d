"""A map to try an import on: what an import finds is the real map's, and what it writes stays in a temporary file."""

from __future__ import annotations

from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo.cli._map import open_client, store_url
from safeklaviyo.stores import open_store
from safeklaviyo.stores.base import IdentityStore
from safeklaviyo.stores.calls import Add, Find, Restore
from safeklaviyo.stores.rows import owned
from safeklaviyo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Generator, Sequence

    from safeklaviyo import Klaviyo
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.calls import Call

T = TypeVar("T")


@contextmanager
def rehearsal(arguments: Namespace) -> Generator[Klaviyo]:
    """Open a client on a rehearsal of the map that the arguments name."""
    with (
        TemporaryDirectory(prefix="safeklaviyo-") as folder,
        open_store(store_url(arguments)) as real,
        SqliteStore(f"{folder}/trial.db") as trial,
        open_client(arguments, _Rehearsal(real, trial)) as klaviyo,
    ):
        yield klaviyo


class _Rehearsal(IdentityStore):
    """Reads the real map, and writes to another.

    What is asked for or changed is copied to the trial first. So the trial answers as the real map would, with the rows
    before taken into account.
    """

    def __init__(self, real: IdentityStore, trial: IdentityStore) -> None:
        self._real = real
        self._trial = trial

    def perform(self, call: Call[T]) -> T:
        """Carry out a call without a change of the real map."""
        asked: Call[Any] = call
        if isinstance(asked, Find):
            self._copy(asked.account, asked.identifiers)
        # An import may complete a binding that the map has, or contradict it: what the rows name is copied first, so
        # that the trial can tell.
        elif isinstance(asked, Add):
            self._copy(asked.account, [each for binding in asked.bindings for each in owned(binding)])
        elif isinstance(asked, Restore):
            self._copy(asked.account, [match.identifier for match in asked.former])
        # Other reads change nothing. Any other write goes to the trial below: none may reach the real map.
        elif asked.is_read:
            return self._real.perform(call)
        return self._trial.perform(call)

    def _copy(self, account: str, identifiers: Sequence[Identifier]) -> None:
        matches = self._real.find(account, identifiers).matches
        self._trial.add(account, [match.binding for match in matches])
        # After the bindings: a former identifier is retired from a binding that is there.
        self._trial.restore(account, [match for match in matches if match.retired_at is not None])

    def close(self) -> None:
        """Leave both open: they were opened by the caller."""
