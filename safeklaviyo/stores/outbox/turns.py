"""Whose turn it is at an endpoint of Klaviyo's: one count of requests an account, for all workers of an outbox.

Decided here: in which second a request may be sent. Requests are counted in whole seconds of the outbox's clock. Any
window of `n` seconds touches at most `n + 1` of them, so the limit of a window holds for so many together: wherever
Klaviyo's own windows begin, no more than the limit falls into one.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo.stores.outbox import calls
    from safeklaviyo.stores.outbox.words import Steps

HORIZON: Final = 120.0
"""Seconds ahead for which a turn can be reserved. Later ones were reserved by a clock that has been set back since."""


def next_turn(used: Mapping[int, int], now: float, limits: Mapping[int, int]) -> int:
    """Return the first second in which one more request fits into every window.

    Turns are given in the order of the calls: none is earlier than the last one given.

    Args:
        used: How many requests each second has.
        now: In unix seconds.
        limits: How many requests fit into a window of so many seconds.
    """
    second = max([math.floor(now), *used])
    while any(
        sum(count for each, count in used.items() if second - seconds <= each <= second) >= limit
        for seconds, limit in limits.items()
    ):
        second += 1
    return second


def take_turn(call: calls.TakeTurn) -> Steps[float]:
    """Reserve a turn, if it comes soon enough, and return the seconds until then."""
    # This locks the row, or makes it: whoever else wants a turn waits until the transaction ends.
    rows = yield (
        (
            "INSERT INTO {pace} AS known(account, endpoint, used) VALUES (?, ?, '{{}}')"
            " ON CONFLICT(account, endpoint) DO UPDATE SET used = known.used RETURNING used, {now}"
        ),
        (call.account, call.endpoint),
    )
    now = float(rows[0][1])
    limits = dict(call.limits)
    oldest, latest = now - max(limits) - 1, now + HORIZON
    used = {int(each): count for each, count in _read(rows[0][0]).items() if oldest <= int(each) <= latest}
    second = next_turn(used, now, limits)
    wait = max(0.0, second - now)
    if wait <= min(call.latest, HORIZON):
        used[second] = used.get(second, 0) + 1
        yield (
            ("UPDATE {pace} SET used = ? WHERE account = ? AND endpoint = ?"),
            (json.dumps(used), call.account, call.endpoint),
        )
    return wait


def _read(text: Any) -> dict[str, int]:
    found: dict[str, int] = json.loads(text)
    return found
