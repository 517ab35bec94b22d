"""``k.lists``: reading lists, and who joins and leaves them, by the rules of every verb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import (
    AsyncKlaviyo,
    BadRequestError,
    BatchReport,
    ConfigurationError,
    DeadlineExceededError,
    EmailMismatchError,
    InvalidIdentifierError,
    InvalidPropertyError,
    LeaseHeldError,
    MailingList,
    NoResponseError,
    NotFoundError,
    Policy,
    ProfileNotVisibleError,
    RetryPolicy,
    ServerError,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identifier, Kind
from support.clients import ACCOUNT, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

ONCE = RetryPolicy(max_attempts=1)


class Refused:
    """Notes the rows that were refused."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Mapping[str, Any], Exception]] = []

    def __call__(self, index: int, row: Mapping[str, Any], error: Exception) -> None:
        """Note one."""
        self.rows.append((index, row, error))

    @property
    def kinds(self) -> list[tuple[int, type[Exception]]]:
        """The numbers of the rows, and the classes of the errors."""
        return [(index, type(error)) for index, _, error in self.rows]


def emails(simulator: KlaviyoSimulator, list_id: str) -> list[str]:
    """Return who is in a list."""
    return sorted(str(each.email) for each in simulator.members(list_id))


def people(*names: str) -> list[dict[str, str]]:
    """Return rows."""
    return [{"email": f"{name}@shop.dev"} for name in names]


def delete(simulator: KlaviyoSimulator, profile_id: str) -> None:
    """Delete a profile at once, as a person does by hand."""
    simulator._account.remove(profile_id)


def endpoints(simulator: KlaviyoSimulator) -> list[str]:
    """Return what Klaviyo was asked, in order."""
    return [entry.endpoint for entry in simulator.journal]


