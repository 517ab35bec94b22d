"""Which call made a second profile, and why: each fault of the field planted, and logs that only look like one."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from safeklaviyo.audit import Diagnosis, diagnose
from safeklaviyo.testing import KlaviyoSimulator
from support.diagnosis_logs import FAULTS, PAUSE, START, Planted, Shop, log

EXPECTED = {
    "5": ("5", "R7", "overwrote the id"),
    "6": ("6", "R9", "by id alone"),
    "race": ("race", "R4", "at the same moment"),
    "founding": ("race", "R4", "a new address at the same moment"),
    "late event": ("late event", "R10", "applied only after"),
    "late pair": ("late event", "R10", "applied only after"),
    "browser": ("browser", "R11", "came from a browser"),
    "stale queue": ("stale queue", "R11", "from a queue"),
    "old address": ("old address", "R11", "no longer had"),
    "put back": ("put back", "R5", "put that address back"),
    "shared phone": ("shared phone", "R14", "carried a phone number"),
    "merged address": ("merged address", "R11", "merged into another one"),
    "number": ("number", "R1", "in another form"),
    "placeholder": ("placeholder", "R1", "a placeholder"),
    "withdrawal": ("withdrawal", "R19", "withdrew a consent"),
}
"""By planted fault: the situation, the rule, and words of the explanation."""
LOGS = Path(__file__).parents[2] / "examples" / "logs"
SAME = {"external_id": "7001", "email": "ada@shop.test"}


def told(har: dict[str, Any], tmp_path: Path, **options: Any) -> Diagnosis:
    """Diagnose a log."""
    path = tmp_path / "shop.har"
    path.write_text(json.dumps(har))
    return diagnose(path, **options)


def shop() -> Shop:
    """Return a shop whose calls are logged."""
    made = Shop(Random(0))
    made.klaviyo.add_list("News")
    return made


def of(made: Shop) -> dict[str, Any]:
    """Return a shop's log."""
    return Planted("", made.entries).har


class TestPlanted:
    @pytest.mark.parametrize("kind", FAULTS)
    def test_is_found_and_explained(self, kind: str, tmp_path: Path) -> None:
        """Each fault is found with all calls that made it, named, explained, and met by a rule."""
        planted = log(1, kind, customers=1, calls=3)
        found = told(planted.har, tmp_path)
        situation, rule, words = EXPECTED[kind]
        assert found.cause is not None
        assert (planted.cause, planted.certain) == (found.cause.index, found.certain)
        assert set(planted.calls) <= {call.index for call in found.calls}
        assert (situation, rule) == (found.situation, found.rule)
        assert words in found.explanation
        assert len(found.calls) == len(found.prevented)

    @pytest.mark.parametrize("kind", ["5", "6", "shared phone", "number", "placeholder"])
    def test_its_calls_alone_make_two_profiles(self, kind: str, tmp_path: Path) -> None:
        """The calls of a cause, sent as they were to a Klaviyo that knows nobody, make two profiles."""
        planted = log(4, kind, customers=1, calls=2)
        klaviyo = KlaviyoSimulator(start=START)
        for call in told(planted.har, tmp_path).calls:
            request = planted.entries[call.index]["request"]
            headers = {each["name"]: each["value"] for each in request["headers"]}
            path = request["url"].removeprefix("https://a.klaviyo.com")
            klaviyo.handle(request["method"], path, headers, request["postData"]["text"].encode())
            klaviyo.drain()
        assert 2 == len(klaviyo.profiles)

    def test_this_library_makes_one_profile_of_each(self, tmp_path: Path) -> None:
        """Through this library no fault leaves a second profile that its calls were written to."""
        for kind in FAULTS:
            prevented = told(log(6, kind, customers=0).har, tmp_path).prevented
            assert (kind, False) == (kind, any("two profiles here too" in each for each in prevented))

    def test_every_fault_is_expected(self) -> None:
        """No fault of the generator is left out."""
        assert set(EXPECTED) == set(FAULTS)

    def test_says_what_it_assumes(self, tmp_path: Path) -> None:
        """What is not certain names the race, the delay or the reading."""
        for kind, begin in {
            "race": "race",
            "late event": "delay",
            "late pair": "delay",
            "withdrawal": "reading",
        }.items():
            assert [begin] == [each.partition(":")[0] for each in told(log(2, kind, customers=0).har, tmp_path).assumes]


