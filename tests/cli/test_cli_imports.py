"""Importing what shops export: any delimiter and encoding, any header, any dirt; each bad row costs one row."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.stores import open_store
from safeklaviyo.testing import KlaviyoSimulator
from support import commands

EXPORTS = Path(__file__).parent / "exports"
HEADERS = {"external_id": "Customer ID", "email": "E-Mail", "phone_number": "PHONE", "name": "Name"}
CUSTOMERS = [
    {"external_id": "1001", "email": "ada@shop.test", "phone_number": "+447700900001", "name": "Zoë Müller; née Ó"},
    {"external_id": "1002", "email": "bob@shop.test", "phone_number": "", "name": 'Bob "the, first"\tLee'},
    {"external_id": "", "email": "guest@shop.test", "phone_number": "", "name": "François\nLefèvre | Fils"},
]
BOMS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


def exported(run, here):
    """Return the customers of the map: id, email, phone number."""
    out = run("bindings", "export", "-", "--format", "jsonl", *here).out
    rows = [json.loads(line) for line in out.splitlines()]
    return sorted((row.get("external_id", ""), row["email"], row.get("phone_number", "")) for row in rows)


def written(columns, delimiter, **options):
    """Return the customers as CSV."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, **options)
    writer.writerow([HEADERS[column] for column in columns])
    writer.writerows([customer[column] for column in columns] for customer in CUSTOMERS)
    return file.getvalue()


# The file.


@settings(max_examples=150, deadline=None)
@given(
    st.permutations(list(HEADERS)),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "cp1252", "latin-1", "utf-16-le", "utf-16-be"]),
    st.booleans(),
    st.booleans(),
)
def test_every_dialect_is_found_out(columns, delimiter, quoting, end, encoding, has_mark, excels):  # noqa: PLR0917
    """The same customers are read whatever program has written them."""
    text = ("sep=" + delimiter + end if excels else "") + written(
        columns, delimiter, quoting=quoting, lineterminator=end
    )
    file = io.BytesIO(BOMS.get(encoding, b"") * has_mark + text.encode(encoding))
    read, found = commands.encodings.opened(file, None)
    table = commands.rows.read_csv(commands.rows.Lines(read), commands.rows.Form({}, is_guess=found.is_guess))
    wanted = [{field: customer[field] for field in columns if field != "name"} for customer in CUSTOMERS]
    assert [(wanted[at], "") for at in range(3)] == [(row.values, row.problem) for row in table.rows]


EIGHT = {
    "semicolon": b"external_id;email\n1;ada@shop.test\n",
    "tab": b"external_id\temail\n1\tada@shop.test\n",
    "name": b"external_id,name,email\n1,Ada,ada@shop.test\n",
    "case": b"External ID,Email\n1,ada@shop.test\n",
    "utf-16": "external_id,email\n1,ada@shop.test\n".encode("utf-16"),
    "mark": "external_id,email\n1,ada@shop.test\n".encode("utf-8-sig"),
    "latin-1": "external_id,name,email\n1,Zoë,ada@shop.test\n".encode("latin-1"),
    "mac": b"external_id,email\r1,ada@shop.test\r",
}


@pytest.mark.parametrize("name", EIGHT)
def test_a_file_of_each_kind_is_imported(run, here, typed, name):
    """Not one of these files costs a row, and what was taken for what is said."""
    typed(EIGHT[name])
    status, out, _ = run("bindings", "import", "-", *here)
    assert (0, "added 1, unchanged 0, refused 0\n") == (status, out)
    assert [("1", "ada@shop.test", "")] == exported(run, here)


def test_what_was_found_out_is_said(run, here, typed):
    """Columns are named as the file names them; a plain file needs no words."""
    typed("Nr;E-Mail;Straße\n7;ada@shop.test;Weg\n".encode("cp1252"))
    _, _, err = run("bindings", "import", "-", "--map", "external_id=nr", *here)
    assert (
        "read as cp1252; semicolons between the columns; external_id from Nr, email from E-Mail; 1 column passed over\n"
        == err
    )


