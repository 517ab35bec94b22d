"""What happens later: the queue, merges and deletions, the lag of the search, the rate windows, copies."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import time
from threading import Thread

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings


class TestQueue:
    def test_nothing_happens_before_it_is_drained(self, simulator, ask):
        """Events, merges and deletions are accepted at once and done in order by drain."""
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        ask.event(email="bob@shop.org")
        ask.merge(bob, ann)
        ask.delete(ann)
        assert ["create_event", "merge_profiles", "request_profile_deletion"] == simulator.pending
        assert [200, 200] == [ask("GET", f"/api/profiles/{each}").status for each in (ann, bob)]
        simulator.drain()
        assert ([], [], []) == (simulator.pending, simulator.profiles, simulator.events)

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_steps_are_taken_in_any_order(self, simulator, ask, order):
        """A step does one queued task out of turn, and the last address to land stays."""
        simulator.add_profile(external_id="7")
        for number in range(3):
            ask.event(f"E{number}", external_id="7", email=f"p{number}@shop.org")
        waiting = [0, 1, 2]
        for number in order:
            simulator.step(waiting.index(number))
            waiting.remove(number)
        assert [f"E{number}" for number in order] == [event.metric for event in simulator.events]
        assert f"p{order[-1]}@shop.org" == simulator.profiles[0].email

    def test_it_is_done_when_it_is_due(self, asking):
        """With a lag of the queue, what is due is done as time passes."""
        simulator = KlaviyoSimulator(queue_lag=60)
        asking(simulator).event("First", email="ann@shop.org")
        simulator.advance(30)
        asking(simulator).event("Second", email="ann@shop.org")
        seen = []
        for _ in range(3):
            seen.append([event.metric for event in simulator.events])
            simulator.advance(30)
        assert [[], ["First"], ["First", "Second"]] == seen


class TestMerge:
    def test_the_source_is_gone_when_it_is_done(self, simulator, ask):
        """A merge answers 202 with the destination; the source can be read until it is done, then answers 404."""
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        answer = ask.merge(bob, ann)
        assert (202, ann) == (answer.status, json.loads(answer.body)["data"]["id"])
        assert ask("GET", f"/api/profiles/{bob}").status == 200
        simulator.drain()
        assert ask("GET", f"/api/profiles/{bob}").status == 404
        assert ({bob: ann}, [ann]) == (simulator.merged, [profile.id for profile in simulator.profiles])

    def test_an_alias_by_reading(self, asking):
        """In the other reading the source's id leads to the destination, through every merge, in reads and events."""
        simulator = KlaviyoSimulator(Readings(merged_id="alias"))
        ask = asking(simulator)
        ann, bob, cat = (ask.created(email=f"{name}@shop.org") for name in ("ann", "bob", "cat"))
        ask.merge(cat, bob)
        ask.merge(bob, ann)
        simulator.drain()
        assert ann == ask.json("GET", f"/api/profiles/{cat}")["data"]["id"]
        ask.event(profile_id=cat)
        simulator.drain()
        assert ann == simulator.events[-1].profile_id

    def test_a_chain_without_aliases_is_lost(self, simulator, ask):
        """A merge into a profile that was merged away meanwhile does nothing."""
        ann, bob, cat = (ask.created(email=f"{name}@shop.org") for name in ("ann", "bob", "cat"))
        ask.merge(bob, ann)
        ask.merge(cat, bob)
        simulator.drain()
        assert {ann, cat} == {profile.id for profile in simulator.profiles}

    def test_what_moves(self, simulator, ask):
        """The destination's values win, the source fills gaps, its time zone and the fuller location are kept."""
        source = simulator.add_profile(
            email="old@shop.org", external_id="7", phone_number="+12025550123", first_name="Old", title="Dr",
            location={"city": "Rome", "zip": "1", "timezone": "Europe/Rome"}, properties={"a": 1, "b": 1},
        )  # fmt: skip
        target = simulator.add_profile(
            email="ann@shop.org", external_id="8", first_name="Ann", properties={"b": 2}, location={"city": "Oslo"}
        )
        ask.merge(source.id, target.id)
        simulator.drain()
        (left,) = simulator.profiles
        assert (target.id, "ann@shop.org", "8", "+12025550123") == (
            left.id,
            left.email,
            left.external_id,
            left.phone_number,
        )
        assert {"a": 1, "b": 2} == left.properties
        assert {
            "first_name": "Ann", "title": "Dr", "location": {"city": "Rome", "zip": "1", "timezone": "Europe/Rome"},
        } == left.attributes  # fmt: skip

    def test_the_time_zone_is_the_sources(self, simulator, ask):
        """The destination keeps its fuller location, with the source's time zone in it."""
        source = simulator.add_profile(email="old@shop.org", location={"timezone": "Europe/Rome"})
        target = simulator.add_profile(email="ann@shop.org", location={"city": "Oslo", "timezone": "Europe/Oslo"})
        ask.merge(source.id, target.id)
        simulator.drain()
        assert {"city": "Oslo", "timezone": "Europe/Rome"} == simulator.profiles[0].attributes["location"]

    @pytest.mark.parametrize(
        ("source", "target", "left"),
        [
            (("SUBSCRIBED", True), ("SUBSCRIBED", False), ("SUBSCRIBED", True)),
            (("UNSUBSCRIBED", False), ("SUBSCRIBED", False), ("UNSUBSCRIBED", False)),
            (("SUBSCRIBED", False), ("NEVER_SUBSCRIBED", False), ("SUBSCRIBED", False)),
            (("NEVER_SUBSCRIBED", False), ("NEVER_SUBSCRIBED", True), ("NEVER_SUBSCRIBED", True)),
        ],
    )
    def test_suppression_wins(self, simulator, ask, source, target, left):
        """A merge with a suppressed or unsubscribed profile leaves one that is so too."""
        ids = [
            simulator.add_profile(email=f"{consent}{number}@shop.org", consent=consent, suppressed=suppressed).id
            for number, (consent, suppressed) in enumerate((source, target))
        ]
        ask.merge(*ids)
        simulator.drain()
        assert [left] == [(profile.consent, profile.suppressed) for profile in simulator.profiles]

    def test_events_are_replayed_with_their_time(self, simulator, ask):
        """The source's events become the destination's, as they were; a Merged Profile event follows."""
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        ask.event("A", email="bob@shop.org", time="2026-01-01T00:00:00Z", unique_id="u")
        ask.event("B", email="ann@shop.org", time="2026-02-01T00:00:00Z")
        ask.merge(bob, ann)
        ask.event("A", email="ann@shop.org", unique_id="u")
        simulator.drain()
        assert ["A", "B", "Merged Profile"] == [event.metric for event in simulator.events]
        assert {ann} == {event.profile_id for event in simulator.events}
        assert (1767225600, ["A"]) == (simulator.events[0].time, [event.metric for event in simulator.deduplicated])
        assert 1769904000 == simulator.profiles[0].last_event_date

    def test_the_sources_email_creates_a_profile_again(self, simulator, ask):
        """After a merge an event with the source's old email creates a new profile with it."""
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        ask.merge(bob, ann)
        ask.event(email="bob@shop.org")
        simulator.drain()
        assert 2 == len(simulator.profiles)
        assert simulator.find(email="bob@shop.org").id not in {ann, bob}

    @pytest.mark.parametrize(("deduplicates", "recorded"), [(False, 2), (True, 1)])
    def test_one_key_on_both_sides_by_reading(self, asking, deduplicates, recorded):
        """One event on two profiles is there twice after their merge, or once, by the reading."""
        simulator = KlaviyoSimulator(Readings(merge_deduplicates=deduplicates))
        ask = asking(simulator)
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        for email in ("ann@shop.org", "bob@shop.org"):
            ask.event(email=email, unique_id="u")
            ask.event("Other", email=email, unique_id=email)
        ask.merge(bob, ann)
        simulator.drain()
        events = [event.metric for event in simulator.events]
        assert (recorded, 2, 2 - recorded) == (
            events.count("Ordered"), events.count("Other"), len(simulator.deduplicated),
        )  # fmt: skip

    @pytest.mark.parametrize("names", [False, True])
    def test_the_merged_event_by_reading(self, asking, names):
        """The Merged Profile event names the source, or does not, by the reading."""
        simulator = KlaviyoSimulator(Readings(merged_event_names_source=names))
        ask = asking(simulator)
        ann, bob = ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")
        ask.merge(bob, ann)
        simulator.drain()
        assert ({"merged_profile_id": bob} if names else {}) == simulator.events[0].properties

    @pytest.mark.parametrize("status", [202, 400, 404])
    def test_a_merge_of_nothing_by_reading(self, asking, status):
        """Merging a profile with itself, or an unknown one, answers as the reading says, and does nothing."""
        simulator = KlaviyoSimulator(Readings(merge_into_itself=status, merge_unknown=status))
        ask = asking(simulator)
        ann = ask.created(email="ann@shop.org")
        for source, target in ((ann, ann), ("01NOBODY", ann), (ann, "01NOBODY")):
            assert ask.merge(source, target).status == status
        simulator.drain()
        assert [ann] == [profile.id for profile in simulator.profiles]

    def test_the_status_by_reading(self, asking):
        """A merge answers 201 as the schema says, in the other reading."""
        ask = asking(KlaviyoSimulator(Readings(merge_status=201)))
        assert ask.merge(ask.created(email="ann@shop.org"), ask.created(email="bob@shop.org")).status == 201

    @pytest.mark.parametrize(
        "sources", [None, [], [{"id": "A"}, {"id": "B"}], ["A"], {"id": "A"}, [{"type": "profile"}]]
    )
    def test_exactly_one_source(self, ask, sources):
        """A merge with none, several, or malformed sources answers 400."""
        data = {"type": "profile-merge", "id": "B", "relationships": {"profiles": {"data": sources}}}
        assert ask("POST", "/api/profile-merge", {"data": data}).status == 400


