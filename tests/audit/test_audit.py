"""Audits: what each kind of data shows, what speaks against a merge, and how a run goes on that was interrupted."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing

import pytest

from safeklaviyo import AuthenticationError, ConfigurationError, NoResponseError, Policy
from safeklaviyo import audit as package
from safeklaviyo.audit import RULES, Export, audit
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.scenes import by_hand

HEADER = (
    "Klaviyo ID,Email,external_id,Phone Number,First Name,Email Marketing Consent,Email Suppressions,"
    "SMS Marketing Consent,Last Active"
)
NEVER = "NEVER_SUBSCRIBED"


@pytest.fixture
def state(monkeypatch, tmp_path):
    """An empty state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "safeklaviyo"


@pytest.fixture
def exported(tmp_path):
    """Audits an export with these rows: values by column, of which most may be left out."""

    def exported(*rows, bindings=None, **more):
        path = tmp_path / "profiles.csv"
        names = ("id", "email", "external_id", "phone", "name", "consent", "suppressed", "sms", "last")
        lines = [
            ",".join(str({"consent": NEVER, "sms": NEVER, "id": f"A{number}", **row}.get(name, "")) for name in names)
            for number, row in enumerate(rows, start=1)
        ]
        path.write_text("\n".join([HEADER, *lines]) + "\n")
        if bindings is not None:
            shop = tmp_path / "shop.csv"
            shop.write_text("\n".join(["external_id,email,profile_id,former_emails", *bindings]) + "\n")
            more["bindings"] = shop
        return audit(path, **more)

    return exported


def only(audited, rule):
    """Return the one finding of a rule."""
    (found,) = [each for each in audited.findings if each.rule == rule]
    return found


def merges(audited):
    """Return the ids of what is planned."""
    return {(each.source.profile_id, each.into.profile_id) for each in audited.plan().merges}


ADA = {"email": "ada@shop.test", "external_id": "1815", "name": "Ada"}
SAME = {"email": "ADA@shop.test"}


class TestChecked:
    def test_what_the_data_cannot_show_is_not_checked(self, tmp_path):
        """Without an id, a phone number or a map, what needs them is "not checked", with the reason, and never 0."""
        path = tmp_path / "profiles.csv"
        path.write_text("Email\nada@shop.test\n")
        with audit(path) as found:
            assert (("A2", "A8", "A9"), {"A1", "A3", "A4", "A5", "A6", "A7"}) == (found.checked, set(found.not_checked))
            assert all(found.not_checked.values())
            shown = {each["rule"]: each["found"] for each in json.loads(found.to_json())["rules"]}
            assert {"A1": None, "A2": 0, "A9": 0} == {rule: shown[rule] for rule in ("A1", "A2", "A9")}
            assert "A1  not checked  id without email: the export has no column" in found.to_text()
        assert [*RULES] == [*shown]

    def test_a_map_and_an_id_show_everything(self, exported):
        """With all columns and the shop's data every rule is checked."""
        with exported(ADA, bindings=["1815,ada@shop.test,,"]) as found:
            assert (tuple(RULES), {}, 1) == (found.checked, found.not_checked, found.bindings)
            assert ([], (), {}) == ([*found.findings], found.plan().merges, found.plan().left_out)


