"""Why does this customer have two profiles? Asks the logs of a shop, or two that come with the examples.

Both are the same history: a sign-up, an order by the address, a new address through the id, an order by the new one.
One tracked right, and one duplicated.
"""

import sys
from pathlib import Path

from safeklaviyo.audit import diagnose

LOGS = Path(__file__).parent / "logs"


def tell(*paths: Path) -> None:
    diagnosis = diagnose(*paths)
    print(", ".join(path.name for path in paths))
    if diagnosis.cause is None:
        print("  no second profile in this log;", diagnosis.skipped, "entries could not be used")
        return
    for call, instead in zip(diagnosis.calls, diagnosis.prevented, strict=True):
        print("  ", call.index, call.time, call.method, call.path)
        print("    through safeklaviyo:", instead)
    print("  ", diagnosis.explanation)
    print("  ", "certain" if diagnosis.certain else "possible, assuming", *diagnosis.assumes)
    print("situation:", diagnosis.situation, "rule:", diagnosis.rule)


if sys.argv[1:]:
    tell(*map(Path, sys.argv[1:]))
else:
    for name in ("tracked_right.har", "duplicated.har"):
        tell(LOGS / name)
