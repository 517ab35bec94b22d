"""`diagnose`: what it prints of logs and of a profile, and its exit codes."""

import json
from pathlib import Path

import pytest

from support.diagnosis_logs import log

KEY = "pk_0123456789abcdef"


@pytest.fixture
def planted(tmp_path):
    """A log with a late event, and its path."""
    path = tmp_path / "shop.har"
    made = log(3, "late event", customers=0)
    path.write_text(json.dumps(made.har))
    return made, str(path)


def test_a_cause_is_printed(run, planted):
    """The sentence, what is assumed, and each call with what this library does with it; exit code 1."""
    made, path = planted
    status, out, err = run("diagnose", path)
    assert 1 == status
    assert "was accepted at once but applied only after call" in out.splitlines()[0]
    assert {"situation  late event", "rule       R10", "certain    no"} <= set(out.splitlines())
    assert 1 == sum(row.startswith("* ") for row in out.splitlines())
    assert len(made.calls) == out.count("through safeklaviyo: ")
    assert "taken to be empty" in err


def test_json_has_the_same(run, planted):
    """One object, for a program."""
    made, path = planted
    status, out, _ = run("diagnose", path, "--json")
    found = json.loads(out)
    assert (1, made.cause, "late event") == (status, found["cause"]["index"], found["situation"])
    assert "@" not in out


def test_no_second_profile(run, tmp_path):
    """Exit code 0, and a sentence."""
    path = tmp_path / "shop.har"
    path.write_text(json.dumps({"log": {"entries": []}}))
    status, out, _ = run("diagnose", str(path))
    assert (0, "In this log no customer gets a second profile.\n") == (status, out)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "give a LOG, or --profile ID"),
        (("missing.har",), "FileNotFoundError"),
        (("{log}", "--profile", "01A"), "--profile asks Klaviyo, and takes no logs"),
        (("{log}", "--profiles", "01A", "01B"), "do not say which customer has these profiles"),
    ],
)
def test_what_cannot_be_looked_at(run, planted, arguments, why):
    """Exit code 2, and what to do."""
    _, path = planted
    status, out, err = run("diagnose", *(each.format(log=path) for each in arguments))
    assert (2, "", True) == (status, out, why in err)


def test_skipped_entries_are_named(run, tmp_path, planted):
    """Each with its reason, and their number."""
    made, path = planted
    made.entries[0]["request"]["postData"] = {}
    Path(path).write_text(json.dumps(made.har))
    _, _, err = run("diagnose", path)
    assert "entry 0 of shop.har was skipped: its body is missing" in err
    assert "1 entries could not be used" in err


class TestProfile:
    def test_first_event_and_map(self, run, here, served, monkeypatch):
        """Its creation, its first event's program, and whose it is for the map; nothing is written."""
        simulator, url = served
        monkeypatch.setenv("KLAVIYO_API_KEY", KEY)
        body = {"data": {"type": "event", "attributes": {
            "properties": {}, "metric": {"data": {"type": "metric", "attributes": {"name": "Opened Page"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": "gil@shop.test"}}}}}}  # fmt: skip
        headers = {"authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15"}
        simulator.handle("POST", "/api/events", headers, json.dumps(body).encode())
        simulator.drain()
        made, written = simulator.find(email="gil@shop.test"), len(simulator.events)
        status, out, _ = run("diagnose", "--profile", made.id, "--base-url", url, *here)
        assert 0 == status
        assert {
            f"profile             {made.id}", "metric              Opened Page", "integration         API",
            "made by that event  yes", "identity map        no customer has its identifiers",
        } <= set(out.splitlines())  # fmt: skip
        assert written == len(simulator.events)

    def test_a_customers_ghost(self, run, here, served, monkeypatch):
        """A profile on a former address is said to be that."""
        simulator, url = served
        monkeypatch.setenv("KLAVIYO_API_KEY", KEY)
        own = simulator.add_profile(external_id="K1", email="new@shop.test")
        ghost = simulator.add_profile(email="old@shop.test")
        former = json.dumps({
            "external_id": "K1", "email": "new@shop.test", "profile_id": own.id, "former_emails": ["old@shop.test"],
        })  # fmt: skip
        path = here[1].removeprefix("sqlite:///").replace("identity.db", "rows.jsonl")
        Path(path).write_text(former + "\n")
        assert 0 == run("bindings", "import", path, *here).status
        shown = json.loads(run("diagnose", "--profile", ghost.id, "--json", "--base-url", url, *here).out)
        assert f"its email is a former one of the customer with the profile {own.id}" == shown["identity_map"]
        shown = json.loads(run("diagnose", "--profile", own.id, "--json", "--base-url", url, *here).out)
        assert ("it is the customer's own profile", None) == (shown["identity_map"], shown["metric"])

    def test_a_profile_that_is_not_there(self, run, here, served, monkeypatch):
        """Exit code 2."""
        _, url = served
        monkeypatch.setenv("KLAVIYO_API_KEY", KEY)
        status, out, err = run("diagnose", "--profile", "01NOBODY", "--base-url", url, *here)
        assert (2, "", True) == (status, out, "NotFoundError" in err)
