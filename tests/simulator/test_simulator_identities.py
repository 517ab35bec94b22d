"""Whose profile a write meets: the six situations, the conflicts, the takeovers, and each reading of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from safeklaviyo import Klaviyo, ProfileNotVisibleError
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.clients import ACCOUNT, KEY

WAYS = ["event", "load"]


def owner_of(answer):
    """Return the owner that a 409 names."""
    return json.loads(answer.body)["errors"][0]["meta"]["duplicate_profile_id"]


def pairs(simulator):
    """Return everybody's external id and email."""
    return sorted(
        ((profile.external_id, profile.email) for profile in simulator.profiles), key=lambda pair: tuple(map(str, pair))
    )


class TestSixSituations:
    @pytest.fixture(params=WAYS)
    def say(self, request, simulator, ask):
        """Say something about a person, in each of the two ways that create and update."""

        def say(**who):
            assert getattr(ask, request.param)(**who).status in {200, 201, 202}
            simulator.drain()

        return say

    def test_1_an_id_alone_meets_the_pair(self, simulator, say):
        """A call with the id reaches the profile with id and email, and takes nothing from it."""
        simulator.add_profile(external_id="7", email="ann@shop.org")
        say(external_id="7")
        assert pairs(simulator) == [("7", "ann@shop.org")]

    def test_2_an_email_alone_meets_the_pair(self, simulator, say):
        """A call with the email reaches the profile with id and email, and takes nothing from it."""
        simulator.add_profile(external_id="7", email="ann@shop.org")
        say(email="ann@shop.org")
        assert pairs(simulator) == [("7", "ann@shop.org")]

    def test_3_the_pair_meets_an_id_alone(self, simulator, say):
        """A call with both reaches the profile that has only the id, and gives it the email."""
        simulator.add_profile(external_id="7")
        say(external_id="7", email="ann@shop.org")
        assert pairs(simulator) == [("7", "ann@shop.org")]

    def test_4_the_pair_meets_an_email_alone(self, simulator, say):
        """A call with both reaches the profile that has only the email, and gives it the id."""
        simulator.add_profile(email="ann@shop.org")
        say(external_id="7", email="ann@shop.org")
        assert pairs(simulator) == [("7", "ann@shop.org")]

    def test_5_the_pair_with_another_id_meets_the_email(self, simulator, say):
        """A call with a known email and an unknown id reaches the email's profile, and overwrites its id."""
        simulator.add_profile(external_id="7", email="ann@shop.org")
        say(external_id="8", email="ann@shop.org")
        assert pairs(simulator) == [("8", "ann@shop.org")]

    def test_6_an_email_alone_misses_an_id_alone(self, simulator, say):
        """A call with the email creates a second profile beside the one that has only the id."""
        simulator.add_profile(external_id="7")
        say(email="ann@shop.org")
        assert pairs(simulator) == [("7", None), (None, "ann@shop.org")]

    def test_a_known_phone_takes_over_the_email(self, simulator, say):
        """A call with a known phone and a new email changes the email of the phone's profile."""
        ann = simulator.add_profile(email="ann@shop.org", phone_number="+12025550123")
        say(email="bob@shop.org", phone_number="+12025550123")
        assert [(ann.id, "bob@shop.org")] == [(profile.id, profile.email) for profile in simulator.profiles]

    def test_a_known_email_takes_a_new_phone(self, simulator, say):
        """A call with a known email and a new phone replaces the phone, and the consent that was the number's."""
        simulator.add_profile(email="ann@shop.org", phone_number="+12025550123", sms_consent="SUBSCRIBED")
        say(email="ann@shop.org", phone_number="+12025550199")
        (ann,) = simulator.profiles
        assert ("+12025550199", "NEVER_SUBSCRIBED") == (ann.phone_number, ann.sms_consent)

    def test_an_unknown_pair_creates_one_profile(self, simulator, say):
        """A call about nobody creates exactly one profile with both identifiers."""
        say(external_id="7", email="ann@shop.org")
        assert pairs(simulator) == [("7", "ann@shop.org")]