class TestDeletion:
    def test_everything_of_a_profile_goes(self, simulator, ask):
        """A deletion by id takes the profile and its events, and nobody else's."""
        ann = ask.created(email="ann@shop.org")
        ask.event(email="ann@shop.org")
        ask.event(email="bob@shop.org")
        assert ask.delete(ann).status == 202
        simulator.drain()
        assert (["bob@shop.org"], 1) == ([profile.email for profile in simulator.profiles], len(simulator.events))

    @pytest.mark.parametrize(("reading", "left"), [("when_run", 0), ("when_asked", 1)])
    def test_every_match_goes_by_reading(self, asking, reading, left):
        """A deletion by email takes every profile with it: those of when it runs, or of when it was asked."""
        simulator = KlaviyoSimulator(Readings(deletion_matches=reading))
        simulator.add_profile(email="ann@shop.org", external_id="1")
        simulator.add_profile(email="ann@shop.org", external_id="2")
        assert asking(simulator).delete(email="ann@shop.org").status == 202
        simulator.add_profile(email="ann@shop.org", external_id="3")
        simulator.drain()
        assert left == len(simulator.profiles)

    def test_what_is_unknown_or_unclear_is_refused(self, ask):
        """An unknown profile answers 404 with Klaviyo's words, none or two identifiers 400."""
        answer = ask.delete(email="ann@shop.org")
        assert answer.status == 404
        assert b"No profile with email" in answer.body
        assert ask.delete("01NOBODY").status == 404
        assert ask.delete().status == 400
        assert ask.delete("01NOBODY", email="ann@shop.org").status == 400


