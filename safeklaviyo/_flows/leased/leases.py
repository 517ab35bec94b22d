"""Acting under a lease: taking one, finishing the write of whoever let theirs expire, and putting right what came late.

Whoever meets an expired lease finishes *that same* write first, so that a late copy of it is harmless (H4, H6). Klaviyo
knows no tokens: a writer that finds itself fenced restores the profile to what the map says before it goes on (H8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from safeklaviyo._flows.call import Call, LeaseLostError, give_up, logger, release
from safeklaviyo._flows.leased.change_identifiers import change_under_lease
from safeklaviyo._flows.leased.erase import erase_under_lease
from safeklaviyo._flows.leased.first_contact import contact_under_lease
from safeklaviyo._flows.leased.intents import (
    ChangeIntent,
    ContactIntent,
    EraseIntent,
    MergeIntent,
    RepairIntent,
    decode,
    wait,
)
from safeklaviyo._flows.leased.merge import merge_under_lease
from safeklaviyo._flows.leased.repair import repair_under_lease
from safeklaviyo.errors import (
    BadRequestError,
    IdentityError,
    NotFoundError,
    ProfileNotVisibleError,
    SafeKlaviyoError,
    StoreError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Acquire, Bind, Find, Renew

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import Intent
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import Lease

T = TypeVar("T")

_CHANGING = frozenset({"change", "merge", "erase"})


def acquire_lease(call: Call, intent: Intent) -> Flow[Lease | None]:
    """Take the lease that an intent needs.

    Returns:
        The lease; None if things have to be looked at again, after waiting for somebody or finishing their write.

    Raises:
        LeaseHeldError: Somebody else held it for as long as the policy lets this call wait (R13).
    """
    try:
        lease = yield from Acquire(call.account, intent.identifiers(), intent.encode(), call.lease_ttl)
    except StoreError:
        _leave_behind(call, intent)
        raise
    if lease is None:
        yield from wait(call, None)
        return None
    if lease.taken_over:
        yield from finish_intent(call, lease)
        return None
    return lease


def wait_or_finish(call: Call, lease: Lease) -> Flow[None]:
    """Wait for somebody else's lease, or finish their write if it has expired (R13).

    Raises:
        LeaseHeldError: It has been waited for as long as the policy allows.
    """
    if lease.remaining > 0:
        yield from wait(call, lease)
        return
    taken = yield from Acquire(call.account, lease.identifiers, lease.intent, call.lease_ttl)
    if taken is None:
        yield from wait(call, None)
    elif taken.taken_over:
        yield from finish_intent(call, taken)
    else:  # it was released between the two looks
        yield from release(call, taken)


def run_leased(call: Call, lease: Lease, body: Flow[T]) -> Flow[T | None]:
    """Run what is done under a lease.

    Returns:
        What the body returns; None if somebody else took the lease over, and everything has to be decided again.
    """
    call.touched = None
    try:
        return (yield from body)
    except LeaseLostError:
        pass
    except SafeKlaviyoError as error:
        # What a fenced holder has read is out of date, and no reason to refuse.
        is_fenced = isinstance(error, IdentityError | NotFoundError) and (yield from _is_lost(call, lease))
        if not is_fenced:
            yield from _leave(call, lease, error)
            raise
    intent = decode(lease.intent)
    _leave_behind(call, intent)
    if call.touched is not None:
        yield from repair_profile(call, call.touched, intent)
    return None


def _leave(call: Call, lease: Lease, error: SafeKlaviyoError) -> Flow[None]:
    """Give a lease up after a failure; where another call has it by now, bring the profile back to the map's truth.

    A write with an unknown outcome may have landed after that other call's, and after changes that came later still.
    """
    is_gone = yield from give_up(call, lease, error)
    if is_gone:
        return
    intent = decode(lease.intent)
    _leave_behind(call, intent)
    profile_id = call.touched
    if profile_id is None or isinstance(error, StoreError) or not (yield from _is_lost(call, lease)):
        return
    try:
        yield from repair_profile(call, profile_id, intent)
    except SafeKlaviyoError as failed:
        logger.warning(
            "%s: a late write could not be checked: %s", call.operation, type(failed).__name__,
            extra={"operation": call.operation, "account": call.account},
        )  # fmt: skip


def _leave_behind(call: Call, intent: Intent) -> None:
    """Say that a change may yet be made (P7): its intent is in the map, or may be, and whoever has met it makes it."""
    if call.outcome == "not_applied" and intent.verb in _CHANGING:
        call.outcome = "unknown"


def _is_lost(call: Call, lease: Lease) -> Flow[bool]:
    try:
        return not (yield from Renew(call.account, lease.token, ttl=call.lease_ttl))
    except StoreError:
        return False


def repair_profile(call: Call, profile_id: str, late: Intent | None = None) -> Flow[bool]:
    """Restore a profile to what the map says of it, under a lease of its own.

    Args:
        late: What this call may have written too late.

    Returns:
        Whether the profile agrees with the map now; also False if the map knows nobody with it.
    """
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
    """What became of somebody else's write.

    Attributes:
        status: ``"completed"``; ``"failed"``: it cannot be done, and was closed; ``"postponed"``: Klaviyo is not done.
        error: Why it failed.
    """

    status: Literal["completed", "failed", "postponed"]
    error: SafeKlaviyoError | None = None


def finish_intent(call: Call, lease: Lease) -> Flow[Finished]:
    """Finish the write of a lease that was taken over.

    An intent that cannot be carried out is closed, so that it blocks nobody, and what the map says of the customer is
    checked before it is used again (R16). One whose write may still land, or that Klaviyo could not be asked about,
    stays until somebody can: a key that is refused says nothing of the intent.

    Raises:
        APIConnectionError: Klaviyo cannot be asked.
        APIStatusError: Klaviyo cannot answer now, or does not answer this key.
        ProfileNotVisibleError: Klaviyo does not show a profile now, and that is not evidence enough yet.
    """
    intent = decode(lease.intent)
    try:
        return (yield from _carry_out(call, lease, intent))
    except LeaseLostError:
        return Finished("completed")  # by somebody else
    except ProfileNotVisibleError:
        raise  # nothing can be concluded yet: the intent waits
    except (IdentityError, BadRequestError, NotFoundError) as error:
        logger.warning(
            "an interrupted %s could not be completed: %s", intent.verb, type(error).__name__,
            extra={"operation": call.operation, "rule": error.rule, "account": call.account},
        )  # fmt: skip
        yield from _close_intent(call, lease, intent)
        return Finished("failed", error)


def _carry_out(call: Call, lease: Lease, intent: Intent) -> Flow[Finished]:
    match intent:
        case ContactIntent():
            contact = yield from contact_under_lease(call, lease, intent)
            return (yield from _after_restoring(call, intent, contact.put_back, None))
        case ChangeIntent():
            changed = yield from change_under_lease(call, lease, intent)
            if changed.is_pending:
                return Finished("postponed")
            return (yield from _after_restoring(call, intent, changed.put_back, changed.taken))
        case MergeIntent():
            yield from merge_under_lease(call, lease, intent)
        case EraseIntent():
            yield from erase_under_lease(call, lease, intent)
        case RepairIntent():
            yield from repair_under_lease(call, lease, intent)
    return Finished("completed")


def _after_restoring(
    call: Call, intent: Intent, put_back: Profile | None, taken: SafeKlaviyoError | None
) -> Flow[Finished]:
    """Restore the profile that stood in the way, and carry the intent out again."""
    if put_back is None:
        return Finished("completed")
    restored = yield from repair_profile(call, put_back.id)
    if not restored:
        return Finished("failed", taken)
    lease = yield from acquire_lease(call, intent)
    return Finished("completed") if lease is None else (yield from finish_intent(call, lease))


def _close_intent(call: Call, lease: Lease, intent: Intent) -> Flow[None]:
    """Close an intent: let what the map says be checked at its next use, and release the lease."""
    found = yield from Find(call.account, tuple(intent.identifiers()))
    for match in found.matches:
        if match.retired_at is None and match.binding.verified_at is not None:
            unchecked = replace(match.binding, verified_at=None)
            yield from Bind(call.account, Change(unchecked, verified=False))
    yield from release(call, lease)
