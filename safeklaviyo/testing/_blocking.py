"""An adapter that offers an asynchronous store under the synchronous contract: one suite of tests serves both."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo.stores.base import IdentityStore

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from safeklaviyo.stores.base import AsyncIdentityStore
    from safeklaviyo.stores.calls import Call

T = TypeVar("T")


class BlockingStore(IdentityStore):
    """An asynchronous store that any thread may call. The store runs in an event loop of its own, in a thread.

    Args:
        store: The asynchronous store; closed with this one.
    """

    def __init__(self, store: AsyncIdentityStore) -> None:
        self._store = store
        # One loop for the life of the store: its connections belong to the loop that opened them.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blocking-store", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the store and end the loop."""
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`. Calls the asynchronous store's own method, so that the tests cover it too."""
        result: T = self._run(call.on(self._store))
        return result

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._run(self._store.aclose())

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()
