"""APScheduler calls the drain every second, in a thread of a program that does something else."""

from threading import Event
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler  # pyright: ignore[reportMissingTypeStubs]

from safeklaviyo.testing import KlaviyoSimulator

simulator = KlaviyoSimulator()
klaviyo = simulator.client()  # in a shop: Klaviyo()
done = Event()


def drain() -> None:
    if klaviyo.outbox.drain(limit=10_000).delivered:
        done.set()


def main() -> None:
    scheduler: Any = BackgroundScheduler()  # it has no types
    # One at a time, and none made up for: a drain takes all that waits.
    scheduler.add_job(drain, "interval", seconds=1, max_instances=1, coalesce=True)
    scheduler.start()
    klaviyo.outbox.track("Placed Order", external_id="1815", email="ada@shop.test", unique_id="order-1")
    done.wait(10)
    scheduler.shutdown()  # waits for the drain in hand
    simulator.drain()
    print(f"{len(simulator.events)} event, {klaviyo.outbox.counts().waiting} waiting")
    klaviyo.close()


if __name__ == "__main__":
    main()
