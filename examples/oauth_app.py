"""An OAuth app for many shops: access tokens in place of keys, and calls to endpoints that have no verb."""

import asyncio

import httpx

from safeklaviyo import AsyncKlaviyo, Klaviyo
from safeklaviyo.testing import KlaviyoSimulator

simulator = KlaviyoSimulator(keys=["token-1", "token-2"])


class Tokens:
    """Reads the shop's current token from the app's database; a job of the app's own refreshes it."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = [*tokens]

    def __call__(self) -> str:
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]

    async def fetch(self) -> str:
        return self()


def client_of(tokens: Tokens, account: str, http: httpx.Client) -> Klaviyo:
    # In an app, without http_client: the simulator takes Klaviyo's place here.
    return Klaviyo(access_token=tokens, account=account, store="memory://", http_client=http)


def async_client_of(tokens: Tokens, account: str) -> AsyncKlaviyo:
    return AsyncKlaviyo(access_token=tokens.fetch, account=account, store="memory://")


def lists(klaviyo: Klaviyo) -> list[str]:
    rows = klaviyo.iterate("/api/lists", params={"filter": "any(name,['News','Sale'])"})
    return [row["attributes"]["name"] for row in rows]


def back_in_stock(klaviyo: Klaviyo, email: str, variant: str) -> int:
    profile = {"data": {"type": "profile", "attributes": {"email": email}}}
    item = {"data": {"type": "catalog-variant", "id": variant}}
    attributes = {"channels": ["EMAIL"], "profile": profile}
    data = {"type": "back-in-stock-subscription", "attributes": attributes, "relationships": {"variant": item}}
    # The person is found or made first, and named by profile id.
    return klaviyo.request("POST", "/api/back-in-stock-subscriptions", json={"data": data}).status_code


async def track(klaviyo: AsyncKlaviyo, email: str) -> None:
    async with klaviyo:
        await klaviyo.track("Viewed Product", email=email)


def main() -> None:
    simulator.add_list("News")
    simulator.fail_next(status=202, body=b"", match=lambda asked: asked.path == "/api/back-in-stock-subscriptions")
    # The first token has expired: Klaviyo answers 401, and the app is asked once more.
    tokens = Tokens("token-0", "token-1")
    with httpx.Client(transport=simulator.transport) as http, client_of(tokens, "SiMuLa", http) as klaviyo:
        print(lists(klaviyo))
        print(back_in_stock(klaviyo, "ada@shop.test", "$custom:::$default:::SKU-1"))
    with simulator.mock():
        asyncio.run(track(async_client_of(Tokens("token-2"), "SiMuLa"), "ada@shop.test"))
    simulator.drain()
    print(f"{len(simulator.profiles)} profile, {len(simulator.events)} event")


if __name__ == "__main__":
    main()
