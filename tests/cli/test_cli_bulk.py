"""`track FILE` and `identify FILE`: each row arrives once or is refused by itself, however often the file is sent."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from contextlib import contextmanager

import pytest

from safeklaviyo.testing import KlaviyoSimulator
from support.commands import bulk, records

HEADER = "event,external_id,email,time,value,points,unique_id,note\n"
DIRT = {
    "Placed Order,NULL,x@shop.test,1799000000,,80,o-3,": "placeholder",
    "Placed Order,1907,nobody,1799000000,,80,o-4,": "email",
    "Placed Order,1907,y@shop.test,yesterday,,80,o-4,": "ISO 8601",
    "Placed Order,1911,z11@shop.test,NaT,7,1,o-7,": "ISO 8601",
    "Placed Order,\\N,z11@shop.test,1799000000,7,1,o-7,": "NULL",
    'Placed Order,1908,z@shop.test,1799000000,"1,234.50",80,o-5,': "could be two",
    'Placed Order,1909,z9@shop.test,1799000000,7,"1,2",o-6,': "no number",
    "Placed Order,1910,z10@shop.test": "not as many cells",
    "Placed Order,1910,z10@shop.test,1799000000,7,1,o-7,a,b": "not as many cells",
    '"Placed Order,1913,q': "no CSV",
    "Placed Order,'901,z13@shop.test,1799000000,7,1,o-9,": "apostrophe",
    "Placed Order,1914,z14@shop.test,1799000000,7,1,o-10,a\0b": "null bytes",
    "Placed Order,5912842371.0,z15@shop.test,1799000000,7,1,o-11,": "decimal point",
    ",1915,z15@shop.test,1799000000,7,1,o-11,": "event",
}


def good(number):
    """Return a row that is fit, without a key of its own."""
    return f"Placed Order,c-{number % 7},c{number % 7}@shop.test,{1_799_000_000 + number},,{number},,"


@pytest.fixture
def klaviyo(monkeypatch):
    """A pretend Klaviyo that is served, and its address."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    simulator = KlaviyoSimulator(account="SiMuLa", queue_lag=0.0)
    with simulator.serve() as url:
        yield simulator, url


