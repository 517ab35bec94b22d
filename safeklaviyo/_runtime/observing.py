"""What is told about a call while it runs: its decisions to `on_decision`, its steps to OpenTelemetry.

The shells carry effects out through an `Observed` call where there is an observer, and by themselves otherwise.
Decided here: when decisions are told. They are kept until the call is over, so that `on_decision` is never called while
the call holds a lease, or with a write half done.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self

from safeklaviyo._effects import Concluded, Decided, Monotonic, NewId, Now, StartDeadline
from safeklaviyo._runtime.telemetry import Span, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from safeklaviyo._effects import Effect
    from safeklaviyo._runtime.telemetry import Telemetry
    from safeklaviyo.models import Decision

logger = logging.getLogger("safeklaviyo")

_INSTANT = frozenset({Monotonic, NewId, Now, StartDeadline})
"""Effects that take no time, and of which there is nothing to tell."""


class Observer:
    """Whom the calls of a client are told to."""

    __slots__ = ("host", "on_decision", "telemetry")

    def __init__(self, on_decision: Callable[[Decision], None] | None, told: Telemetry | None, host: str) -> None:
        self.on_decision = on_decision
        self.telemetry = told
        self.host = host


def observer(on_decision: Callable[[Decision], None] | None, host: str) -> Observer | None:
    """Return whom the calls of a client are told to; None if there is no observer."""
    told = telemetry()
    return None if on_decision is None and told is None else Observer(on_decision, told, host)


def is_idle(to: Observer | None) -> bool:
    """Tell whether a call that begins now is told to no one."""
    return to is None or (to.on_decision is None and not is_told(to))


def is_told(to: Observer | None) -> bool:
    """Tell whether telemetry is told of each operation of a client."""
    return to is not None and to.telemetry is not None and to.telemetry.is_set_up()


class Observed:
    """One call that is observed. A context manager around all of it."""

    __slots__ = ("_concluded", "_decisions", "_observer", "_span", "_telemetry")

    def __init__(self, to: Observer) -> None:
        self._observer = to
        told = to.telemetry
        self._telemetry = told if told is not None and told.is_set_up() else None
        self._decisions: list[Decision] = []
        self._concluded: Concluded | None = None
        self._span: Span | None = None

    def __enter__(self) -> Self:
        self._span = None if self._telemetry is None else self._telemetry.operation()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._telemetry is not None and self._span is not None:
            self._telemetry.end_operation(self._span, self._concluded, error)
        on_decision = self._observer.on_decision
        # After the span, which is to have the time of the call alone.
        if on_decision is not None:
            for decision in self._decisions:
                _tell(on_decision, decision)

    def performing(self, perform: Callable[[Any, Effect[object]], Any]) -> Callable[[Any, Effect[object]], Any]:
        """Return a function that carries effects out as the shell does, and notes what they were."""

        def _observed(sender: Any, effect: Effect[object]) -> Any:
            if type(effect) in _INSTANT:
                return perform(sender, effect)
            if self._notes(effect):
                return None
            step = self._step(effect)
            if step is None:
                return perform(sender, effect)
            with step:
                return step.note(perform(sender, effect))

        return _observed

    def performing_async(
        self, perform: Callable[[Any, Effect[object]], Coroutine[Any, Any, Any]]
    ) -> Callable[[Any, Effect[object]], Coroutine[Any, Any, Any]]:
        """Same as `performing`, awaited."""

        async def _observed(sender: Any, effect: Effect[object]) -> Any:
            if type(effect) in _INSTANT:
                return await perform(sender, effect)
            if self._notes(effect):
                return None
            step = self._step(effect)
            if step is None:
                return await perform(sender, effect)
            with step:
                return step.note(await perform(sender, effect))

        return _observed

    def _notes(self, effect: Effect[object]) -> bool:
        """Take in what a flow lets its observers know; False for an effect that has to be carried out."""
        if isinstance(effect, Decided):
            # A call that waits for another one comes to the same decision again and again.
            if self._decisions[-1:] != [effect.decision]:
                self._decisions.append(effect.decision)
        elif isinstance(effect, Concluded):
            self._concluded = effect
        else:
            return False
        return True

    def _step(self, effect: Effect[object]) -> Any:
        return None if self._telemetry is None else self._telemetry.step(effect, self._observer.host)


def _tell(on_decision: Callable[[Decision], None], decision: Decision) -> None:
    try:
        on_decision(decision)
    except Exception as exc:  # noqa: BLE001 - the call is done by then
        # Without the exception itself, which may quote the customer (P8).
        logger.warning("on_decision raised %s, which was dropped", type(exc).__name__)
