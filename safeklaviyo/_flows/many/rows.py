"""What calls about many people share: which rows may be sent together, and what becomes of each.

A row is *warm* if the map alone says who is meant and which profile is theirs. Warm rows of one batch go into one
request. All others go singly, by the flow of the verb about one person, with its leases and its first contact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from safeklaviyo._flows.call import logger, send
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.waiting import LONGEST_TURN, wait_for_turn
from safeklaviyo._input.findings import refused
from safeklaviyo._rules.claims import decide, is_sent_at_once, refusal
from safeklaviyo.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    GoneError,
    NoResponseError,
    PermissionDeniedError,
    RateLimitError,
    SafeKlaviyoError,
    StoreError,
)
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.base import Found, Match
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._input.findings import Findings
    from safeklaviyo._sending.attempts import Before
    from safeklaviyo.models import Binding

_PATIENCE = 30
"""How often a request about many waits for its turn, each time a minute at most."""
_NAME = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)
ENDING = (AuthenticationError, ConfigurationError, GoneError, PermissionDeniedError, StoreError)
"""What ends the whole call: each further row would end the same way."""


class GivenUpError(SafeKlaviyoError):
    """The call about many has ended before this request was sent. Never leaves this package."""

    def __init__(self) -> None:
        super().__init__("the call has ended")


class Checked(Protocol):
    """One row, checked."""

    @property
    def number(self) -> int:
        """Its number, from 0."""
        ...

    @property
    def row(self) -> Mapping[str, Any]:
        """The row as the caller gave it."""
        ...

    @property
    def claim(self) -> Claim:
        """Who is meant."""
        ...


R = TypeVar("R", bound=Checked)


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not accepted, and why. Its outcome may be unknown."""

    number: int
    row: Mapping[str, Any]
    error: SafeKlaviyoError


@dataclass(slots=True)
class Batch(Generic[R]):
    """What has become of one batch of rows so far.

    Attributes:
        accepted: How many rows are done.
        cold: The rows of people whom the map does not know well enough. Once one row of such a person is sent, the map
            does.
        singly: The rows that have to be sent one by one, because an answer did not speak for each of them.
        jobs: The jobs that carry rows out, with these rows.
        prepared: The requests that are still to be sent, as the verb has them.
        is_given_up: Nothing of it may be sent any more, because the call has ended.
        stops: Why the whole call ends here.
    """

    accepted: int = 0
    refused: list[Refused] = field(default_factory=list[Refused])
    cold: list[R] = field(default_factory=list[R])
    singly: list[R] = field(default_factory=list[R])
    jobs: list[tuple[str, list[R]]] = field(default_factory=list[tuple[str, list[R]]])
    prepared: list[Any] = field(default_factory=list[Any])
    is_given_up: bool = False
    stops: SafeKlaviyoError | None = None


def shown_row(row: object) -> Mapping[str, Any]:
    """Return a row that was refused as `on_refused` is shown it: an empty mapping in place of what is none."""
    return cast("Mapping[str, Any]", row) if isinstance(row, Mapping) else {}


def row_from(row: object, known: frozenset[str]) -> dict[str, Any]:
    """Return a row, if it is a mapping with known keys.

    Raises:
        InvalidPropertyError: The row is no mapping, or has an unknown key.
    """
    if type(row) is dict:  # pyright: ignore[reportUnknownVariableType] - its keys are looked at below
        given = cast("dict[str, Any]", row)
    elif isinstance(row, Mapping):
        given = dict(cast("Mapping[str, Any]", row))
    else:
        raise refused("row", f"is a {type(row).__name__}; give a mapping")
    if not given.keys() <= known:
        unknown = next(key for key in given if key not in known)
        raise refused("row", f"has {_named(unknown)} that is none of {', '.join(sorted(known))}{_remedy(known)}")
    return given


def _named(key: object) -> str:
    # In a row that was turned around a key may be personal, so only what looks like a name is shown.
    return f"the key {key}" if isinstance(key, str) and len(key) <= 40 and _NAME.fullmatch(key) else "a key"


def _remedy(known: frozenset[str]) -> str:
    places = [name for name in ("properties", "customer_properties") if name in known]
    return f"; put it under {' or '.join(places)}" if places else ""


def take_in(call: Call, findings: Findings) -> None:
    """Raise what the policy refuses of a row, and log the rest: of many rows no result could hold the notices.

    Raises:
        InvalidPropertyError: The row cannot be sent.
    """
    for notice in findings.notices(call.policy.properties):
        extra = {"operation": call.operation, "code": notice.code}
        logger.warning("%s: %s", call.operation, notice.message, extra=extra)


@dataclass(frozen=True, slots=True)
class Known:
    """What the map knows of the rows of one batch.

    Attributes:
        whole: The binding on which all identifiers of a row are current, by the row's number.
        matches: What the identifiers of all other rows lead to.
        leased: The identifiers that are under a lease.
        now: The store's clock, in unix seconds.
    """

    whole: dict[int, Binding]
    matches: dict[Identifier, Match]
    leased: set[Identifier]
    now: float

    def of(self, row: Checked) -> Found:
        """Return what the rules are asked with about a row."""
        names = row.claim.identifiers()
        binding = self.whole.get(row.number)
        if binding is not None:
            return Found(tuple(Match(name, binding) for name in names), None, self.now)
        return Found(tuple(self.matches[name] for name in names if name in self.matches), None, self.now)

    def is_free(self, row: Checked, binding: Binding) -> bool:
        """Tell whether no lease covers an identifier of a row, or of its binding."""
        leased = self.leased
        return not leased or (leased.isdisjoint(row.claim.identifiers()) and leased.isdisjoint(_names(binding)))


