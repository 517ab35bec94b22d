"""The endpoints about push tokens and about waiting for stock. Their calls name a person as an event does.

Decided here (Klaviyo's *Create or Update Push Token* and *Create Back In Stock Subscription* references): both find or
make the profile later, by the same order of identifiers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.checks import fields, resource, text
from safeklaviyo.testing.simulator.documents import CONVERSATION, profile_document, push_token_document
from safeklaviyo.testing.simulator.event_bodies import EventReader
from safeklaviyo.testing.simulator.filters import SAME
from safeklaviyo.testing.simulator.pages import Listing
from safeklaviyo.testing.simulator.profile_endpoints import existing as existing_profile
from safeklaviyo.testing.simulator.recording import Recording
from safeklaviyo.testing.simulator.records import JSON, Answer, Asked, PushToken, Record
from safeklaviyo.testing.simulator.refusals import Refusal, invalid
from safeklaviyo.testing.simulator.shapes import identifiers, many, one, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person
    from safeklaviyo.testing.simulator.shapes import Shape

BACK_IN_STOCK = "Subscribed to Back in Stock"

_AT = "/data/attributes"
_INCLUDES = ("profile",)
_CHOICES = {
    "platform": frozenset({"android", "ios"}),
    "vendor": frozenset({"apns", "fcm"}),
    "enablement_status": frozenset({"AUTHORIZED", "DENIED", "NOT_DETERMINED", "PROVISIONAL", "UNAUTHORIZED"}),
    "background": frozenset({"AVAILABLE", "DENIED", "RESTRICTED"}),
}
_USUAL = {"enablement_status": "AUTHORIZED", "background": "AVAILABLE"}
_TOKENS: Listing[PushToken] = Listing(
    dict.fromkeys(("id", "profile.id", "enablement_status", "platform"), SAME),
    {
        "id": attrgetter("id"),
        "profile.id": attrgetter("profile_id"),
        "enablement_status": attrgetter("enablement_status"),
        "platform": attrgetter("platform"),
    },
)


@dataclass(frozen=True, slots=True, repr=False)
class Registering(Record):
    """An accepted push token. A token that is known moves to the profile that is named now."""

    person: Person
    token: PushToken

    def apply(self, account: Account) -> None:
        """Do it."""
        profile = matching.meet(account, self.person)
        if profile is not None:
            # A token stands for one device. It keeps its id when another person logs in there.
            known = next((each for each in account.push_tokens.values() if each.token == self.token.token), self.token)
            kept = replace(self.token, id=known.id, created=known.created, profile_id=profile.id)
            account.push_tokens[kept.id] = kept


def create_push_token(account: Account, asked: Asked) -> Answer:
    """Accept a token of a device for one profile."""
    attributes = fields(resource(asked.body, "push-token").get("attributes"), _AT)
    if attributes.get("profile") is None:
        raise invalid("'profile' is required.", f"{_AT}/profile")
    person = EventReader(account, asked).person(attributes, _AT, beside=False)
    token = text(attributes.get("token"), f"{_AT}/token")
    if token is None:
        raise invalid("'token' is required.", f"{_AT}/token")
    chosen = {name: _chosen(attributes, name) for name in _CHOICES}
    metadata = fields(attributes.get("device_metadata"), f"{_AT}/device_metadata")
    now = account.clock.now()
    made = PushToken(account.new_id(), token, None, **chosen, metadata=metadata, created=now, recorded=now)
    account.enqueue(asked.endpoint, Registering(person, made))
    return Answer(202)


def get_push_tokens(account: Account, asked: Asked) -> Answer:
    """The push tokens."""
    shown = shape(asked, _INCLUDES)
    rows, links = _TOKENS.page(asked, account.push_tokens.values())
    data = [push_token_document(row, shown) for row in rows]
    return many(asked, data, links, [each for row in rows for each in _included(account, row, shown)])


def get_push_token(account: Account, asked: Asked) -> Answer:
    """One push token."""
    shown, token = shape(asked, _INCLUDES), _existing(account, asked.named)
    return one(asked, push_token_document(token, shown), _included(account, token, shown))


def delete_push_token(account: Account, asked: Asked) -> Answer:
    """Delete a push token."""
    del account.push_tokens[_existing(account, asked.named).id]
    return Answer(204)


def get_profile_for_push_token(account: Account, asked: Asked) -> Answer:
    """The profile of a push token."""
    profile = existing_profile(account, _existing(account, asked.named).profile_id or "")
    return one(asked, profile_document(account, profile, shape(asked)))


def get_profile_id_for_push_token(account: Account, asked: Asked) -> Answer:
    """The id of the profile of a push token."""
    return one(asked, identifiers("profile", [_existing(account, asked.named).profile_id or ""])[0])


def get_push_tokens_for_profile(account: Account, asked: Asked) -> Answer:
    """The push tokens of a profile."""
    shown = shape(asked)
    tokens = account.push_tokens_of(existing_profile(account, asked.named).id)
    return many(asked, [push_token_document(each, shown) for each in tokens])


def get_push_token_ids_for_profile(account: Account, asked: Asked) -> Answer:
    """The ids of the push tokens of a profile."""
    tokens = account.push_tokens_of(existing_profile(account, asked.named).id)
    return many(asked, identifiers("push-token", [each.id for each in tokens]))


def create_back_in_stock_subscription(account: Account, asked: Asked) -> Answer:
    """Accept that a person waits for an item, which becomes an event."""
    data = resource(asked.body, "back-in-stock-subscription")
    attributes = fields(data.get("attributes"), _AT)
    if not attributes.get("channels"):
        raise invalid("'channels' is required.", f"{_AT}/channels")
    if attributes.get("profile") is None:
        raise invalid("'profile' is required.", f"{_AT}/profile")
    reader = EventReader(account, asked)
    person = reader.person(attributes, _AT, beside=False)
    at = "/data/relationships/variant"
    variant = fields(fields(data.get("relationships"), "/data/relationships").get("variant"), at)
    variant_id = text(fields(variant.get("data"), f"{at}/data").get("id"), f"{at}/data/id")
    if variant_id is None:
        raise invalid("'variant' is required.", at)
    metric = {"data": {"type": "metric", "attributes": {"name": BACK_IN_STOCK}}}
    event = reader.event({"properties": {"VariantId": variant_id}, "metric": metric}, _AT)
    account.enqueue(asked.endpoint, Recording(person, event))
    return Answer(202)


def _chosen(attributes: JSON, name: str) -> str:
    value = text(attributes.get(name), f"{_AT}/{name}") or _USUAL.get(name, "")
    if value not in _CHOICES[name]:
        raise invalid(f"'{name}' must be one of {', '.join(sorted(_CHOICES[name]))}.", f"{_AT}/{name}")
    return value


def _existing(account: Account, token_id: str) -> PushToken:
    token = account.push_tokens.get(token_id)
    if token is None:
        raise Refusal(404, f"A push token with id {token_id} does not exist.")
    return token


def _included(account: Account, token: PushToken, shown: Shape) -> Iterator[JSON]:
    if "profile" in shown.include:
        profile = existing_profile(account, token.profile_id or "")
        yield profile_document(account, profile, shown, conversation=CONVERSATION)
