"""What the tests of operations share: people, edits by hand, what was asked, and things that come between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safeklaviyo import ProfileNotVisibleError, StoreUnavailableError
from safeklaviyo.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo import Binding, Klaviyo, Recovery
    from safeklaviyo.identity import Identifier
    from safeklaviyo.testing import Answer, Asked, Entry, KlaviyoSimulator

ACCOUNT = "SiMuLa"
ANN = {"external_id": "ann-1", "email": "ann@shop.test"}
BOB = {"external_id": "bob-2", "email": "bob@shop.test"}
NEW = "ann@new.test"
PHONE = "+12345678901"
WRITES = {"create_profile", "update_profile", "create_or_update_profile", "merge_profiles", "create_event", "track",
          "identify", "update_person"}  # fmt: skip

_HEADERS = {
    "authorization": "Klaviyo-API-Key pk_by_hand",
    "revision": "2026-10-15",
    "content-type": "application/json",
    "user-agent": "by hand",
}


def by_hand(simulator: KlaviyoSimulator, method: str, path: str, data: Any = None) -> Answer:
    """Ask the simulator as somebody else would who has a key."""
    body = b"" if data is None else json.dumps({"data": data}).encode()
    return simulator.handle(method, path, _HEADERS, body)


def edit(simulator: KlaviyoSimulator, profile_id: str, **attributes: Any) -> None:
    """Change a profile by hand."""
    data = {"type": "profile", "id": profile_id, "attributes": attributes}
    assert 200 == by_hand(simulator, "PATCH", f"/api/profiles/{profile_id}", data).status


def delete(simulator: KlaviyoSimulator, profile_id: str) -> None:
    """Delete a profile by hand, at once."""
    profile = {"data": {"type": "profile", "id": profile_id, "attributes": {}}}
    data = {"type": "data-privacy-deletion-job", "attributes": {"profile": profile}}
    assert 202 == by_hand(simulator, "POST", "/api/data-privacy-deletion-jobs", data).status
    simulator.drain()


def merge(simulator: KlaviyoSimulator, source: str, destination: str) -> None:
    """Merge two profiles by hand, at once."""
    sources = {"profiles": {"data": [{"type": "profile", "id": source}]}}
    data = {"type": "profile-merge", "id": destination, "relationships": sources}
    assert 202 == by_hand(simulator, "POST", "/api/profile-merge", data).status
    simulator.drain()


def browse(simulator: KlaviyoSimulator, **who: Any) -> None:
    """Send an event as a browser or another backend would."""
    attributes = {
        "properties": {},
        "metric": {"data": {"type": "metric", "attributes": {"name": "Viewed Product"}}},
        "profile": {"data": {"type": "profile", "attributes": who}},
    }
    assert 202 == by_hand(simulator, "POST", "/api/events", {"type": "event", "attributes": attributes}).status


def ours(simulator: KlaviyoSimulator) -> list[Entry]:
    """Return what the library has asked, in order."""
    return [entry for entry in simulator.journal if entry.headers.get("user-agent") != "by hand"]


def asked(simulator: KlaviyoSimulator) -> list[str]:
    """Return which endpoints the library has asked, in order."""
    return [entry.endpoint for entry in ours(simulator)]


def writes(simulator: KlaviyoSimulator) -> list[Entry]:
    """Return the writes among what the library has asked."""
    return [entry for entry in ours(simulator) if entry.endpoint in WRITES]


def person_in(entry: Entry) -> dict[str, Any]:
    """Return the profile that a write of the current dialect names: its id and its attributes in one dictionary."""
    data = entry.body["data"]
    if data["type"] == "event":
        data = data["attributes"]["profile"]["data"]
    return {"id": data.get("id"), **data["attributes"]}


def pairs(simulator: KlaviyoSimulator) -> set[tuple[str | None, str | None]]:
    """Return the external id and the email of each profile."""
    return {(profile.external_id, profile.email) for profile in simulator.profiles}


def rejected(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Return the error that a call raises."""
    from safeklaviyo import SafeKlaviyoError

    try:
        result = call(*args, **named)
    except SafeKlaviyoError as error:
        return error
    raise AssertionError(f"no error, but {result!r}")


