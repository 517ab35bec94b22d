"""The guard's hook beside plain httpx: ``python -m tests.benchmarks.guarding``. CPU of one event, as a ratio.

The hook's own share is what a guarded call takes beyond a plain one. It is to be at most 0.30 of the plain call.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo import Klaviyo, guard
from safeklaviyo.stores.base import Change
from tests.benchmarks.__main__ import served
from tests.benchmarks.measuring import ACCOUNT, BODY, HEADERS, KEY, ROW, cpu, show

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBER, ROUNDS, PART = 20, 200, 0.25
MODES: dict[str, guard.Mode | None] = {
    "plain httpx": None,
    "observed": "observe",
    "observed, with a log": "observe",
    "enforced": "enforce",
    "enforced, with a log": "enforce",
}


def main() -> None:
    """Measure, over a map in memory and over one in a file."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(served(folder)).urls["plain"]
        for store in ("memory://", f"sqlite:///{folder}/identity.db"):
            k = stack.enter_context(Klaviyo(KEY, account=ACCOUNT, store=store, base_url=url))
            k._shell.store.bind(ACCOUNT, Change(ROW))
            calls: dict[str, Callable[[], object]] = {}
            for name, mode in MODES.items():
                hook = None
                if mode is not None:
                    log = folder / "decisions.jsonl" if "log" in name else None
                    hook = guard.transport(k, httpx.HTTPTransport(), mode=mode, decision_log=log)
                http = stack.enter_context(httpx.Client(base_url=url, headers=HEADERS, transport=hook))
                calls[name] = partial(_post, http, hook)
            # The rounds are short, and the quarter of them counts that other programs have disturbed least.
            measured = cpu(calls, number=1, rounds=ROUNDS, part=PART)
            measured = {name: value / NUMBER for name, value in measured.items()}
            show(f"one event, {store.partition(':')[0]}", measured, "plain httpx")
            plain = measured["plain httpx"]
            for name in MODES:
                print(f"  the hook's own share, {name:<24} {(measured[name] - plain) / plain:6.2f}")


def _post(http: httpx.Client, hook: Any) -> None:
    """Post some events, and wait until the log has them: its work is the hook's too."""
    for _ in range(NUMBER):
        http.post("/api/events", json=BODY)
    if hook is not None:
        hook.guard.flush()


if __name__ == "__main__":
    sys.exit(main())
