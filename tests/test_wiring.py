"""What a client's arguments mean: each refusal, the environment, and whose map it is."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import (
    AsyncKlaviyo,
    ConfigurationError,
    Klaviyo,
    NoResponseError,
    PermissionDeniedError,
    Policy,
    RetryPolicy,
    ServerError,
)
from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore
from safeklaviyo.stores.sqlite import AsyncSqliteStore, SqliteStore
from safeklaviyo.testing import CLOUDFLARE_PAGE
from support.clients import BASE_URL, REVISION, Wiring, store_url, wiring
from support.wire import CurrentDialect, LegacyDialect

if TYPE_CHECKING:
    from pathlib import Path

    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

KEY = "pk_0123456789abcdef"
USUAL: dict[str, Any] = {
    "api_key": KEY,
    "access_token": None,
    "account": None,
    "public_key": None,
    "policy": Policy(),
    "retry": RetryPolicy(),
    "timeout": 10.0,
    "deadline": 30.0,
    "base_url": BASE_URL,
    "revision": REVISION,
    "dialect": "current",
}


def wired(**changes: Any) -> Wiring:
    """Return what the usual arguments mean, but for some."""
    return wiring(**(USUAL | changes))


class TestRefusals:
    @pytest.mark.parametrize(
        ("argument", "value", "said"),
        [
            ("api_key", "", "API key"),
            ("api_key", "  ", "API key"),
            ("api_key", 5, "API key"),
            ("api_key", b"pk_hunter2", "API key"),
            ("api_key", "pk_hunter2\r\nX-Evil: 1", "API key"),
            ("api_key", "pk hunter2", "API key"),
            ("api_key", "pk_hünter2", "API key"),
            ("account", "", "account"),
            ("account", "hunter2/..", "account"),
            ("account", "ann@hunter2.dev", "account"),
            ("account", "x" * 65, "account"),
            ("account", 7, "account"),
            ("public_key", "hunter2 ", "public_key"),
            ("public_key", "", "public_key"),
            ("policy", None, "policy"),
            ("policy", {"lease": 1}, "policy"),
            ("retry", 3, "retry"),
            ("timeout", 0, "timeout"),
            ("base_url", "http://hunter2.dev", "base_url"),
            ("revision", "hunter2", "revision"),
            ("revision", None, "revision"),
            ("revision", "2026-10-15\n", "revision"),
            ("revision", "٢٠٢٦-10-15", "revision"),
            ("dialect", "hunter2", "dialect"),
            ("dialect", None, "dialect"),
        ],
    )
    def test_message(self, argument: str, value: Any, said: str) -> None:
        """An argument that makes no sense is named, and what it was is not repeated."""
        with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
            wired(**{argument: value})
        assert "unter2" not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    def test_both_clients_refuse(self, kind: Any) -> None:
        """What is refused is refused when the client is made, before anything is sent."""
        with pytest.raises(ConfigurationError):
            kind(KEY, store="memory://", base_url="http://a.klaviyo.com")
        with pytest.raises(ConfigurationError, match="store"):
            kind(KEY, store=object())

    def test_store_of_the_other_kind(self) -> None:
        """A store that cannot be called in this way is refused."""
        with pytest.raises(ConfigurationError, match="AsyncIdentityStore for AsyncKlaviyo"):
            Klaviyo(KEY, store=AsyncMemoryStore())  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="AsyncIdentityStore for AsyncKlaviyo"):
            AsyncKlaviyo(KEY, store=MemoryStore())  # type: ignore[arg-type]


class TestDialects:
    def test_current(self) -> None:
        """Without a word it is the current API, in the newest revision known."""
        made = wired(revision="2026-10-15.pre")
        assert isinstance(made.dialect, CurrentDialect)
        assert (b"revision", b"2026-10-15.pre") in made.target.headers

    def test_legacy(self) -> None:
        """A server that still speaks the legacy API is spoken to with both keys."""
        made = wired(dialect="legacy", public_key="SiMuLa", base_url="http://127.0.0.1:8000")
        assert isinstance(made.dialect, LegacyDialect)
        assert "SiMuLa" == made.account

    @pytest.mark.parametrize("base", [BASE_URL, "https://A.KLAVIYO.com", "https://a.klaviyo.com.", f"{BASE_URL}:443"])
    def test_legacy_is_refused_on_klaviyos_host(self, base: str) -> None:
        """Klaviyo answers 410 there, so nothing is sent."""
        with pytest.raises(ConfigurationError, match="410"):
            wired(dialect="legacy", public_key="SiMuLa", base_url=base)

    def test_legacy_needs_the_public_key(self) -> None:
        """Its token is the public key."""
        with pytest.raises(ConfigurationError, match="public_key"):
            wired(dialect="legacy", base_url="http://127.0.0.1:8000")


class TestEnvironment:
    def test_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The key may come from the environment, with the spaces that files leave; an argument goes before it."""
        monkeypatch.setenv("KLAVIYO_API_KEY", " pk_environment\n")
        assert (b"Authorization", b"Klaviyo-API-Key pk_environment") in wired(api_key=None).target.headers
        assert (b"Authorization", f"Klaviyo-API-Key {KEY}".encode()) in wired().target.headers

    @pytest.mark.parametrize("value", [None, "", " "])
    def test_no_key(
        self, monkeypatch: pytest.MonkeyPatch, client: NewClient, store: MemoryStore, value: str | None
    ) -> None:
        """A client can be made without a key, as in CI; its first request says where the key may stand."""
        if value is not None:
            monkeypatch.setenv("KLAVIYO_API_KEY", value)
        k = client(api_key=None)
        assert "R12" == k.explain(email="ann@shop.dev").rule
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="KLAVIYO_API_KEY") as caught:
                k.track("Ordered", email="ann@shop.dev")
            assert "not_applied" == caught.value.outcome
        assert () == store.leases("SiMuLa", 10)

    def test_base_url(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The host may come from the environment, where no empty text counts; an argument goes before it."""
        monkeypatch.setenv("KLAVIYO_BASE_URL", "http://127.0.0.1:8000")
        assert "http://127.0.0.1:8000" == wired(base_url=None).target.base
        assert BASE_URL == wired(base_url=BASE_URL).target.base
        monkeypatch.setenv("KLAVIYO_BASE_URL", "")
        assert BASE_URL == wired(base_url=None).target.base
        monkeypatch.setenv("KLAVIYO_BASE_URL", "a.klaviyo.com")
        with pytest.raises(ConfigurationError, match="base_url"):
            wired(base_url=None)

    def test_store(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The map may come from the environment; an argument goes before it."""
        monkeypatch.setenv("SAFEKLAVIYO_STORE", f"sqlite:///{tmp_path}/map.db")
        assert isinstance(Klaviyo(KEY)._shell.store, SqliteStore)
        assert isinstance(AsyncKlaviyo(KEY)._shell.store, AsyncSqliteStore)
        assert isinstance(Klaviyo(KEY, store="memory://")._shell.store, MemoryStore)

    def test_empty_argument_is_no_default(self) -> None:
        """A setting that came out empty must not lead to a map that serves one host only."""
        with pytest.raises(ConfigurationError):
            Klaviyo(KEY, store="")

    def test_default_store(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Without a word the map is a file in the user's state folder, also where the variable is empty."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("SAFEKLAVIYO_STORE", "")
        assert f"sqlite:///{tmp_path}/safeklaviyo/identity.db" == store_url(None)
        assert [] == list(tmp_path.iterdir())

    def test_default_store_is_warned_of_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """One warning in the life of a process, whatever the number of clients."""
        program = (
            "import logging; logging.basicConfig(format='%(name)s %(levelname)s %(message)s')\n"
            "from safeklaviyo import AsyncKlaviyo, Klaviyo\n"
            "for _ in range(3): Klaviyo('pk_a').close(); AsyncKlaviyo('pk_a')"
        )
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        (line,) = done.stderr.splitlines()
        assert line.startswith("safeklaviyo WARNING the identity map is an SQLite file, which serves this host only")


class TestAccount:
    def accounts_asked(self, simulator: KlaviyoSimulator) -> int:
        """Return how often Klaviyo was asked whose key this is."""
        return sum(entry.endpoint == "get_accounts" for entry in simulator.journal)

    def test_order(self) -> None:
        """The account is the argument, else the public key, else it has to be asked for."""
        assert "MyAcct" == wired(account="MyAcct", public_key="Public").account
        assert "Public" == wired(public_key="Public").account
        assert wired().account is None

    def test_asked_once(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Klaviyo is asked once for each key; the map remembers it under a digest, for other processes too."""
        for _ in range(2):
            k = client(account=None)
            k.identify(external_id="A1", email="ann@shop.dev")
            k.identify(external_id="A1", email="ann@shop.dev")
        assert 1 == self.accounts_asked(simulator)
        client(account=None, api_key="pk_another").explain(email="ann@shop.dev")
        assert 2 == self.accounts_asked(simulator)

    def test_remembered_without_the_key(self, client: NewClient, store: MemoryStore) -> None:
        """What the map keeps does not lead back to the key."""
        client(account=None).explain(email="ann@shop.dev")
        assert "SiMuLa" == store.recall("", f"account:{wired().credentials.fingerprint}")
        assert KEY not in repr(store._accounts[""].notes)

    def test_new_key_keeps_the_map(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Rotating a key leaves everybody known, whether the account was given or asked for."""
        client(account=None).identify(external_id="A1", email="ann@shop.dev")
        for account in (None, "SiMuLa"):
            rotated = client(api_key="pk_rotated", account=account)
            assert "R8" == rotated.explain(external_id="A1").rule
        assert 1 == len(simulator.profiles)

    def test_accounts_never_mix(self, client: NewClient) -> None:
        """One store holds several accounts, and what one knows the other does not."""
        client(account="First").identify(external_id="A1", email="ann@shop.dev")
        second = client(account="Second")
        assert [] == list(second.bindings)
        assert "R12" == second.explain(email="ann@shop.dev").rule
        assert 1 == len(list(client(account="First").bindings))

    def test_forbidden(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A key that may not read the account's id needs the argument; nothing else was asked."""
        simulator.fail_next("get_accounts", status=403)
        with pytest.raises(ConfigurationError, match="account=") as caught:
            client(account=None).identify(email="ann@shop.dev")
        assert isinstance(caught.value.__cause__, PermissionDeniedError)
        assert "not_applied" == caught.value.outcome
        assert 1 == len(simulator.journal)

    def test_unreadable(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """An answer that names no account is an outage, not a fault of the set-up."""
        simulator.fail_next("get_accounts", status=200, body={"data": []})
        with pytest.raises(NoResponseError, match="could not be read"):
            client(account=None).explain(email="ann@shop.dev")

    def test_something_before_klaviyo(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A page of something before Klaviyo says nothing of the key."""
        simulator.fail_next("get_accounts", status=403, body=CLOUDFLARE_PAGE)
        k = client(account=None, retry=RetryPolicy(max_attempts=1))
        with pytest.raises(NoResponseError, match=r"answer \(403\) is not Klaviyo's"):
            k.explain(email="ann@shop.dev")
        assert "R12" == k.explain(email="ann@shop.dev").rule

    def test_failure_passes(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Where Klaviyo fails, nobody is asked to change the set-up; the next call asks again."""
        k = client(account=None, retry=RetryPolicy(max_attempts=1))
        simulator.fail_next("get_accounts", status=500)
        with pytest.raises(ServerError):
            k.explain(email="ann@shop.dev")
        assert "R12" == k.explain(email="ann@shop.dev").rule


class TestWrongAccount:
    def answered(self, simulator: KlaviyoSimulator, endpoint: str, account: str | None, body: Any) -> None:
        """Let an answer name an account."""
        headers = {} if account is None else {"cid": account}
        simulator.fail_next(endpoint, status=200, body=body, headers=headers)

    def test_is_noticed_at_the_first_answer(
        self, client: NewClient, simulator: KlaviyoSimulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Klaviyo's answer names the key's account. It is said once, and costs no call: a write may be done by then."""
        k = client(account="SiMuLb")
        for _ in range(2):
            assert k.track("Ordered", external_id="A1", email="ann@shop.dev").profile_id
        simulator.drain()
        said = [record.getMessage() for record in caplog.records if "the account SiMuLa" in record.getMessage()]
        assert (2, 1) == (len(simulator.events), len(said))
        assert "this client's account is SiMuLb" in said[0]

    @pytest.mark.parametrize(("account", "named"), [("SiMuLb", None), ("SiMuLb", ""), ("my-shop", "SiMuLa")])
    def test_is_not_concluded_from_less(
        self,
        client: NewClient,
        simulator: KlaviyoSimulator,
        caplog: pytest.LogCaptureFixture,
        *,
        account: str,
        named: str | None,
    ) -> None:
        """A mock without the header says nothing, nor does it where the map's name is not an account's id."""
        self.answered(simulator, "get_profiles", named, {"data": []})
        client(account=account).profiles.search(email="ann@shop.dev")
        assert "this client's account" not in caplog.text


class TestSetup:
    def test_test_addresses(self) -> None:
        """Klaviyo's own host drops events for test addresses, which the policy may allow; other hosts do not."""
        assert wired().setup().drops_test_addresses
        assert not wired(policy=Policy(allow_test_addresses=True)).setup().drops_test_addresses
        assert not wired(base_url="http://127.0.0.1").setup().drops_test_addresses

    def test_attempt(self) -> None:
        """Leases outlive an attempt, so they are told how long one may take at most."""
        made = wired(timeout=3)
        assert made.setup().attempt == made.timeouts.longest > 3

    def test_own_state(self) -> None:
        """Each process paces and counts for itself."""
        made = wired()
        assert made.setup().line is not made.setup().line

    def test_construction_does_nothing(self, simulator: KlaviyoSimulator, tmp_path: Path) -> None:
        """Making a client neither asks Klaviyo nor makes a file, and changes no logger (F-29)."""
        before = {name: logging.getLogger(name).level for name in ("safeklaviyo", "httpx", "httpcore", "aiohttp", None)}
        Klaviyo(KEY, store=f"sqlite:///{tmp_path}/map.db").close()
        assert [] == list(tmp_path.iterdir())
        assert before == {name: logging.getLogger(name).level for name in before}
        handlers = logging.getLogger("safeklaviyo").handlers
        assert [logging.NullHandler] == [type(handler) for handler in handlers]  # as each library's
