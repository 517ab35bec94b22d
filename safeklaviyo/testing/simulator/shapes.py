"""How the resources of an answer are shown: sparse fields, further fields, what is included (Klaviyo's *API overview*).

Fields that are asked for additionally are shown even if the sparse fields do not name them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from safeklaviyo.testing.simulator.checks import PLACES, TEXTS
from safeklaviyo.testing.simulator.records import JSON, Record
from safeklaviyo.testing.simulator.refusals import invalid_parameter, json_answer
from safeklaviyo.testing.simulator.tables import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from safeklaviyo.testing.simulator.records import Answer, Asked

KLAVIYO = "https://a.klaviyo.com"
SUBSCRIPTIONS = "subscriptions"
PREDICTIVE_ANALYTICS = "predictive_analytics"
PROFILE_COUNT = "profile_count"
HASHED = frozenset({"hashed_email", "hashed_phone_number"})

_JOB = frozenset({
    "status", "created_at", "total_count", "completed_count", "failed_count", "completed_at", "expires_at",
    "started_at", "skipped_count",
})  # fmt: skip
_NAMES: Mapping[str, frozenset[str]] = {
    "profile": frozenset({
        *KINDS, "anonymous_id", "whatsapp_bsuid", *TEXTS, "created", "updated", "last_event_date", "location",
        "properties", "joined_group_at", SUBSCRIPTIONS, PREDICTIVE_ANALYTICS, *HASHED,
    }),
    "push-token": frozenset({
        "created", "token", "enablement_status", "platform", "vendor", "background", "recorded_date", "metadata",
    }),
    "event": frozenset({"timestamp", "event_properties", "datetime", "uuid"}),
    "metric": frozenset({"name", "created", "updated", "integration"}),
    "list": frozenset({"name", "created", "updated", "opt_in_process", PROFILE_COUNT}),
    "segment": frozenset({
        "name", "definition", "created", "updated", "is_active", "is_processing", "is_starred", PROFILE_COUNT,
    }),
    "account": frozenset({
        "test_account", "contact_information", "industry", "timezone", "preferred_currency", "public_api_key", "locale",
    }),
    "profile-bulk-import-job": _JOB,
    "profile-suppression-bulk-create-job": _JOB,
    "profile-suppression-bulk-delete-job": _JOB,
    "import-error": frozenset({"code", "title", "detail", "source", "original_payload"}),
}  # fmt: skip
"""The attributes that ``fields[…]`` may name, by type."""

_ADDITIONAL: Mapping[str, frozenset[str]] = {
    "profile": frozenset({SUBSCRIPTIONS, PREDICTIVE_ANALYTICS}),
    "list": frozenset({PROFILE_COUNT}),
    "segment": frozenset({PROFILE_COUNT}),
}
_INNER = {"location": PLACES}


@dataclass(frozen=True, slots=True)
class Shape(Record):
    """What a query says about how resources are shown.

    Attributes:
        base: Scheme and host of the links.
        only: The fields to keep, by type; a type that is not there keeps all.
        additional: The further fields.
        include: The relationships to include.
    """

    base: str = KLAVIYO
    only: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    additional: frozenset[str] = frozenset()
    include: frozenset[str] = frozenset()

    def resource(
        self, kind: str, resource_id: str, attributes: JSON, related: Sequence[str] = (), further: JSON | None = None
    ) -> JSON:
        """Return a resource as a document.

        Args:
            related: The relationships, of which the links are shown.
            further: Additional fields, shown even if the request does not ask for them.
        """
        url = f"{self.base}/api/{kind}s/{quote(resource_id)}/"
        shown: JSON = {
            "type": kind,
            "id": resource_id,
            "attributes": {**self.kept(kind, attributes), **(further or {})},
        }
        links = {
            name: {"links": {"self": f"{url}relationships/{name}/", "related": f"{url}{name}/"}} for name in related
        }
        if links:
            shown["relationships"] = links
        return {**shown, "links": {"self": url}}

    def kept(self, kind: str, attributes: JSON) -> JSON:
        """Return the attributes that were asked for."""
        only = self.only.get(kind)
        return attributes if only is None else _sparse(attributes, only)


def shape(asked: Asked, include: Iterable[str] = ()) -> Shape:
    """Read what a query says.

    Args:
        include: The relationships that this endpoint can include.

    Raises:
        Refusal: 400 for an unknown field or relationship.
    """
    included, allowed = _listed(asked, "include"), frozenset(include)
    for name in included:
        if name not in allowed:
            raise invalid_parameter(f"'{name}' is not an allowed include parameter for this resource.", "include")
    additional: set[str] = set()
    for kind, names in _ADDITIONAL.items():
        further = names | HASHED if kind == "profile" and asked.revision >= "2026-10-15" else names
        additional.update(_checked(asked, f"additional-fields[{kind}]", further))
    only = {
        kind: _checked(asked, f"fields[{kind}]", names)
        for kind, names in _NAMES.items()
        if f"fields[{kind}]" in asked.query
    }
    return Shape(asked.base, only, frozenset(additional), frozenset(included))


def one(asked: Asked, data: JSON | None, included: Iterable[JSON] = (), status: int = 200) -> Answer:
    """Answer with a single resource, or with none."""
    return json_answer(status, {"data": data, **_included(asked, included), "links": {"self": asked.url}})


def many(
    asked: Asked, data: list[JSON], links: Mapping[str, str | None] | None = None, included: Iterable[JSON] = ()
) -> Answer:
    """Answer with a list of resources.

    Args:
        links: Those of the page; None for a list without pages.
    """
    usual = {"self": asked.url, "next": None, "prev": None}
    return json_answer(200, {"data": data, **_included(asked, included), "links": links or usual})


def identifiers(kind: str, ids: Iterable[str]) -> list[JSON]:
    """Return resources by type and id alone."""
    return [{"type": kind, "id": each} for each in ids]


def _included(asked: Asked, included: Iterable[JSON]) -> JSON:
    if not asked.query.get("include"):
        return {}
    # Two resources of a page may be related to the same one.
    return {"included": list({(each["type"], each["id"]): each for each in included}.values())}


def _checked(asked: Asked, parameter: str, allowed: frozenset[str]) -> frozenset[str]:
    names = frozenset(_listed(asked, parameter))
    for name in names - {"id"}:
        outer, _, inner = name.partition(".")
        if outer not in allowed or (inner and inner not in _INNER.get(outer, {inner})):
            raise invalid_parameter("A field is not an allowed field for this resource.", parameter)
    return names


def _listed(asked: Asked, parameter: str) -> list[str]:
    return [name for name in asked.query.get(parameter, "").split(",") if name]


def _sparse(attributes: JSON, only: frozenset[str]) -> JSON:
    shown: JSON = {}
    for name, value in attributes.items():
        inner = frozenset(each.partition(".")[2] for each in only if each.startswith(f"{name}."))
        if name in only:
            shown[name] = value
        elif inner:
            shown[name] = _sparse(cast("JSON", value), inner) if isinstance(value, dict) else value
    return shown
