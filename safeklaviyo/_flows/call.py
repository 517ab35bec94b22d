"""One call of a public operation, from its beginning to its outcome.

Decided here: the `outcome` of an error (P7), and what is logged. Every flow of this package takes a `Call` first. All
requests of the package are sent by `send`, and all its waits are in `waiting`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from safeklaviyo._api.accounts import get_account
from safeklaviyo._api.messages import Repeat, Request, Response
from safeklaviyo._api.responses import UnreadableAnswer, is_success, read_account_id
from safeklaviyo._flows.account import notice_account
from safeklaviyo._flows.deadlines import exceeded_by, start_deadline
from safeklaviyo._flows.in_flight import InFlight
from safeklaviyo._flows.joining import Join, may_join
from safeklaviyo._flows.telling import conclude
from safeklaviyo._flows.writes import Writes
from safeklaviyo._sending.deadline import Deadline
from safeklaviyo._sending.retry import transmit
from safeklaviyo.errors import (
    APIStatusError,
    ConfigurationError,
    NoResponseError,
    PermissionDeniedError,
    SafeKlaviyoError,
    StoreError,
)
from safeklaviyo.notices import Notice
from safeklaviyo.stores.calls import Recall, Release, Remember, Renew

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.dialects import Dialect
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.joining import Joins
    from safeklaviyo._input.findings import Findings
    from safeklaviyo._sending.attempts import Before
    from safeklaviyo._sending.line import Line
    from safeklaviyo._sending.retry import Exchange
    from safeklaviyo.notices import NoticeCode
    from safeklaviyo.policy import Policy
    from safeklaviyo.stores.base import Lease
    from safeklaviyo.stores.outbox.records import About

T = TypeVar("T")

logger = logging.getLogger("safeklaviyo")


@dataclass(slots=True)
class Shared:
    """What all calls of a client and of its views share.

    Attributes:
        account: The namespace of the map; None until it is known.
        in_flight: The calls on their way.
        answered_for: The account for which Klaviyo has answered, where that is not this client's.
        about: What the outbox's tables say about themselves; None until it was asked for.
        expiry: When to look for parked rows that are too old, by the monotonic clock.
    """

    account: str | None
    in_flight: InFlight = field(default_factory=InFlight)
    answered_for: str | None = None
    about: About | None = None
    expiry: float = 0.0


@dataclass(slots=True)
class Setup:
    """What all calls of one client, or of one view of it, share.

    Attributes:
        fingerprint: A digest of the key, under which the account is remembered in the store; None if it must not be.
        attempt: How long one attempt of a request may take, in seconds; leases outlive it.
        drops_test_addresses: The host is Klaviyo's own, which drops events for test addresses.
        deadline: Seconds that a call about one person may take in all; None for no limit.
        base: The scheme and the host to which requests go.
        is_observed: Decisions and outcomes are told to a callback or to telemetry.
        has_outbox: There may be an outbox, which direct calls have to ask in passing.
        row: The row of the outbox that is being carried out; None for a direct call.
        joins: The batch that the call belongs to, if its requests travel together with those of other calls.
    """

    dialect: Dialect
    policy: Policy
    line: Line
    shared: Shared
    fingerprint: str | None
    attempt: float
    drops_test_addresses: bool
    deadline: float | None = None
    base: str = ""
    is_observed: bool = False
    has_outbox: bool = False
    row: int | None = None
    joins: Joins | None = None

    @property
    def in_flight(self) -> InFlight:
        """The calls on their way."""
        return self.shared.in_flight


@dataclass(slots=True)
class Call:
    """One call of a public operation.

    Attributes:
        account: The namespace of the map.
        writes: What is known about the writes of this call.
        notices: What has gone differently so far.
        deadline: When it has to be done.
        patience_ends: Until when this call waits for others, on the monotonic clock; None before the first wait.
        pause: How long this call waits for others next.
        awaits_klaviyo: What it waits for is a request that Klaviyo has accepted and not carried out yet.
    """

    setup: Setup
    operation: str
    account: str
    writes: Writes = field(default_factory=Writes)
    notices: list[Notice] = field(default_factory=list[Notice])
    deadline: Deadline = field(default_factory=Deadline)
    patience_ends: float | None = None
    pause: float = 0.02
    awaits_klaviyo: bool = False

    @property
    def dialect(self) -> Dialect:
        """The dialect of the client."""
        return self.setup.dialect

    @property
    def policy(self) -> Policy:
        """The policy of the client."""
        return self.setup.policy

    @property
    def lease_ttl(self) -> float:
        """How long a lease lives from each renewal: an attempt, and a margin."""
        return self.setup.attempt + self.policy.lease

    def notice(self, code: NoticeCode, kind: str | None, message: str) -> None:
        """Add a notice, once."""
        notice = Notice(code, kind, message)
        if notice not in self.notices:
            self._add(notice)

    def take_in(self, findings: Findings) -> None:
        """Raise what the policy refuses of what the call was given, and add a notice for each of the rest.

        Raises:
            InvalidPropertyError: The call cannot be made.
        """
        for notice in findings.notices(self.policy.properties):
            self._add(notice)

    def _add(self, notice: Notice) -> None:
        self.notices.append(notice)
        extra = {"operation": self.operation, "code": notice.code}
        logger.warning("%s: %s", self.operation, notice.message, extra=extra)


class LeaseLostError(SafeKlaviyoError):
    """Another call has taken this lease over: write nothing more under it. Never leaves this package.

    It is a `SafeKlaviyoError` so that a doubt about an earlier attempt is kept with it.
    """

    def __init__(self) -> None:
        super().__init__("the lease was taken over")


NOTHING_ELSE: frozenset[int] = frozenset()
MISSING = frozenset({404})
TAKEN = frozenset({409})
TAKEN_OR_MISSING = frozenset({404, 409})


def send(
    call: Call,
    request: Request,
    *,
    main: bool = False,
    accept: frozenset[int] = NOTHING_ELSE,
    again: Callable[[], Flow[Request]] | None = None,
    lease: Lease | None = None,
    before: Before | None = None,
    writes_on: str | None = None,
) -> Flow[Response]:
    """Send a request, with retries, and keep what is known about the call's writes up to date.

    Args:
        main: The request is (part of) the operation's main write.
        accept: Statuses to return rather than raise.
        again: Builds the request again before each repeat.
        lease: The lease under which it is sent: renewed, and so checked, before each attempt.
        before: Done before each attempt and each wait, where it is sent under several leases; see `transmit`.
        writes_on: The profile that it changes under the lease.

    Raises:
        LeaseLostError: Another call has taken the lease over; this attempt was not made.
        BadRequestError: The status is a success, and the body reports a failure, as the legacy ``0`` does.
        ConfigurationError: Klaviyo has answered for another account than this client's.
    """
    # Step 1: note the profile before anything leaves. If the lease is lost later, that profile has to be checked.
    if writes_on is not None:
        call.writes.begin(writes_on)
    if lease is not None:
        # A batch may send it together with the requests of others; what one answer does not settle, each settles here.
        if again is not None and may_join(call, request, main=main):
            joined = yield from Join(call, request, again, lease)
            if joined is not None:
                return joined
            request = yield from again()
        held = lease
        # It has to outlive what comes next by a margin.
        before = lambda seconds: renew(call, held, ttl=seconds + call.policy.lease)  # noqa: E731
    # Step 2: send. The error tells of its own attempts; `writes` keeps what is known of all writes of the call.
    try:
        exchange = yield from transmit(
            call.setup.line, request, accept=accept, again=again, before=before, deadline=call.deadline
        )
    except SafeKlaviyoError as error:
        if error.outcome == "unknown":
            call.writes.doubtful(main=main)
        else:
            call.writes.refused(main=main)
        raise
    if request.repeat is not Repeat.READ:
        _judge(call, exchange, main=main)
    notice_account(call, exchange.response)
    return exchange.response


def _judge(call: Call, exchange: Exchange, *, main: bool) -> None:
    """Note what the answer to a write says.

    Raises:
        BadRequestError: The status is a success, and the body reports a failure.
    """
    response = exchange.response
    is_applied = is_success(response.status)
    failure = call.dialect.failure_in(response) if is_applied else None
    if is_applied and failure is None:
        call.writes.applied(main=main)
    elif exchange.doubt:
        # A 409 or 404 that the caller accepted may be the trace of this call's own earlier attempt: it proves nothing.
        call.writes.doubtful(main=main)
    else:
        call.writes.refused(main=main)
    if failure is not None:
        raise failure


def renew(call: Call, lease: Lease, *, ttl: float | None = None, intent: str | None = None) -> Flow[None]:
    """Renew a lease, and so check that this call still has it.

    Args:
        ttl: How long it lives from now on, if not as long as usual.
        intent: What it carries from now on, if that changes.

    Raises:
        LeaseLostError: Another call has taken the lease over.
    """
    ttl = call.lease_ttl if ttl is None else ttl
    kept = yield from Renew(call.account, lease.token, ttl=ttl, intent=intent)
    if not kept:
        raise LeaseLostError


def release(call: Call, lease: Lease) -> Flow[bool]:
    """Give a lease back.

    Returns:
        Whether this call gave the lease back with its intent. False in two cases: the store could not take it, so that
        it expires by itself; or another call has taken the lease over, and carries the intent out.
    """
    try:
        return (yield from Release(call.account, lease.token))
    except StoreError:
        logger.warning("a lease could not be released and will expire", extra={"operation": call.operation})
        return False


def is_lost(call: Call, lease: Lease) -> Flow[bool]:
    """Tell whether another call has taken a lease over; False where the store cannot say."""
    try:
        return not (yield from Renew(call.account, lease.token, ttl=call.lease_ttl))
    except StoreError:
        return False


def give_up(call: Call, lease: Lease, error: SafeKlaviyoError | None = None) -> Flow[bool]:
    """Release the lease of a write that was not made, unless a copy of it may still land: then lease and intent stay.

    Args:
        error: The failure that ended the write, if one did.

    Returns:
        Whether lease and intent are gone.
    """
    # The write may still land, or the map may not show what was done. The next call finds the intent and finishes it.
    if call.writes.may_still_land or isinstance(error, StoreError):
        return False
    return (yield from release(call, lease))


def run(setup: Setup, operation: str, body: Callable[[Call], Flow[T]]) -> Flow[T]:
    """Run one public operation: find out the account, and see to the error's outcome and the log."""
    call = Call(setup, operation, setup.shared.account or "")
    try:
        yield from start_deadline(call)
        if setup.shared.account is None:
            call.account = setup.shared.account = yield from _account(call)
        result = yield from body(call)
    except SafeKlaviyoError as error:
        # The outcome of the whole operation replaces that of the request that failed (P7).
        error.operation = operation
        error.outcome = call.writes.outcome
        exceeded = yield from exceeded_by(call, error)
        _log_failure(call, exceeded or error)
        yield from conclude(call, error.rule)
        if exceeded is None:
            raise
        raise exceeded from error
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s: %s", operation, call.writes.outcome, extra=_extra(call))
    yield from conclude(call, getattr(result, "rule", None))
    return result


