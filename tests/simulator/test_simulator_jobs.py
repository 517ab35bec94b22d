"""The simulator's jobs of many: imports of profiles with their rows that fail, events, and suppressions."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings

ANN, BOB = "ann@shop.org", "bob@shop.org"
PROCESSING = quote("equals(status,'processing')")
PROFILES = "/data/attributes/profiles/data"
EVENTS = "/data/attributes/events-bulk-create/data"


def refused(answer):
    """Return where in the body the fault of a refused job is."""
    assert answer.status == 400
    (error,) = json.loads(answer.body)["errors"]
    return error["source"]["pointer"]


def row(profile_id=None, meta=None, **attributes):
    """Return one profile of a job."""
    given = {"type": "profile", "attributes": attributes}
    return given | ({} if profile_id is None else {"id": profile_id}) | ({} if meta is None else {"meta": meta})


@pytest.fixture
def load(ask):
    """Asks for an import, and returns its answer."""

    def loaded(*rows, lists=()):
        data = {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": list(rows)}}}
        if lists:
            data["relationships"] = {"lists": {"data": [{"type": "list", "id": each} for each in lists]}}
        return ask("POST", "/api/profile-bulk-import-jobs", {"data": data})

    return loaded


@pytest.fixture
def job_of(ask):
    """Returns an import as it is now, given the answer that accepted it."""

    def read(answer):
        assert answer.status == 202
        return ask.json("GET", f"/api/profile-bulk-import-jobs/{json.loads(answer.body)['data']['id']}")["data"]

    return read


class TestImports:
    def test_it_is_queued_and_done(self, simulator, load, job_of):
        """The job says how far it is; its id is opaque; the profiles come when it is done."""
        accepted = load(row(email=ANN, first_name="Ann"), row(external_id="7", email=BOB))
        first = job_of(accepted)
        assert {"queued", None, 2, 0} == {
            first["attributes"][name] for name in ("status", "started_at", "total_count", "completed_count")
        }
        assert base64.urlsafe_b64decode(first["id"] + "==").startswith(b"SiMuLa")
        assert [] == simulator.profiles
        simulator.advance(60)
        simulator.drain()
        done = job_of(accepted)["attributes"]
        assert ("complete", 2, 0, done["started_at"]) == (
            done["status"], done["completed_count"], done["failed_count"], done["completed_at"],
        )  # fmt: skip
        assert {ANN: "Ann", BOB: None} == {each.email: each.attributes.get("first_name") for each in simulator.profiles}

    def test_rows_about_one_profile_add_up(self, simulator, load):
        """A known profile is updated; null clears nothing; the rows of a batch that name one profile are one."""
        ann = simulator.add_profile(email=ANN, first_name="Ann", location={"city": "Rome"}, properties={"a": 1})
        nulls = {"first_name": None, "location": {"city": None, "zip": "1"}, "properties": {"a": None, "b": 2}}
        load(
            row(email=ANN, phone_number=None, **nulls),
            row(ann.id, last_name="Lee"),
            row(ann.id, {"patch_properties": {"append": {"tags": "vip"}}}),
        )
        simulator.drain()
        (left,) = simulator.profiles
        assert {"first_name": "Ann", "last_name": "Lee", "location": {"city": "Rome", "zip": "1"}} == left.attributes
        assert {"a": 1, "b": 2, "tags": ["vip"]} == left.properties

    def test_a_row_that_leads_to_two_profiles_fails_alone(self, simulator, ask, load, job_of):
        """Its error has the code, the place and the row as it was sent; the other rows are imported."""
        simulator.add_profile(email=ANN, external_id="1")
        simulator.add_profile(email=BOB, external_id="2")
        bad = {"email": ANN, "external_id": "2", "first_name": "Eve"}
        job = job_of(load(row(email="new@shop.org"), row(**bad), row("01NOBODY", email=BOB)))
        simulator.drain()
        done = ask.json("GET", f"/api/profile-bulk-import-jobs/{job['id']}")["data"]["attributes"]
        assert ("complete", 1, 2) == (done["status"], done["completed_count"], done["failed_count"])
        errors = ask.json("GET", f"/api/profile-bulk-import-jobs/{job['id']}/import-errors")["data"]
        assert [
            ("duplicate_profile", f"{PROFILES}/1/attributes", bad),
            ("not_found", f"{PROFILES}/2", {"email": BOB}),
        ] == [
            (
                each["attributes"]["code"],
                each["attributes"]["source"]["pointer"],
                each["attributes"]["original_payload"],
            )
            for each in errors
        ]
        page = ask.json("GET", f"/api/profile-bulk-import-jobs/{job['id']}/import-errors?page[size]=1")
        assert (1, True) == (len(page["data"]), page["links"]["next"] is not None)

    def test_it_fills_lists(self, simulator, ask, load, job_of):
        """The profiles join the lists, without a consent; the job names them, and what it wrote."""
        news = simulator.add_list("News", opt_in_process="double_opt_in")
        job = f"/api/profile-bulk-import-jobs/{job_of(load(row(email=ANN), row(email=ANN), lists=[news]))['id']}"
        simulator.drain()
        (ann,) = simulator.members(news)
        assert "NEVER_SUBSCRIBED" == ann.consent
        assert [ann.id] == [each["id"] for each in ask.json("GET", f"{job}/profiles")["data"]]
        assert [{"type": "profile", "id": ann.id}] == ask.json("GET", f"{job}/relationships/profiles")["data"]
        assert [news] == [each["id"] for each in ask.json("GET", f"{job}/lists")["data"]]
        assert [{"type": "list", "id": news}] == ask.json("GET", f"{job}/relationships/lists")["data"]
        shown = ask.json("GET", f"{job}?include=lists")
        assert [news] == [each["id"] for each in shown["included"]]
        assert [{"type": "list", "id": news}] == shown["data"]["relationships"]["lists"]["data"]
        ask("DELETE", f"/api/lists/{news}")
        assert [] == ask.json("GET", f"{job}/lists")["data"] == ask.json("GET", f"{job}?include=lists")["included"]

    def test_jobs_are_listed_by_status(self, simulator, ask, load):
        """Those that wait, and those that are done."""
        load(row(email=ANN))
        simulator.drain()
        simulator.advance(1)
        load(row(email=BOB))
        path = "/api/profile-bulk-import-jobs?sort=-created_at"
        assert ["queued", "complete"] == [each["attributes"]["status"] for each in ask.json("GET", path)["data"]]
        text = quote('any(status,["complete","cancelled"])')
        assert 1 == len(ask.json("GET", f"{path}&filter={text}")["data"])

    @pytest.mark.parametrize(
        ("bad", "where"),
        [
            (row(email="nobody"), "/1/attributes/email"),
            (row(), "/1/attributes"),
            (row(email=ANN, emial=ANN), "/1/attributes/emial"),
            ({"type": "person"}, "/1/type"),
            (row(email=ANN, properties={"x": ["y" * 99_000, "z" * 2_000]}), "/1"),
            (7, "/1"),
        ],
    )
    def test_a_malformed_row_refuses_the_job(self, simulator, load, bad, where):
        """The pointer has the row's number, and nothing is accepted."""
        assert f"{PROFILES}{where}" == refused(load(row(email=ANN), bad))
        assert [] == simulator.pending

    def test_sizes_and_lists(self, load):
        """1 to 10,000 rows; known lists."""
        assert PROFILES == refused(load()) == refused(load(*[row(email=ANN)] * 10_001))
        assert "/data/relationships/lists/data/0/id" == refused(load(row(email=ANN), lists=["NoList"]))

    def test_an_unknown_job(self, ask):
        """A job of another kind is not found either."""
        ask.suppress(ANN)
        other = ask.json("GET", "/api/profile-suppression-bulk-create-jobs")["data"][0]["id"]
        assert ask("GET", f"/api/profile-bulk-import-jobs/{other}").status == 404
        assert ask("GET", "/api/profile-bulk-import-jobs/x/import-errors").status == 404


