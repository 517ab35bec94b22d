"""The commands about one customer of the identity map."""

from __future__ import annotations

import json

import pytest

from safeklaviyo import Klaviyo


@pytest.fixture
def ada(run, here, typed):
    """A map that knows one customer, checked just now."""
    typed(b"external_id,email,profile_id\n1815,ada@shop.test,01ADA\n")
    assert 0 == run("bindings", "import", "-", "--trusted", *here).status


def explained(out):
    """Return the printed lines by their names."""
    return dict(line.split(maxsplit=1) for line in out.splitlines())


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("claim", "action", "rule"),
    [
        (("--external-id", "1815", "--email", "ADA@shop.test"), "send", "R3"),
        (("--external-id", "1815", "--email", "eve@shop.test"), "refuse", "R6"),
        (("--external-id", "2", "--email", "ada@shop.test"), "refuse", "R7"),
        (("--external-id", "1815", "--phone", "+12025550100"), "send", "R8"),
        (("--external-id", "2"), "lookup", "R9"),
        (("--email", "ada@shop.test"), "send", "R10"),
        (("--email", "eve@shop.test"), "contact", "R12"),
    ],
)
def test_explain_says_action_and_rule(run, here, claim, action, rule):
    """The decision is printed without a key, from the map alone."""
    status, out, err = run("explain", *claim, *here)
    assert (0, "") == (status, err)
    assert (action, rule, "no") == tuple(explained(out)[name] for name in ("action", "rule", "rewritten"))


@pytest.mark.usefixtures("ada")
def test_explain_shows_the_pair_that_would_be_sent(run, here):
    """An email alone is completed by the id; what is not known is a dash."""
    assert ("1815", "ada@shop.test") == tuple(
        explained(run("explain", "--email", "ada@shop.test", *here).out)[name] for name in ("external_id", "email")
    )
    assert "-" == explained(run("explain", "--email", "eve@shop.test", *here).out)["external_id"]


def test_explain_says_that_a_former_address_is_rewritten(run, simulator, served, tmp_path):
    """Rule R11 shows as such."""
    _, url = served
    store = f"sqlite:///{tmp_path}/identity.db"
    with Klaviyo("pk_test", store=store, base_url=url) as klaviyo:
        klaviyo.identify(external_id="1815", email="ada@shop.test")
        klaviyo.change_email("lovelace@shop.test", external_id="1815")
    _, out, _ = run("explain", "--email", "ada@shop.test", "--store", store, "--account", "SiMuLa")
    assert ("R11", "lovelace@shop.test", "yes") == tuple(
        explained(out)[name] for name in ("rule", "email", "rewritten")
    )


def test_nobody_says_whose_map_it_is(run, tmp_path):
    """With neither an account nor a key there is nothing to look into."""
    status, _, err = run("explain", "--email", "ada@shop.test", "--store", f"sqlite:///{tmp_path}/identity.db")
    assert 1 == status
    assert err.startswith("ConfigurationError: which account? pass --account")


def test_the_account_is_asked_of_klaviyo_with_a_key(run, served, tmp_path, monkeypatch):
    """With a key the account need not be given, and is asked once only."""
    simulator, url = served
    before = len(simulator.journal)
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_test")
    monkeypatch.setenv("SAFEKLAVIYO_STORE", f"sqlite:///{tmp_path}/identity.db")
    asked = ("explain", "--email", "ada@shop.test", "--base-url", url)
    assert [0, 0] == [run(*asked).status for _ in range(2)]
    assert ["get_accounts"] == [entry.endpoint for entry in simulator.journal[before:]]


def test_an_account_without_customers_is_noticed(run, here, ada):
    """A mistyped account has an empty map, which looks as if everybody were new: that is said."""
    wrong = (*here[:-1], "SiMuLb")
    for command in (("explain",), ("bindings", "get"), ("bindings", "remove")):
        _, _, err = run(*command, "--email", "ada@shop.test", *wrong)
        assert err.startswith("the map has no customers of the account SiMuLb: is that the account?\n")
    assert "" == run("explain", "--email", "eve@shop.test", *here).err


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "--email", "a@shop.test"),
        ("bindings", "get", "--email", "a@shop.test"),
        ("bindings", "import", "-"),
        ("bindings", "export", "-"),
    ],
)
def test_a_map_in_memory_is_refused(run, typed, command):
    """It would be gone when the command ends, so that an import into it would be lost."""
    typed(b"email\nada@shop.test\n")
    status, out, err = run(*command, "--store", "memory://", "--account", "SiMuLa")
    assert (1, "") == (status, out)
    assert err.startswith("ConfigurationError: a map in memory ends with this command")


def test_the_host_may_come_from_the_environment(run, served, tmp_path, monkeypatch):
    """Commands reach the simulator without `--base-url`."""
    simulator, url = served
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_test")
    monkeypatch.setenv("KLAVIYO_BASE_URL", url)
    before = len(simulator.journal)
    assert 0 == run("explain", "--email", "ada@shop.test", "--store", f"sqlite:///{tmp_path}/identity.db").status
    assert ["get_accounts"] == [entry.endpoint for entry in simulator.journal[before:]]


def test_without_a_store_the_users_own_file_is_used(run, monkeypatch, tmp_path):
    """The last resort is the file in the user's state folder, without a warning."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    nobody = "the map has no customers of the account A: is that the account?\nthe map has no such customer\n"
    assert (1, "", nobody) == run("bindings", "get", "--email", "a@shop.test", "--account", "A")
    assert (tmp_path / "safeklaviyo" / "identity.db").is_file()


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("who", [("--external-id", "1815"), ("--email", "ada@shop.test")])
def test_get_prints_a_binding_as_json(run, here, who):
    """A customer is found by either identifier."""
    status, out, err = run("bindings", "get", *who, *here)
    found = json.loads(out)
    assert (0, "") == (status, err)
    assert isinstance(found.pop("verified_at"), float)
    expected = {"external_id": "1815", "email": "ada@shop.test", "profile_id": "01ADA", "phone_number": None}
    assert expected == {name: found[name] for name in expected}


@pytest.mark.usefixtures("ada")
def test_remove_forgets_a_binding_once(run, here):
    """What was removed is gone, and removing it again is 1."""
    who = ("--email", "ada@shop.test")
    assert (0, "removed\n", "") == run("bindings", "remove", *who, *here)
    status, _, err = run("bindings", "remove", *who, *here)
    assert (1, True) == (status, err.endswith("the map has no such customer\n"))
    assert 1 == run("bindings", "get", *who, *here).status
