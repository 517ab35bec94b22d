"""The records of the pretend Klaviyo: profiles, events, requests, the journal's entries, answers.

Records are values: a change replaces a record, so that copying a simulator copies no record. A record's dictionaries
must not be changed in place either. A `repr` shows no personal data (P8). Read next: `accounts`, which holds them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = dict[str, Any]
FORM = "application/x-www-form-urlencoded"

NEVER_SUBSCRIBED = "NEVER_SUBSCRIBED"
SUBSCRIBED = "SUBSCRIBED"
UNSUBSCRIBED = "UNSUBSCRIBED"

EMAIL_MARKETING = "email.marketing"
SMS_MARKETING = "sms.marketing"
UNSUBSCRIBE = "UNSUBSCRIBE"
IMPORTS = "profile-bulk-import-job"
SUPPRESSIONS = "profile-suppression-bulk-create-job"
UNSUPPRESSIONS = "profile-suppression-bulk-delete-job"
USER_SUPPRESSED = "USER_SUPPRESSED"


class Record:
    """A value that is shared by the copies of a simulator."""

    __slots__ = ()

    # An exploration of schedules copies its world at each choice. Values that never change are most of that world.
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class Consent(Record):
    """What a profile consented to on one channel.

    Attributes:
        status: In Klaviyo's words, such as ``SUBSCRIBED``.
        at: When the person consented or withdrew; None where the channel was never asked for.
        updated: When Klaviyo noted it.
        method: How, such as ``API``.
        source: The source that the caller gave, if any.
        double_opt_in: Whether the person confirmed it.
    """

    status: str = NEVER_SUBSCRIBED
    at: float | None = None
    updated: float | None = None
    method: str | None = None
    source: str | None = None
    double_opt_in: bool | None = None


NO_CONSENT = Consent()
"""Where a profile was never asked."""


@dataclass(frozen=True, slots=True)
class Suppression(Record):
    """Why a profile receives no email, or none of one list.

    Attributes:
        reason: In Klaviyo's words, such as ``UNSUBSCRIBE`` and ``SPAM_COMPLAINT``.
        at: Unix seconds.
        list_id: The list that it is limited to; None for all email marketing.
    """

    reason: str
    at: float
    list_id: str | None = None


@dataclass(frozen=True, slots=True)
class MailingList(Record):
    """One list.

    Attributes:
        opt_in_process: ``"single_opt_in"``, or ``"double_opt_in"``: an email consent waits until it is confirmed.
    """

    id: str
    name: str
    opt_in_process: str
    created: float = 0.0
    updated: float = 0.0


@dataclass(frozen=True, slots=True)
class Metric(Record):
    """What one kind of event is.

    Attributes:
        integration: Where its events come from: ``API``, or ``Klaviyo`` for its own.
        category: Klaviyo's word for that.
        valued: An event of it has had a value.
    """

    id: str
    name: str
    integration: str
    category: str
    created: float = 0.0
    updated: float = 0.0
    valued: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class PushToken(Record):
    """One device that receives pushes, in Klaviyo's words.

    Attributes:
        profile_id: The profile that the token belongs to; None until the call that registers the token is done.
        recorded: When it was last sent.
    """

    id: str
    token: str
    profile_id: str | None
    platform: str
    vendor: str
    enablement_status: str
    background: str
    metadata: JSON = field(default_factory=dict[str, Any])
    created: float = 0.0
    recorded: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment(Record):
    """One segment, of which a test says who is in it."""

    id: str
    name: str
    created: float = 0.0
    updated: float = 0.0
    is_active: bool = True
    is_starred: bool = False


@dataclass(frozen=True, slots=True)
class Job(Record):
    """One accepted job that can be asked for by its id.

    Attributes:
        kind: Klaviyo's type of the resource.
        total: How many profiles it is about.
        completed: How many are done.
        skipped: How many were left out.
        completed_at: When it was done; None while it waits.
        errors: The rows of an import that failed, as documents.
        profile_ids: The profiles that an import wrote.
    """

    id: str
    kind: str
    total: int
    created: float
    completed: int = 0
    skipped: int = 0
    started_at: float | None = None
    completed_at: float | None = None
    list_ids: tuple[str, ...] = ()
    segment_ids: tuple[str, ...] = ()
    errors: tuple[JSON, ...] = ()
    profile_ids: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """In Klaviyo's words: an import waits in a queue, other jobs are begun at once."""
        if self.completed_at is not None:
            return "complete"
        return "queued" if self.kind == IMPORTS else "processing"