class TestCreate:
    @pytest.mark.parametrize(
        "taken", [{"email": "ANN@shop.org"}, {"external_id": "7"}, {"phone_number": "+12025550123"}]
    )
    def test_an_identifier_that_is_taken_conflicts(self, simulator, ask, taken):
        """Create answers 409 and names the owner for each kind of identifier, and changes nothing."""
        ann = simulator.add_profile(email="ann@shop.org", external_id="7", phone_number="+12025550123")
        answer = ask.create(**{"email": "new@shop.org", **taken})
        assert (409, ann.id) == (answer.status, owner_of(answer))
        assert [ann] == simulator.profiles

    def test_external_ids_may_be_free(self, asking):
        """In the other reading Create makes a second profile with somebody's external id."""
        simulator = KlaviyoSimulator(Readings(external_id_unique_on_create=False))
        ask = asking(simulator)
        ask.created(email="ann@shop.org", external_id="7")
        assert ask.create(email="bob@shop.org", external_id="7").status == 201
        assert ask.create(email="bob@shop.org", external_id="8").status == 409
        assert len(ask.found('equals(external_id,"7")')) == 2

    def test_external_ids_may_be_dropped(self, asking):
        """In the third reading Create drops an id that is another profile's, and the names with it."""
        ask = asking(KlaviyoSimulator(Readings(external_id_unique_on_create="dropped")))
        ask.created(email="ann@shop.org", external_id="7")
        answer = ask.create(email="bob@shop.org", external_id="7", first_name="Bob", title="Dr", properties={"a": 1})
        shown = json.loads(answer.body)["data"]["attributes"]
        names = ("email", "external_id", "first_name", "title", "properties")
        assert (201, ["bob@shop.org", None, None, "Dr", {"a": 1}]) == (answer.status, [shown[name] for name in names])
        ask.created(email="eve@shop.org", external_id="8")
        assert len(ask.found('equals(external_id,"8")')) == 1
        assert ask.create(email="ann@shop.org", external_id="7").status == 409


class TestUpdate:
    def test_it_changes_the_email_and_keeps_the_id(self, simulator, ask):
        """An update changes an email in place, so that a search finds the same profile by the new one only."""
        ann = ask.created(email="ann@shop.org", external_id="7")
        assert ask.patch(ann, email="ann@new.org").status == 200
        assert [ann] == ask.found('equals(email,"ann@new.org")')
        assert ask.found('equals(email,"ann@shop.org")') == []

    def test_somebody_elses_identifier_conflicts(self, simulator, ask):
        """An update with somebody else's identifier answers 409, names the owner, and applies nothing."""
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        before = simulator.find(email="bob@shop.org")
        answer = ask.patch(bob, email="ann@shop.org", first_name="Bob")
        assert (409, ann) == (answer.status, owner_of(answer))
        assert before == simulator.find(email="bob@shop.org")

    def test_null_clears_and_omission_keeps(self, simulator, ask):
        """Null takes an identifier or a name away; what is left out stays."""
        ann = ask.created(email="ann@shop.org", external_id="7", first_name="Ann", last_name="Lee")
        ask.patch(ann, external_id=None, first_name=None)
        (profile,) = simulator.profiles
        assert (None, "ann@shop.org", {"last_name": "Lee"}) == (profile.external_id, profile.email, profile.attributes)
        assert ask.found('equals(external_id,"7")') == []

    def test_what_old_accounts_share_is_not_a_conflict(self, simulator, ask):
        """Of two profiles with one email each may be updated with that email, in both ways."""
        first = simulator.add_profile(email="ann@shop.org", external_id="7")
        second = simulator.add_profile(email="ann@shop.org", external_id="8")
        assert ask.patch(second.id, email="ann@shop.org", first_name="Ann").status == 200
        assert ask.load(email="ann@shop.org", external_id="8").status == 200
        assert first.id == owner_of(ask.create(email="ann@shop.org"))
        assert ask.patch(first.id, first_name="Ann").status == 200
        assert first.id == owner_of(ask.create(email="ann@shop.org"))
        with pytest.raises(LookupError, match="2 profiles"):
            simulator.find(email="ann@shop.org")


class TestCreateOrUpdate:
    def test_two_owners_conflict(self, simulator, ask):
        """An email of one and a phone of another profile answer 409: this endpoint never merges."""
        simulator.add_profile(email="ann@shop.org")
        bob = simulator.add_profile(phone_number="+12025550123")
        answer = ask.load(email="ann@shop.org", phone_number="+12025550123")
        assert (409, bob.id, 2) == (answer.status, owner_of(answer), len(simulator.profiles))

    def test_an_id_alone_updates(self, simulator, ask):
        """A profile id and nothing else updates that profile."""
        ann = ask.created(email="ann@shop.org")
        answer = ask.load(ann, {"patch_properties": {"append": {"tags": "vip"}}})
        assert (200, ["vip"]) == (answer.status, simulator.profiles[0].properties["tags"])

    def test_an_unknown_id_is_not_found(self, ask):
        """A profile id that nobody has answers 404."""
        assert ask.load("01NOBODY", email="ann@shop.org").status == 404

    @pytest.mark.parametrize("status", [404, 409])
    def test_an_id_with_a_foreign_email_by_reading(self, asking, status):
        """A profile id with somebody else's email answers 404 or 409, by the reading, though the id exists."""
        ask = asking(KlaviyoSimulator(Readings(import_conflict=status)))
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        assert ask.load(bob, email="ann@shop.org").status == status
        assert ask("GET", f"/api/profiles/{bob}").status == 200
        assert ask("GET", f"/api/profiles/{ann}").status == 200

    def test_an_id_with_a_foreign_phone_conflicts(self, ask):
        """A profile id with somebody else's phone answers 409 in every reading."""
        ask.created(email="ann@shop.org", phone_number="+12025550123")
        assert ask.load(ask.created(email="bob@shop.org"), phone_number="+12025550123").status == 409


