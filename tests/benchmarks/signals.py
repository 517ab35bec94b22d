"""What telemetry costs a warm `track`, as ratios within one run: ``python -m tests.benchmarks.signals``, by hand.

The clients differ in whom their calls are told to, and in nothing else. They take turns, a few calls each, so that the
machine's moods hit all alike; each ratio is taken within a round. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from safeklaviyo import Klaviyo
from tests.benchmarks.__main__ import served
from tests.benchmarks.customers import EVENT, customers, in_turn
from tests.benchmarks.measuring import ACCOUNT, KEY
from tests.support.signals import Observer, Telemetry, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ABSENT, SDK = "OpenTelemetry not installed", "spans and metrics, by its SDK"


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """See `SpanExporter.export`."""
        return SpanExportResult.SUCCESS


def _by_sdk(sampler: Sampler) -> Telemetry:
    tracing = TracerProvider(sampler=sampler)
    tracing.add_span_processor(BatchSpanProcessor(_Nowhere()))
    words = {name: getattr(trace, name) for name in ("SpanKind", "StatusCode", "set_span_in_context")}
    metering = MeterProvider([InMemoryMetricReader()])
    tracer = SimpleNamespace(get_tracer=tracing.get_tracer, **words)
    return Telemetry(context, metering.get_meter("safeklaviyo"), tracer, lambda: True)


def _observers() -> dict[str, Observer | None]:
    host, without = "127.0.0.1", telemetry()
    return {
        ABSENT: None,
        "on_decision alone": Observer(lambda _: None, None, host),
        "its API, without an SDK": Observer(None, without, host),
        "metrics, and no span sampled": Observer(None, _by_sdk(ALWAYS_OFF), host),
        SDK: Observer(None, _by_sdk(ALWAYS_ON), host),
    }


def _call(url: str, folder: str, observer: Observer | None, stack: ExitStack) -> Callable[[], object]:
    rows = customers("signal")
    k = stack.enter_context(Klaviyo(KEY, account=ACCOUNT, base_url=url, store=f"sqlite:///{folder}/warm.db"))
    if next(iter(k.bindings), None) is None:
        k.bindings.add(rows, trusted=True)
    started = k._shell._process
    assert started is not None
    k._shell._process = replace(
        started, observer=observer, setup=replace(started.setup, is_observed=observer is not None)
    )
    following = in_turn(rows)

    def call() -> None:
        customer = following()
        k.track("Placed Order", external_id=customer.external_id, email=customer.email, properties=EVENT)

    return call


def _measured(calls: dict[str, Callable[[], object]], number: int, rounds: int) -> dict[str, list[float]]:
    for call in calls.values():
        for _ in range(number):
            call()
    gc.collect()
    gc.freeze()
    measured: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            call, began = calls[name], time.process_time()
            for _ in range(number):
                call()
            measured[name].append((time.process_time() - began) / number * 1e6)
    return measured


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=50, help="calls in a turn")
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        server = stack.enter_context(served(Path(name)))
        calls = {what: _call(server.urls["plain"], name, observer, stack) for what, observer in _observers().items()}
        measured = _measured(calls, given.number, given.rounds)
    print("\nA warm track, CPU of a call, and the ratio within each round")
    for what, taken in measured.items():
        ratio = statistics.median(one / other for one, other in zip(taken, measured[ABSENT], strict=True))
        print(f"  {what:<32}{statistics.median(taken):7.0f} us (least {min(taken):.0f}){ratio:7.3f}")


if __name__ == "__main__":
    main()
