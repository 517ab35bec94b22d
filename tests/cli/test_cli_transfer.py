"""Importing and exporting the identity map: nothing is changed on the way, nothing is told, nothing is lost."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeklaviyo.models import Binding
from support import commands

COLUMNS = ("external_id", "email", "profile_id", "phone_number")
HOSTILE = [
    ("=cmd|' /C calc'!A0", "=sum@shop.test", "01A", "+12025550100"),
    ("@SUM(1,2)", "+tag+x@shop.test", "01B", ""),
    ("-1+1|x", "-minus@shop.test", "", "+12025550101"),
    ("quoted'=", "'apostrophe@shop.test", "", ""),
    ("pl'ain", "plain@shop.test", "", ""),
    ('say "hi", bob', "o'hara@shop.test", "", ""),
    ("Ünïcødé ✓ 漢字", "unicode@xn--bcher-kva.test", "", ""),
    ("\uff1dfull", "full@shop.test", "", ""),
    ("", "guest@shop.test", "", ""),
]


def jsonl(rows):
    """Return rows as JSON lines."""
    return "".join(json.dumps({k: v for k, v in zip(COLUMNS, row, strict=True) if v}) + "\n" for row in rows)


def exported(run, here, form="jsonl"):
    """Return what the map holds."""
    return run("bindings", "export", "-", "--format", form, *here).out


def people(number, first=1):
    """Return so many rows of CSV."""
    return "".join(f"{n},c{n}@shop.test\n" for n in range(first, first + number))


HEADER = "external_id,email\n"
PLAIN = commands.rows.Form({})


def rows_of(read, text):
    """Return the rows of a text."""
    return list(read(commands.rows.Lines(io.StringIO(text, newline="")), PLAIN).rows)


# Text and back.

cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
hostile_cells = st.tuples(st.sampled_from(["", "'", "''", "=", "+", "-", "@", "'=", "\uff1d"]), cells).map("".join)
rows_of_cells = st.lists(st.tuples(*[hostile_cells] * 4).filter(any))


@settings(max_examples=100, deadline=None)
@given(rows_of_cells)
def test_any_cell_survives_csv(rows):
    """What is written as CSV is read as it was, line breaks, quotes and formulas included."""
    file = io.StringIO(newline="")
    write = commands.rows.csv_writer(file)
    for row in rows:
        write(Binding(*row))
    read = rows_of(commands.rows.read_csv, file.getvalue())
    assert rows == [tuple(row.values[name] for name in COLUMNS) for row in read]


@settings(max_examples=100, deadline=None)
@given(rows_of_cells)
def test_no_cell_of_csv_is_a_formula(rows):
    """A spreadsheet that opens the file finds text only."""
    import csv

    file = io.StringIO(newline="")
    write = commands.rows.csv_writer(file)
    for row in rows:
        write(Binding(*row))
    file.seek(0)
    assert not [
        cell for row in csv.reader(file) for cell in row if cell.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    ]


@settings(max_examples=100, deadline=None)
@given(rows_of_cells)
def test_any_text_survives_json_lines(rows):
    """What is written as JSON lines is read as it was."""
    file = io.StringIO(newline="")
    write = commands.rows.jsonl_writer(file)
    for row in rows:
        write(Binding(*row))
    read = rows_of(commands.rows.read_jsonl, file.getvalue())
    assert [dict(zip(COLUMNS, row, strict=True)) for row in rows] == [row.values for row in read]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.sampled_from([commands.rows.read_jsonl, commands.rows.read_csv]))
@example(",", commands.rows.read_csv)
def test_any_text_is_read_line_by_line(text, read):
    """Whatever a file holds, each row knows where it stands, and together they are the file but for blanks.

    A row of a table without anything in its cells is blank, too: spreadsheets write such rows.
    """
    header, between = ("email\n", ",") if read is commands.rows.read_csv else ("", "")
    found = rows_of(read, header + text)
    numbers = [row.line for row in found]
    assert sorted(set(numbers)) == numbers
    whole = "".join(row.text for row in found)
    assert "".join(whole.replace(between, "").split()) == "".join(text.replace(between, "").split())


# Import.


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_map_of_hostile_rows_is_copied_by_files(run, here, tmp_path, form):
    """What one map holds arrives in another unchanged, unicode, quotes and formulas included."""
    given, copy = tmp_path / "given.jsonl", tmp_path / f"copy.{form}"
    given.write_text(jsonl(HOSTILE))
    assert (0, "added 9, unchanged 0, refused 0\n", "") == run("bindings", "import", str(given), *here)
    assert (0, "", "exported 9\n") == run("bindings", "export", str(copy), *here)
    other = ("--store", f"sqlite:///{tmp_path}/other.db", "--account", "SiMuLa")
    assert (0, "added 9, unchanged 0, refused 0\n", "") == run("bindings", "import", str(copy), *other)
    assert sorted(exported(run, here).splitlines()) == sorted(exported(run, other).splitlines())


def test_running_an_import_again_changes_nothing(run, here, typed):
    """Rows that are there already count as unchanged."""
    content = (HEADER + people(3)).encode()
    typed(content)
    assert "added 3, unchanged 0, refused 0\n" == run("bindings", "import", "-", *here).out
    typed(content)
    assert "added 0, unchanged 3, refused 0\n" == run("bindings", "import", "-", *here).out


def test_trusted_rows_need_no_check(run, here, typed):
    """Only rows that were taken on trust have a time of their last check (R16)."""
    typed(b"email\nada@shop.test\n")
    run("bindings", "import", "-", *here)
    assert json.loads(run("bindings", "get", "--email", "ada@shop.test", *here).out)["verified_at"] is None
    typed(b"email\neve@shop.test\n")
    run("bindings", "import", "-", "--trusted", *here)
    assert json.loads(run("bindings", "get", "--email", "eve@shop.test", *here).out)["verified_at"] is not None


def test_a_byte_order_mark_is_no_part_of_the_header(run, here, typed):
    """Spreadsheets write one."""
    typed("\ufeffemail\r\nada@shop.test\r\n".encode())
    assert "added 1, unchanged 0, refused 0\n" == run("bindings", "import", "-", *here).out


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("external_id\n", "line 1 has to be a header: no column is called email"),
        ("\nsep=;\nnumber;name\n", "line 3 has to be a header: no column is called email"),
        ("Email,email\n", "line 1 has to be a header: columns 1 and 2 have the same name, that of email"),
        ("ada@shop.test,1815\n", "line 1 has to be a header: it has an address"),
        ("1815\tada@shop.test\n", "line 1 has to be a header: it has an address"),
        ("ID;Email\n", "line 1 has to be a header: column 1 is called ID"),
    ],
)
def test_a_csv_without_a_header_is_refused_whole(run, here, typed, header, why):
    """The columns have to be named, and the first line is not told: it may be a customer."""
    typed(header.encode())
    status, out, err = run("bindings", "import", "-", *here)
    assert (1, "") == (status, out)
    assert err.startswith(f"ConfigurationError: {why}")
    assert "ada" not in err
    assert 1 == err.count("\n")


BAD_ROWS = {
    2: b"1,secret-a@@shop.test\n",
    4: b'"2\n2",secret-b@shop.test\n',
    6: b"3,good@shop.test\n",
    7: b"4,secret-c@shop.test,more\n",
    8: b"5\n",
    9: b"6,\xff\xfesecret-d@shop.test\n",
    10: b"7,\n",
    11: b"null,secret-e@shop.test\n",
    12: b"8,good@shop.test\n",
    13: b"9,secret" + b"x" * 200_000 + b"\n",
    14: b"10,last@shop.test",
}
BAD_CSV = b"external_id,email\n" + BAD_ROWS[2] + b"\n" + b"".join(list(BAD_ROWS.values())[1:])
REFUSED = (2, 4, 7, 8, 9, 10, 11, 12, 13)


def test_a_refused_row_is_reported_by_its_line_without_the_address(run, here, typed):
    """Each row is judged by itself; what is wrong is said of the line, never what stands there (P8)."""
    typed(BAD_CSV)
    status, out, err = run("bindings", "import", "-", *here)
    assert (1, "added 2, unchanged 0, refused 9\n") == (status, out)
    found, *lines = [line.partition(":")[0] for line in err.splitlines()]
    assert "read as cp1252" == found
    assert [f"line {number}" for number in REFUSED] == lines
    assert "line 7: the row has not as many cells as the header" in err
    assert "line 10: the row has no email" in err
    assert "line 12: the map has this email with another external_id" in err
    assert "line 13: the row is no CSV: a cell of it is too long" in err
    assert not any(word in err for word in ("secret", "good", "@"))


def test_r1_f37_rows_that_an_export_has_spoilt_are_refused_with_the_reason(run, here, typed):
    """R1, F-37: an id with an apostrophe, an exponent or a mark for NULL is no customer, and its line says why."""
    typed(
        b"external_id,email,phone_number\n"
        b"'9013808660771,a@shop.test,'+12025550100\n"
        b"9.01381E+12,b@shop.test,\n"
        b"\\N,c@shop.test,\n"
        b"<NA>,d@shop.test,\n"
        b"'-7,e@shop.test,'+12025550101\n"
        b"8,f@shop.test,\\N\n"
    )
    status, out, err = run("bindings", "import", "-", *here)
    assert (1, "added 2, unchanged 0, refused 4\n") == (status, out)
    lines = dict(line.split(": ", 1) for line in err.splitlines())
    assert [f"line {number}" for number in (2, 3, 4, 5)] == sorted(lines)  # a mark for NULL is no phone number
    assert "apostrophe" in lines["line 2"]
    assert "exponent" in lines["line 3"]
    assert "NULL" in lines["line 4"]
    assert "9013" not in err


def test_json_lines_are_judged_one_by_one(run, here, typed):
    """What is no JSON, or no object of the known columns, is refused with its line."""
    lines = [
        "{",
        "[1]",
        '{"email": "ok@shop.test"}',
        "  ",
        "[" * 100_000,
        '{"email": ["x"]}',
        '{"mail": "x@shop.test"}',
    ]
    lines += ['{"email": "id@shop.test", "external_id": 7}', '{"email": "b@shop.test", "external_id": "\\ud800"}']
    typed("\n".join(lines).encode())
    status, out, err = run("bindings", "import", "-", "--format", "jsonl", *here)
    assert (1, "added 2, unchanged 0, refused 6\n") == (status, out)
    assert "line 1: the line is no JSON\nline 2: the line is no JSON object\nline 5: the line is no JSON\n" in err
    assert [1, 2, 5, 6, 7, 9] == [int(line.partition(":")[0].removeprefix("line ")) for line in err.splitlines()]


def test_refused_rows_are_kept_as_they_stand(run, here, typed, tmp_path):
    """The file of refused rows holds their bytes behind line and reason, for its owner's eyes only."""
    kept = tmp_path / "refused.csv"
    typed(BAD_CSV)
    err = run("bindings", "import", "-", "--refused", str(kept), *here).err
    reasons = dict(line.removeprefix("line ").split(": ", 1) for line in err.splitlines()[1:])
    quoted = {number: f'"{reason}"' if "," in reason else reason for number, reason in reasons.items()}
    rows = [f"{number},{quoted[str(number)]},".encode() + BAD_ROWS[number] for number in REFUSED]
    assert b"line,reason,external_id,email\n" + b"".join(rows) == kept.read_bytes()
    assert 0o600 == kept.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("form", "content", "report"),
    [
        ("csv", b'Email;number\n=x;1\nbob@shop.test;2\n"eve@shop.test";(none)\n', "added 2, unchanged 0, refused 0\n"),
        (
            "jsonl",
            b'{"Email": "=x", "number": 1}\n{"email": "bob@shop.test", "number": null}\n["eve"]\n{\n',
            "added 1, unchanged 0, refused 2\n",
        ),
    ],
)
def test_refused_rows_are_mended_and_imported(run, here, typed, tmp_path, form, content, report):  # noqa: PLR0917
    """The file of refused rows is one to import, so that only what is wrong has to be mended."""
    kept = tmp_path / f"refused.{form}"
    named = ("--map", "external_id=number", *here)
    typed(content)
    assert 1 == run("bindings", "import", "-", "--format", form, "--refused", str(kept), *named).status
    assert b"bob" not in kept.read_bytes()
    kept.write_bytes(kept.read_bytes().replace(b"=x", b"mended@shop.test").replace(b"(none)", b"3"))
    assert report == run("bindings", "import", str(kept), *named).out


