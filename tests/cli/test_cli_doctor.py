"""What the doctor finds: each failure is a line, and only failures are exit code 1."""

from __future__ import annotations

import socket
import sqlite3
import time
from email.utils import formatdate
from importlib.metadata import PackageNotFoundError

import pytest

KEY = "pk_0123456789abcdef"


@pytest.fixture
def examine(run, served, here, monkeypatch):
    """Runs the doctor against the simulator; returns the exit code and the statuses by subject."""
    _, url = served
    monkeypatch.setenv("KLAVIYO_API_KEY", KEY)

    def examine(*more):
        status, out, err = run("doctor", "--base-url", url, *here, *more)
        assert "" == err
        assert KEY not in out
        found = {}
        for line in out.splitlines():
            verdict, subject, finding = line.split(maxsplit=2)
            found.setdefault(subject, []).append((verdict, finding))
        return status, found

    return examine


def verdicts(found, subject):
    """Return the statuses of one subject's lines."""
    return [verdict for verdict, _ in found[subject]]


def test_a_sound_installation_passes(examine):
    """With all in order each line is ok."""
    status, found = examine()
    assert 0 == status
    assert {"ok"} == {verdict for lines in found.values() for verdict, _ in lines}
    assert [("ok", "accepted")] == found["key"]
    assert [("ok", "SiMuLa")] == found["account"]
    assert [("ok", "127.0.0.1 answers")] == found["host"]
    assert ("ok", "its file's mode is 0600") in found["store"]
    expected = {"python", "safeklaviyo", "httpx", "pydantic", "tenacity", "rich", "uvicorn", "clock"}
    assert expected <= found.keys()


def test_the_doctor_leaves_nothing_in_the_map(examine, tmp_path):
    """What it wrote to see whether it can is gone."""
    examine()
    with sqlite3.connect(tmp_path / "identity.db") as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert not any("doctor" in map(str, row) for name in tables for row in db.execute(f"SELECT * FROM {name}"))
    db.close()


def test_no_key_is_a_failure(examine, monkeypatch):
    """Without a key Klaviyo is not asked; the store is looked at all the same."""
    monkeypatch.delenv("KLAVIYO_API_KEY")
    status, found = examine()
    assert (1, ["fail"]) == (status, verdicts(found, "key"))
    assert "host" not in found
    assert ["ok"] * 3 == verdicts(found, "store")


def test_a_key_that_is_none_is_a_failure(examine, monkeypatch):
    """What the client would refuse is a line, without the key."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk with spaces")
    status, found = examine()
    assert (1, [("fail", "the API key has characters that no key has")]) == (status, found["configuration"])


def test_a_host_that_is_not_there_is_a_failure(examine):
    """No connection is told from a refused key."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    status, found = examine("--base-url", f"http://127.0.0.1:{port}")
    assert (1, ["fail"]) == (status, verdicts(found, "host"))
    assert "key" not in found


@pytest.mark.parametrize(
    ("answer", "expected", "says"),
    [
        ({"status": 401}, (1, "fail"), "does not accept"),
        ({"status": 403}, (0, "warn"), "account="),
        ({"status": 429}, (0, "warn"), "answered 429"),
        ({"status": 503}, (0, "warn"), "answered 503"),
        ({"status": 200, "body": {"data": []}}, (1, "fail"), "not answer as Klaviyo does"),
    ],
)
def test_what_klaviyo_says_of_the_key(examine, served, answer, expected, says):
    """A refused key is a failure; what leaves it open is a warning."""
    simulator, _ = served
    simulator.fail_next("get_accounts", **answer)
    status, found = examine()
    [(verdict, finding)] = found["key"]
    assert expected == (status, verdict)
    assert says in finding


@pytest.mark.parametrize(
    "answer", [{"status": 301}, {"status": 200, "body": "<html>"}, {"status": 403, "body": "<html>"}]
)
def test_a_host_whose_word_is_not_klaviyos_is_a_failure(examine, served, answer):
    """F-34: a page says nothing of the key; the line says which status it had."""
    simulator, _ = served
    simulator.fail_next("get_accounts", **answer)
    status, found = examine()
    [(verdict, finding)] = found["host"]
    assert (1, "fail", True) == (status, verdict, f"({answer['status']}) is not Klaviyo's" in finding)
    assert "key" not in found


def test_the_key_of_another_account_is_a_failure(examine):
    """A map would be filled with another account's customers."""
    status, found = examine("--account", "OtherA")
    assert (1, ["fail"]) == (status, verdicts(found, "account"))


@pytest.mark.parametrize(
    ("off", "verdict", "says"),
    [
        (-3600, "warn", "seconds off"),
        (3600, "warn", "seconds off"),
        (None, "warn", "not checked"),
        (5, "ok", "within 30 seconds"),
    ],
)
def test_the_clock_is_compared_with_klaviyos(examine, served, off, verdict, says):
    """A clock that is off is a warning, and so is one that cannot be compared."""
    simulator, _ = served
    date = "no date" if off is None else formatdate(int(time.time()) + off, usegmt=True)
    simulator.fail_next("get_accounts", status=401, headers={"date": date})
    _, found = examine()
    [(found_verdict, finding)] = found["clock"]
    assert verdict == found_verdict
    assert says in finding


@pytest.mark.parametrize("store", ["memory://", "sqlite://no", "oracle://secret:password@host"])
def test_a_store_is_judged_by_its_url_first(examine, store, monkeypatch):
    """A URL that names no store is a failure, and is not shown; a map in memory has no file to look at."""
    monkeypatch.setenv("SHOP_MAP", store)
    status, found = examine("--store", "env:SHOP_MAP")
    good = store == "memory://"
    assert (0, ["ok"] * 2) if good else (1, ["fail"]) == (status, verdicts(found, "store"))
    assert not any("password" in finding for _, finding in found["store"])


def test_a_file_that_is_no_map_is_a_failure(examine, tmp_path):
    """Somebody else's file is not touched."""
    (tmp_path / "other.db").write_text("this is no identity map " * 50)
    status, found = examine("--store", f"sqlite:///{tmp_path}/other.db")
    assert (1, ["fail"]) == (status, verdicts(found, "store"))


def test_a_map_that_others_may_read_is_a_warning(examine, tmp_path):
    """The file holds addresses."""
    examine()
    (tmp_path / "identity.db").chmod(0o644)
    status, found = examine()
    assert (0, ["ok", "ok", "warn"]) == (status, verdicts(found, "store"))


def test_a_missing_extra_is_named(examine, monkeypatch):
    """What is optional and absent is told with the extra that brings it."""
    from support import commands

    def version(name):
        if name == "uvicorn":
            raise PackageNotFoundError
        return "1"

    monkeypatch.setattr(commands.doctor, "version", version)
    status, found = examine()
    assert 0 == status
    assert [("ok", 'not installed, and optional: pip install "safeklaviyo[server]"')] == found["uvicorn"]
