"""OpenTelemetry in this process, with what it is told kept in memory while a test listens."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from safeklaviyo._runtime.observing import Observer
from safeklaviyo._runtime.telemetry import Telemetry, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Heard", "Observer", "Telemetry", "listening", "telemetry"]


class _Spans(SpanProcessor):
    """Keeps spans, while anybody listens."""

    def __init__(self) -> None:
        self.kept: list[ReadableSpan] | None = None

    def on_end(self, span: ReadableSpan) -> None:
        """See `SpanProcessor.on_end`."""
        if self.kept is not None:
            self.kept.append(span)


class Heard:
    """What was told.

    Attributes:
        spans: All that have ended.
    """

    def __init__(self, spans: list[ReadableSpan], reader: InMemoryMetricReader) -> None:
        self.spans = spans
        self._reader = reader

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the attributes of the spans of a name."""
        return [dict(span.attributes or {}) for span in self.spans if span.name == name]

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the points of a metric: attributes, and the value or the number of values."""
        return [
            (dict(point.attributes), getattr(point, "value", None) or point.count)
            for each, point in self._all()
            if each == name
        ]

    def texts(self) -> Iterator[str]:
        """Yield all that was told, as text."""
        for span in self.spans:
            yield span.to_json()
        yield from self.told_of_metrics()

    def told_of_metrics(self) -> Iterator[str]:
        """Yield the points of all metrics, as text."""
        for name, point in self._all():
            yield f"{name} {point.to_json()}"

    def _all(self) -> Iterator[tuple[str, Any]]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield metric.name, point


@cache
def _providers() -> tuple[_Spans, InMemoryMetricReader]:
    """Set OpenTelemetry up, once in a process, with the instrumentation of httpx."""
    spans, reader = _Spans(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(spans)
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(MeterProvider([reader]))
    return spans, reader


@contextmanager
def listening(*, instruments_httpx: bool = False) -> Iterator[Heard]:
    """Listen to what is told."""
    spans, reader = _providers()
    spans.kept = []
    if instruments_httpx:
        HTTPXClientInstrumentor().instrument()
    try:
        yield Heard(spans.kept, reader)
    finally:
        spans.kept = None
        if instruments_httpx:
            HTTPXClientInstrumentor().uninstrument()
