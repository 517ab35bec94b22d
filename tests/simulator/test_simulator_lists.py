"""The simulator's lists: reading and changing them, who is in them, and how often they may be asked."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from safeklaviyo.testing import KlaviyoSimulator

ANN, BOB = "ann@shop.org", "bob@shop.org"
OLD, PROCESS = 'equals(name,"Old")', 'equals(opt_in_process,"x")'


@pytest.fixture
def news(simulator):
    """A list."""
    return simulator.add_list("News", opt_in_process="double_opt_in")


def members_of(ask, list_id, query=""):
    """Return the addresses that a list shows."""
    return [row["attributes"]["email"] for row in ask.json("GET", f"/api/lists/{list_id}/profiles{query}")["data"]]


class TestLists:
    def test_one_is_read(self, simulator, ask, news):
        """A list says its name and its opt-in process, and how many it has if that is asked for."""
        found = ask.json("GET", f"/api/lists/{news}")["data"]
        assert ("list", news, "News", "double_opt_in") == (
            found["type"], found["id"], found["attributes"]["name"], found["attributes"]["opt_in_process"],
        )  # fmt: skip
        assert "profile_count" not in found["attributes"]
        simulator.submit_form(email=ANN)
        ask("POST", f"/api/lists/{news}/relationships/profiles", joining(simulator, ANN))
        counted = ask.json("GET", f"/api/lists/{news}?additional-fields[list]=profile_count&fields[list]=name")["data"]
        assert {"name": "News", "profile_count": 1} == counted["attributes"]

    def test_an_unknown_one(self, ask):
        """An unknown list answers 404 in Klaviyo's words, wherever it is named."""
        for method, path in (
            ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/profiles"), ("GET", "/relationships/profiles"),
            ("POST", "/relationships/profiles"), ("DELETE", "/relationships/profiles"),
        ):  # fmt: skip
            body = {"data": {"type": "list", "id": "NoList", "attributes": {}}}
            answer = ask(method, f"/api/lists/NoList{path}", body if method == "PATCH" else None)
            assert answer.status == 404
            assert "A list with id `NoList` does not exist." == json.loads(answer.body)["errors"][0]["detail"]

    def test_ten_a_page(self, simulator, ask):
        """A page has at most ten lists, in the order of creation, and links to the next."""
        made = []
        for number in range(12):
            made.append(simulator.add_list(f"List {number:02}"))
            simulator.advance(1)
        page = ask.json("GET", "/api/lists")
        assert made[:10] == [row["id"] for row in page["data"]]
        rest = ask.json("GET", page["links"]["next"].removeprefix("https://a.klaviyo.com"))
        assert made[10:] == [row["id"] for row in rest["data"]]
        assert ask("GET", "/api/lists?page[size]=11").status == 400
        backwards = ask.json("GET", "/api/lists?sort=-name&page[size]=1")
        assert "List 11" == backwards["data"][0]["attributes"]["name"]
        # The link keeps what was asked for.
        following = ask.json("GET", backwards["links"]["next"].removeprefix("https://a.klaviyo.com"))
        assert ["List 10"] == [row["attributes"]["name"] for row in following["data"]]

    def test_they_are_searched(self, ask, news):
        """By name and by id, in quotes of either kind."""
        for text in ("equals(name,'News')", f'any(id,["{news}","x"])', "greater-than(created,2020-01-01)"):
            assert [news] == [row["id"] for row in ask.json("GET", f"/api/lists?filter={quote(text)}")["data"]]
        assert [] == ask.json("GET", f"/api/lists?filter={quote(OLD)}")["data"]
        assert ask("GET", f"/api/lists?filter={quote(PROCESS)}").status == 400

    def test_they_are_made_changed_and_deleted(self, simulator, ask):
        """A list is created by name, renamed, and deleted with its memberships."""
        body = {"data": {"type": "list", "attributes": {"name": "VIP", "opt_in_process": "single_opt_in"}}}
        answer = ask("POST", "/api/lists", body)
        made = json.loads(answer.body)["data"]
        assert (201, "single_opt_in") == (answer.status, made["attributes"]["opt_in_process"])
        body["data"] |= {"id": made["id"], "attributes": {"name": "Very"}}
        changed = ask.json("PATCH", f"/api/lists/{made['id']}", body)["data"]["attributes"]
        assert ("Very", "single_opt_in") == (changed["name"], changed["opt_in_process"])
        simulator.submit_form(email=ANN, list_id=made["id"])
        assert ask("DELETE", f"/api/lists/{made['id']}").status == 204
        assert ([], [], 1) == (simulator.lists, simulator.members(made["id"]), len(simulator.profiles))
        assert [] == ask.json("GET", f"/api/profiles/{simulator.find(email=ANN).id}/lists")["data"]
        assert made["id"] != simulator.add_list("New")

    @pytest.mark.parametrize(
        ("attributes", "where"),
        [({}, "name"), ({"name": 7}, "name"), ({"name": "A", "opt_in_process": "none"}, "opt_in_process")],
    )
    def test_a_malformed_one_is_refused(self, ask, attributes, where):
        """A list has a name, and one of two processes."""
        answer = ask("POST", "/api/lists", {"data": {"type": "list", "attributes": attributes}})
        assert answer.status == 400
        assert f"/data/attributes/{where}" == json.loads(answer.body)["errors"][0]["source"]["pointer"]

    def test_the_id_of_a_change_is_the_paths(self, ask, news):
        """As with profiles."""
        assert ask("PATCH", f"/api/lists/{news}", {"data": {"type": "list", "id": "x", "attributes": {}}}).status == 400


