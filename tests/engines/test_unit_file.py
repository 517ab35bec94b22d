"""The unit files that the pages of the worker and of the gateway show are such that systemd takes them."""

import re
import shlex
import subprocess
from pathlib import Path
from shutil import which

import pytest

from support.commands import parser

DOCS = Path(__file__).parents[2] / "docs"
NEEDED = {
    "worker": {"Type=notify", "Restart=on-failure", "RuntimeDirectory=safeklaviyo"},
    "gateway": {"Restart=on-failure", "LogsDirectory=safeklaviyo"},
}
FILES = {
    "worker": ("health", "/run/safeklaviyo/health"),
    "gateway": ("decision_log", "/var/log/safeklaviyo/decisions.jsonl"),
}
GRACE = 30
"""Seconds that a gateway gives the calls in hand."""


@pytest.mark.parametrize("name", NEEDED)
def test_the_unit_file_is_understood(tmp_path, name):
    """By systemd itself where it is installed; its command is one of ours, and systemd waits longer than that does."""
    unit = re.search(r"```ini\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL)[1]
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    arguments = parser().parse_args(command[1:])
    option, path = FILES[name]
    assert ("AbC123", path) == (arguments.account, getattr(arguments, option))
    assert NEEDED[name] <= set(unit.splitlines())
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1]) > getattr(arguments, "grace", GRACE)
    if which("systemd-analyze"):
        file = tmp_path / f"klaviyo-{name}.service"
        # What is not installed here: the program, and the user.
        file.write_text(unit.replace(command[0], "/bin/true").replace("User=shop\n", ""))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
        )
        told = [each for each in done.stderr.splitlines() if f"klaviyo-{name}" in each]
        assert [] == told
