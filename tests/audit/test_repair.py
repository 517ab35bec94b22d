"""Repairing: a plan is carried out as it was signed off, or what has changed is passed over; nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from multiprocessing import get_context

import pytest

from safeklaviyo import APIConnectionError, ConfigurationError, RetryPolicy
from safeklaviyo.audit import RepairPlan, Shown, audit, repair
from safeklaviyo.stores import open_store
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.clients import BLOCKING
from support.mending import mend, pairs_to_mend, patient, plan_for, steps
from support.scenes import delete, edit, expire, leases, meanwhile, merge
from support.victims import ACCOUNT, LAG, LEASE, TIMEOUT

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", "httpx", "email_validator", *BLOCKING, "safeklaviyo.stores.sqlite"])
DISTINCT = Readings(email_case="distinct")


@pytest.fixture
def simulator():
    """A pretend Klaviyo that takes two spellings for two addresses, and merges at once."""
    return KlaviyoSimulator(account=ACCOUNT, readings=DISTINCT, queue_lag=0.0)


@pytest.fixture
def klaviyo(simulator, open_client):
    """A client without a map."""
    with open_client(simulator, MemoryStore(clock=simulator.now)) as made:
        yield made


@pytest.fixture
def twice(simulator):
    """Two customers who are there twice: the profiles that end, and those that stay."""
    return pairs_to_mend(simulator, "ann")


@pytest.fixture
def plan(klaviyo, twice, tmp_path):
    """The plan for both."""
    return plan_for(klaviyo, tmp_path / "plan.json", twice)


def merges(simulator):
    """Return the merges that Klaviyo has carried out."""
    return [entry for entry in simulator.journal if entry.endpoint == "merge_profiles" and entry.committed]


def ids(simulator):
    """Return the ids of all profiles."""
    return {each.id for each in simulator.profiles}


class TestDryRun:
    def test_it_is_the_default_and_writes_nothing(self, klaviyo, simulator, plan):
        """Without being asked for, nothing is merged, and no journal is made."""
        told = []
        report = repair(klaviyo, plan, on_progress=told.append)
        assert (["would_merge"] * 2, True, None) == (
            [each.status for each in report.results],
            report.dry_run,
            report.journal,
        )
        assert ([], 4, [plan]) == (merges(simulator), len(ids(simulator)), [*plan.parent.iterdir()])
        assert [(1, 2), (2, 2)] == [(each.done, each.total) for each in told]


class TestApply:
    def test_what_is_planned_is_merged_and_kept_in_the_journal(self, klaviyo, simulator, twice, plan):
        """Both customers are one profile each afterwards; the journal has what each profile was."""
        report = repair(klaviyo, plan, dry_run=False)
        assert (2, 0, 0) == (report.merged, report.requested, report.skipped)
        assert {into for _, into in twice} == ids(simulator)
        assert plan.with_name("plan.json.journal") == report.journal
        assert 0o600 == report.journal.stat().st_mode & 0o777
        begun = [json.loads(line) for line in report.journal.read_text().splitlines() if "before" in line]
        assert {(source, "ANN-1@SHOP.TEST") for source, _ in twice[:1]} == {
            (each["source"], each["before"]["source"]["email"]) for each in begun if each["source"] == twice[0][0]
        }

    def test_the_journal_has_both_before_the_merge_is_sent(self, klaviyo, simulator, twice, plan):
        """When Klaviyo gets the request, the disk has what both profiles were: a merge cannot be undone."""
        seen = []
        meanwhile(simulator, "merge_profiles", lambda: seen.extend(steps(plan.with_name("plan.json.journal"))))
        repair(klaviyo, plan, dry_run=False)
        assert [(seen[0][0], "begun")] == seen
        assert seen[0][0] in {source for source, _ in twice}

    def test_a_second_run_does_nothing(self, klaviyo, simulator, plan):
        """What the journal says is done is not done again."""
        repair(klaviyo, plan, dry_run=False)
        report = repair(klaviyo, plan, dry_run=False)
        assert (2, 2) == (report.merged, len(merges(simulator)))
        assert {"an earlier run has done it"} == {each.reason for each in report.results}

    def test_a_merge_that_takes_its_time_is_requested(self, open_client, tmp_path):
        """Klaviyo may have accepted a merge and not done it yet, which is no failure, and is not asked for again."""
        simulator = KlaviyoSimulator(account=ACCOUNT, readings=DISTINCT)
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            path = plan_for(k, tmp_path / "plan.json", pairs_to_mend(simulator, "ann"))
            assert (2, 2) == tuple(repair(k, path, dry_run=False).requested for _ in range(2))
        assert 2 == len(merges(simulator))

    def test_a_plan_without_a_file_has_its_journal_in_the_state_folder(self, klaviyo, plan, monkeypatch, tmp_path):
        """A plan that was never written has a journal all the same."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        report = repair(klaviyo, RepairPlan.from_json(plan.read_text()), dry_run=False)
        assert (2, tmp_path / "state" / "safeklaviyo") == (report.merged, report.journal.parent)

    def test_the_halves_of_a_customer_become_one(self, klaviyo, simulator, tmp_path):
        """A7: what the shop's own data say of a customer goes into the map first, and not in a dry run."""
        own, twin = simulator.add_profile(external_id="7").id, simulator.add_profile(email="ada@shop.test").id
        shop = tmp_path / "shop.csv"
        shop.write_text("external_id,email\n7,ada@shop.test\n")
        with audit(klaviyo, bindings=shop) as found:
            wanted = found.plan()
        assert [("A7", own, twin)] == [
            (each.rule, each.source.profile_id, each.into.profile_id) for each in wanted.merges
        ]
        assert "would_merge" == repair(klaviyo, wanted).results[0].status
        assert None is klaviyo.bindings.get(external_id="7")
        assert 1 == repair(klaviyo, wanted, dry_run=False, journal=tmp_path / "j").merged
        assert [("7", "ada@shop.test")] == [(each.external_id, each.email) for each in simulator.profiles]

    def test_halves_that_the_map_gives_to_two_customers_stay(self, klaviyo, simulator, tmp_path):
        """A7: the map outranks the plan."""
        simulator.add_profile(external_id="7")
        simulator.add_profile(email="ada@shop.test")
        shop = tmp_path / "shop.csv"
        shop.write_text("external_id,email\n7,ada@shop.test\n")
        with audit(klaviyo, bindings=shop) as found:
            wanted = found.plan()
        klaviyo.bindings.add([{"external_id": "8", "email": "ada@shop.test"}])
        report = repair(klaviyo, wanted, dry_run=False, journal=tmp_path / "j")
        assert (1, 2) == (report.skipped, len(ids(simulator)))


