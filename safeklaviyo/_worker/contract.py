"""The methods of a client that a worker calls, and their meaning for a `Klaviyo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from safeklaviyo._flows.account import other_account
from safeklaviyo._flows.outbox.drain import drain_lane
from safeklaviyo._flows.outbox.keep import count_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo._flows.outbox.drain import Done
    from safeklaviyo.models import ChangeReview, Recovery


class Client(Protocol):
    """A client with an outbox."""

    def lanes(self) -> Sequence[int]:
        """Return the lanes with rows that are due."""
        ...

    def drain(self, lane: int, limit: int, is_stopped: Callable[[], bool]) -> Done:
        """Carry out rows of a lane, until `is_stopped` returns true."""
        ...

    def count_dead(self) -> int:
        """Return how many rows are dead."""
        ...

    def other_account(self) -> str | None:
        """Ask Klaviyo for the key's account; None if it is this client's, or is not known."""
        ...

    def recover(self, limit: int) -> Sequence[Recovery]:
        """Finish interrupted changes."""
        ...

    def recheck(self) -> Sequence[ChangeReview]:
        """Compare the customers that were changed lately with the map, and repair them."""
        ...


class OfKlaviyo:
    """A `Klaviyo` as a worker uses it, of this package or of an engine. See `Client`.

    Its requests take turns with those of all workers of the account.
    """

    def __init__(self, klaviyo: Klaviyo) -> None:
        self._klaviyo = klaviyo
        klaviyo._shell.share_pace()  # noqa: SLF001 - the package's own

    def lanes(self) -> Sequence[int]:
        """See `Client.lanes`."""
        return self._klaviyo.outbox.lanes()

    def drain(self, lane: int, limit: int, is_stopped: Callable[[], bool] = lambda: False) -> Done:
        """See `Client.drain`."""
        shell = self._klaviyo._shell  # noqa: SLF001 - the package's own
        return shell.run(drain_lane, limit=limit, lane=lane, is_stopped=is_stopped)

    def count_dead(self) -> int:
        """See `Client.count_dead`."""
        return self._klaviyo._shell.run(count_dead)  # noqa: SLF001 - the package's own

    def other_account(self) -> str | None:
        """See `Client.other_account`."""
        shell = self._klaviyo._shell  # noqa: SLF001 - the package's own
        return shell.run(other_account) if shell.has_credentials else None

    def recover(self, limit: int) -> Sequence[Recovery]:
        """See `Client.recover`."""
        return self._klaviyo.recover(limit)

    def recheck(self) -> Sequence[ChangeReview]:
        """See `Client.recheck`."""
        return self._klaviyo.recheck_changes(repair=True)