class TestEvents:
    def test_ids_outrank_each_other_in_order(self, simulator, ask):
        """Of a profile id, an external id and an email that lead to three profiles, the profile id wins."""
        ann = simulator.add_profile(email="ann@shop.org", external_id="1")
        simulator.add_profile(email="bob@shop.org", external_id="2")
        simulator.add_profile(email="cat@shop.org", external_id="3")
        ask.event(profile_id=ann.id, external_id="2", email="cat@shop.org")
        simulator.drain()
        assert [ann.id] == [event.profile_id for event in simulator.events]
        assert pairs(simulator) == [("1", "ann@shop.org"), ("2", "bob@shop.org"), ("3", "cat@shop.org")]

    def test_a_dead_profile_id_yields_to_the_next(self, simulator, ask):
        """A profile id that nobody has is passed over when another identifier is known."""
        ann = simulator.add_profile(email="ann@shop.org")
        ask.event(profile_id="01NOBODY", email="ann@shop.org")
        simulator.drain()
        assert [ann.id] == [event.profile_id for event in simulator.events]

    def test_a_device_is_somebody(self, simulator, ask):
        """An event by an anonymous id alone makes a profile without identifiers, and later events find it."""
        for _ in range(2):
            assert ask.event(unique_id=str(_), anonymous_id="dev").status == 202
        simulator.drain()
        (nobody,) = simulator.profiles
        assert (None, None, {nobody.id}) == (
            nobody.email, nobody.external_id, {event.profile_id for event in simulator.events},
        )  # fmt: skip
        ask.event(email="ann@shop.org", anonymous_id="dev")
        simulator.drain()
        assert [(nobody.id, "ann@shop.org")] == [(each.id, each.email) for each in simulator.profiles]

    def test_a_device_joins_who_is_known(self, simulator, ask):
        """A profile of a device is merged into a known one; a device that is known as a person stays that person's."""
        ann = simulator.add_profile(email="ann@shop.org")
        ask.event("A", anonymous_id="dev")
        ask.event("B", email="ann@shop.org", anonymous_id="dev")
        ask.event("C", anonymous_id="dev")
        ask.event("D", email="bob@shop.org", anonymous_id="dev")
        ask.event("E", anonymous_id="dev")
        ask.event("G", email="bob@shop.org", anonymous_id="dev")
        simulator.drain()
        owners = {event.metric: event.profile_id for event in simulator.events}
        bob = simulator.find(email="bob@shop.org").id
        assert {"A": ann.id, "B": ann.id, "C": ann.id, "D": bob, "E": ann.id, "G": bob} == {
            metric: owner for metric, owner in owners.items() if metric != "Merged Profile"
        }
        ask.delete(ann.id)
        ask.event("F", anonymous_id="dev")
        simulator.drain()
        assert owners["D"] == bob != simulator.events[-1].profile_id

    @pytest.mark.parametrize("who", [{"profile_id": "01NOBODY"}, {"_kx": "a.SiMuLa"}])
    def test_nobody_gets_nothing(self, simulator, ask, who):
        """An event that names nobody known is accepted, and lost."""
        assert ask.event(**who).status == 202
        simulator.drain()
        assert (0, 0, 1) == (len(simulator.events), len(simulator.profiles), len(simulator.dropped))

    @pytest.mark.parametrize(
        ("readings", "landed", "left"),
        [
            (Readings(), "1", [("1", "ann@shop.org"), ("2", "bob@shop.org")]),
            (Readings(event_conflict="keep"), "1", [("1", "ann@shop.org"), ("2", "bob@shop.org")]),
            (Readings(event_conflict="merge"), "1", [("1", "bob@shop.org")]),
            (Readings(event_email_first=True), "2", [("1", "ann@shop.org"), ("2", "bob@shop.org")]),
        ],
    )
    def test_two_owners_by_reading(self, asking, readings, landed, left):
        """An external id of one and an email of another: where the event lands and who is left, by the reading."""
        simulator = KlaviyoSimulator(readings)
        simulator.add_profile(external_id="1", email="ann@shop.org")
        simulator.add_profile(external_id="2", email="bob@shop.org")
        assert asking(simulator).event(external_id="1", email="bob@shop.org").status == 202
        simulator.drain()
        owner = simulator.find(external_id=landed)
        assert owner is not None
        assert owner.id in {event.profile_id for event in simulator.events}
        assert pairs(simulator) == left

    @pytest.mark.parametrize(
        ("conflict", "left"),
        [
            ("merge_alone", [("1", "bob@shop.org")]),
            ("merge", [("1", "bob@shop.org")]),
            ("keep", [("1", "ann@shop.org"), (None, "bob@shop.org")]),
        ],
    )
    def test_an_email_alone_is_merged_by_reading(self, asking, conflict, left):
        """A profile that is recognised by the event's email alone is merged, unless the reading keeps it."""
        simulator = KlaviyoSimulator(Readings(event_conflict=conflict))
        simulator.add_profile(external_id="1", email="ann@shop.org")
        simulator.add_profile(email="bob@shop.org")
        asking(simulator).event(external_id="1", email="bob@shop.org")
        simulator.drain()
        assert pairs(simulator) == left

    def test_an_id_alone_is_merged_too(self, simulator, ask):
        """An event that names a profile by its id merges the one that has only the event's external id."""
        ann = simulator.add_profile(email="ann@shop.org")
        simulator.add_profile(external_id="1")
        ask.event(profile_id=ann.id, external_id="1")
        simulator.drain()
        assert [("1", "ann@shop.org")] == pairs(simulator)

    @pytest.mark.parametrize(("replaces", "email"), [(True, "new@shop.org"), (False, "ann@shop.org")])
    def test_the_email_is_replaced_by_reading(self, asking, replaces, email):
        """An event with a known id and a new email replaces the email, or keeps it, by the reading."""
        simulator = KlaviyoSimulator(Readings(event_replaces_email=replaces))
        simulator.add_profile(external_id="1", email="ann@shop.org")
        simulator.add_profile(external_id="2")
        asking(simulator).event(external_id="1", email="new@shop.org")
        asking(simulator).event(external_id="2", email="cat@shop.org")
        simulator.drain()
        assert pairs(simulator) == [("1", email), ("2", "cat@shop.org")]


