"""What a worker needs of a client: draining, and the chores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from safeklaviyo.models import ChangeReview, Recovery


class Report(Protocol):
    """What a drain did."""

    @property
    def delivered(self) -> int: ...

    @property
    def dead(self) -> int: ...


class Counts(Protocol):
    """How many rows there are."""

    @property
    def dead(self) -> int: ...


class Outbox(Protocol):
    """The outbox of a client."""

    def lanes(self) -> tuple[int, ...]:
        """Return the lanes that have rows which are due."""
        ...

    def drain(self, *, limit: int | None = None, lane: int | None = None) -> Report:
        """Carry out the rows of a lane."""
        ...

    def counts(self) -> Counts:
        """Count the rows."""
        ...


class Client(Protocol):
    """The client."""

    @property
    def outbox(self) -> Outbox: ...

    def recover(self, limit: int | None = None) -> list[Recovery]:
        """Finish interrupted changes."""
        ...

    def recheck_changes(
        self, since: datetime | float | str | None = None, *, repair: bool = False
    ) -> Sequence[ChangeReview]:
        """Compare Klaviyo with the map."""
        ...
