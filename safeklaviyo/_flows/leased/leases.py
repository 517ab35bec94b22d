"""Acting under a lease: taking one, finishing the write of an expired one, and repairing what came late.

A call that finds an expired lease finishes *that same* write first, so that a late copy of it is harmless (H4, H6).
Klaviyo knows no fencing tokens: a writer that finds itself fenced brings the profile back to what the map says before
it goes on (H8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.call import Call, LeaseLostError, give_up, is_lost, logger, release
from safeklaviyo._flows.leased.change_identifiers import change_under_lease
from safeklaviyo._flows.leased.erase import erase_under_lease
from safeklaviyo._flows.leased.first_contact import contact_under_lease
from safeklaviyo._flows.leased.giving import finish_giving
from safeklaviyo._flows.leased.intents import (
    ChangeIntent,
    ContactIntent,
    EraseIntent,
    GiveIntent,
    MergeIntent,
    RepairIntent,
    WithdrawIntent,
    decode,
)
from safeklaviyo._flows.leased.merge import merge_under_lease
from safeklaviyo._flows.leased.repair import repair_under_lease
from safeklaviyo._flows.leased.withdrawing import finish_withdrawal
from safeklaviyo._flows.waiting import wait_for_lease
from safeklaviyo._rules.claims import refusal
from safeklaviyo._rules.evidence import decide_mismatch
from safeklaviyo.errors import (
    BadRequestError,
    ConsentWithdrawnError,
    IdentityError,
    NotFoundError,
    ProfileNotVisibleError,
    SafeKlaviyoError,
    StoreError,
)
from safeklaviyo.identity import Identifier, Identity, Kind
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Acquire, Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import Changing, Intent
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import Lease

T = TypeVar("T")
Status: TypeAlias = Literal["completed", "failed", "postponed", "accepted"]
Consent = TypeVar("Consent", GiveIntent, WithdrawIntent)

_CHANGING = frozenset({"change", "merge", "erase", "subscribe", "withdraw"})
"""The verbs that are the operation itself. First contact and repairs come before or beside it."""


def acquire_lease(call: Call, intent: Intent) -> Flow[Lease | None]:
    """Take the lease that an intent needs.

    Returns:
        The lease; None if everything has to be decided again, after waiting for another call or finishing its write.

    Raises:
        LeaseHeldError: Another call held it for as long as the policy lets this call wait (R13).
    """
    lease = yield from _acquire(call, intent)
    if lease is None:
        yield from wait_for_lease(call, None)
        return None
    # The write of the expired lease comes first: a late copy of it could undo what this call writes (H4, H6).
    if lease.taken_over:
        yield from finish_intent(call, lease)
        return None
    return lease


def acquire_for_consent(call: Call, intent: Consent) -> Flow[tuple[Lease, Consent] | None]:
    """Take the lease of a request about consent, which need not wait for every earlier one that Klaviyo has accepted.

    Returns:
        The lease and the intent that it carries; None if everything has to be decided again, as `acquire_lease`.

    Raises:
        LeaseHeldError: Another call held it for as long as the policy lets this call wait (R13).
    """
    for _ in range(2):
        lease = yield from _acquire(call, intent)
        if lease is None:
            yield from wait_for_lease(call, None)
            return None
        if not lease.taken_over:
            return lease, intent
        pending = decode(lease.intent)
        finished = yield from finish_intent(call, lease)
        beside = intent.beside(pending) if finished.status == "accepted" else None
        if beside is None:
            return None
        # From here on this call waits for the effect of both, under a lease of its own on all that it names.
        yield from release(call, lease)
        intent = beside
    return None


def _acquire(call: Call, intent: Intent) -> Flow[Lease | None]:
    try:
        return (yield from Acquire(call.account, intent.identifiers(), intent.encode(), call.lease_ttl))
    except StoreError:
        # The store may have granted the lease before it failed.
        _leave_intent(call, intent)
        raise


def wait_or_finish(call: Call, lease: Lease) -> Flow[None]:
    """Wait for another call's lease, or finish its write if the lease has expired (R13).

    Raises:
        LeaseHeldError: This call has waited as long as the policy allows.
    """
    if lease.remaining > 0:
        yield from wait_for_lease(call, lease)
        return
    taken = yield from Acquire(call.account, lease.identifiers, lease.intent, call.lease_ttl)
    if taken is None:
        yield from wait_for_lease(call, None)
    elif taken.taken_over:
        yield from finish_intent(call, taken)
    else:  # it was released between the two looks
        yield from release(call, taken)


def run_leased(call: Call, lease: Lease, body: Flow[T]) -> Flow[T | None]:
    """Run what is done under a lease.

    Returns:
        What the body returns; None if another call took the lease over, and everything has to be decided again.
    """
    call.writes.begin(None)
    # Step 1: run it. What a fenced holder has read is out of date, so its refusals count only while it has the lease.
    try:
        return (yield from body)
    except LeaseLostError:
        pass
    except SafeKlaviyoError as error:
        is_fenced = isinstance(error, IdentityError | ConsentWithdrawnError | NotFoundError) and (
            yield from is_lost(call, lease)
        )
        if not is_fenced:
            yield from _end_failed(call, lease, error)
            raise
    # Step 2: another call carries the intent out. This call's own write may have landed after that (H8).
    intent = decode(lease.intent)
    _leave_intent(call, intent)
    if call.writes.begun_on is not None:
        yield from repair_profile(call, call.writes.begun_on, intent)
    return None


def _end_failed(call: Call, lease: Lease, error: SafeKlaviyoError) -> Flow[None]:
    """Give a lease up after a failure; where another call has it by now, bring the profile back to what the map says.

    A write with an unknown outcome may have landed after that other call's, and after changes that came later still.
    """
    # Step 1: give the lease up, unless a write may still land. Then the next call has to find the intent.
    is_gone = yield from give_up(call, lease, error)
    if is_gone:
        return
    intent = decode(lease.intent)
    _leave_intent(call, intent)
    # Step 2: repair, only where another call has finished the intent by now. Otherwise the profile is this lease's.
    profile_id = call.writes.begun_on
    if profile_id is None or isinstance(error, StoreError) or not (yield from is_lost(call, lease)):
        return
    # A failure to repair must not hide the failure that the caller has to know about.
    try:
        yield from repair_profile(call, profile_id, intent)
    except SafeKlaviyoError as failed:
        logger.warning(
            "%s: a late write could not be checked: %s", call.operation, type(failed).__name__,
            extra={"operation": call.operation, "account": call.account},
        )  # fmt: skip


def _leave_intent(call: Call, intent: Intent) -> None:
    """Set the outcome to unknown: the intent may be stored, and the next call that finds it will carry it out (P7)."""
    if intent.verb in _CHANGING:
        call.writes.doubtful(main=True, in_flight=False)


def repair_profile(call: Call, profile_id: str, late: Intent | None = None) -> Flow[bool]:
    """Bring a profile back to what the map says of it, under a lease of its own.

    Args:
        late: What this call may have written too late.

    Returns:
        Whether the profile agrees with the map now; also False if no binding in the map has the profile.
    """
    # In a loop, because a lease that was waited for or lost means that the binding may have changed.
    while True:
        found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile_id),))
        binding = found.current(Kind.PROFILE_ID)
        if binding is None:
            return False
        intent = RepairIntent(external_id=binding.external_id, email=binding.email, profile_id=profile_id)
        if isinstance(late, ChangeIntent):
            intent = replace(
                intent,
                new_external_id=late.new_external_id,
                new_email=late.new_email,
                new_phone_number=late.new_phone_number,
                clears=late.clears,
            )
        lease = yield from acquire_lease(call, intent)
        if lease is not None:
            done = yield from run_leased(call, lease, repair_under_lease(call, lease, intent))
            if done is not None:
                return done


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of another call's write.

    Attributes:
        status: ``"completed"``; ``"failed"``: it cannot be done, and was closed; ``"postponed"``: it is not done;
            ``"accepted"``: Klaviyo has accepted it and is not done, so that the intent stays until that shows.
        error: Why it failed.
    """

    status: Status
    error: SafeKlaviyoError | None = None


