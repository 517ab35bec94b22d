"""Spans and metrics, where OpenTelemetry is installed.

Decided here: what they say. Each attribute is a word of this package, of Klaviyo's table of endpoints, a number, or the
name of a class: never a target, a header, a body or the text of an error (P8). While a request is under way, the
instrumentation of the HTTP library below is suppressed, because it would note whole URLs, and a search has an address
in its URL.

Nothing is imported before the first call, and nothing at all is done where OpenTelemetry is not installed, or where the
program has set up no provider of its. What every call counts is added up here and given to OpenTelemetry when it asks:
an addition by its own counters takes it a twentieth of a call.
"""

from __future__ import annotations

import os
from functools import cache
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._api.paths import template_of
from safeklaviyo._effects import Send, Sleep
from safeklaviyo._version import VERSION
from safeklaviyo.stores.calls import Acquire
from safeklaviyo.stores.calls import Call as StoreEffect

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._effects import Concluded, Effect

_NAME: Final = "safeklaviyo"
_SUPPRESS: Final = "suppress_instrumentation"
"""The key of a context by which OpenTelemetry's own instrumentations let a request pass unseen."""
_PROVIDERS: Final = frozenset({"OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER"})
"""The variables that name the providers of a program that sets up none itself."""
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@cache
def telemetry() -> Telemetry | None:
    """Return the way to OpenTelemetry; None where it is not installed, or is older than 1.30."""
    try:
        from opentelemetry import context, metrics, trace  # noqa: PLC0415 - optional, and slow to import

        holders = ((trace, "_TRACER_PROVIDER"), (getattr(metrics, "_internal", metrics), "_METER_PROVIDER"))
        is_named = not _PROVIDERS.isdisjoint(os.environ)

        def _is_set_up() -> bool:
            # Without a provider both functions below look into the environment, at every call of this client. So look
            # first where they look before; in a version that has no such place, the functions decide.
            if not is_named and all(getattr(module, name, module) is None for module, name in holders):
                return False
            providers = (trace.get_tracer_provider(), metrics.get_meter_provider())
            return not all("Proxy" in type(each).__name__ for each in providers)

        return Telemetry(context, metrics.get_meter(_NAME, VERSION), trace, _is_set_up)
    except (ImportError, TypeError):
        return None


class Telemetry:
    """The tracer and the instruments.

    Attributes:
        is_set_up: Tells whether there is a provider of spans or of metrics, from which something comes.
    """

    def __init__(self, context: Any, meter: Any, trace: Any, is_set_up: Callable[[], bool]) -> None:
        self.context = context
        self.trace = trace
        self.tracer: Any = trace.get_tracer(_NAME, VERSION)
        self.client: Any = trace.SpanKind.CLIENT
        # Without the span that is current, of which each value would become an example, at twice the time.
        self.alone: Any = context.Context()
        self.operations = Sums(meter, "safeklaviyo.operations", "{operation}", "Calls, by operation, rule and outcome")
        self.map_calls = Sums(meter, "safeklaviyo.map.calls", "{call}", "Operations of the identity map")
        self.map_time = Sums(meter, "safeklaviyo.map.duration", "s", "Time that they took, all together")
        self.expired = Sums(meter, "safeklaviyo.leases.expired", "{lease}", "Leases of dead calls that were taken over")
        self.requests = _seconds(meter, "http.client.request.duration", "One attempt of a request")
        self.waits = _seconds(meter, "safeklaviyo.wait.duration", "One wait, by what it was for")
        self.is_set_up = is_set_up

    def operation(self) -> Span:
        """Begin the span of an operation."""
        return Span(self, self.tracer.start_span(_NAME))

    def end_operation(self, span: Span, concluded: Concluded | None, error: BaseException | None) -> None:
        """End the span of an operation, and count it."""
        noted: dict[str, Any] = {}
        if concluded is not None:
            noted |= {"safeklaviyo.operation": concluded.operation, "safeklaviyo.outcome": concluded.outcome}
            if concluded.rule is not None:
                noted["safeklaviyo.rule"] = concluded.rule
            span.of.update_name(f"{_NAME} {concluded.operation}")
        if error is not None:
            noted["error.type"] = type(error).__name__
        span.of.set_attributes(noted)
        span.end(error, is_error=error is not None)
        self.operations.add(1, noted)

    def step(self, effect: Effect[object], host: str) -> _Request | _Timed | None:
        """Return the context manager around an effect; None for one that is of no interest."""
        if isinstance(effect, Send):
            return _Request(self, effect, host)
        if isinstance(effect, StoreEffect):
            return _MapCall(self, None, {"safeklaviyo.map.call": effect.method}, effect)
        if isinstance(effect, Sleep):
            return _Timed(self, self.waits, {"safeklaviyo.wait.reason": effect.reason}, effect)
        return None


