"""Celery: tasks that repeat the same event, and the outbox drained by a real worker and beat, over Redis."""

import os
from contextlib import ExitStack, closing

import pytest
from celery import Celery
from celery.exceptions import Retry

from safeklaviyo.celery import retry, tasks
from safeklaviyo.errors import BadRequestError, ConfigurationError, NoResponseError, RateLimitError
from safeklaviyo.testing import KlaviyoSimulator
from support.engines import own_shop_database
from support.programs import importable, running, until
from support.redis_servers import shared_prefix, url_or_skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A shop: a pretend Klaviyo behind a socket, a database, a broker, and this process's own app over them."""
    with ExitStack() as opened:
        simulator = KlaviyoSimulator(account="shop", queue_lag=0.0, clock="real")
        environment = {
            "KLAVIYO_BASE_URL": opened.enter_context(simulator.serve()),
            "SAFEKLAVIYO_STORE": opened.enter_context(own_shop_database()),
            "SHOP_REDIS": url_or_skip(),
            "SHOP_PREFIX": opened.enter_context(shared_prefix()),
        }
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        shop_celery = importable(patch, "shop_celery", environment)
        opened.callback(shop_celery.app.close)
        opened.callback(shop_celery.klaviyo.close)
        folder = tmp_path_factory.mktemp("celery")
        yield shop_celery, simulator, folder


@pytest.fixture(params=["prefork", "solo"])
def worker(shop, request):
    """A real worker with a beat. With prefork, its children have the client that their parent has made and used."""
    arguments = ("-m", "celery", "-A", "shop_celery", "worker", "--pool", request.param, "--concurrency", "2", "-B")
    with running(shop[2], *arguments, "--loglevel", "WARNING", "--without-mingle", "--without-gossip") as program:
        yield program


@pytest.mark.slow
def test_a_worker_repeats_the_same_event_and_drains_the_outbox(shop, worker):
    """After a lost answer the event is sent again under its key; beat and worker deliver the rows of the outbox."""
    module, simulator, _ = shop
    before = len(simulator.events)
    customer = f"of-{worker.pid}"
    module.klaviyo.identify(external_id=customer, email=f"{customer}@shop.test")
    simulator.fail_next("create_event", when="after", broken="lost")
    process = module.order.delay(customer).get(timeout=60)
    simulator.drain()
    assert [1, 1] == [len(simulator.events) - before, len(simulator.deduplicated)]
    simulator.deduplicated.clear()
    assert os.getpid() != process
    keys = [module.klaviyo.outbox.track("Queued", external_id=customer).unique_id for _ in range(5)]
    until(lambda: not module.klaviyo.outbox.counts().waiting, watched=[worker])
    simulator.drain()
    assert keys == [each.unique_id for each in simulator.events[before + 1 :]]


def test_the_tasks_drain_and_the_beat_calls_them():
    """One task looks for lanes, and calls another one for each; a message that nobody took in time is dropped."""
    with closing(KlaviyoSimulator().client()) as klaviyo:
        app = Celery("shop", set_as_current=False)
        app.conf.task_always_eager = app.conf.task_eager_propagates = True
        app.conf.beat_schedule = {"nightly": {"task": "shop.nightly", "schedule": 86_400.0}}
        tasks(app, klaviyo, every=2.0, queue="klaviyo")
        for number in range(3):
            klaviyo.outbox.track("A", external_id=f"c{number}", email=f"c{number}@shop.test")
        for name in ("sweep", "recover", "recheck_changes"):
            app.tasks[f"safeklaviyo.{name}"].apply()
        assert 0 == klaviyo.outbox.counts().waiting
    entries = app.conf.beat_schedule
    assert {"nightly", "safeklaviyo.sweep", "safeklaviyo.recover", "safeklaviyo.recheck_changes"} == set(entries)
    assert {"expires": 10.0, "queue": "klaviyo"} == entries["safeklaviyo.sweep"]["options"]


