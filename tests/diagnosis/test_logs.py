"""How logs are read: HAR, decision logs, a shop's own lines; what cannot be used is said, and nothing else is kept."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import ConfigurationError
from safeklaviyo.audit import Diagnosis, diagnose
from support.diagnosis_logs import FAULTS, JSON, entry, log, read

if TYPE_CHECKING:
    from pathlib import Path

ADA = "ada@shop.test"
START = 1_760_000_000.0


def body_of(path: str, **who: Any) -> JSON:
    """Return the body of a call that names one person."""
    if path.partition("?")[0].endswith("events"):
        attributes = {
            "properties": {},
            "metric": {"data": {"type": "metric", "attributes": {"name": "Paid"}}},
            "profile": {"data": {"type": "profile", "attributes": who}},
        }
        return {"data": {"type": "event", "attributes": attributes}}
    return {"data": {"type": "profile", "attributes": who}}


def called(seconds: float, path: str, **who: Any) -> JSON:
    """Return an entry of a HAR."""
    return entry(START + seconds, "POST", path, body_of(path, **who), (202, b""))


SITUATION_6 = [
    called(0, "/api/events", external_id="7"),
    called(900, "/api/events", email=ADA),
    entry(START + 1800, "POST", "/api/profile-import", body_of("/api/profile-import", external_id="7", email=ADA), (
        409, b'{"errors":[{"code":"duplicate_profile","meta":{}}]}')),
]  # fmt: skip


def saved(tmp_path: Path, entries: list[JSON], name: str = "shop.har") -> Path:
    """Write a HAR."""
    path = tmp_path / name
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return path


def rows(tmp_path: Path, lines: list[JSON], name: str = "shop.jsonl") -> Path:
    """Write JSON lines."""
    path = tmp_path / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def indexes(found: Diagnosis) -> list[int]:
    """Return the places of the calls of a cause."""
    return [call.index for call in found.calls]


class TestHar:
    def test_other_hosts_are_passed_over(self, tmp_path: Path) -> None:
        """What a browser asks of other hosts is no call to Klaviyo, and not counted; the place in the log stays."""
        other = called(0, "/api/events", external_id="8")
        other["request"]["url"] = "https://shop.test/api/events"
        found = diagnose(saved(tmp_path, [other, *SITUATION_6]))
        assert ([1, 2], 0) == (indexes(found), found.skipped)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda posted: posted.pop("text"), "its body is missing"),
            (lambda posted: posted.update(text=posted["text"][:-9]), "its body is cut off, or no JSON"),
            (lambda posted: posted.update(text="\ufffd\ufffd"), "its body is compressed, and the log has spoilt it"),
            (lambda posted: posted.update(text='{"data": 1}'), "its body is not what the endpoint takes"),
        ],
    )
    def test_a_body_that_cannot_be_read_is_said(self, tmp_path: Path, change: Any, reason: str) -> None:
        """It is counted, its reason is said, and a cause beside it is not certain."""
        broken = called(100, "/api/events", email="bea@shop.test")
        change(broken["request"]["postData"])
        if "compressed" in reason:
            broken["request"]["headers"] = [{"name": "Content-Encoding", "value": "gzip"}]
        found = diagnose(saved(tmp_path, [SITUATION_6[0], broken, *SITUATION_6[1:]]))
        assert (1, [reason]) == (found.skipped, [each.reason for each in found.entries])
        assert ("6", False) == (found.situation, found.certain)

    def test_a_compressed_body_is_read(self, tmp_path: Path) -> None:
        """Where the log has kept its bytes."""
        packed = json.loads(json.dumps(SITUATION_6))
        posted = packed[0]["request"]["postData"]
        posted.update(text=base64.b64encode(gzip.compress(posted["text"].encode())).decode(), encoding="base64")
        found = diagnose(saved(tmp_path, packed))
        assert ([0, 1], 0, True) == (indexes(found), found.skipped, found.certain)

    def test_another_accounts_calls_are_not_mixed_in(self, tmp_path: Path) -> None:
        """Of several accounts the one with most calls is taken, and the others' calls are counted."""
        entries = json.loads(json.dumps([*SITUATION_6, called(1000, "/api/events", external_id="7", email=ADA)]))
        for number, each in enumerate(entries):
            account = "OtHeRs" if number == 3 else "SiMuLa"
            each["response"]["headers"] = [{"name": "cid", "value": account}]
        found = diagnose(saved(tmp_path, entries))
        assert (["it is another account's"], True) == ([each.reason for each in found.entries], found.certain)

    def test_no_header_is_kept(self, tmp_path: Path) -> None:
        """A key that a log holds is in nothing that comes of it."""
        secret = json.loads(json.dumps(SITUATION_6))
        for each in secret:
            each["request"]["headers"] = [{"name": "Authorization", "value": "Klaviyo-API-Key pk_topsecret"}]
        found = diagnose(saved(tmp_path, secret))
        shown = found.to_json() + repr(found) + repr(found.calls) + repr(found.calls[0].account)
        assert ("6", False, False) == (found.situation, "pk_topsecret" in shown, ADA in shown)

    def test_no_path_shows_an_address(self, tmp_path: Path) -> None:
        """Also where a shop has put one in the place of an id."""
        odd = json.loads(json.dumps([*SITUATION_6, called(2000, "/api/events", email=ADA)]))
        odd[3]["request"].update(method="GET", url=f"https://a.klaviyo.com/api/profiles/{ADA}")
        (tmp_path / "odd.har").write_text(json.dumps({"log": {"entries": odd}}))
        assert "/api/profiles/{id}" == read([tmp_path / "odd.har"]).calls[-1].path

    def test_retired_calls_are_read(self, tmp_path: Path) -> None:
        """Of all forms: JSON, a form, base64 in the query."""
        said = [
            {"token": "SiMuLa", "event": "Paid", "customer_properties": {"$id": "7"}},
            {"token": "SiMuLa", "event": "Paid", "customer_properties": {"$email": ADA}},
            {"token": "SiMuLa", "properties": {"$id": "7", "$email": ADA}},
        ]
        packed = base64.b64encode(json.dumps(said[1]).encode()).decode()
        entries = [
            entry(START, "POST", "/api/track", None, (200, b"1")),
            entry(START + 900, "GET", f"/api/track?data={packed}", None, (200, b"1")),
            entry(START + 1800, "POST", "/api/identify", said[2], (200, b"0")),
        ]
        entries[0]["request"]["postData"] = {"params": [{"name": "data", "value": json.dumps(said[0])}]}
        found = diagnose(saved(tmp_path, entries))
        assert ([0, 1], "6") == (indexes(found), found.situation)

    def test_no_log_is_said(self, tmp_path: Path) -> None:
        """A file in another format is refused with a sentence that names it."""
        path = tmp_path / "shop.txt"
        path.write_text("<html></html>")
        with pytest.raises(ConfigurationError, match=r"shop\.txt is no HAR"):
            diagnose(path)
        with pytest.raises(ConfigurationError, match="format is one of"):
            diagnose(path, format="csv")
        with pytest.raises(ConfigurationError, match="at least one log"):
            diagnose()


