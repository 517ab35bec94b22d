"""The first steps, awaited. With Klaviyo itself: set KLAVIYO_API_KEY, and write ``AsyncKlaviyo()``."""

import asyncio

import httpx

from safeklaviyo import AsyncKlaviyo
from safeklaviyo.testing import KlaviyoSimulator


async def run(klaviyo: AsyncKlaviyo) -> None:
    # Twenty requests of one new customer at once, some with the id and the email and some with the email alone.
    await asyncio.gather(
        *(klaviyo.identify(external_id="1815", email="ada@shop.test") for _ in range(10)),
        *(klaviyo.track("Viewed Product", email="ada@shop.test") for _ in range(10)),
    )
    binding = await klaviyo.bindings.get(external_id="1815")
    print(f"known to the map: {binding is not None}")


async def main() -> None:
    simulator = KlaviyoSimulator()
    async with (
        httpx.AsyncClient(transport=simulator.transport) as http,
        AsyncKlaviyo("pk_example", store="memory://", http_client=http) as klaviyo,
    ):
        await run(klaviyo)
    simulator.drain()
    print(f"{len(simulator.profiles)} profile, {len(simulator.events)} events")


if __name__ == "__main__":
    asyncio.run(main())
