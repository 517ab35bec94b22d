"""Resources as JSON:API documents (Klaviyo's *Get Profile*, *Get Event*, *Get List* references and others)."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from safeklaviyo.testing.simulator.checks import PLACES, TEXTS
from safeklaviyo.testing.simulator.consent_documents import moment, subscriptions
from safeklaviyo.testing.simulator.persons import LOCATION
from safeklaviyo.testing.simulator.records import IMPORTS
from safeklaviyo.testing.simulator.shapes import HASHED, PREDICTIVE_ANALYTICS, SUBSCRIPTIONS, identifiers

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import JSON, Event, Job, MailingList, Metric, Profile, PushToken, Segment
    from safeklaviyo.testing.simulator.shapes import Shape

LISTS = "lists"
SEGMENTS = "segments"
PUSH_TOKENS = "push-tokens"
CONVERSATION = "conversation"
"""How writes, and documents that include a profile, call the relation that later reads call ``conversations``."""

_KEPT = 7 * 86_400
_GROUPED = ("profiles", "tags", "flow-triggers")


def profile_document(
    account: Account,
    profile: Profile,
    shape: Shape,
    *,
    joined: float | None = None,
    conversation: str | None = None,
    made: bool = False,
) -> JSON:
    """Return one profile.

    Args:
        joined: When it joined the list or segment that is read.
        conversation: How its relation to conversations is called here, if it is shown at all.
        made: This is the answer to its creation, the only one that has fractions of its first second.
    """
    attributes = _attributes(account, profile)
    if not made:
        attributes["created"] = second(profile.created)
    if joined is not None:
        attributes["joined_group_at"] = second(joined)
    related = (LISTS, SEGMENTS, PUSH_TOKENS, *(() if conversation is None else (conversation,)))
    shown = shape.resource("profile", profile.id, attributes, related, _further(profile, shape))
    # A relationship has its data only where the request includes it.
    for name in shape.include & {LISTS, SEGMENTS}:
        groups = account.lists_of(profile.id) if name == LISTS else account.segments_of(profile.id)
        shown["relationships"][name]["data"] = identifiers(name.removesuffix("s"), groups)
    if PUSH_TOKENS in shape.include:
        tokens = account.push_tokens_of(profile.id)
        shown["relationships"][PUSH_TOKENS]["data"] = identifiers("push-token", [each.id for each in tokens])
    return shown


def list_document(listed: MailingList, shape: Shape, count: int | None = None) -> JSON:
    """Return one list.

    Args:
        count: How many profiles it has, where that was asked for.
    """
    attributes = {
        "name": listed.name,
        "created": second(listed.created),
        "updated": second(listed.updated),
        "opt_in_process": listed.opt_in_process,
    }
    return shape.resource("list", listed.id, attributes, _GROUPED, {} if count is None else {"profile_count": count})


def segment_document(segment: Segment, shape: Shape, count: int | None = None) -> JSON:
    """Return one segment. What describes its profiles is not known here.

    Args:
        count: How many profiles it has, where that was asked for.
    """
    attributes = {
        "name": segment.name,
        "definition": None,
        "created": second(segment.created),
        "updated": second(segment.updated),
        "is_active": segment.is_active,
        "is_processing": False,
        "is_starred": segment.is_starred,
    }
    further: JSON = {} if count is None else {"profile_count": count}
    return shape.resource("segment", segment.id, attributes, _GROUPED, further)


def push_token_document(token: PushToken, shape: Shape) -> JSON:
    """Return one push token."""
    attributes = {
        "created": second(token.created),
        "token": token.token,
        "enablement_status": token.enablement_status,
        "platform": token.platform,
        "vendor": token.vendor,
        "background": token.background,
        "recorded_date": second(token.recorded),
        "metadata": token.metadata or None,
    }
    shown = shape.resource("push-token", token.id, attributes, ("profile",))
    shown["relationships"]["profile"]["data"] = {"type": "profile", "id": token.profile_id}
    return shown


def event_document(account: Account, event: Event, shape: Shape) -> JSON:
    """Return one event, as *Get Events* shows it: the unique id and the value among the properties."""
    metric = account.metrics[event.metric]
    properties = {**event.properties, "$event_id": event.unique_id or str(event.time)}
    if event.value is not None or metric.valued:
        # An event without a value is worth nothing, if its metric has values.
        properties["$value"] = event.value or 0
    if event.value_currency is not None:
        properties["$value_currency"] = event.value_currency
    attributes = {
        "timestamp": event.time,
        "event_properties": properties,
        "datetime": second(event.time),
        "uuid": str(uuid5(NAMESPACE_OID, event.id)),
    }
    shown = shape.resource("event", event.id, attributes, ("profile", "metric", "attributions"))
    shown["relationships"]["profile"]["data"] = {"type": "profile", "id": event.profile_id}
    shown["relationships"]["metric"]["data"] = {"type": "metric", "id": metric.id}
    if "attributions" in shape.include:
        shown["relationships"]["attributions"]["data"] = []
    return shown


def metric_document(metric: Metric, shape: Shape) -> JSON:
    """Return one metric."""
    attributes = {
        "name": metric.name,
        "created": second(metric.created),
        "updated": second(metric.updated),
        "integration": {
            "object": "integration",
            "id": uuid5(NAMESPACE_OID, metric.integration).hex[:6],
            "name": metric.integration,
            "category": metric.category,
        },
    }
    return shape.resource("metric", metric.id, attributes, ("flow-triggers",))


def job_document(job: Job, shape: Shape) -> JSON:
    """Return one job."""
    is_import = job.kind == IMPORTS
    attributes: JSON = {
        "status": job.status,
        "created_at": second(job.created),
        "total_count": job.total,
        "completed_count": job.completed,
        "completed_at": None if job.completed_at is None else second(job.completed_at),
    }
    if is_import:
        attributes["failed_count"] = len(job.errors)
        attributes["started_at"] = None if job.started_at is None else second(job.started_at)
        attributes["expires_at"] = second(job.created + _KEPT)
    else:
        attributes["skipped_count"] = job.skipped
    related = (LISTS, "profiles", "import-errors") if is_import else (LISTS, SEGMENTS)
    shown = shape.resource(job.kind, job.id, attributes, related)
    shown["relationships"][LISTS]["data"] = identifiers("list", job.list_ids)
    # Klaviyo's answer has no link to the relationship itself here.
    if is_import:
        del shown["relationships"]["import-errors"]["links"]["self"]
    else:
        shown["relationships"][SEGMENTS]["data"] = identifiers("segment", job.segment_ids)
    return shown


def second(seconds: float) -> str:
    """Return unix seconds as Klaviyo writes most times, without fractions."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _attributes(account: Account, profile: Profile) -> JSON:
    location = profile.attributes.get(LOCATION, {})
    return {
        "email": profile.email,
        "phone_number": profile.phone_number,
        "external_id": _number_or_text(profile.external_id, account.readings.external_ids_shown),
        "anonymous_id": None,
        "whatsapp_bsuid": None,
        **{name: profile.attributes.get(name) for name in TEXTS},
        "created": moment(profile.created),
        "updated": moment(profile.updated),
        "last_event_date": moment(profile.last_event_date),
        LOCATION: {name: location.get(name) for name in sorted(PLACES)},
        "properties": profile.properties,
    }


def _further(profile: Profile, shape: Shape) -> JSON:
    shown: JSON = {}
    if SUBSCRIPTIONS in shape.additional:
        shown[SUBSCRIPTIONS] = subscriptions(profile)
    if PREDICTIVE_ANALYTICS in shape.additional:
        shown[PREDICTIVE_ANALYTICS] = None
    for name in shape.additional & HASHED:
        value: str | None = getattr(profile, name.removeprefix("hashed_"))
        shown[name] = None if value is None else sha256(value.lower().encode()).hexdigest()
    return shown


def _number_or_text(external_id: str | None, how: str) -> str | int | None:
    # Only an id that is the text of that very number can come from one.
    if how == "number" and external_id is not None and external_id.isdecimal() and str(int(external_id)) == external_id:
        return int(external_id)
    return external_id
