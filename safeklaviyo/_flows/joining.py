"""Requests about one person each that travel together: what a batch of consents or withdrawals shares.

The flow of a verb about one person runs as it always does: it finds the person, takes the lease, writes the intent down
and reads the profile. Where it would then send its request, it yields a `Join`. The batch (`many.together`) drives
many such flows, and carries the effect out by sending the requests of many people as one. No shell ever sees a `Join`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safeklaviyo._api.messages import Response
from safeklaviyo._api.paths import SUBSCRIBE_PROFILES, SUPPRESS_PROFILES, UNSUBSCRIBE_PROFILES
from safeklaviyo._effects import Effect

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.messages import Request
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.stores.base import Lease

_JOINABLE = frozenset({SUBSCRIBE_PROFILES, SUPPRESS_PROFILES, UNSUBSCRIBE_PROFILES})


@dataclass(slots=True)
class Joins:
    """Marks the calls of one batch, and holds what they need not ask twice.

    Attributes:
        lists: Whether a list asks its members to confirm, by its id.
    """

    lists: dict[str, bool] = field(default_factory=dict[str, bool])


@dataclass(frozen=True, slots=True, eq=False)
class Join(Effect[Response | None]):
    """Send a request together with those of other people, under the lease of each.

    Its result is the answer to all of them; or None where each has to be sent by itself after all. Throws what `send`
    does.

    Attributes:
        again: Builds the request again before a repeat, from what is so then.
    """

    call: Call
    request: Request
    again: Callable[[], Flow[Request]]
    lease: Lease


def may_join(call: Call, request: Request, *, main: bool) -> bool:
    """Tell whether a request of a call travels with those of others: the main writes of a batch's calls do."""
    return main and call.setup.joins is not None and request.endpoint in _JOINABLE
