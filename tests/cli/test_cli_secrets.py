"""What the command line keeps to itself: passwords of stores, and the rows of customers."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IMODE

import pytest

from safeklaviyo.cli import main
from safeklaviyo.stores.sqlite import SqliteStore

ACCOUNT = "SiMuLa"
PASSWORD = "hunter2"
ROWS = "email\nann@shop.dev\nnobody\n"


@pytest.fixture
def url(tmp_path):
    """The URL of an empty map."""
    return f"sqlite:///{tmp_path}/identity.db"


class TestUrls:
    def test_a_url_may_stand_in_the_environment(self, run, url, monkeypatch):
        """The command line then names the variable alone."""
        monkeypatch.setenv("SHOP_MAP", url)
        ran = run("explain", "--email", "ann@shop.dev", "--store", "env:SHOP_MAP", "--account", ACCOUNT)
        assert 0 == ran.status
        assert "R12" in ran.out

    def test_a_url_may_stand_in_a_file(self, run, url, tmp_path):
        """Or the file; a line break at its end does not count."""
        (tmp_path / "url").write_text(url + "\n")
        place = f"file:{tmp_path}/url"
        assert 0 == run("explain", "--email", "ann@shop.dev", "--store", place, "--account", ACCOUNT).status

    def test_both_urls_of_a_copy(self, run, tmp_path, monkeypatch):
        """`store copy` needs no URL on its command line."""
        with SqliteStore(tmp_path / "from.db") as source:
            source.add(ACCOUNT, [])
        monkeypatch.setenv("SHOP_FROM", f"sqlite:///{tmp_path}/from.db")
        (tmp_path / "to").write_text(f"sqlite:///{tmp_path}/to.db")
        ran = run("store", "copy", "env:SHOP_FROM", f"file:{tmp_path}/to", "--account", ACCOUNT)
        assert (1, "ConfigurationError: FROM has no customer of this account; check --account\n") == (
            ran.status,
            ran.err,
        )

    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ("env:SHOP_NOWHERE", "the environment has no SHOP_NOWHERE"),
            ("file:/nowhere", "cannot be read (No such file or directory)"),
            ("file:{}/empty", "is empty"),
            ("file:{}/bytes", "cannot be read (it is no text)"),
        ],
    )
    def test_a_place_without_a_url_is_refused(self, run, tmp_path, place, why):
        """A command that was called wrongly says so, and quotes no content."""
        (tmp_path / "empty").write_text("\n")
        (tmp_path / "bytes").write_bytes(PASSWORD.encode() + b"\xff")
        status, _, err = run("store", "migrate", "--store", place.format(tmp_path))
        assert 2 == status
        assert why in err
        assert PASSWORD not in err

    @pytest.mark.parametrize(
        "url",
        [
            f"postgresql://shop:{PASSWORD}@127.0.0.1:9/app",
            f"redis://:{PASSWORD}@127.0.0.1:9",
            f"postgresql://127.0.0.1:9/app?password={PASSWORD}",
            f"redis+sentinel://127.0.0.1:9/main?sentinel_password={PASSWORD}",
        ],
    )
    def test_a_password_on_the_command_line_is_warned_of(self, run, url):
        """Every user of the host can read it there."""
        status, out, err = run("explain", "--email", "ann@shop.dev", "--store", url, "--account", ACCOUNT)
        assert 1 == status
        assert err.startswith("every user of this host can read a password on the command line")
        assert PASSWORD not in out + err

    def test_a_url_without_a_password_is_not_warned_of(self, run, url):
        """A path with a colon is no password."""
        for each in (url, "redis://127.0.0.1:9", "postgresql://shop@127.0.0.1:9/app"):
            _, _, err = run("explain", "--email", "ann@shop.dev", "--store", each, "--account", ACCOUNT)
            assert "password on the command line" not in err


class TestFiles:
    def test_refused_rows_are_for_their_owner_alone(self, run, here, tmp_path):
        """Also in a file that was there already."""
        (tmp_path / "people.csv").write_text(ROWS)
        refused = tmp_path / "refused.csv"
        for _ in range(2):
            refused.touch()
            refused.chmod(0o666)
            assert 1 == run("bindings", "import", str(tmp_path / "people.csv"), "--refused", str(refused), *here).status
            assert 0o600 == S_IMODE(refused.stat().st_mode)
            assert "nobody" in refused.read_text()

    def test_another_users_file_for_refused_rows_is_refused(self, run, here, tmp_path, monkeypatch):
        """Whoever owns it can read it."""

        def not_ours(descriptor, mode):
            raise PermissionError

        monkeypatch.setattr(os, "fchmod", not_ours)
        (tmp_path / "people.csv").write_text(ROWS)
        refused = str(tmp_path / "refused.csv")
        status, _, err = run("bindings", "import", str(tmp_path / "people.csv"), "--refused", refused, *here)
        expected = "ConfigurationError: the file for refused rows is another user's; name another one\n"
        assert (1, expected) == (status, err)

    def test_refused_rows_may_go_to_a_device(self, run, here, tmp_path):
        """What is no file has no mode to change."""
        (tmp_path / "people.csv").write_text(ROWS)
        mode = Path(os.devnull).stat().st_mode
        assert 1 == run("bindings", "import", str(tmp_path / "people.csv"), "--refused", os.devnull, *here).status
        assert mode == Path(os.devnull).stat().st_mode

    def test_progress_is_written_through_no_link(self, here, tmp_path, monkeypatch):
        """In a folder that others may write to, a link could lead to any file of the user's."""
        precious = tmp_path / "precious"
        precious.write_text("precious")
        people = tmp_path / "people.csv"
        people.write_text("email\n" + "".join(f"c{number}@shop.dev\n" for number in range(1500)))
        people.with_name("people.csv.progress.new").symlink_to(precious)
        seen = []
        replace = os.replace

        def watch(source, target):
            seen.append(S_IMODE(os.lstat(source).st_mode))
            replace(source, target)

        monkeypatch.setattr("pathlib.Path.replace", watch)
        assert 0 == main(["bindings", "import", str(people), "--resume", *here])
        assert {0o600} == set(seen)
        assert "precious" == precious.read_text()

    def test_a_linked_progress_file_is_refused(self, run, here, tmp_path):
        """What stands at the end of a link says nothing about this import."""
        people = tmp_path / "people.csv"
        people.write_text(ROWS)
        people.with_name("people.csv.progress").symlink_to(tmp_path / "elsewhere")
        status, _, err = run("bindings", "import", str(people), "--resume", *here)
        expected = "ConfigurationError: the .progress file beside is a link; remove it to start again\n"
        assert (1, expected) == (status, err)
