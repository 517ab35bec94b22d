"""`audit` and `repair`: what they say, write and end with."""

from __future__ import annotations

import json

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.commands import parser

EXPORT = """\
Email,Klaviyo ID,external_id,Email Marketing Consent
ada@shop.test,A1,1815,SUBSCRIBED
ADA@shop.test,A2,,SUBSCRIBED
"""


@pytest.fixture
def klaviyo(monkeypatch, tmp_path):
    """A pretend Klaviyo in which a customer is there twice, and its address."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    simulator = KlaviyoSimulator(account="SiMuLa", readings=Readings(email_case="distinct"), queue_lag=0.0)
    simulator.add_profile(external_id="1815", email="ada@shop.test", consent="SUBSCRIBED")
    simulator.add_profile(email="Ada@shop.test", consent="SUBSCRIBED")
    with simulator.serve() as url:
        yield simulator, url


@pytest.fixture
def export(tmp_path):
    """An export in which a customer is there twice."""
    path = tmp_path / "profiles.csv"
    path.write_text(EXPORT)
    return path


def test_an_account_is_audited_planned_and_mended(run, here, klaviyo, tmp_path):
    """The whole way: what is found ends with 1, the plan is rehearsed, carried out, and nothing is left."""
    simulator, url = klaviyo
    to = ("--base-url", url, *here)
    files = [tmp_path / name for name in ("plan.json", "audit.json", "audit.html")]
    plan, as_json, page = files
    status, out, err = run("audit", "--plan", str(plan), "--json", str(as_json), "--report", str(page), *to)
    assert (1, "") == (status, err)
    assert out.startswith("2 profiles read\n")
    assert "A2            1  one email in two spellings, 1 in the plan\n" in out
    assert "A7  not checked  email-only twin of a customer: the identity map had no customers of this account" in out
    assert [0o600] * 3 == [each.stat().st_mode & 0o777 for each in files]
    assert "ada@shop.test" not in (out + page.read_text()).lower()
    status, out, err = run("repair", str(plan), *to)
    assert (0, "would merge 1, would skip 0; a dry run: nothing was written. --apply merges\n") == (status, out)
    assert 2 == len(simulator.profiles)
    status, out, err = run("repair", str(plan), "--apply", *to)
    assert (0, "merged 1, requested 0, skipped 0\n") == (status, out)
    assert f"the journal is in {plan}.journal\n" == err
    assert 1 == len(simulator.profiles)
    status, out, _ = run("audit", *to)
    # The second audit has a map; the address of the profile that ended is a former one now.
    assert (0, True) == (status, out.startswith("1 profiles read, 1 customers of the map\n"))


def test_what_is_passed_over_is_told(run, here, klaviyo, tmp_path):
    """A merge that is no longer as it was signed off ends with 1, with the ids of both and the reason."""
    simulator, url = klaviyo
    plan = tmp_path / "plan.json"
    run("audit", "--plan", str(plan), "--base-url", url, *here)
    simulator.withdraw(email="Ada@shop.test")
    status, out, err = run("repair", str(plan), "--apply", "--base-url", url, *here)
    assert (1, "merged 0, requested 0, skipped 1\n") == (status, out)
    assert err.startswith("A2 ")
    assert "the email consent of the source is another one than the audit saw" in err


def test_only_what_is_new_counts_with_a_baseline(run, export, tmp_path):
    """A job each week ends with 0 while nothing is new, and with 1 when something is."""
    last = tmp_path / "last.json"
    assert 1 == run("audit", "--export", str(export), "--json", str(last)).status
    status, out, _ = run("audit", "--export", str(export), "--baseline", str(last))
    assert (0, True) == (status, "one email in two spellings, 0 new, 1 in the plan" in out)
    export.write_text(EXPORT + "ada.@shop.test,A3,1815,\n")
    status, out, _ = run("audit", "--export", str(export), "--baseline", str(last))
    assert (1, True) == (status, "one external id twice, 1 new" in out)


def test_json_on_stdout_leaves_the_text_to_stderr(run, export):
    """A program reads stdout, a person stderr."""
    status, out, err = run("audit", "--export", str(export), "--json")
    found = json.loads(out)
    assert (1, "safeklaviyo audit", 2, None) == (status, found["kind"], found["profiles"], found["gone"])
    assert ["A2"] == [each["rule"] for each in found["findings"]]
    assert {"A1": 0, "A2": 1, "A3": 0, "A4": None, "A5": None} == {
        each["rule"]: each["found"] for each in found["rules"][:5]
    }
    assert err.startswith("2 profiles read\n")


@pytest.mark.parametrize("bindings", ["customers.csv", "map"])
def test_an_export_is_compared_with_a_map(run, here, export, tmp_path, bindings):
    """The shop's own file, or the identity map, says which addresses are former ones."""
    customers = tmp_path / "customers.csv"
    customers.write_text("external_id,email,former_emails\n1815,ada@shop.test,ada@old.test\n")
    export.write_text(EXPORT + "ada@old.test,A4,,\n")
    run("bindings", "import", str(customers), *here)
    where = str(customers) if bindings != "map" else "map"
    status, out, _ = run("audit", "--export", str(export), "--bindings", where, *here)
    assert (1, True) == (status, "A5            1  live profile on a former address" in out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--export", "nowhere.csv"), "FileNotFoundError: "),
        (("--export", "{here}/profiles.csv", "--baseline", "{here}/profiles.csv"), "the baseline is no audit"),
        (("--export", "{here}/profiles.csv", "--map", "email=E-Post"), "there is no column called E-Post"),
        (("--map", "email=E-Mail", "--account", "SiMuLa"), "--map is about the columns of an --export"),
        ((), "which account?"),
        (("--export", "{here}/profiles.csv", "--plan", "{here}/no/plan.json"), "FileNotFoundError: "),
    ],
)
def test_what_could_not_be_looked_at_ends_with_2(run, export, tmp_path, arguments, says):
    """A scheduled job tells "nothing found" from "could not look"."""
    status, out, err = run("audit", *(each.replace("{here}", str(tmp_path)) for each in arguments))
    assert (2, "", True) == (status, out, says in err)


