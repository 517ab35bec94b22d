"""`identify_many`: known customers in imports by profile id, all others as `identify` writes them."""

from __future__ import annotations

import json

import pytest

from safeklaviyo import CLEAR, BadRequestError, InvalidPropertyError, RetryPolicy
from support.scenes import asked, ours, pairs

ONCE = RetryPolicy(max_attempts=1)
PHONE = "+12345678901"


def person(who, **more):
    """Return a row about one customer."""
    return {"external_id": f"c-{who}", "email": f"c{who}@shop.test", "properties": {"points": who}} | more


@pytest.fixture
def refused():
    """What `on_refused` was told: the numbers of rows, and their errors."""
    return []


@pytest.fixture
def tell(refused):
    """An `on_refused` that keeps what it is told."""
    return lambda number, row, error: refused.append((number, row, error))


@pytest.fixture
def settings():
    """How Klaviyo is: jobs are done at once."""
    return {"queue_lag": 0.0}


@pytest.fixture
def simulator(settings):
    """A pretend Klaviyo that does its jobs as the settings say."""
    from safeklaviyo.testing import KlaviyoSimulator

    return KlaviyoSimulator(account="SiMuLa", **settings)


@pytest.fixture
def known(client):
    """A client that knows three customers."""
    k = client()
    for who in (1, 2, 3):
        k.identify(external_id=f"c-{who}", email=f"c{who}@shop.test")
    return k


def points(simulator):
    """Return each customer's points."""
    return {profile.external_id: profile.properties.get("points") for profile in simulator.profiles}


def test_known_customers_go_in_one_import_without_identifiers(known, simulator):
    """P2: by profile id; a write to a profile that exists carries no identifier."""
    simulator.journal.clear()
    report = known.identify_many(person(who) for who in (1, 2, 3))
    assert (3, 3, 0, 1) == (report.total, report.accepted, report.refused, len(report.job_ids))
    assert ["bulk_import_profiles", "get_bulk_import_profiles_job"] == asked(simulator)
    rows = ours(simulator)[0].body["data"]["attributes"]["profiles"]["data"]
    assert [{"properties": {"points": who}} for who in (1, 2, 3)] == [row["attributes"] for row in rows]
    assert {row["id"] for row in rows} == {profile.id for profile in simulator.profiles}
    assert {"c-1": 1, "c-2": 2, "c-3": 3} == points(simulator)


def test_strangers_make_first_contact(client, simulator):
    """One profile each, whatever the number of rows."""
    report = client().identify_many(person(who % 5 + 1) for who in range(50))
    assert (50, 5) == (report.accepted, len(simulator.profiles))


@pytest.mark.parametrize(
    "more", [{"properties": {"points": CLEAR}}, {"phone_number": PHONE}, {"properties": {"$city": CLEAR}}], ids=str
)
def test_what_an_import_cannot_say_goes_singly(known, simulator, more):
    """Null clears nothing there, and a phone number travels with no import (R14)."""
    known.identify({"points": 9, "$city": "Bern"}, external_id="c-1")
    simulator.journal.clear()
    assert 1 == known.identify_many([person(1, **more)]).accepted
    assert "bulk_import_profiles" not in asked(simulator)
    (profile,) = [each for each in simulator.profiles if each.external_id == "c-1"]
    shown = {"points": profile.properties.get("points"), "phone": profile.phone_number}
    assert shown in ({"points": None, "phone": None}, {"points": 1, "phone": PHONE}, {"points": 9, "phone": None})
    assert PHONE not in json.dumps([entry.body for entry in ours(simulator) if entry.endpoint == "create_profile"])