def test_customers_without_ids_are_warned_of(run, here, typed):
    """An id column under an unknown name is passed over, which is not seen before a call with an id fails."""
    typed(b"customer number,email\n7,ada@shop.test\n")
    _, warning = run("bindings", "import", "-", *here).err.splitlines()
    assert warning.startswith("WARNING: no column is taken for external_id, so every row becomes a guest.")
    assert "Passed over: customer number. " in warning
    typed(b"customer number,email,eve@shop.test\n7,ada@shop.test,\n")
    assert "eve@" not in run("bindings", "import", "-", *here).err
    typed(b"customer number,email\n7,ada@shop.test\n")
    assert "WARNING" not in run("bindings", "import", "-", "--map", "external_id=", *here).err
    typed(b"email\nbob@shop.test\n")
    assert "" == run("bindings", "import", "-", *here).err


def test_delimiters_at_the_end_of_lines_are_no_columns(run, here, typed):
    """Some lines may have them and some not."""
    typed(b"external_id,email,\n1,ada@shop.test,\n2,bob@shop.test\n3,eve@shop.test,,\n4\n")
    status, out, err = run("bindings", "import", "-", *here)
    assert (1, "added 3, unchanged 0, refused 1\n") == (status, out)
    assert "line 5: the row has not as many cells" in err


def test_a_guessed_encoding_names_no_customer(run, here, typed):
    """An identifier with letters of a guessed encoding could be another customer's; the caller says which it is."""
    content = "external_id,email\nK\xdcHN,ada@shop.test\n".encode("cp1252")
    typed(content)
    status, out, err = run("bindings", "import", "-", *here)
    assert (1, "added 0, unchanged 0, refused 1\n") == (status, out)
    assert "line 2: the external_id has letters, and the file's encoding is a guess; say which" in err
    typed(content)
    assert 0 == run("bindings", "import", "-", "--encoding", "cp1252", *here).status
    assert [("KÜHN", "ada@shop.test", "")] == exported(run, here)


def test_bytes_that_are_no_text_cost_what_they_stand_in(run, here, typed):
    """In a name they cost nothing; in an identifier the row."""
    lines = [b"external_id,email,name\n", "1,a@shop.test,Zoë\n2,b@shop.test,Ó\n".encode(), b"3,c@shop.test,Zo\xeb\n"]
    typed(b"".join([*lines, b"K\xdc,d@shop.test,\n"]))
    status, out, err = run("bindings", "import", "-", *here)
    assert (1, "added 3, unchanged 0, refused 1\n") == (status, out)
    assert "line 5: the external_id has bytes that are no text in the file's encoding" in err


@pytest.mark.parametrize("name", ["utf-16", "UTF-8", "latin1"])
def test_an_encoding_can_be_named(run, here, typed, name):
    """A name of the caller's counts, with or without a mark at the beginning."""
    typed("email\nada@shop.test\n".encode(name))
    assert 0 == run("bindings", "import", "-", "--encoding", name, *here).status


@pytest.mark.parametrize("name", ["cp9999", "base64"])
def test_an_encoding_that_is_none_is_refused(run, here, typed, name):
    """The message names it."""
    typed(b"email\n")
    status, _, err = run("bindings", "import", "-", "--encoding", name, *here)
    assert (1, f"ConfigurationError: there is no encoding called {name}; cp1252, utf-8 and utf-16 are some\n") == (
        status,
        err,
    )


# The columns.


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ("--map", "email=Mail"),
            "line 1 has to be a header: there is no column called Mail, which --map names for email",
        ),
        (("--map", "mail=email"), "give FIELD=COLUMN; FIELD is one of external_id, email, "),
        (("--map", "email"), "give FIELD=COLUMN"),
    ],
)
def test_a_map_of_columns_that_makes_no_sense_is_refused(run, here, typed, options, why):
    """The message names the column or the field."""
    typed(b"number,email\n")
    status, out, err = run("bindings", "import", "-", *options, *here)
    assert status in {1, 2}
    assert why in err
    assert "" == out


def test_a_column_can_be_left_out(run, here, typed):
    """An id column that holds numbers of rows is no one's id."""
    typed(b"ID,email\n1,ada@shop.test\n")
    assert 0 == run("bindings", "import", "-", "--map", "external_id=", *here).status
    assert [("", "ada@shop.test", "")] == exported(run, here)