def finish_intent(call: Call, lease: Lease) -> Flow[Finished]:
    """Finish the write of a lease that was taken over.

    - An intent that cannot be carried out is closed, so that it blocks no call. What the map says of the customer is
      checked before it is used again (R16).
    - An intent stays if its write may still land, or if Klaviyo could not be asked about it: a key that is refused says
      nothing of the intent.

    Raises:
        APIConnectionError: Klaviyo cannot be asked.
        APIStatusError: Klaviyo cannot answer now, or does not answer this key.
        ProfileNotVisibleError: Klaviyo does not show a profile now, and that is not evidence enough yet.
    """
    intent = decode(lease.intent)
    try:
        finished = yield from _finish(call, lease, intent)
    except LeaseLostError:
        return Finished("completed")  # by the call that took this lease over in turn
    except ProfileNotVisibleError:
        raise  # nothing can be concluded yet: the intent waits
    except (IdentityError, ConsentWithdrawnError, BadRequestError, NotFoundError) as error:
        return (yield from _fail(call, lease, intent, error))
    call.awaits_klaviyo = finished.status == "accepted"
    return finished


def _finish(call: Call, lease: Lease, intent: Intent) -> Flow[Finished]:
    if isinstance(intent, GiveIntent):
        return Finished((yield from finish_giving(call, lease, intent)))
    if isinstance(intent, WithdrawIntent):
        return Finished((yield from finish_withdrawal(call, lease, intent)))
    return (yield from _carry_out(call, lease, intent))