class TestPassedOver:
    @pytest.mark.parametrize(
        ("which", "change", "field"),
        [
            (0, {"email": "else@shop.test"}, "email of the source"),
            (0, {"external_id": "eve-3"}, "external id of the source"),
            (1, {"phone_number": "+12025550199"}, "phone number of the destination"),
            (1, {"email": "new@shop.test"}, "email of the destination"),
        ],
        ids=str,
    )
    def test_what_has_changed_since_the_audit(self, *, klaviyo, simulator, twice, plan, which, change, field):
        """A profile that shows another identifier than the audit saw is left alone, and the others are merged."""
        edit(simulator, twice[0][which], **change)
        report = repair(klaviyo, plan, dry_run=False)
        (passed,) = [each for each in report.results if each.status == "skipped"]
        assert (1, twice[0]) == (report.merged, (passed.source_id, passed.into_id))
        assert f"the {field} is another one than the audit saw" == passed.reason
        assert "skipped" == dict(steps(report.journal))[passed.source_id]

    def test_a_consent_that_came_since(self, klaviyo, simulator, twice, plan):
        """A source that has subscribed since, beside a destination that never has, keeps its consent."""
        klaviyo.subscribe(["email"], email=simulator.find(email="ANN-1@SHOP.TEST").email, external_id=None)
        simulator.drain()
        report = repair(klaviyo, plan, dry_run=False)
        assert 2 == len([each for each in report.results if each.status in {"merged", "skipped"}])
        assert len(ids(simulator)) == 4 - report.merged

    def test_a_consent_that_the_plan_does_not_know(self, klaviyo, simulator, twice, plan):
        """A plan without consents, as of an edited file, costs none all the same: both profiles are read."""
        given = json.loads(plan.read_text())
        for each in given["merges"]:
            for name in ("source", "into"):
                each[name]["consent"] = each[name]["sms"] = "unknown"
        plan.write_text(json.dumps(given))
        simulator.submit_form(email="ANN-1@SHOP.TEST")
        simulator.drain()
        report = repair(klaviyo, plan, dry_run=False)
        (passed,) = [each for each in report.results if each.status == "skipped"]
        assert (1, True) == (report.merged, "consent of the source may be lost" in passed.reason)

    @pytest.mark.parametrize("which", ["source", "destination"])
    def test_what_is_gone(self, klaviyo, simulator, twice, plan, which):
        """A profile that somebody has deleted or merged since is passed over."""
        source, into = twice[0]
        delete(simulator, source if which == "source" else into)
        report = repair(klaviyo, plan, dry_run=False)
        (passed,) = [each for each in report.results if each.status == "skipped"]
        assert (1, source) == (report.merged, passed.source_id)
        assert passed.reason.endswith("is no longer there")

    def test_what_another_call_is_writing_about(self, klaviyo, simulator, twice, plan, open_client):
        """A lease of another call lets the merge wait for another run, and the others go on."""
        other = open_client(simulator, klaviyo._shell.store, retry=RetryPolicy(max_attempts=1))
        simulator.fail_next("merge_profiles")
        with pytest.raises(APIConnectionError):
            other.profiles.merge(*twice[0])
        report = repair(klaviyo.with_options(policy=klaviyo._wiring.policy.model_copy(update={"wait": 0.0})), plan)
        assert report.count("would_merge") + report.skipped == 2

    def test_what_is_refused_at_the_last_moment(self, klaviyo, simulator, twice, plan):
        """A source that becomes a customer between two looks is not merged, and the journal says so."""
        source, _ = twice[0]
        turn = 6  # is it done, the plan's two, and under the lease is it done, come after those of this run
        meanwhile(simulator, "get_profile", lambda: edit(simulator, source, external_id="eve-3"), turn=turn)
        report = repair(klaviyo, plan, dry_run=False)
        assert (1, 1) == (report.merged, report.skipped)
        assert "skipped" == dict(steps(report.journal))[source]


