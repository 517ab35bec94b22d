"""A diagnosis of a long log: ``python -m tests.benchmarks.diagnoses [CALLS] [CUSTOMERS]`` from the root, by hand.

The log is of ordinary customers, so that all of it is searched. Shown is the processor time, after the log is made.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from safeklaviyo.audit import diagnose

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.diagnosis_logs import Planted, Shop, ordinary


def long_log(calls: int, customers: int) -> Planted:
    """Return a log of so many calls."""
    random = Random(5)
    shop = Shop(random, patient=True)
    shop.klaviyo.add_list("News")
    players = [ordinary(shop, calls // customers) for _ in range(customers)]
    while players:
        player = random.choice(players)
        shop.wait(random.uniform(1, 30))
        if next(player, False) is False:
            players.remove(player)
    return Planted("", shop.entries)


def main() -> None:
    """Make the log, and diagnose it."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    customers = int(sys.argv[2]) if len(sys.argv) > 2 else max(1, calls // 10)
    made = long_log(calls, customers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shop.har")
        path.write_text(json.dumps(made.har))
        began_at = time.process_time()
        found = diagnose(path)
        spent = time.process_time() - began_at
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per_10000 = spent / len(made.entries) * 10_000
    print(
        f"{len(made.entries):,} calls of {customers:,} customers: {spent:.1f} s of CPU, {per_10000:.1f} s for 10,000,"
    )
    print(f"{memory:.0f} MiB at most, the making of the log included; {found!r}")


if __name__ == "__main__":
    main()
