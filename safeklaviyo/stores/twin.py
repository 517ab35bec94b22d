"""The asynchronous twin of a synchronous store.

Decided here: that the twin calls the store it wraps. Whether a call may run where the loop runs is the subclass's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from safeklaviyo.stores.base import AsyncIdentityStore

if TYPE_CHECKING:
    from safeklaviyo.stores.base import IdentityStore
    from safeklaviyo.stores.calls import Call

T = TypeVar("T")


class Twin(AsyncIdentityStore):
    """A store that does what another does, without waiting for it.

    Args:
        store: The synchronous store; closed with the twin.
    """

    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    async def perform(self, call: Call[T]) -> T:
        """Same as `IdentityStore.perform`."""
        result: T = call.on(self._store)
        return result

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        self._store.close()
