"""No secret and no personal data in a `repr`, a log, or an error: message, pickle, traceback (P8, F-27, F-28)."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from safeklaviyo import (
    AsyncKlaviyo,
    Binding,
    ChangeReview,
    Decision,
    EmailChange,
    ExternalIdChange,
    Identity,
    Klaviyo,
    PhoneChange,
    Policy,
    Profile,
    Recovery,
    Resolution,
    RetryPolicy,
    SafeKlaviyoError,
    errors,
)
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores import calls
from safeklaviyo.stores.base import Change, Found, JournalEntry, JournalRow, Lease, Match, Notes, Page
from safeklaviyo.stores.memory import MemoryStore
from support.leaks import texts_of
from support.stores import AsyncAdapter
from support.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

KEY = "pk_c0ffee0123456789secret"
ID = "cust-770077"
EMAIL = "zebulon.quux@shop.dev"
OTHER = "ferdinand.wibble@shop.dev"
PHONE = "+12125550177"
NAME = "Zebulon"
SECRETS = (KEY, "secret", ID, "770077", "zebulon", "quux", "ferdinand", "wibble", PHONE, "5550177")
ANN: dict[str, Any] = {"external_id": ID, "email": EMAIL}
ONCE = RetryPolicy(max_attempts=1)


def assert_clean(text: str) -> None:
    """Fail if any secret is in a text, however it is encoded there."""
    folded = text.lower()
    assert [] == [secret for secret in SECRETS if secret.lower() in folded]


def assert_tells_nothing(error: BaseException) -> None:
    """Fail if an error shows a secret in any of the ways in which errors are shown."""
    again = pickle.loads(pickle.dumps(error))
    shown = (str(error), repr(error), str(again), repr(again), *traceback.format_exception(error), *texts_of(error))
    for text in shown:
        assert_clean(text)
    assert type(again) is type(error)
    assert vars(again) == vars(error)


class TestRepr:
    def test_values(self) -> None:
        """Whatever is returned to a program masks whom it is about."""
        identity = Identity(ID, EMAIL)
        binding = Binding(ID, EMAIL, "01ABC", PHONE)
        profile = Profile(
            id="01ABC", external_id=ID, email=EMAIL, phone_number=PHONE, first_name=NAME, properties={"alias": NAME}
        )
        shown: Iterable[object] = (
            identity, binding, profile, [profile], Claim(ID, EMAIL, PHONE), Identifier(Kind.EMAIL, EMAIL),
            Decision("send", identity, "R3", "the map knows it", binding=binding),
            EmailChange("changed", "01ABC", ID, OTHER, EMAIL, visible=True),
            ExternalIdChange("changed", "01ABC", ID, f"{ID}-2", EMAIL),
            PhoneChange("changed", "01ABC", PHONE, f"{PHONE}7"),
            Recovery("change", "failed", ID, EMAIL), ChangeReview("ghost", "01ABC", ID, EMAIL, OTHER),
            Resolution(identity, "01ABC", "R3"),
        )  # fmt: skip
        for each in shown:
            assert_clean(repr(each))
            assert_clean(str(each))
            assert_clean(f"{each}")

    def test_calls_and_records_of_a_map(self) -> None:
        """A store that a shop has written itself may log what it is asked, and what it answers."""
        who, binding = Identifier(Kind.EMAIL, EMAIL), Binding(ID, EMAIL, "01ABC", PHONE)
        entry = JournalEntry("change_email", EMAIL, OTHER)
        row, change = JournalRow(1, 1.0, "key", "01ABC", ID, entry), Change(binding, journal=entry)
        lease, match = Lease(1, frozenset({who}), f'{{"email": "{EMAIL}"}}', 1.0), Match(who, binding, 1.0)
        shown: Iterable[object] = (
            entry, row, change, lease, match, Found((match,), lease, 1.0), Notes(((EMAIL, EMAIL),), None),
            Page((binding,), None), calls.Acquire("a", frozenset({who}), lease.intent, 1.0), calls.Find("a", (who,)),
            calls.Renew("a", 1, 1.0, lease.intent), calls.Bind("a", change), calls.Add("a", [binding]),
            calls.Remember("a", "note", EMAIL), calls.Remove("a", who), calls.Restore("a", [match]),
            calls.RestoreJournal("a", [(binding, row)]), calls.Former("a", [binding]),
        )  # fmt: skip
        for each in shown:
            assert_clean(repr(each))

    def test_results_and_clients(self, client: NewClient) -> None:
        """Neither a client, nor what hangs off it, nor what it returns shows the key or the customer."""
        k = client(api_key=KEY)
        results = [
            k,
            k.profiles,
            k.bindings,
            k._shell,
            k._wiring if not hasattr(k, "_subject") else k._subject._wiring,
            k.identify({"first_name": NAME}, phone_number=PHONE, **ANN),
            k.track("Placed Order", **ANN),
            k.explain(**ANN),
            k.bindings.get(email=EMAIL),
            k.profiles.search(email=EMAIL),
            k.change_email(OTHER, external_id=ID),
        ]
        for each in results:
            assert_clean(repr(each))
            assert_clean(str(each))

    def test_exchange(self) -> None:
        """What travels inside the library shows no query, body or header."""
        response = Response(200, {"x-echo": KEY}, EMAIL.encode())
        wiring = Klaviyo(KEY, store="memory://")._wiring
        for each in (response, wiring, wiring.target, wiring.setup().dialect):
            assert_clean(repr(each))


def refused_by_klaviyo(status: int) -> Callable[[KlaviyoSimulator, Klaviyo], None]:
    """Return what makes Klaviyo refuse with words that quote what was sent."""

    def provoke(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
        quoting = {
            "errors": [{
                "id": "6a52", "status": status, "code": "invalid", "title": EMAIL, "detail": f"{EMAIL} {PHONE} {KEY}",
                "source": {"pointer": f"/data/{NAME}"}, "meta": {"duplicate_profile_id": "01NOBODY"},
            }]
        }  # fmt: skip
        simulator.fail_next(status=status, body=quoting, times=20)
        k.identify({"a": 1}, **ANN)

    provoke.__name__ = str(status)
    return provoke


def lost(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Break the connection."""
    simulator.fail_next(when="after", times=20)
    k.track("Placed Order", **ANN)


