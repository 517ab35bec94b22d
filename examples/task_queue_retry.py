"""A worker of a task queue: which errors it repeats, and how it repeats the same event, not another one.

An error says whether Klaviyo changed (``outcome``), whether the same call may be made again (``may_retry``), how long
to wait first (``retry_after``), and under which key and time the event goes (``unique_id``, ``time``).
"""

from dataclasses import dataclass, replace
from datetime import datetime

import httpx

from safeklaviyo import Klaviyo, RetryPolicy, SafeKlaviyoError
from safeklaviyo.testing import KlaviyoSimulator


@dataclass(frozen=True)
class Task:
    event: str
    external_id: str
    unique_id: str | None = None
    time: datetime | None = None


def work(klaviyo: Klaviyo, task: Task) -> Task | None:
    """Do a task; return what to put back into the queue."""
    try:
        klaviyo.track(task.event, external_id=task.external_id, unique_id=task.unique_id, time=task.time)
    except SafeKlaviyoError as error:
        if not error.may_retry:
            raise  # to the dead letters: repeating it would not help, or not be safe
        # An IdOnlyError among them: the customer has not signed up yet.
        print(f"back: {type(error).__name__}, outcome {error.outcome}")
        return replace(task, unique_id=error.unique_id, time=error.time)
    return None


def main() -> None:
    simulator = KlaviyoSimulator()
    with (
        httpx.Client(transport=simulator.transport) as http,
        # The queue waits better than the client would.
        Klaviyo("pk_example", store="memory://", http_client=http, retry=RetryPolicy(max_attempts=1)) as klaviyo,
    ):
        queue = [Task("Placed Order", "1815")]
        queue = [left for task in queue if (left := work(klaviyo, task))]

        klaviyo.identify(external_id="1815", email="ada@shop.test")
        # Klaviyo takes the event, and the answer is lost.
        simulator.fail_next("create_event", when="after", broken="lost")
        while queue:
            queue = [left for task in queue if (left := work(klaviyo, task))]
    simulator.drain()
    print(f"{len(simulator.events)} event, {len(simulator.deduplicated)} repetition that Klaviyo recognised")


if __name__ == "__main__":
    main()
