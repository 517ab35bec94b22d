"""FastAPI: one client for the life of the application, and a task that drains the outbox beside the requests.

A shop with several hosts runs `safeklaviyo worker` in place of the task; the rest stays.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import httpx
from fastapi import FastAPI, Request

from safeklaviyo import AsyncKlaviyo, SafeKlaviyoError
from safeklaviyo.testing import KlaviyoSimulator

simulator = KlaviyoSimulator()


async def drain_for_ever(klaviyo: AsyncKlaviyo) -> None:
    while True:
        with suppress(SafeKlaviyoError):  # the rows stay, and the next turn tries again
            await klaviyo.outbox.drain()
        await asyncio.sleep(0.1)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with (
        httpx.AsyncClient(transport=simulator.transport) as http,
        AsyncKlaviyo("pk_example", store="memory://", http_client=http) as klaviyo,  # in a shop: AsyncKlaviyo()
    ):
        app.state.klaviyo = klaviyo
        draining = asyncio.create_task(drain_for_ever(klaviyo))
        yield
        # What a drain is cut off in stays in the outbox, and is sent again under the same key.
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{number}")
async def order(request: Request, number: int, customer: str, email: str) -> dict[str, str | None]:
    klaviyo: AsyncKlaviyo = request.app.state.klaviyo
    queued = await klaviyo.outbox.track("Placed Order", external_id=customer, email=email, unique_id=f"order-{number}")
    return {"queued": queued.unique_id}


async def main() -> None:
    async with lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as browser:
        answer = await browser.post("/orders/7", params={"customer": "1815", "email": "ada@shop.test"})
        klaviyo: AsyncKlaviyo = app.state.klaviyo
        while (await klaviyo.outbox.counts()).waiting:  # noqa: ASYNC110 - in a shop nothing waits for it
            await asyncio.sleep(0.05)
    simulator.drain()
    print(f"{answer.json()['queued']}: {len(simulator.events)} event")


if __name__ == "__main__":
    asyncio.run(main())