class TestInterrupted:
    def test_an_answer_that_was_lost_ends_the_run_and_the_next_goes_on(self, klaviyo, simulator, plan, open_client):
        """P7: what may have happened is found out by reading, and never asked for twice."""
        impatient = open_client(simulator, klaviyo._shell.store, retry=RetryPolicy(max_attempts=1))
        simulator.fail_next("merge_profiles", when="after")
        with pytest.raises(APIConnectionError):
            repair(impatient, plan, dry_run=False)
        expire(simulator)
        # A single 404 is no proof that the source is gone: the map waits for a second one, after the lag.
        assert (1, 1) == ((report := repair(klaviyo, plan, dry_run=False)).merged, report.requested)
        simulator.advance(60)
        assert 2 == repair(klaviyo, plan, dry_run=False).merged
        assert (2, 0) == (len(merges(simulator)), leases(klaviyo._shell.store))

    def test_a_request_that_was_never_sent_leaves_no_doubt(self, klaviyo, simulator, twice, plan, open_client):
        """A merge that was not sent is written down as such, and sent by the next run."""
        impatient = open_client(simulator, klaviyo._shell.store, retry=RetryPolicy(max_attempts=1))
        simulator.fail_next("merge_profiles", status=429, headers={"retry-after": "1"})
        with pytest.raises(Exception, match="429"):
            repair(impatient, plan, dry_run=False)
        assert "failed" in dict(steps(plan.with_name("plan.json.journal"))).values()
        expire(simulator)
        assert (2, 2) == (repair(klaviyo, plan, dry_run=False).merged, len(merges(simulator)))

    def test_a_source_that_a_killed_run_has_merged_is_done(self, klaviyo, simulator, twice, plan):
        """A journal that ends with "begun", and a source that is gone, say together that it was merged."""
        report = repair(klaviyo, plan, dry_run=False)
        whole = report.journal.read_text().splitlines(keepends=True)
        report.journal.write_text("".join(whole[:2]) + '{"source": "cut o')
        again = repair(klaviyo, plan, dry_run=False)
        # The second one was not even begun in what is left of the journal: it was somebody else's merge.
        assert (1, 1) == (again.merged, again.skipped)
        assert (1, 2) == (report.journal.read_text().count('"merged"'), len(merges(simulator)))

    def test_killed_right_after_the_merge_was_done(self, tmp_path):
        """SIGKILL: the next run finds out what was done, sends nothing twice, and finishes the plan."""
        check_repairs_killed_at(tmp_path, [(True, 1)])

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    def test_killed_anywhere(self, tmp_path):
        """The same at each request of a run: lost, or done before the answer."""
        check_repairs_killed_at(tmp_path, [(True, 1), (True, 2), *((False, turn) for turn in range(1, 60))])