def test_an_interrupted_import_says_how_far_it_got(run, here, monkeypatch):
    """Ctrl-C loses nothing that was counted, and the words say what to do."""

    class Interrupted(io.RawIOBase):
        content = io.BytesIO((HEADER + people(1500)).encode())

        def readable(self):
            return True

        def readinto(self, buffer):
            number = self.content.readinto(buffer)
            if not number:
                raise KeyboardInterrupt
            return number

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Interrupted())))
    status, out, err = run("bindings", "import", "-", *here)
    assert (130, "") == (status, out)
    assert "stopped after 1000 rows; run it again: rows that are there count as unchanged\ninterrupted\n" == err
    assert 1000 == exported(run, here).count("\n")


@pytest.fixture
def stopped(run, here, tmp_path):
    """A file of 2500 rows whose import has stopped in the second thousand, because a disk was full."""
    file = tmp_path / "people.csv"
    bad = ("x" * 99 + ",bad\n") * 100
    file.write_text(HEADER + people(1000) + bad + people(1400, first=1001))
    arguments = ("bindings", "import", str(file), "--resume", *here)
    status, out, err = run(*arguments, "--refused", "/dev/full")
    assert (1, "") == (status, out)
    assert "stopped after 1000 rows" in err
    return file, arguments


def test_a_resumed_import_goes_on_where_it_stopped(run, here, stopped, tmp_path):
    """Rows that were done are not even looked at again; at the end no trace is left."""
    file, arguments = stopped
    progress = file.with_name("people.csv.progress")
    assert progress.exists()
    kept = tmp_path / "refused.csv"
    kept.write_text("those of before\n")
    status, out, _ = run(*arguments, "--refused", str(kept))
    assert (1, "added 500, unchanged 900, refused 100\n") == (status, out)
    assert 101 == kept.read_text().count("\n")
    assert kept.read_text().startswith("those of before\n")
    assert not progress.exists()
    assert 2400 == exported(run, here).count("\n")


