"""Django: an order and its event in one transaction, and a task of Django's tasks framework that delivers.

One file, so that it runs as it stands; a shop has the settings and the view in their usual places.
"""

from decimal import Decimal
from typing import Any, cast

import django
import httpx
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from safeklaviyo.testing import KlaviyoSimulator

simulator = KlaviyoSimulator(account="AbC123")
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django_tasks", "safeklaviyo.django"],
    TASKS={"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}},
    SAFEKLAVIYO={
        "api_key": "pk_example",
        "account": "AbC123",
        "http_client": httpx.Client(transport=simulator.transport),  # not in a shop
    },
    USE_TZ=True,
)
django.setup()

from django_tasks import task  # noqa: E402 - once Django is set up

from safeklaviyo.django import get_klaviyo  # noqa: E402 - as above


def place_order(order: Any, customer_id: str, email: str) -> str | None:
    """Save an order; called inside `transaction.atomic`, or with `ATOMIC_REQUESTS`."""
    order.save()
    queued = get_klaviyo().outbox.track(
        "Placed Order",
        external_id=customer_id,
        email=email,
        value=order.total,
        value_currency="EUR",
        unique_id=f"order-{order.pk}",
    )
    return queued.unique_id


class Order:
    """Stands for a model of the shop's."""

    pk, total = 7, Decimal("12.50")

    def save(self) -> None:
        """Save it."""


def view(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        key = place_order(Order(), "1815", "ada@shop.test")
        if request.GET.get("fails"):
            raise ValueError
    return HttpResponse(key)


def drain() -> int:
    return get_klaviyo().outbox.drain(limit=10_000).delivered


deliver = cast("Any", task())(drain)


def main() -> None:
    call_command("migrate", verbosity=0)
    request = HttpRequest()
    request.GET = cast("Any", {"fails": "1"})
    try:
        view(request)
    except ValueError:
        print(f"after a rollback: {get_klaviyo().outbox.counts().waiting} waiting")
    request.GET = cast("Any", {})
    view(request)
    print(f"after a commit: {get_klaviyo().outbox.counts().waiting} waiting")
    result = deliver.enqueue()
    simulator.drain()
    print(f"{result.return_value} delivered, {len(simulator.events)} event")


if __name__ == "__main__":
    main()
