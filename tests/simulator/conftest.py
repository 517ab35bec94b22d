"""How these tests talk to the simulator: requests as dictionaries, by path."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from safeklaviyo.testing import Answer, KlaviyoSimulator
from support import openapi

HEADERS = {"authorization": "Klaviyo-API-Key pk_test", "revision": "2026-10-15", "content-type": "application/json"}


@dataclass
class Asker:
    """Asks one simulator."""

    simulator: KlaviyoSimulator
    checks: bool = True

    def __call__(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        given = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.simulator.handle(method, path, given, body)
        asked = self.simulator.journal[-1].endpoint
        # Every answer to every test is held against Klaviyo's own description.
        if self.checks and asked in openapi.operations() and self.simulator.readings.external_ids_shown == "text":
            openapi.check(asked, answer, sparse="fields[" in path)
        return answer

    def json(self, method: str, path: str, document: Any = None, **headers: str) -> Any:
        return json.loads(self(method, path, document, **headers).body)

    def create(self, **attributes: Any) -> Answer:
        return self("POST", "/api/profiles", {"data": {"type": "profile", "attributes": attributes}})

    def created(self, **attributes: Any) -> str:
        answer = self.create(**attributes)
        assert answer.status == 201
        return json.loads(answer.body)["data"]["id"]

    def patch(self, profile_id: str, meta: Any = None, **attributes: Any) -> Answer:
        data = {"type": "profile", "id": profile_id, "attributes": attributes}
        return self("PATCH", f"/api/profiles/{profile_id}", {"data": data if meta is None else {**data, "meta": meta}})

    def load(self, profile_id: str | None = None, meta: Any = None, **attributes: Any) -> Answer:
        """Create or update."""
        data = {"type": "profile", "id": profile_id, "attributes": attributes}
        return self("POST", "/api/profile-import", {"data": data if meta is None else {**data, "meta": meta}})

    def event(self, name: str = "Ordered", *, profile_id: str | None = None, meta: Any = None, **who: Any) -> Answer:
        fields = {key: who.pop(key) for key in ("unique_id", "time", "value") if key in who}
        profile = {"type": "profile", "id": profile_id, "attributes": who}
        return self.raw_event(name, profile if meta is None else {**profile, "meta": meta}, **fields)

    def raw_event(
        self, name: Any, profile: Any, properties: Any = None, *, revision: str = "2026-10-15", **fields: Any
    ) -> Answer:
        metric = {"data": {"type": "metric", "attributes": {"name": name}}}
        attributes = {"properties": properties or {}, "metric": metric, "profile": {"data": profile}, **fields}
        return self("POST", "/api/events", {"data": {"type": "event", "attributes": attributes}}, revision=revision)

    def merge(self, source: str, destination: str) -> Answer:
        profiles = {"data": [{"type": "profile", "id": source}]}
        data = {"type": "profile-merge", "id": destination, "relationships": {"profiles": profiles}}
        return self("POST", "/api/profile-merge", {"data": data})

    def delete(self, profile_id: str | None = None, **attributes: Any) -> Answer:
        profile = {"type": "profile", "id": profile_id, "attributes": attributes}
        data = {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": profile}}}
        return self("POST", "/api/data-privacy-deletion-jobs", {"data": data})

    def subscribe(self, *rows: Any, list_id: str | None = None, **attributes: Any) -> Answer:
        """Subscribe people, each given by `person`."""
        return self._consent_job("profile-subscription-bulk-create-job", rows, list_id, attributes)

    def unsubscribe(self, *rows: Any, list_id: str | None = None) -> Answer:
        """Unsubscribe people, each given by `person`."""
        return self._consent_job("profile-subscription-bulk-delete-job", rows, list_id, {})

    def suppress(self, *emails: Any, lifts: bool = False, list_id: str | None = None) -> Answer:
        """Suppress addresses, or end that."""
        kind = f"profile-suppression-bulk-{'delete' if lifts else 'create'}-job"
        rows = [{"type": "profile", "attributes": {"email": email}} for email in emails]
        return self._consent_job(kind, rows, list_id, {})

    def person(self, *channels: str, profile_id: str | None = None, status: str = "SUBSCRIBED", **who: Any) -> Any:
        """Return one row of a job.

        Args:
            channels: Such as ``email.marketing``.
        """
        at = who.pop("consented_at", None)
        asked: dict[str, Any] = {}
        for channel in channels:
            name, _, kind = channel.partition(".")
            asked.setdefault(name, {})[kind] = {"consent": status} | ({} if at is None else {"consented_at": at})
        row = {"type": "profile", "attributes": {**who, "subscriptions": asked}}
        return row if profile_id is None else {**row, "id": profile_id}

    def _consent_job(self, kind: str, rows: Any, list_id: str | None, attributes: Any) -> Answer:
        profiles = {"profiles": {"data": list(rows)}} if rows else {}
        data: dict[str, Any] = {"type": kind, "attributes": {**attributes, **profiles}}
        if list_id is not None:
            data["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
        return self("POST", f"/api/{kind}s", {"data": data})

    def subscriptions(self, profile_id: str) -> Any:
        """Return what a profile shows of its consent."""
        one = self.json("GET", f"/api/profiles/{profile_id}?additional-fields[profile]=subscriptions")
        return one["data"]["attributes"]["subscriptions"]

    def search(self, filter_text: str | None = None, **query: str) -> Any:
        given = query if filter_text is None else {"filter": filter_text, **query}
        return self.json("GET", f"/api/profiles?{urlencode(given)}")

    def found(self, filter_text: str | None = None, **query: str) -> list[str]:
        return [row["id"] for row in self.search(filter_text, **query)["data"]]


@pytest.fixture
def simulator() -> KlaviyoSimulator:
    """A pretend Klaviyo without profiles."""
    return KlaviyoSimulator()


@pytest.fixture
def ask(simulator: KlaviyoSimulator) -> Asker:
    """Asks that simulator."""
    return Asker(simulator)


@pytest.fixture
def asking() -> type[Asker]:
    """For simulators of a test's own."""
    return Asker
