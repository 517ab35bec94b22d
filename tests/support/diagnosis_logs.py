"""Logs of a shop's calls with one planted fault, made by playing a day against the simulator.

What happens is the simulator's: a planted log has the answers of a Klaviyo in which the fault really took place. A log
without a fault is the same shop's, where every call names its customer by what Klaviyo knows.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

from safeklaviyo.audit._diagnosis.logs import read
from safeklaviyo.testing import KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["BASE", "FAULTS", "JSON", "PAUSE", "START", "Planted", "Shop", "entry", "log", "ordinary", "read"]

JSON = dict[str, Any]
BASE = "https://a.klaviyo.com"
KEY = "pk_0123456789abcdef"
START = 1_760_000_000.0
PAUSE = 700.0
"""Seconds between two calls about one customer that must not race or overtake each other."""
PHONE = "+4917012345"


@dataclass
class Planted:
    """A log, and what is wrong in it.

    Attributes:
        kind: The name of the fault; empty for none.
        cause: The index of the call after which a customer has two profiles.
        calls: The calls that have to be named together with it.
        certain: The log alone shows it.
        duplicates: The ids of the two profiles, in the end.
    """

    kind: str
    entries: list[JSON]
    cause: int | None = None
    calls: tuple[int, ...] = ()
    certain: bool = False
    duplicates: tuple[str, ...] = ()

    @property
    def har(self) -> JSON:
        """The log as HAR 1.2."""
        return {"log": {"version": "1.2", "creator": {"name": "shop", "version": "1"}, "entries": self.entries}}


@dataclass
class Shop:
    """A shop whose calls are logged, and a Klaviyo that answers them."""

    random: Random
    klaviyo: KlaviyoSimulator = field(default_factory=lambda: KlaviyoSimulator(start=START))
    entries: list[JSON] = field(default_factory=list)
    signs: JSON = field(default_factory=dict)
    holds: bool = False
    patient: bool = False
    """Ordinary customers change their address only when Klaviyo has surely done all that went before."""
    numbers: int = 0

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.klaviyo.advance(seconds)

    def call(self, method: str, path: str, body: JSON | None = None, *, public: bool = False) -> int:
        """Make a call, and return its index in the log."""
        sent = json.dumps(body).encode() if body is not None else b""
        headers = {"authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"}
        at = self.klaviyo.now()
        if public:
            status, answered = self._browser(path, body or {})
        else:
            answer = self.klaviyo.handle(method, path, {**headers, "content-type": "application/json"}, sent)
            status, answered = answer.status, answer.body
        if not self.holds:
            self.klaviyo.drain()
        sent_headers, signs = ({}, {}) if public else (headers, self.signs)
        made = entry(at, method, path, body, (status, answered), headers=sent_headers, signs=signs)
        self.entries.append(made)
        self.wait(self.random.uniform(3, 20))
        return len(self.entries) - 1

    def _browser(self, path: str, body: JSON) -> tuple[int, bytes]:
        """Answer as Klaviyo does to a browser: an event is an event, by the address that the browser knows."""
        assert path.startswith("/client/events")
        headers = {"authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"}
        self.klaviyo.handle("POST", "/api/events", headers, json.dumps(body).encode())
        return 202, b""

    def id_of(self, index: int) -> str:
        """Return the profile's id in an answer."""
        shown: str = json.loads(self.entries[index]["response"]["content"]["text"])["data"]["id"]
        return shown

    @contextmanager
    def late(self) -> Iterator[None]:
        """Let Klaviyo apply nothing until the end."""
        self.holds = True
        yield
        self.holds = False
        self.klaviyo.drain()

    def customer(self) -> tuple[str, str]:
        """Return the id and the address of a new customer."""
        self.numbers += 1
        number = self.random.randrange(10**3, 10**4) * 10**5 + self.numbers
        return str(number), f"customer{number}@shop.test"

    # The calls of a shop.

    def identify(self, **who: Any) -> int:
        """Create or update a profile."""
        return self.call("POST", "/api/profile-import", {"data": {"type": "profile", "attributes": who}})

    def create(self, **who: Any) -> int:
        """Create a profile."""
        return self.call("POST", "/api/profiles", {"data": {"type": "profile", "attributes": who}})

    def update(self, profile_id: str, **who: Any) -> int:
        """Update a profile."""
        data = {"type": "profile", "id": profile_id, "attributes": who}
        return self.call("PATCH", f"/api/profiles/{profile_id}", {"data": data})

    def search(self, email: str) -> int:
        """Look for an address."""
        return self.call("GET", f'/api/profiles?filter=equals(email,"{email}")')

    def track(self, *, happened: float | None = None, **who: Any) -> int:
        """Send an event."""
        return self.call("POST", "/api/events", self.event(happened=happened, **who))

    def browse(self, **who: Any) -> int:
        """Let a browser send an event."""
        return self.call("POST", "/client/events?company_id=SiMuLa", self.event(**who), public=True)

    def subscribe(self, list_id: str, **who: Any) -> int:
        """Subscribe an address to a list."""
        given = {**who, "subscriptions": {"email": {"marketing": {"consent": "SUBSCRIBED"}}}}
        return self._job("profile-subscription-bulk-create-job", given, list_id)

    def unsubscribe(self, **who: Any) -> int:
        """Unsubscribe an address."""
        given = {**who, "subscriptions": {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}}
        return self._job("profile-subscription-bulk-delete-job", given, None)

    def merge(self, source: str, into: str) -> int:
        """Merge two profiles."""
        sources = {"profiles": {"data": [{"type": "profile", "id": source}]}}
        return self.call(
            "POST", "/api/profile-merge", {"data": {"type": "profile-merge", "id": into, "relationships": sources}}
        )

    def _job(self, kind: str, who: JSON, list_id: str | None) -> int:
        data: JSON = {"type": kind, "attributes": {"profiles": {"data": [{"type": "profile", "attributes": who}]}}}
        if list_id is not None:
            data["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
        return self.call("POST", f"/api/{kind}s", {"data": data})

    def event(self, *, happened: float | None = None, **who: Any) -> JSON:
        """Return an event's body."""
        at = self.klaviyo.now() if happened is None else happened
        attributes: JSON = {
            "properties": {},
            "time": datetime.fromtimestamp(at, UTC).isoformat(),
            "unique_id": f"e{len(self.entries)}",
            "metric": {"data": {"type": "metric", "attributes": {"name": "Viewed Product"}}},
            "profile": {"data": {"type": "profile", "attributes": who}},
        }
        return {"data": {"type": "event", "attributes": attributes}}


def entry(
    at: float,
    method: str,
    path: str,
    body: JSON | None,
    answer: tuple[int, bytes],
    *,
    headers: JSON | None = None,
    signs: JSON | None = None,
) -> JSON:
    """Return an entry of a HAR."""
    posted = {} if body is None else {"postData": {"mimeType": "application/json", "text": json.dumps(body)}}
    return {
        "startedDateTime": datetime.fromtimestamp(at, UTC).isoformat(),
        "time": 120,
        "request": {
            "method": method,
            "url": f"{BASE}{path}",
            "headers": _pairs(headers or {}),
            **posted,
        },
        "response": {
            "status": answer[0],
            "headers": _pairs(signs or {}),
            "content": {"mimeType": "", "text": answer[1].decode()},
        },
    }


def _pairs(headers: JSON) -> list[JSON]:
    return [{"name": name, "value": value} for name, value in headers.items()]


def ordinary(shop: Shop, calls: int) -> Iterator[None]:
    """Make the calls of a customer who is named rightly, one after the other."""
    key, email = shop.customer()
    random = shop.random
    if random.random() < 0.3:
        shop.track(email=email)  # a guest at first
        yield
        shop.wait(PAUSE)
    profile = shop.id_of(shop.identify(external_id=key, email=email))
    list_id = shop.klaviyo.lists[0].id
    for _ in range(calls):
        yield
        what = random.randrange(6)
        if what == 0:
            if shop.patient:
                shop.wait(PAUSE)
            _, email = shop.customer()
            shop.update(profile, email=email)
        elif what == 1:
            shop.subscribe(list_id, email=email)
        elif what == 2:
            shop.search(email)
        elif what == 3:
            shop.identify(external_id=key, email=email, first_name="Ada")
        else:
            shop.track(external_id=key, email=email)


def log(seed: int, kind: str = "", *, customers: int = 4, calls: int = 6) -> Planted:
    """Return a log with one planted fault, between the calls of other customers."""
    random = Random(seed)
    # Half of the logs say whose account it is.
    shop = Shop(random, signs=random.choice(({}, {"cid": "SiMuLa"})))
    # A fault that no answer shows can be told from what might happen to others only where that cannot happen. In the
    # other logs of this kind somebody has looked at the second profile.
    shop.patient = bool(kind) and random.random() < 0.5
    shop.klaviyo.add_list("News")
    planted = Planted(kind, shop.entries)
    players = [ordinary(shop, calls) for _ in range(customers)]
    faults = FAULTS[kind](shop, planted) if kind else iter(())
    # The planted customer's calls come anywhere between those of the others.
    everyone: list[Iterator[None]] = [*players, faults]
    while everyone:
        player = random.choice(everyone)
        shop.wait(random.uniform(1, PAUSE))
        if next(player, False) is False:
            everyone.remove(player)
    return planted


def _marked(planted: Planted, cause: int, *calls: int, certain: bool) -> None:
    planted.cause, planted.calls, planted.certain = cause, (*calls, cause), certain


def situation_5(shop: Shop, planted: Planted) -> Iterator[None]:
    """The same address with another id, and then the former id."""
    (one, email), (other, _) = shop.customer(), shop.customer()
    first = shop.identify(external_id=one, email=email)
    yield
    second = shop.identify(external_id=other, email=email)
    yield
    _marked(planted, shop.track(external_id=one), first, second, certain=True)
    yield


def situation_6(shop: Shop, planted: Planted) -> Iterator[None]:
    """The id alone, then the email alone, then both."""
    key, email = shop.customer()
    first = shop.track(external_id=key)
    yield
    _marked(planted, shop.track(email=email), first, certain=True)
    yield
    shop.identify(external_id=key, email=email)
    yield


def race(shop: Shop, planted: Planted) -> Iterator[None]:
    """Two calls about a new customer at the same moment."""
    key, email = shop.customer()
    before = {profile.id for profile in shop.klaviyo.profiles}
    first = shop.track(external_id=key, email=email)
    made = [profile for profile in shop.klaviyo.profiles if profile.id not in before]
    live = shop.klaviyo._account.live
    for profile in made:
        live.remove(profile.id)
    second = shop.track(email=email)
    for profile in made:
        live.put(profile)
    _marked(planted, second, first, certain=False)
    yield
    _looked_at(shop, email)


def late_event(shop: Shop, planted: Planted) -> Iterator[None]:
    """An event by email that is applied after a change of address."""
    key, email = shop.customer()
    _, new = shop.customer()
    first = shop.identify(external_id=key, email=email)
    yield
    with shop.late():
        event = shop.track(email=email)
        change = shop.update(shop.id_of(first), email=new)
    _marked(planted, event, first, change, certain=False)
    yield
    shop.track(external_id=key, email=new)
    yield
    _looked_at(shop, email)


def late_pair(shop: Shop, planted: Planted) -> Iterator[None]:
    """An event by id and email that puts the former address back, late."""
    key, email = shop.customer()
    _, new = shop.customer()
    first = shop.identify(external_id=key, email=email)
    yield
    with shop.late():
        event = shop.track(external_id=key, email=email)
        change = shop.update(shop.id_of(first), email=new)
    yield
    _marked(planted, shop.track(email=new), event, change, certain=False)
    yield
    _looked_at(shop, new)


def _moved(shop: Shop) -> tuple[str, str, str, int, int]:
    key, email = shop.customer()
    _, new = shop.customer()
    first = shop.identify(external_id=key, email=email)
    shop.wait(PAUSE)
    return key, email, new, first, shop.update(shop.id_of(first), email=new)


def browser(shop: Shop, planted: Planted) -> Iterator[None]:
    """A browser that still knows the former address."""
    _, email, _, first, change = _moved(shop)
    yield
    _marked(planted, shop.browse(email=email), first, change, certain=True)
    yield


def stale_queue(shop: Shop, planted: Planted) -> Iterator[None]:
    """A queue of the shop's that still has the former address."""
    happened = shop.klaviyo.now()
    _, email, _, first, change = _moved(shop)
    yield
    _marked(planted, shop.track(email=email, happened=happened), first, change, certain=True)
    yield


def old_address(shop: Shop, planted: Planted) -> Iterator[None]:
    """A call with a former address."""
    _, email, _, first, change = _moved(shop)
    yield
    _marked(planted, shop.identify(email=email, first_name="Ada"), first, change, certain=True)
    yield


def put_back(shop: Shop, planted: Planted) -> Iterator[None]:
    """A call with the id and a former address."""
    key, email, new, _, change = _moved(shop)
    yield
    back = shop.identify(external_id=key, email=email)
    yield
    _marked(planted, shop.identify(email=new), change, back, certain=True)
    yield


def shared_phone(shop: Shop, planted: Planted) -> Iterator[None]:
    """Another customer's call with the same phone number."""
    (one, email), (_, other) = shop.customer(), shop.customer()
    phone = f"{PHONE}{shop.random.randrange(100, 1000)}"
    first = shop.identify(external_id=one, email=email, phone_number=phone)
    yield
    taken = shop.identify(email=other, phone_number=phone)
    yield
    _marked(planted, shop.identify(email=email), first, taken, certain=True)
    yield


def merged_address(shop: Shop, planted: Planted) -> Iterator[None]:
    """The address of a profile that was merged away."""
    (key, email), (_, old) = shop.customer(), shop.customer()
    into = shop.identify(external_id=key, email=email)
    yield
    source = shop.identify(email=old)
    yield
    merge = shop.merge(shop.id_of(source), shop.id_of(into))
    yield
    _marked(planted, shop.identify(email=old), source, merge, certain=True)
    yield


def number(shop: Shop, planted: Planted) -> Iterator[None]:
    """An id that an export has made a number with a decimal point."""
    key, email = shop.customer()
    first = shop.identify(external_id=key, email=email)
    yield
    _marked(planted, shop.track(external_id=float(key)), first, certain=True)
    yield


def placeholder(shop: Shop, planted: Planted) -> Iterator[None]:
    """Two customers with a placeholder as id."""
    (_, email), (_, other) = shop.customer(), shop.customer()
    first = shop.identify(external_id="undefined", email=email)
    yield
    second = shop.identify(external_id="undefined", email=other)
    yield
    _marked(planted, shop.identify(email=email), first, second, certain=True)
    yield


def withdrawal(shop: Shop, planted: Planted) -> Iterator[None]:
    """An unsubscription by a former address, whose creation of a profile is unconfirmed."""
    _, email, _, first, change = _moved(shop)
    yield
    _marked(planted, shop.unsubscribe(email=email), first, change, certain=False)
    yield


def founding(shop: Shop, planted: Planted) -> Iterator[None]:
    """The address changed through the id, and an event by the new address at the same moment."""
    key, email = shop.customer()
    _, new = shop.customer()
    shop.track(external_id=key, email=email)
    yield
    shop.wait(PAUSE)
    before = {profile.id: profile for profile in shop.klaviyo.profiles}
    change = shop.track(external_id=key, email=new)
    live = shop.klaviyo._account.live
    changed = [profile for profile in shop.klaviyo.profiles if before.get(profile.id) is not profile]
    for profile in changed:
        live.put(before[profile.id])
    event = shop.track(email=new)
    for profile in changed:
        live.put(profile)
    _marked(planted, event, change, certain=False)
    yield
    _looked_at(shop, new)


def _looked_at(shop: Shop, email: str) -> None:
    """Let somebody look for the second profile."""
    if not shop.patient:
        shop.wait(PAUSE)
        shop.search(email)


FAULTS: dict[str, Callable[[Shop, Planted], Iterator[None]]] = {
    "5": situation_5,
    "6": situation_6,
    "race": race,
    "late event": late_event,
    "late pair": late_pair,
    "browser": browser,
    "stale queue": stale_queue,
    "old address": old_address,
    "put back": put_back,
    "shared phone": shared_phone,
    "merged address": merged_address,
    "number": number,
    "placeholder": placeholder,
    "withdrawal": withdrawal,
    "founding": founding,
}
"""The planted faults."""
