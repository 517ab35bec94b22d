"""Whether a Redis server keeps what it is told: what to know before trusting it with an identity map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Persistence:
    """What a server does with its data.

    Attributes:
        on_disk: It writes to disk, as a log or as snapshots; None where it would not say.
        is_logged: It writes each change to a log (AOF); snapshots alone lose the last minutes in a crash.
        policy: What it does when its memory is full (``maxmemory-policy``); None where it would not say.
    """

    on_disk: bool | None
    is_logged: bool
    policy: str | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with that, a sentence each."""
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
    """Return what a server's answers to INFO and to CONFIG GET say; `settings` is None where it refused the latter."""
    is_logged = str(persistence.get("aof_enabled")) == "1"
    saves = None if settings is None else settings.get("save", "") != ""
    policy = memory.get("maxmemory_policy")
    return Persistence(True if is_logged else saves, is_logged, None if policy is None else str(policy))
