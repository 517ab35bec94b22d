"""FastAPI with httpx: the shop's own calls, which make a duplicate, and the same calls guarded.

The endpoints know nothing of safeklaviyo. A visitor leaves an address in the newsletter's form, the app sends an event
with the customer's id, and only then the checkout names both. Raw, the id has got a profile of its own by then, and
Klaviyo answers 409 from that day on. Guarded, the event is refused until it is known which customer it is about.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request

from safeklaviyo import AsyncKlaviyo, guard
from safeklaviyo.testing import KlaviyoSimulator

# The shop, as it has been for years.


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    headers = {"Authorization": "Klaviyo-API-Key pk_shop", "revision": "2026-10-15"}
    async with httpx.AsyncClient(base_url=app.state.klaviyo, headers=headers) as http:
        app.state.http = http
        yield


async def write_profile(http: httpx.AsyncClient, **attributes: str) -> int:
    wanted = f'equals(email,"{attributes["email"]}")'
    found = (await http.get("/api/profiles", params={"filter": wanted})).json()["data"]
    data: dict[str, Any] = {"type": "profile", "attributes": attributes}
    if found:
        data["id"] = found[0]["id"]
        return (await http.patch(f"/api/profiles/{data['id']}", json={"data": data})).status_code
    return (await http.post("/api/profile-import", json={"data": data})).status_code


async def checkout(request: Request, customer: str, email: str) -> int:
    return await write_profile(request.app.state.http, external_id=customer, email=email)


async def newsletter(request: Request, email: str) -> int:
    return await write_profile(request.app.state.http, email=email, first_name="Ada")


async def opened(request: Request, customer: str, number: int) -> int:
    attributes = {
        "unique_id": f"opened-{number}",
        "properties": {},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Opened App"}}},
        "profile": {"data": {"type": "profile", "attributes": {"external_id": customer}}},
    }
    event = {"data": {"type": "event", "attributes": attributes}}
    http: httpx.AsyncClient = request.app.state.http
    return (await http.post("/api/events", json=event)).status_code


def shop(url: str) -> FastAPI:
    app = FastAPI(lifespan=lifespan)
    app.state.klaviyo = url
    for endpoint in (checkout, newsletter, opened):
        app.post(f"/{endpoint.__name__}")(endpoint)
    return app


# A day of it.


async def day(url: str) -> list[int]:
    app = shop(url)
    async with lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as browser:
        answers = [
            await browser.post("/newsletter", params={"email": "ada@shop.test"}),
            await browser.post("/opened", params={"customer": "1815", "number": 1}),
            await browser.post("/checkout", params={"customer": "1815", "email": "ada@shop.test"}),
        ]
        if answers[1].json() == 400:  # the app sends again what was refused
            answers.append(await browser.post("/opened", params={"customer": "1815", "number": 1}))
        answers.append(await browser.post("/opened", params={"customer": "1815", "number": 2}))
    return [each.json() for each in answers]


def told(simulator: KlaviyoSimulator, way: str, answers: list[int]) -> None:
    simulator.drain()
    customer = next(each for each in simulator.profiles if each.email == "ada@shop.test")
    theirs = sum(1 for each in simulator.events if each.profile_id == customer.id)
    print(f"{way}: {len(simulator.profiles) - 1} duplicate, {theirs} of 2 events on the customer, answers {answers}")


async def main() -> None:
    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with simulator.serve() as url:
        told(simulator, "raw", await day(url))

    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with simulator.serve() as url:
        async with AsyncKlaviyo("pk_shop", account="AbC123", store="memory://", base_url=url) as klaviyo:
            # In a shop: in the lifespan, before the application makes its own HTTP client.
            with guard.install(klaviyo, mode="enforce"):
                told(simulator, "guarded", await day(url))


if __name__ == "__main__":
    asyncio.run(main())
