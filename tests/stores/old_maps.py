"""What has to hold of a map that version 0.1.1 has left, whatever store it is in; `make_maps` made the files."""

import json
import re
from pathlib import Path

import make_maps
import pytest

from safeklaviyo import ErasedError
from safeklaviyo.cli import main
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import NEW, asked, bound, pairs, rejected

FOLDER = Path(__file__).with_name("maps_0_1_1")
ACCOUNT = make_maps.ACCOUNT
BINDINGS = {
    ("ann-1", NEW, "+12025550199", 3),
    ("bob-20", "bob@shop.test", None, 2),
    (None, "cat@shop.test", None, 1),
    ("dan-4", "dan@shop.test", None, 1),
    ("kim-6", "kim@shop.test", None, 2),
    ("jon-7", "jon@shop.test", None, 2),
    ("eve-8", "eve@shop.test", None, 1),
    ("fay-9", "fay@shop.test", None, 1),
    ("gil-10", "gil@shop.test", None, 1),
}
FORMER = {
    ("email", "ann@shop.test", NEW),
    ("external_id", "bob-2", "bob@shop.test"),
    ("email", "kim@old.test", "kim@shop.test"),
}
JOURNAL = [
    ("ann-1", "change_email", "ann@shop.test", NEW),
    ("bob-20", "change_external_id", "bob-2", "bob-20"),
    ("kim-6", "merge", "kim@old.test", "kim@shop.test"),
]
ADDED = [
    ("eve-8", "change_email", "eve@shop.test", "eve@new.test"),
    ("gil-10", "merge", "gil@old.test", "gil@shop.test"),
]
"""What is written down besides, once all that was begun is done."""

BEGUN = [("change", "eve-8"), ("erase", "fay-9"), ("merge", "gil-10"), ("contact", "hal-11")]
NOTES = {"erased", "missing", "remembered"}
DONE = {
    ("ann-1", NEW),
    ("bob-20", "bob@shop.test"),
    (None, "cat@shop.test"),
    ("kim-6", "kim@shop.test"),
    ("eve-8", "eve@new.test"),
    ("gil-10", "gil@shop.test"),
    ("hal-11", "hal@shop.test"),
}
"""Who is in Klaviyo once all that was begun is done."""


DIFFERING = {
    r"erased:[0-9a-f]{64}": "tombstone",
    r"[ \t]{20,}": "",
    r"01[0-9A-Z]{24}": "profile",
    r"\d{9,}(\.\d+)?(e\+\d+)?|\d\.\d+e\+\d+": "number",
}
"""What differs each time a map is written, and what stands for it."""


def text(name):
    """Return what stands in a file."""
    return (FOLDER / name).read_text("utf-8")


def journal(store):
    """Return the changes that a map has written down."""
    rows = store.journal(ACCOUNT, since=0)
    return [(row.external_id, row.entry.verb, row.entry.old, row.entry.new) for row in rows]


def shape(lines):
    """Return what was written without what differs each time: ids, numbers, times and the marks of leases, in order.

    0.1.1 kept neither the keys of tombstones nor the addresses at which an erasure looks again.
    """
    apart = ("remembered", "tombstone keys", "look_again")
    return sorted(bare(line) for line in lines if not any(word in line for word in apart))


def bare(line):
    """Return a line of that kind; the parts that Redis separates come in any order."""
    for pattern, word in DIFFERING.items():
        line = re.sub(pattern, word, line)
    return "\udcff".join(sorted(line.split("\udcff")))


