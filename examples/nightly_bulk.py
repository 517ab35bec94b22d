"""A nightly import of loyalty points, in jobs of a thousand; a row that is refused costs no other row.

It runs against the simulator. For Klaviyo, make the client with `Klaviyo(deadline=None)`.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from safeklaviyo.testing import KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from safeklaviyo import Progress, SafeKlaviyoError

EXPORT = "id,email,points\n1815,ada@shop.test,120\n1906,grace@shop.test,80\nNULL,nobody@shop.test,5\n"


def rows(file: io.TextIOBase) -> Iterator[dict[str, Any]]:
    """Yield one row for each customer, as it is needed."""
    for row in csv.DictReader(file):
        yield {"external_id": row["id"], "email": row["email"], "properties": {"points": int(row["points"])}}


def show(progress: Progress) -> None:
    """Print how far the import is."""
    print(f"{progress.done}/{progress.total or '?'} rows, {progress.refused} refused")


def refuse(number: int, _row: Mapping[str, Any], error: SafeKlaviyoError) -> None:
    """Print why a row was refused, and by which rule; the error's message names nobody."""
    print(f"row {number}: {error} ({error.rule})")


def main() -> None:
    """Import the export."""
    simulator = KlaviyoSimulator(queue_lag=0.0)
    with simulator.client(deadline=None) as klaviyo:
        report = klaviyo.identify_many(rows(io.StringIO(EXPORT)), on_progress=show, on_refused=refuse)
    print(f"{report.accepted} accepted, {report.refused} refused, {len(simulator.profiles)} profiles")


if __name__ == "__main__":
    main()
