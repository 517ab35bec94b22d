"""Requests about many people in one: events, and imports of profiles. Each row is written as JSON once.

Sources: Klaviyo's references of *Bulk Create Events* and *Bulk Import Profiles*. A request takes at most 1,000 events,
or 10,000 profiles, and 5 MB. Klaviyo names a job for imports only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from safeklaviyo._api.bodies import MAX_BODY_BYTES, encoded_bytes, profile_data
from safeklaviyo._api.events import event_attributes
from safeklaviyo._api.messages import Repeat, Request
from safeklaviyo._api.paths import (
    BULK_EVENTS,
    BULK_EVENTS_PATH,
    BULK_IMPORT,
    BULK_IMPORTS_PATH,
    GET_IMPORT,
    GET_IMPORT_ERRORS,
)
from safeklaviyo._api.responses import UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._api.messages import Response
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person
    from safeklaviyo.models import Binding

MOST_EVENTS: Final = 1000
ROOM: Final = MAX_BODY_BYTES - 4096
"""Bytes that the rows of one request may take, beside the frame around them."""
GROUP: Final = 400
"""Bytes around the events of one profile, at most, beside the profile's own."""


def event_row(event: Event) -> bytes:
    """Return one event of a group."""
    return encoded_bytes({"type": "event", "attributes": event_attributes(event)})


def create_events(groups: Iterable[tuple[Binding, Person, Iterable[bytes]]], *, by_profile_id_alone: bool) -> Request:
    """Record many events, grouped by their profiles, each of which is named as in `create_event`.

    Klaviyo does not say what becomes of a repeated request, so that this one is sent once; its rows are sent singly
    after an unknown outcome, where a repeat is dropped.
    """
    parts: list[bytes] = []
    for binding, person, rows in groups:
        data = profile_data(person)
        data["id"] = binding.profile_id
        if not by_profile_id_alone:
            who = data["attributes"]
            if binding.external_id is not None:
                who["external_id"] = binding.external_id
            if binding.email is not None:
                who["email"] = binding.email
        # In bulk the profile's `meta` stands beside its attributes in every revision.
        profile = encoded_bytes(data)
        parts.append(
            b'{"type":"event-bulk-create","attributes":{"profile":{"data":%b},"events":{"data":[%b]}}}'
            % (profile, b",".join(rows))
        )
    body = b'{"data":{"type":"event-bulk-create-job","attributes":{"events-bulk-create":{"data":[%b]}}}}'
    return Request("POST", BULK_EVENTS_PATH, BULK_EVENTS, Repeat.ONCE, body % b",".join(parts))


def profile_row(binding: Binding, person: Person) -> bytes:
    """Return one profile of an import: by its id, without identifiers."""
    return encoded_bytes(profile_data(person) | {"id": binding.profile_id})


def import_profiles(rows: Iterable[bytes], *, repeat: Repeat) -> Request:
    """Write onto many profiles. Null clears nothing here."""
    body = b'{"data":{"type":"profile-bulk-import-job","attributes":{"profiles":{"data":[%b]}}}}'
    return Request("POST", BULK_IMPORTS_PATH, BULK_IMPORT, repeat, body % b",".join(rows))


def read_job_id(response: Response) -> str:
    """Return the id of the job that an answer names.

    Raises:
        UnreadableAnswer: The answer names no job.
    """
    job_id = _data(response).get("id")
    if not isinstance(job_id, str) or not job_id:
        raise UnreadableAnswer("the answer names no job")
    return job_id


def get_import(job_id: str) -> Request:
    """Ask how far an import is."""
    return Request("GET", f"{BULK_IMPORTS_PATH}/{_checked(job_id)}", GET_IMPORT, Repeat.READ)


def read_failures(response: Response) -> int | None:
    """Return how many rows of an import have failed; None while it goes on.

    Raises:
        UnreadableAnswer: The answer is not about an import.
    """
    attributes = _fields(_data(response).get("attributes"))
    status, failed = attributes.get("status"), attributes.get("failed_count")
    if not isinstance(status, str):
        raise UnreadableAnswer("the answer is not about an import")
    if status not in {"complete", "cancelled"}:
        return None
    return failed if isinstance(failed, int) else 1


def get_import_errors(job_id: str, query: str = "page%5Bsize%5D=100") -> Request:
    """Ask for a page of the rows of an import that failed, a hundred at most.

    Args:
        query: That of the page, as `next_errors` returns it.
    """
    path = f"{BULK_IMPORTS_PATH}/{_checked(job_id)}/import-errors?{query}"
    return Request("GET", path, GET_IMPORT_ERRORS, Repeat.READ)


def next_errors(response: Response) -> str | None:
    """Return the query of the next page of failed rows; None after the last one. The link's host is not followed."""
    link = _fields(_fields(response.json).get("links")).get("next")
    if not isinstance(link, str) or not link.isascii() or not link.isprintable() or " " in link:
        return None
    return link.partition("?")[2].partition("#")[0] or None


def read_import_errors(response: Response) -> list[tuple[int | None, dict[str, Any]]]:
    """Return the numbers of the rows that failed, and Klaviyo's errors without what was sent."""
    body = _fields(response.json)
    listed = body.get("data")
    found: list[tuple[int | None, dict[str, Any]]] = []
    for each in cast("list[object]", listed) if isinstance(listed, list) else []:
        error = dict(_fields(_fields(each).get("attributes")))
        error.pop("original_payload", None)
        found.append((row_of(error), error))
    return found


def row_of(error: dict[str, Any]) -> int | None:
    """Return the number of the row that an error points to; None where it points to none."""
    pointer = _fields(error.get("source")).get("pointer")
    parts = pointer.split("/") if isinstance(pointer, str) else []
    return next((int(part) for part in parts if part.isascii() and part.isdigit()), None)


def _checked(job_id: str) -> str:
    """Return a job's id as a part of a path; Klaviyo says that it is opaque, and it is base64url so far."""
    return quote(job_id, safe="")


def _data(response: Response) -> dict[str, Any]:
    return _fields(_fields(response.json).get("data"))


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
