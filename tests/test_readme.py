"""The README: its code runs as it stands, and its tables leave nothing out and invent nothing."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import safeklaviyo
from safeklaviyo import AsyncKlaviyo, Klaviyo, Policy, RetryPolicy, errors, policy, stores
from safeklaviyo._bindings import Bindings
from safeklaviyo._profiles import Profiles
from safeklaviyo._reserved import Role, meaning_of_event_key, meaning_of_person_key
from safeklaviyo.cli import main
from safeklaviyo.cli._arguments import parser
from safeklaviyo.cli._simulation import _ROWS
from safeklaviyo.testing import KlaviyoSimulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
SPANS = set(re.findall(r"`([^`\n]+)`", PROSE))
PARTS = {"bindings": Bindings, "profiles": Profiles}


def section(title):
    """Return the text under a heading, whatever its level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", re.sub("^# ", "  ", README, flags=re.MULTILINE), re.M | re.S)
    assert found is not None
    return found[1]


def rows(text):
    """Return the cells of the rows of a section's tables, headings left out."""
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def ends(code):
    """Return what a block's comments say that it prints."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)


def commands():
    return [line for line in section("Command line").splitlines() if line.startswith("safeklaviyo ")]


def leaves(found, words=()):
    """Yield the words of each command that a parser knows."""
    below = [action.choices for action in found._actions if hasattr(action.choices, "values")]
    if not below:
        yield words
    for name, each in ((name, each) for choices in below for name, each in choices.items()):
        yield from leaves(each, (*words, name))


@pytest.fixture
def set_up(monkeypatch, tmp_path):
    """A user's environment, and a pretend Klaviyo in place of Klaviyo's host."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_readme")
    monkeypatch.setenv("SAFEKLAVIYO_STORE", f"sqlite:///{tmp_path}/identity.db")
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)  # respx sees httpx alone
    simulator = KlaviyoSimulator()
    with simulator.mock() as router:
        router.route(host="127.0.0.1").pass_through()  # where a block serves a simulator of its own
        yield simulator


def test_the_code_runs_in_order_and_prints_what_its_comments_say(set_up, capsys):
    """A reader who types the blocks in gets what the README shows."""
    names = {"__name__": "readme"}
    for code in PYTHON:
        if "def test_" not in code:
            exec(compile(code, "README.md", "exec"), names)
            assert ends(code) == capsys.readouterr().out.splitlines()
    names["before"]("2718", "euler@shop.test")
    names["after"]("3141", "archimedes@shop.test")
    names["klaviyo"].close()
    set_up.drain()
    assert 1 == len(set_up.find(email="lovelace@shop.test").external_id.split())
    assert 0 == set_up.duplicates(lambda profile: profile.email)


def test_the_code_for_a_shops_tests_passes(tmp_path):
    """The tests that the README shows find the fixture and pass, away from this project's configuration."""
    (code,) = [code for code in PYTHON if "def test_" in code]
    (tmp_path / "test_shop.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "safeklaviyo.testing.plugin"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (0, True) == (done.returncode, f"{code.count('def test_')} passed" in done.stdout)


def test_each_shell_block_that_sets_up_is_marked_for_continuous_integration():
    """What is run there are the two commands of the first screen, each one line."""
    marked = dict(re.findall(r"<!-- ci: (\w+) -->\n```sh\n(.+)\n```", README))
    assert ["demo", "tests"] == sorted(marked)
    assert all(line.startswith("python3 -m venv .venv && ") for line in marked.values())


def test_the_table_of_the_demo_has_the_rows_that_it_prints():
    """The table was copied from a run of this version's demo."""
    shown = re.findall(r"^│ (.*?) +│ +\d+ │ +(\d+) │$", README, re.MULTILINE)
    assert list(_ROWS.values()) == [words for words, _ in shown]


def test_every_command_is_understood():
    """No example of the command line has a misspelt option or a value that is refused."""
    for line in commands():
        assert callable(parser().parse_args(shlex.split(line)[1:]).__class__)


def test_every_command_is_shown_and_has_help(capsys):
    """A command that the parser knows stands in the README, and `--help` of it explains it."""
    shown = [tuple(shlex.split(line)[1:]) for line in commands()]
    for words in leaves(parser()):
        assert any(words == each[: len(words)] for each in shown), words
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert (0, True) == (ended.value.code, "usage: safeklaviyo" in capsys.readouterr().out)


def test_the_table_of_errors_is_the_tree_of_errors():
    """Each class of `safeklaviyo.errors` has one row, and each row a class."""
    known = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    listed = [cells[0].strip("`") for cells in rows(section("What to do about each error"))]
    assert sorted(known) == sorted(listed)


def test_the_table_of_errors_says_whether_klaviyo_changed():
    """Each row has an outcome, in words, and something to do."""
    for _, when, outcome, remedy in rows(section("What to do about each error")):
        assert when and remedy
        assert outcome in {"any", "unknown", "not applied", "applied"}


@pytest.mark.parametrize("settings", [Policy, RetryPolicy])
def test_the_tables_of_policies_have_each_setting_with_its_default(settings):
    """A setting that is added or changed has to be told."""
    fields = {name: default(field.default) for name, field in settings.model_fields.items()}
    listed = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(section("Policies"))[:]}
    assert fields == {name: listed.get(name) for name in fields}
    assert {*Policy.model_fields, *RetryPolicy.model_fields, "Policy", "RetryPolicy"} == set(listed)