class OldMap:
    """The tests; a subclass gives `place`, `empty` and `snapshot`.

    `place` gives a map's URL and a store that is opened on it, which holds what the file says. `empty` is a store of
    the same kind that knows nobody. `snapshot` returns all that a store holds, as lines.
    """

    @pytest.fixture
    def klaviyo(self):
        """Klaviyo, as 0.1.1 left it, with a clock that goes with the maps'."""
        simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
        for profile in json.loads(text("klaviyo.json")):
            profile["profile_id"] = profile.pop("id")
            simulator.add_profile(**profile)
        return simulator

    @pytest.fixture
    def k(self, klaviyo, old, open_client):
        """A client on the old map."""
        return open_client(klaviyo, old)

    def test_it_is_read_as_it_was_written(self, old):
        """Who everybody is and was, what was changed, and the notes are all there."""
        bindings = old.page(ACCOUNT).bindings
        assert BINDINGS == {(each.external_id, each.email, each.phone_number, each.version) for each in bindings}
        assert {"dan-4"} == {each.external_id for each in bindings if each.profile_id is None}
        assert {"dan-4", "jon-7"} == {each.external_id for each in bindings if each.verified_at is None}
        former = old.former(ACCOUNT, bindings)
        assert FORMER == {(each.identifier.kind.value, each.identifier.value, each.binding.email) for each in former}
        assert JOURNAL == journal(old)
        assert NOTES == {name.partition(":")[0] for name, _ in old.notes(ACCOUNT).notes}

    def test_what_was_begun_is_completed(self, klaviyo, old, k):
        """P4: `recover` finishes each call that 0.1.1 was cut off in, and no lease is left."""
        intents = [json.loads(each.intent) for each in old.expired(ACCOUNT, 9)]
        assert BEGUN == [(each["verb"], each["external_id"]) for each in intents]
        told = [(each.verb, each.external_id, each.status, each.error) for each in k.recover()]
        assert [(*each, "completed", None) for each in BEGUN] == told
        assert () == old.leases(ACCOUNT, 9)
        assert DONE == pairs(klaviyo)
        assert isinstance(rejected(k.identify, email="fay@shop.test"), ErasedError)
        assert [*JOURNAL, *ADDED] == journal(old)

    def test_the_next_call_completes_what_was_begun(self, k):
        """P4: a call about a customer meets the open intent of 0.1.1 about them, and finishes it first."""
        k.track("Ordered", external_id="eve-8", unique_id="e-1")
        assert "eve@new.test" == bound(k, external_id="eve-8").email
        assert k.resolve(external_id="eve-8").profile_id == k.resolve(email="eve@shop.test").profile_id

    def test_the_erased_stay_erased(self, klaviyo, k):
        """A tombstone refuses a late call, by email and by id alone, and nothing is sent."""
        for late in ({"email": "ida@shop.test"}, {"external_id": "ida-5"}, make_maps.who("ida", 5)):
            assert isinstance(rejected(k.identify, **late), ErasedError)
        assert [] == klaviyo.journal

    def test_a_doubt_counts(self, klaviyo, old, k):
        """The 404 that 0.1.1 met is the first of two: the profile counts as gone with the next, and is made anew."""
        k.identify(**make_maps.who("jon", 7))
        assert ("jon-7", "jon@shop.test") in pairs(klaviyo)
        assert NOTES - {"missing"} == {name.partition(":")[0] for name, _ in old.notes(ACCOUNT).notes}

    def test_whose_the_key_is_stands_in_the_map(self, klaviyo, old, open_client):
        """A client that is not told the account reads it from the note, and asks nobody."""
        open_client(klaviyo, old, account=None).identify(email="cat@shop.test")
        assert "get_accounts" not in asked(klaviyo)
        assert asked(klaviyo)

    def test_nobody_waits_for_caches(self, klaviyo, old, k):
        """The note that somebody caches, even a moment ago, says nothing to this version: a change takes no time."""
        before = klaviyo.now()
        old.remember(ACCOUNT, "remembered", str(before))
        k.change_email("bob@new.test", external_id="bob-20")
        assert before == klaviyo.now()

    def test_there_is_nothing_to_migrate(self, url, capsys):
        """`store migrate` says so of the old map."""
        assert 0 == main(["store", "migrate", "--store", url])
        assert self.migrated == capsys.readouterr().out.strip()

    def test_this_version_writes_what_the_old_one_wrote(self, old, empty):
        """The same calls, cut off at the same places, leave the same map, down to tables, keys and intents."""
        expected = shape(self.snapshot(old))
        make_maps.fill(empty)
        assert expected == shape(self.snapshot(empty))