def test_each_app_drains_its_own_client():
    """Two apps of a process, or two accounts of an app, never take each other's rows."""
    with ExitStack() as opened:
        clients = [opened.enter_context(closing(KlaviyoSimulator().client())) for _ in range(4)]
        apps = [Celery(f"shop{number}", set_as_current=False) for number in range(3)]
        for app, klaviyo in zip(apps, clients, strict=False):
            app.conf.task_always_eager = app.conf.task_eager_propagates = True
            tasks(app, klaviyo)
        tasks(apps[0], clients[3], name="other")
        for number, klaviyo in enumerate(clients):
            klaviyo.outbox.track("A", external_id=f"c{number}", email=f"c{number}@shop.test")
        left = []
        for app, name in (
            (apps[1], "safeklaviyo"),
            (apps[0], "safeklaviyo"),
            (apps[0], "other"),
            (apps[2], "safeklaviyo"),
        ):
            app.tasks[f"{name}.sweep"].apply()
            left.append([each.outbox.counts().waiting for each in clients])
    assert [[1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]] == left


class Request:
    """What Celery knows of a task that runs."""

    called_directly = False
    retries = 0
    args = ("7",)
    kwargs = None


class Task:
    """A task, as far as `retry` looks at it."""

    def __init__(self, run):
        self.run = run
        self.request = Request()
        self.again = None

    def retry(self, **again):
        self.again = again
        return Retry()


def error_of(kind, **options):
    """Return an error as `track` raises it."""
    error = kind("lost", **options)
    error.unique_id, error.time = "key", None
    return error


def careful(customer, unique_id=None, time=None):
    """Take what makes it the same event."""


def greedy(customer, **more):
    """Take whatever is given."""


def careless(customer):
    """Take only whose event it is."""


class TestRetry:
    def test_a_task_is_given_what_makes_it_the_same_event(self):
        """The key and the time of the error, by name, besides its own arguments."""
        task = Task(careful)
        with pytest.raises(Retry):
            retry(task, error_of(NoResponseError, outcome="unknown", may_retry=True))
        assert ({"unique_id": "key", "time": None}, ("7",)) == (task.again["kwargs"], task.again["args"])
        assert 0.5 <= task.again["countdown"] <= 1.0

    def test_a_task_that_takes_all_is_given_all(self):
        """So is one with `**kwargs`."""
        task = Task(greedy)
        with pytest.raises(Retry):
            retry(task, error_of(NoResponseError, outcome="unknown", may_retry=True))
        assert {"unique_id": "key", "time": None} == task.again["kwargs"]

    def test_a_task_that_would_send_another_event_is_not_repeated(self):
        """If the event may have been recorded, a task that takes no key raises, and says what to change."""
        task = Task(careless)
        with pytest.raises(ConfigurationError, match="let the task take unique_id"):
            retry(task, error_of(NoResponseError, outcome="unknown", may_retry=True))
        assert None is task.again

    def test_an_event_that_was_not_recorded_may_be_another_one(self):
        """Klaviyo has refused it for a while: the task is repeated after the time that Klaviyo asks for."""
        task = Task(careless)
        with pytest.raises(Retry):
            retry(task, error_of(RateLimitError, may_retry=True, retry_after=17.0))
        assert ({}, 17.0) == (task.again["kwargs"], task.again["countdown"])

    def test_what_may_not_be_repeated_is_raised(self):
        """The error itself, so that the task fails."""
        task = Task(careless)
        error = BadRequestError("no")
        with pytest.raises(BadRequestError) as raised:
            retry(task, error)
        assert (error, None) == (raised.value, task.again)

    def test_the_pause_grows_and_ends_at_ten_minutes(self):
        """Longer with each repetition."""
        task = Task(careless)
        task.request.retries = 40
        with pytest.raises(Retry):
            retry(task, RateLimitError("later"))
        assert 300 <= task.again["countdown"] <= 600
