"""What a shop may decide, and how a wrong setting is refused."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest
from pydantic import ValidationError

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.policy import DAY, Policy, RetryPolicy

DURATIONS = [
    (Policy, "lease"),
    (Policy, "wait"),
    (Policy, "retired_for"),
    (Policy, "refresh_after"),
    (Policy, "visible_wait"),
    (RetryPolicy, "max_delay"),
    (RetryPolicy, "give_up_after"),
]
WORDS = {
    "first_contact": ("verify", "trust"),
    "event_naming": ("pair", "profile_id"),
    "unknown_id": ("lookup", "refuse"),
    "email_mismatch": ("refuse", "change", "keep"),
    "properties": ("drop", "refuse"),
    "retired": ("rewrite", "refuse"),
    "drift": ("refuse", "adopt"),
}


def test_defaults_are_the_strict_ones():
    """Who decides nothing gets verification, pairs, look-ups and refusals."""
    policy = Policy()
    assert {name: words[0] for name, words in WORDS.items()} == {name: getattr(policy, name) for name in WORDS}
    assert (365 * DAY, 30 * DAY, 64, False) == (
        policy.retired_for,
        policy.refresh_after,
        policy.max_external_id_length,
        policy.allow_test_addresses,
    )


def test_retry_defaults():
    """Who decides nothing gets four attempts within a minute."""
    policy = RetryPolicy()
    assert (4, 30.0, 60.0) == (policy.max_attempts, policy.max_delay, policy.give_up_after)


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, words in WORDS.items() for word in words])
def test_every_word_is_accepted(name, word):
    """Each documented word is a setting."""
    assert word == getattr(Policy(**{name: word}), name)


@pytest.mark.parametrize(("settings", "name"), DURATIONS)
def test_durations(settings, name):
    """A duration is seconds as a number, or a timedelta."""
    given = [settings(**{name: value}) for value in (90, 90.0, timedelta(minutes=1, seconds=30))]
    assert [90.0] * 3 == [getattr(each, name) for each in given]


@pytest.mark.parametrize(("settings", "name"), DURATIONS)
@pytest.mark.parametrize("value", [-1, timedelta(seconds=-1), float("nan"), float("inf"), "soon"])
def test_durations_that_are_none(settings, name, value):
    """A duration that never ends, or ends before it begins, is refused by the setting's name."""
    with pytest.raises(ConfigurationError, match=rf"^{settings.__name__}\.{name}: Input should be "):
        settings(**{name: value})


def test_which_durations_may_be_zero_or_endless():
    """Only waiting for visibility can be left out, and only retirement can last for ever."""
    assert (0.0, None) == (Policy(visible_wait=0).visible_wait, Policy(retired_for=None).retired_for)
    for settings, name in DURATIONS:
        if name != "visible_wait":
            with pytest.raises(ConfigurationError):
                settings(**{name: 0})
        if name != "retired_for":
            with pytest.raises(ConfigurationError):
                settings(**{name: None})


@pytest.mark.parametrize(
    ("settings", "wrong", "message"),
    [
        (Policy, {"first_contact": "maybe"}, "Policy.first_contact: Input should be 'verify' or 'trust'"),
        (Policy, {"frist_contact": "trust"}, "Policy.frist_contact: Extra inputs are not permitted"),
        (Policy, {"blocked_values": {1}}, "Policy.blocked_values.0: Input should be a valid string"),
        (
            Policy,
            {"max_external_id_length": 0},
            "Policy.max_external_id_length: Input should be greater than or equal to 1",
        ),
        (
            Policy,
            {"max_external_id_length": 256},
            "Policy.max_external_id_length: Input should be less than or equal to 255",
        ),
        (RetryPolicy, {"max_attempts": 0}, "RetryPolicy.max_attempts: Input should be greater than or equal to 1"),
        (RetryPolicy, {"max_attempts": 101}, "RetryPolicy.max_attempts: Input should be less than or equal to 100"),
        (RetryPolicy, {"max_attempt": 3}, "RetryPolicy.max_attempt: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_is_named(settings, wrong, message):
    """A setting that does not exist, or cannot be so, is refused with its name and what it may be."""
    with pytest.raises(ConfigurationError) as caught:
        settings(**wrong)
    assert message == str(caught.value)


def test_p8_the_refusal_does_not_quote_the_value():
    """P8: what was given stays out of the message, and out of what a traceback prints before it (F-27)."""
    with pytest.raises(ConfigurationError) as caught:
        Policy(first_contact="jane@shop.example", blocked_values="jane@shop.example", lease="jane@shop.example")
    assert "jane" not in str(caught.value)
    assert (None, True) == (caught.value.__cause__, caught.value.__suppress_context__)


@pytest.mark.parametrize(("settings", "name"), [(Policy, "drift"), (RetryPolicy, "give_up_after")])
def test_settings_are_frozen(settings, name):
    """A policy that calls share cannot be changed under them."""
    policy = settings()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(policy, name, getattr(policy, name))


def test_blocked_values_are_folded_once():
    """Blocked values are compared without case and without the blanks around them."""
    assert (
        frozenset({"guest@shop.example", "n.n."})
        == Policy(blocked_values={" Guest@Shop.example", "N.N. "}).blocked_values
    )


@pytest.mark.parametrize("policy", [Policy(blocked_values={"Nobody"}, lease=3), RetryPolicy(max_attempts=2)])
def test_settings_are_values(policy):
    """Equal settings are equal and hash alike, also after pickling."""
    restored = pickle.loads(pickle.dumps(policy))
    assert (policy, hash(policy)) == (restored, hash(restored))


def test_the_old_name_of_give_up_after() -> None:
    """`deadline` still sets and shows it, with a warning; both at once are refused."""
    with pytest.warns(DeprecationWarning, match="give_up_after"):
        policy = RetryPolicy(deadline=7)
    assert 7.0 == policy.give_up_after
    assert (7.0, 7.0, 5.0) == (policy.within(None), policy.within(30.0), policy.within(5.0))
    assert (None, 30.0) == (RetryPolicy(give_up_after=7).within(None), RetryPolicy(give_up_after=7).within(30.0))
    with pytest.warns(DeprecationWarning, match="give_up_after"):
        assert 7.0 == policy.deadline
    with pytest.raises(ConfigurationError, match="give one of them"):
        RetryPolicy(deadline=7, give_up_after=7)
