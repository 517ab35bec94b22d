"""The outbox: rows that are committed with the caller's own data, and carried out later.

`calls` says what each operation means, `steps` how it is done. Several threads, processes and hosts may use one outbox.
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
        listening: The URL and the schema of a database that notifies a listener of each committed row; None if the
            database cannot.
    """

    listening: tuple[str, str] | None = None

    @abstractmethod
    def is_there(self) -> bool:
        """Tell whether the tables exist. They are never created here."""

    @abstractmethod
    def perform(self, call: OutboxCall[T]) -> T:
        """Carry out one call.

        Raises:
            StoreUnavailableError: The outbox does not answer now. A change may have been made or not.
            StoreIncompatibleError: The tables are missing, or are those of another version.
            ConfigurationError: The outbox cannot work with its settings, or the caller's connection leads to another
                database.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the outbox's own connections, and none of the caller's. May be called twice."""


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
