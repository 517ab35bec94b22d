"""The maps on one server as one store knows them: their keys, and which map each account's was when it was first seen.

Decided here: that a map which was there stays the one that is asked. A server that restarts without its data, or is
replaced by another, would otherwise seem to know nobody (P6).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores._redis.calls import RECORD
from safeklaviyo.stores._redis.failures import refusal

if TYPE_CHECKING:
    from safeklaviyo.stores._redis.calls import Call

T = TypeVar("T")

_BRACES = frozenset("{}")


class Maps:
    """What a store says to its server, and how it takes the answer; without I/O.

    Args:
        prefix: What the names of all keys begin with.

    Raises:
        ConfigurationError: The prefix would decide in which slot of a cluster a key is.
    """

    def __init__(self, prefix: str) -> None:
        if not prefix or _BRACES & set(prefix):
            raise ConfigurationError("the prefix of an identity map's keys is some text without braces")
        self._prefix = prefix
        self._generations: dict[str, bytes] = {}

    def command(self, account: str, call: Call[Any], *, whole: bool = False) -> tuple[Any, ...]:
        """Return the command that makes a call: by the script's name, or with the whole script."""
        script = call.script
        begin = ("EVAL", script.source) if whole else ("EVALSHA", script.sha)
        known = self._generations.get(account, b"")
        keys = _keys(self._prefix, account)[: call.keys]
        return (*begin, call.keys, *keys, known, call.operation, *call.arguments)

    def answer(self, account: str, call: Call[T], reply: bytes) -> T:
        """Return what the server's reply says.

        Raises:
            StoreUnavailableError: The map that was in use is not there.
            StoreIncompatibleError: What is there is no identity map, or another version's.
        """
        generation, mark, answer = reply.decode(errors="surrogateescape").partition(RECORD)
        if not mark:
            raise refusal(generation)
        if generation and account not in self._generations:
            self._generations[account] = generation.encode()
        return call.read(answer)


@lru_cache(maxsize=256)
def _keys(prefix: str, account: str) -> tuple[bytes, ...]:
    # Never empty, because Redis would take an empty hash tag for none.
    name = f"{prefix}:{{account:{account}}}"
    return tuple(f"{name}{tail}".encode() for tail in ("", ":bindings", ":leases", ":journal"))
