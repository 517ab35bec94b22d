"""How a Redis server keeps its data on disk, and what of that is too weak for an identity map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Persistence:
    """What a server does with its data.

    Attributes:
        on_disk: The server writes to disk, as a log or as snapshots; None if it does not let its settings be read.
        is_logged: The server writes each change to a log (AOF). Snapshots alone lose the last minutes in a crash.
        policy: The server's ``maxmemory-policy``, for when its memory is full; None if the server does not name it.
    """

    on_disk: bool | None
    is_logged: bool
    policy: str | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is too weak for an identity map, one sentence each."""
        found: list[str] = []
        if self.on_disk is None:
            found.append("whether it writes snapshots is unknown, because it does not let its settings be read")
        elif not self.on_disk:
            found.append("it keeps nothing on disk: a restart loses every retired address, lease and intent")
        elif not self.is_logged:
            found.append("it writes snapshots only: a crash loses the last minutes; set appendonly yes")
        if self.policy not in {None, "noeviction"}:
            found.append(
                f"its maxmemory-policy is {self.policy}, made for caches: set noeviction, lest maps be evicted"
            )
        return tuple(found)


def read(persistence: Mapping[str, Any], memory: Mapping[str, Any], settings: Mapping[str, str] | None) -> Persistence:
    """Read a server's answers to INFO and CONFIG GET.

    Args:
        persistence: INFO's section of that name.
        memory: INFO's section of that name.
        settings: The answer to ``CONFIG GET save``; None if the server refused it.
    """
    is_logged = str(persistence.get("aof_enabled")) == "1"
    saves = None if settings is None else settings.get("save", "") != ""
    policy = memory.get("maxmemory_policy")
    return Persistence(True if is_logged else saves, is_logged, None if policy is None else str(policy))
