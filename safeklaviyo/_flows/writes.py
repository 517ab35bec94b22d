"""What is known so far about the writes of one call: whether Klaviyo has carried them out (P7).

Only the methods of `Writes` change what is known. So one place decides what a later answer may say about an earlier
write: neither "applied" nor a doubt is ever taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeklaviyo.errors import Outcome


class Writes:
    """The writes of one call: each one begins, and is then applied, doubtful or refused."""

    __slots__ = ("_begun_on", "_may_still_land", "_outcome")

    def __init__(self) -> None:
        self._outcome: Outcome = "not_applied"
        self._may_still_land = False
        self._begun_on: str | None = None

    @property
    def outcome(self) -> Outcome:
        """Whether the main write has changed Klaviyo: the outcome that the caller sees."""
        return self._outcome

    @property
    def may_still_land(self) -> bool:
        """Whether Klaviyo may yet carry out a write of this call, main or not. Its lease and intent have to stay."""
        return self._may_still_land

    @property
    def begun_on(self) -> str | None:
        """The profile on which this call has begun to write under its lease; None if it has not.

        A call that finds its lease taken over brings that profile back to what the map says.
        """
        return self._begun_on

    def begin(self, profile_id: str | None) -> None:
        """Note the profile that is about to be written under a lease; None at the beginning of each lease."""
        self._begun_on = profile_id

    def applied(self, *, main: bool) -> None:
        """Note that Klaviyo has carried a write out."""
        if main:
            self._outcome = "applied"

    def doubtful(self, *, main: bool, in_flight: bool = True) -> None:
        """Note that Klaviyo may carry a write out, or may have done so.

        Args:
            main: The write is (part of) the operation's main write.
            in_flight: A request of this call may still land. False where only another call can make the write, because
                it may find the intent of this one.
        """
        # A doubt about any write keeps its lease; only the main write decides the outcome that the caller sees.
        self._may_still_land = self._may_still_land or in_flight
        if main and self._outcome == "not_applied":
            self._outcome = "unknown"

    def refused(self, *, main: bool) -> None:
        """Note that Klaviyo has not carried a write out. It says nothing about the writes before."""