def test_the_name_as_it_is_written_counts_first(run, here, typed):
    """Of two columns whose names differ in their case only, the caller can mean one."""
    typed(b"Email,email\nwork@shop.test,ada@shop.test\n")
    assert 0 == run("bindings", "import", "-", "--map", "email=Email", *here).status
    assert [("", "work@shop.test", "")] == exported(run, here)


# The shops.


def test_shopifys_export(run, here):
    """Its ids have an apostrophe, which is refused with the option that takes it off; a customer needs an email."""
    path = str(EXPORTS / "shopify.csv")
    status, out, err = run("bindings", "import", path, *here)
    assert (1, "added 0, unchanged 0, refused 3\n") == (status, out)
    assert 3 == err.count("--strip-apostrophes takes it off")
    status, out, err = run("bindings", "import", path, "--strip-apostrophes", *here)
    assert (1, "added 2, unchanged 0, refused 1\n") == (status, out)
    assert "external_id from Customer ID, email from Email, phone_number from Phone; 17 columns passed over\n" in err
    assert "line 5: the row has no email" in err
    wanted = [("7100000000001", "ada@shop.test", "+447700900001"), ("7100000000002", "grace@shop.test", "")]
    assert wanted == exported(run, here)


def test_woocommerces_export(run, here):
    """The account's address counts, not the one on the bill; an id of 0 is a guest's, and refused (R1)."""
    status, out, err = run("bindings", "import", str(EXPORTS / "woocommerce.csv"), *here)
    assert (1, "added 2, unchanged 0, refused 1\n") == (status, out)
    assert "line 3: the phone_number is not in E.164 form, such as +12345678901; it was left out" in err
    assert "line 4: the external_id is a placeholder" in err
    assert [("11", "ada@shop.test", "+447700900001"), ("12", "grace@shop.test", "")] == exported(run, here)


def test_magentos_export(run, here):
    """A column that is only called ID is asked about."""
    path = str(EXPORTS / "magento.csv")
    status, _, err = run("bindings", "import", path, *here)
    assert (1, "ConfigurationError: line 1 has to be a header: column 1 is called ID: ") == (status, err[:70])
    assert "add --map external_id=ID, and if not, --map external_id=\n" in err
    assert 0 == run("bindings", "import", path, "--map", "external_id=ID", *here).status
    assert [("000000001", "ada@shop.test", "+447700900001"), ("000000002", "grace@shop.test", "")] == exported(
        run, here
    )


# Dirt.

DIRT = {
    "1,a@shop.test,,": "",
    "2,b@shop.test": "",
    "3,c@shop.test,x": "the row has not as many cells",
    "4": "the row has not as many cells",
    '"5,d@shop.test': "a quotation mark in it is stray or not closed",
    '6,"e@shop.test" x': "a quotation mark in it is stray or not closed",
    "\\N,f@shop.test": "the external_id is a mark for NULL",
    "1.0E+05,g@shop.test": "the external_id is a number with an exponent",
    "5912842371.0,h@shop.test": "the external_id is a number with a decimal point",
    "'901,i@shop.test": "the external_id begins with an apostrophe",
    "7,NULL": "the email is a placeholder",
    "8,j@@shop.test": "the email is not a valid address",
    " , ": None,
    "9, K@Shop.Test ": "",
    "9,l@shop.test": "the map has this external_id with another email",
    '"10\nx",m@shop.test': "the external_id has characters that cannot be printed",
    "11,n@shop.test": "",
}


def test_each_bad_row_costs_one_row_and_has_its_sentence(run, here, typed):
    """What is wrong is said with the number of the line; the rows before and after it are imported."""
    typed(("external_id,email\n" + "\n".join(DIRT)).encode())
    status, out, err = run("bindings", "import", "-", *here)
    reasons = dict(line.split(": ", 1) for line in err.splitlines())
    number = 2
    for row, why in DIRT.items():
        if why:
            assert why in reasons.pop(f"line {number}")
        number += 1 + row.count("\n")
    assert {} == reasons
    good = sum(why == "" for why in DIRT.values())
    assert (1, f"added {good}, unchanged 0, refused {sum(bool(why) for why in DIRT.values())}\n") == (status, out)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*DIRT, '"', 'x"y', '"a","b', "12,o@shop.test"]), max_size=12), st.sampled_from("\n\r"))
