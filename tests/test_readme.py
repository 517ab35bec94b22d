"""The README and the pages of reference: their tables and names leave nothing out and invent nothing.

The README's code runs as it stands here, that of the pages in `test_docs`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import plain_words
import pytest

import safeklaviyo
from safeklaviyo import AsyncKlaviyo, Klaviyo, Policy, RetryPolicy, errors, policy, stores
from safeklaviyo.cli import main
from support.clients import VERSION, Bindings, Lists, Outbox, Profiles
from support.commands import COUNTED, function_of, parser
from support.pages import promised, python_blocks
from support.source import HARD, IN_CONTRIBUTING, PACKAGE, RULES
from support.values import Role, meaning_of_event_key, meaning_of_person_key

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = python_blocks(README)
PAGES = ("calls", "commands", "delivery", "errors", "guarantees", "identities", "policies", "stores", "testing")
REFERENCE = "\n".join([README, *((ROOT / "docs" / f"{name}.md").read_text() for name in PAGES)])
"""What a user reads to learn what there is."""
SPANS = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", REFERENCE, flags=re.DOTALL)))
PARTS = {"bindings": Bindings, "lists": Lists, "outbox": Outbox, "profiles": Profiles}
OTHERS = {"GET", "POST", "PATCH", "KLAVIYO_API_KEY", "SAFEKLAVIYO_STORE", "ValueError", "TimeoutError", "Retry"} | {
    "Client",
    "AsyncClient",  # of httpx and of httpx2
    "KLAVIYO_BASE_URL",
    "SAFEKLAVIYO_OUTBOX",
}
"""Words in capitals that are no name of this library's."""
PLACES = {
    "PostgresStore": "safeklaviyo.stores.postgres",
    "RedisStore": "safeklaviyo.stores.redis",
}
"""Where a name is that is not at the top."""