def joining(simulator, *emails):
    """Return the body that names profiles."""
    return {"data": [{"type": "profile", "id": simulator.find(email=email).id} for email in emails]}


class TestMembers:
    @pytest.fixture
    def both(self, simulator, ask, news):
        """Two profiles in the list, ten seconds apart."""
        for email in (ANN, BOB):
            simulator.add_profile(email=email, phone_number="+12025550123" if email == ANN else None)
            assert ask("POST", f"/api/lists/{news}/relationships/profiles", joining(simulator, email)).status == 204
            simulator.advance(10)

    def test_joining_changes_no_consent(self, simulator, ask, news, both):
        """Both are in the list and never subscribed; double opt-in is not asked for."""
        assert [ANN, BOB] == members_of(ask, news)
        assert {"NEVER_SUBSCRIBED"} == {profile.consent for profile in simulator.profiles}
        with pytest.raises(LookupError):
            simulator.confirm_opt_in(ANN)

    def test_leaving(self, simulator, ask, news, both):
        """A profile that leaves is there no more; it may leave twice."""
        for _ in range(2):
            answer = ask("DELETE", f"/api/lists/{news}/relationships/profiles", joining(simulator, ANN))
            assert (204, b"") == (answer.status, answer.body)
        assert [BOB] == members_of(ask, news)

    def test_unknown_profiles_are_refused(self, simulator, ask, news):
        """One unknown id refuses the whole request."""
        simulator.add_profile(email=ANN)
        body = joining(simulator, ANN)
        body["data"].append({"type": "profile", "id": "01NOBODY"})
        answer = ask("POST", f"/api/lists/{news}/relationships/profiles", body)
        assert (400, "Invalid profile IDs: 01NOBODY") == (
            answer.status, json.loads(answer.body)["errors"][0]["detail"],
        )  # fmt: skip
        assert [] == members_of(ask, news)

    @pytest.mark.parametrize("body", [None, {"data": []}, {"data": {}}, [], {"data": [7]}])
    def test_malformed_bodies_are_refused(self, ask, news, body):
        """The body has a list of 1 to 1,000 profiles."""
        assert ask("POST", f"/api/lists/{news}/relationships/profiles", body).status == 400
        many = {"data": [{"type": "profile", "id": str(number)} for number in range(1001)]}
        assert ask("POST", f"/api/lists/{news}/relationships/profiles", many).status == 400

    def test_they_are_filtered(self, simulator, ask, news, both):
        """By address, number and time of joining; each row says when it joined."""
        start = simulator.now() - 20
        rows = ask.json("GET", f"/api/lists/{news}/profiles?sort=-joined_group_at")["data"]
        assert [BOB, ANN] == [row["attributes"]["email"] for row in rows]
        joined = rows[1]["attributes"]["joined_group_at"]
        for text, expected in (
            (f'equals(email,"{ANN}")', [ANN]),
            ('any(phone_number,["+12025550123"])', [ANN]),
            (f"greater-than(joined_group_at,{joined})", [BOB]),
            (f"less-or-equal(joined_group_at,{joined}),equals(email,'{ANN}')", [ANN]),
            ('equals(email,"nobody@shop.org")', []),
        ):
            assert expected == members_of(ask, news, f"?filter={quote(text)}")
        assert start == simulator.find(email=ANN).created

    def test_ids_alone(self, simulator, ask, news, both):
        """The relationship shows types and ids, a page at a time."""
        page = ask.json("GET", f"/api/lists/{news}/relationships/profiles?page[size]=1")
        assert [{"type": "profile", "id": simulator.find(email=ANN).id}] == page["data"]
        assert page["links"]["next"]

    def test_a_profile_shows_its_lists(self, simulator, ask, news, both):
        """As a relationship, as resources, and included with the profile."""
        ann = simulator.find(email=ANN).id
        assert [news] == [row["id"] for row in ask.json("GET", f"/api/profiles/{ann}/lists")["data"]]
        assert [{"type": "list", "id": news}] == ask.json("GET", f"/api/profiles/{ann}/relationships/lists")["data"]
        shown = ask.json("GET", f"/api/profiles/{ann}?include=lists,segments&fields[list]=name")
        assert [{"type": "list", "id": news}] == shown["data"]["relationships"]["lists"]["data"]
        assert [] == shown["data"]["relationships"]["segments"]["data"]
        assert [{"name": "News"}] == [each["attributes"] for each in shown["included"]]
        assert "included" not in ask.json("GET", f"/api/profiles/{ann}")

    def test_the_costly_reads_are_counted_apart(self, asking):
        """A profile with its lists, and a list with its size, are allowed once a second; without, 75 times."""
        simulator = KlaviyoSimulator(rate_limits=True, start=1_800_000_000)
        ask, news, ann = asking(simulator), simulator.add_list("News"), simulator.add_profile(email=ANN).id
        for path in (f"/api/profiles/{ann}?include=lists", f"/api/lists/{news}?additional-fields[list]=profile_count"):
            assert [200, 429] == [ask("GET", path).status for _ in range(2)]
            assert "75, 75;w=1, 750;w=60" == ask("GET", path.partition("?")[0]).headers["ratelimit-limit"]
