"""An adapter that offers a synchronous store under the asynchronous contract.

Decided here: each awaited call is made in the event loop, at once. If the store may block, a subclass has to override
`perform` and use a thread, as `AsyncSqliteStore` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from safeklaviyo.stores.base import AsyncIdentityStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.stores.base import IdentityStore
    from safeklaviyo.stores.calls import Call

T = TypeVar("T")


class AsyncAdapter(AsyncIdentityStore):
    """A synchronous store, called from an event loop. Its calls block the loop while they run.

    Args:
        store: The synchronous store; closed with the adapter.
    """

    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    @property
    def inner(self) -> IdentityStore:
        """The synchronous store."""
        return self._store

    async def perform(self, call: Call[T]) -> T:
        """Same as `IdentityStore.perform`."""
        # Through the store's public method, because a subclass of the synchronous store may have overridden it.
        result: T = call.on(self._store)
        return result

    async def each(self, account: str, several: Sequence[Call[T]]) -> tuple[T, ...]:
        """Same as `IdentityStore.each`."""
        return self._store.each(account, several)

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        self._store.close()
