"""A write that Klaviyo refuses because of another profile (409), where no profile that can be read explains it (R17).

Klaviyo's search and its reads may lag behind its writes, so the other profile may only not be visible yet. The first
such refusal marks the pair in the map. Until `Policy.lag` has passed since then, the caller may make the same call
again. After that lag is no explanation any more. A mark is void after a day.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from safeklaviyo._api.responses import is_success
from safeklaviyo._rules.conflicts import unexplained_conflict
from safeklaviyo.identity import Claim
from safeklaviyo.policy import DAY
from safeklaviyo.stores.calls import Find, Recall, Remember

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.errors import ProfileConflictError
    from safeklaviyo.identity import Identity


def unexplained(
    call: Call, response: Response | None, pair: Identity, identifier: str | None = None
) -> Flow[ProfileConflictError]:
    """Return the error for a refusal that nothing explains, with whether and when the same call may be made again.

    Args:
        response: The refusal, or an answer that does not show what was sent; None if there was neither.
        pair: What the customer was to have.
        identifier: The kind of the identifier that was sent, if only one was.
    """
    # An answer that does not show what was sent is a success by its status, and so says nothing of the refusal.
    refusal = None if response is None or is_success(response.status) else response
    left = yield from _lag_left(call, pair)
    return unexplained_conflict(refusal, pair, identifier, retry_after=left)


def _lag_left(call: Call, pair: Identity) -> Flow[float | None]:
    """Return for how many seconds lag can still be the reason; None once it cannot."""
    # By the store's clock, which is the same for all hosts.
    now = (yield from Find(call.account, Claim(pair.external_id, pair.email).identifiers())).now
    # Hashed, because the note may outlive the customer.
    named = f"{call.account}\0{pair.external_id or ''}\0{pair.email or ''}"
    note = f"conflict:{sha256(named.encode()).hexdigest()}"
    mark = yield from Recall(call.account, note)
    age = None if mark is None else now - float(mark)
    if age is not None and 0 <= age <= DAY:
        return call.policy.lag - age if age < call.policy.lag else None
    yield from Remember(call.account, note, repr(now))
    return call.policy.lag