class TestSuppressions:
    def test_they_can_be_asked_for(self, simulator, ask):
        """By id and by list: what is processing, and what is complete with how many."""
        news = simulator.add_list("News")
        simulator.submit_form(email=ANN, list_id=news)
        ask.suppress(BOB)
        ask.suppress(list_id=news)
        ask.suppress(ANN, BOB, "eve@shop.org", lifts=True)
        create, delete = ("/api/profile-suppression-bulk-create-jobs", "/api/profile-suppression-bulk-delete-jobs")
        both = ask.json("GET", f"{create}?filter={PROCESSING}")["data"]
        assert 2 == len(both)
        simulator.drain()
        wanted = quote(f"equals(list_id,'{news}')")
        (one,) = ask.json("GET", f"{create}?filter={wanted}")["data"]
        job = ask.json("GET", f"{create}/{one['id']}")["data"]
        assert ("complete", 1, 1, 0) == tuple(
            job["attributes"][name] for name in ("status", "total_count", "completed_count", "skipped_count")
        )
        assert [{"type": "list", "id": news}] == job["relationships"]["lists"]["data"]
        (lifted,) = ask.json("GET", delete)["data"]
        assert (3, 2, 1) == tuple(
            lifted["attributes"][name] for name in ("total_count", "completed_count", "skipped_count")
        )
        assert ask("GET", f"{delete}/{lifted['id']}").status == 200
        assert ask("GET", f"{delete}/{one['id']}").status == 404