def default(value):
    """Return a default as the tables have it."""
    if isinstance(value, float):
        return f"{value / policy.DAY:.0f} days" if value >= policy.DAY else f"{value:.0f} s"
    if isinstance(value, frozenset):
        return ", ".join(value) or "none"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_every_method_is_mentioned():
    """Somebody who reads the README has heard of each verb."""
    wanted = {name for name in vars(Klaviyo) if not name.startswith("_")} - {*PARTS, "close"}
    wanted |= {f"{part}.{name}" for part, kind in PARTS.items() for name in vars(kind) if not name.startswith("_")}
    text = " ".join([*SPANS, *PYTHON])
    assert set() == {name for name in wanted if not re.search(rf"\b{name}\b", text)}


def test_every_name_that_is_mentioned_exists():
    """No method, class, module or environment variable was made up, or has been renamed since."""
    for span in SPANS:
        if calls := re.match(r"klaviyo\.(\w+)(?:\.(\w+))?", span):
            found = getattr(Klaviyo, calls[1])
            assert calls[2] is None or hasattr(PARTS[calls[1]], calls[2]), found
        if dotted := re.match(r"(safeklaviyo(?:\.[a-z_]+)*)(?:\.([A-Z]\w+))?$", span):
            module = importlib.import_module(dotted[1])
            assert dotted[2] is None or hasattr(module, dotted[2]), span
        if path := re.match(r"(safeklaviyo/\S+\.py|\.github/\S+)$", span):
            assert (ROOT / path[1]).exists() or Path(safeklaviyo.__file__).parents[1].joinpath(path[1]).exists()
        if name := re.match(r"([A-Z]\w+?)(?:\.(\w+)|\(.*)?$", span):
            check_name(name[1], name[2])


def check_name(name, attribute):
    """A name in capitals is a public one, unless it is Klaviyo's, Python's or pydantic's."""
    if name in {"GET", "POST", "PATCH", "KLAVIYO_API_KEY", "SAFEKLAVIYO_STORE", "ValueError", "Retry"}:
        return
    known = getattr(safeklaviyo, name, None) or getattr(errors, name)
    is_field = attribute is not None and attribute in getattr(known, "model_fields", {})
    assert attribute is None or is_field or attribute in vars(known()), (name, attribute)


def test_the_asynchronous_client_has_the_same_names():
    """The README speaks of one client for both."""
    public = {name for name in vars(Klaviyo) if not name.startswith("_")}
    assert public ^ {"close", "aclose"} == {name for name in vars(AsyncKlaviyo) if not name.startswith("_")}


def test_the_legacy_keys_that_are_named_are_understood():
    """Each key with a dollar sign is taken, or is among those that are said to be refused."""
    taken, refused = re.split(r"\n.*Refused, with a sentence", section("Legacy keys and the legacy dialect"))
    for key in re.findall(r"`(\$\w+)`", taken):
        roles = {meaning_of_person_key(key).role, meaning_of_event_key(key).role}
        assert roles != {Role.REFUSED}, key
    for key in re.findall(r"`(\$\w+|__\w+)`", refused.partition("\n\n")[0]):
        assert Role.REFUSED is meaning_of_person_key(key).role


def test_each_store_that_is_named_opens(tmp_path, monkeypatch):
    """The URLs of the table of stores name stores of this version."""
    monkeypatch.chdir(tmp_path)
    for url in re.findall(r"`([a-z]+:///?[^`]*)`", "".join(map(str, rows(section("Stores"))))):
        assert isinstance(stores.open_store(url), safeklaviyo.IdentityStore)