class TestSearchLag:
    @pytest.mark.parametrize(
        ("lag", "wait"), [(30, lambda simulator: simulator.advance(30)), ("until_drain", KlaviyoSimulator.drain)]
    )
    def test_the_search_is_late_and_a_read_is_not(self, asking, lag, wait):
        """A lagging search shows what was, for each kind of change, while a read by id shows what is."""
        simulator = KlaviyoSimulator(search_lag=lag)
        ask = asking(simulator)
        old = simulator.add_profile(email="old@shop.org").id
        ann = ask.created(email="ann@shop.org")
        ask.patch(old, email="new@shop.org")
        assert [old] == ask.found('equals(email,"old@shop.org")')
        assert ask.found('equals(email,"ann@shop.org")') == ask.found('equals(email,"new@shop.org")') == []
        assert "new@shop.org" == ask.json("GET", f"/api/profiles/{old}")["data"]["attributes"]["email"]
        wait(simulator)
        assert [ann] == ask.found('equals(email,"ann@shop.org")')
        assert ([], [old]) == (ask.found('equals(email,"old@shop.org")'), ask.found('equals(email,"new@shop.org")'))

    def test_each_change_is_seen_in_its_turn(self, asking):
        """Two changes within the lag are seen one after the other, and a deletion after both."""
        simulator = KlaviyoSimulator(search_lag=10)
        ask = asking(simulator)
        ann = ask.created(email="a@shop.org")
        simulator.advance(5)
        ask.patch(ann, email="b@shop.org")
        ask.delete(ann)
        simulator.step()
        assert ask.found() == []
        simulator.advance(5)
        assert [ann] == ask.found('equals(email,"a@shop.org")')
        simulator.advance(5)
        assert ask.found() == []

    def test_a_conflict_is_never_late(self, asking):
        """A create sees the truth however late the search is."""
        ask = asking(KlaviyoSimulator(search_lag="until_drain"))
        ask.created(email="ann@shop.org")
        assert ask.create(email="ann@shop.org").status == 409