def event(name="Ordered", **attributes):
    """Return one event of a job."""
    metric = {"data": {"type": "metric", "attributes": {"name": name}}}
    return {"type": "event", "attributes": {"properties": {}, "metric": metric, **attributes}}


def group(*events, profile_id=None, meta=None, backfill=None, **who):
    """Return the events of one profile."""
    attributes = {"profile": {"data": row(profile_id, meta, **who)}, "events": {"data": list(events)}}
    more = {} if backfill is None else {"backfill": backfill}
    return {"type": "event-bulk-create", "attributes": attributes | more}


def send(ask, *groups):
    """Ask for a job of events."""
    attributes = {"events-bulk-create": {"data": list(groups)}}
    return ask(
        "POST", "/api/event-bulk-create-jobs", {"data": {"type": "event-bulk-create-job", "attributes": attributes}}
    )


class TestEvents:
    def test_they_are_recorded(self, simulator, ask):
        """The answer is empty; each group's events go to its profile, which is written once; null clears nothing."""
        ann = simulator.add_profile(email=ANN, first_name="Ann", external_id="7")
        patch = {"patch_properties": {"append": {"tags": "vip"}}}
        answer = send(
            ask,
            group(
                event("A", unique_id="1"), event("B", value=2), email=ANN, external_id=None, first_name=None, meta=patch
            ),
            group(event("A", unique_id="1"), profile_id=ann.id),
            group(event("C", time="2026-01-01T00:00:00Z"), email=BOB, backfill=True),
        )
        assert (202, b"") == (answer.status, answer.body)
        assert ["bulk_create_events"] == simulator.pending
        simulator.drain()
        bob = simulator.find(email=BOB)
        assert [(ann.id, "A", False), (ann.id, "B", False), (bob.id, "C", True)] == [
            (each.profile_id, each.metric, each.backfill) for each in simulator.events
        ]
        assert ["1"] == [each.unique_id for each in simulator.deduplicated]
        left = simulator.find(email=ANN)
        assert ("7", {"first_name": "Ann"}, {"tags": ["vip"]}) == (left.external_id, left.attributes, left.properties)

    @pytest.mark.parametrize(
        ("reading", "where"),
        [
            ("dropped", None),
            ("refused", f"{EVENTS}/1/attributes/events/data/1/attributes/unique_id"),
            ("refused_without_pointer", "/data"),
        ],
    )
    @pytest.mark.parametrize("before", ["recorded", "queued", "queued job", "same job"])
    def test_a_repeated_unique_id(self, asking, reading, where, before):
        """The job is refused whole, with a pointer or without, or the event is dropped when the job is done."""
        simulator = KlaviyoSimulator(Readings(bulk_repeats=reading))
        ask = asking(simulator)
        simulator.add_profile(email=ANN)
        same = before == "same job"
        if before == "queued job":
            send(ask, group(event(unique_id="u"), email=ANN))
        elif not same:
            ask.event("Ordered", email=ANN, unique_id="u")
        if before == "recorded":
            simulator.drain()
        first = group(event(unique_id="u" if same else "v"), email=ANN)
        answer = send(ask, first, group(event(), event(unique_id="u"), email=ANN))
        simulator.drain()
        if where is None:
            assert (202, ["u"]) == (answer.status, [each.unique_id for each in simulator.deduplicated])
        else:
            assert where == refused(answer)
            assert [] == simulator.deduplicated

    def test_others_repeat_nothing(self, asking):
        """Another metric, another person, and events without a unique id are no repetitions."""
        ask = asking(KlaviyoSimulator(Readings(bulk_repeats="refused")))
        events = [event("A", unique_id="u"), event("B", unique_id="u"), event("A"), event("A")]
        assert send(ask, group(*events, email=ANN), group(event("A", unique_id="u"), email=BOB)).status == 202

    @pytest.mark.parametrize(
        ("bad", "where"),
        [
            (group(event(), event(time="soon"), email=ANN), "/1/attributes/events/data/1/attributes/time"),
            (group(event(value="7"), email=ANN), "/1/attributes/events/data/0/attributes/value"),
            (group(event(""), email=ANN), "/1/attributes/events/data/0/attributes/metric/data/attributes/name"),
            (group(event(color="red"), email=ANN), "/1/attributes/events/data/0/attributes/color"),
            (group({"type": "event"}, email=ANN), "/1/attributes/events/data/0/attributes/properties"),
            (group(event(), email="x"), "/1/attributes/profile/data/attributes/email"),
            (group(event()), "/1/attributes/profile/data/attributes"),
            (group(email=ANN), "/1/attributes/events/data"),
            ({"attributes": {}}, "/1/attributes/profile"),
            (group(*[event()] * 1000, email=ANN), ""),
        ],
    )
    def test_a_malformed_event_refuses_the_job(self, simulator, ask, bad, where):
        """The pointer has the numbers of the group and of the event; nothing is accepted."""
        assert f"{EVENTS}{where}" == refused(send(ask, group(event(), email=ANN), bad))
        assert [] == simulator.pending

    def test_sizes(self, ask):
        """1 to 1,000 events, however they are grouped; one more, or none, is refused."""
        assert EVENTS == refused(send(ask))
        assert send(ask, group(*[event()] * 600, email=ANN), group(*[event()] * 400, email=BOB)).status == 202
        assert EVENTS == refused(send(ask, group(*[event()] * 600, email=ANN), group(*[event()] * 401, email=BOB)))


