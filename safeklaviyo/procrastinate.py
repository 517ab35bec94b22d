"""The outbox drained by procrastinate, 3.10 or newer: add `tasks` of a client to an app, and run its workers.

Decided here: what is deferred, and when. Each second one task looks which lanes have rows that may go, and defers one
job for each that has no job waiting. A job has its lane's lock, so that two workers never have the same lane in hand.

- There are no queueing locks. With them, a stalled job cannot be retried while a second job waits with the same
  queueing lock, and the second job waits for ever for the lock of the first.
- Stalled jobs are removed and not retried. If the lane has rows left, the next look defers a job.
- The task that looks has no lock. If its worker is killed, the task of the next second looks instead.

Correctness does not rest on any of this: every drain takes its lane in the outbox's own database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._worker.contract import OfKlaviyo
from safeklaviyo.errors import ConfigurationError

try:
    from procrastinate import Blueprint, JobContext, middleware
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import DeleteJobCondition, Status
except ImportError as _missing:
    raise ConfigurationError(
        'this needs procrastinate 3.10 or newer: pip install "safeklaviyo[procrastinate]"'
    ) from _missing

if TYPE_CHECKING:
    from procrastinate.manager import JobManager
    from procrastinate.tasks import Task
    from procrastinate.worker import Worker

    from safeklaviyo._client.klaviyo import Klaviyo

__all__ = ["tasks"]

QUEUE: Final = "safeklaviyo"
ROWS: Final = 10_000
"""Rows that one job delivers at most, so that no lane keeps a worker for itself."""
STALLED: Final = 30.0
"""Seconds without a sign of life after which a worker counts as dead: three of procrastinate's intervals."""
TOO_LATE: Final = 10.0
"""Seconds after which a look that was put off by other jobs is left to a newer one."""

logger: Final = logging.getLogger("safeklaviyo.procrastinate")


def tasks(k: Klaviyo, *, queue: str = QUEUE) -> Blueprint:
    """Return the tasks that drain the outbox of a client, recover its changes and recheck them.

    Give them to an app with ``app.add_tasks_from(tasks(klaviyo), namespace="shop")``, and run its workers with
    ``delete_jobs="always"``, because there is a job each second. Every worker of this queue needs this client.

    Args:
        k: The client. Its outbox need not be in the database of procrastinate.
        queue: The queue of the jobs.
    """
    blueprint = Blueprint()
    client = OfKlaviyo(k)

    # Each task is named here. Procrastinate's own name would hold this module's path, and waiting jobs would be lost
    # when the module moves.
    @blueprint.task(name="safeklaviyo.drain", queue=queue)
    def drain(lane: int) -> None:
        """Deliver due rows of one lane, `ROWS` at most."""
        done = client.drain(lane, ROWS)
        logger.debug("lane %d: %d rows delivered, %d dead", lane, done.delivered, done.dead)

    async def _look(context: JobContext, timestamp: int) -> None:
        if time.time() - timestamp > TOO_LATE:
            return
        # Before the new jobs: the job of a killed worker still has its lane's lock, and a new job would wait for it.
        await _remove_stalled(context.app.job_manager, queue)
        lanes = await asyncio.to_thread(k.outbox.lanes)
        if lanes:
            await _defer(context.app.job_manager, drain, lanes, queue)

    sweep = blueprint.task(name="safeklaviyo.sweep", queue=queue, pass_context=True, task_middleware=[_Advising()])(
        _look
    )
    blueprint.periodic(cron="* * * * * *")(sweep)
    _add_repairs(blueprint, k, queue)
    return blueprint


def _add_repairs(blueprint: Blueprint, k: Klaviyo, queue: str) -> None:
    """Add the tasks that finish interrupted changes, and repair what Klaviyo has undone."""

    @blueprint.periodic(cron="*/3 * * * *")
    @blueprint.task(name="safeklaviyo.recover", queue=queue, lock="safeklaviyo:recover")
    def recover(timestamp: int) -> None:  # noqa: ARG001 - procrastinate's name
        """Finish the changes that a dead process has left."""
        k.recover()

    @blueprint.periodic(cron="17 * * * *")
    @blueprint.task(name="safeklaviyo.recheck_changes", queue=queue, lock="safeklaviyo:recheck_changes")
    def recheck_changes(timestamp: int) -> None:  # noqa: ARG001 - as above
        """Compare recent changes with Klaviyo, and repair an address that was put back."""
        k.recheck_changes(repair=True)


async def _remove_stalled(manager: JobManager, queue: str) -> None:
    """Remove the jobs of workers that were killed, each of which would hold its lane's lock for ever."""
    for job in await manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=STALLED):
        # Another worker's look may have removed it already.
        with suppress(ConnectorException):
            await manager.finish_job(job, Status.FAILED, delete_job=True)
            logger.warning("removed a job of a worker that is gone: %s", job.task_name)


async def _defer(manager: JobManager, drain: Task[..., None, Any], lanes: tuple[int, ...], queue: str) -> None:
    """Defer a drain of each lane, but for lanes that a waiting job will drain."""
    waiting = {job.lock for job in await manager.list_jobs_async(queue=queue, task=drain.name, status="todo")}
    for lane in lanes:
        lock = f"{drain.name}:{lane}"
        if lock not in waiting:
            await drain.configure(lock=lock).defer_async(lane=lane)


class _Advising:
    """Warns once of a worker that keeps finished jobs: there would be 86,400 more each day."""

    def __init__(self) -> None:
        self._has_warned = False

    async def __call__(self, call_next: middleware.AsyncCallNext, _context: JobContext, worker: Worker) -> Any:
        if not self._has_warned and worker.delete_jobs is not DeleteJobCondition.ALWAYS:
            self._has_warned = True
            logger.warning('this worker keeps finished jobs, one each second: run it with delete_jobs="always"')
        return await call_next()