class TestRateLimits:
    def test_windows_are_counted_and_begin_anew(self, asking):
        """A second takes 75 searches, the next one too, and the minute 750; then Retry-After says when it ends."""
        simulator = KlaviyoSimulator(rate_limits=True, start=1_800_000_000)
        ask = asking(simulator)
        for second in range(10):
            answers = [ask("GET", "/api/profiles") for _ in range(76)]
            assert ([200] * 75 + [429]) == [answer.status for answer in answers], second
            # When the minute is full too, the longer wait is said.
            assert ("51" if second == 9 else "1") == answers[-1].headers["retry-after"]
            simulator.advance(1)
        last = ask("GET", "/api/profiles")
        assert (429, "50") == (last.status, last.headers["retry-after"])
        simulator.advance(50)
        assert ask("GET", "/api/profiles").status == 200

    def test_headers(self, asking):
        """Answers carry Klaviyo's three headers, errors too; a 401 does not, and a 429 has Retry-After instead."""
        simulator = KlaviyoSimulator(rate_limits=True, start=1_800_000_000)
        ask = asking(simulator)
        headers = ask("GET", "/api/profiles?sort=x").headers
        assert ("75, 75;w=1, 750;w=60", "74", "1") == tuple(
            headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")
        )
        assert "ratelimit-limit" not in ask("GET", "/api/profiles", authorization="x").headers
        assert ask("GET", "/api/accounts").headers["ratelimit-remaining"] == "0"
        refused = ask("GET", "/api/accounts")
        assert (429, "1") == (refused.status, refused.headers["retry-after"])
        assert not any(name.startswith("ratelimit") for name in refused.headers)
        (error,) = json.loads(refused.body)["errors"]
        assert ("throttled", "Request was throttled. Expected available in 1 second.", {"pointer": "/data"}) == (
            error["code"], error["detail"], error["source"],
        )  # fmt: skip
        assert error["links"]["type"].endswith("rate_limits_and_error_handling#rate-limits")

    def test_keys_and_endpoints_are_counted_apart(self, asking):
        """One key's, or one endpoint's, requests leave another's alone."""
        ask = asking(KlaviyoSimulator(rate_limits=True))
        assert [200, 429] == [ask("GET", "/api/accounts").status for _ in range(2)]
        assert ask("GET", "/api/accounts", authorization="Klaviyo-API-Key pk_other").status == 200
        assert ask("GET", "/api/profiles").status == 200

    @pytest.mark.parametrize(
        ("path", "limit"),
        [
            ("/api/profiles", "75, 75;w=1, 700;w=60"), ("/api/profiles/{}?include=lists", "1, 1;w=1, 15;w=60"),
            ("/api/profiles/{}?include=push-tokens", "75, 75;w=1, 700;w=60"),
            ("/api/events", "350, 350;w=1, 3500;w=60"),
            ("/api/profiles?additional-fields[profile]=predictive_analytics", "10, 10;w=1, 150;w=60"),
        ],
    )  # fmt: skip
    def test_limits_by_what_is_asked(self, asking, path, limit):
        """Costly fields are allowed less often; tier L has 700 a minute in the guide's reading."""
        simulator = KlaviyoSimulator(Readings(large_steady=700), rate_limits=True)
        ann = simulator.add_profile(email="ann@shop.org").id
        assert limit == asking(simulator)("GET", path.format(ann)).headers["ratelimit-limit"]

    def test_a_429_does_nothing(self, asking):
        """What is refused for its number is not done."""
        ask = asking(KlaviyoSimulator(rate_limits=True))
        ann = ask.simulator.add_profile(email="ann@shop.org").id
        statuses = [ask.delete(ann).status for _ in range(4)]
        assert [202, 202, 202, 429] == statuses
        assert (3, False) == (len(ask.simulator.pending), ask.simulator.journal[-1].committed)


