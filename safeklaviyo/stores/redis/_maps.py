"""The maps that one store has used: the keys of each account's map, and the generation that it had at its first use.

Decided here: a store goes on with the map that it used first. A server that restarted without its data, or another
server in its place, would otherwise look like an empty map (P6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.redis._failures import refusal
from safeklaviyo.stores.redis._packing import RECORD

if TYPE_CHECKING:
    from safeklaviyo.stores.redis._packing import Packed

T = TypeVar("T")

_BRACES = frozenset("{}")


class Maps:
    """The commands for a server, and how its replies are checked and read; without I/O.

    Args:
        prefix: The beginning of the names of all keys.

    Raises:
        ConfigurationError: The prefix has braces, and would decide in which slot of a cluster the keys are.
    """

    def __init__(self, prefix: str) -> None:
        if not prefix or _BRACES & set(prefix):
            raise ConfigurationError("the prefix of an identity map's keys is some text without braces")
        self._prefix = prefix
        self._maps: dict[str, _Map] = {}

    def command(self, account: str, call: Packed[Any], *, whole: bool = False) -> tuple[Any, ...]:
        """Return the command for a call: with the script's digest, or with the `whole` script."""
        one = self._maps.get(account) or self._new(account)
        name = ("EVAL", call.script.source) if whole else ("EVALSHA", call.script.sha)
        keys = one.keys[: call.keys]
        return (*name, len(keys), *keys, one.generation, call.operation, *call.arguments)

    def answer(self, account: str, call: Packed[T], reply: bytes) -> T:
        """Check the generation in a reply, and return the answer.

        Raises:
            StoreUnavailableError: The map that this store used is gone.
            StoreIncompatibleError: The data on the server is no identity map, or is of another version.
        """
        # `surrogateescape` keeps the separators, which are no UTF-8, and all else that an identifier may hold.
        generation, mark, answer = reply.decode(errors="surrogateescape").partition(RECORD)
        if not mark:
            raise refusal(generation)
        one = self._maps[account]
        # Kept from the first reply that has one: until something is written, the map has none.
        if not one.generation:
            one.generation = generation.encode()
        return call.read(answer)

    def _new(self, account: str) -> _Map:
        # Not the account alone: Redis ignores an empty hash tag, and the keys would be in several slots.
        name = f"{self._prefix}:{{account:{account}}}"
        keys = tuple(f"{name}{tail}".encode() for tail in ("", ":bindings", ":leases", ":journal"))
        return self._maps.setdefault(account, _Map(keys))


@dataclass(slots=True)
class _Map:
    """One account's map.

    Attributes:
        generation: The name of this very map; empty until a reply has named it.
    """

    keys: tuple[bytes, ...]
    generation: bytes = b""
