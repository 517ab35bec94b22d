"""The consent jobs: what is refused before anything is accepted (Klaviyo's references of the four bulk jobs).

A job is checked as a whole. A refusal points to the row. What an accepted job does is decided in `consent_jobs`, when
it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from safeklaviyo.testing.simulator.checks import Body, fields, resource, text
from safeklaviyo.testing.simulator.consent_jobs import Row, Subscribing, Suppressing, Withdrawing
from safeklaviyo.testing.simulator.documents import job_document
from safeklaviyo.testing.simulator.records import (
    EMAIL_MARKETING,
    JSON,
    SUBSCRIBED,
    SUPPRESSIONS,
    UNSUBSCRIBED,
    UNSUPPRESSIONS,
    Answer,
    Asked,
    Job,
)
from safeklaviyo.testing.simulator.refusals import invalid
from safeklaviyo.testing.simulator.shapes import one, shape
from safeklaviyo.testing.simulator.tables import EMAIL, PHONE_NUMBER

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account

MAX_SUBSCRIBED = 1000
MAX_WITHDRAWN = 100

_AT = "/data/attributes"
_ROWS = f"{_AT}/profiles/data"
_CHANNELS = {
    "email": frozenset({"marketing"}),
    "sms": frozenset({"marketing", "transactional"}),
    "whatsapp": frozenset({"marketing", "transactional", "conversational"}),
    "push": frozenset({"marketing"}),
}
"""The types of message that may be asked for, by channel."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the rows of one job.

    Attributes:
        status: What each channel of a row has to ask for.
        historical: Each channel has to say when the person consented; None where no time may be given at all.
    """

    account: Account
    status: str
    historical: bool | None = None

    def row(self, data: JSON, at: str) -> Row:
        """Read one row.

        Raises:
            Refusal: 400.
        """
        attributes = fields(data.get("attributes"), f"{at}/attributes")
        named = _named(self.account, attributes, f"{at}/attributes")
        given = fields(attributes.get("subscriptions"), f"{at}/attributes/subscriptions")
        channels = self._channels(given, f"{at}/attributes/subscriptions")
        profile_id = _profile_id(data, at) if self.status == SUBSCRIBED else None
        # A row with an id may leave the address to the profile, in one reading.
        if profile_id is None or self.account.readings.subscribe_by_id == 400:
            for channel in channels:
                kind = EMAIL if channel == EMAIL_MARKETING else PHONE_NUMBER
                if kind not in named and not channel.startswith("push"):
                    raise invalid(f"'{kind}' is required for this channel.", f"{at}/attributes/{kind}")
        if profile_id is None and not named:
            raise invalid("One of 'email' and 'phone_number' is required.", f"{at}/attributes")
        return Row(profile_id, named, channels)

    def _channels(self, given: JSON, at: str) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for channel, kinds in given.items():
            if channel not in _CHANNELS:
                raise invalid(f"'{channel}' is not a valid field for the resource 'profile'.", f"{at}/{channel}")
            for kind, asked in fields(kinds, f"{at}/{channel}").items():
                # A type of message that the channel does not have is passed over.
                if kind in _CHANNELS[channel] and asked is not None:
                    where = f"{at}/{channel}/{kind}"
                    found[f"{channel}.{kind}"] = self._consented_at(fields(asked, where), where)
        if not found:
            raise invalid("At least one channel is required.", at)
        return found

    def _consented_at(self, asked: JSON, at: str) -> float | None:
        if asked.get("consent") != self.status:
            raise invalid(f"'consent' must be '{self.status}'.", f"{at}/consent")
        value = asked.get("consented_at")
        if value is None and not self.historical:
            return None
        if not self.historical:
            raise invalid("'consented_at' needs 'historical_import'.", f"{at}/consented_at")
        moment = _moment(value, f"{at}/consented_at")
        if moment >= self.account.clock.now():
            raise invalid("'consented_at' must be in the past.", f"{at}/consented_at")
        return moment


def bulk_subscribe_profiles(account: Account, asked: Asked) -> Answer:
    """Accept the subscription of up to 1,000 profiles."""
    data = resource(asked.body, "profile-subscription-bulk-create-job")
    attributes = fields(data.get("attributes"), _AT)
    historical = attributes.get("historical_import")
    if not isinstance(historical, bool | None):
        raise invalid("This must be true or false.", f"{_AT}/historical_import")
    reader = _Reader(account, SUBSCRIBED, historical=bool(historical))
    rows = tuple(reader.row(each, at) for each, at in _rows(attributes, MAX_SUBSCRIBED))
    source = text(attributes.get("custom_source"), f"{_AT}/custom_source")
    job = Subscribing(rows, _list(account, data), bool(historical), source)
    account.enqueue(asked.endpoint, job, account.consent_lag)
    return Answer(202)


def bulk_unsubscribe_profiles(account: Account, asked: Asked) -> Answer:
    """Accept the withdrawal of up to 100 profiles."""
    data = resource(asked.body, "profile-subscription-bulk-delete-job")
    reader = _Reader(account, UNSUBSCRIBED)
    listed = _rows(fields(data.get("attributes"), _AT), MAX_WITHDRAWN)
    job = Withdrawing(tuple(reader.row(each, at) for each, at in listed), _list(account, data))
    account.enqueue(asked.endpoint, job, account.consent_lag)
    return Answer(202)


def bulk_suppress_profiles(account: Account, asked: Asked) -> Answer:
    """Accept the suppression of up to 100 addresses, or of a list's members."""
    return _suppress(account, asked, SUPPRESSIONS, lifts=False)