class TestClock:
    def test_it_stands_until_it_is_moved(self):
        """A virtual clock begins where it is told and moves by what it is told."""
        simulator = KlaviyoSimulator(start=1_000)
        simulator.advance(2.5)
        assert 1_002.5 == simulator.now()
        with pytest.raises(ValueError, match="forwards"):
            simulator.advance(-1)

    def test_it_begins_now(self):
        """Without a start it begins at the real time, so that events of now are accepted."""
        assert abs(time.time() - KlaviyoSimulator().now()) < 5

    @pytest.mark.parametrize("start", [None, 1_000.0])
    def test_a_real_one_runs(self, start):
        """A real clock runs by itself from its start, and can be moved ahead."""
        simulator = KlaviyoSimulator(clock="real", start=start)
        first = simulator.now()
        assert abs(first - (time.time() if start is None else start)) < 5
        while simulator.now() == first:
            pass
        simulator.advance(100)
        assert simulator.now() > first + 100


class TestCopies:
    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda simulator: pickle.loads(pickle.dumps(simulator))])
    def test_a_copy_goes_its_own_way(self, asking, copied):
        """What happens to a copy does not happen to the original, and the other way round."""
        simulator = KlaviyoSimulator(search_lag=5, rate_limits=True)
        ask = asking(simulator)
        ann = ask.created(email="ann@shop.org")
        ask.event(email="ann@shop.org")
        simulator.fail_next(status=500)
        twin = copied(simulator)
        assert asking(twin)("GET", "/api/accounts").status == 500
        twin.drain()
        asking(twin).patch(ann, email="new@shop.org")
        assert (0, 1, "ann@shop.org") == (len(simulator.events), len(simulator.pending), simulator.profiles[0].email)
        assert asking(simulator)("GET", "/api/accounts").status == 500
        assert (1, 0, 4, 3) == (len(twin.events), len(twin.pending), len(twin.journal), len(simulator.journal))

    def test_records_are_shared(self, simulator, ask):
        """A deep copy copies no profile and no event, which keeps it cheap."""
        ask.created(email="ann@shop.org")
        assert copy.deepcopy(simulator).profiles[0] is simulator.profiles[0]


def test_threads_take_turns(simulator, asking):
    """Of many threads that create one email exactly one succeeds, and every request is in the journal."""
    statuses = []

    def work():
        statuses.extend(asking(simulator).create(email=f"p{number}@shop.org").status for number in range(20))

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (20, 140, 160) == (statuses.count(201), statuses.count(409), len(simulator.journal))


class TestScenes:
    def test_a_profile_is_there_at_once(self, asking):
        """An added profile is found by a lagging search, may share an identifier, and keeps its own id."""
        simulator = KlaviyoSimulator(search_lag="until_drain")
        simulator.add_profile(profile_id="ABC123", email="Ann@shop.org", first_name="Ann")
        simulator.add_profile(email="ann@shop.org", external_id="7")
        assert 2 == len(asking(simulator).found('equals(email,"ann@shop.org")'))
        assert "ABC123" in {profile.id for profile in simulator.profiles}
        with pytest.raises(ValueError, match="with this id"):
            simulator.add_profile(profile_id="ABC123")
        with pytest.raises(ValueError, match="Invalid email address"):
            simulator.add_profile(email="nobody")

    def test_people_are_counted(self, simulator):
        """Duplicates are what a person has beyond the first; profiles with an id alone are counted apart."""
        for number in range(3):
            simulator.add_profile(external_id=str(number), properties={"person": 1})
        simulator.add_profile(email="bob@shop.org", properties={"person": 2})
        simulator.add_profile(email="cat@shop.org")
        assert 2 == simulator.duplicates(lambda profile: profile.properties.get("person"))
        assert 3 == simulator.id_only_profiles()
        assert simulator.find(phone_number="+12025550123") is None


def test_nothing_personal_is_shown(simulator, ask):
    """No repr shows an identifier or the key, and the journal does not hold the key (P8)."""
    asked = []
    simulator.fail_next(match=lambda each: bool(asked.append(each)))
    answer = ask.create(email="ann@shop.org", external_id="secret")
    ask.event(email="ann@shop.org", external_id="secret")
    shown = repr([asked, answer, simulator, simulator.profiles, simulator.journal, simulator._account.queue])
    simulator.drain()
    shown += repr([simulator.events, simulator._account.queue])
    assert not any(word in shown for word in ("ann", "secret", "pk_test"))
    assert "authorization" not in simulator.journal[0].headers
    assert "ann@shop.org" == simulator.journal[0].body["data"]["attributes"]["email"]
