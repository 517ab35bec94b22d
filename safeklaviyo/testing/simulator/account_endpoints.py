"""The endpoints about the account (Klaviyo's Accounts reference). There is one account. Its id is its public key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo.testing.simulator.refusals import Refusal
from safeklaviyo.testing.simulator.shapes import many, one, shape

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import JSON, Answer, Asked


def get_accounts(account: Account, asked: Asked) -> Answer:
    """The account that the key belongs to."""
    return many(asked, [_document(account, asked)])


def get_account(account: Account, asked: Asked) -> Answer:
    """The same, by its id."""
    if asked.named != account.id:
        raise Refusal(404, f"Account with id {asked.named} not found.")
    return one(asked, _document(account, asked))


def _document(account: Account, asked: Asked) -> JSON:
    address: dict[str, Any] = dict.fromkeys(("address1", "address2", "city", "region", "country", "zip"))
    contact = {
        "default_sender_name": "A shop",
        "default_sender_email": "shop@example.com",
        "website_url": None,
        "organization_name": "A shop",
        "street_address": address,
    }
    attributes = {
        "test_account": True,
        "contact_information": contact,
        "industry": None,
        "timezone": "UTC",
        "preferred_currency": "USD",
        "public_api_key": account.id,
        "locale": "en-US",
    }
    return shape(asked).resource("account", account.id, attributes)
