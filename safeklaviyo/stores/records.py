"""The values that go into a store's operations and come out of them. Nothing is decided here; read `base`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from safeklaviyo.identity import Identifier, Kind
    from safeklaviyo.models import Binding


class Match(NamedTuple):
    """An identifier that was asked for, and the binding on which it is current or from which it is retired.

    Attributes:
        retired_at: When the identifier ceased to be current, in unix seconds; None while it is current.
    """

    identifier: Identifier
    binding: Binding
    retired_at: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The expiring, fenced right to write about some identifiers, and what its holder is about to write.

    Attributes:
        token: The fencing token, which rises with each lease of the account.
        intent: What is about to be written, as the flow encoded it.
        remaining: Seconds until the lease expires; zero or less once it has expired.
        taken_over: This call took an expired lease over, and has to finish that lease's intent first.
    """

    token: int
    identifiers: frozenset[Identifier]
    intent: str = field(repr=False)
    remaining: float
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What the map knows about the identifiers asked for.

    Attributes:
        matches: At most one for each identifier asked for.
        lease: A lease, expired or not, that covers one of the identifiers asked for, or one that is current on a
            binding in `matches`; the one with the lowest token, if there are several.
        now: The store's clock, in unix seconds.
    """

    matches: tuple[Match, ...]
    lease: Lease | None
    now: float

    def current(self, kind: Kind) -> Binding | None:
        """Return the binding on which the identifier of that kind is current."""
        for match in self.matches:
            if match.identifier.kind is kind and match.retired_at is None:
                return match.binding
        return None

    def retired(self, kind: Kind) -> Match | None:
        """Return the match of the identifier of that kind, if the identifier is retired."""
        for match in self.matches:
            if match.identifier.kind is kind and match.retired_at is not None:
                return match
        return None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One change to write down together with a binding.

    Attributes:
        verb: What changed it, such as ``"change_email"``.
    """

    verb: str
    old: str | None = field(default=None, repr=False)
    new: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One change as it was written down.

    Attributes:
        number: Rises with each row of the account.
        at: The store's clock then, in unix seconds.
        key: The binding's key.
        profile_id: The binding's profile then.
        external_id: The binding's external id then.
    """

    number: int
    at: float
    key: str
    profile_id: str | None
    external_id: str | None = field(repr=False)
    entry: JournalEntry


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the map.

    Attributes:
        binding: The binding as it shall be. With an empty `key` it is a new one. Otherwise it replaces the binding of
            that key, if that binding still has this `version`. The store raises the version itself.
        verified: Klaviyo has just confirmed the pair: `verified_at` becomes the store's clock (otherwise the
            binding's own `verified_at` is kept as it stands).
        token: The lease under which this is done. It has to be valid still, and is released in the same step. None
            for a change that only the version protects.
        retire: Further identifiers to retire to this binding, as of now, except those that are current somewhere. An
            external id or email that the change replaces is retired anyway; a profile id is forgotten.
        absorb: Keys of bindings that become one with this binding. They are removed, their current and retired
            identifiers are retired from this binding, and their rows of the journal become this binding's. A key
            without a binding is skipped, and so is this binding's own.
        journal: The change, for the journal.
    """

    binding: Binding
    verified: bool = True
    token: int | None = None
    retire: frozenset[Identifier] = frozenset()
    absorb: tuple[str, ...] = ()
    journal: JournalEntry | None = None


@dataclass(frozen=True, slots=True)
class BindOutcome:
    """What became of a change.

    Attributes:
        status: One of these, and nothing was changed unless it is the first:

            - ``"bound"``: the change was made;
            - ``"fenced"``: the token is no longer valid;
            - ``"stale"``: the binding has another version by now, or is gone; or there is a binding with the pair that
              a new binding was to have;
            - ``"conflict"``: the external id, email or profile id is current on a binding that is not absorbed.
        binding: The binding as it is now (``"bound"``), or the one that prevented the change, if there is one.
    """

    status: Literal["bound", "fenced", "stale", "conflict"]
    binding: Binding | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the bindings, in the order of their keys.

    Attributes:
        next: The cursor for the next part; None after the last.
    """

    bindings: tuple[Binding, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Notes:
    """A part of the notes, in any order.

    Attributes:
        notes: Names and values. A part may be empty even if more follow.
        next: The cursor for the next part; None after the last.
    """

    notes: tuple[tuple[str, str], ...] = field(repr=False)
    next: str | None


AddStatus: TypeAlias = Literal["added", "unchanged", "conflict"]