class TestSeveralLogs:
    def test_are_put_together_by_time(self, tmp_path: Path) -> None:
        """A backend's and a browser's calls are one history, each log corrected by the clock of Klaviyo's answers."""
        backend = [SITUATION_6[0], SITUATION_6[2]]
        # The browser's clock is an hour ahead, so that its call seems to be the last one.
        browser = json.loads(json.dumps([called(900 + 3600, "/client/events?company_id=SiMuLa", email=ADA)]))
        browser[0]["response"]["headers"] = [{"name": "Date", "value": "Thu, 09 Oct 2025 09:08:20 GMT"}]
        found = diagnose(saved(tmp_path, backend, "backend.har"), saved(tmp_path, browser, "browser.har"))
        assert [("backend.har", 0), ("browser.har", 0)] == [(call.source, call.index) for call in found.calls]
        assert "browser.har: its clock was 3599.6 s ahead of Klaviyo's; its times were corrected by that" in found.notes
        assert any(note.startswith("backend.har: how far its clock") for note in found.notes)


class TestLines:
    def test_a_shops_own_log(self, tmp_path: Path) -> None:
        """Plain identifiers, in the published form."""
        found = diagnose(rows(tmp_path, [
            {"v": 1, "at": "2026-11-01T10:00:00Z", "method": "POST", "path": "/api/events", "status": 202,
             "people": [{"external_id": {"value": "7"}}]},
            {"v": 1, "at": "2026-11-01T10:20:00Z", "method": "POST", "path": "/api/events", "status": 202,
             "people": [{"email": {"value": ADA}}]},
            {"v": 1, "at": "2026-11-01T10:40:00Z", "method": "POST", "path": "/api/profile-import", "status": 409,
             "people": [{"external_id": {"value": "7"}, "email": {"value": ADA}}],
             "answer": {"code": "duplicate_profile"}},
        ]))  # fmt: skip
        assert ([0, 1], "6", True) == (indexes(found), found.situation, found.certain)

    def test_bodies_as_they_were(self, tmp_path: Path) -> None:
        """A shop may log the bodies in place of the people."""
        lines = [
            {"method": each["request"]["method"], "path": each["request"]["url"].removeprefix("https://a.klaviyo.com"),
             "at": each["startedDateTime"], "status": each["response"]["status"],
             "request": json.loads(each["request"]["postData"]["text"]),
             "response": each["response"]["content"]["text"]}
            for each in SITUATION_6
        ]  # fmt: skip
        found = diagnose(rows(tmp_path, lines))
        assert ([0, 1], "6", True) == (indexes(found), found.situation, found.certain)

    @pytest.mark.parametrize("kind", ["5", "6", "late event", "race", "put back", "shared phone", "browser"])
    def test_hashes_tell_as_much_as_identifiers(self, tmp_path: Path, kind: str) -> None:
        """A decision log, which holds no identifier, leads to the same cause as the HAR of the same day."""
        planted = log(3, kind, customers=1, calls=2)
        found = diagnose(rows(tmp_path, [line(each) for each in planted.har["log"]["entries"]]))
        assert found.cause is not None
        assert (planted.cause, planted.certain, len(found.calls)) == (
            found.cause.index, found.certain, len(found.prevented)
        )  # fmt: skip

    def test_lines_that_cannot_be_used_are_said(self, tmp_path: Path) -> None:
        """Each with its reason; an empty line is none."""
        path = tmp_path / "shop.jsonl"
        path.write_text(
            '{"v": 1, "method": "GET", "path": "/api/metrics"}\n\n{"v": 2}\n{"v": 1, "pa\n[]\n{"v": 1}\n'
            '{"v": 1, "method": "POST", "path": "/api/events", "people": []}\n'
            '{"v": 1, "method": "POST", "path": "/api/events", "mode": "enforce", "action": "rewrite", "people": []}\n'
        )
        assert [
            "it has another version of the schema than 1", "it is no JSON, or cut off", "it is no JSON object",
            "it has no path", "it names no one",
            "the guard put it right or refused it, so that Klaviyo got another call",
        ] == [each.reason for each in diagnose(path).entries]  # fmt: skip


