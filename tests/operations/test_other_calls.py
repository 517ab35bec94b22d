"""``k.request`` and ``k.iterate``: any other endpoint, without a way around the map."""

from __future__ import annotations

import json
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import (
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    DeadlineExceededError,
    EmailMismatchError,
    InvalidIdentifierError,
    InvalidPropertyError,
    Klaviyo,
    NoResponseError,
    NotFoundError,
    ProfileConflictError,
    RawResponse,
    RetryPolicy,
    SafeKlaviyoError,
    ServerError,
)
from support.clients import ACCOUNT
from support.wire import Request, current, targets

if TYPE_CHECKING:
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

ONCE = RetryPolicy(max_attempts=1)
ADDRESS = "ann@shop.dev"
BACK_IN_STOCK = "/api/back-in-stock-subscriptions"
PERSONAL = [BACK_IN_STOCK, "/api/push-tokens"]


def wants(person: dict[str, Any]) -> dict[str, Any]:
    """Return a document about a person."""
    attributes = {"channels": ["EMAIL"], "profile": {"data": {"type": "profile", **person}}}
    return {"data": {"type": "back-in-stock-subscription", "attributes": attributes}}


def person_in(document: Any) -> Any:
    """Return the person of a document."""
    return document["data"]["attributes"]["profile"]["data"]