def check_repairs_killed_at(folder, points):
    """Kill a run at each of some requests, let another one finish, and check what was sent and what is there."""
    simulator = KlaviyoSimulator(account=ACCOUNT, readings=DISTINCT, queue_lag=0.0, clock="real")
    with simulator.serve() as url:
        killed = 0
        for number, (is_write, turn) in enumerate(points):
            store = str(folder / f"{number}.db")
            wanted = pairs_to_mend(simulator, f"c{number}")
            with patient(url, store) as k:
                path = plan_for(k, folder / f"{number}.json", wanted)
            was_killed = _killed(simulator, url, store, path, is_write=is_write, turn=turn)
            killed += was_killed
            time.sleep(TIMEOUT + LEASE)
            with patient(url, store) as k:
                for _ in range(4):
                    report = repair(k, path, dry_run=False)
                    if report.merged == 2:
                        break
                    time.sleep(LAG)
                assert (2, 0) == (report.merged, report.skipped), (is_write, turn)
            left = {source for source, _ in wanted} & ids(simulator)
            sent = [each for each in merges(simulator) if any(source in json.dumps(each.body) for source, _ in wanted)]
            assert (set(), 2) == (left, len(sent)), (is_write, turn)
            states = steps(path.with_name(path.name + ".journal"))
            assert {source for source, _ in wanted} == {source for source, state in states if state == "merged"}
            with open_store(f"sqlite:///{store}") as opened_store:
                assert () == opened_store.expired(ACCOUNT, 1)
            if not was_killed:
                break  # the run has fewer requests
        assert killed == len(points) or killed > 20


def _killed(simulator, url, store, path, *, is_write, turn):
    """Kill a process at one of its requests, if it gets so far; tell whether it did."""
    victim = Future()
    met = count(1)
    armed = [True]

    def match(asked):
        if not armed[0] or (is_write and asked.method == "GET") or next(met) != turn:
            return False
        os.kill(victim.result(5), signal.SIGKILL)
        return not is_write

    simulator.fail_next(match=match)
    process = SERVER.Process(target=mend, args=(url, store, str(path)))
    process.start()
    victim.set_result(process.pid)
    process.join(60)
    armed[0] = False
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


class TestPlans:
    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ('"merges": [', '"merges": [nonsense', r"no JSON, line 1;"),
            ('"safeklaviyo repair plan"', '"a cake"', "no repair plan"),
            ('"rule": "A2"', '"rule": "A4"', r"merge 1 of the plan \(line 1\) names no rule"),
            ('"profile_id": "', '"profile_id": "../', r"merge 1 of the plan \(line 1\) has no profile_id of its"),
            ('"consent": "never_subscribed"', '"consent": "maybe"', "has a consent of its source that is none"),
            ('"line": null', '"line": "one"', "has a line of its source that is no number"),
            ('"name": null', '"nmae": null', "has 1 unknown fields in its source"),
            ('"made_at": "', '"made_at": "yesterday ', "made_at is no time"),
            ('"account": "SiMuLa"', '"account": 7', "account is no text"),
            ('"account": "SiMuLa"', '"account": "OthEr1"', "of another account"),
            ('"binding": null', '"binding": {"email": 7}', "has a binding that is no text"),
            ('"binding": null', '"binding": [7]', "has a binding that cannot be read"),
            ('"source": {', '"sauce": {', "has no source"),
        ],
    )  # fmt: skip
    def test_nonsense_is_refused_with_its_place(self, *, klaviyo, simulator, plan, old, new, says):
        """A plan that was edited into nonsense is refused as a whole, with the entry, and nothing is written."""
        assert old in plan.read_text()
        plan.write_text(plan.read_text().replace(old, new, 1))
        with pytest.raises(ConfigurationError, match=says):
            repair(klaviyo, plan, dry_run=False)
        assert ([], [plan]) == (merges(simulator), [*plan.parent.iterdir()])

    def test_merges_that_contradict_each_other_are_refused(self, klaviyo, simulator, plan):
        """A profile ends once, and none ends into which another one is merged; the place is the line of the entry."""
        given = json.loads(plan.read_text())
        one, two = given["merges"]
        for merges_, says in (
            ([one, two, one], r"merge 3 of the plan \(line \d+\) ends the same profile as merge 1"),
            ([one, {**two, "source": one["into"]}], "merge 2 .* ends a profile into which another one is merged"),
            ([{**one, "into": one["source"]}], "merge 1 .* merges a profile into itself"),
            ([7], "merge 1 .* is no object"),
        ):
            plan.write_text(json.dumps({**given, "merges": merges_}, indent=2))
            with pytest.raises(ConfigurationError, match=says):
                repair(klaviyo, plan, dry_run=False)
        assert [] == merges(simulator)

    @pytest.mark.parametrize("text", ["[]", '{"kind": "safeklaviyo repair plan", "version": 1}', "{"])
    def test_other_files_are_no_plans(self, klaviyo, tmp_path, text):
        """Whatever is no plan is called so."""
        path = tmp_path / "plan.json"
        path.write_text(text)
        with pytest.raises(ConfigurationError):
            repair(klaviyo, path)
        path.write_bytes(b"\xff\xff\xff")
        with pytest.raises(ConfigurationError, match="UTF-8"):
            repair(klaviyo, path)

    def test_a_line_is_that_of_the_entry(self, plan):
        """The line in a message is that at which the entry begins, in the file as it was written."""
        given = RepairPlan.from_json(plan.read_text()).to_json().splitlines()
        at = [number for number, line in enumerate(given, start=1) if line == "    {"][1]
        broken = [line.replace('"A2"', '"A8"') if number > at else line for number, line in enumerate(given, start=1)]
        with pytest.raises(ConfigurationError, match=rf"merge 2 of the plan \(line {at}\)"):
            RepairPlan.from_json("\n".join(broken))


