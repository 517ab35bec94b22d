"""Ask a test account what Klaviyo has not confirmed, delete what was made, and write the answers for the simulator.

    KLAVIYO_API_KEY=pk_... python probe_account.py AbC123 readings.json

AbC123 is the six-character public key of the account that you mean. The key has to be that account's, or nothing is
sent. Use an account for tests: profiles and events are made in it. All profiles are deleted at the end, also after
Ctrl-C. It takes some minutes, because Klaviyo applies events later. Without arguments a pretend Klaviyo is asked.

The file is for the simulator: KlaviyoSimulator(readings=Readings(**json.loads(text))).
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx

JSON = dict[str, Any]
HOST = "https://a.klaviyo.com"
WAIT = 30.0
TRIES = 20


class Account:
    """Sends raw requests, because the questions are about Klaviyo itself, and remembers the profiles that it made."""

    def __init__(self, http: httpx.Client, pause: Callable[[float], object]) -> None:
        self.http = http
        self.pause = pause
        self.run = secrets.token_hex(4)
        self.made: set[str] = set()
        self.used: list[tuple[str, str]] = []
        self.asked = 0

    def send(self, method: str, path: str, body: JSON | None = None) -> tuple[int, JSON]:
        answer = self.http.request(method, f"/api/{path}", json=body)
        for attempt in range(6):
            if answer.status_code not in {429, 503}:
                break
            self.pause(min(60.0, 2.0**attempt))
            answer = self.http.request(method, f"/api/{path}", json=body)
        try:
            document: JSON = answer.json() if answer.content else {}
        except ValueError:
            document = {}
        for row in rows(document):
            if row.get("type") == "profile" and method in {"POST", "PATCH"}:
                self.made.add(row["id"])
        return answer.status_code, document

    def email(self) -> str:
        self.asked += 1
        self.used.append(("email", f"probe-{self.run}-{self.asked}@klaviyo-probe.dev"))
        return self.used[-1][1]

    def key(self) -> str:
        self.asked += 1
        self.used.append(("external_id", f"probe-{self.run}-{self.asked}"))
        return self.used[-1][1]

    def create(self, **who: str) -> tuple[int, JSON]:
        return self.send("POST", "profiles", profile(who))

    def upsert(self, profile_id: str | None = None, **who: str) -> tuple[int, JSON]:
        return self.send("POST", "profile-import", profile(who, profile_id))

    def event(self, **who: str) -> None:
        attributes = {
            "properties": {},
            "unique_id": secrets.token_hex(8),
            "metric": {"data": {"type": "metric", "attributes": {"name": "safeklaviyo probe"}}},
            "profile": profile(who),
        }
        self.send("POST", "events", {"data": {"type": "event", "attributes": attributes}})

    def find(self, **who: str) -> list[JSON]:
        ((kind, value),) = who.items()
        found = rows(self.send("GET", f'profiles?filter=equals({kind},"{value}")')[1])
        self.made |= {row["id"] for row in found}
        return found

    def get(self, profile_id: str) -> JSON | None:
        status, document = self.send("GET", f"profiles/{profile_id}")
        # A merged profile's id may lead to another one.
        return document["data"]["attributes"] if status == 200 and document["data"]["id"] == profile_id else None

    def until(self, is_so: Callable[[], object]) -> bool:
        """Wait until Klaviyo has applied what it accepted."""
        for _ in range(TRIES):
            if is_so():
                return True
            self.pause(WAIT)
        return False

    def applied(self) -> None:
        """Wait until an event of a new address, sent after all others, has made its profile."""
        email = self.email()
        self.event(email=email)
        if not self.until(lambda: self.find(email=email)):
            raise RuntimeError("Klaviyo has not applied an event in ten minutes; try again later")

    def delete(self) -> int:
        """Delete all profiles that were made, and return how many are still there."""
        # An event makes a profile later, of which no answer has told.
        for kind, value in self.used:
            self.find(**{kind: value})
        for profile_id in sorted(self.made):
            attributes = {"profile": {"data": {"type": "profile", "id": profile_id}}}
            self.send("POST", "data-privacy-deletion-jobs", {
                "data": {"type": "data-privacy-deletion-job", "attributes": attributes}
            })  # fmt: skip
        self.until(lambda: not any(map(self.get, self.made)))
        return sum(self.get(each) is not None for each in self.made)


def profile(who: dict[str, str], profile_id: str | None = None) -> JSON:
    named = {} if profile_id is None else {"id": profile_id}
    return {"data": {"type": "profile", **named, "attributes": who}}


def rows(document: JSON) -> list[JSON]:
    data = document.get("data")
    return data if isinstance(data, list) else [data] if data else []  # pyright: ignore[reportUnknownVariableType]


def made(answer: tuple[int, JSON]) -> str:
    status, document = answer
    if status not in {200, 201}:
        raise RuntimeError(f"Klaviyo refused a profile of this program's with {status}")
    return str(document["data"]["id"])


# The questions. Each returns Klaviyo's answer, in the words of the simulator's Readings.


def email_case(account: Account) -> Literal["lowered", "kept", "distinct"]:
    email = account.email()
    shown = account.get(made(account.create(email=email.title())))
    if shown is not None and shown["email"] == email:
        return "lowered"
    return "kept" if account.create(email=email)[0] == 409 else "distinct"


def external_id_unique_on_create(account: Account) -> bool | Literal["dropped"]:
    key = account.key()
    account.create(external_id=key, email=account.email())
    status, document = account.create(external_id=key, email=account.email())
    if status == 409:
        return True
    return False if document["data"]["attributes"]["external_id"] == key else "dropped"


def external_ids_cut_at(account: Account) -> int | None:
    key = account.key().ljust(100, "x")
    shown = account.get(made(account.create(external_id=key, email=account.email())))
    kept = len(str((shown or {}).get("external_id") or ""))
    return None if kept == len(key) else kept


def import_conflict(account: Account) -> Literal[404, 409]:
    one, email = made(account.create(email=account.email())), account.email()
    account.create(email=email)
    return 404 if account.upsert(one, email=email)[0] == 404 else 409


def event_replaces_email(account: Account) -> bool:
    key, new = account.key(), account.email()
    one = made(account.create(external_id=key, email=account.email()))
    account.event(external_id=key, email=new)
    account.applied()
    return (account.get(one) or {}).get("email") == new


def event_conflict(account: Account) -> Literal["merge_alone", "merge", "keep"]:
    """Whether an event with the id of one profile and the email of another one merges them."""
    key, email = account.key(), account.email()
    alone = made(account.create(external_id=key)), made(account.create(email=email))
    other, taken = account.key(), account.email()
    owned = (
        made(account.create(external_id=other, email=account.email())),
        made(account.create(external_id=account.key(), email=taken)),
    )
    account.event(external_id=key, email=email)
    account.event(external_id=other, email=taken)
    account.applied()
    if not all(map(account.get, owned)):
        return "merge"
    return "keep" if all(map(account.get, alone)) else "merge_alone"


def event_email_first(account: Account) -> bool:
    """Whether an event with the id of one profile and the email of another one goes to the email's."""
    key, email = account.key(), account.email()
    by_id = made(account.create(external_id=key, email=account.email()))
    by_email = made(account.create(external_id=account.key(), email=email))
    account.event(external_id=key, email=email)
    account.applied()
    dates = [(account.get(each) or {}).get("last_event_date") for each in (by_id, by_email)]
    return dates[0] is None and dates[1] is not None


