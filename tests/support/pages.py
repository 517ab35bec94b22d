"""What stands in a page of Markdown: blocks of code, what they promise to print, commands, links."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import safeklaviyo


def python_blocks(text: str) -> list[str]:
    """Return the blocks of Python, in order. Those in HTML comments count: they set up what a page takes for given."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def promised(code: str) -> list[str]:
    """Return what a block's comments say that it prints."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each line of `safeklaviyo` in the blocks of shell, but for the demo's marked ones."""
    blocks = re.findall(r"(?<!-->\n)```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("safeklaviyo ")]


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings of a page get."""
    bare = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", bare, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    """Return the links of a page to files, or to headings in them, that do not exist."""
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    return [link for link in links if not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return target.is_file() and (not anchor or anchor in anchors(target.read_text()))


def pytest_passes(code: str, folder: Path) -> bool:
    """Run a block of tests as a shop would, away from this project's configuration; all of them have to pass."""
    (folder / "test_shop.py").write_text(code)
    package = str(Path(safeklaviyo.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "safeklaviyo.testing.plugin"]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    return done.returncode == 0 and f"{code.count('def test_')} passed" in done.stdout
