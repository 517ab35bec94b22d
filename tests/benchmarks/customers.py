"""The customers of the benchmarks, and the event that is sent about each.

There are so many that nothing known about one of them helps: they come in a shuffled order and in turn, so that each
call is about another customer than the thousands of calls before it. The clients of one process share a cache of
addresses, so each client of this library has customers of its own. Most have their mail at one of a few providers, as a
shop's customers do, and the others at a domain of their own.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

from safeklaviyo import Binding

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBER = 20_000
EVENT = {"product": "Boots", "price": 99.5, "tags": ["a", "b"], "sku": "B-1", "items": [{"id": 1}, {"id": 2}]}
_PROVIDERS = 10
_AT_PROVIDERS = 0.8


def customers(shop: str) -> list[Binding]:
    """Return the customers of a shop, shuffled, the same in every run."""
    chance = random.Random(shop)
    rows = []
    for n in range(NUMBER):
        provider = f"mail{chance.randrange(_PROVIDERS)}.example.net"
        domain = provider if chance.random() < _AT_PROVIDERS else f"company{n}.example.org"
        rows.append(Binding(f"{shop}-{n}", f"first.last.{shop}{n}@{domain}", f"01BENCHMARK{n:015d}"))
    chance.shuffle(rows)
    return rows


def in_turn(rows: list[Binding]) -> Callable[[], Binding]:
    """Return what gives the next customer at each call. Threads can share it."""
    return itertools.cycle(rows).__next__


def body_of(customer: Binding) -> dict[str, Any]:
    """Return the body of the event about a customer, as a caller without this library writes it by hand."""
    return {
        "data": {
            "type": "event",
            "attributes": {
                "properties": EVENT,
                "time": "2026-11-23T12:00:00+00:00",
                "unique_id": "0123456789abcdef0123456789abcdef",
                "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}},
                "profile": {
                    "data": {
                        "type": "profile",
                        "id": customer.profile_id,
                        "attributes": {"external_id": customer.external_id, "email": customer.email},
                    }
                },
            },
        }
    }