class TestNoSecondProfile:
    """Klaviyo matches rightly in four of the six situations."""

    def test_id_of_a_profile_with_both(self, tmp_path: Path) -> None:
        """Situation 1: the id leads to the profile."""
        made = shop()
        made.identify(**SAME)
        made.track(external_id=SAME["external_id"])
        assert told(of(made), tmp_path).cause is None

    def test_email_of_a_profile_with_both(self, tmp_path: Path) -> None:
        """Situation 2: the email leads to the profile."""
        made = shop()
        made.identify(**SAME)
        made.wait(PAUSE)
        made.track(email=SAME["email"])
        assert told(of(made), tmp_path).cause is None

    def test_both_for_a_profile_with_the_id(self, tmp_path: Path) -> None:
        """Situation 3: the email is set."""
        made = shop()
        made.track(external_id=SAME["external_id"])
        made.identify(**SAME)
        assert told(of(made), tmp_path).cause is None

    def test_both_for_a_profile_with_the_email(self, tmp_path: Path) -> None:
        """Situation 4: the id is set."""
        made = shop()
        made.track(email=SAME["email"])
        made.wait(PAUSE)
        made.identify(**SAME)
        assert told(of(made), tmp_path).cause is None

    def test_address_that_goes_to_another_customer(self, tmp_path: Path) -> None:
        """An address that one customer has left and another one takes makes the two no one person."""
        made = shop()
        first = made.identify(**SAME)
        made.wait(PAUSE)
        made.update(made.id_of(first), email="ada@new.test")
        made.wait(PAUSE)
        made.identify(external_id="7002", email=SAME["email"])
        made.wait(PAUSE)
        made.track(email=SAME["email"])
        made.track(external_id="7001", email="ada@new.test")
        assert told(of(made), tmp_path).cause is None

    def test_profile_that_was_taken_over_joins_nobody(self, tmp_path: Path) -> None:
        """Two customers are not one person because one got the other's profile by a phone number."""
        made = shop()
        phone = {"phone_number": "+491701234567"}
        made.identify(**SAME, **phone)
        taken = made.identify(email="bea@shop.test", **phone)
        made.update(made.id_of(taken), email="bea@new.test")
        made.wait(PAUSE)
        made.track(email="bea@new.test")
        assert told(of(made), tmp_path).cause is None

    def test_empty_log(self, tmp_path: Path) -> None:
        """A log without calls has no cause, and says so."""
        found = told(of(shop()), tmp_path)
        assert (None, (), False, 0) == (found.cause, found.calls, found.certain, found.skipped)


