"""Acting under a lease: taking one, finishing the write of whoever let theirs expire, and putting right what came late.

Whoever meets an expired lease finishes *that same* write first, so that a late copy of it is harmless (H4, H6). Klaviyo
knows no tokens: a writer that finds itself fenced restores the profile to what the map says before it goes on (H8).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from safeklaviyo._flow import Acquire, Bind, Find, Flow
from safeklaviyo._operations._call import Call, LeaseLostError, give_up, logger, release
from safeklaviyo._operations._change import change_under_lease
from safeklaviyo._operations._contact import contact_under_lease
from safeklaviyo._operations._erasing import erase_under_lease
from safeklaviyo._operations._leases import Intent, wait
from safeklaviyo._operations._merge import merge_under_lease
from safeklaviyo._operations._restore import restore_under_lease
from safeklaviyo.errors import APIStatusError, IdentityError, RetryableError, SafeKlaviyoError, ServerError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Change

if TYPE_CHECKING:
    from safeklaviyo.stores.base import Lease

T = TypeVar("T")


def take(call: Call, intent: Intent) -> Flow[Lease | None]:
    """Take the lease that an intent needs.

    Returns:
        The lease; None if things have to be looked at again, after waiting for somebody or finishing their write.

    Raises:
        LeaseHeldError: Somebody else held it for as long as the policy lets this call wait (R13).
    """
    lease = yield from Acquire(call.account, intent.identifiers(), intent.encode(), call.lease_ttl)
    if lease is None:
        yield from wait(call, None)
        return None
    if lease.taken_over:
        yield from finish(call, lease)
        return None
    return lease


def give_way(call: Call, lease: Lease) -> Flow[None]:
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
        yield from finish(call, taken)
    else:  # it was released between the two looks
        yield from release(call, taken)


def act(call: Call, lease: Lease, written: str | None, body: Flow[T]) -> Flow[T | None]:
    """Run what is done under a lease.

    Args:
        written: The address that the body writes, which could land late.

    Returns:
        What the body returns; None if somebody else took the lease over, and everything has to be decided again.
    """
    try:
        return (yield from body)
    except LeaseLostError as lost:
        profile_id = lost.profile_id
    except SafeKlaviyoError as error:
        yield from give_up(call, lease, error)
        raise
    if profile_id is not None:
        yield from restore(call, profile_id, written)
    return None


def restore(call: Call, profile_id: str, written: str | None = None) -> Flow[bool]:
    """Restore a profile to what the map says of it, under a lease of its own.

    Args:
        written: An address that this call may have written too late.

    Returns:
        Whether the profile agrees with the map now; also False if the map knows nobody with it.
    """
    while True:
        found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile_id),))
        binding = found.current(Kind.PROFILE_ID)
        if binding is None:
            return False
        intent = Intent("restore", binding.external_id, binding.email, profile_id, new_email=written)
        lease = yield from take(call, intent)
        if lease is not None:
            done = yield from act(call, lease, None, restore_under_lease(call, lease, intent))
            if done is not None:
                return done


def finish(call: Call, lease: Lease) -> Flow[SafeKlaviyoError | None]:
    """Finish the write of a lease that was taken over.

    An intent that cannot be carried out is closed, so that it blocks nobody, and what the map says of the customer is
    checked before it is used again (R16). One whose write may still land, or that Klaviyo could not be asked about,
    stays until somebody can.

    Returns:
        Why it was closed; None if it was finished, or taken over by somebody else.

    Raises:
        APIConnectionError: Klaviyo cannot be asked.
        APIStatusError: Klaviyo cannot answer now.
    """
    intent = Intent.decode(lease.intent)
    try:
        yield from _carry_out(call, lease, intent)
    except LeaseLostError:
        return None
    except (IdentityError, APIStatusError) as error:
        if isinstance(error, RetryableError | ServerError):
            raise
        logger.warning(
            "an interrupted %s could not be completed: %s", intent.verb, type(error).__name__,
            extra={"operation": call.operation, "rule": error.rule, "account": call.account},
        )  # fmt: skip
        yield from _doubt(call, lease, intent)
        return error
    return None


def _carry_out(call: Call, lease: Lease, intent: Intent) -> Flow[object]:
    match intent.verb:
        case "contact":
            return (yield from contact_under_lease(call, lease, intent))
        case "change":
            return (yield from change_under_lease(call, lease, intent))
        case "merge":
            return (yield from merge_under_lease(call, lease, intent))
        case "erase":
            return (yield from erase_under_lease(call, lease, intent))
        case "restore":
            return (yield from restore_under_lease(call, lease, intent))


def _doubt(call: Call, lease: Lease, intent: Intent) -> Flow[None]:
    """Close an intent: let what the map says be checked at its next use, and release the lease."""
    found = yield from Find(call.account, tuple(intent.identifiers()))
    for match in found.matches:
        if match.retired_at is None and match.binding.verified_at is not None:
            unchecked = replace(match.binding, verified_at=None)
            yield from Bind(call.account, Change(unchecked, verified=False))
    yield from release(call, lease)