def sorted_by_map(call: Call, rows: list[R]) -> Flow[tuple[list[tuple[R, Binding]], list[R]]]:
    """Read the map once for all rows.

    Returns:
        The warm rows with their bindings; and the rows to be sent singly, which the rules also refuse there.
    """
    known = yield from known_to_map(call, rows)
    needs_profile = call.dialect.has_profile_ids
    warm: list[tuple[R, Binding]] = []
    singly: list[R] = []
    # Most rows are sent at once. The rules are asked only about the others.
    for row in rows:
        binding = known.whole.get(row.number)
        if binding is None or not is_sent_at_once(binding, known.now, call.policy, needs_profile=needs_profile):
            decision = decide(row.claim, known.of(row), call.policy, needs_profile=needs_profile)
            binding = decision.binding if decision.action == "send" else None
        if binding is not None and known.is_free(row, binding):
            warm.append((row, binding))
        else:
            singly.append(row)
    return warm, singly


def known_to_map(call: Call, rows: Sequence[Checked]) -> Flow[Known]:
    """Return what the map knows of all rows, and which of their identifiers are under a lease."""
    # Few objects outlive a row's turn here: a thousand rows with a dozen each would keep the garbage collector at work.
    firsts = [_first(row.claim) for row in rows]
    # Step 1: one identifier of each row. In the usual case its binding has the others too.
    known = yield from _found(call, {first: None for first in firsts if first is not None})
    left: dict[Identifier, None] = {}
    for row, first in zip(rows, firsts, strict=True):
        match = None if first is None else known.matches.get(first)
        if match is not None and match.retired_at is None and _has_both(match.binding, row.claim):
            known.whole[row.number] = match.binding
        else:
            left.update(dict.fromkeys(row.claim.identifiers()))
    # Step 2: all identifiers of the other rows at once, so that a change in between cannot part a pair.
    if left:
        others = yield from _found(call, left)
        known.matches.update(others.matches)
        known.leased.update(others.leased)
    return known


def _first(claim: Claim) -> Identifier | None:
    """Return the first of the identifiers of a claim."""
    if claim.external_id is not None:
        return Identifier(Kind.EXTERNAL_ID, claim.external_id)
    return None if claim.email is None else Identifier(Kind.EMAIL, claim.email)


def _has_both(binding: Binding, claim: Claim) -> bool:
    """Tell whether a binding that has the first identifier of a claim has the other one too."""
    return claim.external_id is None or claim.email in (None, binding.email)


def _found(call: Call, names: dict[Identifier, None]) -> Flow[Known]:
    known = Known({}, {}, set(), 0.0)
    while True:
        found = yield from Find(call.account, tuple(names))
        known.matches.update((match.identifier, match) for match in found.matches)
        if found.lease is None:
            return replace(known, now=found.now)
        # The map names one lease at a time: what it covers is left out, to see whether there is another.
        covered = set(found.lease.identifiers)
        for match in found.matches:
            if not covered.isdisjoint(_names(match.binding)):
                covered.add(match.identifier)
        known.leased.update(covered)
        left = {name: None for name in names if name not in covered}
        # The lease covers nothing that was asked for by name, so that another look would find it again. All is left to
        # the calls about one person, which wait for it.
        if len(left) == len(names):
            known.leased.update(names)
            return replace(known, now=found.now)
        names = left


def _names(binding: Binding) -> Iterator[Identifier]:
    yield from Claim(binding.external_id, binding.email).identifiers()
    if binding.profile_id is not None:
        yield Identifier(Kind.PROFILE_ID, binding.profile_id)


def rehearsed(call: Call, rows: list[R], batch: Batch[R]) -> Flow[None]:
    """Count what would become of checked rows, and refuse what the rules refuse by the map alone. Writes nothing."""
    known = yield from known_to_map(call, rows)
    for row in rows:
        decision = decide(row.claim, known.of(row), call.policy, needs_profile=call.dialect.has_profile_ids)
        if decision.action == "refuse":
            batch.refused.append(Refused(row.number, row.row, refusal(decision)))
        else:
            batch.accepted += 1


def goes_singly(error: SafeKlaviyoError) -> bool:
    """Tell whether the rows of a request that ended so are sent one by one, and what each answer says decides.

    A refusal may be due to one row; Klaviyo does not always say which. After an unknown outcome each event is sent
    again with its key, and so counts once.
    """
    return isinstance(error, NoResponseError | APIStatusError) and not isinstance(error, (*ENDING, RateLimitError))


def send_patiently(
    call: Call,
    request: Request,
    *,
    again: Callable[[], Flow[Request]] | None = None,
    before: Before | None = None,
) -> Flow[Response]:
    """Send a request about many, and wait for its turn beyond the deadline of one person, which then begins again.

    Args:
        again: As for `send`.
        before: As for `send`; it also keeps the leases while this waits.

    Raises:
        RateLimitError: Klaviyo has said 429 again and again.
    """
    for left in reversed(range(_PATIENCE)):
        try:
            return (yield from send(call, request, main=True, again=again, before=before))
        except RateLimitError as error:
            if not left:
                raise
            if before is not None:
                yield from before(LONGEST_TURN)
            yield from wait_for_turn(error.retry_after)
        yield from start_deadline(call)
        if again is not None:
            request = yield from again()
    raise AssertionError("the last try has returned or raised")
