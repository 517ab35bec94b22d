"""`bindings learn`: what it says, and how it goes on."""

from __future__ import annotations

import pytest

from safeklaviyo.testing import KlaviyoSimulator

PEOPLE = 130


@pytest.fixture
def klaviyo(monkeypatch):
    """A pretend Klaviyo with customers on two pages, and its address."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    simulator = KlaviyoSimulator(account="SiMuLa")
    for number in range(PEOPLE):
        simulator.add_profile(external_id=f"A{number}", email=f"c{number}@shop.test")
    with simulator.serve() as url:
        yield simulator, url


def test_the_map_is_filled(run, here, klaviyo):
    """One line says what became of the profiles, and of those that were not learnt each has one of its own."""
    simulator, url = klaviyo
    spoilt = simulator.add_profile(external_id="null", email="ann@shop.test")
    simulator.add_profile(external_id="B1")
    simulator.add_profile(phone_number="+12025550100")
    status, out, err = run("bindings", "learn", "--base-url", url, *here)
    assert (1, "added 130, unchanged 0, refused 1, passed over 0, id only 1, without email 1\n") == (status, out)
    assert err.startswith(f"profile {spoilt.id}: the external_id is a placeholder")
    assert 1 == err.count("\n")
    assert PEOPLE == run("bindings", "export", "-", "--format", "jsonl", *here).out.count("\n")


def test_an_interrupted_run_is_gone_on_with(run, here, klaviyo):
    """It says how far it has come, and the next run reads what is left."""
    simulator, url = klaviyo
    simulator.fail_next(status=401, match=lambda asked: "page[cursor]" in asked.query)
    status, out, err = run("bindings", "learn", "--base-url", url, *here)
    assert (1, "") == (status, out)
    assert err.startswith("stopped after 100 profiles; run it again to go on there\nAuthenticationError: ")
    assert "added 30, unchanged 0, " in run("bindings", "learn", "--base-url", url, *here).out


@pytest.mark.parametrize("command", [("learn",), ("import", "-", "--verify"), ("import", "-", "--verify", "--dry-run")])
def test_it_needs_a_key(run, here, typed, command):
    """An account alone is enough for the map, not for Klaviyo."""
    typed(b"email\nada@shop.test\n")
    status, out, err = run("bindings", *command, *here)
    assert (1, "") == (status, out)
    assert "ConfigurationError: there is no API key" in err