class TestDoubt:
    """What speaks against a merge that shares an identifier all the same."""

    def test_nothing(self, exported):
        """An address in two spellings, of which one has the id: the other goes into it."""
        with exported(ADA, SAME) as found:
            assert ({("A2", "A1")}, True, "") == (merges(found), only(found, "A2").safe, only(found, "A2").why_not)

    @pytest.mark.parametrize(
        ("one", "two", "why_not"),
        [
            ({}, {"name": "Bob"}, "different first names"),
            ({}, {"external_id": "7"}, "external_id of its own"),
            ({}, {"external_id": "null"}, "placeholder"),
            ({}, {"consent": "SUBSCRIBED"}, "may be lost, because the destination has none"),
            ({}, {"consent": ""}, "do not say whether the source is subscribed to email"),
            ({"consent": ""}, {}, "do not say whether the consent of either"),
            ({"consent": "SUBSCRIBED"}, {"consent": "UNSUBSCRIBED"}, "because the other has withdrawn it"),
            ({"consent": "SUBSCRIBED"}, {"suppressed": "HARD_BOUNCE"}, "because the other has withdrawn it"),
            ({}, {"consent": "UNSUBSCRIBED"}, "become suppressed"),
            ({}, {"phone": "+4915112340001", "sms": "SUBSCRIBED"}, "the SMS consent of the source may be lost"),
            ({}, {"phone": "+4915112340001", "sms": ""}, "subscribed to SMS"),
            ({"sms": "SUBSCRIBED"}, {"sms": "UNSUBSCRIBED"}, "the SMS consent of the one that stays would be lost"),
            ({}, {"id": ""}, "do not say Klaviyo's ids"),
        ],
        ids=str,
    )
    def test_why_two_of_one_address_are_not_merged(self, exported, one, two, why_not):
        """Consent, names, ids and placeholders each forbid it, and the finding says which."""
        with exported(ADA | one, SAME | two) as found:
            assert (set(), False) == (merges(found), only(found, "A2").safe)
            assert why_not in only(found, "A2").why_not
            assert {only(found, "A2").why_not: 1} == {
                why: number for why, number in found.plan().left_out.items() if why_not in why
            }

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            ({"consent": "SUBSCRIBED"}, {"consent": "SUBSCRIBED"}),
            ({"consent": "SUBSCRIBED"}, {}),
            ({"consent": "UNSUBSCRIBED"}, {"consent": "UNSUBSCRIBED"}),
            ({"consent": "UNSUBSCRIBED"}, {"suppressed": "x"}),
            ({"name": "Ada"}, {"name": "A."}),
            ({"name": "Gül"}, {"name": "gul"}),
        ],
        ids=str,
    )
    def test_what_speaks_against_nothing(self, exported, one, two):
        """A consent that both have, or that neither has, and two ways to write one name cost nothing."""
        with exported(ADA | one, SAME | two) as found:
            assert {("A2", "A1")} == merges(found)

    def test_a_third_profile(self, exported):
        """The same address beside two ids: it is not certain whose the one without an id is."""
        with exported(ADA, SAME, {"email": "Ada@shop.test", "external_id": "7"}) as found:
            assert (set(), 3) == (merges(found), len(found.findings))
            doubtful = [each.why_not for each in found.findings if None in {one.external_id for one in each.profiles}]
            assert ["a third profile has the email of one of them, and another external id"] * 2 == doubtful

    def test_one_id_and_the_address_of_another(self, exported):
        """Two profiles of one id of which one shows the address of another id may be two people's."""
        rows = (ADA, {"email": "bob@shop.test", "external_id": "1815"}, {"email": "Bob@shop.test", "external_id": "7"})
        with exported(*rows) as found:
            assert (set(), True) == (merges(found), "a third profile" in only(found, "A3").why_not)

    def test_the_map(self, exported):
        """The profile that stays has the address of the map, and no address that was another customer's goes along."""
        rows = (ADA | {"last": "2020"}, {"email": "new@shop.test", "external_id": "1815", "last": "2026"})
        with exported(*rows) as found:
            assert {("A1", "A2")} == merges(found)
        with exported(*rows, bindings=["1815,ada@shop.test,,new@shop.test"]) as found:
            assert {("A2", "A1")} == merges(found)
        with exported(*rows, bindings=["1815,third@shop.test,,"]) as found:
            assert (set(), True) == (merges(found), "another address than the profile" in only(found, "A3").why_not)
        with exported(ADA, SAME, bindings=["7,else@shop.test,,ada@shop.test"]) as found:
            assert (set(), True) == (merges(found), "was another customer's" in only(found, "A2").why_not)
        with exported(ADA, {"email": "x@shop.test", "external_id": "1815"}, bindings=["7,x@shop.test,,"]) as found:
            assert (set(), True) == (
                merges(found),
                "gives the email of one of them to another customer" in only(found, "A3").why_not,
            )

    def test_a_profile_that_leads_to_two_customers(self, exported):
        """A ghost of one customer that is another spelling of another one's address is left alone."""
        rows = (ADA, SAME, {"email": "eve@shop.test", "external_id": "7"})
        with exported(*rows, bindings=["7,eve@shop.test,,ada@shop.test"]) as found:
            assert set() == merges(found)

    def test_a_profile_for_which_two_could_stay(self, exported):
        """Where two profiles of a customer cannot become one, a third one goes into neither of them."""
        rows = (ADA | {"consent": "SUBSCRIBED"}, ADA | {"email": "Ada@shop.test", "consent": "UNSUBSCRIBED"}, SAME)
        with exported(*rows) as found:
            assert (set(), 1) == (merges(found), found.plan().left_out["two findings lead it to different customers"])

    def test_three_of_one_customer_become_one(self, exported):
        """Two more profiles of one address both go into the one with the id, and none into one that ends."""
        with exported(ADA, SAME, {"email": "Ada@shop.test"}) as found:
            assert {("A2", "A1"), ("A3", "A1")} == merges(found)

    def test_a_chain_is_done_link_by_link(self, exported):
        """A profile that ends is none into which another one is merged: that comes after the next audit."""
        rows = (
            ADA | {"last": "2026"},
            {"email": "new@shop.test", "external_id": "1815", "last": "2020"},
            {"email": "NEW@shop.test"},
        )
        with exported(*rows) as found:
            plan = found.plan()
        sources, stay = (
            {each.source.profile_id for each in plan.merges},
            {each.into.profile_id for each in plan.merges},
        )
        assert (set(), 1) == (sources & stay, len(plan.merges))
        assert {"another merge of this plan comes first; audit again after the repair": 1} == plan.left_out