def test_what_a_killed_import_half_wrote_is_written_again(run, here, tmp_path, monkeypatch):
    """A row that stands there in part, beyond what was noted, is replaced by the whole row."""
    file, kept = tmp_path / "people.csv", tmp_path / "refused.csv"
    file.write_text(HEADER + "null,a@shop.test\n" + people(999) + "null,b@shop.test\n" + people(10, first=1000))
    arguments = ("bindings", "import", str(file), "--resume", "--refused", str(kept), *here)

    noted = []

    class Stopping(io.StringIO):
        def write(self, text):
            if "line 1002" in text:
                noted.append(kept.read_text())
                raise KeyboardInterrupt
            return super().write(text)

    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", Stopping())
        assert 130 == run(*arguments).status
    done = kept.read_text()
    assert [done] == noted
    assert 2 == done.count("\n")
    kept.write_text(done + '1002,"half a r')
    assert 1 == run(*arguments).status
    whole = kept.read_text()
    assert [done, 3] == [whole[: len(done)], whole.count("\n")]
    assert whole.removeprefix(done).startswith('1002,"the external_id is')


@pytest.mark.parametrize("change", ["file", "account", "store", "garbage"])
def test_another_import_is_not_resumed(run, stopped, tmp_path, change):
    """A checkpoint counts for the same file, the same map and the same account only."""
    file, arguments = stopped
    replaced = {"account": ("SiMuLa", "OtherA"), "store": ("identity.db", "other.db")}.get(change, ("", ""))
    if change == "file":
        file.write_text(HEADER + people(3))
    if change == "garbage":
        file.with_name("people.csv.progress").write_text("?")
    status, out, err = run(*(each.replace(*replaced) for each in arguments))
    assert (1, "") == (status, out)
    assert err.startswith("ConfigurationError: the .progress file beside is of another import")