class TestReading:
    def test_all_lists(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Klaviyo shows ten a page; all are yielded."""
        ids = [simulator.add_list(f"{number:02}", opt_in_process="double_opt_in") for number in range(25)]
        found = list(client().lists.iterate())
        assert [MailingList(each, f"{number:02}", "double_opt_in") for number, each in enumerate(ids)] == sorted(
            found, key=lambda each: each.name
        )

    def test_one_list(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """By its id."""
        list_id = simulator.add_list("News")
        assert MailingList(list_id, "News", "single_opt_in") == client().lists.get(list_id)

    def test_members(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """All of them, page by page, with consent if it is asked for."""
        list_id, lists = simulator.add_list("News"), client().lists
        lists.add(list_id, people(*(f"{number:03}" for number in range(130))))
        simulator.journal.clear()
        assert 130 == len({profile.email for profile in lists.members(list_id)})
        assert 2 == len(simulator.journal)
        shown = [profile.subscriptions for profile in lists.members(list_id, subscriptions=True)]
        assert 130 == len([each for each in shown if each is not None])

    def test_no_such_list(self, client: NewClient) -> None:
        """Each call says so."""
        lists = client().lists
        for call in (lists.get, lambda each: list(lists.members(each))):
            with pytest.raises(NotFoundError, match="no such list"):
                call("Nowhere")

    @pytest.mark.parametrize("list_id", ["", "..", "a/b", "a b", None, 7])
    def test_what_is_no_id(self, client: NewClient, simulator: KlaviyoSimulator, list_id: Any) -> None:
        """It is refused before anything is sent (F-7)."""
        lists = client().lists
        for call in (lists.get, lambda each: list(lists.members(each)), lambda each: lists.add(each, [])):
            with pytest.raises(InvalidPropertyError, match="list_id"):
                call(list_id)
        assert [] == simulator.journal

    @pytest.mark.parametrize("body", [{"data": {}}, {"data": [{"id": "A"}]}, {"data": [None]}])
    def test_an_answer_that_cannot_be_read(self, client: NewClient, simulator: KlaviyoSimulator, body: Any) -> None:
        """It is no list."""
        simulator.fail_next("get_lists", status=200, body=body)
        with pytest.raises(NoResponseError, match="could not be read"):
            list(client(retry=ONCE).lists.iterate())

    def test_pages_that_lead_back(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """An iteration ends with an error and not never."""
        row = {"type": "list", "id": "A", "attributes": {"name": "a", "opt_in_process": "single_opt_in"}}
        link = "https://a.klaviyo.com/api/lists?page%5Bcursor%5D=a"
        simulator.fail_next("get_lists", status=200, body={"data": [row], "links": {"next": link}}, times=3)
        with pytest.raises(NoResponseError, match="do not end"):
            list(client().lists.iterate())

    def test_the_legacy_dialect(self, client: NewClient) -> None:
        """It has no lists."""
        lists = client(dialect="legacy", public_key=ACCOUNT, base_url="http://127.0.0.1:8000").lists
        for call in (lambda: lists.get("A1"), lambda: list(lists.iterate()), lambda: lists.add("A1", [])):
            with pytest.raises(ConfigurationError, match="legacy"):
                call()


class TestAdding:
    def test_known_and_unknown(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Who is known is named by profile id, who is not by first contact; one request for all."""
        list_id, k = simulator.add_list("News"), client()
        k.identify(external_id="1", email="old@shop.dev")
        k.change_email("ann@shop.dev", external_id="1")
        simulator.journal.clear()
        rows = [{"external_id": "1"}, {"email": "OLD@shop.dev"}, {"external_id": "2", "email": "bob@shop.dev"}]
        assert BatchReport(3, 3, 0) == k.lists.add(list_id, rows)
        assert ["ann@shop.dev", "bob@shop.dev"] == emails(simulator, list_id)
        assert {"1", "2"} == {profile.external_id for profile in simulator.profiles}
        assert 1 == endpoints(simulator).count("add_profiles_to_list")

    def test_consent_is_not_changed(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Joining a list is no consent."""
        list_id, k = simulator.add_list("News"), client()
        k.lists.add(list_id, people("ann"))
        simulator.drain()
        assert "never_subscribed" == k.consent(email="ann@shop.dev").channels["email"].status

    def test_a_list_that_does_not_exist(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """That is said before anybody's profile is made."""
        with pytest.raises(NotFoundError, match="no such list"):
            client().lists.add("Nowhere", people("ann"))
        assert (["get_list"], []) == (endpoints(simulator), simulator.profiles)

    def test_one_bad_row_is_one_refused_row(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The others join."""
        list_id, k, refused = simulator.add_list("News"), client(), Refused()
        k.identify(external_id="1", email="ann@shop.dev")
        rows: list[Any] = [
            {"email": "null"},
            {"external_id": "1", "email": "eve@shop.dev"},
            {"external_id": "1"},
            {"name": "Bob"},
            "bob@shop.dev",
            {"email": "bob@shop.dev", "name": "Bob"},
        ]
        assert BatchReport(6, 2, 4) == k.lists.add(list_id, rows, on_refused=refused)
        unusable = InvalidIdentifierError
        assert [(0, unusable), (1, EmailMismatchError), (3, unusable), (4, InvalidPropertyError)] == refused.kinds
        assert rows[1] is refused.rows[1][1]
        assert ["ann@shop.dev", "bob@shop.dev"] == emails(simulator, list_id)

    def test_1000_a_request(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Rows are read as they are needed, and sent 1,000 at a time."""
        list_id, k = simulator.add_list("News"), client()
        profiles = [simulator.add_profile(email=f"{number}@shop.dev") for number in range(1003)]
        k.bindings.add([{"email": each.email, "profile_id": each.id} for each in profiles], trusted=True)
        simulator.journal.clear()
        report = k.lists.add(list_id, ({"email": each.email} for each in profiles))
        assert (1003, 1003) == (report.total, report.accepted)
        sent = [len(entry.body["data"]) for entry in simulator.journal if entry.endpoint == "add_profiles_to_list"]
        assert [1000, 3] == sent
        assert 1003 == len(simulator.members(list_id))

    @pytest.mark.parametrize("told", ["Invalid profile IDs: {}", "Invalid profile IDs: {}, 01OTHER.", "Invalid."])
    def test_a_profile_that_klaviyo_does_not_know(
        self, client: NewClient, simulator: KlaviyoSimulator, told: str
    ) -> None:
        """Klaviyo refuses the request whole. The others go again without that one, whether it is named or not."""
        list_id, k, refused = simulator.add_list("News"), client(), Refused()
        rows = people(*"abcdefg")
        for row in rows:
            k.identify(email=row["email"])
        gone = str(k.resolve(email="c@shop.dev").profile_id)
        delete(simulator, gone)

        def names_it(asked: Any) -> bool:
            return gone in asked.body.decode()

        errors = [{"code": "invalid", "detail": told.format(gone), "source": {"pointer": "/data"}}]
        body = {"errors": errors}
        simulator.fail_next("add_profiles_to_list", status=400, body=body, times=9, match=names_it)
        report = k.lists.add(list_id, rows, on_refused=refused)
        assert BatchReport(7, 6, 1) == report
        expected = BadRequestError if told == "Invalid." else ProfileNotVisibleError
        assert [(2, expected)] == refused.kinds
        assert [f"{each}@shop.dev" for each in "abdefg"] == emails(simulator, list_id)

    def test_a_profile_that_is_gone_is_made_anew(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Once that is certain, the map forgets it: the same call succeeds after the lag (H36)."""
        list_id, k = simulator.add_list("News"), client(policy=Policy(lag=60))
        gone = str(k.identify(email="ann@shop.dev").profile_id)
        simulator.advance(61)
        delete(simulator, gone)
        reports = []
        for _ in range(3):
            reports.append(k.lists.add(list_id, people("ann")))
            simulator.advance(61)
        assert (1, 0) == (reports[0].refused, reports[-1].refused)
        assert ["ann@shop.dev"] == emails(simulator, list_id)

    def test_a_failure_of_the_request_is_told_for_each_row(
        self, client: NewClient, simulator: KlaviyoSimulator
    ) -> None:
        """Whether Klaviyo has added them is not known, so the rows may be sent again (P7)."""
        list_id, refused = simulator.add_list("News"), Refused()
        simulator.fail_next("add_profiles_to_list", status=503)
        report = client(retry=ONCE).lists.add(list_id, people("ann", "bob"), on_refused=refused)
        assert BatchReport(2, 0, 0, 2) == report
        assert [(0, ServerError), (1, ServerError)] == refused.kinds
        assert all(error.may_retry for _, _, error in refused.rows)  # type: ignore[attr-defined]

    def test_a_request_is_sent_again(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """To add somebody twice is to add them once."""
        list_id = simulator.add_list("News")
        simulator.fail_next("add_profiles_to_list", status=503, when="after")
        assert BatchReport(1, 1, 0) == client().lists.add(list_id, people("ann"))
        assert ["ann@shop.dev"] == emails(simulator, list_id)

    def test_a_customer_who_is_held_costs_one_row(
        self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """Another call writes about one of them, within the deadline or beyond it: the others join."""
        list_id, k = simulator.add_list("News"), client()
        for deadline, error in ((None, LeaseHeldError), (5.0, DeadlineExceededError)):
            refused = Refused()
            store.acquire(ACCOUNT, frozenset({Identifier(Kind.EMAIL, "ann@shop.dev")}), intent="{}", ttl=600.0)
            report = k.with_options(deadline=deadline).lists.add(list_id, people("ann", "bob"), on_refused=refused)
            assert (BatchReport(2, 1, 1), [(0, error)]) == (report, refused.kinds)

    def test_a_deadline_that_is_over_for_all_ends_the_call(
        self, client: NewClient, simulator: KlaviyoSimulator
    ) -> None:
        """A host that does not answer would cost every row its deadline."""
        list_id = simulator.add_list("News")
        simulator.fail_next("get_profiles", status=503, times=100)
        with pytest.raises(DeadlineExceededError):
            client(deadline=5.0, retry=RetryPolicy(max_attempts=100)).lists.add(list_id, people("ann", "bob"))

    def test_what_concerns_all_ends_the_call(
        self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A map that is away would refuse every row."""
        list_id, refused = simulator.add_list("News"), Refused()

        def fail(*_: object) -> None:
            raise StoreUnavailableError("away")

        monkeypatch.setattr(store, "perform", fail)
        with pytest.raises(StoreUnavailableError):
            client().lists.add(list_id, people("ann", "bob"), on_refused=refused)
        assert ([], []) == (refused.rows, simulator.profiles)

    @pytest.mark.parametrize("given", [{"email": "ann@shop.dev"}, "ann@shop.dev", b"x", 7, None])
    def test_people_who_are_none(self, client: NewClient, simulator: KlaviyoSimulator, given: Any) -> None:
        """One row in place of many has a sentence of its own."""
        with pytest.raises(ConfigurationError, match="iterable of mappings"):
            client().lists.add(simulator.add_list("News"), given)

    def test_nobody(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """No request is sent for nobody."""
        list_id = simulator.add_list("News")
        assert BatchReport(0, 0, 0) == client().lists.add(list_id, [])
        assert ["get_list"] == endpoints(simulator)

    @pytest.mark.parametrize("many", [1000, 1001])
    def test_rows_of_an_asynchronous_iterable(self, simulator: KlaviyoSimulator, many: int) -> None:
        """`AsyncKlaviyo` takes them, more than one request's worth, too."""
        list_id = simulator.add_list("News")

        async def rows() -> AsyncIterator[dict[str, str]]:
            for number in range(many):
                yield {"email": "ann@shop.dev" if number % 2 else "bob@shop.dev"}

        with simulator.mock(), opened(AsyncKlaviyo, store="memory://") as k:
            assert BatchReport(many, many, 0) == k.lists.add(list_id, rows())
            assert BatchReport(many, many, 0) == k.lists.remove(list_id, rows())
        assert [] == emails(simulator, list_id)


class TestRemoving:
    def test_members_leave(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """By any identifier that the person has or had."""
        list_id, k = simulator.add_list("News"), client()
        k.identify(external_id="1", email="old@shop.dev")
        k.change_email("ann@shop.dev", external_id="1")
        k.lists.add(list_id, [{"external_id": "1"}, *people("bob", "eve")])
        assert BatchReport(2, 2, 0) == k.lists.remove(list_id, [{"email": "old@shop.dev"}, *people("bob")])
        assert ["eve@shop.dev"] == emails(simulator, list_id)

    def test_nobody_is_made(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Who has no profile is in no list; a profile that the map does not know is found."""
        list_id, k = simulator.add_list("News"), client()
        profile = simulator.add_profile(email="ann@shop.dev")
        members = {"data": [{"type": "profile", "id": profile.id}]}
        k.request("POST", f"/api/lists/{list_id}/relationships/profiles", json=members)
        assert BatchReport(3, 3, 0) == k.lists.remove(list_id, [*people("ann", "nobody"), {"external_id": "9"}])
        assert (1, []) == (len(simulator.profiles), emails(simulator, list_id))

    def test_a_profile_that_is_gone(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """It is in no list, so its row is as it was wanted."""
        list_id, k = simulator.add_list("News"), client()
        k.lists.add(list_id, people("ann", "bob"))
        delete(simulator, str(k.resolve(email="bob@shop.dev").profile_id))
        assert BatchReport(2, 2, 0) == k.lists.remove(list_id, people("ann", "bob"))
        assert [] == emails(simulator, list_id)

    def test_refused(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Whoever cannot be told for certain stays."""
        list_id, k, refused = simulator.add_list("News"), client(), Refused()
        k.identify(external_id="1", email="ann@shop.dev")
        rows = [{"external_id": "1", "email": "eve@shop.dev"}]
        assert BatchReport(1, 0, 1) == k.lists.remove(list_id, rows, on_refused=refused)
        assert [(0, EmailMismatchError)] == refused.kinds