class TestPairs:
    def test_many_with_one_number_are_pairs_with_the_first(self, exported):
        """A number that hundreds share is not compared each with each."""
        with exported(*({"email": f"p{number}@shop.test", "phone": "+4930123499"} for number in range(20))) as found:
            assert ["A4"] * 19 == [each.rule for each in found.findings]
            assert 1 == len(set.intersection(*({one.email for one in each.profiles} for each in found.findings)))

    def test_a_mailbox_with_many_variants(self, exported):
        """So are the addresses of one mailbox."""
        with exported(*({"email": f"ada+{number}@gmail.com"} for number in range(12))) as found:
            assert ["A8"] * 11 == [each.rule for each in found.findings]

    def test_googles_two_domains_are_one(self, exported):
        """googlemail.com is gmail.com; an address that is nothing but a plus has no variant."""
        with exported({"email": "ada@googlemail.com"}, {"email": "a.da@gmail.com"}, {"email": "+x@gmail.com"}) as found:
            assert ["A8"] == [each.rule for each in found.findings]

    @pytest.mark.parametrize("phone", ["+10000000000", "+491234567890", "5555555555"])
    def test_a_number_that_nobody_has(self, exported, phone):
        """A placeholder is shown as such, and its two owners are no pair."""
        rows = ({"email": "a@shop.test", "phone": phone}, {"email": "b@shop.test", "phone": phone})
        with exported(*rows, {"email": "null@shop.test"}) as found:
            assert ["A9"] * 3 == [each.rule for each in found.findings]

    def test_a_profile_that_an_export_has_twice_counts_once(self, exported):
        """Two rows with Klaviyo's id of one profile are one profile, as it was last."""
        row = {"id": "A1", "email": "ada@shop.test", "last": "2026-02-01"}
        with exported(row, row, {**row, "email": "old@shop.test", "last": "2026-01-01"}) as found:
            assert (1, []) == (found.profiles, [*found.findings])


