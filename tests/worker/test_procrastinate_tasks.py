"""What is deferred for procrastinate, and when, over its own connector in memory."""

import asyncio
import logging
import time
from functools import wraps

from procrastinate import App
from procrastinate.jobs import Status
from procrastinate.testing import InMemoryConnector

from safeklaviyo.procrastinate import tasks
from safeklaviyo.testing import KlaviyoSimulator

SWEEP, DRAIN = "shop:safeklaviyo.sweep", "shop:safeklaviyo.drain"


def blocking(test):
    """Run a test in a loop of its own."""

    @wraps(test)
    def run(**fixtures):
        asyncio.run(test(**fixtures))

    return run


class Shop:
    """An app with the tasks of a client, whose outbox has rows of some customers."""

    def __init__(self, customers=3):
        self.simulator = KlaviyoSimulator()
        self.klaviyo = self.simulator.client()
        for number in range(customers):
            self.klaviyo.outbox.track("A", external_id=f"c{number}", email=f"c{number}@shop.test")
        self.app = App(connector=InMemoryConnector())
        self.app.add_tasks_from(tasks(self.klaviyo), namespace="shop")

    async def sweep(self, timestamp=None):
        """Let the look of a second wait."""
        await self.app.tasks[SWEEP].defer_async(timestamp=int(time.time()) if timestamp is None else timestamp)

    async def work(self, **options):
        """Do what waits."""
        options = {"delete_jobs": "always", **options}
        await self.app.run_worker_async(wait=False, install_signal_handlers=False, **options)

    @property
    def jobs(self):
        return list(self.app.connector.jobs.values())


@blocking
async def test_a_look_defers_one_job_for_each_lane_which_drains_it():
    """Each with its lane's lock and no queueing lock; afterwards nothing is left."""
    shop = Shop()
    async with shop.app.open_async():
        await shop.sweep()
        await shop.sweep()
        seen = []
        defer = shop.app.job_manager.batch_defer_jobs_async

        async def watched(jobs, connection=None):
            seen.extend(jobs)
            return await defer(jobs, connection)

        shop.app.job_manager.batch_defer_jobs_async = watched
        lanes = shop.klaviyo.outbox.lanes()
        await shop.work()
    assert [f"{DRAIN}:{lane}" for lane in lanes] == [each.lock for each in seen]
    assert {None} == {each.queueing_lock for each in seen}
    assert ([], 0) == (shop.jobs, shop.klaviyo.outbox.counts().waiting)
    shop.klaviyo.close()


@blocking
async def test_a_look_that_comes_too_late_is_left_to_a_newer_one():
    """Looks that have piled up behind long drains cost next to nothing."""
    shop = Shop()
    async with shop.app.open_async():
        shop.app.periodic_registry.periodic_tasks.clear()  # else the worker adds a look in time
        await shop.sweep(timestamp=int(time.time()) - 60)
        await shop.work()
    assert 3 == shop.klaviyo.outbox.counts().waiting
    shop.klaviyo.close()


@blocking
async def test_the_job_of_a_dead_worker_gives_its_lock_back():
    """It is removed and not repeated, so that the lane's next job can run."""
    shop = Shop(customers=1)
    async with shop.app.open_async():
        (lane,) = shop.klaviyo.outbox.lanes()
        await shop.app.tasks[DRAIN].configure(lock=f"{DRAIN}:{lane}").defer_async(lane=lane)
        worker = await shop.app.job_manager.register_worker()
        stalled = await shop.app.job_manager.fetch_job(queues=None, worker_id=worker)
        assert Status.DOING.value == shop.app.connector.jobs[stalled.id]["status"]
        await shop.app.job_manager.unregister_worker(worker)
        await shop.sweep()
        await shop.work()
    assert ([], 0) == (shop.jobs, shop.klaviyo.outbox.counts().waiting)
    shop.klaviyo.close()


@blocking
async def test_a_worker_that_keeps_all_jobs_is_told_of(caplog):
    """Once, and not for each of them."""
    shop = Shop()
    with caplog.at_level(logging.WARNING, "safeklaviyo.procrastinate"):
        async with shop.app.open_async():
            for _ in range(3):
                await shop.sweep()
            await shop.work(delete_jobs="never")
    assert 1 == caplog.text.count("keeps finished jobs")
    shop.klaviyo.close()


@blocking
async def test_the_chores_are_tasks():
    """Interrupted changes are finished every few minutes, and changed customers rechecked every hour."""
    shop = Shop()
    async with shop.app.open_async():
        for name in ("recover", "recheck_changes"):
            await shop.app.tasks[f"shop:safeklaviyo.{name}"].defer_async(timestamp=0)
        await shop.work()
    crons = {
        each.task.name.rpartition(".")[2]: each.cron for each in shop.app.periodic_registry.periodic_tasks.values()
    }
    assert {"sweep": "* * * * * *", "recover": "*/3 * * * *", "recheck_changes": "17 * * * *"} == crons
    assert [] == shop.jobs
    shop.klaviyo.close()