def test_no_row_is_swallowed_by_another(lines, end):
    """Each line of a file is one row's, in order, however quotation marks stand in it."""
    text = end.join(line.replace("\n", " ") for line in lines)
    table = commands.rows.read_csv(
        commands.rows.Lines(io.StringIO("external_id,email" + end + text, newline="")), commands.rows.Form({})
    )
    rows = list(table.rows)
    # An empty row is passed over, unless a quotation mark has made it part of another.
    assert [word for word in "".join(row.text for row in rows).split() if word != ","] == [
        word for word in text.split() if word != ","
    ]
    good = {"1": "a@shop.test", "11": "n@shop.test", "12": "o@shop.test"}
    found = [row.values for row in rows if row.values is not None]
    for number, email in good.items():
        if not any('"' in line for line in lines):
            wanted = sum(line.startswith(f"{number},{email}") for line in lines)
            assert wanted == sum(values == {"external_id": number, "email": email} for values in found)


def test_a_quotation_mark_that_is_never_closed_costs_one_row(run, here, typed):
    """The rest of a long file is not taken for one cell."""
    typed(b'external_id,email\n"0,z@shop.test\n' + b"".join(b"%d,c%d@shop.test\n" % (n, n) for n in range(1, 1500)))
    status, out, err = run("bindings", "import", "-", *here)
    assert (1, "added 1499, unchanged 0, refused 1\n") == (status, out)
    assert "line 2: the row is no CSV: a quotation mark in it is stray or not closed\n" == err


# Former identifiers.


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_former_identifiers_resolve_to_their_customer(run, here, typed, form):
    """R8, R11: a shop knows which addresses and ids a customer had, and calls with them reach the customer."""
    content = {
        "csv": "external_id,email,former_emails,former_external_ids\n"
        "9,new@shop.test,Old@shop.test | older@shop.test,8\n",
        "jsonl": '{"external_id": "9", "email": "new@shop.test", "former_emails": ["Old@shop.test", "older@shop.test"],'
        ' "former_external_ids": [8]}\n',
    }
    typed(content[form].encode())
    assert 0 == run("bindings", "import", "-", "--format", form, *here).status
    for given_by in (("--email", "old@shop.test"), ("--email", "older@shop.test"), ("--external-id", "8")):
        assert "email        new@shop.test" in run("explain", *given_by, *here).out


# A dry run.


def test_a_dry_run_writes_nothing_and_says_the_same(run, here, typed):
    """What it says is what the import says afterwards, rows of the map and of the file before included."""
    typed(b"external_id,email,former_emails\n1,ada@shop.test,a@shop.test\n2,bob@shop.test,\n")
    run("bindings", "import", "-", *here)
    content = (
        b"external_id,email,former_emails\n1,ada@shop.test,\n2,other@shop.test,\n3,eve@shop.test,b@shop.test\n"
        b"4,eve@shop.test,\n5,fay@shop.test,ada@shop.test\n6,guy@shop.test,a@shop.test\nnull,x@shop.test,\n"
    )
    before = exported(run, here)
    typed(content)
    status, out, err = run("bindings", "import", "-", "--dry-run", *here)
    assert (1, "added 1, unchanged 1, refused 5\n") == (status, out)
    assert err.endswith("a dry run: nothing was written to the map\n")
    assert before == exported(run, here)
    typed(content)
    again = run("bindings", "import", "-", *here)
    assert (status, out, err.removesuffix("a dry run: nothing was written to the map\n")) == again


@pytest.mark.parametrize("options", [("--dry-run", "--resume"), ("--verify", "--trusted")])
def test_options_that_contradict_each_other_are_refused(run, here, typed, options):
    """The command says so before it reads anything."""
    typed(b"")
    assert 2 == run("bindings", "import", "-", *options, *here).status


