"""The examples run as they stand, without a key and without the network, and show what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.loaded import Loaded

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SHOWS = {
    "quickstart.py": "1 profile, 3 events",
    "quickstart_async.py": "1 profile, 10 events",
    "moving_from_raw_http.py": "after: 1 profile of one customer",
    "deadline_in_a_view.py": "2 events, 1 of them later",
    "oauth_app.py": "1 profile, 1 event",
    "nightly_bulk.py": "2 accepted, 1 refused, 2 profiles",
    "why_two_profiles.py": "situation: race rule: R4",
    "probe_account.py": "asked 9 questions, answered 9; nothing is left in the account",
    "weekly_audit.py": "new in each week: 1, 0, 1",
    "consent_at_checkout.py": "email: False, messages about orders: True",
    "unsubscribe_link.py": "2 profiles, 0 subscribed",
    "guarded_calls.py": "1 profile, 1 event",
    "guarded_django_celery.py": "guarded: 0 duplicate, 0 of 1 event on it",
    "guarded_fastapi.py": "guarded: 0 duplicate, 2 of 2 events on the customer, answers [201, 400, 200, 202, 202]",
    "guarded_sdk.py": "guarded: 0 duplicate, 2 of 2 events on their customers",
    "drain_the_outbox.py": "1 delivered, 0 waiting, 0 dead, next at None",
    "django_outbox.py": "1 delivered, 1 event",
    "fastapi_lifespan.py": "order-7: 1 event",
    "scheduled_drain.py": "1 event, 0 waiting",
    "task_queue_retry.py": "1 event, 1 repetition that Klaviyo recognised",
}
SLOW = {"fastapi_lifespan.py", "scheduled_drain.py"}
"""Those that load much, and show what another one shows too: the same drain, called by something else."""
ALONE = {"quickstart.py", "guarded_calls.py"}
"""Those that a quick run starts as a reader does, each in an interpreter of its own, which loads everything anew."""
TESTS = ("testing_with_the_simulator.py", "testing_consent.py", "testing_the_outbox.py")


def run(folder, *arguments):
    """Run Python as a user would, with every warning an error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, check=False, timeout=200
    )


RAW = {
    "guarded_django_celery.py": "raw: 1 duplicate, 1 of 1 event on it",
    "guarded_fastapi.py": "raw: 1 duplicate, 0 of 2 events on the customer, answers [201, 202, 409, 202]",
    "guarded_sdk.py": "raw: 1 duplicate, 1 of 2 events on their customers",
}
"""What the examples of unchanged code show first: the same calls without the guard."""


def test_each_example_is_run_here():
    """No example is forgotten."""
    assert {*SHOWS, *TESTS} == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.fixture(scope="module")
def loaded():
    """A process that has loaded what most examples do. They are forks of it."""
    process = Loaded()
    yield process
    process.close()


def check_shows(done, name):
    """Check that it ended well, warned of nothing, and printed what the reader is to see."""
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert [RAW.get(name, lines[0]), SHOWS[name]] == [lines[0], lines[-1]]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SHOWS]
)
def test_an_example_shows_what_it_says(loaded, tmp_path, name):
    """It ends well, warns of nothing, and prints what the reader is to see."""
    done = run(tmp_path, EXAMPLES / name) if name in ALONE else loaded.run(tmp_path, EXAMPLES / name)
    check_shows(done, name)


@pytest.mark.parametrize(
    ("code", "ended", "said"),
    [
        ("import warnings; warnings.warn('old')", 1, "UserWarning: old"),
        ("import sys; sys.exit(3)", 3, ""),
        ("file = open(__file__); file = None", 0, "ResourceWarning"),
        ("import atexit; atexit.register(lambda: [][0])", 0, "IndexError"),
    ],
)
def test_an_example_that_goes_wrong_would_be_found(loaded, tmp_path, code, ended, said):
    """A fork ends as a program does: with its exit code, its warnings, and what it does at its end."""
    (tmp_path / "wrong.py").write_text(code)
    done = loaded.run(tmp_path, tmp_path / "wrong.py")
    assert (ended, bool(said), True) == (done.returncode, bool(done.stderr), said in done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHOWS.keys() - ALONE))
def test_an_example_shows_it_in_an_interpreter_of_its_own(tmp_path, name):
    """Nothing that another program has loaded is missing: each example imports what it needs."""
    check_shows(run(tmp_path, EXAMPLES / name), name)


@pytest.mark.parametrize("name", TESTS)
def test_the_example_of_a_shops_tests_passes(loaded, tmp_path, name):
    """Its tests find the fixture and pass, away from this project's configuration."""
    for path in EXAMPLES.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    copy = (tmp_path / name).rename(tmp_path / f"test_{name}")
    done = loaded.run(tmp_path, "-m", "pytest", "-q", "-p", "safeklaviyo.testing.plugin", copy.name)
    assert (0, True) == (done.returncode, "2 passed" in done.stdout)