class TestMap:
    def test_an_address_that_is_somebodys_now_is_no_former_one(self, exported):
        """What is current on one customer of the map outranks what was another one's."""
        bindings = ["7,eve@shop.test,,", "1815,ada@shop.test,,ada@old.test"]
        with exported(ADA, {"email": "ada@old.test"}, bindings=[*bindings, "8,ada@old.test,,"]) as found:
            assert "A5" not in {each.rule for each in found.findings}

    def test_a_ghost_without_the_customers_profile_is_shown_alone(self, exported):
        """An export may be a part of the account."""
        with exported({"email": "ada@old.test"}, bindings=["1815,ada@shop.test,,ada@old.test"]) as found:
            ghost = only(found, "A5")
        assert (1, False, ("ada@old.test",)) == (len(ghost.profiles), ghost.safe, ghost.binding.former)
        assert "do not show the customer's own profile" in ghost.why_not

    def test_a_customers_own_profile_that_shows_a_former_address(self, exported):
        """A late event has put the address back: the map and Klaviyo disagree, and nothing is merged."""
        with exported(
            {"email": "ada@old.test", "external_id": "1815"}, bindings=["1815,ada@shop.test,,ada@old.test"]
        ) as found:
            assert ["A5", "A6"] == [each.rule for each in found.findings]
            assert (set(), "another email") == (merges(found), only(found, "A6").why.split(" have ")[1][:13])

    def test_an_old_retirement_speaks_for_nobody(self, open_client, state):
        """An address that was given up longer ago than `Policy.retired_for` may be somebody else's by now."""
        simulator = KlaviyoSimulator(account="SiMuLa")
        store = MemoryStore(clock=lambda: time.time() - 10 * 86400)
        with open_client(simulator, store) as k:
            k.identify(external_id="1815", email="ada@old.test")
            k.change_email("ada@shop.test", external_id="1815")
            simulator.add_profile(email="ada@old.test")
            with audit(k) as found:
                assert only(found, "A5").safe
            with audit(k.with_options(policy=Policy(retired_for=86400))) as found:
                assert "given up so long ago" in only(found, "A5").why_not

    def test_a_customer_of_whom_a_part_is_known(self, exported):
        """A guest, an address alone, and an email-only profile that is the customer's to be: none is a finding."""
        rows = ({"email": "g@shop.test"}, {"email": "h@shop.test"})
        with exported(*rows, bindings=["7,g@shop.test,Z9,", ",h@shop.test,,", "8,gone@shop.test,,"]) as found:
            assert [] == [*found.findings]

    def test_a_map_that_names_another_profile(self, exported):
        """The profile by its id comes first; what it lacks is a difference too."""
        bindings = ["1815,ada@shop.test,A1,", "7,,,", "9,x@shop.test,Z9,"]
        with exported(
            {"email": "ada@shop.test"}, {"external_id": "1815", "email": "b@shop.test"}, bindings=bindings
        ) as found:
            assert "another external id" in only(found, "A6").why
        with exported({"external_id": "1815"}, bindings=bindings) as found:
            assert ["A1", "A6"] == [each.rule for each in found.findings]
            assert "another email" in only(found, "A6").why