def test_a_plan_that_makes_no_sense_ends_with_2(run, here, klaviyo, tmp_path):
    """So does a repair that cannot go on."""
    plan = tmp_path / "plan.json"
    plan.write_text('{"kind": "safeklaviyo repair plan",\n "version": 1,\n "merges": [7]}')
    status, out, err = run("repair", str(plan), "--apply", "--base-url", klaviyo[1], *here)
    assert (2, "") == (status, out)
    assert "ConfigurationError: merge 1 of the plan (line 3) is no object; mend it or take it out" in err


def test_a_repair_that_stops_says_how_far_it_came(run, here, klaviyo, tmp_path):
    """The next run goes on there; Ctrl-C is told as ever."""
    simulator, url = klaviyo
    simulator.add_profile(external_id="1816", email="bob@shop.test", consent="SUBSCRIBED")
    simulator.add_profile(email="Bob@shop.test", consent="SUBSCRIBED")
    plan = tmp_path / "plan.json"
    run("audit", "--plan", str(plan), "--base-url", url, *here)
    met: list[object] = []
    simulator.fail_next("merge_profiles", status=401, match=lambda asked: met.append(asked) or len(met) == 2)
    status, out, err = run("repair", str(plan), "--apply", "--base-url", url, *here)
    assert (2, "") == (status, out)
    assert err.startswith("stopped after 1 merges of the plan; run it again to go on\nAuthenticationError: ")
    assert "merged 2, requested 0, skipped 0\n" == run("repair", str(plan), "--apply", "--base-url", url, *here).out


@pytest.mark.parametrize("wrong", ["email", "city=Ort"])
def test_a_mapping_names_a_field(run, wrong):
    """A misspelt field is a wrong call."""
    assert 2 == run("audit", "--export", "x.csv", "--map", wrong).status


def test_help_is_readable_in_80_columns(run, monkeypatch):
    """No line of the help is longer than a terminal is wide, and the list of findings stays a list."""
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("audit", "repair"):
        out = run(command, "--help").out
        assert 80 > max(map(len, out.splitlines())), command
    assert "\n  A4  one phone number twice: shown, never planned\n" in run("audit", "--help").out
    assert parser().parse_args(["audit"]).function == "look"
