"""The endpoints about jobs that can be asked for: imports and suppressions (Klaviyo's Profiles reference)."""

from __future__ import annotations

import base64
import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from safeklaviyo.testing.simulator.checks import MAX_PROFILE, Body, fields, resource
from safeklaviyo.testing.simulator.documents import job_document, list_document, profile_document
from safeklaviyo.testing.simulator.filters import AMONG, SAME
from safeklaviyo.testing.simulator.imports import Import
from safeklaviyo.testing.simulator.pages import Listing
from safeklaviyo.testing.simulator.persons import without_nulls
from safeklaviyo.testing.simulator.records import IMPORTS, JSON, SUPPRESSIONS, UNSUPPRESSIONS, Answer, Asked, Job
from safeklaviyo.testing.simulator.refusals import Refusal, invalid
from safeklaviyo.testing.simulator.shapes import identifiers, many, one, shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person

MAX_IMPORTED = 10_000

_AT = "/data/attributes"
_ROWS = f"{_AT}/profiles/data"
_LISTS = "/data/relationships/lists/data"
_READ = {"status": "status", "list_id": "list_ids", "segment_id": "segment_ids"}
"""How the fields of a filter are named in a job."""
_VALUES = {name: attrgetter(read) for name, read in _READ.items()}
_IMPORTS: Listing[Job] = Listing({"status": AMONG}, _VALUES, {"created_at": attrgetter("created")})
_SUPPRESSIONS: Listing[Job] = Listing(
    dict.fromkeys(_VALUES, SAME), _VALUES, {"created": attrgetter("created")}, usual=100
)
_ALL: Listing[Any] = Listing({}, {})


def bulk_import_profiles(account: Account, asked: Asked) -> Answer:
    """Accept the import of up to 10,000 profiles: all rows, or none if one is malformed."""
    data = resource(asked.body, IMPORTS)
    listed: Any = fields(fields(data.get("attributes"), _AT).get("profiles"), f"{_AT}/profiles").get("data")
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    if not 1 <= len(rows) <= MAX_IMPORTED:
        raise invalid(f"1 to {MAX_IMPORTED} profiles are required.", _ROWS)
    read = tuple(_row(account, fields(row, f"{_ROWS}/{index}"), f"{_ROWS}/{index}") for index, row in enumerate(rows))
    # A long id, as Klaviyo's: a client that takes ids for short texts fails here too.
    job_id = base64.urlsafe_b64encode(f"{account.id}.{account.new_id()}".encode()).decode().rstrip("=")
    job = Job(job_id, IMPORTS, len(read), account.clock.now(), list_ids=_lists(account, data))
    account.jobs[job.id] = job
    account.enqueue(asked.endpoint, Import(job.id, read, _ROWS))
    return one(asked, job_document(job, shape(asked)), status=202)


def get_bulk_import_profiles_jobs(account: Account, asked: Asked) -> Answer:
    """The imports."""
    return _jobs(account, asked, IMPORTS, _IMPORTS)


def get_bulk_import_profiles_job(account: Account, asked: Asked) -> Answer:
    """One import: how far it is."""
    shown, job = shape(asked, ("lists",)), _existing(account, asked.named, IMPORTS)
    included = [list_document(account.lists[each], shown) for each in job.list_ids if each in account.lists]
    return one(asked, job_document(job, shown), included)


def get_errors_for_bulk_import_profiles_job(account: Account, asked: Asked) -> Answer:
    """The rows of an import that failed."""
    shown = shape(asked)
    rows, links = _ALL.cut(asked, list(_existing(account, asked.named, IMPORTS).errors))
    return many(asked, [{**row, "attributes": shown.kept(row["type"], row["attributes"])} for row in rows], links)


def get_profiles_for_bulk_import_profiles_job(account: Account, asked: Asked) -> Answer:
    """The profiles that an import wrote."""
    shown = shape(asked)
    rows, links = _ALL.cut(asked, list(_existing(account, asked.named, IMPORTS).profile_ids))
    found = [profile for profile in map(account.get, rows) if profile is not None]
    return many(asked, [profile_document(account, each, shown) for each in found], links)


def get_profile_ids_for_bulk_import_profiles_job(account: Account, asked: Asked) -> Answer:
    """The ids of the profiles that an import wrote."""
    rows, links = _ALL.cut(asked, list(_existing(account, asked.named, IMPORTS).profile_ids))
    return many(asked, identifiers("profile", rows), links)


def get_list_for_bulk_import_profiles_job(account: Account, asked: Asked) -> Answer:
    """The lists that an import fills."""
    shown, job = shape(asked), _existing(account, asked.named, IMPORTS)
    return many(asked, [list_document(account.lists[each], shown) for each in job.list_ids if each in account.lists])


def get_list_ids_for_bulk_import_profiles_job(account: Account, asked: Asked) -> Answer:
    """The ids of the lists that an import fills."""
    return many(asked, identifiers("list", _existing(account, asked.named, IMPORTS).list_ids))


def get_bulk_suppress_profiles_jobs(account: Account, asked: Asked) -> Answer:
    """The suppressions."""
    return _jobs(account, asked, SUPPRESSIONS, _SUPPRESSIONS)


def get_bulk_suppress_profiles_job(account: Account, asked: Asked) -> Answer:
    """One suppression: how far it is."""
    return one(asked, job_document(_existing(account, asked.named, SUPPRESSIONS), shape(asked)))


def get_bulk_unsuppress_profiles_jobs(account: Account, asked: Asked) -> Answer:
    """The suppressions that end."""
    return _jobs(account, asked, UNSUPPRESSIONS, _SUPPRESSIONS)


def get_bulk_unsuppress_profiles_job(account: Account, asked: Asked) -> Answer:
    """One suppression that ends: how far it is."""
    return one(asked, job_document(_existing(account, asked.named, UNSUPPRESSIONS), shape(asked)))


def _jobs(account: Account, asked: Asked, kind: str, listing: Listing[Job]) -> Answer:
    shown = shape(asked)
    of_kind: Iterable[Job] = [job for job in account.jobs.values() if job.kind == kind]
    rows, links = listing.page(asked, of_kind)
    return many(asked, [job_document(row, shown) for row in rows], links)


def _existing(account: Account, job_id: str, kind: str) -> Job:
    job = account.jobs.get(job_id)
    if job is None or job.kind != kind:
        raise Refusal(404, f"A {kind} with id {job_id} does not exist.")
    return job


def _row(account: Account, row: JSON, at: str) -> tuple[Person, JSON]:
    if row.get("type") != "profile":
        raise invalid("'type' must be 'profile'.", f"{at}/type")
    # Each row is encoded again to measure it, which only a large body is worth.
    if len(json.dumps(row)) > MAX_PROFILE:
        raise invalid("The profile is larger than 100 KB.", at)
    person = without_nulls(Body(account.readings, {"_kx"}).person(row, at, row.get("meta")))
    if person.profile_id is None and not person.named() and not fields(row.get("attributes"), at).get("_kx"):
        raise invalid("One of 'email', 'phone_number' and 'external_id' is required.", f"{at}/attributes")
    return person, row


def _lists(account: Account, data: JSON) -> tuple[str, ...]:
    relationships = fields(data.get("relationships"), "/data/relationships")
    listed: Any = fields(relationships.get("lists"), "/data/relationships/lists").get("data")
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    ids = [str(fields(row, f"{_LISTS}/{index}").get("id")) for index, row in enumerate(rows)]
    for index, list_id in enumerate(ids):
        if list_id not in account.lists:
            raise invalid(f"List not found with id {list_id}.", f"{_LISTS}/{index}/id")
    return tuple(ids)
