"""Acting under a lease: taking one, finishing the write of whoever let theirs expire, and putting right what came late.

Whoever meets an expired lease finishes *that same* write first, so that a late copy of it is harmless (H4, H6). Klaviyo
knows no tokens: a writer that finds itself fenced restores the profile to what the map says before it goes on (H8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from safeklaviyo._flow import Acquire, Find, Flow
from safeklaviyo._operations._call import Call, LeaseLostError, give_up, logger, release
from safeklaviyo._operations._change import change_under_lease
from safeklaviyo._operations._contact import contact_under_lease
from safeklaviyo._operations._leases import Intent, wait
from safeklaviyo._operations._restore import restore_under_lease
from safeklaviyo.errors import APIStatusError, IdentityError, RetryableError, SafeKlaviyoError, ServerError
from safeklaviyo.identity import Identifier, Kind

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
        yield from _finish(call, lease)
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
        yield from _finish(call, taken)
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
        intent = Intent("restore", binding.external_id, binding.email, written, profile_id)
        lease = yield from take(call, intent)
        if lease is not None:
            done = yield from act(call, lease, None, restore_under_lease(call, lease, intent))
            if done is not None:
                return done


def _finish(call: Call, lease: Lease) -> Flow[None]:
    """Finish the write of a lease that was taken over.

    An intent that cannot be carried out is closed, so that it blocks nobody; one whose write may still land, or that
    Klaviyo could not be asked about, stays until somebody can.

    Raises:
        APIConnectionError: Klaviyo cannot be asked.
    """
    intent = Intent.decode(lease.intent)
    try:
        if intent.verb == "contact":
            yield from contact_under_lease(call, lease, intent)
        elif intent.verb == "restore":
            yield from restore_under_lease(call, lease, intent)
        else:
            yield from change_under_lease(call, lease, intent)
    except LeaseLostError:
        return
    except (IdentityError, APIStatusError) as error:
        if isinstance(error, RetryableError | ServerError):
            raise
        logger.warning(
            "an interrupted %s could not be completed: %s", intent.verb, type(error).__name__,
            extra={"operation": call.operation, "rule": error.rule, "account": call.account},
        )  # fmt: skip
        yield from release(call, lease)