def section(title):
    """Return the text under a heading, as far as the next one."""
    bare = re.sub(r"```python.*?```", "", REFERENCE, flags=re.DOTALL)  # comments of code are no headings
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", bare, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(title):
    """Return the cells of each row of a section's tables that begins with a name."""
    lines = [line.strip("| ") for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def commands():
    """Return the arguments of each command line shown."""
    lines = [line for line in section("Command line").splitlines() if line.startswith("safeklaviyo ")]
    return [shlex.split(line)[1:] for line in lines]


def leaves(of, words=()):
    """Yield the words of each command that a parser knows."""
    groups = [action.choices for action in of._actions if isinstance(action.choices, dict)]
    if not groups:
        yield words
    for group in groups:
        for name, below in group.items():
            yield from leaves(below, (*words, name))


def default(value):
    """Return a default as the tables have it."""
    if isinstance(value, float):
        return f"{value / policy.DAY:.0f} days" if value >= policy.DAY else f"{value:.0f} s"
    if isinstance(value, frozenset):
        return ", ".join(value) or "none"
    return f'"{value}"' if isinstance(value, str) else str(value)


VERBS_NAMED = {"subscribe", "unsubscribe", "append", "unappend", "unset"}
"""What is to be called or given in place of a property."""


def public(kind):
    """Return the public names that a class defines."""
    return {name for name in vars(kind) if not name.startswith("_")}


class TestCode:
    """What stands in the blocks of Python."""

    def test_it_runs_in_order_and_prints_what_its_comments_say(self, klaviyos_host, capsys):
        """A reader who types the blocks in gets what the README shows, and one profile for each customer."""
        names = {"__name__": "readme"}
        for code in PYTHON:
            exec(compile(code, "README.md", "exec"), names)
            assert promised(code) == capsys.readouterr().out.splitlines()
        names["before"]("2718", "leonhard@shop.test")
        names["after"]("3141", "archimedes@shop.test")
        names["klaviyo"].close()
        klaviyos_host.drain()
        assert 0 == klaviyos_host.duplicates(lambda profile: profile.email)
        assert {"2718", "3141", "1791", "1815"} == {profile.external_id for profile in klaviyos_host.profiles}

    def test_the_readme_is_short(self):
        """A reader sees both commands and the first code on one screen, and the rest in ten minutes."""
        lines = README.splitlines()
        assert len(lines) < 250
        assert lines.index("```python") < 40


class TestCommands:
    """What stands in the blocks of shell."""

    def test_the_first_screen_has_one_command_for_each_thing(self):
        """Continuous integration finds both by their markers, and each does its own set-up."""
        marked = dict(re.findall(r"<!-- ci: (\w+) -->\n```sh\n(.+)\n```", README))
        assert ["demo", "tests"] == sorted(marked)
        assert all(line.startswith("python3 -m venv .venv && ") for line in marked.values())

    def test_the_table_of_the_demo_is_one_that_it_prints(self):
        """It has the rows of this version's demo, and in the last column nothing amiss."""
        shown = re.findall(r"^│ (.*?) +│ +\d+ │ +\d+ │ +\d+ │ +(\d+) │$", README, re.MULTILINE)
        assert list(COUNTED.values()) == [words for words, _ in shown]
        assert {"0"} == {number for words, number in shown if re.search("duplicate|lost|twice|another", words)}

    def test_each_is_understood(self):
        """No option of the command line is misspelt, and no value refused."""
        for words in commands():
            assert callable(function_of(words))

    def test_each_that_there_is_stands_here(self):
        """Every command that the parser knows is shown."""
        shown = commands()
        missing = [words for words in leaves(parser()) if not any(list(words) == each[: len(words)] for each in shown)]
        assert [] == missing

    @pytest.mark.parametrize("words", list(leaves(parser())), ids=" ".join)
    def test_help_says_the_rest(self, words, capsys):
        """`--help` of each command ends well, and names the command."""
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert 0 == ended.value.code
        assert f"usage: safeklaviyo {' '.join(words)}" in capsys.readouterr().out


class TestTables:
    """What the tables say."""

    def test_of_errors_has_each_class(self):
        """Each class of `safeklaviyo.errors` has one row, and each row a class."""
        known = [
            name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)
        ]
        assert sorted(known) == sorted(cells[0].strip("`") for cells in rows("What to do about each error"))

    def test_of_errors_says_whether_klaviyo_changed_and_what_to_do(self):
        """No cell is empty, and the outcome is one that there is."""
        for cells in rows("What to do about each error"):
            assert 4 == len(list(filter(None, cells)))
            assert cells[2] in {"any", "unknown", "not applied"}

    def test_of_policies_have_each_setting_with_its_default(self):
        """A setting that is added or changed has to be told, and one that is gone is gone here."""
        fields = {**Policy.model_fields, **RetryPolicy.model_fields}
        expected = {name: default(field.default) for name, field in fields.items()}
        listed = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("Policies")}
        assert {"Policy": "default", "RetryPolicy": "default", **expected} == listed

    def test_of_stores_names_stores_that_open(self, tmp_path, monkeypatch):
        """Each whole URL names a store of this version."""
        monkeypatch.chdir(tmp_path)
        urls = [url for cells in rows("Stores") for url in re.findall(r"`([a-z]+://[^`…]*)`", cells[0])]
        for url in urls:
            with stores.open_store(url) as store:
                assert isinstance(store, safeklaviyo.IdentityStore)