@pytest.mark.parametrize(
    ("case", "stored", "same"),
    [("lowered", "ann@shop.org", True), ("kept", "Ann@Shop.org", True), ("distinct", "Ann@Shop.org", False)],
)
def test_the_case_of_an_email_by_reading(asking, case, stored, same):
    """An address is stored in lower case or as sent, and another spelling finds it or does not, by the reading."""
    ask = asking(KlaviyoSimulator(Readings(email_case=case)))
    ann = ask.created(email=" Ann@Shop.org ")
    assert stored == ask.json("GET", f"/api/profiles/{ann}")["data"]["attributes"]["email"]
    assert ([ann] if same else []) == ask.found('equals(email,"aNN@shop.org")')
    assert (409 if same else 201) == ask.create(email="aNN@shop.org").status


@pytest.mark.parametrize(("cut", "status"), [(None, 201), (64, 409)])
def test_long_external_ids_by_reading(asking, cut, status):
    """Two long ids that differ after 64 characters are two, unless the reading cuts them off."""
    ask = asking(KlaviyoSimulator(Readings(external_ids_cut_at=cut)))
    ask.created(external_id="x" * 64 + "1")
    assert ask.create(external_id="x" * 64 + "2").status == status


class TestIds:
    def test_they_look_like_klaviyos(self):
        """An id has 26 letters and digits, begins as Klaviyo's do today, and comes after the ids before it."""
        simulator = KlaviyoSimulator()
        ids = [simulator.add_profile(email=f"{number}@shop.dev").id for number in range(40)]
        assert all(re.fullmatch("01[0-9A-HJKMNP-TV-Z]{24}", each) for each in ids)
        assert sorted(set(ids)) == ids

    def test_no_two_simulators_have_the_same(self):
        """Simulators of one process and of another never give the same id, to profiles or to events."""
        script = (
            "from safeklaviyo.testing import KlaviyoSimulator\n"
            "for _ in range(20):\n"
            "    simulator = KlaviyoSimulator(start=0.0)\n"
            "    for number in range(3): print(simulator.add_profile(email=f'{number}@shop.dev').id)\n"
        )
        runs = [
            subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
            for _ in range(2)
        ]
        ids = [each for run in runs for each in run]
        assert 120 == len(set(ids))

    def test_a_client_that_is_older_meets_nobody_else(self):
        """What a client knows from an earlier simulator leads to nobody in the next: each customer stays apart."""
        before, after = KlaviyoSimulator(), KlaviyoSimulator()
        bob = after.add_profile(external_id="bob-2", email="bob@shop.dev")
        with Klaviyo(KEY, account=ACCOUNT, store="memory://") as k:
            with before.mock():
                ann = k.identify(external_id="ann-1", email="ann@shop.dev").profile_id
            with after.mock(), pytest.raises(ProfileNotVisibleError):
                k.identify({"plan": "gold"}, external_id="ann-1", email="ann@shop.dev")
        assert ann != bob.id
        assert [bob] == after.profiles