def test_a_map_in_memory_is_refused(run, typed):
    """It would be gone when the command ends."""
    arguments = ("bindings", "import", "-", "--store", "memory://", "--account", "SiMuLa")
    typed(b"email\nada@shop.test\n")
    message = "ConfigurationError: a map in memory ends with this command; name a store that stays\n"
    assert (1, "", message) == run(*arguments)
    typed(b"email\nada@shop.test\n")
    assert 0 == run(*arguments, "--dry-run").status


# Verification.


@pytest.fixture
def served():
    """A pretend Klaviyo with three profiles, and its address."""
    simulator = KlaviyoSimulator(account="SiMuLa")
    for number, email in (("1", "ada@shop.test"), ("2", "elsewhere@shop.test"), (None, "orphan@shop.test")):
        simulator.add_profile(external_id=number, email=email)
    with simulator.serve() as url:
        yield simulator, url


@pytest.mark.parametrize("is_dry", [False, True])
def test_rows_are_verified_with_klaviyo(run, here, typed, served, monkeypatch, tmp_path, is_dry):  # noqa: PLR0917
    """A row that Klaviyo shows is verified, one that it contradicts is refused, and any other is added as ever."""
    simulator, url = served
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    typed(b"external_id,email\n1,ada@shop.test\n2,bob@shop.test\n3,orphan@shop.test\n4,new@shop.test\n")
    options = ("--verify", "--base-url", url, *(["--dry-run"] if is_dry else []))
    status, out, err = run("bindings", "import", "-", *options, *here)
    assert (1, "added 3, unchanged 0, refused 1, verified 1\n") == (status, out)
    assert "line 3: Klaviyo has this external_id with another email" in err
    assert ["GET", "GET"] == [request.method for request in simulator.journal]
    with open_store(f"sqlite:///{tmp_path}/identity.db") as store:
        assert (0 if is_dry else 3) == store.count("SiMuLa")


def test_a_dry_run_asks_which_account_it_is(run, typed, served, monkeypatch, tmp_path):
    """The answer is remembered in the trial only."""
    _, url = served
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    typed(b"email\nada@shop.test\n")
    store = f"sqlite:///{tmp_path}/identity.db"
    assert 0 == run("bindings", "import", "-", "--dry-run", "--base-url", url, "--store", store).status
    with open_store(store) as real:
        assert () == real.notes("").notes


def former(number, before, now=""):
    """A row of the file below, with a former address."""
    return f"{number},{now or f'c{number}@shop.test'},{before}\n"


def filled(run, here, file, *rows, options=()):
    """Import rows that stand far from each other, and return what was said."""
    between = "".join(f"{number},p{number}@shop.test,\n" for number in range(10_000, 11_500))
    file.write_text("external_id,email,former_emails\n" + between.join(rows))
    return run("bindings", "import", str(file), *options, *here)