@pytest.fixture
def send(run, here, klaviyo, tmp_path):
    """Writes a file, and runs a command on it."""

    def send(command, content, *more, name="file.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return run(command, str(path), "--base-url", klaviyo[1], *here, *more)

    return send


def points(simulator):
    """Return how often each event was recorded."""
    simulator.drain()
    return Counter(event.properties.get("points") for event in simulator.events)


class TestTrack:
    def test_a_file_may_be_sent_again(self, send, klaviyo):
        """P5: a row without a key gets one from the file's content and its line, the same each time."""
        content = HEADER + "".join(f"{good(number)}\n" for number in range(30))
        for _ in range(2):
            status, out, err = send("track", content, "--number", "points")
            assert (0, "accepted 30, refused 0\n") == (status, out)
        assert "columns: external_id, email, event, unique_id, time, value; and 2 as properties\n" == err
        assert dict.fromkeys(range(30), 1) == points(klaviyo[0])
        assert 7 == len(klaviyo[0].profiles)

    def test_each_kind_of_dirt_costs_its_row_alone(self, send, klaviyo, tmp_path):
        """Each refused row is named by its line and the reason, on stderr and in the file; all others arrive."""
        lines = [line for number, bad in enumerate(DIRT) for line in (good(number), bad)]
        kept = tmp_path / "refused.csv"
        status, out, err = send(
            "track", HEADER + "\n,,,,,,,\n".join(lines), "--number", "points", "--refused", str(kept)
        )
        assert (1, f"accepted {len(DIRT)}, refused {len(DIRT)}\n") == (status, out)
        told = err.splitlines()[1:]
        for number, (reason, said) in enumerate(zip(DIRT.values(), told, strict=True)):
            assert said.startswith(f"line {4 * number + 4}: ")
            assert reason in said
        assert dict.fromkeys(range(len(DIRT)), 1) == points(klaviyo[0])
        refused = kept.read_text().splitlines()
        assert "line,reason," + HEADER.strip() == refused[0]
        assert len(DIRT) + 1 == len(refused)

    def test_refused_rows_are_mended_and_sent_again(self, send, klaviyo, tmp_path):
        """The file of refused rows is a file of rows: its own two columns are no properties."""
        kept = tmp_path / "refused.csv"
        send("track", HEADER + next(iter(DIRT)) + "\n", "--number", "points", "--refused", str(kept))
        mended = kept.read_text().replace("NULL", "1903")
        status, out, _ = send("track", mended, "--number", "points", name="mended.csv")
        klaviyo[0].drain()
        assert (0, "accepted 1, refused 0\n", [{"points": 80}]) == (
            status, out, [each.properties for each in klaviyo[0].events],
        )  # fmt: skip

    def test_lines_of_json(self, send, klaviyo, tmp_path):
        """A line has the arguments of `track`; what is beside them is a property."""
        kept = tmp_path / "refused.jsonl"
        rows = [
            {"event": "A", "email": "a@shop.test", "unique_id": "1", "points": 1, "properties": {"kind": "x"}},
            {"event": "A", "email": "a@shop.test", "customer_properties": {"plan": "gold"}, "time": None, "note": None},
            {"event": "A", "email": "a@shop.test", "points": 1, "properties": {"points": 2}},
            {"event": "A", "email": "a@shop.test", "properties": 7},
            {"event": "A", "email": "a@shop.test", "Email": "b@shop.test"},
            7,
        ]
        content = "\n".join([*map(json.dumps, rows), "{", '{"event": "A\0"}', ""])
        status, out, err = send("track", content, "--refused", str(kept), name="file.jsonl")
        assert (1, "accepted 2, refused 6\n") == (status, out)
        assert [f"line {number}" for number in range(3, 9)] == [line.partition(":")[0] for line in err.splitlines()]
        klaviyo[0].drain()
        assert [{"points": 1, "kind": "x"}, {}] == [each.properties for each in klaviyo[0].events]
        again = kept.read_text()
        assert 6 == again.count("\n")
        status, out, _ = send("track", again.replace('\\"Email\\"', '\\"note\\"'), name="again.jsonl")
        assert (1, "accepted 1, refused 5\n") == (status, out)

    def test_what_is_said_about_the_columns(self, send, klaviyo):
        """One name for all events, chosen columns, a spreadsheet's apostrophes, Windows' encoding, and semicolons."""
        content = "Kunde;E-Mail;Stück;Notiz\r\n'12;a@shop.test;3;gr\xfc\xdfe\r\n".encode("cp1252")
        more = ("--event", "Sold", "--map", "external_id=Kunde", "--map", "email=E-Mail", "--number", "Stück",
                "--strip-apostrophes", "--encoding", "cp1252", "--backfill")  # fmt: skip
        status, out, err = send("track", content, *more)
        assert (0, "accepted 1, refused 0\n") == (status, out)
        assert "read as cp1252\n" in err
        assert "no column has the time: each event counts as of now\n" in err
        klaviyo[0].drain()
        (event,) = klaviyo[0].events
        assert ("Sold", {"Stück": 3, "Notiz": "grüße"}) == (event.metric, event.properties)
        assert "12" == klaviyo[0].profiles[0].external_id

    def test_a_guess_is_not_sent(self, send, klaviyo):
        """A letter of an encoding that is a guess costs its row."""
        status, out, err = send("track", HEADER.encode() + b"A,1,a@shop.test,,,,,gr\xfc\xdfe\n")
        assert (1, "accepted 0, refused 1\n") == (status, out)
        assert "line 2: the row has letters, and the file's encoding is a guess" in err

    @pytest.mark.parametrize(
        ("header", "problem"),
        [
            ("event,name", "no column is called external_id or email"),
            ("external_id,email", "no column has the events' names"),
            ("event,id,email", "column 2 is called id"),
            ("event,email,Email", "have the same name"),
            ("", "the file is empty"),
            ('event,email,"x', "no column is called"),
        ],
    )
    def test_a_header_that_leaves_it_open(self, send, klaviyo, header, problem):
        """Nothing is sent before it is certain what the columns mean."""
        status, _, err = send("track", header)
        assert (1, True, []) == (status, problem in err, list(klaviyo[0].journal))

    def test_a_column_of_numbers_that_is_not_there(self, send):
        """A misspelt name would send texts in place of numbers."""
        status, _, err = send("track", HEADER, "--number", "pionts")
        assert (1, True) == (status, "there is no column called pionts" in err)

    def test_the_wrong_field(self, send):
        """What is no field cannot be mapped."""
        assert 2 == send("track", HEADER, "--map", "name=x").status

    def test_the_bar_moves_within_a_part(self, send, klaviyo, monkeypatch):
        """Of a part all bytes are read at once; the bar shows those of the rows that are done."""
        shown = []

        @contextmanager
        def noted(*_, **__):
            yield lambda *done: shown.append(done)

        monkeypatch.setattr(bulk, "progress", noted)
        row = "A,c-1,c1@shop.test,1799000000,,,,\n"
        send("track", HEADER + row * 2500)
        assert [1000, 2000, 2500, 2500] == [rows for _, rows in shown]
        read, whole = len(HEADER), len(HEADER + row * 2500)
        shares = [(size - read) / (whole - read) for size, _ in shown]
        assert pytest.approx([0.4, 0.8, 1, 1], abs=0.01) == shares

    def test_a_dry_run_sends_nothing(self, send, klaviyo):
        """It names what the rows and the map refuse."""
        send("track", HEADER + good(1) + "\n")
        klaviyo[0].journal.clear()
        content = HEADER + good(1) + "\nA,c-1,other@shop.test,,,,,\nA,,nobody,,,,,\n"
        status, out, err = send("track", content, "--dry-run")
        assert (1, "accepted 1, refused 2\n", []) == (status, out, list(klaviyo[0].journal))
        assert "line 3: the external_id is known with another email" in err
        assert "a dry run: nothing was sent\n" in err

    def test_stdin(self, run, here, klaviyo, typed):
        """It can be sent, and not be gone on with."""
        typed((HEADER + good(1) + "\n").encode())
        assert 0 == run("track", "-", "--base-url", klaviyo[1], *here).status
        assert 1 == run("track", "-", "--resume", "--base-url", klaviyo[1], *here).status


class TestInterrupted:
    def content(self):
        """Return a file of which the first five thousand rows but five are refused, so that five go alone."""
        row = "A,c-1,c1@shop.test,{},,{},,\n"
        fit = [row.format(1_799_000_000 + number, number) for number in range(10)]
        return HEADER + "".join(["A,NULL,,,,,,\n" * 4995, *fit])

    def test_it_goes_on_where_it_stopped(self, send, klaviyo, tmp_path):
        """--resume saves the progress after each five thousand rows, and the next run begins there."""
        simulator, _ = klaviyo
        simulator.fail_next("bulk_create_events", status=401, match=lambda asked: b'"points":"7"' in asked.body)
        status, out, err = send("track", self.content(), "--resume")
        assert (1, "") == (status, out)
        assert "stopped after 5000 rows; run it again to go on there" in err
        status, out, err = send("track", self.content(), "--resume")
        assert (0, "accepted 5, refused 0\n", True) == (status, out, "going on after 5000 rows\n" in err)
        assert {str(number): 1 for number in range(10)} == points(simulator)
        assert not (tmp_path / "file.csv.progress").exists()

    def test_another_file_does_not_go_on_there(self, send, klaviyo):
        """The progress is that of a content; another one has other rows there."""
        klaviyo[0].fail_next("bulk_create_events", status=401, match=lambda asked: b'"points":"7"' in asked.body)
        send("track", self.content(), "--resume")
        status, _, err = send("track", self.content() + "A,c-1,c1@shop.test,,,x,,\n", "--resume")
        assert (1, True) == (status, "is of another" in err)

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_signal_ends_it_and_says_how_to_go_on(self, send, klaviyo, number, code):
        """What is on its way is finished, nothing more is begun, and the same file loses and doubles nothing."""
        simulator, _ = klaviyo

        numbers = [number]

        def signalled(asked):
            if numbers and b'"points":"7"' in asked.body:
                os.kill(os.getpid(), numbers.pop())
            return False

        simulator.fail_next("bulk_create_events", match=signalled)
        status, out, err = send("track", self.content(), "--resume")
        assert (code, "", True) == (status, out, "stopped after 5000 rows; run it again to go on there" in err)
        assert 0 == send("track", self.content(), "--resume").status
        assert {str(number): 1 for number in range(10)} == points(simulator)

    def test_what_may_have_arrived_is_sent_by_the_same_file(self, send, klaviyo, tmp_path):
        """A row of which nothing is known is no refused one: a file of its own would give it another key."""
        simulator, _ = klaviyo
        kept = tmp_path / "refused.csv"
        content = HEADER + good(1) + "\n"
        send("track", content)
        content += good(8) + "\n"
        simulator.fail_next(
            status=503, headers={"retry-after": "0"}, times=99, match=lambda asked: "event" in asked.path
        )
        status, out, err = send("track", content, "--refused", str(kept))
        assert (1, "accepted 0, refused 0, unknown 2\n") == (status, out)
        assert "send the same file again" in err
        assert 1 == kept.read_text().count("\n")


class TestIdentify:
    def test_properties_are_written(self, send, klaviyo):
        """Klaviyo's own names are its own fields; marks for NULL and empty cells clear nothing."""
        header = "external_id,email,phone_number,first_name,points\n"
        content = header + "1,a@shop.test,+12025550123,Ada,7\n2,b@shop.test,\\N,NaT,\n2,c@shop.test,,,8\n"
        status, out, err = send("identify", content, "--number", "points")
        assert (1, "accepted 2, refused 1\n") == (status, out)
        assert "line 4: the external_id is known with another email" in err
        ada, grace = sorted(klaviyo[0].profiles, key=lambda each: each.external_id)
        assert ("+12025550123", {"points": 7}, {}) == (ada.phone_number, ada.properties, grace.properties)

    def test_a_dry_run(self, send, klaviyo):
        """It writes nothing, not even a binding."""
        status, out, _ = send("identify", "external_id,email\n1,a@shop.test\nNULL,b@shop.test\n", "--dry-run")
        assert (1, "accepted 1, refused 1\n", [], []) == (
            status, out, list(klaviyo[0].journal), list(klaviyo[0].profiles),
        )  # fmt: skip


def test_a_cell_of_whole_numbers_keeps_its_digits():
    """A number with leading zeros is a number to --number alone; a text is never one by itself."""
    assert [7, 7.0, 1234.5, -3, None, None, None] == [
        records._number(cell) for cell in ("7", "07", "1234.5", " -3 ", "1,2", "1e5", "")
    ]