def _carry_out(call: Call, lease: Lease, intent: Changing) -> Flow[Finished]:
    match intent:
        case ContactIntent():
            contact = yield from contact_under_lease(call, lease, intent)
            if contact.mismatch is not None:
                pair = Identity(intent.external_id, intent.email)
                error = refusal(decide_mismatch(pair, contact.mismatch, may_change=False, orphan=contact.orphan))
                return (yield from _fail(call, lease, intent, error))
            if contact.put_back is not None:
                return (yield from _after_repair(call, intent, contact.put_back.profile, None))
        case ChangeIntent():
            changed = yield from change_under_lease(call, lease, intent)
            if changed.is_pending:
                return Finished("postponed")
            if changed.blocked is not None:
                return (yield from _after_repair(call, intent, changed.blocked.profile, changed.blocked.taken))
        case MergeIntent():
            merged = yield from merge_under_lease(call, lease, intent)
            return Finished("completed" if merged.is_done else "accepted")
        case EraseIntent():
            yield from erase_under_lease(call, lease, intent)
        case RepairIntent():
            yield from repair_under_lease(call, lease, intent)
    return Finished("completed")


def _after_repair(call: Call, intent: Changing, profile: Profile, taken: SafeKlaviyoError | None) -> Flow[Finished]:
    """Repair the profile that shows a former identifier, and carry the intent out again.

    Args:
        taken: Why the intent fails if the profile cannot be repaired.
    """
    is_repaired = yield from repair_profile(call, profile.id)
    if not is_repaired:
        return Finished("failed", taken)
    lease = yield from acquire_lease(call, intent)
    return Finished("completed") if lease is None else (yield from finish_intent(call, lease))


def _fail(call: Call, lease: Lease, intent: Intent, error: SafeKlaviyoError) -> Flow[Finished]:
    """Close an intent that cannot be carried out: let the map be checked at its next use, and release the lease."""
    logger.warning(
        "an interrupted %s could not be completed: %s", intent.verb, type(error).__name__,
        extra={"operation": call.operation, "rule": error.rule, "account": call.account},
    )  # fmt: skip
    # The interrupted call may have written half of it, so the map is not trusted before the next read (R16).
    found = yield from Find(call.account, tuple(intent.identifiers()))
    for match in found.matches:
        if match.retired_at is None and match.binding.verified_at is not None:
            unchecked = replace(match.binding, verified_at=None)
            yield from bind(call, Change(unchecked, verified=False))
    yield from release(call, lease)
    return Finished("failed", error)