class TestNames:
    """What is mentioned exists, and what exists is mentioned."""

    def test_each_method_is_mentioned(self):
        """Somebody who has read the README and these pages has heard of each verb."""
        wanted = public(Klaviyo) - {*PARTS, "close"}
        wanted |= {f"{part}.{name}" for part, kind in PARTS.items() for name in public(kind)}
        text = " ".join([*SPANS, *python_blocks(REFERENCE)])
        assert [] == sorted(name for name in wanted if not re.search(rf"\b{name}\b", text))

    def test_both_clients_have_the_methods(self):
        """The pages speak of one client for both."""
        assert {"close", "aclose"} == public(Klaviyo) ^ public(AsyncKlaviyo)

    @pytest.mark.parametrize("span", sorted(span for span in SPANS if span.startswith("klaviyo.")))
    def test_a_method_exists(self, span):
        """It has not been renamed since."""
        first, second = re.match(r"klaviyo\.(\w+)(?:\.(\w+))?", span).groups()
        assert hasattr(Klaviyo, first)
        assert second is None or hasattr(PARTS[first], second)

    @pytest.mark.parametrize("span", sorted(span for span in SPANS if re.fullmatch(r"safeklaviyo(\.\w+)*", span)))
    def test_a_module_or_what_it_holds_exists(self, span):
        """It can be imported."""
        module, _, name = span.rpartition(".") if re.search(r"\.[A-Z]", span) else (span, "", "")
        assert hasattr(importlib.import_module(module), name or "__name__")

    @pytest.mark.parametrize("span", sorted(span for span in SPANS if re.match("[A-Z]", span)))
    def test_a_class_and_its_field_exist(self, span):
        """What is written with a capital is a public name here, or one of the few that are others'."""
        name, field = re.match(r"(\w+)(?:\.(\w+))?", span).groups()
        if name in OTHERS:
            return
        found = getattr(importlib.import_module(PLACES.get(name, "safeklaviyo")), name)
        assert field is None or field in getattr(found, "model_fields", {}) or hasattr(found(), field)

    def test_each_file_exists(self):
        """No path leads nowhere."""
        package = Path(safeklaviyo.__file__).parents[1]
        assert [] == [
            span for span in SPANS if re.fullmatch(r"safeklaviyo/\S+", span) and not (package / span).is_file()
        ]

    def test_each_extra_exists(self):
        """What the README says to install can be installed."""
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set() == {*re.findall(r"(?:safeklaviyo|\.)\[(\w+)\]", REFERENCE)} - extras.keys()

    def test_each_legacy_key_has_its_meaning(self):
        """It is taken where it is said to be, and left out where it is said to be."""
        for key in re.findall(r"`(\$\w+)`", section("Legacy keys and the legacy dialect")):
            assert {Role.REFUSED} != {meaning_of_person_key(key).role, meaning_of_event_key(key).role}
        left_out = (
            section("Strict about who, forgiving about everything else").split("So are ", 1)[1].split(". A list")[0]
        )
        keys = set(re.findall(r"`([\w$]+)`", left_out)) - VERBS_NAMED
        assert {"$consent", "subscriptions", "meta", "id", "$anonymous", "$exchange_id"} == keys
        for key in keys:
            assert Role.REFUSED is meaning_of_person_key(key).role


TABLES = {
    "P": (README, r"^\| \*\*P(\d+)\*\* \|"),
    "R": ((PACKAGE / RULES).read_text(), r"^    R(\d+)  "),
    "F": ((ROOT / "docs" / "pitfalls.md").read_text(), r"^\| F-(\d+) \|"),
    "H": ((ROOT / "docs" / "traces.md").read_text(), r"^\| H(\d+) \|"),
}
"""Where the numbers that code cites are explained: the text, and what its rows begin with."""
EXPLAINED = {
    f"{letter}{number}" for letter, (text, row) in TABLES.items() for number in re.findall(row, text, re.MULTILINE)
}


def cited(text):
    """Return the numbers of promises, rules, faults and traces that a source cites, in prose and in names of tests."""
    found = re.findall(r"\b([PRH])(\d{1,2})\b(?!@)|\b(F)-(\d+)\b", text)
    names = re.findall(r"\bdef test((?:_[prfh]\d{1,2})+)_", text)
    return {"".join(each) for each in found} | {each for name in names for each in name.upper().split("_")[1:]}