class TestExports:
    @pytest.mark.parametrize(
        ("text", "profiles", "unreadable"),
        [
            ('Email;Klaviyo ID\nada@shop.test;A1\n"b;\nc@shop.test\n;\n', 1, 2),
            ("Email,Klaviyo ID,external_id\n'+x@shop.test,A1,'9\n", 1, 0),
            ("Email,First Name\nada@shop.test,\udce4\n".encode("utf-8", "surrogateescape"), 1, 0),
            ("Email,First Name\nad\udce4@shop.test,x\nada@shop.test,\u00e4\n".encode("utf-8", "surrogateescape"), 1, 1),
        ],
    )
    def test_what_cannot_be_read_is_counted(self, tmp_path, text, profiles, unreadable):
        """A row that is cut off, or whose identifier may be misread, is passed over; a name costs nothing."""
        path = tmp_path / "profiles.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with audit(path) as found:
            assert (profiles, unreadable) == (found.profiles, found.unreadable)

    def test_json_lines(self, tmp_path):
        """Each line is an object; a field that one of them lacks is missing in it alone."""
        path = tmp_path / "profiles.jsonl"
        rows = [
            {"email": "ada@shop.test", "klaviyo_id": "A1", "nr": 1815, "email_marketing_consent": "SUBSCRIBED"},
            {"email": "\ud800@shop.test", "klaviyo_id": "A4"},
            {"email": "ADA@shop.test", "klaviyo_id": "A2", "email_marketing_consent": "SUBSCRIBED", "first_name": None},
        ]
        path.write_text("\n".join([*map(json.dumps, rows), "", "[]", "{"]) + "\n \n")
        with audit(Export(path, {"external_id": "nr"})) as found:
            assert (2, 3, {("A2", "A1")}) == (found.profiles, found.unreadable, merges(found))
            assert ["1815"] == [each.external_id for each in only(found, "A2").profiles if each.external_id]

    def test_a_shops_file_has_its_unusable_rows_passed_over(self, exported):
        """A customer without an address says nothing."""
        with exported(ADA, bindings=["1815,ada@shop.test,,", "7,,,", "x,y"]) as found:
            assert 1 == found.bindings

    def test_an_export_has_no_such_field(self):
        """A misspelt field is refused at once."""
        with pytest.raises(ConfigurationError, match="an export has no field mail; it has external_id, email"):
            Export("profiles.csv", {"mail": "E-Mail"})

    def test_nothing_is_left_behind(self, exported, tmp_path, monkeypatch):
        """The temporary file is gone when an audit is closed, and when it has failed."""
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", None)
        with exported(ADA) as found:
            (kept,) = (tmp_path / "tmp").glob("*.sqlite3")
            assert 0o600 == kept.stat().st_mode & 0o777
        found.close()
        with pytest.raises(ConfigurationError):
            audit(Export(tmp_path / "profiles.csv", {"email": "nowhere"}))
        assert [] == [*(tmp_path / "tmp").iterdir()]


class TestResult:
    def test_findings_are_a_sequence(self, exported):
        """They can be counted, indexed and cut, from either end."""
        with exported(ADA, SAME, {"external_id": "7"}, {"email": "n@shop.test", "external_id": "null"}) as found:
            every = [*found.findings]
            assert ["A1", "A2", "A9"] == [each.rule for each in every]
            assert (every[0], every[-1], every[1:]) == (found.findings[0], found.findings[-1], found.findings[1:])
            for beyond in (3, -4):
                with pytest.raises(IndexError):
                    found.findings[beyond]
            assert ("<3 findings>", "<Audit of 4 profiles: 3 findings>") == (repr(found.findings), repr(found))
            assert "ada" not in repr(every).lower()
            assert "ada" not in repr(found.plan()).lower()
        with exported(ADA, {"email": "ada@old.test"}, bindings=["1815,ada@shop.test,,ada@old.test"]) as found:
            assert "ada@" not in repr(only(found, "A5")).lower()

    def test_a_baseline_is_an_audit_or_its_file(self, exported, tmp_path):
        """What it had is not new, and what is no more is counted."""
        with exported(ADA, SAME, {"external_id": "7"}) as first:
            first.write_json(tmp_path / "last.json")
            with exported(ADA, SAME, {"external_id": "8", "id": "B8"}, baseline=first) as second:
                assert ["A1"] == [each.rule for each in second.new]
                assert (1, True) == (second.to_dict()["gone"], second.to_dict()["has_baseline"])
                keys = [each.key for each in second.new]
        with exported(ADA, SAME, {"external_id": "8", "id": "B8"}, baseline=tmp_path / "last.json") as second:
            assert keys == [each.key for each in second.new]

    def test_a_page_is_given_so_many_findings_as_people_read(self, exported):
        """The counts are of all, the list is cut."""
        with exported(*({"external_id": str(number)} for number in range(1, 8))) as found:
            cut = found.to_dict(most=2)
        assert (2, 7) == (len(cut["findings"]), cut["rules"][0]["found"])

    def test_a_file_is_whole_or_not_there(self, exported, tmp_path):
        """A report that cannot be made leaves nothing behind."""
        with exported(ADA) as found:
            found.json_parts = lambda: iter([1])
            with pytest.raises(TypeError):
                found.write_json(tmp_path / "audit.json")
        assert {"profiles.csv"} == {each.name for each in tmp_path.iterdir()}

    def test_names_are_there(self):
        """What the package exports is there, and nothing else is."""
        assert set(package.__all__) <= set(dir(package))
        assert all(getattr(package, name) for name in package.__all__)
        with pytest.raises(AttributeError, match="no attribute 'audits'"):
            _ = package.audits


