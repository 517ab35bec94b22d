"""The filter language: quoting, conjunctions, times, and what is refused."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeklaviyo.testing import KlaviyoSimulator, Readings

HEADERS = {"authorization": "Klaviyo-API-Key pk_x"}


def search(simulator, text, *, encode=True):
    """Ask for the profiles that a filter describes."""
    target = f"/api/profiles?filter={quote(text, safe='') if encode else text}"
    return simulator.handle("GET", target, HEADERS)


def found(simulator, text):
    """Return the ids that a filter finds."""
    answer = search(simulator, text)
    assert answer.status == 200, answer.body
    return [row["id"] for row in json.loads(answer.body)["data"]]


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS)
@example('a"b', "a\\")
@example("a+b c,d(e)[f]", 'x"),equals(email,"y')
@example("\\\\", '\\"')
@example("O'Neill", "it's \\'")
def test_every_quoted_value_finds_its_owner_alone(value, other):
    """Any text, in quotes of either kind and percent-encoded, finds exactly the profile that has it."""
    simulator = KlaviyoSimulator()
    owner = simulator.add_profile(external_id=value)
    if other != value:
        simulator.add_profile(external_id=other)
    single = "'" + json.dumps(value)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
    for quoted in (json.dumps(value), json.dumps(value, ensure_ascii=False), single):
        assert [owner.id] == found(simulator, f"equals(external_id,{quoted})")
        assert [owner.id] == found(simulator, f"any(external_id,[{quoted},{quoted}])")


def test_a_raw_plus_is_a_space(simulator):
    """A plus that is not encoded arrives as a space, as it does at Klaviyo, and finds nobody."""
    ann = simulator.add_profile(email="ann+x@shop.org")
    text = 'equals(email,"ann+x@shop.org")'
    assert [ann.id] == found(simulator, text)
    assert json.loads(search(simulator, text, encode=False).body)["data"] == []


@pytest.fixture
def people(simulator):
    """Three people, created ten seconds apart; their ids."""
    made = []
    for number in range(3):
        email, phone = f"p{number}@shop.org", f"+1202555012{number}"
        made.append(simulator.add_profile(external_id=str(number), email=email, phone_number=phone).id)
        simulator.advance(10)
    return made


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('equals(email,"P0@shop.org")', [0]),
        ('equals(phone_number,"+12025550121")', [1]),
        ('any(email,["p0@shop.org", "p2@shop.org","none@shop.org"])', [0, 2]),
        ('and(equals(email,"p0@shop.org"),equals(external_id,"0"))', [0]),
        ('and(equals(email,"p0@shop.org"),equals(external_id,"1"))', []),
        ('equals(email,"p0@shop.org"),equals(external_id,"0")', [0]),
        ('any(external_id,["0","1"]),any(email,["p1@shop.org","p2@shop.org"])', [1]),
        (' equals( email , "p0@shop.org" ) ', [0]),
        ('equals(_kx,"secret.SiMuLa")', []),
        ('equals(id,"01NOBODY")', []),
    ],
)
def test_what_a_filter_finds(simulator, people, text, wanted):
    """Equals, any, and both forms of a conjunction find what they describe."""
    assert [people[number] for number in wanted] == found(simulator, text)


def test_ids_are_found(simulator, people):
    """Profiles are found by their ids, in the order of creation and each once."""
    assert people[:2] == found(simulator, f'any(id,["{people[1]}","{people[0]}","{people[1]}"])')


def test_times_are_compared_strictly(simulator, people):
    """greater-than and less-than leave the moment itself out, quoted or not, and combine."""
    second = simulator.find(external_id="1").created
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")
    assert [people[2]] == found(simulator, f"greater-than(created,{moment})")
    assert [people[0]] == found(simulator, f'less-than(updated,"{moment[:-1]}")')
    between = f'greater-than(created,2020-01-01),less-than(created,{moment}),equals(external_id,"0")'
    assert [people[0]] == found(simulator, between)


@pytest.mark.parametrize(
    "text",
    [
        "", "equals", "equals(", "equals(email,ann@shop.org)", "equals(email,'a)",
        'equals(email,"ann@shop.org"',
        'equals(email,"a")x', 'equals(email,"\\q")', 'equals(name,"a")', 'contains(email,"a")', 'any(email,"a")',
        "any(email,[])",
        'any(email,["a")', "any(email,[a])", "and()", 'equals(created,"2026-01-01")', "greater-than(email,2026-01-01)",
        "greater-than(created,soon)", "greater-than(created,2026-13-01)", 'equals(email,"a"),', "and(" * 5000,
        'any(_kx,["a"])',
        "greater-or-equal(created,2026-01-01)",
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(simulator, text):
    """Anything else answers 400, code invalid, at the parameter filter: an unquoted string above all."""
    answer = search(simulator, text)
    (error,) = json.loads(answer.body)["errors"]
    assert (400, "invalid", {"parameter": "filter"}) == (answer.status, error["code"], error["source"])
    assert error["detail"].startswith("Invalid filter provided")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='eqlusanyd(),[]"\\ ma-2026', max_size=40))
def test_no_text_breaks_it(text):
    """Whatever is given as a filter, the answer is 200 or 400."""
    assert search(KlaviyoSimulator(), text).status in {200, 400}


def test_the_length_of_any_by_reading():
    """A reading may limit how many values `any` takes."""
    text = 'any(email,["a@b.co","c@d.co"])'
    assert [200, 400] == [search(KlaviyoSimulator(Readings(any_limit=limit)), text).status for limit in (2, 1)]
