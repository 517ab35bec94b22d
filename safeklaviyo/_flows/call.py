"""One call of a public operation: what it shares with the client, and what it remembers about itself.

Decided here: the `outcome` of an error (P7), and what is logged. Every flow of this package takes a `Call` first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from safeklaviyo._api.accounts import get_account
from safeklaviyo._api.messages import Repeat, Request, Response
from safeklaviyo._api.responses import UnreadableAnswer, is_success, read_account_id
from safeklaviyo._flows.in_flight import InFlight
from safeklaviyo._sending.retry import Line, transmit
from safeklaviyo.errors import (
    APIStatusError,
    ConfigurationError,
    NoResponseError,
    Outcome,
    PermissionDeniedError,
    SafeKlaviyoError,
    StoreError,
)
from safeklaviyo.models import Notice
from safeklaviyo.stores.calls import Recall, Release, Remember, Renew

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.dialects import Dialect
    from safeklaviyo._effects import Flow
    from safeklaviyo._input.findings import Findings
    from safeklaviyo.models import NoticeCode
    from safeklaviyo.policy import Policy
    from safeklaviyo.stores.base import Lease

T = TypeVar("T")

logger = logging.getLogger("safeklaviyo")


@dataclass(slots=True)
class Shared:
    """What all calls of a client and of its views share.

    Attributes:
        account: The namespace of the map; None until it is known.
        in_flight: The calls on their way.
    """

    account: str | None
    in_flight: InFlight = field(default_factory=InFlight)


@dataclass(slots=True)
class Setup:
    """What all calls of one client, or of one view of it, share.

    Attributes:
        fingerprint: A digest of the key, under which the account is remembered in the store.
        attempt: How long one attempt of a request may take, in seconds; leases outlive it.
        drops_test_addresses: The host is Klaviyo's own, which drops events for test addresses.
        deadline: Seconds that a call about one person may take in all; None for no limit.
    """

    dialect: Dialect
    policy: Policy
    line: Line
    shared: Shared
    fingerprint: str
    attempt: float
    drops_test_addresses: bool
    deadline: float | None = None

    @property
    def in_flight(self) -> InFlight:
        """The calls on their way."""
        return self.shared.in_flight


@dataclass(slots=True)
class Call:
    """One call of a public operation.

    Attributes:
        account: The namespace of the map.
        outcome: Whether the main write has changed Klaviyo, as far as it has got.
        notices: What has gone differently so far.
        doubt: A write of this call, main or not, may still land.
        touched: The profile that this call has begun to write under a lease. A call that finds its lease taken over
            brings that profile back to what the map says.
        patience_ends: Until when this call waits for others, on the monotonic clock; None before the first wait.
        pause: How long it waits next.
    """

    setup: Setup
    operation: str
    account: str
    outcome: Outcome = "not_applied"
    notices: list[Notice] = field(default_factory=list[Notice])
    doubt: bool = False
    touched: str | None = None
    patience_ends: float | None = None
    pause: float = 0.02

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
) -> Flow[Response]:
    """Send a request, with retries, and keep the call's outcome up to date.

    Args:
        main: The request is (part of) the operation's main write.
        accept: Statuses to return rather than raise.
        again: Builds the request again before each repeat.
        lease: The lease under which it is sent: renewed, and so checked, before each attempt.

    Raises:
        LeaseLostError: Another call has taken the lease over; this attempt was not made.
    """
    before = None if lease is None else _renewing(call, lease)
    try:
        exchange = yield from transmit(call.setup.line, request, accept=accept, again=again, before=before)
    except SafeKlaviyoError as error:
        _note(call, error.outcome, main=main)
        raise
    response = exchange.response
    if request.repeat is not Repeat.READ:
        # After a doubt, a 409 or 404 that the caller accepted may be the trace of this call's own earlier attempt.
        refused: Outcome = "unknown" if exchange.doubt else "not_applied"
        _note(call, "applied" if is_success(response.status) else refused, main=main)
    return response


def check_accepted(call: Call, response: Response) -> None:
    """Refuse an answer that has a successful status and reports a failure in its body, as the legacy ``0`` does.

    Raises:
        BadRequestError: Nothing was done.
    """
    try:
        call.dialect.check(response)
    except SafeKlaviyoError as error:
        call.outcome = error.outcome
        raise


def _note(call: Call, outcome: Outcome, *, main: bool) -> None:
    """Remember the outcome of a write. Neither "applied" nor a doubt is ever taken back."""
    # A doubt about any write keeps its lease; only the main write decides the outcome that the caller sees (P7).
    call.doubt = call.doubt or outcome == "unknown"
    if main and (outcome == "applied" or call.outcome == "not_applied"):
        call.outcome = outcome


def _renewing(call: Call, lease: Lease) -> Callable[[float], Flow[None]]:
    def renew(seconds: float) -> Flow[None]:
        kept = yield from Renew(call.account, lease.token, seconds + call.policy.lease)
        if not kept:
            raise LeaseLostError

    return renew


def release(call: Call, lease: Lease) -> Flow[bool]:
    """Give a lease back.

    Returns:
        Whether this call gave it back with its intent. False if the store could not take it, so that it expires by
        itself, and if another call has taken the lease over, which carries the intent out.
    """
    try:
        return (yield from Release(call.account, lease.token))
    except StoreError:
        logger.warning("a lease could not be released and will expire", extra={"operation": call.operation})
        return False


def give_up(call: Call, lease: Lease, error: SafeKlaviyoError) -> Flow[bool]:
    """Release the lease of a write that failed, unless a copy of it may still land: then lease and intent stay.

    Returns:
        Whether lease and intent are gone.
    """
    # The write may still land, or the map may not show what was done. The next call finds the intent and finishes it.
    if call.doubt or isinstance(error, StoreError):
        return False
    return (yield from release(call, lease))


def run(setup: Setup, operation: str, body: Callable[[Call], Flow[T]]) -> Flow[T]:
    """Run one public operation: find out the account, and see to the error's outcome and the log."""
    call = Call(setup, operation, setup.shared.account or "")
    try:
        if setup.shared.account is None:
            call.account = setup.shared.account = yield from _account(call)
        result = yield from body(call)
    except SafeKlaviyoError as error:
        # The outcome of the whole operation replaces that of the request that failed (P7).
        error.operation = operation
        error.outcome = call.outcome
        _log_failure(call, error)
        raise
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s: %s", operation, call.outcome, extra=_extra(call))
    return result


def _account(call: Call) -> Flow[str]:
    """Return the account's id: as remembered for this key, or asked of Klaviyo once."""
    name = f"account:{call.setup.fingerprint}"
    known = yield from Recall("", name)
    if known is not None:
        return known
    try:
        response = yield from send(call, get_account())
    except PermissionDeniedError as exc:
        raise ConfigurationError(
            "this key may not read the account's id; pass account= (the six-character public key) to the client"
        ) from exc
    try:
        account = read_account_id(response)
    except UnreadableAnswer as exc:
        raise NoResponseError("Klaviyo's answer could not be read", may_retry=True) from exc
    yield from Remember("", name, account)
    return account


def _log_failure(call: Call, error: SafeKlaviyoError) -> None:
    extra = _extra(call) | {"rule": error.rule}
    if isinstance(error, APIStatusError):
        extra["request_id"] = error.request_id
    logger.info("%s: %s (%s)", call.operation, type(error).__name__, call.outcome, extra=extra)


def _extra(call: Call) -> dict[str, str | None]:
    return {"operation": call.operation, "outcome": call.outcome, "account": call.account}