def _account(call: Call) -> Flow[str]:
    """Return the account's id: as remembered for this key, or asked of Klaviyo once."""
    # Step 1: what the map remembers for this key, so that only the first client ever asks Klaviyo.
    fingerprint = call.setup.fingerprint
    name = None if fingerprint is None else f"account:{fingerprint}"
    remembered = None if name is None else (yield from Recall("", name))
    if remembered is not None:
        return remembered
    # Step 2: ask Klaviyo. Without the account nothing may be written: two accounts would share one map.
    try:
        response = yield from send(call, get_account())
    except PermissionDeniedError as exc:
        raise ConfigurationError(
            "this key may not read the account's id; pass account= (the six-character public key) to the client"
        ) from exc
    try:
        account = read_account_id(response)
    except UnreadableAnswer as exc:
        raise NoResponseError("Klaviyo's answer could not be read; try again later", may_retry=True) from exc
    if name is not None:
        yield from Remember("", name, account)
    return account


def _log_failure(call: Call, error: SafeKlaviyoError) -> None:
    extra = _extra(call) | {"rule": error.rule}
    if isinstance(error, APIStatusError):
        extra["request_id"] = error.request_id
    logger.info("%s: %s (%s)", call.operation, type(error).__name__, call.writes.outcome, extra=extra)


def _extra(call: Call) -> dict[str, str | None]:
    return {"operation": call.operation, "outcome": call.writes.outcome, "account": call.account}