class TestRequest:
    def test_get(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The answer comes back as Klaviyo gave it, and shows nothing of it by accident (P8)."""
        list_id = simulator.add_list("News of ann@shop.dev")
        answer = client().request("GET", f"/api/lists/{list_id}")
        assert isinstance(answer, RawResponse)
        assert (200, list_id) == (answer.status_code, answer.json()["data"]["id"])
        assert "application/vnd.api+json" == answer.headers["content-type"]
        assert "RawResponse(200)" == repr(answer) == str(answer)

    def test_post_and_an_answer_without_a_body(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A body is sent as JSON or as it is; 204 has none."""
        k = client()
        document = {"data": {"type": "list", "attributes": {"name": "Blumen für Ann"}}}
        for given in (
            {"json": document},
            {"content": json.dumps(document)},
            {"content": json.dumps(document).encode()},
        ):
            made = k.request("POST", "/api/lists", **given)
            assert (201, "Blumen für Ann") == (made.status_code, made.json()["data"]["attributes"]["name"])
        gone = k.request("DELETE", f"/api/lists/{made.json()['data']['id']}")
        assert (204, b"", None) == (gone.status_code, gone.content, gone.json())

    def test_parameters(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """They are encoded and added to those of the path; lists are joined, None is left out."""
        given: dict[str, Any] = {"filter": 'equals(name,"a&b")', "fields[list]": ["name", "id"], "b": True, "n": None}
        client().request("GET", "/api/lists?sort=name", params=given | {"page[size]": 5})
        assert {
            "sort": "name", "filter": 'equals(name,"a&b")', "fields[list]": "name,id", "b": "true", "page[size]": "5",
        } == simulator.journal[-1].query  # fmt: skip

    def test_headers(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A caller's headers go before the client's own, and are sent once."""
        given = {"Revision": "2026-07-15", "X-Shop": "de", "Content-Type": "application/json"}
        client().request(
            "POST", "/api/lists", content='{"data": {"type": "list", "attributes": {"name": "a"}}}', headers=given
        )
        sent = simulator.journal[-1].headers
        assert ("2026-07-15", "de", "application/json") == (sent["revision"], sent["x-shop"], sent["content-type"])

    def test_headers_stand_once_on_the_wire(self) -> None:
        """In place of the target's own, whatever their case."""
        where = targets.target("https://a.klaviyo.com", {"revision": "2026-10-15", "Authorization": "x"})
        request = current.raw_request("GET", "/api/lists", headers={"REVISION": "2026-07-15"})
        names = [name.lower() for name, _ in where.headers_of(request)]
        assert len(names) == len(set(names))
        assert (b"revision", b"2026-07-15") in where.headers_of(request)

    @pytest.mark.parametrize(
        "link",
        [
            "https://a.klaviyo.com/api/lists?page%5Bcursor%5D=bmV4dA",
            "https://A.Klaviyo.com/api/lists?page%5Bcursor%5D=bmV4dA",
            "/api/lists?page%5Bcursor%5D=bmV4dA",
        ],
    )
    def test_klaviyos_own_link(self, client: NewClient, simulator: KlaviyoSimulator, link: str) -> None:
        """What `links.next` holds may be given as it is."""
        simulator.fail_next("get_lists", status=200, body={"data": []})
        client().request("GET", link)
        assert {"page[cursor]": "bmV4dA"} == simulator.journal[-1].query

    def test_a_link_of_this_clients_host(self) -> None:
        """A link to the host that the client was given is one, too."""
        base = "http://127.0.0.1:8000"
        assert "/api/lists?a=b" == current.target_from(f"{base}/api/lists?a=b", None, base)
        with pytest.raises(InvalidPropertyError, match="another host"):
            current.target_from(f"{base}/api/lists?a=b", None, "https://a.klaviyo.com")

    @pytest.mark.parametrize(
        "path",
        [
            "https://evil.test/api/lists",
            "http://a.klaviyo.com/api/lists",
            "https://a.klaviyo.com@evil.test/api/lists",
            "https://a.klaviyo.com.evil.test/api/lists",
            "https://a.klaviyo.com:8443/api/lists",
            "//evil.test/api/lists",
            "///evil.test/api/lists",
            "ftp://a.klaviyo.com/api/lists",
            "javascript:/api/lists",
            "/api/../oauth/token",
            "/api/lists/..",
            "/api/lists/%2e%2e/profiles",
            "/api/lists/.",
            "/api/lists/a%2fb",
            "/api/lists/a%2Fb",
            "/api/lists/a%5Cb",
            "/api/lists/a\\b",
            "/api//lists",
            "/api/lists//",
            "/api/lists/%0d%0aX",
            "/api/lists/%zz",
            "/api/lists;x=1",
            "/api/lists#x",
            "/api/lists?a=b c",
            "/api/lists?a=ü",
            "/api/li sts",
            "/api/lists\r\nX-Evil: 1",
            "/client/events",
            "/oauth/token",
            "/apix/lists",
            "/API/lists",
            "/api",
            "/api/",
            "/",
            "api/lists",
            "",
            "https://[a.klaviyo.com/api/lists",
            None,
            7,
            b"/api/lists",
        ],
    )
    def test_a_target_that_is_none(self, client: NewClient, simulator: KlaviyoSimulator, path: Any) -> None:
        """The key goes to the API of one host alone (F-7, F-30)."""
        k = client()
        with pytest.raises(InvalidPropertyError, match=r"^path "):
            k.request("GET", path)
        with pytest.raises(InvalidPropertyError, match=r"^path "):
            list(k.iterate(path))
        assert [] == simulator.journal

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"method": "HEAD"}, "method has to be"),
            ({"method": "GET /api"}, "method has to be"),
            ({"method": None}, "method has to be"),
            ({"params": "a=b"}, "params has to be a mapping"),
            ({"params": {1: "b"}}, "params has to have texts as names"),
            ({"params": {"a": {"b"}}}, "params has to have texts as names"),
            ({"params": {"a": [None]}}, "params has to have texts as names"),
            ({"json": {}, "content": b"x"}, "cannot both be given"),
            ({"json": {"a": Decimal(1)}}, "json has a value that JSON does not have"),
            ({"json": {"a": float("nan")}}, "json has a value that JSON does not have"),
            ({"content": 7}, "content has to be bytes"),
            ({"content": b"x" * 6_000_000}, "larger than the 5 MB"),
            ({"headers": "a"}, "headers has to be a mapping"),
            ({"headers": {"a": 1}}, "headers has to have texts"),
            ({"headers": {"a b": "c"}}, "headers has characters"),
            ({"headers": {"a": "b\r\nX-Evil: 1"}}, "headers has characters"),
            ({"headers": {"a": "ü"}}, "headers has characters"),
            ({"headers": {"AUTHORIZATION": "Bearer x"}}, "headers.authorization is this client's to set"),
            ({"headers": {"Host": "evil.test"}}, "headers.host is this client's to set"),
            ({"headers": {"Content-Length": "0"}}, "this client's to set"),
            ({"headers": {"X-HTTP-Method-Override": "POST"}}, "this client's to set"),
        ],
    )
    def test_what_cannot_be_sent(
        self, client: NewClient, simulator: KlaviyoSimulator, given: dict[str, Any], said: str
    ) -> None:
        """It has a sentence of its own, and nothing is sent."""
        with pytest.raises(InvalidPropertyError, match=said) as caught:
            client().request(**({"method": "POST", "path": "/api/lists"} | given))
        assert ("not_applied", []) == (caught.value.outcome, simulator.journal)

    def test_the_legacy_dialect(self, client: NewClient) -> None:
        """It has no other endpoints, and sends no key in a header."""
        k = client(dialect="legacy", public_key=ACCOUNT, base_url="http://127.0.0.1:8000")
        for call in (lambda: k.request("GET", "/api/lists"), lambda: list(k.iterate("/api/lists"))):
            with pytest.raises(ConfigurationError, match="legacy"):
                call()


