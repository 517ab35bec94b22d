"""Each operation of a store once, as data: what is asked, and the type of the answer.

The method of `IdentityStore` that makes a call says what the operation means. A store carries calls out in
`IdentityStore.perform`; a flow yields them as effects. To add an operation, write

- a class here, and a method on both contracts in `base`;
- its steps in `semantics`, in ``postgres/version_1.sql`` and in one of the Lua scripts of `redis`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from safeklaviyo._effects import Effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores import records
    from safeklaviyo.stores.base import AnyStore

__all__ = [
    "Acquire",
    "Add",
    "Bind",
    "Call",
    "Count",
    "Each",
    "Expired",
    "Find",
    "ForgetJournal",
    "Former",
    "Journal",
    "Leases",
    "ListBindings",
    "ListNotes",
    "ReadBindings",
    "Recall",
    "Release",
    "ReleaseIdentifier",
    "Remember",
    "Remove",
    "Renew",
    "Restore",
    "RestoreJournal",
]

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Effect[R_co]):
    """One call of the identity map. Raises what `IdentityStore.perform` does.

    Attributes:
        method: The name of the method that makes this call. A field of the call is an argument of that name.
        is_read: The call changes nothing.
        account: The account of the map.
    """

    method: ClassVar[str]
    is_read: ClassVar[bool] = False
    account: str

    def on(self, store: AnyStore) -> Any:
        """Make the call through the store's public method, which a subclass may have overridden.

        Returns:
            The answer of a synchronous store; of an asynchronous one an awaitable of it.
        """
        # `__match_args__` are the names of the fields, inherited ones included, as `dataclass` sets them.
        return getattr(store, self.method)(**{name: getattr(self, name) for name in self.__match_args__})


@dataclass(frozen=True, slots=True)
class Find(Call["records.Found"]):
    """See `IdentityStore.find`."""

    method = "find"
    is_read = True
    identifiers: Sequence[Identifier]


@dataclass(frozen=True, slots=True)
class Acquire(Call["records.Lease | None"]):
    """See `IdentityStore.acquire`."""

    method = "acquire"
    identifiers: frozenset[Identifier]
    intent: str = field(repr=False)
    ttl: float


@dataclass(frozen=True, slots=True)
class Renew(Call[bool]):
    """See `IdentityStore.renew`."""

    method = "renew"
    token: int
    ttl: float
    intent: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Release(Call[bool]):
    """See `IdentityStore.release`."""

    method = "release"
    token: int


@dataclass(frozen=True, slots=True)
class Bind(Call["records.BindOutcome"]):
    """See `IdentityStore.bind`."""

    method = "bind"
    change: records.Change


@dataclass(frozen=True, slots=True)
class Add(Call["tuple[records.AddStatus, ...]"]):
    """See `IdentityStore.add`."""

    method = "add"
    bindings: Sequence[Binding]


@dataclass(frozen=True, slots=True)
class Remove(Call[bool]):
    """See `IdentityStore.remove`."""

    method = "remove"
    identifier: Identifier
    token: int | None = None


@dataclass(frozen=True, slots=True)
class ReleaseIdentifier(Call[bool]):
    """See `IdentityStore.release_identifier`."""

    method = "release_identifier"
    identifier: Identifier


@dataclass(frozen=True, slots=True)
class Expired(Call["tuple[records.Lease, ...]"]):
    """See `IdentityStore.expired`."""

    method = "expired"
    is_read = True
    limit: int


@dataclass(frozen=True, slots=True)
class Leases(Call["tuple[records.Lease, ...]"]):
    """See `IdentityStore.leases`."""

    method = "leases"
    is_read = True
    limit: int


@dataclass(frozen=True, slots=True)
class Journal(Call["tuple[records.JournalRow, ...]"]):
    """See `IdentityStore.journal`."""

    method = "journal"
    is_read = True
    since: float
    after: int = 0
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ForgetJournal(Call[int]):
    """See `IdentityStore.forget_journal`."""

    method = "forget_journal"
    key: str


@dataclass(frozen=True, slots=True)
class ListBindings(Call["records.Page"]):
    """See `IdentityStore.page`."""

    method = "page"
    is_read = True
    after: str | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ReadBindings(Call["tuple[Binding, ...]"]):
    """See `IdentityStore.bindings`."""

    method = "bindings"
    is_read = True
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Former(Call["tuple[records.Match, ...]"]):
    """See `IdentityStore.former`."""

    method = "former"
    is_read = True
    bindings: Sequence[Binding]


@dataclass(frozen=True, slots=True)
class Restore(Call[int]):
    """See `IdentityStore.restore`."""

    method = "restore"
    former: Sequence[records.Match]


@dataclass(frozen=True, slots=True)
class RestoreJournal(Call[int]):
    """See `IdentityStore.restore_journal`."""

    method = "restore_journal"
    rows: Sequence[tuple[Binding, records.JournalRow]]


@dataclass(frozen=True, slots=True)
class Count(Call[int]):
    """See `IdentityStore.count`."""

    method = "count"
    is_read = True


@dataclass(frozen=True, slots=True)
class Recall(Call["str | None"]):
    """See `IdentityStore.recall`."""

    method = "recall"
    is_read = True
    name: str


@dataclass(frozen=True, slots=True)
class Remember(Call[bool]):
    """See `IdentityStore.remember`."""

    method = "remember"
    name: str
    value: str | None = field(repr=False)
    token: int | None = None
    new: bool = False


@dataclass(frozen=True, slots=True)
class ListNotes(Call["records.Notes"]):
    """See `IdentityStore.notes`."""

    method = "notes"
    is_read = True
    after: str | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Each(Call[tuple[R_co, ...]]):
    """See `IdentityStore.each`. No store has steps of its own for it: a store may only save round trips and commits."""

    method = "each"
    several: Sequence[Call[R_co]]
