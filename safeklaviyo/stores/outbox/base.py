"""The outbox: rows that are committed with the caller's own data, and carried out later.

What each operation means is in `steps`. An outbox is safe for use by several threads, processes and hosts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from safeklaviyo.stores.outbox.calls import OutboxCall

T = TypeVar("T")


class Outbox(ABC):
    """An outbox, synchronous.

    Attributes:
        listening: The URL and the schema of a database that tells of rows when they are committed; None if none does.
    """

    listening: tuple[str, str] | None = None

    @abstractmethod
    def is_there(self) -> bool:
        """Tell whether somebody has made the tables."""

    @abstractmethod
    def perform(self, call: OutboxCall[T]) -> T:
        """Carry out one call.

        Raises:
            StoreUnavailableError: The outbox cannot answer now; a change may have been made or not.
            StoreIncompatibleError: There are no tables, or of another version.
            ConfigurationError: The outbox cannot work as it is set up, or the connection given is to another database.
        """

    @abstractmethod
    def close(self) -> None:
        """Close what was opened here. May be called twice."""


class AsyncOutbox(ABC):
    """An outbox, asynchronous."""

    @abstractmethod
    async def is_there(self) -> bool:
        """Same as `Outbox.is_there`."""

    @abstractmethod
    async def perform(self, call: OutboxCall[T]) -> T:
        """Same as `Outbox.perform`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Same as `Outbox.close`."""