class TestIdentityWrites:
    @pytest.mark.parametrize(("path", "verb"), sorted(current.VERBS.items()))
    def test_has_a_verb(self, client: NewClient, simulator: KlaviyoSimulator, path: str, verb: str) -> None:
        """A write of who somebody is is refused in every spelling, with a verb that exists; reading is not."""
        k = client()
        named = path.format("01ABC")
        spelt = named.replace("prof", "%70rof").replace("event", "%65vent").replace("data", "d%61ta")
        for method in ("POST", "PATCH", "PUT", "DELETE"):
            for each in (named, f"{named}/", named.upper().replace("/API", "/api"), spelt, f"{named}?a=b"):
                with pytest.raises(InvalidPropertyError, match=f"call `{verb}`"):
                    k.request(method, each, json={"data": {}})  # type: ignore[arg-type]
        assert [] == simulator.journal
        assert callable(attrgetter(verb)(k))
        current.refuse_identity_writes("GET", named)

    @pytest.mark.parametrize("path", ["/api/track", "/api/identify", "/api/v1/person/01ABC", "/api/v2/people/search"])
    def test_retired(self, client: NewClient, path: str) -> None:
        """There a GET writes, too."""
        for each in (path, f"{path}/", path.replace("t", "%74")):
            with pytest.raises(InvalidPropertyError, match="is retired: call `"):
                client().request("GET", each, params={"data": "e30="})

    def test_what_only_looks_alike(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Other endpoints with such names are not refused: the request is sent."""
        k = client()
        alike = ["/api/events-of-ours", "/api/profiles/01A/relationships/push-tokens", "/api/tracking", "/api/v10"]
        simulator.fail_next(None, status=202, body=b"", times=len(alike))
        assert [202] * len(alike) == [k.request("POST", path).status_code for path in alike]
        assert alike == [asked.path for asked in simulator.journal]

    def test_members_of_a_list_are_no_identity(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """They are named by profile id, and the call changes nothing else."""
        list_id, profile = simulator.add_list("News"), simulator.add_profile(email=ADDRESS)
        members = {"data": [{"type": "profile", "id": profile.id}]}
        client().request("POST", f"/api/lists/{list_id}/relationships/profiles", json=members)
        assert [profile.id] == [each.id for each in simulator.members(list_id)]


class TestPersons:
    def send(self, k: Klaviyo, simulator: KlaviyoSimulator, person: dict[str, Any], path: str = BACK_IN_STOCK) -> Any:
        """Send a document about a person, and return the person as Klaviyo got it."""
        simulator.fail_next(None, status=202, body=b"", match=lambda asked: asked.path == path)
        answer = k.request("POST", path, json=wants(person))
        assert 202 == answer.status_code
        return person_in(simulator.journal[-1].body)

    @pytest.mark.parametrize("path", PERSONAL)
    def test_a_known_customer(self, client: NewClient, simulator: KlaviyoSimulator, path: str) -> None:
        """By either identifier, also by a former address, the profile is named by its id alone (P2, R11)."""
        k = client()
        profile_id = k.identify(external_id="1", email="old@shop.dev").profile_id
        k.change_email(ADDRESS, external_id="1")
        for who in ({"email": ADDRESS}, {"external_id": "1"}, {"email": "old@shop.dev"}):
            sent = self.send(k, simulator, {"attributes": {**who, "first_name": "Ann"}}, path)
            assert {"type": "profile", "id": profile_id, "attributes": {"first_name": "Ann"}} == sent

    def test_somebody_unknown(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """First contact is made; no second profile can come of the call."""
        sent = self.send(client(), simulator, {"attributes": {"email": ADDRESS, "phone_number": "+12125550123"}})
        (profile,) = simulator.profiles
        assert {"type": "profile", "id": profile.id} == sent
        assert (ADDRESS, "+12125550123") == (profile.email, profile.phone_number)

    def test_klaviyo_makes_no_second_profile(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """By a former address Klaviyo would make another profile; named by id, it finds the customer's own."""
        k = client()
        k.identify(external_id="1", email="old@shop.dev")
        k.change_email(ADDRESS, external_id="1")
        waits = wants({"attributes": {"email": "old@shop.dev"}})
        variant = {"data": {"type": "catalog-variant", "id": "$custom:::$default:::1"}}
        waits["data"]["relationships"] = {"variant": variant}
        device = {"token": "t", "platform": "ios", "vendor": "apns", "profile": waits["data"]["attributes"]["profile"]}
        token = {"data": {"type": "push-token", "attributes": device}}
        for path, document in ((BACK_IN_STOCK, waits), ("/api/push-tokens", token)):
            assert 202 == k.request("POST", path, json=document).status_code
        simulator.drain()
        (profile,) = simulator.profiles
        assert (ADDRESS, [profile.id]) == (profile.email, [event.profile_id for event in simulator.events])
        found = k.request("GET", f"/api/profiles/{profile.id}/push-tokens").json()
        assert 1 == len(found["data"])

    def test_content(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A body that is given as bytes is read as well."""
        simulator.fail_next(None, status=202, body=b"", match=lambda asked: asked.path == BACK_IN_STOCK)
        body = json.dumps(wants({"attributes": {"email": ADDRESS}})).encode()
        client().request("POST", BACK_IN_STOCK, content=body)
        assert {"type", "id"} == person_in(simulator.journal[-1].body).keys()

    def test_the_callers_document_stays(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What the caller has handed in is not changed."""
        simulator.fail_next(None, status=202, body=b"", match=lambda asked: asked.path == BACK_IN_STOCK)
        document = wants({"attributes": {"email": ADDRESS}})
        client().request("POST", BACK_IN_STOCK, json=document)
        assert wants({"attributes": {"email": ADDRESS}}) == document

    def test_a_profile_id_alone(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """It names one profile, and is sent as it is."""
        profile = simulator.add_profile(email=ADDRESS)
        assert {"type": "profile", "id": profile.id} == self.send(client(), simulator, {"id": profile.id})
        assert {"type": "profile", "id": profile.id} == self.send(
            client(), simulator, {"id": profile.id, "attributes": {"email": ADDRESS}}
        )

    @pytest.mark.parametrize(
        ("person", "error"),
        [
            ({}, InvalidPropertyError),
            ({"attributes": {}}, InvalidPropertyError),
            ({"attributes": []}, InvalidPropertyError),
            ({"id": "../x"}, InvalidPropertyError),
            ({"attributes": {"email": ADDRESS, "anonymous_id": "a"}}, InvalidPropertyError),
            ({"attributes": {"_kx": "a"}}, InvalidPropertyError),
            ({"attributes": {"email": "null"}}, InvalidIdentifierError),
            ({"attributes": {"phone_number": "+12125550123"}}, InvalidIdentifierError),
            ({"id": ["01"], "attributes": {"external_id": "1"}}, InvalidIdentifierError),
            ({"id": "01OTHER", "attributes": {"external_id": "1"}}, InvalidIdentifierError),
            ({"attributes": {"external_id": "1", "email": "eve@shop.dev"}}, EmailMismatchError),
        ],
    )
    def test_refused(
        self, client: NewClient, simulator: KlaviyoSimulator, person: dict[str, Any], error: type[Exception]
    ) -> None:
        """Whoever cannot be told for certain is not sent, by the rules of every verb."""
        k = client()
        k.identify(external_id="1", email=ADDRESS)
        simulator.journal.clear()
        with pytest.raises(error):
            k.request("POST", BACK_IN_STOCK, json=wants(person))
        assert [] == [entry for entry in simulator.journal if entry.path == BACK_IN_STOCK]
        assert 1 == len(simulator.profiles)

    @pytest.mark.parametrize("content", [b"\xff", b"[]", b"{", None])
    def test_no_document(self, client: NewClient, content: bytes | None) -> None:
        """A body in which nobody is named is refused."""
        with pytest.raises(InvalidPropertyError, match="has to name a person"):
            client().request("POST", BACK_IN_STOCK, content=content)


class TestSending:
    @pytest.mark.parametrize(
        ("method", "repeated"), [("GET", True), ("DELETE", True), ("PUT", True), ("POST", False), ("PATCH", False)]
    )
    def test_repeated_by_method(
        self, client: NewClient, simulator: KlaviyoSimulator, method: Any, repeated: bool
    ) -> None:
        """After a 5xx only what is safe twice is sent twice (F-19)."""
        path = "/api/tags/1"
        simulator.fail_next(None, status=503, match=lambda asked: asked.path == path)
        simulator.fail_next(None, status=200, body={"data": []}, match=lambda asked: asked.path == path)
        if repeated:
            assert 200 == client().request(method, path).status_code
        else:
            with pytest.raises(ServerError) as caught:
                client().request(method, path)
            assert ("unknown", False) == (caught.value.outcome, caught.value.may_retry)
        assert 1 + repeated == len(simulator.journal)

    def test_always_repeated_where_nothing_was_done(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A 429 is no answer to the request."""
        simulator.fail_next("create_list", status=429, headers={"retry-after": "1"})
        made = client().request("POST", "/api/lists", json={"data": {"type": "list", "attributes": {"name": "a"}}})
        assert ([429, 201], 201) == ([entry.status for entry in simulator.journal], made.status_code)

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ((400, None), (BadRequestError, "not_applied")),
            ((404, None), (NotFoundError, "not_applied")),
            ((409, {"errors": [{"code": "in_use"}]}), (APIStatusError, "not_applied")),
            ((409, {"errors": [{"code": "duplicate_profile"}]}), (ProfileConflictError, "not_applied")),
            ((404, "<html>"), (NoResponseError, "unknown")),
            ((200, "<html>"), (NoResponseError, "unknown")),
            ((200, {"ok": True}), (NoResponseError, "unknown")),
            ((302, ""), (NoResponseError, "unknown")),
        ],
    )
    def test_typed_errors(
        self,
        client: NewClient,
        simulator: KlaviyoSimulator,
        answer: tuple[int, Any],
        expected: tuple[type[SafeKlaviyoError], str],
    ) -> None:
        """They are those of every call; what is not Klaviyo's own word is no answer (F-34)."""
        simulator.fail_next(None, status=answer[0], body=answer[1])
        with pytest.raises(expected[0]) as caught:
            client(retry=ONCE).request("POST", "/api/tags", json={})
        assert expected == (type(caught.value), caught.value.outcome)

    def test_a_delete_that_was_perhaps_done(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The repeat finds nothing, which may be the first one's doing: the outcome says so (P7)."""
        list_id = simulator.add_list("News")
        simulator.fail_next("delete_list", status=503, when="after")
        with pytest.raises(NotFoundError) as caught:
            client().request("DELETE", f"/api/lists/{list_id}")
        assert "unknown" == caught.value.outcome

    def test_deadline(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The client's deadline holds."""
        simulator.fail_next(None, status=503, times=100, match=lambda asked: asked.path == "/api/tags")
        with pytest.raises(DeadlineExceededError):
            client(deadline=1.0, retry=RetryPolicy(max_attempts=100)).request("GET", "/api/tags")

    def test_pacing(self) -> None:
        """Requests to one endpoint share a queue, whatever id they name; those to others have their own."""

        def name(method: str, path: str) -> str:
            request: Request = current.raw_request(method, path)
            return str(request.endpoint.name)

        assert name("GET", "/api/tags/1") == name("GET", "/api/tags/2?a=b") == name("GET", "/api/tags/3/")
        assert "GET /api/tags/{id}/flows/{id}" == name("GET", "/api/tags/1/flows/ann@shop.dev")
        assert 3 == len({name("GET", "/api/tags/1"), name("GET", "/api/tags"), name("PATCH", "/api/tags/1")})

    def test_the_request_id(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """For Klaviyo's support."""
        simulator.fail_next(None, status=200, body={"data": []}, headers={"x-klaviyo-req-id": "a-1"})
        assert "a-1" == client().request("GET", "/api/tags").request_id


class TestIterate:
    def pages(self, simulator: KlaviyoSimulator, *pages: Any) -> None:
        """Let the next answers be these."""
        for page in pages:
            simulator.fail_next(
                None, status=200, body=page, match=lambda asked: asked.path.rstrip("/") == "/api/campaigns"
            )

    def test_all_pages(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The resources of each page, in order; the links hold everything else."""
        for number in range(25):
            simulator.add_list(f"{number:02}")
        rows = client().iterate("/api/lists", params={"sort": "name", "fields[list]": "name"})
        assert [f"{number:02}" for number in range(25)] == [row["attributes"]["name"] for row in rows]
        assert 3 == len(simulator.journal)

    def test_one_resource(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A document about one thing is a page of one."""
        list_id = simulator.add_list("News")
        assert [list_id] == [row["id"] for row in client().iterate(f"/api/lists/{list_id}")]

    def test_only_what_is_asked_for(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A page is fetched when its first row is."""
        for number in range(25):
            simulator.add_list(f"{number:02}")
        rows = client().iterate("/api/lists")
        assert [] == simulator.journal
        next(iter(rows))
        assert 1 == len(simulator.journal)

    def test_odd_rows(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """One row that is none does not end the iteration (F-36)."""
        self.pages(simulator, {"data": [{"id": "1"}, None, "x", {"id": "2"}], "links": None})
        assert ["1", "2"] == [row["id"] for row in client().iterate("/api/campaigns")]

    @pytest.mark.parametrize(
        "link",
        [
            "https://a.klaviyo.com/api/campaigns",
            "https://a.klaviyo.com/api/campaigns/?page%5Bcursor%5D=a",
        ],
    )
    def test_links_that_lead_back(self, client: NewClient, simulator: KlaviyoSimulator, link: str) -> None:
        """The iteration ends with an error and not never."""
        self.pages(simulator, *[{"data": [{"id": "1"}], "links": {"next": link}}] * 3)
        with pytest.raises(NoResponseError, match="do not end"):
            list(client().iterate("/api/campaigns"))
        assert len(simulator.journal) <= 2

    @pytest.mark.parametrize(
        "link",
        [
            "https://evil.test/api/campaigns?page=2",
            "https://a.klaviyo.com/api/profiles?page=2",
            "https://a.klaviyo.com/api/campaigns/../lists?page=2",
            "nonsense",
            7,
        ],
    )
    def test_links_that_lead_elsewhere(self, client: NewClient, simulator: KlaviyoSimulator, link: Any) -> None:
        """They are not followed (F-30)."""
        self.pages(simulator, {"data": [{"id": "1"}], "links": {"next": link}})
        with pytest.raises(NoResponseError, match="leads elsewhere"):
            list(client().iterate("/api/campaigns"))
        assert 1 == len(simulator.journal)

    def test_an_answer_without_a_list(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """It is no empty list."""
        self.pages(simulator, {"data": None})
        with pytest.raises(NoResponseError, match="could not be read"):
            list(client(retry=ONCE).iterate("/api/campaigns"))