class TestAccount:
    @pytest.fixture
    def simulator(self):
        """A pretend Klaviyo with three pages of customers, one of whom is there twice."""
        simulator = KlaviyoSimulator(account="SiMuLa")
        for number in range(250):
            simulator.add_profile(external_id=f"A{number}", email=f"c{number}@shop.test")
        simulator.add_profile(external_id="B1")
        return simulator

    def test_the_map_learns_on_the_way(self, open_client, simulator, state):
        """The first audit fills an empty map and says that it could not compare; the second one compares."""
        store = MemoryStore(clock=simulator.now)
        told = []
        with open_client(simulator, store) as k:
            with audit(k, on_progress=told.append) as found:
                assert (251, {"A5", "A6", "A7"}) == (found.profiles, set(found.not_checked))
            assert 250 == store.count("SiMuLa")
            with audit(k) as found:
                assert ({}, 250, ["A1"]) == (found.not_checked, found.bindings, [each.rule for each in found.findings])
        assert [100, 200, 251] == [each.done for each in told]
        assert [] == [entry for entry in simulator.journal if entry.endpoint != "get_profiles"]
        assert [] == [*state.iterdir()]

    def test_what_contradicts_the_map_is_found_and_not_overwritten(self, open_client, simulator, state):
        """P3: the map stays as it is, and the finding says what Klaviyo shows."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            k.bindings.add([{"external_id": "A7", "email": "else@shop.test"}])
            with audit(k) as found:
                assert "c7@shop.test" == only(found, "A6").profiles[0].email
            assert "else@shop.test" == k.bindings.get(external_id="A7").email

    def test_an_interrupted_audit_is_gone_on_with(self, open_client, simulator, state):
        """The pages before are not read again, and the findings are those of all pages."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            simulator.fail_next("get_profiles", status=401, match=lambda asked: "page[cursor]" in asked.query)
            with pytest.raises(AuthenticationError):
                audit(k)
            (kept,) = state.iterdir()
            assert 0o600 == kept.stat().st_mode & 0o777
            simulator.journal.clear()
            with audit(k) as found:
                assert (251, 2) == (found.profiles, len(simulator.journal))
            assert [] == [*state.iterdir()]

    def test_an_audit_that_was_interrupted_at_its_end(self, open_client, simulator, state, tmp_path):
        """When all is read, only the findings are looked for; a file that stands for the map is not read again."""
        shop = tmp_path / "shop.csv"
        shop.write_text("external_id,email\nA7,else@shop.test\n")

        def interrupt(progress):
            if progress.done == 251:
                raise KeyboardInterrupt

        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            with pytest.raises(KeyboardInterrupt):
                audit(k, bindings=shop, on_progress=interrupt)
            simulator.journal.clear()
            shop.unlink()
            with audit(k, bindings=shop) as found:
                assert (251, [], "c7@shop.test") == (
                    found.profiles, simulator.journal, only(found, "A6").profiles[0].email
                )  # fmt: skip

    def test_a_note_that_was_damaged(self, open_client, simulator, state):
        """A place that is no path of Klaviyo's is not gone to: the account is read from the beginning."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            simulator.fail_next("get_profiles", status=401, match=lambda asked: "page[cursor]" in asked.query)
            with pytest.raises(AuthenticationError):
                audit(k)
            (kept,) = state.iterdir()
            with closing(sqlite3.connect(kept)) as file, file:
                file.execute("UPDATE note SET value = 'https://else.test/api/profiles?x=1' WHERE name = 'next page'")
            with audit(k) as found:
                assert 251 == found.profiles

    def test_a_large_map_is_read_whole(self, open_client, simulator, state):
        """More customers than one page of the map has, with their former addresses and ids."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            k.bindings.add([{"external_id": f"L{number}", "email": f"l{number}@shop.test"} for number in range(1001)])
            former = {"former_emails": ["m@old.test"], "former_external_ids": ["M0"]}
            k.bindings.add([{"external_id": "M1", "email": "m@shop.test", **former}])
            simulator.add_profile(email="m@old.test")
            with audit(k) as found:
                assert (1002, ("m@old.test",)) == (found.bindings, only(found, "A5").binding.former)

    def test_other_channels_have_consents_too(self, open_client, state):
        """A source that is subscribed to messages about orders is not merged into a profile that is not."""
        simulator = KlaviyoSimulator(account="SiMuLa", readings=Readings(email_case="distinct"))
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            simulator.add_profile(external_id="1815", email="ada@shop.test", phone_number="+12025550198")
            other = simulator.add_profile(email="Ada@shop.test", phone_number="+12025550199")
            given = {"sms": {"transactional": {"consent": "SUBSCRIBED"}}}
            row = {
                "type": "profile",
                "id": other.id,
                "attributes": {"phone_number": "+12025550199", "subscriptions": given},
            }
            job = {"type": "profile-subscription-bulk-create-job", "attributes": {"profiles": {"data": [row]}}}
            assert 202 == by_hand(simulator, "POST", "/api/profile-subscription-bulk-create-jobs", job).status
            simulator.drain()
            with audit(k) as found:
                assert "subscribed to a channel" in only(found, "A2").why_not

    def test_an_audit_of_yesterday_begins_again(self, open_client, simulator, state, monkeypatch):
        """What was read long ago would report what is long mended."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            simulator.fail_next("get_profiles", status=401, match=lambda asked: "page[cursor]" in asked.query)
            with pytest.raises(AuthenticationError):
                audit(k)
            simulator.journal.clear()
            later = time.time() + 25 * 3600
            monkeypatch.setattr(time, "time", lambda: later)
            with audit(k) as found:
                assert (251, 3) == (found.profiles, len(simulator.journal))

    def test_a_place_that_klaviyo_has_forgotten(self, open_client, simulator, state):
        """Where the next page is refused, the account is read from the beginning, and each profile counts once."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            at = lambda asked: "page[cursor]" in asked.query  # noqa: E731 - a match
            simulator.fail_next("get_profiles", status=401, match=at)
            with pytest.raises(AuthenticationError):
                audit(k)
            simulator.fail_next("get_profiles", status=400, match=at)
            with audit(k) as found:
                assert 251 == found.profiles

    def test_pages_that_lead_back(self, open_client, simulator, state):
        """A link to a page that was read is an error, and no endless run."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            first = []

            def remember(asked):
                first.append(asked)
                return False

            simulator.fail_next("get_profiles", match=remember)
            again = {"data": [], "links": {"next": "https://a.klaviyo.com/api/profiles?page%5Bcursor%5D=x"}}
            simulator.fail_next("get_profiles", status=200, body=again, times=5)
            with pytest.raises(NoResponseError):
                audit(k)

    def test_two_at_once(self, open_client, simulator, state):
        """A second audit of the account has a file of its own, and both find the same."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            inner = []

            def second(_progress):
                if not inner:
                    inner.append(None)
                    with audit(k) as found:
                        inner.append([each.key for each in found.findings])

            with audit(k, on_progress=second) as found:
                assert inner[1] == [each.key for each in found.findings]

    def test_the_legacy_api_lists_no_profiles(self, open_client, simulator, state):
        """There an export is the way."""
        with (
            open_client(
                simulator, MemoryStore(), dialect="legacy", public_key="SiMuLa", base_url="http://127.0.0.1:1"
            ) as k,
            pytest.raises(ConfigurationError, match="give an export"),
        ):
            audit(k)

    def test_an_export_beside_the_map_of_a_client(self, open_client, simulator, exported, tmp_path):
        """The map may be a client's, for an export too; the plan is then of that account."""
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            k.bindings.add([{"external_id": "1815", "email": "ada@shop.test", "former_emails": ["ada@old.test"]}])
            with exported(ADA, {"email": "ada@old.test", "name": "Ada"}, bindings=None) as alone:
                assert "A5" in alone.not_checked
            with audit(tmp_path / "profiles.csv", bindings=k) as found:
                assert ({("A2", "A1")}, "SiMuLa") == (merges(found), found.plan().account)