def test_a_resumable_import_may_run_through(run, here, tmp_path):
    """Without an interruption --resume changes nothing."""
    file = tmp_path / "people.csv"
    file.write_text(HEADER + people(2))
    assert (0, "added 2, unchanged 0, refused 0\n", "") == run("bindings", "import", str(file), "--resume", *here)
    assert ["identity.db", "people.csv"] == sorted(
        each.name for each in tmp_path.iterdir() if not each.name.endswith(("-wal", "-shm"))
    )


def test_stdin_cannot_be_resumed(run, here, typed):
    """What was read from a pipe is gone."""
    typed(b"email\n")
    assert (1, "", "ConfigurationError: stdin cannot be resumed; give a file\n") == run(
        "bindings", "import", "-", "--resume", *here
    )


class Terminal(io.StringIO):
    """Something that says it is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_shows_a_progress_bar(run, here, tmp_path, monkeypatch):
    """On a terminal one sees that something happens."""
    file = tmp_path / "people.csv"
    file.write_text(HEADER + people(3))
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert "added 3, unchanged 0, refused 0\n" == run("bindings", "import", str(file), *here).out
    assert "importing" in sys.stderr.getvalue()


def test_a_terminal_without_rich_shows_none(run, here, typed, monkeypatch):
    """The bar is an ornament: without rich the import works as well."""
    typed((HEADER + people(3)).encode())
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "rich", None)
    assert 0 == run("bindings", "import", "-", *here).status
    assert "" == sys.stderr.getvalue()


# Export.


@pytest.fixture
def three(run, here, typed):
    """A map of three customers."""
    typed((HEADER + people(3)).encode())
    run("bindings", "import", "-", *here)


@pytest.mark.usefixtures("three")
def test_csv_is_what_an_unknown_name_means(run, here, tmp_path):
    """The format follows the name; what says nothing is CSV."""
    assert "external_id,email,profile_id,phone_number\r\n" in exported(run, here, "csv")
    for name, begins in [("a", "external_id"), ("a.csv", "external_id"), ("a.JSONL", "{"), ("a.ndjson", "{")]:
        run("bindings", "export", str(tmp_path / name), *here)
        assert (tmp_path / name).read_text().startswith(begins)


@pytest.mark.usefixtures("three")
def test_an_export_is_for_its_owner_only(run, here, tmp_path):
    """The new file has mode 0600 whatever the old one had, also where a link leads to it."""
    old, link = tmp_path / "old.csv", tmp_path / "link.csv"
    old.write_text("old")
    old.chmod(0o644)
    link.symlink_to(old)
    assert 0 == run("bindings", "export", str(link), *here).status
    assert (0o600, 4, True) == (old.stat().st_mode & 0o777, old.read_text().count("\n"), link.is_symlink())


def test_an_export_that_fails_leaves_the_old_file(run, tmp_path):
    """A file is there wholly or not at all."""
    old = tmp_path / "out" / "old.csv"
    old.parent.mkdir()
    old.write_text("old")
    (tmp_path / "bad.db").write_text("this is no identity map " * 50)
    status, _, err = run("bindings", "export", str(old), "--store", f"sqlite:///{tmp_path}/bad.db", "--account", "A")
    assert (1, "old", [old]) == (status, old.read_text(), list(old.parent.iterdir()))
    assert err.startswith("StoreIncompatibleError: ")


def test_an_export_replaces_nothing_but_files(run, here, tmp_path):
    """A folder or a device in the way is refused."""
    assert (1, "", "ConfigurationError: there is something else than a file at this path; for stdout give -\n") == run(
        "bindings", "export", str(tmp_path), *here
    )