def bulk_unsuppress_profiles(account: Account, asked: Asked) -> Answer:
    """Accept that the suppression of up to 100 addresses, or of a list's members, ends."""
    return _suppress(account, asked, UNSUPPRESSIONS, lifts=True)


def _suppress(account: Account, asked: Asked, kind: str, *, lifts: bool) -> Answer:
    data = resource(asked.body, kind)
    attributes = fields(data.get("attributes"), _AT)
    list_id, segment_id = _list(account, data), _related(data, "segment")
    if segment_id is not None and segment_id not in account.segments:
        raise invalid(f"Segment not found with id {segment_id}.", "/data/relationships/segment/data/id")
    # Exactly one of the three: the reference takes rows or a group, and never both.
    group_id = list_id or segment_id
    if [list_id, segment_id, attributes.get("profiles")].count(None) != 2:
        raise invalid("Either profiles, a list or a segment is required.", _AT)
    rows: list[Row] = []
    for each, at in _rows(attributes, MAX_WITHDRAWN) if group_id is None else ():
        named = _named(account, fields(each.get("attributes"), f"{at}/attributes"), f"{at}/attributes")
        if EMAIL not in named:
            raise invalid("'email' is required.", f"{at}/attributes/email")
        rows.append(Row(None, {EMAIL: named[EMAIL]}))
    lists, segments = (() if each is None else (each,) for each in (list_id, segment_id))
    job = Job(account.new_id(), kind, len(rows), account.clock.now(), list_ids=lists, segment_ids=segments)
    account.jobs[job.id] = job
    account.enqueue(asked.endpoint, Suppressing(job.id, tuple(rows), group_id, lifts), account.consent_lag)
    return one(asked, job_document(job, shape(asked)), status=202)


def _rows(attributes: JSON, most: int) -> list[tuple[JSON, str]]:
    """Return the rows, each with its place."""
    listed: Any = fields(attributes.get("profiles"), f"{_AT}/profiles").get("data")
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    if not 1 <= len(rows) <= most:
        raise invalid(f"1 to {most} profiles are required.", _ROWS)
    placed = [(fields(row, f"{_ROWS}/{index}"), f"{_ROWS}/{index}") for index, row in enumerate(rows)]
    for row, at in placed:
        if row.get("type") != "profile":
            raise invalid("'type' must be 'profile'.", f"{at}/type")
    return placed


def _named(account: Account, attributes: JSON, at: str) -> dict[str, str]:
    """Return the identifiers that a row gives. All other attributes of the person are dropped."""
    body = Body(account.readings)
    found = {kind: body.identifier(kind, attributes.get(kind), f"{at}/{kind}") for kind in (EMAIL, PHONE_NUMBER)}
    return {kind: value for kind, value in found.items() if value is not None}


def _profile_id(data: JSON, at: str) -> str | None:
    return text(data.get("id"), f"{at}/id")


def _list(account: Account, data: JSON) -> str | None:
    """Return the id of the list that the job is about, if any."""
    list_id = _related(data, "list")
    if list_id is not None and list_id not in account.lists:
        raise invalid(f"List not found with id {list_id}.", "/data/relationships/list/data/id")
    return list_id


def _related(data: JSON, kind: str) -> str | None:
    at = f"/data/relationships/{kind}"
    holder = fields(fields(data.get("relationships"), "/data/relationships").get(kind), at)
    return text(fields(holder.get("data"), f"{at}/data").get("id"), f"{at}/data/id")


def _moment(value: object, at: str) -> float:
    if value is None:
        raise invalid("'consented_at' is required for a historical import.", at)
    try:
        moment = datetime.fromisoformat(cast("str", value))
    except (TypeError, ValueError):
        raise invalid("This must be a time in ISO 8601.", at) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
