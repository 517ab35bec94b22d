"""The report page says what the audit found, masks whom it is about, and carries nothing that runs or is fetched."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser

import pytest

from support.audited import TITLES, audited
from support.report_page import page_of

HOSTILE = (
    "</style></script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "\" onmouseover='window.hacked = 1' x=\"{{ 7 * 7 }} {% raw %} javascript:alert(1) &lt;b&gt; \u202e"
)


class Seen(HTMLParser):
    """What a page holds: its elements with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("reveal", [False, True])
def test_identifiers_are_masked_unless_they_are_asked_for(reveal):
    """An identifier of a person stands on the page only with `reveal`."""
    audit = audited()
    page = page_of(audit, reveal=reveal)
    shown = [
        profile[name]
        for finding in audit["findings"]
        for profile in finding["profiles"]
        for name in ("email", "phone_number", "name")
        if profile[name]
    ]
    assert shown
    assert {reveal} == {value in page for value in shown}
    assert {reveal} == {
        former in page for each in audit["findings"] if each["binding"] for former in each["binding"]["former"]
    }


def test_no_field_can_add_an_element():
    """What comes from outside is text, whatever it is: the page has the elements of one with tame fields."""
    tame = Seen(page_of(audited(text="Ada"), reveal=True))
    hostile = Seen(page_of(audited(text=HOSTILE), reveal=True))
    assert [tag for tag, _ in tame.elements] == [tag for tag, _ in hostile.elements]
    assert [attributes.keys() for _, attributes in tame.elements] == [each.keys() for _, each in hostile.elements]
    assert "49" not in re.findall(r"\d+", hostile.text.split("What is wrong")[0])


def test_the_page_runs_nothing_and_fetches_nothing():
    """There is no script, no handler, no address to load; and the policy allows the page's own style alone."""
    page = page_of(audited(), reveal=False)
    seen = Seen(page)
    assert set() == {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in seen.elements}
    names = {name for _, attributes in seen.elements for name in attributes}
    assert set() == {name for name in names if name.startswith("on") or name in {"src", "style", "action", "srcdoc"}}
    assert {"#"} == {attributes["href"][0] for _, attributes in seen.elements if "href" in attributes}
    assert [] == re.findall(r"https?:|url\(|@import", page)
    (policy,) = [each["content"] for _, each in seen.elements if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_numbers_are_those_of_the_audit():
    """The row of each rule has its counts, and a rule that was not checked has its reason, never a nought."""
    audit = audited(not_checked=("A3", "A6"))
    rows = re.findall(
        r'<tr(?: class="unchecked")?>\s*<th scope="row">.*?</tr>', page_of(audit, reveal=False), re.DOTALL
    )
    rows = [row.replace("</td>", " </td>") for row in rows[: len(TITLES)]]
    texts = [re.sub(r"\s+", " ", Seen(row).text).strip() for row in rows]
    for rule, text in zip(audit["rules"], texts, strict=True):
        assert text.startswith(rule["rule"])
        if rule["checked"]:
            assert f"{rule['found']} {rule['new']} {rule['planned']}" == " ".join(text.split()[-3:])
        else:
            assert text.endswith(f"not checked {rule['because']}")


def test_the_headline_counts_each_second_profile_once():
    """Two findings about one second profile are one profile too many."""
    audit = audited(number=0)
    pair = next(each for each in audited(number=60)["findings"] if each["rule"] == "A2")
    other = copy.deepcopy(pair) | {"rule": "A7"}
    audit["findings"] = [pair, other]
    assert "1 of 12\u202f345 profiles should not exist" in Seen(page_of(audit, reveal=False)).text


def test_months_without_a_duplicate_are_shown():
    """A gap between two months is part of the answer to "since when"."""
    audit = audited(number=0)
    pair = next(each for each in audited(number=60)["findings"] if each["rule"] == "A2")
    late = copy.deepcopy(pair)
    for each, created in ((pair, "2025-11-02"), (late, "2026-02-03")):
        for profile in each["profiles"]:
            profile["created"] = created
    audit["findings"] = [pair, late]
    page = page_of(audit, reveal=False)
    assert ["2025-11: 1", "2025-12: 0", "2026-01: 0", "2026-02: 1"] == re.findall(
        r"<title>(\d{4}-\d\d: \d+)</title>", page
    )


def test_what_the_data_does_not_show_is_said():
    """Without dates, or without what made a profile, the page says so and names what would show it."""
    audit = audited(makers=False)
    for finding in audit["findings"]:
        for profile in finding["profiles"]:
            profile["created"] = None
    text = Seen(page_of(audit, reveal=False)).text
    assert "The data has no dates of creation" in text
    assert "does not show which integration" in text


def test_an_account_without_findings_has_a_page():
    """Good news is a page too."""
    text = Seen(page_of(audited(number=0), reveal=False)).text
    assert "No duplicate was found among 12\u202f345 profiles" in text
    assert "Nothing has to be done" in Seen(page_of(audited(number=0, not_checked=()), reveal=False)).text


def test_a_page_of_many_findings_stays_small():
    """Many findings with long fields make a page of at most 1.5 MB, which says how many it left out."""
    audit = audited(number=2_000, text="\U0001f600" * 500)
    page = page_of(audit, reveal=True)
    assert len(page.encode()) <= 1_500_000
    left_out = sum(max(rule["found"] - 20, 0) for rule in audit["rules"] if rule["checked"])
    assert left_out == sum(map(int, re.findall(r"(\d+) more are in the file", page)))


def test_json_and_back_changes_nothing():
    """The page can be made later, from the file that `--json` writes."""
    audit = audited()
    assert page_of(audit, reveal=False) == page_of(json.loads(json.dumps(audit)), reveal=False)