@pytest.mark.parametrize(
    "other",
    [
        "null,mine@shop.test,\n",
        'broken "" "quote,mine@shop.test,"x\n',
        "8,mine@shop.test\n",
        "8, MINE@shop.test ,,more,cells\n",
    ],
    ids=["refused", "no CSV", "cut off", "too long"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_p3_an_address_of_a_refused_row_is_nobodys_former_one(run, here, tmp_path, other, is_first):
    """Wherever the two rows stand in the file, and whyever the other one is refused."""
    rows = (other, former(7, "mine@shop.test"))
    ran = filled(run, here, tmp_path / "shop.csv", *(rows if is_first else rows[::-1]))
    line = 1502 + is_first
    told = f"line {line if is_first else 2}: one of its former identifiers is the current one of another row"
    assert (1, True) == (ran.status, told in ran.err)
    assert "rewritten    yes" not in run("explain", "--email", "mine@shop.test", *here).out


def test_p3_an_interrupted_import_protects_as_before(run, here, tmp_path):
    """What a row of the first run says is current is not free in the second run either."""
    file = tmp_path / "shop.csv"
    rows = ("null,mine@shop.test,\n", former(7, "mine@shop.test") + "null,y@shop.test,\n")
    stopped = filled(run, here, file, *rows, options=("--resume", "--refused", str(tmp_path / "kept.csv")))
    assert 1 == stopped.status
    said = filled(run, here, file, *rows).err
    assert "line 1503: one of its former identifiers" in said


def test_former_identifiers_that_nobody_has_are_taken(run, here, tmp_path):
    """A file may have many: all that is looked for is who has them now."""
    ran = filled(run, here, tmp_path / "shop.csv", former(7, "old@shop.test"), former(8, "older@shop.test"))
    assert (0, "added 1502, unchanged 0, refused 0\n") == (ran.status, ran.out)
    assert "rewritten    yes" in run("explain", "--email", "old@shop.test", *here).out


def test_p3_json_lines_from_a_pipe_are_looked_through(run, here, typed):
    """What cannot be read twice is copied first; the id in a line that is no JSON is protected too."""
    rows = ['{"email": "a@shop.test", "Former External IDs": ["x-1"]}', '{"external_id": "x-1", "email": ']
    typed("\n".join(rows).encode())
    ran = run("bindings", "import", "-", "--format", "jsonl", *here)
    assert (1, "added 0, unchanged 0, refused 2\n") == (ran.status, ran.out)


@pytest.mark.parametrize("options", [(), ("--map", "former_emails=alt")])
def test_json_lines_may_call_them_something_else(run, here, typed, options):
    """A key that the caller names counts as one that is known."""
    typed(b'{"email": "a@shop.test", "alt": "old@shop.test"}\n')
    assert 0 == run("bindings", "import", "-", "--format", "jsonl", *options, *here).status
    assert bool(options) == ("rewritten    yes" in run("explain", "--email", "old@shop.test", *here).out)


def test_a_file_of_refused_rows_is_imported_again_and_again(run, here, tmp_path):
    """The two columns before the rows stand there once; mended rows are as they were."""
    first, second, third = (tmp_path / f"{name}.csv" for name in ("first", "second", "third"))
    first.write_text('external_id,email\nnull,"a,b"\n7,x@shop.test\n')
    run("bindings", "import", str(first), "--refused", str(second), *here)
    run("bindings", "import", str(second), "--refused", str(third), *here)
    assert second.read_text() == third.read_text()
    assert third.read_text().startswith("line,reason,external_id,email\n2,")
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"email": "x"}\n')
    for _ in range(2):
        run("bindings", "import", str(lines), "--refused", str(third), *here)
        lines.write_text(third.read_text())
    assert 1 == lines.read_text().count("reason")


def test_many_warnings_are_summed_up(run, here, tmp_path):
    """After a hundred, each kind is counted."""
    file = tmp_path / "shop.csv"
    rows = [f"c{number}@shop.test,12\n" for number in range(150)]
    file.write_text("email,phone_number\n" + "".join(rows))
    ran = run("bindings", "import", str(file), *here)
    assert (0, "added 150, unchanged 0, refused 0\n") == (ran.status, ran.out)
    assert 101 == len(ran.err.splitlines())
    why = "the phone_number is not in E.164 form, such as +12345678901; it was left out"
    assert f"50 more lines: {why}" == ran.err.splitlines()[-1]


def test_numbers_of_a_country(run, here, typed):
    """With the country they are as good as any; a country that is none is refused."""
    typed(b"email,phone\nada@shop.test,030 123456\n")
    ran = run("bindings", "import", "-", "--phone-region", "DE", *here)
    assert (0, "email, phone_number from phone; 0 columns passed over\n") == (ran.status, ran.err.partition("; ")[2])
    assert "+4930123456" in run("bindings", "get", "--email", "ada@shop.test", *here).out
    typed(b"email,phone\nada@shop.test,030 123456\n")
    assert "has to be a country's two letters" in run("bindings", "import", "-", "--phone-region", "ZZ", *here).err


def test_an_account_in_another_spelling_is_warned_of(run, here, typed):
    """Its customers would be in a map of their own, which no call finds."""
    typed(b"email\nada@shop.test\n")
    run("bindings", "import", "-", *here)
    typed(b"email\nada@shop.test\n")
    ran = run("bindings", "import", "-", *here[:-1], here[-1].lower())
    assert f"WARNING: the map has customers of the account {here[-1]}" in ran.err
    typed(b"email\nada@shop.test\n")
    assert "" == run("bindings", "import", "-", *here[:-1], "a-name-of-the-shops-own").err