class TestEvidence:
    def test_the_history_that_tracked_right(self) -> None:
        """An address that Klaviyo shows afterwards rules out the reading under which it would not have been stored."""
        assert None is diagnose(LOGS / "tracked_right.har").cause

    def test_the_history_that_duplicated(self) -> None:
        """The same calls within a second, and two profiles in the answer: a race, which is not certain."""
        found = diagnose(LOGS / "duplicated.har")
        assert ("race", False, [0, 2, 3]) == (found.situation, found.certain, [call.index for call in found.calls])

    def test_answers_decide_between_histories(self, tmp_path: Path) -> None:
        """What Klaviyo answered later rules out the histories in which it would have answered otherwise."""
        made = shop()
        first = made.identify(**SAME)
        made.wait(PAUSE)
        with made.late():
            made.track(email=SAME["email"])
            made.update(made.id_of(first), email="ada@new.test")
        made.wait(PAUSE)
        made.search(SAME["email"])
        found = told(of(made), tmp_path)
        assert "late event" == found.situation
        # Without a ghost in the answer nothing says that the event was late; with the profile itself it was not.
        shown = json.loads(made.entries[-1]["response"]["content"]["text"])
        assert 1 == len(shown["data"])
        assert made.id_of(first) != shown["data"][0]["id"]

    def test_log_that_begins_in_mid_life_is_not_certain(self, tmp_path: Path) -> None:
        """An answer that shows an unknown profile says that the log lacks the beginning."""
        made = shop()
        first = made.identify(**SAME)
        made.wait(PAUSE)
        made.update(made.id_of(first), email="ada@new.test")
        made.wait(PAUSE)
        made.track(email=SAME["email"])
        whole = told(of(made), tmp_path)
        del made.entries[0]
        cut = told(of(made), tmp_path)
        assert (True, ()) == (whole.certain, whole.assumes)
        assert not cut.certain

    def test_sign_up_before_the_log_begins(self, tmp_path: Path) -> None:
        """An update where the log knows no profile gives the earlier profile away."""
        made = shop()
        made.identify(**SAME)
        made.wait(PAUSE)
        del made.entries[0]
        made.identify(**SAME, first_name="Ada")
        made.wait(PAUSE)
        made.identify(external_id="7002", email=SAME["email"])
        made.wait(PAUSE)
        made.track(external_id=SAME["external_id"])
        found = told(of(made), tmp_path)
        assert found.cause is not None
        assert (2, False) == (found.cause.index, found.certain)
        assert any(each.startswith("start:") for each in found.assumes)

    def test_start_loads_the_account_as_it_was(self, tmp_path: Path) -> None:
        """With an export nothing is assumed about what was there before."""
        made = shop()
        profile = made.id_of(made.identify(**SAME))
        made.wait(PAUSE)
        del made.entries[0]
        made.identify(external_id="7002", email=SAME["email"])
        made.wait(PAUSE)
        made.track(external_id=SAME["external_id"])
        start = tmp_path / "export.csv"
        start.write_text(f"Klaviyo ID,External ID,Email\n{profile},7001,ada@shop.test\nP9,9,other@shop.test\n")
        found = told(of(made), tmp_path, start=start)
        assert found.cause is not None
        assert (1, True, "5") == (found.cause.index, found.certain, found.situation)

    def test_unanswered_call_is_not_certain(self, tmp_path: Path) -> None:
        """A cause that needs a call without an answer says so."""
        made = shop()
        made.identify(**SAME)
        made.identify(external_id="7002", email=SAME["email"])
        made.entries[-1]["response"] = {"status": 0, "headers": [], "content": {}}
        made.track(external_id=SAME["external_id"])
        found = told(of(made), tmp_path)
        assert (False, ["outcome"]) == (found.certain, [each.partition(":")[0] for each in found.assumes])

    def test_refused_call_did_nothing(self, tmp_path: Path) -> None:
        """A call that Klaviyo refused for its form or its rate is no part of a cause."""
        made = shop()
        made.identify(**SAME)
        made.identify(external_id="7002", email=SAME["email"])
        made.entries[-1]["response"] = {"status": 429, "headers": [], "content": {}}
        made.track(external_id=SAME["external_id"])
        assert told(of(made), tmp_path).cause is None


class TestAsked:
    def test_profiles_choose_the_customer(self, tmp_path: Path) -> None:
        """Of several customers with two profiles the one that is asked for is diagnosed."""
        made = shop()
        for number in (1, 2):
            first = made.identify(external_id=f"800{number}", email=f"c{number}@shop.test")
            made.identify(external_id=f"900{number}", email=f"c{number}@shop.test")
            second = made.identify(external_id=f"800{number}", email=f"c{number}@new.test")
        asked = (made.id_of(first), made.id_of(second))
        found, any_ = told(of(made), tmp_path, profiles=asked), told(of(made), tmp_path)
        assert found.cause is not None
        assert any_.cause is not None
        assert (5, 2) == (found.cause.index, any_.cause.index)

    def test_number_as_id_is_a_reading(self, tmp_path: Path) -> None:
        """That Klaviyo takes a number for another id than its text is assumed, not certain."""
        made = shop()
        made.identify(**SAME)
        made.track(external_id=7001)
        found = told(of(made), tmp_path)
        assert ("number", False) == (found.situation, found.certain)
        assert "reading: Klaviyo takes an id that is sent as a number for another id than its text" == found.assumes[0]