def unconnected(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Refuse the connection."""
    simulator.fail_next(broken="refused", times=20)
    k.identify({"a": 1}, **ANN)


def mismatch(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give another address than the known one."""
    k.identify(external_id=ID, email=OTHER)


def other_id(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give another id than the known one."""
    k.identify(external_id=f"{ID}-2", email=EMAIL)


def taken(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Want an address that is another's."""
    k.identify(external_id="B2", email=OTHER)
    k.change_email(OTHER, external_id=ID)


def drift(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Change the profile behind the map's back."""
    (profile,) = simulator.profiles
    with httpx.Client(transport=simulator.transport, headers={"Authorization": f"Klaviyo-API-Key {KEY}"}) as http:
        data = {"type": "profile", "id": profile.id, "attributes": {"email": OTHER}}
        headers = {"revision": "2026-10-15"}
        http.patch(f"https://a.klaviyo.com/api/profiles/{profile.id}", json={"data": data}, headers=headers)
    k.identify({"a": 1}, **ANN)


def ambiguous(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Have two profiles with one id."""
    for address in (OTHER, f"2{OTHER}"):
        simulator.add_profile(external_id=f"{ID}-2", email=address)
    k.identify(external_id=f"{ID}-2")


def id_only(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give an id that nobody knows."""
    k.track("Placed Order", external_id=f"{ID}-3")


def bad_email(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give an address that is none."""
    k.identify(email=EMAIL.replace("@", "@@"))


def bad_id(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give an id that is too long."""
    k.identify(external_id=ID * 20, email=EMAIL)


def bad_value(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give a property that cannot be sent, under a key that is an address."""
    k.identify({EMAIL: {EMAIL: {PHONE}}}, **ANN)


def bad_text(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give half a character."""
    k.identify({"a": f"{EMAIL}\ud800"}, **ANN)


def two_addresses(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Contradict oneself."""
    k.identify({"$email": OTHER}, **ANN)


def bad_time(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Give a time that is none."""
    k.track("Placed Order", time=EMAIL, **ANN)


def closed_map(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Use a map that is closed."""
    store: Any = k._shell.store
    (store._store if isinstance(store, AsyncAdapter) else store).close()
    k.identify({"a": 1}, **ANN)


def closed_client(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Use a client that is closed."""
    k.close()
    k.identify({"a": 1}, **ANN)


SCENES = [
    *map(refused_by_klaviyo, (400, 401, 403, 404, 409, 410, 413, 418, 422, 429, 500, 503)),
    lost, unconnected, mismatch, other_id, taken, drift, ambiguous, id_only, bad_email, bad_id, bad_value, bad_text,
    two_addresses, bad_time, closed_map, closed_client,
]  # fmt: skip


class TestErrors:
    @pytest.mark.parametrize("provoke", SCENES, ids=lambda scene: scene.__name__)
    def test_shown(
        self,
        client: NewClient,
        simulator: KlaviyoSimulator,
        caplog: pytest.LogCaptureFixture,
        provoke: Callable[[KlaviyoSimulator, Klaviyo], None],
    ) -> None:
        """Each error that a client raises can be printed, logged and pickled without telling on anybody."""
        k = client(api_key=KEY, retry=ONCE, policy=Policy(properties="refuse"))
        k.identify(**ANN)
        caplog.set_level(logging.DEBUG, "safeklaviyo")
        with pytest.raises(SafeKlaviyoError) as caught:
            provoke(simulator, k)
        assert_tells_nothing(caught.value)
        check_records([record for record in caplog.records if record.name.startswith("safeklaviyo")])

    @pytest.mark.parametrize("kind", [each for each in vars(errors).values() if isinstance(each, type)], ids=str)
    def test_every_class(self, kind: type) -> None:
        """Whatever an error carries as attributes stays out of its words."""
        if not issubclass(kind, SafeKlaviyoError):
            return
        error = kind("something is wrong")
        for name in ("external_id", "email", "current_email", "found_email", "current_external_id", "unique_id"):
            setattr(error, name, EMAIL)
        assert_clean(repr(error))
        assert_clean(str(error))


def check_records(records: list[logging.LogRecord]) -> None:
    """Fail if a log record holds a secret, in its message, its arguments or its extra fields."""
    for record in records:
        assert_clean(record.getMessage())
        assert_clean(
            repr({name: value for name, value in vars(record).items() if name not in {"pathname", "exc_info"}})
        )
        if record.exc_info and record.exc_info[1]:
            assert_clean("".join(traceback.format_exception(record.exc_info[1])))


class TestLogs:
    """Over real connections, with every logger of every library at its most talkative."""

    @pytest.fixture(autouse=True)
    def _everything(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        for name in ("safeklaviyo", "httpx", "httpcore", "aiohttp", "asyncio"):
            caplog.set_level(logging.DEBUG, name)

    def ours(self, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
        """Return what the client's side logged, and not the server in this process."""
        records = [record for record in caplog.records if not record.name.startswith("uvicorn")]
        assert any(record.name == "safeklaviyo" for record in records)
        return records

    def test_blocking(self, simulator: KlaviyoSimulator, caplog: pytest.LogCaptureFixture) -> None:
        """What is logged of a search, a write and a broken connection names nobody."""
        with simulator.serve() as base, Klaviyo(KEY, store=MemoryStore(), base_url=base, retry=ONCE) as k:
            k.identify({"first_name": NAME}, phone_number=PHONE, **ANN)
            k.profiles.search(email=EMAIL)
            simulator.fail_next("update_profile", when="after")
            with suppress(SafeKlaviyoError):
                k.identify({"a": 1}, **ANN)
            k.change_email(OTHER, external_id=ID)
        records = self.ours(caplog)
        assert [] == [record for record in records if record.name.startswith(("httpx", "httpcore"))]
        check_records(records)

    def test_awaited(self, simulator: KlaviyoSimulator, caplog: pytest.LogCaptureFixture) -> None:
        """So is what asyncio says of awaited requests."""

        async def use(base: str) -> None:
            async with AsyncKlaviyo(KEY, store="memory://", base_url=base, retry=ONCE) as k:
                await k.identify({"first_name": NAME}, phone_number=PHONE, **ANN)
                await k.profiles.search(email=EMAIL)
                simulator.fail_next("update_profile", when="after")
                with suppress(SafeKlaviyoError):
                    await k.identify({"a": 1}, **ANN)

        with simulator.serve() as base:
            asyncio.run(use(base))
        check_records(self.ours(caplog))

    def test_users_client(self, simulator: KlaviyoSimulator, caplog: pytest.LogCaptureFixture) -> None:
        """With a client of the user's httpx itself logs URLs, as documented; the key is in none of them."""
        with (
            httpx.Client(transport=simulator.transport) as http,
            Klaviyo(KEY, store="memory://", http_client=http) as k,
        ):
            k.profiles.search(email=EMAIL)
        said = [record.getMessage() for record in caplog.records if record.name == "httpx"]
        assert said
        assert not any(KEY in message for message in said)
