"""Actors: an operation in a process of its own, how far it has come, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from safeklaviyo._effects import Effect
    from safeklaviyo.errors import SafeKlaviyoError
    from safeklaviyo.testing.points import Point


@dataclass(slots=True)
class Actor:
    """One operation in one process.

    Attributes:
        name: For reports.
        point: How far it has come.
        has_begun: Whether it has had a visible effect.
        has_crashed: Whether its process has died.
        wake: Until when it sleeps, if it does.
        past: A digest of all that it was sent.
        ids: How many unique ids it was given.
        slept_at: `World.changes` when it fell asleep.
    """

    name: str
    point: Point
    has_begun: bool = False
    has_crashed: bool = False
    wake: float | None = None
    past: bytes = b""
    ids: int = 0
    slept_at: int = -1

    @property
    def effect(self) -> Effect[object] | None:
        """The effect that it yields next; None once it has ended."""
        return None if self.has_crashed else self.point.effect

    @property
    def ended(self) -> Literal["running", "returned", "raised", "crashed"]:
        """How it ended."""
        return "crashed" if self.has_crashed else self.point.ended

    @property
    def result(self) -> Any:
        """What it returned."""
        return self.point.result

    @property
    def error(self) -> SafeKlaviyoError | None:
        """What it raised."""
        return self.point.error
