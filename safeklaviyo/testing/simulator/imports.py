"""A job that imports profiles, as Klaviyo does it later (Klaviyo's *Bulk Import Profiles* reference).

Decided here: each row is written as by Create or Update Profile, in order, so that rows about one profile add up; null
clears nothing; a row that leads to two profiles fails by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.records import JSON, Record
from safeklaviyo.testing.simulator.refusals import Refusal

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person


@dataclass(frozen=True, slots=True, repr=False)
class Import(Record):
    """An accepted import.

    Attributes:
        rows: What each row says, and the row as it was sent.
        at: Where in the body the rows are.
    """

    job_id: str
    rows: tuple[tuple[Person, JSON], ...]
    at: str

    def apply(self, account: Account) -> None:
        """Do it."""
        now = account.clock.now()
        job = replace(account.jobs[self.job_id], started_at=now, completed_at=now)
        # A dictionary, for the order of the rows, with each profile once: rows about one profile add up.
        ids: dict[str, None] = {}
        errors: list[JSON] = []
        for index, (person, row) in enumerate(self.rows):
            try:
                profile, _ = matching.create_or_update(account, person)
            except Refusal as refusal:
                errors.append(_error(job.id, index, refusal, row, self.at))
                continue
            ids[profile.id] = None
            for list_id in job.list_ids:
                account.join(list_id, profile.id)
        account.jobs[job.id] = replace(
            job, completed=len(self.rows) - len(errors), errors=tuple(errors), profile_ids=tuple(ids)
        )


def _error(job_id: str, index: int, refusal: Refusal, row: JSON, at: str) -> JSON:
    code, title, detail = refusal.words()
    pointer = f"{at}/{index}{refusal.source.get('pointer', '').removeprefix('/data').rstrip('/')}"
    attributes = {
        "code": code,
        "title": title,
        "detail": detail,
        "source": {"pointer": pointer},
        "original_payload": row.get("attributes"),
    }
    return {"type": "import-error", "id": f"{job_id}:{index}", "attributes": attributes}
