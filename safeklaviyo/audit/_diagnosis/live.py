"""How one profile came to be, as Klaviyo and the identity map know it. Reads only.

Decided here: which questions are asked. If a profile was created at the moment of its first event, that event has made
it. Then the event's metric, and the integration that sends it, say which program made the profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo.audit._diagnosis.calls import object_of
from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo, Profile

_AT_ONCE: Final = 300.0
"""Seconds between the event that makes a profile and the creation, at most. Klaviyo applies events within minutes."""
_FORMER: Final = frozenset({"R5", "R8", "R11"})


@dataclass(frozen=True, slots=True)
class Origin:
    """How a profile came to be.

    Attributes:
        profile_id: The profile's id.
        created: When Klaviyo created the profile.
        first_event: When the profile's first event happened; None without events.
        metric: The metric of the first event.
        integration: The integration that sends events of this metric.
        made_by_event: The profile was created when that event came, so the event made it.
        in_map: What the identity map knows about the profile's identifiers, in words.
    """

    profile_id: str
    created: datetime | None
    first_event: datetime | None
    metric: str | None
    integration: str | None
    made_by_event: bool
    in_map: str


def origin_of(klaviyo: Klaviyo, profile_id: str) -> Origin:
    """Return how a profile came to be. Reads only.

    Raises:
        NotFoundError: Klaviyo has no such profile.
        SafeKlaviyoError: Klaviyo or the map cannot answer.
    """
    profile = klaviyo.profiles.get(profile_id)
    asked: dict[str, str | int] = {
        "filter": f'equals(profile_id,"{profile.id}")', "sort": "datetime", "include": "metric", "page[size]": 1,
    }  # fmt: skip
    document = object_of(klaviyo.request("GET", "/api/events", params=asked).json())
    listed: Any = document.get("data")
    first: object = next(iter(listed or []), None)
    metric, integration = _metric(document) if first is not None else (None, None)
    happened = None if first is None else _moment(first)
    made = happened is not None and profile.created is not None and _are_one_moment(profile.created, happened)
    return Origin(profile.id, profile.created, happened, metric, integration, made, _in_map(klaviyo, profile))


def _metric(document: dict[str, Any]) -> tuple[str | None, str | None]:
    for each in cast("list[object]", document.get("included") or []):
        resource = object_of(each)
        if resource.get("type") == "metric":
            attributes = object_of(resource.get("attributes"))
            return attributes.get("name"), object_of(attributes.get("integration")).get("name")
    return None, None


def _moment(event: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(object_of(object_of(event).get("attributes")).get("datetime")))
    except ValueError:
        return None


def _are_one_moment(created: datetime, happened: datetime) -> bool:
    return abs(created.timestamp() - happened.timestamp()) <= _AT_ONCE


def _in_map(klaviyo: Klaviyo, profile: Profile) -> str:
    """Say what the map knows about a profile's identifiers, without showing them."""
    try:
        binding = klaviyo.bindings.get(external_id=profile.external_id) if profile.external_id else None
        binding = binding or (klaviyo.bindings.get(email=profile.email) if profile.email else None)
        if binding is not None and binding.profile_id in {None, profile.id}:
            return "it is the customer's own profile"
        if binding is not None:
            return f"its identifiers belong to the customer with the profile {binding.profile_id}"
        if profile.email is None:
            return "no customer has its id, and it has no email"
        decision = klaviyo.explain(email=profile.email)
    except SafeKlaviyoError as error:
        return f"it cannot tell ({type(error).__name__})"
    if decision.rewritten or decision.rule in _FORMER:
        owner = None if decision.binding is None else decision.binding.profile_id
        return f"its email is a former one of {f'the customer with the profile {owner}' if owner else 'a customer'}"
    return "no customer has its identifiers"
