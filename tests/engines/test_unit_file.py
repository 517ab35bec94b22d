"""The unit file that the page of the worker shows is one that systemd takes."""

import re
import shlex
import subprocess
from pathlib import Path
from shutil import which

from support.commands import parser

PAGE = Path(__file__).parents[2] / "docs" / "worker.md"
UNIT = re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
COMMAND = re.search(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)[1]
NEEDED = {"Type=notify", "Restart=on-failure", "RuntimeDirectory=safeklaviyo"}


def test_the_unit_file_is_understood(tmp_path):
    """By systemd itself where it is installed; its command is one of ours, and it waits longer than the worker does."""
    arguments = parser().parse_args(shlex.split(COMMAND)[1:])
    assert ("/run/safeklaviyo/health", None) == (arguments.health, arguments.check)
    assert NEEDED <= set(UNIT.splitlines())
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[1]) > arguments.grace
    if which("systemd-analyze"):
        file = tmp_path / "klaviyo-worker.service"
        # What is not installed here: the program, and the user.
        file.write_text(UNIT.replace(shlex.split(COMMAND)[0], "/bin/true").replace("User=shop\n", ""))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
        )
        told = [each for each in done.stderr.splitlines() if "klaviyo-worker" in each]
        assert [] == told
