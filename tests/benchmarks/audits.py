"""An audit of a large export: ``python -m tests.benchmarks.audits [ROWS]`` from the project's root, by hand.

One row in fifty has a duplicate. Shown are the seconds and the memory of the audit alone, in a process of its own.
"""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from safeklaviyo.audit import audit

ROWS = 1_000_000
COLUMNS = (
    "Email", "Klaviyo ID", "First Name", "Last Name", "Phone Number", "external_id", "Email Marketing Consent",
    "Email Suppressions", "SMS Marketing Consent", "Profile Created On", "Last Active", "City",
)  # fmt: skip


def write_export(path: Path, rows: int) -> None:
    """Write an export of so many profiles."""
    random = Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        last = ""
        for number in range(rows):
            domain = random.choice(("gmail.com", "yahoo.com", "shop.test", "web.de"))
            email, external_id = f"user.{number}@{domain}", f"{100_000 + number}"
            if number % 50 == 1:
                email, external_id = last.title(), ""
            last = email
            phone = f"+49151{random.randrange(10**8):08d}" if random.random() < 0.3 else ""
            writer.writerow([
                email, f"01{number:024d}", "Ada", "Love", phone, external_id, "SUBSCRIBED", "", "NEVER_SUBSCRIBED",
                "2024-01-01", "2026-01-01", "Berlin",
            ])  # fmt: skip


def measured(path: str) -> None:
    """Audit an export, and print what it has cost."""
    began_at = time.monotonic()
    with audit(path) as found:
        looked = time.monotonic() - began_at
        planned = len(found.plan().merges)
        spent = time.process_time()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{found.profiles:,} rows: {looked:.0f} s ({spent:.0f} s of CPU with the plan), {memory:.0f} MiB at most, "
            f"{len(found.findings):,} findings, {planned:,} merges planned"
        )


def main() -> None:
    """Write the export, and audit it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profiles.csv"
        write_export(path, int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
        program = f"from tests.benchmarks.audits import measured; measured({str(path)!r})"
        subprocess.run([sys.executable, "-c", program], check=True)


if __name__ == "__main__":
    main()
