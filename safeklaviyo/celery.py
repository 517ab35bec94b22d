"""Celery: a task that repeats the same event and not another one, and tasks that drain the outbox.

Decided here: which errors a task is repeated for, and after how long. Celery itself is not imported: the task and the
app that are given come from it.
"""

from __future__ import annotations

import inspect
import random
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from safeklaviyo._worker.contract import OfKlaviyo
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from celery.app.task import Task

    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo.errors import SafeKlaviyoError

__all__ = ["retry", "tasks"]

NAME: Final = "safeklaviyo"
ROWS: Final = 10_000
"""Rows that one task delivers at most, so that no lane keeps a worker for itself."""
LONGEST_PAUSE: Final = 600.0


def retry(task: Task[..., Any], error: SafeKlaviyoError) -> NoReturn:
    """Repeat a task later, if the call that failed in it may be repeated; else raise the error.

    A repeated `track` has to send the same event. Otherwise Klaviyo counts an event twice when only its answer was
    lost. So a task that tracks takes the arguments ``unique_id`` and ``time`` and hands them to `track`: Celery calls
    the repeated task with those of the error.

    The task's own ``max_retries`` says how often. The pause is the error's ``retry_after``. An error without one makes
    the pause double, from one second to ten minutes.

    Args:
        task: The task, declared with ``bind=True``.
        error: What its call has raised.

    Raises:
        celery.exceptions.Retry: The task will be repeated.
        SafeKlaviyoError: The error says ``may_retry=False``, or the task has no retries left.
        ConfigurationError: The event may have been recorded, and the task takes no ``unique_id``.
    """
    if not error.may_retry:
        raise error
    kwargs = dict(task.request.kwargs or {})
    if error.unique_id is not None:
        kwargs |= _same_event(task, error)
    pause = min(LONGEST_PAUSE, 2.0 ** min(task.request.retries or 0, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
    raise task.retry(
        args=tuple(task.request.args or ()),
        kwargs=kwargs,
        exc=error,
        countdown=pause if error.retry_after is None else error.retry_after,
    )


def _same_event(task: Task[..., Any], error: SafeKlaviyoError) -> dict[str, Any]:
    """Return the arguments by which the repeated task sends the same event."""
    time = error.time.isoformat() if isinstance(error.time, datetime) else error.time
    same = {"unique_id": error.unique_id, "time": time}
    parameters = inspect.signature(task.run).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return same
    taken = {name: value for name, value in same.items() if name in {each.name for each in parameters}}
    # Without a unique_id the repeated task would send a second event. That is harmless only if the first never arrived.
    if "unique_id" not in taken and error.outcome != "not_applied":
        raise ConfigurationError(
            "this event may have been recorded: let the task take unique_id and time, and hand them to track"
        ) from error
    return taken


def tasks(app: Celery, k: Klaviyo, *, every: float = 1.0, queue: str | None = None, name: str = NAME) -> None:
    """Give an app the tasks that drain the outbox of a client, and entries of its beat that call them.

    Run a worker, and one beat. The tasks are:

    - ``safeklaviyo.sweep`` looks for lanes with rows that may go, and calls ``safeklaviyo.drain`` for each lane;
    - ``safeklaviyo.recover`` finishes interrupted changes;
    - ``safeklaviyo.recheck_changes`` repairs what Klaviyo has undone.

    A drain takes its lane in the outbox's own database. So one task at a time drains a lane, even if Celery delivers a
    message twice.

    Args:
        app: The app; also one that has no broker yet.
        k: The client. It may be made before workers are forked.
        every: Seconds between two looks.
        queue: The queue of the tasks; else the app's default.
        name: What the tasks' names begin with. An app with the clients of several accounts gives each its own.
    """
    # Not shared: Celery gives shared tasks to all apps of the process, and another app's would drain this client.
    own: dict[str, Any] = {"ignore_result": True, "shared": False}
    client = OfKlaviyo(k)
    # A message that no worker took in time is dropped: beat sends a newer one. So messages never pile up while all
    # workers are busy.
    brief: dict[str, Any] = {"expires": max(10.0, 2 * every)} | ({} if queue is None else {"queue": queue})
    long = {**brief, "expires": 300.0}

    def drain(lane: int) -> None:
        """Deliver due rows of one lane, `ROWS` at most."""
        client.drain(lane, ROWS)

    def sweep() -> None:
        """Send one `drain` for each lane that has due rows."""
        for lane in k.outbox.lanes():
            draining.apply_async((lane,), **brief)

    def _made(work: Callable[..., None]) -> Any:
        give: Any = app.task  # Celery has no types
        return give(name=f"{name}.{work.__name__}", **own)(work)

    draining = _made(drain)
    _schedule(app, _made(sweep), every, brief)
    for repair, seconds in _repairs(k):
        _schedule(app, _made(repair), seconds, long)


def _repairs(k: Klaviyo) -> Iterator[tuple[Callable[[], None], float]]:
    """Yield what finishes and repairs changes, and the seconds between two of its calls."""

    def recover() -> None:
        """Finish the changes that a dead process has left."""
        k.recover()

    def recheck_changes() -> None:
        """Compare recent changes with Klaviyo, and repair an address that was put back."""
        k.recheck_changes(repair=True)

    yield recover, 180.0
    yield recheck_changes, 3600.0


def _schedule(app: Celery, task: Any, seconds: float, options: dict[str, Any]) -> None:
    """Add a task to the app's beat, and keep the shop's own entries."""
    entry = {"task": task.name, "schedule": seconds, "options": options}
    app.conf.beat_schedule = {**(app.conf.beat_schedule or {}), task.name: entry}