def line(each: JSON) -> JSON:
    """Return a line of a decision log for an entry of a HAR."""
    request, response = each["request"], each["response"]
    path = request["url"].removeprefix("https://a.klaviyo.com").partition("?")[0]
    sent = json.loads(request.get("postData", {}).get("text", "{}") or "{}").get("data", {})
    answered = json.loads(response["content"]["text"] or "{}")
    attributes = sent.get("attributes", {})
    who = attributes.get("profile", {}).get("data") or sent
    listed = attributes.get("profiles", {}).get("data")
    shown = answered.get("data")
    shown = shown if isinstance(shown, list) else [shown] if shown else []
    return {
        "v": 1, "at": each["startedDateTime"], "took_ms": 120, "method": request["method"], "path": path,
        "status": response["status"], "from_klaviyo": True, "mode": "observe", "action": "pass",
        "people": [hashed(row) for row in listed or ([who] if who else [])],
        "event": {"time": attributes["time"]} if "time" in attributes else None,
        "answer": {"profiles": [hashed(row) for row in shown if row.get("type") == "profile"]},
    }  # fmt: skip


def hashed(row: JSON) -> JSON:
    """Return a person as a decision log has it."""
    found: JSON = {"profile_id": row.get("id")}
    for kind in ("external_id", "email", "phone_number"):
        value = row.get("attributes", {}).get(kind)
        if value is not None:
            text = f"{value:.0f}" if isinstance(value, float) and kind == "number" else str(value)
            found[kind] = {"hash": f"h:{text.encode().hex()}", "kind": type(value).__name__, "placeholder": None}
    return found


def test_the_faults_are_those_of_the_generator() -> None:
    """No kind that is named above is misspelt."""
    assert {"5", "6", "late event", "race", "put back", "shared phone", "browser"} <= set(FAULTS)
