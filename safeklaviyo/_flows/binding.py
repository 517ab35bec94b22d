"""Writing a binding into the map, and judging what became of it: another call may have been quicker.

Under a lease, the write that succeeds also releases the lease. Without one it is a compare-and-set on the version read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Call, LeaseLostError, release
from safeklaviyo.errors import StoreError
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Bind

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Lease

Judge = Callable[["Binding"], Change | None]
"""Returns what to write instead, given the binding in the way; None to decide again. May raise."""

_BINDS = 2
"""The change, and once what a `Judge` makes of the binding in the way."""


def bind(
    call: Call,
    change: Change,
    *,
    lease: Lease | None = None,
    on_conflict: Judge | None = None,
    on_stale: Judge | None = None,
) -> Flow[Binding | None]:
    """Write a binding into the map.

    Args:
        lease: The lease under which it is written.
        on_conflict: Asked where another customer's binding has one of the identifiers.
        on_stale: Asked where another call has changed this customer's binding.

    Returns:
        The binding as the map has it now. None if another call was quicker: nothing was written, the lease is released,
        and everything has to be decided again.

    Raises:
        LeaseLostError: Another call has taken the lease over.
    """
    for _ in range(_BINDS):
        outcome = yield from Bind(call.account, change if lease is None else replace(change, token=lease.token))
        if outcome.status == "bound":
            return outcome.binding
        if outcome.status == "fenced":
            raise LeaseLostError
        judge = on_conflict if outcome.status == "conflict" else on_stale
        instead = None if judge is None or outcome.binding is None else judge(outcome.binding)
        if instead is None:
            break
        change = instead
    # A bind that succeeds releases the lease, so one that does not has to be followed by this.
    if lease is not None:
        yield from release(call, lease)
    return None


def note_quietly(call: Call, change: Change) -> Flow[Binding | None]:
    """Write a change that only saves work later. A store that cannot take it now costs nothing.

    Returns:
        The binding as it is then; None if the change was not written.
    """
    try:
        return (yield from bind(call, change))
    except StoreError:
        return None
