"""The pages under docs: their code runs as it stands, their commands are understood, and no link leads nowhere.

The blocks of one page run in order, as one program in an empty folder, against a pretend Klaviyo in place of Klaviyo's
host. Its simulator has the name `simulator`, for blocks in HTML comments that set up what a page takes for given.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from safeklaviyo import Klaviyo
from support.commands import function_of
from support.pages import commands, dead_links, promised, pytest_passes, python_blocks

ROOT = Path(__file__).parents[1]
PAGES = {page.name: page for page in sorted((ROOT / "docs").glob("*.md"))}
LINKING = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / ".github" / "CONTRIBUTING.md", *PAGES.values()]


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs_and_prints_what_its_comments_say(klaviyos_host, capsys, monkeypatch, tmp_path, name):
    """A reader who types the blocks in, from the first to the last, gets what the page shows."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page", "simulator": klaviyos_host}
    made = {}
    for number, code in enumerate(python_blocks(PAGES[name].read_text())):
        if "def test_" in code:
            (folder := tmp_path / f"block{number}").mkdir()
            assert pytest_passes(code, folder)
        else:
            exec(compile(code, name, "exec"), names)
            # A page need not close its clients and databases; one that is left open is a warning, though.
            made |= {id(each): each for each in names.values() if isinstance(each, Klaviyo | sqlite3.Connection)}
            assert promised(code) == capsys.readouterr().out.splitlines()
    for opened in made.values():
        opened.close()


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_are_understood(name):
    """No option of the command line is misspelt, and no value refused."""
    for words in commands(PAGES[name].read_text()):
        assert callable(function_of(words))


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_no_link_leads_nowhere(page):
    """Each file that a page links to exists, and has the heading."""
    assert [] == dead_links(page)


def test_what_is_amiss_in_a_page_would_be_found(tmp_path):
    """Code, commands and links are seen as they stand in a page."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A `page`: it\n<!--\n```python\na = 1\n```\n-->\n```python\nprint(a)  # 2\n```\n"
        "```sh\nsafeklaviyo store \\\n  migrate  # once\npip install x\n```\n"
        "[1](page.md#a-page-it) [2](#a-page-it) [3](#b) [4](other.md) [5](https://x.test/y)\n"
    )
    text = page.read_text()
    assert ["a = 1\n", "print(a)  # 2\n"] == python_blocks(text)
    assert ["2"] == promised(python_blocks(text)[1])
    assert [["store", "migrate"]] == commands(text)
    assert ["#b", "other.md"] == dead_links(page)
    assert not pytest_passes("def test_it():\n    assert False\n", tmp_path)