def persist(simulator: KlaviyoSimulator, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call again, as each error advises, as long as Klaviyo does not show a profile, and return the call's result."""
    for _ in range(4):
        try:
            return call(*args, **named)
        except ProfileNotVisibleError as error:
            doubt = error
        assert doubt.may_retry
        simulator.advance(doubt.retry_after or 1.0)
    raise AssertionError("the profile never counts as gone")


def recovered(simulator: KlaviyoSimulator, k: Klaviyo) -> list[Recovery]:
    """Recover until nothing is postponed, and return what became of each intent in the end."""
    for _ in range(4):
        recoveries = k.recover()
        if all(each.status != "postponed" for each in recoveries):
            return recoveries
        expire(simulator)
    raise AssertionError("something is postponed for ever")


def patiently(simulator: KlaviyoSimulator, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call again, as each error advises, until a missing profile counts as gone, and return the call's result."""
    for turn in range(4):
        try:
            result = call(*args, **named)
        except ProfileNotVisibleError as error:
            doubt = error
        else:
            assert turn, "a single 404 was believed"
            return result
        assert ("not_applied", True) == (doubt.outcome, doubt.may_retry)
        simulator.advance(doubt.retry_after or 1.0)
    raise AssertionError("the profile never counts as gone")


def rejected_for_good(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Return the error that a call raises, unless it says that a profile cannot be seen now: that one is raised."""
    error = rejected(call, *args, **named)
    if isinstance(error, ProfileNotVisibleError):
        raise error
    return error


def codes(result: Any) -> list[str]:
    """Return the codes of a result's warnings."""
    return [notice.code for notice in result.warnings]


def meanwhile(simulator: KlaviyoSimulator, where: str, act: Callable[[], object], *, turn: int = 1) -> None:
    """Let something happen right before one request to an endpoint is done: the next one, or a later one in turn."""
    met: list[Asked] = []

    def match(request: Asked) -> bool:
        if request.headers.get("user-agent") != "by hand":
            met.append(request)
            if len(met) == turn:
                act()
        return False

    simulator.fail_next(where, match=match)


def expire(simulator: KlaviyoSimulator) -> None:
    """Let every lease expire."""
    simulator.advance(3600)


class Troubled(MemoryStore):
    """An identity map that fails, or between whose steps something happens.

    Attributes:
        failing: The names of the operations that fail now.
        before: What happens right before an operation, once, by the operation's name.
    """

    def __init__(self, simulator: KlaviyoSimulator) -> None:
        super().__init__(clock=simulator.now)
        self.failing: set[str] = set()
        self.before: dict[str, Callable[[], object]] = {}

    def find(self, account, identifiers):
        self._trouble("find")
        return super().find(account, identifiers)

    def acquire(self, account, identifiers, *, intent, ttl):
        self._trouble("acquire")
        return super().acquire(account, identifiers, intent=intent, ttl=ttl)

    def renew(self, account, token, *, ttl, intent=None):
        self._trouble("renew")
        return super().renew(account, token, ttl=ttl, intent=intent)

    def release(self, account, token):
        self._trouble("release")
        return super().release(account, token)

    def bind(self, account, change):
        self._trouble("bind")
        return super().bind(account, change)

    def remember(self, account, name, value, *, token=None, new=False):
        self._trouble("remember")
        return super().remember(account, name, value, token=token, new=new)

    def remove(self, account, identifier, *, token=None):
        self._trouble("remove")
        return super().remove(account, identifier, token=token)

    def _trouble(self, name: str) -> None:
        act = self.before.pop(name, None)
        if act is not None:
            act()
        if name in self.failing:
            raise StoreUnavailableError("the identity map is down")


def leases(store: MemoryStore) -> int:
    """Count the leases that have not been released, by letting them expire in a copy."""
    account = store._accounts.get(ACCOUNT)
    return 0 if account is None else len(account.leases)


def hold(store: MemoryStore, *identifiers: Identifier, intent: str = "{}", ttl: float = 5.0) -> int:
    """Take a lease as somebody else would, and return its token."""
    lease = store.acquire(ACCOUNT, frozenset(identifiers), intent=intent, ttl=ttl)
    assert lease is not None
    return lease.token


def journal_of(store: MemoryStore) -> list[tuple[str, str | None, str | None]]:
    """Return the changes that the map has written down."""
    return [(row.entry.verb, row.entry.old, row.entry.new) for row in store.journal(ACCOUNT, since=0)]


def bound(client: Any, **who: Any) -> Binding:
    """Return the binding of somebody who has one."""
    binding = client.bindings.get(**who)
    assert binding is not None
    return binding


def client_errors(k: Any, simulator: KlaviyoSimulator) -> list[Any]:
    """Bring about an error of each kind that has to do with two owners, and return them."""
    k.identify(**ANN)
    simulator.add_profile(external_id="eve-3", email=NEW)
    errors = [
        rejected(k.change_email, NEW, external_id="ann-1"),
        rejected(k.identify, external_id="eve-4", email=NEW),
        rejected(k.identify, external_id="ann-1", email=NEW),
    ]
    simulator.fail_next("create_profile", status=409, times=9)
    return [*errors, rejected(k.identify, external_id="eve-5", email="eve@shop.test")]


class Killed(Exception):  # noqa: N818 - it is what happens to a process, not an error of the library's
    """A process dies, and so its shell gives nothing back."""

    is_death = True


def kill(
    simulator: KlaviyoSimulator, store: Troubled, where: str, call: Callable[..., Any], *args: Any, **named: Any
) -> None:
    """Let a call's process die before one of its steps: ``"bind"``, or an endpoint, whose turn may follow a colon."""

    def die() -> None:
        raise Killed

    endpoint, _, turn = where.partition(":")
    if where == "bind":
        store.before["bind"] = die
    else:
        meanwhile(simulator, endpoint, die, turn=int(turn or 1))
    try:
        call(*args, **named)
    except Killed:
        return
    raise AssertionError("nobody was killed")