class TestOtherPages:
    """What stands beside the README."""

    def test_the_changelog_has_this_version(self):
        """A release that is not described is not made, and neither is the way to it."""
        newest = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
        if ".dev" in VERSION:
            assert "[Unreleased]" == newest
        else:
            assert newest.startswith(f"[{VERSION}] - ")

    def test_the_way_from_version_to_version_is_announced(self):
        """Both pages that announce versions lead to the page on upgrading."""
        assert "(docs/upgrading.md)" in README
        assert "(docs/upgrading.md)" in (ROOT / "CHANGELOG.md").read_text()

    def test_each_module_that_contributors_are_sent_to_exists(self):
        """A change goes where the table says, because there is such a place."""
        page = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
        cells = re.findall(r"^\| .+? \| (.+) \|$", page, re.MULTILINE)
        modules = {name for cell in cells for name in re.findall(r"`([a-z_.]+)`", cell)}
        assert IN_CONTRIBUTING <= modules
        for name in modules:
            importlib.import_module(f"safeklaviyo.{name}")

    def test_each_number_that_code_cites_is_explained(self):
        """A reader finds the meaning of every P, R, F and H in this repository."""
        sources = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
        unexplained = {path.name: cited(path.read_text()) - EXPLAINED for path in sources if path != Path(__file__)}
        assert {} == {name: numbers for name, numbers in unexplained.items() if numbers}

    def test_a_number_without_an_explanation_would_be_found(self):
        """The search above sees each way to cite a number, and takes no other word for one."""
        code = "def test_p9_h40_is_broken(): ...  # P0, R20, (F-48), H39 and H1"
        assert {"P9", "H40", "P0", "R20", "F48", "H39"} == cited(code) - EXPLAINED
        assert set() == cited('"P0@shop.org", "SKU-P12345", "A1", "F0", "sha256_f1"')

    def test_each_rule_is_explained_to_users(self):
        """An error names its rule, and the page has it."""
        page = (ROOT / "docs" / "identities.md").read_text()
        expected = sorted(number for number in EXPLAINED if number.startswith("R"))
        assert expected == sorted(re.findall(r"^\| (R\d+) \|", page, re.MULTILINE))

    def test_each_table_is_whole(self):
        """No row is left out, so that a range of numbers holds all between its ends."""
        counts = {"P": 8, "R": 19, "F": 47, "H": 11}
        assert set() == {f"{letter}{n + 1}" for letter, last in counts.items() for n in range(last)} - EXPLAINED


@pytest.mark.proof
class TestPlainWords:
    """The script that counts them."""

    def test_words_and_comments_are_counted(self):
        """Docstrings and comments count, texts of the program and words to tools do not."""
        source = '''"""Whoever reads."""
import os  # noqa: F401

# Nobody else does.
text = "somebody"  # anew
"""A name."""
'''
        found = plain_words.count(source)
        assert (8, 3, 2, 2) == (found.words, found.riddles, found.comments, found.code)
        assert (375.0, 100.0) == (found.riddling, found.commented)

    def test_the_package_speaks_plainly(self):
        """Docstrings and comments say who acts, in each room, and steps are commented."""
        total = sum(plain_words.by_room().values(), plain_words.Count())
        assert total.riddling <= 1.0
        assert 3.0 <= total.commented <= 8.0
        assert {} == {
            room: each.riddling
            for room, each in plain_words.by_room().items()
            if each.riddles > 1 and each.riddling > 2.0
        }

    @pytest.mark.parametrize("room", HARD)
    def test_the_steps_of_a_hard_room_are_commented(self, room):
        """Where a line's place decides who a customer is, a comment says why it must stand there."""
        assert 3.0 <= plain_words.by_room()[room].commented <= 8.0

    def test_each_room_has_its_line(self):
        """The report leaves no room out, and ends with the total."""
        lines = plain_words.report().splitlines()
        assert [*plain_words.by_room(), "total"] == [line.split()[0] for line in lines[1:]]
        assert {"stores", "stores/redis", "errors"} <= plain_words.by_room().keys()
