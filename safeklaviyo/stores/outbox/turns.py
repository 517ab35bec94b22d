"""Turns at Klaviyo's endpoints: all workers of an outbox share one count of requests for each account.

Decided here: in which second a request may be sent. Requests are counted in whole seconds of the outbox's clock. A
window of `n` seconds touches at most `n + 1` whole seconds. So at most the limit of a window is given to any `n + 1`
seconds together. Then no window of Klaviyo's gets more than its limit, no matter when it begins.
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
"""Seconds ahead for which a turn can be reserved. A later turn means that the clock was set back; it is forgotten."""


def next_turn(used: Mapping[int, int], now: float, limits: Mapping[int, int]) -> int:
    """Return the first second in which one more request fits into every window.

    Turns are given in the order of the calls. No turn is earlier than the one before it.

    Args:
        used: How many requests each second has.
        now: In unix seconds.
        limits: The windows: seconds, and how many requests fit into them.
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
    # Step 1: lock the endpoint's row, or make it. Every other worker waits for its turn until the transaction ends.
    rows = yield (
        (
            "INSERT INTO {pace} AS known(account, endpoint, used) VALUES (?, ?, '{{}}')"
            " ON CONFLICT(account, endpoint) DO UPDATE SET used = known.used RETURNING used, {now}"
        ),
        (call.account, call.endpoint),
    )
    # Step 2: count by the database's clock, which all workers share, and forget seconds that are over.
    now = float(rows[0][1])
    limits = dict(call.limits)
    oldest, latest = now - max(limits) - 1, now + HORIZON
    used = {int(each): count for each, count in _read(rows[0][0]).items() if oldest <= int(each) <= latest}
    second = next_turn(used, now, limits)
    wait = max(0.0, second - now)
    # Step 3: reserve only a turn that will be used. The caller gives up if the turn is too late.
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