class Sums:
    """A counter that is added to here, and read by OpenTelemetry."""

    def __init__(self, meter: Any, name: str, unit: str, description: str) -> None:
        self._sums: dict[tuple[tuple[str, Any], ...], float] = {}
        self._lock = Lock()
        meter.create_observable_counter(name, [self._observed], unit, description)

    def add(self, number: float, noted: dict[str, Any]) -> None:
        """Add to the sum of some attributes."""
        # In the order in which the attributes are noted, which is one for each counter: to sort them would cost each
        # call time.
        key = tuple(noted.items())
        with self._lock:
            self._sums[key] = self._sums.get(key, 0) + number

    def _observed(self, _: object) -> list[Any]:
        from opentelemetry.metrics import Observation  # noqa: PLC0415 - as in `telemetry`

        with self._lock:
            return [Observation(number, dict(key)) for key, number in self._sums.items()]


def _seconds(meter: Any, name: str, description: str) -> Any:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=_SECONDS)


class Span:
    """A span that is current between its making and its end."""

    __slots__ = ("_telemetry", "_token", "of")

    def __init__(self, told: Telemetry, of: Any, *, suppresses: bool = False) -> None:
        self._telemetry = told
        self.of = of
        within = told.trace.set_span_in_context(of)
        if suppresses:
            within = told.context.set_value(_SUPPRESS, True, within)
        self._token = told.context.attach(within)

    def end(self, error: BaseException | None, *, is_error: bool) -> None:
        """End it. The error itself is not recorded: its message and its traceback are not for everybody."""
        # After a GeneratorExit this may be another context, in which the token means nothing.
        if not isinstance(error, GeneratorExit):
            self._telemetry.context.detach(self._token)
        if is_error:
            self.of.set_status(self._telemetry.trace.StatusCode.ERROR)
        self.of.end()


class _Timed:
    """An effect of which the duration is recorded."""

    __slots__ = ("_began", "_effect", "_instrument", "_noted", "_telemetry")

    def __init__(self, told: Telemetry, instrument: Any, noted: dict[str, Any], effect: Effect[Any]) -> None:
        self._telemetry = told
        self._instrument = instrument
        self._noted = noted
        self._effect = effect

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._noted["error.type"] = type(error).__name__
        self._record(perf_counter() - self._began)

    def _record(self, seconds: float) -> None:
        self._instrument.record(seconds, self._noted, self._telemetry.alone)

    def note(self, result: Any) -> Any:
        """Take in what came of the effect, and return it."""
        return result


class _MapCall(_Timed):
    """An operation of the identity map."""

    __slots__ = ()

    def note(self, result: Any) -> Any:
        """Same as `_Timed.note`."""
        if isinstance(self._effect, Acquire) and result is not None and result.taken_over:
            self._telemetry.expired.add(1, {})
        return result

    def _record(self, seconds: float) -> None:
        self._telemetry.map_calls.add(1, self._noted)
        self._telemetry.map_time.add(seconds, self._noted)


class _Request(_Timed):
    """One attempt of a request, with a span of its own."""

    __slots__ = ("_resend", "_span")

    def __init__(self, told: Telemetry, effect: Send, host: str) -> None:
        request = effect.request
        noted = {
            "http.request.method": request.method,
            "url.template": template_of(request.path),
            "server.address": host,
        }
        super().__init__(told, told.requests, noted, effect)
        self._resend = effect.resend

    def __enter__(self) -> None:
        noted, told = self._noted, self._telemetry
        of = told.tracer.start_span(f"{noted['http.request.method']} {noted['url.template']}", kind=told.client)
        if self._resend:
            of.set_attribute("http.request.resend_count", self._resend)
        self._span = Span(told, of, suppresses=True)
        super().__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        self._span.of.set_attributes(self._noted)
        self._span.end(error, is_error="error.type" in self._noted)

    def note(self, result: Any) -> Any:
        """Same as `_Timed.note`."""
        self._noted["http.response.status_code"] = result.status
        if result.status >= 400:
            self._noted["error.type"] = str(result.status)
        return result