def merged_id(account: Account) -> Literal["missing", "alias"]:
    source, into = made(account.create(email=account.email())), made(account.create(email=account.email()))
    profiles = {"profiles": {"data": [{"type": "profile", "id": source}]}}
    account.send("POST", "profile-merge", {"data": {"type": "profile-merge", "id": into, "relationships": profiles}})

    def is_merged() -> bool:
        status, document = account.send("GET", f"profiles/{source}")
        return status == 404 or document["data"]["id"] == into

    account.until(is_merged)
    return "missing" if account.send("GET", f"profiles/{source}")[0] == 404 else "alias"


def withdrawal_creates(account: Account) -> bool:
    email = account.email()
    consent = {"email": email, "subscriptions": {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}}
    attributes = {"profiles": {"data": [{"type": "profile", "attributes": consent}]}}
    account.send("POST", "profile-subscription-bulk-delete-jobs", {
        "data": {"type": "profile-subscription-bulk-delete-job", "attributes": attributes}
    })  # fmt: skip
    account.applied()
    return bool(account.find(email=email))


QUESTIONS: tuple[Callable[[Account], Any], ...] = (
    email_case, external_id_unique_on_create, external_ids_cut_at, import_conflict, event_replaces_email,
    event_conflict, event_email_first, merged_id, withdrawal_creates,
)  # fmt: skip


def probe(account: Account) -> JSON:
    """Ask all questions. One that cannot be answered is left out, and said."""
    answers: JSON = {}
    for question in QUESTIONS:
        try:
            answers[question.__name__] = question(account)
        except (KeyError, RuntimeError, httpx.HTTPError) as error:
            print(f"{question.__name__}: no answer ({type(error).__name__})")
        else:
            print(f"{question.__name__}: {answers[question.__name__]}")
    return answers


@contextmanager
def opened(name: str | None) -> Generator[tuple[httpx.Client, Callable[[float], object]]]:
    """Open the account that the user names, or a pretend one."""
    if name is None:
        from safeklaviyo.testing import KlaviyoSimulator  # noqa: PLC0415 - of use without an account alone

        simulator = KlaviyoSimulator(queue_lag=60.0)
        headers = {"Authorization": "Klaviyo-API-Key pk_simulator", "revision": "2026-10-15"}
        with httpx.Client(base_url=HOST, headers=headers, transport=simulator.transport) as http:
            yield http, simulator.advance
        return
    headers = {"Authorization": f"Klaviyo-API-Key {os.environ['KLAVIYO_API_KEY']}", "revision": "2026-10-15"}
    with httpx.Client(base_url=HOST, headers=headers, timeout=30.0) as http:
        # The wrong account would get test profiles among its customers.
        if [row["id"] for row in rows(http.get("/api/accounts").json())] != [name]:
            sys.exit("the key is not that account's; nothing was sent")
        yield http, time.sleep


def main(name: str | None = None, path: str | None = None) -> None:
    with opened(name) as (http, pause):
        account = Account(http, pause)
        try:
            answers = probe(account)
        finally:
            left = account.delete()
    if path is not None:
        Path(path).write_text(json.dumps(answers, indent=2) + "\n")
    rest = "nothing is left in the account" if not left else f"{left} profiles are left: {sorted(account.made)}"
    print(f"asked {len(QUESTIONS)} questions, answered {len(answers)}; {rest}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
