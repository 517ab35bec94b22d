"""What a call lets those know who observe its client: each decision of the rules, and how the call has ended.

Without an observer nothing is yielded, so that it costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._effects import Concluded, Decided

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Decision


def tell(call: Call, decision: Decision) -> Flow[None]:
    """Let them know what the rules have decided."""
    if call.setup.is_observed:
        yield from Decided(decision)


def conclude(call: Call, rule: str | None) -> Flow[None]:
    """Let them know how the operation has ended."""
    if call.setup.is_observed:
        yield from Concluded(call.operation, call.writes.outcome, rule)