@dataclass(frozen=True, slots=True, repr=False)
class Profile(Record):
    """One profile.

    Attributes:
        attributes: What Klaviyo names itself: first_name, last_name, organization, locale, title, image, location.
        properties: The custom ones.
        consents: By channel and type of message, such as ``email.marketing`` and ``sms.transactional``. Those of a
            phone number end when the number changes.
        suppressions: Why it receives no email marketing, or none of one list; the oldest first.
        created: Unix seconds, as every time here.
        serial: Its place in the order of creation.
    """

    id: str
    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    attributes: JSON = field(default_factory=dict[str, Any])
    properties: JSON = field(default_factory=dict[str, Any])
    consents: Mapping[str, Consent] = field(default_factory=dict[str, Consent])
    suppressions: tuple[Suppression, ...] = ()
    created: float = 0.0
    updated: float = 0.0
    last_event_date: float | None = None
    serial: int = 0

    @property
    def consent(self) -> str:
        """The consent to email marketing, in Klaviyo's words."""
        return self.consents.get(EMAIL_MARKETING, NO_CONSENT).status

    @property
    def sms_consent(self) -> str:
        """The consent to marketing by text message, in Klaviyo's words."""
        return self.consents.get(SMS_MARKETING, NO_CONSENT).status

    @property
    def suppressed(self) -> bool:
        """Whether it receives no email for another reason than a withdrawal: a suppression, a bounce, a report."""
        return any(each.list_id is None and each.reason != UNSUBSCRIBE for each in self.suppressions)

    def __repr__(self) -> str:
        return f"Profile({self.id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Event(Record):
    """One event, as it was recorded, dropped or taken for a repetition.

    Attributes:
        profile_id: The profile that the event belongs to; None for an event that was dropped before it had one.
        unique_id: As it was sent, or None.
        time: Unix seconds.
        why: Why it was not recorded; empty for one that was.
    """

    id: str
    profile_id: str | None
    metric: str
    unique_id: str | None
    time: int
    value: float | None = None
    value_currency: str | None = None
    properties: JSON = field(default_factory=dict[str, Any])
    backfill: bool = False
    why: str = ""

    def __repr__(self) -> str:
        return f"Event({self.id!r}, {self.metric!r}, profile_id={self.profile_id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Asked(Record):
    """One request, taken apart.

    Attributes:
        endpoint: Klaviyo's name of the operation, such as ``create_event``; empty for an unknown path.
        path: Without the query, as it was sent.
        query: Decoded.
        headers: By lower-case name, with the key.
        at: Unix seconds, by the simulator's clock.
        named: The id in the path, if there is one.
        base: Scheme and host, for links.
        url: The whole address, as it was asked.
        revision: The one that answers.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float = 0.0
    endpoint: str = ""
    named: str = ""
    base: str = "https://a.klaviyo.com"
    url: str = ""
    revision: str = ""

    def __repr__(self) -> str:
        return f"Asked({self.method} {self.endpoint})"


@dataclass(frozen=True, slots=True, repr=False)
class Entry(Record):
    """One line of the journal: what was asked, and what came of it.

    Attributes:
        query: Decoded, without the key.
        headers: By lower-case name, without the key.
        raw: The body as it was sent.
        status: What was answered; None where the connection was refused or lost.
        committed: Klaviyo did, or accepted, what a write asked.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    endpoint: str
    at: float
    status: int | None
    committed: bool

    @property
    def body(self) -> Any:
        """The body, decoded: JSON, a form's fields without the key, text, or None where there was none."""
        if not self.raw:
            return None
        if self.headers.get("content-type", "").startswith(FORM):
            return {name: value for name, value in form(self.raw).items() if name != "api_key"}
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError):
            return self.raw.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Entry({self.method} {self.endpoint} -> {self.status}, committed={self.committed})"


@dataclass(frozen=True, slots=True, repr=False)
class Answer(Record):
    """One answer.

    Attributes:
        headers: By lower-case name.
        delay: Seconds until the answer arrives; the transport or server decides what that means.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    delay: float = 0.0

    def __repr__(self) -> str:
        return f"Answer({self.status})"


def form(body: bytes) -> dict[str, str]:
    """Return the fields of a form."""
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


class ConnectionRefused(Exception):  # noqa: N818 - the name says what happened
    """Nothing was sent: there was no connection."""


class ConnectionLost(Exception):  # noqa: N818 - the name says what happened
    """The request was sent, and no whole answer came back.

    Attributes:
        answer: The answer of which a half arrived; None where nothing did.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__("the connection was lost")
        self.answer = answer