def test_lists_are_appended_to(known, simulator):
    """`append` and `unset` travel with the import."""
    known.identify({"tags": ["a"]}, external_id="c-1")
    known.identify_many([person(1, append={"tags": "b"})])
    (profile,) = [each for each in simulator.profiles if each.external_id == "c-1"]
    assert (["a", "b"], 1) == (profile.properties["tags"], profile.properties["points"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_costs_nothing(client, known, simulator, when):
    """The same values again are the same values."""
    simulator.fail_next("bulk_import_profiles", when=when)
    report = client(retry=ONCE).identify_many(person(who) for who in (1, 2, 3))
    assert (3, 0, {"c-1": 1, "c-2": 2, "c-3": 3}) == (report.accepted, report.unknown, points(simulator))


def test_after_a_lost_answer_nothing_is_appended_twice(client, known, simulator, tell, refused):
    """F-19: such a row is told as unknown, and not sent again."""
    known.identify({"tags": ["a"]}, external_id="c-1")
    simulator.fail_next("bulk_import_profiles", when="after")
    k = client(retry=ONCE)
    report = k.identify_many([person(1, append={"tags": "b"}), person(2)], on_refused=tell)
    assert (1, 1, "unknown") == (report.accepted, report.unknown, refused[0][2].outcome)
    (profile,) = [each for each in simulator.profiles if each.external_id == "c-1"]
    assert ["a", "b"] == profile.properties["tags"]


def test_a_row_that_klaviyo_refuses_later_is_told(known, simulator, tell, refused):
    """The import's errors are asked for, and say which row it was."""
    gone = known.resolve(external_id="c-2").profile_id
    simulator.fail_next(
        "get_bulk_import_profiles_job",
        status=200,
        body={
            "data": {
                "type": "profile-bulk-import-job", "id": "J", "attributes": {"status": "complete", "failed_count": 1},
            },
        },
    )  # fmt: skip
    error = {
        "code": "invalid", "title": "Invalid input.", "detail": f"quotes {gone}",
        "source": {"pointer": "/data/attributes/profiles/data/1/attributes/locale"}, "original_payload": {"email": "x"},
    }  # fmt: skip
    simulator.fail_next(
        "get_errors_for_bulk_import_profiles_job",
        status=200,
        body={"data": [{"type": "import-error", "id": "1", "attributes": error}]},
    )
    report = known.identify_many([person(1), person(2), person(3)], on_refused=tell)
    assert (2, 1) == (report.accepted, report.refused)
    ((number, row, problem),) = refused
    assert (1, "c-2", BadRequestError, "invalid") == (number, row["external_id"], type(problem), problem.code)
    assert "original_payload" not in problem.errors[0]


def failed_job(simulator, failed):
    """Let the import be done, with so many rows that failed."""
    attributes = {"status": "complete", "failed_count": failed}
    data = {"type": "profile-bulk-import-job", "id": "J", "attributes": attributes}
    simulator.fail_next("get_bulk_import_profiles_job", status=200, body={"data": data})


def failed_row(index):
    """Return one row of an import that failed, as Klaviyo lists it."""
    attributes = {"code": "invalid", "source": {"pointer": f"/data/attributes/profiles/data/{index}"}}
    return {"type": "import-error", "id": str(index), "attributes": attributes}


def test_all_pages_of_errors_are_read(known, simulator, tell, refused):
    """An import may have more errors than one page of Klaviyo's; the link's host is not followed."""
    failed_job(simulator, 2)
    link = "https://elsewhere.test/api/profile-bulk-import-jobs/J/import-errors?page%5Bcursor%5D=next"
    errors = "get_errors_for_bulk_import_profiles_job"
    simulator.fail_next(errors, status=200, body={"data": [failed_row(0)], "links": {"next": link}})
    simulator.fail_next(errors, status=200, body={"data": [failed_row(2)], "links": {"next": None}})
    report = known.identify_many([person(1), person(2), person(3)], on_refused=tell)
    assert (1, 2, [0, 2]) == (report.accepted, report.refused, [number for number, _, _ in refused])


@pytest.mark.parametrize("endpoint", ["get_bulk_import_profiles_job", "get_errors_for_bulk_import_profiles_job"])
def test_errors_that_cannot_be_read_fail_no_row(client, known, simulator, caplog, endpoint):
    """The rows were accepted, so that the call ends with its report; the log says what is not known."""
    if "errors" in endpoint:
        failed_job(simulator, 1)
    simulator.fail_next(endpoint, status=500, times=9)
    report = client(retry=ONCE).identify_many([person(1), person(2)])
    assert (2, 0) == (report.accepted, report.refused)
    assert "could not be read" in caplog.text


@pytest.mark.parametrize("settings", [{"queue_lag": 7.0}])
def test_an_import_is_waited_for(known, simulator):
    """The call returns once Klaviyo is done."""
    known.identify_many([person(1)])
    assert 1 == points(simulator)["c-1"]


@pytest.mark.parametrize("settings", [{}])
def test_an_import_that_is_never_done_is_not_waited_for_for_ever(known, simulator, caplog):
    """At most `Policy.consent_wait`; the log says so."""
    start = simulator.now()
    assert 1 == known.identify_many([person(1)]).accepted
    assert 300 <= simulator.now() - start <= 400
    assert "an import is not done yet" in caplog.text


@pytest.mark.parametrize("row", [{"colour": "red"}, 5], ids=str)
def test_one_bad_row_is_one_refused_row(known, simulator, tell, refused, row):
    """It is told with its number, and costs no other row."""
    report = known.identify_many([person(1), row, person(2)], on_refused=tell)
    assert (3, 2, [1]) == (report.total, report.accepted, [number for number, _, _ in refused])
    assert isinstance(refused[0][2], InvalidPropertyError)


def test_a_profile_that_is_too_large_is_refused(known, tell, refused):
    """100 KB a profile, as in `identify`."""
    report = known.identify_many([person(1, properties={"a": ["x" * 90_000] * 2}), person(2)], on_refused=tell)
    assert (1, [0]) == (report.accepted, [number for number, _, _ in refused])


def test_a_map_of_pairs_stays_as_it_is(known, simulator):
    """P3: an import changes nobody's identifiers."""
    before = pairs(simulator)
    known.identify_many([person(1), person(2)])
    assert before == pairs(simulator)
