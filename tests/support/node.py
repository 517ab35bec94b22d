"""Node.js of this machine, with Klaviyo's own SDK for it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SHOP = Path(__file__).parents[2] / "examples" / "node_shop"
_AWAY = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "ECONNRESET")


def shop_on_node(folder: Path) -> Path:
    """Copy the example of a shop on Node there, install what it needs, and return its place.

    The test is skipped where there is no Node.js, or no registry of packages.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js and npm are not installed")
    place = shutil.copytree(SHOP, folder / "shop", ignore=shutil.ignore_patterns("node_modules"))
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
    done = subprocess.run(command, cwd=place, text=True, capture_output=True, check=False, timeout=200)
    if any(word in done.stderr for word in _AWAY):
        pytest.skip("npm's registry cannot be reached")
    assert done.returncode == 0, done.stderr
    return place


def comparable(text: str) -> str:
    """Return answers of the simulator with its random ids numbered as they appear, and no address in links."""
    numbers: dict[str, str] = {}
    text = re.sub(r"\b01[0-9A-Z]{24}\b", lambda found: numbers.setdefault(found[0], f"id {len(numbers)}"), text)
    return re.sub(r"http://127\.0\.0\.1:\d+", "", text)