class TestReadingEvents:
    @pytest.fixture
    def ann(self, simulator, ask):
        """A profile with three events of two metrics, and another profile with one."""
        ask.event("A", email=ANN, time="2026-01-01T02:00:00+02:00", unique_id="1", value=5)
        ask.event("B", email=ANN, time="2026-01-03T00:00:00Z")
        ask.event("A", email=ANN, time="2026-01-02T00:00:00Z")
        ask.event("A", email=BOB, time="2026-01-04T00:00:00Z", value=None)
        simulator.drain()
        return simulator.find(email=ANN).id

    def metrics(self, ask):
        """Return the ids of the metrics by name."""
        return {each["attributes"]["name"]: each["id"] for each in ask.json("GET", "/api/metrics")["data"]}

    def days(self, ask, text="", query=""):
        """Return the days of the events found, in order."""
        found = ask.json("GET", f"/api/events?filter={quote(text)}&{query}" if text else f"/api/events?{query}")
        return [int(each["attributes"]["datetime"][8:10]) for each in found["data"]]

    def test_filters(self, ask, ann):
        """By profile, metric, and time in two forms; joined by commas; has() describes all of them."""
        metric = self.metrics(ask)["A"]
        for text, expected in (
            (f"equals(profile_id,'{ann}')", [1, 2, 3]),
            (f'equals(metric_id,"{metric}"),equals(profile_id,"{ann}")', [1, 2]),
            ("greater-or-equal(datetime,2026-01-02),less-than(datetime,2026-01-04T00:00:00Z)", [2, 3]),
            ("greater-than(timestamp,1767312000),less-or-equal(timestamp,1767484800)", [3, 4]),
            ("and(has(profile),has(metric))", [1, 2, 3, 4]),
            ('equals(metric_id,"x")', []),
        ):
            assert expected == self.days(ask, text)
        for text in (
            'equals(datetime,"2026-01-01")',
            "greater-than(timestamp,soon)",
            'any(metric_id,["x"])',
            "has(id)",
        ):
            assert ask("GET", f"/api/events?filter={quote(text)}").status == 400

    def test_order_and_pages(self, ask, ann):
        """The oldest first, unless it is asked otherwise; 200 a page, at most 1,000."""
        assert [1, 2, 3, 4] == self.days(ask)
        assert [4, 3, 2, 1] == self.days(ask, query="sort=-datetime")
        assert [4, 3] == self.days(ask, query="sort=-timestamp&page[size]=2")
        assert ask.json("GET", "/api/events?page[size]=2")["links"]["next"]
        assert ask("GET", "/api/events?page[size]=1000").status == 200
        assert ask("GET", "/api/events?page[size]=1001").status == 400
        assert ask("GET", "/api/events?sort=name").status == 400

    def test_what_an_event_shows(self, ask, ann):
        """Its ids, its time in two forms, its value, which is 0 where the metric has had values, and its relations."""
        first, second, third, _ = ask.json("GET", "/api/events")["data"]
        assert (11, 1767225600, "2026-01-01T00:00:00+00:00") == (
            len(first["id"]), first["attributes"]["timestamp"], first["attributes"]["datetime"],
        )  # fmt: skip
        assert {"$event_id": "1", "$value": 5} == first["attributes"]["event_properties"]
        assert 0 == second["attributes"]["event_properties"]["$value"]
        assert "$value" not in third["attributes"]["event_properties"]
        related = first["relationships"]
        assert {"type": "profile", "id": ann} == related["profile"]["data"]
        assert {"type": "metric", "id": self.metrics(ask)["A"]} == related["metric"]["data"]
        assert f"https://a.klaviyo.com/api/events/{first['id']}/" == first["links"]["self"]
        assert f"{first['links']['self']}metric/" == related["metric"]["links"]["related"]

    def test_what_is_included(self, ask, ann):
        """Each metric and each profile once, with the fields that are asked for."""
        query = "include=profile,metric,attributions&fields[profile]=email&fields[event]=datetime&fields[metric]=name"
        shown = ask.json("GET", f"/api/events?{query}")
        assert [{"datetime"}] * 4 == [set(each["attributes"]) for each in shown["data"]]
        included = {(each["type"], *each["attributes"].values()) for each in shown["included"]}
        assert {("profile", ANN), ("profile", BOB), ("metric", "A"), ("metric", "B")} == included
        assert 4 == len(shown["included"])
        assert [] == shown["data"][0]["relationships"]["attributions"]["data"]
        assert "included" not in ask.json("GET", "/api/events")
        assert ask("GET", "/api/events?include=list").status == 400

    def test_one_event(self, ask, ann):
        """By its id, with its metric and its profile besides; a malformed id answers 400, not 404."""
        event_id = ask.json("GET", "/api/events")["data"][0]["id"]
        path = f"/api/events/{event_id}"
        assert event_id == ask.json("GET", f"{path}?include=metric")["data"]["id"]
        assert "A" == ask.json("GET", f"{path}/metric")["data"]["attributes"]["name"]
        assert {"type": "metric", "id": self.metrics(ask)["A"]} == ask.json("GET", f"{path}/relationships/metric")[
            "data"
        ]
        assert ANN == ask.json("GET", f"{path}/profile")["data"]["attributes"]["email"]
        assert {"type": "profile", "id": ann} == ask.json("GET", f"{path}/relationships/profile")["data"]
        assert "/data/id" == refused(ask("GET", "/api/events/NOPE01"))
        assert ask("GET", "/api/events/aaaaaaaaaaa").status == 404

    def test_metrics(self, simulator, ask, ann):
        """One for each name, with where it comes from; an unknown one is not found."""
        assert {"A", "B"} == set(self.metrics(ask))
        one = ask.json("GET", f"/api/metrics/{self.metrics(ask)['A']}")["data"]
        assert ("A", "API") == (one["attributes"]["name"], one["attributes"]["integration"]["name"])
        assert ask("GET", "/api/metrics/nope").status == 404
        ask.merge(simulator.find(email=BOB).id, ann)
        simulator.drain()
        text = quote("equals(integration.name,'Klaviyo')")
        own = ask.json("GET", f"/api/metrics?filter={text}")["data"]
        assert ["Merged Profile"] == [each["attributes"]["name"] for each in own]
