"""A shop's Celery app, for real workers in processes of their own. What it is to use comes from the environment.

Run as ``celery -A shop_celery`` in this folder. The client is made before the workers are forked.
"""

import os
from pathlib import Path

from celery import Celery

from safeklaviyo import Klaviyo, RetryPolicy, SafeKlaviyoError
from safeklaviyo.celery import retry, tasks

PREFIX = os.environ["SHOP_PREFIX"]

app = Celery("shop", broker=os.environ["SHOP_REDIS"], backend=os.environ["SHOP_REDIS"])
app.conf.update(
    broker_transport_options={"global_keyprefix": f"{PREFIX}:"},
    result_backend_transport_options={"global_keyprefix": f"{PREFIX}:"},
    task_default_queue=PREFIX,
    worker_prefetch_multiplier=1,
    beat_schedule_filename=str(Path(os.environ.get("SHOP_FOLDER", ".")) / "beat"),
    broker_connection_retry_on_startup=True,
)
klaviyo = Klaviyo("pk_shop", account="shop", deadline=10.0, retry=RetryPolicy(max_attempts=1))
tasks(app, klaviyo, every=0.5)


@app.task(bind=True, max_retries=5, name="shop.order")
def order(self, customer, unique_id=None, time=None):
    """Track an order, and again if that may be."""
    try:
        klaviyo.track("Placed Order", external_id=customer, unique_id=unique_id, time=time)
    except SafeKlaviyoError as error:
        retry(self, error)
    return os.getpid()


@app.task(bind=True, max_retries=5, name="shop.careless")
def careless(self, customer):
    """Track an order as a task must not: without taking what makes it the same event."""
    try:
        klaviyo.track("Placed Order", external_id=customer)
    except SafeKlaviyoError as error:
        retry(self, error)


@app.task(name="shop.used")
def used():
    """Tell which process this is, and whether its client has connections."""
    return os.getpid()