class TestJournals:
    def test_a_journal_of_another_account_is_not_written_to(self, klaviyo, simulator, plan, tmp_path):
        """What a journal says of one account says nothing of another."""
        journal = tmp_path / "journal"
        journal.write_text('{"kind": "safeklaviyo repair journal", "version": 1, "account": "OthEr1"}\n')
        with pytest.raises(ConfigurationError, match="of another account"):
            repair(klaviyo, plan, dry_run=False, journal=journal)
        journal.write_text("a shopping list\n")
        with pytest.raises(ConfigurationError, match="holds something else"):
            repair(klaviyo, plan, dry_run=False, journal=journal)
        assert ("a shopping list\n", []) == (journal.read_text(), merges(simulator))

    def test_a_plan_that_is_given_as_such_is_looked_at_too(self, klaviyo, plan):
        """A plan without Klaviyo's ids of the profiles, as a program may make it, is refused."""
        wanted = RepairPlan.from_json(plan.read_text())
        nameless = replace(wanted, merges=(replace(wanted.merges[0], source=Shown()),))
        with pytest.raises(ConfigurationError, match="merge 1 of the plan has a profile without its profile_id"):
            repair(klaviyo, nameless)

    def test_what_the_plan_knows_of_a_customer_may_be_edited(self, plan):
        """The map's word is a part of the plan, and is read back as it was written."""
        given = json.loads(plan.read_text())
        given["merges"][0]["binding"] = {"external_id": "7", "email": "ada@shop.test", "former": ["ada@old.test"]}
        again = RepairPlan.from_json(json.dumps(given))
        assert ("7", ("ada@old.test",)) == ((bound := again.merges[0].binding).external_id, bound.former)
        assert again == RepairPlan.from_json(again.to_json())

    def test_two_runs_never_share_one(self, klaviyo, simulator, plan):
        """A second run with the same journal is refused while the first one has it."""
        refused = []

        def second():
            with pytest.raises(ConfigurationError, match="another repair is using this journal"):
                repair(klaviyo, plan, dry_run=False)
            refused.append(True)

        meanwhile(simulator, "merge_profiles", second)
        assert (2, [True]) == (repair(klaviyo, plan, dry_run=False).merged, refused)

    def test_an_alias_of_the_survivor_is_no_source(self, open_client, tmp_path):
        """Where a merged profile's id leads to the survivor, the merge is somebody else's, and is passed over."""
        simulator = KlaviyoSimulator(
            account=ACCOUNT, readings=Readings(email_case="distinct", merged_id="alias"), queue_lag=0.0
        )
        with open_client(simulator, MemoryStore(clock=simulator.now)) as k:
            wanted = pairs_to_mend(simulator, "ann")
            path = plan_for(k, tmp_path / "plan.json", wanted)
            merge(simulator, *wanted[0])
            assert (1, 1) == ((report := repair(k, path, dry_run=False)).merged, report.skipped)
