"""An import that is killed anywhere goes on where it stopped, and the map is the same as if it had run through."""

import json
import signal
import subprocess
import sys
import time
from itertools import count

import pytest

ROWS = 12_000


def shop_file(path, number):
    """A file with rows of every kind: new, repeated, contradicting, unusable, with former addresses."""
    kinds = (
        "{0},c{0}@shop.test,\n",
        "{0},c{0}@shop.test,old{0}@shop.test\n",
        "null,c{0}@shop.test,\n",
        "{1},c{1}@shop.test,\n",
        "{1},c{0}@shop.test,\n",
        "{0},c{0}@shop.test,c{1}@shop.test\n",
        '{0},"c{0}@shop.test,\n',
    )
    rows = [kinds[each % len(kinds)].format(each, max(0, each - 700)) for each in range(number)]
    path.write_text("external_id,email,former_emails\n" + "".join(rows))
    return path


def importing(file, store):
    """Start an import."""
    command = [sys.executable, "-m", "safeklaviyo", "bindings", "import", str(file), "--resume"]
    command += ["--refused", f"{file}.refused", "--store", f"sqlite:///{store}", "--account", "AbC123"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def exported(run, store):
    """Return all customers of a map, with what was theirs before, without the times."""
    here = ("--store", f"sqlite:///{store}", "--account", "AbC123")
    rows = run("bindings", "export", "-", "--format", "jsonl", *here).out.splitlines()
    return sorted(json.dumps(json.loads(row), sort_keys=True) for row in rows)


def killed(file, store, how, kills):
    """Kill the import each time it has come further, and return how often that was."""
    progress, reached = file.with_name(f"{file.name}.progress"), 0
    for number in count():
        process = importing(file, store)
        while process.poll() is None:
            rows = int(progress.read_text().split()[1]) if progress.exists() else 0
            if number < kills and rows > reached:
                process.send_signal(how)
                reached = rows
                break
            time.sleep(0.005)
        process.wait(timeout=60)
        if process.returncode in {0, 1}:
            return number
    raise AssertionError


@pytest.mark.parametrize(
    ("how", "kills"),
    [
        (signal.SIGKILL, 1),
        pytest.param(signal.SIGKILL, 8, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 8, marks=pytest.mark.slow),
    ],
)
def test_a_killed_import_is_resumed(run, tmp_path, how, kills):
    """Nothing is half written, and nothing is left behind."""
    file = shop_file(tmp_path / "shop.csv", ROWS if kills > 1 else ROWS // 3)
    assert 1 == importing(file, tmp_path / "whole.db").wait(timeout=120)
    whole = (tmp_path / "shop.csv.refused").read_text()
    (tmp_path / "shop.csv.refused").unlink()
    assert 1 <= killed(file, tmp_path / "parts.db", how, kills)
    assert exported(run, tmp_path / "whole.db") == exported(run, tmp_path / "parts.db")
    assert whole == (tmp_path / "shop.csv.refused").read_text()
    left = {each.name for each in tmp_path.iterdir()} - {"shop.csv", "shop.csv.refused"}
    assert {each for each in left if ".db" not in each} == set()
