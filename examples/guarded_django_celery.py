"""Django and Celery with `requests`: the shop's own calls, which make a duplicate, and the same calls guarded.

The views and the task know nothing of safeklaviyo. In a shop the one line that guards them, ``guard.install(…)``,
stands in `AppConfig.ready`: Django calls that in each process of the web server, and Celery in each of its workers.
One file, so that it runs as it stands; the broker is in memory, and Klaviyo is the simulator.
"""

from collections.abc import Mapping
from typing import Any

import django
import requests
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.result import AsyncResult
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from safeklaviyo import Klaviyo, guard
from safeklaviyo.testing import KlaviyoSimulator

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], KLAVIYO="https://a.klaviyo.com")
django.setup()
celery = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
celery.conf.broker_transport_options = {"polling_interval": 0.05}

# The shop, as it has been for years.

HEADERS = {"Authorization": "Klaviyo-API-Key pk_shop", "revision": "2026-10-15"}


def klaviyo_call(method: str, path: str, body: Mapping[str, Any] | None = None, **params: str) -> requests.Response:
    url = f"{settings.KLAVIYO}/api/{path}"
    answer = requests.request(method, url, json=body, params=params, headers=HEADERS, timeout=10)
    answer.raise_for_status()
    return answer


def sign_up(request: HttpRequest) -> HttpResponse:
    attributes = {"external_id": request.POST["customer"], "email": request.POST["email"]}
    klaviyo_call("POST", "profile-import", {"data": {"type": "profile", "attributes": attributes}})
    return HttpResponse(status=204)


def order(request: HttpRequest) -> HttpResponse:
    return HttpResponse(order_shipped.delay(request.POST["number"], request.POST["email"]).id)


def change_address(request: HttpRequest) -> HttpResponse:
    found = klaviyo_call("GET", "profiles", filter=f'equals(external_id,"{request.POST["customer"]}")').json()["data"]
    data = {"type": "profile", "id": found[0]["id"], "attributes": {"email": request.POST["email"]}}
    klaviyo_call("PATCH", f"profiles/{data['id']}", {"data": data})
    return HttpResponse(status=204)


@celery.task(autoretry_for=(requests.RequestException,))
def order_shipped(number: str, email: str) -> int:
    attributes = {
        "unique_id": f"shipped-{number}",
        "properties": {"number": number},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Order Shipped"}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": email}}},
    }
    return klaviyo_call("POST", "events", {"data": {"type": "event", "attributes": attributes}}).status_code


urlpatterns = [path("sign-up", sign_up), path("order", order), path("change-address", change_address)]

# A day: the customer changes their address while the task of an order still waits, with the address of that time.


def day(simulator: KlaviyoSimulator) -> None:
    browser = Client()
    browser.post("/sign-up", {"customer": "1815", "email": "ada@shop.test"})
    task = browser.post("/order", {"number": "7", "email": "ada@shop.test"}).content.decode()
    browser.post("/change-address", {"customer": "1815", "email": "ada@new.test"})
    with start_worker(celery, pool="solo", perform_ping_check=False, shutdown_timeout=60.0, loglevel="ERROR"):
        AsyncResult(task, app=celery).get(timeout=60)
    simulator.drain()


def told(simulator: KlaviyoSimulator, way: str) -> None:
    owner = next(each for each in simulator.profiles if each.external_id == "1815")
    strays = sum(1 for each in simulator.events if each.profile_id != owner.id)
    print(f"{way}: {len(simulator.profiles) - 1} duplicate, {strays} of {len(simulator.events)} event on it")


def main() -> None:
    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with simulator.serve() as settings.KLAVIYO:
        day(simulator)
    told(simulator, "raw")

    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with (
        simulator.serve() as settings.KLAVIYO,
        Klaviyo("pk_shop", account="AbC123", store="memory://", base_url=settings.KLAVIYO) as klaviyo,
        guard.install(klaviyo, mode="enforce"),
    ):
        day(simulator)
    told(simulator, "guarded")


if __name__ == "__main__":
    main()
