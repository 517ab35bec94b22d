"""Every wait of a flow: for another call's lease, for this process's own calls, and for Klaviyo to show a change.

No other module of this package sleeps. Waits between two attempts of one request are in `_sending.attempts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._effects import Flow, Monotonic, Sleep
from safeklaviyo.errors import LeaseHeldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._flows.call import Call
    from safeklaviyo.stores.base import Lease

_LONGEST_PAUSE = 0.5
_IN_FLIGHT_PAUSE = 0.01
_KLAVIYOS_TIME = 30.0
"""Seconds after which it is worth a try to look again whether Klaviyo has done what it accepted."""
LONGEST_TURN = 60.0
"""Seconds of Klaviyo's longest window."""


def poll(
    call: Call,
    look: Callable[[], Flow[bool]],
    *,
    seconds: float,
    pause: float,
    longest: float,
    between: Callable[[], Flow[None]] | None = None,
) -> Flow[bool]:
    """Look again and again until something is so, and at most so long.

    Args:
        look: Tells whether it is so.
        seconds: How long to wait at most, within the call's deadline. There is always one look.
        pause: How long to wait after the first look; each pause is twice the one before.
        longest: The longest pause.
        between: Done before each pause, such as the renewal of a lease.

    Returns:
        Whether it was seen to be so.
    """
    end = min((yield from Monotonic()) + seconds, call.deadline.ends_at)
    while True:
        if (yield from look()):
            return True
        left = end - (yield from Monotonic())
        if left <= 0:
            return False
        if between is not None:
            yield from between()
        yield from Sleep(min(pause, left))
        pause = min(pause * 2, longest)


def wait_for_lease(call: Call, lease: Lease | None) -> Flow[None]:
    """Wait a little for another call that holds a lease on this customer (R13). The caller then decides again.

    Args:
        lease: That lease; None if all that is known is that there was one.

    Raises:
        LeaseHeldError: This call has waited for others as long as the policy allows.
    """
    # Step 1: the time allowed is counted from the first wait of the call, over all of its waits.
    now = yield from Monotonic()
    if call.patience_ends is None:
        call.patience_ends = now + call.policy.wait
    left = min(call.patience_ends, call.deadline.ends_at) - now
    if left <= 0:
        raise _held(call, lease)
    # Step 2: wait no longer than the lease lives, because this call then finishes what it protects.
    pause = min(call.pause, left)
    if lease is not None:
        pause = min(pause, max(lease.remaining, 0.0) + 0.001)
    call.pause = min(call.pause * 2, _LONGEST_PAUSE)
    yield from Sleep(pause, "lease")


def _held(call: Call, lease: Lease | None) -> LeaseHeldError:
    if call.awaits_klaviyo:
        message = "Klaviyo has not yet carried out an earlier request about this customer's consent, or a merge"
        return LeaseHeldError(message, rule="R13", retry_after=min(_KLAVIYOS_TIME, call.policy.consent_wait))
    retry_after = None if lease is None else max(lease.remaining, 0.0)
    message = "another call holds the lease on this customer; try again later"
    return LeaseHeldError(message, rule="R13", retry_after=retry_after)


def wait_for_turn(seconds: float | None) -> Flow[None]:
    """Wait until Klaviyo takes a request about many people again: as long as it says, and a minute at most."""
    yield from Sleep(min(LONGEST_TURN, 1.0 if seconds is None else seconds), "pacing")


def wait_for_calls_in_flight(call: Call, key: str) -> Flow[None]:
    """Wait, for at most one attempt of a request, until no call of this process about one customer is in flight."""
    in_flight = call.setup.in_flight
    if not in_flight.has(key):
        return

    def _has_landed() -> Flow[bool]:
        yield from ()
        return not in_flight.has(key)

    yield from poll(call, _has_landed, seconds=call.setup.attempt, pause=_IN_FLIGHT_PAUSE, longest=_IN_FLIGHT_PAUSE)
