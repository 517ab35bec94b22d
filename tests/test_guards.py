"""The table of guards: for each promise, rule and trace one way to break the code, and the test that notices.

A test that cannot fail guards nothing. Each row is a change of the source that takes a safeguard away; the package is
loaded with it in a process of its own, and the named test has to fail there. A row whose old text is gone fails: write
it anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import source
from support.warm import Change, Warm

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
NARROWED = ("-k", "not (async and not asyncio) and not retrying")
"""Which of the cases of a test are run: one kind of client is enough to notice."""


@dataclass(frozen=True)
class Guard:
    """One safeguard.

    Attributes:
        keeps: The promise, rule, fault or trace that it is for.
        module: Where it stands, below the package.
        old: What stands there, once.
        new: What would stand there without the safeguard.
        test: The test that notices.
    """

    keeps: str
    module: str
    old: str
    new: str
    test: str


def _guard(keeps: str, module: str, old: str, new: str, test: str) -> Guard:
    return Guard(keeps, module, old, new, test)


GUARDS = [
    _guard(
        "keys of the gateway", source.GATEWAY,
        'elif self.guard.core.clients.of(header(headers, "authorization")) is None:', "elif False:",
        "gateway/test_gateway.py::TestWhoMayCall::test_a_key_that_is_no_clients_is_refused",
    ),
    _guard(
        "public keys", source.GATEWAY_LEGACY,
        "if private is not None or not is_trusted:", "if private is not None:",
        "gateway/test_gateway.py::TestRetiredEndpoints::test_a_public_key_authenticates_nobody_from_elsewhere",
    ),
    _guard(
        "other hosts", source.GATEWAY_MESSAGES, 'rb"/(?:[!-.0-~][!-~]*)?"', 'rb"/[!-~]*"',
        "gateway/test_gateway.py::TestForwarding::test_a_target_that_is_no_path_is_refused",
    ),
    _guard(
        "half requests", source.GATEWAY_MESSAGES, "            raise GoneError\n", "            return\n",
        "gateway/test_gateway.py::TestForwarding::test_half_a_request_is_not_forwarded",
    ),
    _guard(
        "legacy refusals", source.GATEWAY_LEGACY,
        "return await self._queued(client, verb, subject, given, error)", "return False",
        "gateway/test_gateway.py::TestRetiredEndpoints::test_an_order_before_its_sign_up_waits_for_it",
    ),
    _guard(
        "P5", source.GATEWAY_LEGACY, 'given["unique_id"] = str(int(time))', "pass",
        "gateway/test_gateway.py::TestRetiredEndpoints::test_an_event_without_a_key_has_its_second",
    ),
    _guard(
        "refusals in Klaviyo's words", source.GUARDS_WRITE_REPLIES,
        '409: ("duplicate_profile", "Conflict."),', '409: ("conflict", "Conflict."),',
        "guard/test_guard_official_sdk.py::"
        "test_klaviyos_own_sdk_gets_the_answers_that_it_gets_without_the_guard[sdk-enforce]",
    ),
    _guard(
        "R14", source.GUARDS_WRITE_BODIES, '_NAMES = (*IDENTIFIERS, "_kx")', '_NAMES = ("_kx",)',
        "guard/test_guard_events.py::test_a_phone_number_is_attached_and_does_not_travel",
    ),
    _guard(
        "F-1", source.GUARDS_WRITE_REPLIES, ' and meta.get("duplicate_profile_id") not in own', " and False",
        "guard/test_guard_profiles.py::test_klaviyos_own_conflict_is_passed_on_without_the_other_profile",
    ),
    _guard(
        "P8", source.GUARDS_LOG_HASHES, '"hash": self.of(normal)', '"hash": normal',
        "guard/test_guard_decision_log.py::test_no_identifier_is_in_it",
    ),
    _guard(
        "P6", source.GUARDS_CORE, "            self.broken(plan, error)\n", "            pass\n",
        "guard/test_guard_bad_input.py::test_the_guards_own_fault_is_never_the_shops",
    ),
    _guard(
        "P6", source.GUARDS_COMMON, "if is_map and self._forwards:", "if is_map:",
        "guard/test_guard_bad_input.py::TestWithoutTheMap::test_an_enforced_call_is_refused_for_later",
    ),
    _guard(
        "jobs are refused whole", source.GUARDS_COMMON,
        "        if case.faults:\n            case.land()", "        if False:\n            case.land()",
        "guard/test_guard_jobs.py::test_what_only_klaviyo_can_refuse_refuses_the_job_too",
    ),
    _guard(
        "one name twice", source.GUARDS_PARSE_ASKED, "    if has_twins:\n", "    if False:\n",
        "guard/test_guard_bad_input.py::test_what_cannot_be_understood_does_not_reach_klaviyo",
    ),
    _guard(
        "P1", source.GUARDS_CARRY_UPDATING, "    refuse_clearing(ruling, binding)\n", "",
        "guard/test_guard_bad_input.py::test_an_identifier_is_not_taken_away_by_null",
    ),
    _guard(
        "P4", source.GUARDS_CARRY_UPDATING, "if claim.email is not None and claim.email != binding.email:", "if False:",
        "guard/test_guard_deaths.py::test_nothing_is_there_twice_after_a_death",
    ),
    _guard(
        "P3", source.GUARDS_CARRY_UPDATING, "if resolved.binding.profile_id != profile.id:", "if False:",
        "guard/test_guard_bad_input.py::test_a_ghosts_profile_id_changes_nobodys_address",
    ),
    _guard(
        "told or parked", source.GUARDS_CARRY_PARKING, "return isinstance(refused[0][1], IdOnlyError)", "return True",
        "guard/test_guard_parked.py::test_what_no_sign_up_would_free_is_told",
    ),
    _guard(
        "H33", source.GUARDS_LESSONS, "profile.updated < known", "False",
        "guard/test_guard_learning.py::test_h33_an_older_answer_is_not_learnt_over_a_newer_one",
    ),
    _guard(
        "H33", source.GUARDS_CARRY_LEARNING, "Change(replace(owner, verified_at=None), verified=False)",
        "Change(replace(owner, email=None, verified_at=None), verified=False)",
        "guard/test_guard_learning.py::test_h33_a_verbs_word_is_doubted_and_not_overwritten",
    ),
    _guard(
        "H32", source.GUARDS_CARRY_LEARNING, "Change(binding, verified=False, token=lease.token)",
        "Change(binding, token=lease.token)",
        "guard/test_guard_learning.py::test_h32_a_hint_is_read_before_its_first_use",
    ),
    _guard(
        "H34", source.DRIFT,
        "if not is_former and (yield from forget_hint(call, binding)):", "if False:",
        "guard/test_guard_learning.py::test_h34_a_wrong_hint_refuses_no_one",
    ),
    _guard(
        "H34", source.GUARDS_DECIDE_BY_MAP, "        if is_hint(decision):\n", "        if False:\n",
        "guard/test_guard_learning.py::test_h34_a_wrong_hint_refuses_no_one",
    ),
    _guard(
        "told or parked", source.GUARDS_CARRY_FINISHING, "        yield from take_back(call, case)\n", "",
        "guard/test_guard_parked.py::test_a_job_that_klaviyo_refuses_takes_its_rows_back",
    ),
    _guard(
        "H35", source.GUARDS_KEYS, "if now - since >= _REPEATED:", "if True:",
        "guard/test_guard_keys.py::TestKeys::test_without_an_answer_it_is_the_same_for_a_minute",
    ),
    _guard(
        "guarded once", source.GUARDS_COMMON, '.startswith("safeklaviyo/")', '.startswith("-")',
        "guard/test_guard_install.py::test_calls_of_clients_of_this_package_are_not_guarded_again",
    ),
    _guard(
        "guarded once", source.GUARDS_COMMON,
        "        busy = is_busy.set(True)\n", "        busy = is_busy.set(False)\n",
        "guard/test_guard_install.py::test_a_hook_within_the_process_wide_guard_counts_once",
    ),
    _guard(
        "H35", source.GUARDS_COMMON,
        "            self._keys.answered(plan.case.unique_id)\n", "            pass\n",
        "guard/test_guard_keys.py::test_h35_after_an_answer_equal_content_is_another_event",
    ),
    _guard(
        "threads end", source.GUARDS_COMMON,
        "        self.later.close()\n        self._looks.close()\n", "        self.later.flush()\n",
        "guard/test_guard_threads.py::test_both_end_when_the_guard_is_taken_away",
    ),
    _guard(
        "both modes alike", source.GUARDS_DECIDE_BY_MAP,
        "lease = None if lease.identifiers.isdisjoint(names) else lease", "lease = None",
        "guard/test_guard_modes.py::test_a_lease_is_seen_in_both_modes",
    ),
    _guard(
        "P5", source.TRANSFER, "            file.truncate(whole)\n", "            pass\n",
        "cli/test_cli_transfer.py::test_what_a_killed_import_half_wrote_is_written_again",
    ),
    _guard(
        "P5", source.REPORT, "            self.kept.flush()\n", "            pass\n",
        "cli/test_cli_transfer.py::test_what_a_killed_import_half_wrote_is_written_again",
    ),
    _guard(
        "lanes", source.AGENDA, "self._not_before.get(lane, now) <= now", "True",
        "worker/test_worker.py::TestAgenda::test_a_lane_that_failed_waits_longer_each_time",
    ),
    _guard(
        "H20", source.AGENDA, "if has_more or lane in self._woken_in_hand:", "if has_more:",
        "worker/test_worker.py::TestAgenda::test_a_lane_is_in_one_hand",
    ),
    _guard(
        "stopping", source.WORKING, "        return self._stopping.is_set()\n", "        return False\n",
        "worker/test_worker.py::TestRunning::test_it_ends_the_run_in_hand_and_begins_no_other",
    ),
    _guard(
        "P8", source.WORKING, "if isinstance(error, SafeKlaviyoError) else type(error).__name__", "",
        "worker/test_worker.py::TestRunning::test_no_failure_ends_it",
    ),
    _guard(
        "watchdog", source.WORKING, "if now - at > self._limits.stuck]", "if False]",
        "worker/test_worker.py::TestSystemd::test_a_stuck_worker_is_not_alive",
    ),
    _guard(
        "dead rows", source.CHORES, "now - self._warned_at < WARN_EVERY", "False",
        "worker/test_worker.py::TestChores::test_dead_rows_are_told_once_an_hour",
    ),
    _guard(
        "health", source.HEALTH, "if age > TOO_OLD:", "if False:",
        "worker/test_worker.py::TestHealth::test_a_file_tells_what_is_wrong",
    ),
    _guard(
        "systemd", source.SYSTEMD, 'environment.pop("NOTIFY_SOCKET", "")', 'environment.get("NOTIFY_SOCKET", "")',
        "worker/test_worker.py::TestSystemd::test_it_hears_that_a_worker_is_ready_alive_and_stopping",
    ),
    _guard(
        "pace", source.TURNS, "second - seconds <= each", "second - seconds < each",
        "worker/test_pace.py::test_endpoints_and_their_turns_are_apart",
    ),
    _guard(
        "pace", source.TURNS, "if oldest <= int(each) <= latest}", "if oldest <= int(each)}",
        "worker/test_pace.py::test_a_clock_that_was_set_back_holds_nobody_up",
    ),
    _guard(
        "pace", source.SHARED_PACING, "return max(slot, at + wait)", "return slot",
        "worker/test_pace.py::test_what_one_worker_has_used_another_lacks",
    ),
    _guard(
        "P5", source.CELERY, "kwargs |= _same_event(task, error)", "pass",
        "engines/test_celery.py::TestRetry::test_a_task_is_given_what_makes_it_the_same_event",
    ),
    _guard(
        "P5", source.CELERY, 'if "unique_id" not in taken and error.outcome != "not_applied":', "if False:",
        "engines/test_celery.py::TestRetry::test_a_task_that_would_send_another_event_is_not_repeated",
    ),
    _guard(
        "one transaction", source.DJANGO_CLIENTS, "(calls.Insert, calls.InsertAtOnce)", "(calls.Insert,)",
        "engines/test_django.py::test_every_call_that_takes_a_connection_is_given_djangos",
    ),
    _guard(
        "one client an app", source.CELERY, '"shared": False', '"shared": True',
        "engines/test_celery.py::test_each_app_drains_its_own_client",
    ),
    _guard(
        "P7", source.CELERY, "    if not error.may_retry:\n        raise error\n", "",
        "engines/test_celery.py::TestRetry::test_what_may_not_be_repeated_is_raised",
    ),
    _guard(
        "stalled jobs", source.PROCRASTINATE, "await _remove_stalled(context.app.job_manager, queue)", "pass",
        "worker/test_procrastinate_tasks.py::test_the_job_of_a_dead_worker_gives_its_lock_back",
    ),
    _guard(
        "lanes", source.PROCRASTINATE, "drain.configure(lock=lock)", "drain.configure()",
        "worker/test_procrastinate_tasks.py::test_a_look_defers_one_job_for_each_lane_which_drains_it",
    ),
    _guard(
        "lanes", source.PROCRASTINATE, "if time.time() - timestamp > TOO_LATE:", "if False:",
        "worker/test_procrastinate_tasks.py::test_a_look_that_comes_too_late_is_left_to_a_newer_one",
    ),
    _guard(
        "P6", source.SQLITE_TURNS, '    connection.execute("PRAGMA busy_timeout = 0")\n', "",
        "stores/test_store_sqlite.py::TestTurns::test_who_waits_for_a_writer_looks_often",
    ),
    _guard(
        "P3", source.CLAIMS, "return not self._is_empty and any(", "return False and any(",
        "cli/test_cli_imports.py::test_p3_an_address_of_a_refused_row_is_nobodys_former_one",
    ),
    _guard(
        "P3", source.CLAIMS, "for each in (_CELLS, _WORDS) for word", "for each in () for word",
        "cli/test_cli_imports.py::test_p3_json_lines_from_a_pipe_are_looked_through",
    ),
    _guard(
        "P3", source.ADDING_TO_SQLITE, "if times > 1 and value", "if times > 9 and value",
        "stores/test_store_contract.py::TestSqlite::test_rows_are_judged_in_their_order",
    ),
    _guard(
        "P4", source.ADDING_TO_SQLITE, "(*self._owners, *self._tokens)", "self._owners",
        "stores/test_store_contract.py::TestSqlite::test_a_new_row_under_a_lease_is_a_conflict",
    ),
    _guard(
        "P3", source.POSTGRES_VALUES, 'row["again"] = first[name, value]["again"] = True', "pass",
        "stores/test_store_postgres.py::TestPostgres::test_rows_are_judged_in_their_order",
    ),
    _guard(
        "P3", source.POSTGRES_CONNECTIONS, "        cursor.execute(*query.turn, prepare=False)\n", "",
        "stores/test_store_adding.py::TestTurns::test_rows_wait_for_the_writer_before_and_see_what_it_wrote",
    ),
    _guard(
        "P6", source.POSTGRES_CONNECTIONS, "                cursor.connection.rollback()", "                pass",
        "stores/test_store_adding.py::TestTurns::test_a_failure_leaves_nothing_behind[True]",
    ),
    _guard(
        "P8", source.TRACEBACKS, ' or package.startswith("namedtuple_")', "",
        "test_tracebacks.py::TestInterrupted::test_what_is_called_shows_nobody",
    ),
    _guard(
        "P8", source.TRACEBACKS, '"email_validator", ', "",
        "test_tracebacks.py::TestInterrupted::test_what_is_called_shows_nobody",
    ),
    _guard(
        "P5", source.BULK, "BULK_EVENTS, Repeat.ONCE, body", "BULK_EVENTS, Repeat.KEYED, body",
        "bulk/test_track_many.py::TestOnce::test_a_job_whose_answer_was_lost_is_not_sent_again",
    ),
    _guard(
        "P5", source.TRACK_MANY, "        if key not in seen:\n", "        if True:\n",
        "bulk/test_track_many.py::TestOnce::test_a_key_that_comes_twice_counts_once",
    ),
    _guard(
        "P5", source.TRACK_MANY, "        if batch.is_given_up:\n", "        if False:\n",
        "bulk/test_track_many.py::TestSeveralJobs::test_nothing_is_sent_after_the_call_has_ended",
    ),
    _guard(
        "P5", source.IN_MANY, "            begun.batch.is_given_up = True", "            pass",
        "bulk/test_track_many.py::TestSeveralJobs::test_nothing_is_sent_after_the_call_has_ended",
    ),
    _guard(
        "R6", source.MANY, "claim.external_id is None or claim.email in (None, binding.email)", "True",
        "bulk/test_track_many.py::TestWhoIsMeant::test_r6_a_pair_of_two_customers_is_refused",
    ),
    _guard(
        "P5", source.TRACK_MANY, "        batch.singly += [row for row, _ in job.rows]\n", "",
        "bulk/test_track_many.py::TestOnce::test_a_lost_answer_doubles_and_loses_nothing",
    ),
    _guard(
        "P4", source.TRACK_MANY, "latest.get(before.key, before)", "before",
        "bulk/test_track_many.py::TestOnce::test_an_address_that_changes_while_a_request_waits_is_not_put_back",
    ),
    _guard(
        "R13", source.MANY, "and known.is_free(row, binding):", ":",
        "bulk/test_track_many.py::TestAllTogether::test_a_customer_under_a_lease_waits_for_it_and_others_do_not",
    ),
    _guard(
        "P5", source.IN_MANY, "row.claim.identifiers() or (row.number,)", "row.claim.identifiers()",
        "bulk/test_consent_many.py::TestSubscribe::test_by_a_number_alone",
    ),
    _guard(
        "P5", source.SENT_FILES, 'given.setdefault("unique_id"', 'dict().setdefault("unique_id"',
        "cli/test_cli_bulk.py::TestTrack::test_a_file_may_be_sent_again",
    ),
    _guard(
        "P5", source.SENT_FILES, 'if self.kept is not None and kind == "refused":', "if self.kept is not None:",
        "cli/test_cli_bulk.py::TestInterrupted::test_what_may_have_arrived_is_sent_by_the_same_file",
    ),
    _guard(
        "R1", source.RECORDS, "(name in _DECIDES or cell.strip() not in _MARKS)", "cell.strip() not in _MARKS",
        "cli/test_cli_bulk.py::TestTrack::test_each_kind_of_dirt_costs_its_row_alone",
    ),
    _guard(
        "F-25", source.BODIES, ' or b"NaN" in body or b"Infinity" in body', "",
        "bulk/test_bulk_bodies.py::test_what_is_no_json_is_refused_as_before",
    ),
    _guard(
        "P4", source.TOGETHER, "            if not is_kept:\n", "            if False:\n",
        "bulk/test_consent_many.py::TestAnswers::test_p4_whose_lease_is_lost_is_left_out_and_decided_again",
    ),
    _guard(
        "R18", source.TOGETHER, "yield from member.wish.again()", "member.wish.request if True else (yield)",
        "bulk/test_consent_many.py::TestSubscribe::test_h30_a_withdrawal_before_a_repeat_leaves_the_others",
    ),
    _guard(
        "P7", source.TOGETHER, '            if error.outcome == "unknown":\n', "            if False:\n",
        "bulk/test_consent_many.py::TestAnswers::test_a_klaviyo_that_stays_silent",
    ),
    _guard(
        "R19", source.CONSENT_MANY, "if given[0][0] == 0 and are_too_many", "if False and are_too_many",
        "bulk/test_consent_many.py::TestUnsubscribe::test_r19_a_file_whose_columns_have_slipped_sends_nothing",
    ),
    _guard(
        "R19", source.CONTRADICTIONS, 'if decision.action == "refuse" else None', "if False else None",
        "bulk/test_consent_many.py::TestUnsubscribe::test_r19_rows_that_contradict_the_map_are_refused",
    ),
    _guard(
        "R13", source.TOGETHER, 'effect.reason == "lease" or', "False or",
        "bulk/test_consent_many.py::TestSubscribe::test_rows_of_one_person_follow_each_other",
    ),
    _guard(
        "P2", source.BULK, '{"id": binding.profile_id}', '{"id": None, "attributes": {"email": binding.email}}',
        "bulk/test_identify_many.py::test_known_customers_go_in_one_import_without_identifiers",
    ),
    _guard(
        "P5", source.IDENTIFY_MANY, "            if may_double:\n", "            if False:\n",
        "bulk/test_identify_many.py::test_after_a_lost_answer_nothing_is_appended_twice",
    ),
    _guard(
        "R14", source.IDENTIFY_MANY, "return not (clears or has_other_phone or", "return not (clears or",
        "bulk/test_identify_many.py::test_what_an_import_cannot_say_goes_singly",
    ),
    _guard(
        "P5", source.IN_MANY, "joined.sort(key=lambda each: each.number)", "joined.reverse()",
        "bulk/test_track_many.py::TestAllTogether::test_rows_of_one_person_keep_their_order",
    ),
    _guard(
        "P8", source.TELEMETRY, "within = told.context.set_value(_SUPPRESS, True, within)", "pass",
        "test_telemetry.py::TestSpans::test_the_librarys_own_instrumentation_is_suppressed",
    ),
    _guard(
        "P8", source.OBSERVING, '"on_decision raised %s, which was dropped", type(exc).__name__)', '"%s", exc)',
        "test_on_decision.py::TestCalledBack::test_what_it_raises_is_dropped",
    ),
    _guard(
        "P6", source.OBSERVING, "    except Exception as exc:", "    except ZeroDivisionError as exc:",
        "test_on_decision.py::TestCalledBack::test_what_it_raises_is_dropped",
    ),
    _guard(
        "P4", source.OBSERVING,
        "                self._decisions.append(effect.decision)",
        "                _tell(self._observer.on_decision or print, effect.decision)",
        "test_on_decision.py::TestCalledBack::test_outside_of_leases",
    ),
    _guard(
        "P8", source.ANSWERS, "isinstance(account, str) and _ACCOUNT_ID.fullmatch(account)", "account",
        "test_answers.py::test_an_answer_that_names_no_one_account_is_unreadable",
    ),
    _guard(
        "P8", source.CHECKPOINT, "        new.unlink(missing_ok=True)\n", "",
        "cli/test_cli_secrets.py::TestFiles::test_progress_is_written_through_no_link",
    ),
    _guard(
        "P8", source.CHECKPOINT, "flags | os.O_NOFOLLOW", "flags",
        "cli/test_cli_secrets.py::TestFiles::test_a_linked_progress_file_is_refused",
    ),
    _guard(
        "P8", source.TRANSFER, "            os.fchmod(descriptor, 0o600)\n", "            pass\n",
        "cli/test_cli_secrets.py::TestFiles::test_refused_rows_are_for_their_owner_alone",
    ),
    _guard(
        "P8", source.SQLITE, "    _keep_private(path)\n", "",
        "stores/test_store_sqlite_privacy.py::test_a_file_that_all_users_may_read_is_closed_to_them",
    ),
    _guard(
        "P8", source.TOMBSTONES, "key = required(keys).split()[0]", 'key = f"safeklaviyo:{call.account}"',
        "identity/test_tombstones.py::test_a_tombstone_alone_can_be_tested_against_no_guess",
    ),
    _guard(
        "P4", source.TOMBSTONES, ', f"safeklaviyo:{call.account}")', ",)",
        "identity/test_tombstones.py::test_tombstones_of_0_1_are_honoured_and_released",
    ),
    _guard(
        "P4", source.TOMBSTONES, "(yield from NewId()), new=True)", "(yield from NewId()))",
        "identity/test_tombstones.py::test_two_first_erasures_agree_on_a_key",
    ),
    _guard(
        "P4", source.TOMBSTONES, "if each not in own)))", "if False)))",
        "cli/test_cli_copied_tombstones.py::test_the_erased_of_both_maps_are_found",
    ),
    _guard(
        "P8", source.TRACEBACKS, "                frame.clear()", "                pass",
        "test_tracebacks.py::TestConstructors::test_clients",
    ),
    _guard(
        "P8", source.TRACEBACKS, "                behind.__traceback__ = None", "                pass",
        "stores/test_store_tracebacks.py::test_a_server_that_is_not_there",
    ),
    _guard(
        "P8", source.TRACEBACKS, "_package(error.__traceback__.tb_frame) == _OURS", "True",
        "test_tracebacks.py::TestCalls::test_the_callers_own_error_is_left_alone",
    ),
    _guard(
        "P8", source.TRACEBACKS, "            each.__context__ = None", "            pass",
        "test_tracebacks.py::TestCalls::test_a_drivers_error_that_is_hidden_is_let_go",
    ),
    _guard(
        "P8", source.TRACEBACKS, "        is_leading = is_leading and", "        is_leading = is_leading or",
        "test_tracebacks.py::TestTwice::test_the_other_call_goes_on",
    ),
    _guard(
        "P8", source.SECRETS,
        'return "Secret(…)"', "return self._text",
        "test_secrets.py::TestSecret::test_it_is_revealed_on_request_alone",
    ),
    _guard(
        "P8", source.CONFIG,
        'sent = None if dialect == "legacy" else shown.authorization', "sent = shown.authorization",
        "test_secrets.py::TestLegacy::test_the_private_key_goes_only_where_it_is_needed",
    ),
    _guard(
        "F-45", source.SOCKETS,
        "            let_through(exc, outer)\n            # A server", "            pass\n            # A server",
        "senders/test_sender_interruptions.py::TestHandlersOwnErrors::test_while_the_host_does_not_read",
    ),
    _guard(
        "F-45", source.SOCKETS,
        "                let_through(exc, outer)\n", "",
        "senders/test_sender_interruptions.py::TestHandlersOwnErrors::test_while_the_next_address_waits",
    ),
    _guard(
        "F-45", source.PATIENCE,
        "    _late.set(work_aside.wait)", "    pass",
        "operations/test_late_map.py::test_a_lease_granted_after_the_deadline",
    ),
    _guard(
        "F-22", source.ASYNC_SOCKETS,
        " or self._writer.transport.is_closing()", "",
        "senders/test_senders.py::test_a_connection_that_was_reset_is_not_used",
    ),
    _guard(
        "P6, P7, F-34", source.ATTEMPTS,
        "if not is_from_klaviyo(self._request.endpoint, response):", "if False:",
        "operations/test_first_contact.py::test_p6_a_search_that_fails_writes_nothing",
    ),
    _guard(
        "F-34", source.ANSWERS,
        "    return any(isinstance(error.get", "    return True or any(isinstance(error.get",
        "test_wiring.py::TestAccount::test_something_before_klaviyo",
    ),
    _guard(
        "H36", source.ABSENCE,
        "if found.now - marked_at < call.policy.lag:", "if False:",
        "operations/test_absence.py::test_h36_two_404s_within_the_lag_are_one",
    ),
    _guard(
        "H36", source.ABSENCE,
        "if checked_at is not None and 0 <= found.now - checked_at < call.policy.lag:", "if False:",
        "operations/test_absence.py::test_h36_right_after_a_write_of_ours_a_404_says_nothing",
    ),
    _guard(
        "H37", source.ABSENCE,
        "if value is not None and profile_id in (yield from search(call, kind, value)):", "if False:",
        "operations/test_absence.py::test_h37_a_search_that_shows_the_profile_denies_the_doubt",
    ),
    _guard(
        "P6", source.READING,
        "elif profile_id in found and profile_id != merged:", "elif False:",
        "operations/test_absence.py::test_the_search_and_a_read_that_contradict_each_other_decide_nothing",
    ),
    _guard(
        "F-34", source.ERASING,
        "if response.status in MISSING:", "if False:",
        "operations/test_absence.py::test_klaviyos_own_404_to_what_cannot_be_undone_is_no_success",
    ),
    _guard(
        "F-35", source.ERASE,
        "binding = yield from with_profile_id(call, binding)", "pass",
        "identity/test_imported.py::test_an_erasure_reaches_the_profile",
    ),
    _guard(
        "P3", source.MERGE,
        "yield from _survivor(call, plan.into)\n        yield from request_merge", "yield from request_merge",
        "identity/test_merge.py::TestMerge::test_a_survivor_whose_address_is_anothers_in_the_map_is_left_to_them",
    ),
    _guard(
        "P3", source.CHANGE,
        "patch = {} if profile is None else (yield from difference(call, task, profile))", "patch = {}",
        "identity/test_stopped.py::test_1_6_what_can_refuse_comes_before_the_merge",
    ),
    _guard(
        "P4, H8", source.SUPERSEDED,
        "if kind is None:", "if True:",
        "identity/test_stopped.py::test_a_later_change_stands",
    ),
    _guard(
        "P4, H8", source.LEASES,
        "if profile_id is None or isinstance(error, StoreError)", "if True or isinstance(error, StoreError)",
        "identity/test_stopped.py::test_an_attempt_that_timed_out_reconciles",
    ),
    _guard(
        "P4", source.ERASE,
        "done is None and not (yield from _is_known(call, intent))", "False",
        "identity/test_stopped.py::test_an_erasure_that_was_finished_leaves_the_next_customer_alone",
    ),
    _guard(
        "P1, R9", source.EVIDENCE,
        "if not owners or email_of(owners[0]) is None:", "if not owners:",
        "operations/test_first_contact.py::test_r9_an_id_that_leads_to_no_email_is_refused",
    ),
    _guard(
        "P2", source.DIALECTS,
        "external_id=None if by_profile_id_alone else binding.external_id,", "external_id=None,",
        "operations/test_track.py::test_p2_an_event_names_profile_id_and_pair",
    ),
    _guard(
        "P2, H3", source.DIALECTS,
        "update_profile(profile_id, person)\n", "update_profile(profile_id, person, email=binding.email)\n",
        "operations/test_traces.py::test_h3_a_warm_write_that_lands_late_puts_nothing_back",
    ),
    _guard(
        "P3, F-4", source.EVIDENCE,
        "if addressed is not None and addressed.external_id is not None:", "if False:",
        "operations/test_first_contact.py::test_r4_another_owner_is_never_overwritten",
    ),
    _guard(
        "P5, H10", source.TRACK,
        "main=True, accept=MISSING, again=_again)", "main=True, accept=MISSING)",
        "operations/test_track.py::test_p5_a_retry_repeats_the_event_and_reads_the_address_anew",
    ),
    _guard(
        "P5", source.TRACK,
        "error.unique_id, error.time = event.unique_id, event.time", "pass",
        "operations/test_track.py::test_p5_an_errors_key_and_time_repeat_the_event",
    ),
    _guard(
        "P6, F-3", source.READING,
        'raise NoResponseError("Klaviyo\'s answer could not be read; try again later", may_retry=True) from exc',
        "return ()",
        "operations/test_first_contact.py::test_p6_a_search_that_fails_writes_nothing",
    ),
    _guard(
        "P7", source.WRITES,
        "self._may_still_land = self._may_still_land or in_flight", "pass",
        "operations/test_change_email.py::test_an_unknown_outcome_leaves_the_intent_for_the_next",
    ),
    _guard(
        "P7", source.WRITES,
        'if main and self._outcome == "not_applied":', "if False:",
        "operations/test_faults.py::test_p7_every_fault_at_every_request_is_told_truly_and_heals",
    ),
    _guard(
        "P7", source.LEASES,
        "    intent = decode(lease.intent)\n    _leave_intent(call, intent)\n    # Step 2: repair",
        "    intent = decode(lease.intent)\n    # Step 2: repair",
        "identity/test_left_behind.py::test_p7_a_change_that_could_not_be_called_off_is_not_called_off",
    ),
    _guard(
        "P7", source.LEASES,
        "granted the lease before it failed.\n        _leave_intent(call, intent)\n", "granted it.\n",
        "identity/test_left_behind.py::test_p7_a_change_that_may_yet_be_made_is_not_called_off",
    ),
    _guard(
        "P4, H1", source.CHANGE,
        "if not put_back:", "if True:",
        "identity/test_change_external_id.py::test_h1_a_former_address_that_comes_between_is_put_right",
    ),
    _guard(
        "P4, P7", source.INTENTS,
        "profile_id: str\n    new_external_id", "profile_id: str | None = None\n    new_external_id",
        "identity/test_intents.py::TestWhatIsNotCarriedOut::test_1_11_it_is_postponed_and_nothing_is_sent",
    ),
    _guard(
        "P4", source.TRACK,
        "yield from refuse_erased(call, claim)", "pass",
        "identity/test_erase.py::test_an_event_is_not_repeated_once_its_customer_is_erased",
    ),
    _guard(
        "P8", "errors.py",
        'return f"{type(self).__name__}({str(self)!r}, outcome={self.outcome!r}{rule})"',
        'return f"{type(self).__name__}({vars(self)!r})"',
        "operations/test_conflicts.py::test_r17_identifiers_are_never_in_the_message",
    ),
    _guard(
        "R4", source.CONTACT,
        "accept=TAKEN, lease=lease", "lease=lease",
        "operations/test_first_contact.py::test_r4_a_search_that_lags_makes_no_duplicate",
    ),
    _guard(
        "R5, R11, F-13", source.RULES,
        "if by_id is not None and former_email is not None and former_email.binding.key == by_id.key", "if False",
        "operations/test_identify.py::test_r5_r11_a_late_call_goes_to_the_current_address",
    ),
    _guard(
        "P1", source.RULES,
        "binding.email is None or (needs_profile and", "(needs_profile and",
        "test_rules.py::test_p1_what_is_sent_at_once_is_what_the_rules_send",
    ),
    _guard(
        "R6", source.RULES,
        "if by_id is not None and by_id.email is not None:", "if False:",
        "test_rules.py::test_the_table_of_rules",
    ),
    _guard(
        "R6", source.RULES,
        "    if may_change:", "    if False:",
        "operations/test_identify.py::test_r6_explain_says_that_the_email_would_be_changed",
    ),
    _guard(
        "R6", source.PERSON,
        "main=main, policy=refusing, fits=fits)", "main=main)",
        "operations/test_identify.py::test_r6_an_email_is_changed_once",
    ),
    _guard(
        "R6", source.LEASES,
        "if contact.mismatch is not None:", "if False:",
        "identity/test_recover.py::TestRecover::test_r6_a_first_contact_whose_id_got_another_address_is_closed",
    ),
    _guard(
        "R6, H4", source.CONTACT,
        "if (yield from is_lost(call, lease)):", "if False:",
        "operations/test_leases.py::test_h4_a_slow_look_refuses_nothing",
    ),
    _guard(
        "P7", source.CALL,
        "elif exchange.doubt:", "elif False:",
        "operations/test_legacy_dialect.py::test_p7_a_0_to_a_repeat_leaves_the_first_attempt_in_doubt",
    ),
    _guard(
        "H2", source.LEASES,
        "if contact.put_back is not None:", "if False:",
        "identity/test_recover.py::TestRecover::test_h2_a_first_contact_repairs_the_former_owner_first",
    ),
    _guard(
        "P4", source.BINDING,
        "    if lease is not None:\n", "    if False:\n",
        "identity/test_fenced.py::TestTheMapMeanwhile::test_a_binding_that_keeps_changing_is_decided_again",
    ),
    _guard(
        "R7", source.RULES,
        "if by_email is not None and by_email.external_id is not None:", "if False:",
        "test_rules.py::test_the_table_of_rules",
    ),
    _guard(
        "R8, R11", source.RULES,
        "now - match.retired_at >= policy.retired_for", "now - match.retired_at > policy.retired_for",
        "test_rules.py::test_a_former_identifier_speaks_until_the_instant",
    ),
    _guard(
        "R13", source.RULES,
        "if found.lease is not None:", "if False:",
        "test_rules.py::test_r13_a_lease_comes_before_everything",
    ),
    _guard(
        "R13, P4", source.CALL,
        "if not kept:\n        raise LeaseLostError", "if False:\n        raise LeaseLostError",
        "operations/test_leases.py::test_h8_a_slow_change_is_fenced_and_put_right",
    ),
    _guard(
        "R14, F-16", source.PHONE,
        "elif held != phone_number:", "elif False:",
        "operations/test_phone.py::test_r14_another_phone_in_klaviyo_is_not_replaced",
    ),
    _guard(
        "R6", source.RULES,
        'if policy.email_mismatch == "keep":', "if False:",
        "test_rules.py::test_r6_the_policy_may_keep_the_email",
    ),
    _guard(
        "F-15", source.VALUES,
        "return None if item is self._null else", "return None if True else",
        "test_left_out.py::test_f15_what_is_emptied_is_left_out_too",
    ),
    _guard(
        "F-15", source.VALUES,
        "        return changed or LEFT_OUT\n\n    def value(", "        return changed\n\n    def value(",
        "test_left_out.py::test_f15_what_is_emptied_is_left_out_too",
    ),
    _guard(
        "P5", source.FINDINGS,
        "in_the_way = [each.problem for each in self._found if each.code is None]", "in_the_way = []",
        "test_left_out.py::test_p5_what_fixes_an_event_is_refused_whatever_the_policy",
    ),
    _guard(
        "F-38", source.PROPERTIES,
        "elif role is Role.NESTED:", "elif False:",
        "test_left_out.py::test_f38_the_attributes_of_a_profile_are_understood",
    ),
    _guard(
        "F-40", source.IDENTITY,
        "    if trunk is not None:", "    if False:",
        "test_phone_numbers.py::test_f40_a_trunk_zero_is_no_digit",
    ),
    _guard(
        "F-40", source.IDENTITY,
        "    elif _IN_BRACKETS.search(given):", "    elif False:",
        "test_phone_numbers.py::test_f40_a_zero_that_may_be_a_digit_is_not_guessed",
    ),
    _guard(
        "R1, F-37", source.PLACEHOLDERS,
        "    reason = next((reason for pattern, reason in _SPOILT if pattern.fullmatch(folded)), None)",
        "    reason = None",
        "test_placeholders.py::test_r1_f37_what_an_export_has_spoilt_is_no_id",
    ),
    _guard(
        "revisions", source.EVENTS_OF_API,
        'if "meta" in data and not form.meta_beside_attributes:', "if False:",
        "operations/test_forgiving.py::test_changes_of_lists_arrive_in_each_revision",
    ),
    _guard(
        "R14, F-16", source.RULES,
        "            unusable_phone = True", "            raise",
        "operations/test_phone.py::test_r14_an_unusable_phone_is_left_out",
    ),
    _guard(
        "R15, F-13", source.READING,
        "        if match.retired_at is not None and match.binding.key == binding.key\n", "        if False\n",
        "operations/test_drift.py::test_r15_f13_a_former_address_that_was_put_back_is_repaired",
    ),
    _guard(
        "R15, F-11", source.CONTACT,
        "if differences(written, profile, kinds):", "if False:",
        "operations/test_first_contact.py::test_f11_an_answer_without_the_identifiers_is_drift",
    ),
    _guard(
        "R16", source.RULES,
        "now - binding.verified_at >= policy.refresh_after", "False",
        "operations/test_drift.py::test_r16_a_binding_is_checked_after_a_while",
    ),
    _guard(
        "R17, F-1", source.CONTACT,
        "(pair.email,), also=also)", "(pair.email,))",
        "operations/test_conflicts.py::test_r17_an_owner_that_only_the_409_shows_is_read",
    ),
    _guard(
        "R17", source.CONTACT,
        "        if refusals == _REFUSALS:\n            break\n", "",
        "operations/test_conflicts.py::test_r17_f12_a_conflict_without_an_owner_ends",
    ),
    _guard(
        "R17", source.CHANGE,
        "        if refusals == _REFUSALS:\n            break\n", "",
        "operations/test_conflicts.py::test_r17_a_change_is_decided_again_once",
    ),
    _guard(
        "R17", source.UNEXPLAINED,
        "call.policy.lag - age if age < call.policy.lag else None", "call.policy.lag",
        "operations/test_conflicts.py::test_r17_f41_a_conflict_is_retried_as_long_as_lag_can_explain_it",
    ),
    _guard(
        "P6", source.READING,
        "if profile.id in {profile_id, shown}:", "if profile.id:",
        "operations/test_mixed_answers.py::test_p6_a_read_that_is_answered_about_another_profile_is_made_again",
    ),
    _guard(
        "P6", source.READING,
        "return profile if profile_id in {None, profile.id} else", "return profile if profile.id else",
        "operations/test_mixed_answers.py::test_r15_a_repair_that_is_answered_about_another_profile_is_read_back",
    ),
    _guard(
        "P3, R11", source.LEFT_BEHIND,
        'return "theirs" if former and set(shown) <= theirs | former else "unclear"',
        'return "theirs" if former else "unclear"',
        "identity/test_erase.py::test_r8_only_what_resolves_to_the_customer_is_erased_too",
    ),
    _guard(
        "P3", source.LEFT_BEHIND,
        '        return "another"\n', "        pass\n",
        "identity/test_erase.py::test_p3_a_former_identifier_of_another_by_now_is_theirs",
    ),
    _guard(
        "P3", source.ERASING,
        'profile.id != profile_id or (yield from owner_for_erasure(call, binding, profile)) != "theirs"', "False",
        "identity/test_erase.py::test_p3_a_ghost_that_another_customer_takes_in_time_is_theirs",
    ),
    _guard(
        "P4", source.ERASING,
        "Remove(call.account, _current(binding)[0], lease.token)", "Remove(call.account, _current(binding)[0])",
        "identity/test_stopped.py::test_p4_an_erasure_of_an_imported_customer_leaves_the_next_one_alone",
    ),
    _guard(
        "P4", source.TOMBSTONES,
        "_name(key, identifier), _SET, lease.token)", "_name(key, identifier), _SET)",
        "identity/test_stopped.py::test_an_erasure_that_was_finished_leaves_the_next_customer_alone",
    ),
    _guard(
        "P6", source.READING,
        "while request.path not in seen and len(seen) < _PAGES:", "while len(seen) < _PAGES:",
        "test_profiles.py::TestSearch::test_pages_that_do_not_end",
    ),
    _guard(
        "P3", source.RESOLVING,
        'if fits is not None and decision.action in {"contact", "change"}:', "if False:",
        "operations/test_too_large.py::test_an_event_that_is_too_large_makes_no_contact",
    ),
    _guard(
        "H38, R17", source.CONTACT,
        "is_whole = answer is None or pair.external_id in {None, answer.external_id}", "is_whole = True",
        "operations/test_dropped_ids.py::test_r6_the_owner_of_the_id_is_found_and_the_orphan_reported",
    ),
    _guard(
        "H38, F-19", source.IDENTIFY,
        "person.first_values() if contact is not None and contact.created else person", "person",
        "operations/test_dropped_ids.py::test_r4_an_id_that_is_free_by_then_completes_the_profile",
    ),
    _guard(
        "H2", source.CONTACT,
        "put_back = PutBack(profile, owner)", "pass",
        "operations/test_traces.py::test_h2_whoever_takes_a_former_address_takes_no_profile",
    ),
    _guard(
        "H5", source.SEMANTICS,
        "if not is_expected:", "if False:",
        "operations/test_drift.py::test_h5_a_check_that_was_overtaken_writes_nothing_over_the_map",
    ),
    _guard(
        "H6, P4", source.LEASES,
        "    if lease.taken_over:\n        yield from finish_intent(call, lease)\n"
        "        return None\n    return lease",
        "    return lease",
        "operations/test_leases.py::test_h6_an_address_that_is_being_given_is_not_taken",
    ),
    _guard(
        "H7", source.READING,
        "profile = None if profile_id is None else (yield from read_profile(call, profile_id))",
        "profile = None if profile_id is None else Profile(id=profile_id)",
        "operations/test_first_contact.py::test_h7_a_search_is_only_a_pointer",
    ),
    _guard(
        "H8", source.LEASES,
        "    if call.writes.begun_on is not None:\n"
        "        yield from repair_profile(call, call.writes.begun_on, intent)\n", "",
        "operations/test_leases.py::test_h8_a_slow_change_is_fenced_and_put_right",
    ),
    _guard(
        "F-5", source.EVIDENCE,
        "if len(owners) > 1:", "if False:",
        "operations/test_first_contact.py::test_r9_several_owners_of_an_id_are_refused",
    ),
    _guard(
        "F-8", source.SHOWN,
        "return email is not None and email_of(profile) == email", "return profile.email == email",
        "test_evidence.py::test_f8_addresses_are_compared_without_case",
    ),
    _guard(
        "F-19", source.BODIES,
        "return Repeat.ONCE if person.append or person.unappend else otherwise", "return otherwise",
        "operations/test_identify.py::test_f19_what_is_appended_is_not_appended_twice",
    ),
    _guard(
        "P7, deadline", source.ATTEMPTS, "left = self.deadline.left(at)", "left = None",
        "test_retry.py::TestDeadline::test_attempts_have_what_is_left",
    ),
    _guard(
        "P7, deadline", source.DEADLINES,
        "if call.setup.deadline is None or not isinstance(error, _HELPED_BY_TIME):", "if True:",
        "operations/test_deadline.py::TestInSimulatedTime::test_a_lease_is_not_waited_for_beyond_it",
    ),
    _guard(
        "401 of a page", source.TOKENS,
        "return response.status == _REFUSED and is_from_klaviyo(request.endpoint, response)",
        "return response.status == _REFUSED",
        "operations/test_access_tokens.py::TestAsking::test_a_401_that_is_not_klaviyos",
    ),
    _guard(
        "one answer for all", source.TOKENS,
        "return since is not None and self.renewed > since", "return False",
        "operations/test_access_tokens.py::TestAsking::test_all_that_held_the_refused_token_wait_for_one_answer",
    ),
    _guard(
        "F-45", source.TOKENS,
        "            finally:\n                self._release()\n        finally:\n            self._release()",
        "            finally:\n                pass\n        finally:\n            pass",
        "operations/test_access_tokens.py::TestFailing::test_a_signal_handler_raises_in_it",
    ),
    _guard(
        "F-45", source.PATIENCE,
        "            let_through(exc, outer)\n", "",
        "stores/test_store_interruptions.py::test_while_a_thread_of_the_store_is_started",
    ),
    _guard(
        "F-45", source.TOKENS,
        "        finally:\n            self._release()\n\n", "        finally:\n            pass\n\n",
        "senders/test_token_interruptions.py::test_the_next_thread_asks_at_once",
    ),
    _guard(
        "F-45", source.POSTGRES_CONNECTIONS,
        "                let_through(exc, outer)\n", "",
        "stores/test_store_interruptions.py::test_while_the_driver_reads_its_settings",
    ),
    _guard(
        "access tokens", source.HELD, "            self._under_way = self._leases\n", "",
        "operations/test_access_tokens.py::TestFailing::test_what_it_raises_reaches_the_caller",
    ),
    _guard(
        "F-30", source.RAW,
        "not in {_KLAVIYO, base.lower()}:", "in set():",
        "operations/test_other_calls.py::TestRequest::test_a_target_that_is_none",
    ),
    _guard(
        "F-7", source.RAW, 'if each in {".", ".."} or', "if",
        "operations/test_other_calls.py::TestRequest::test_a_target_that_is_none",
    ),
    _guard(
        "F-7", source.RAW, 'or "/" in each or', "or",
        "operations/test_other_calls.py::TestRequest::test_a_target_that_is_none",
    ),
    _guard(
        "P1, P3", source.RAW,
        "    template = _template([each.lower() for each in _segments(path)])\n    retired",
        "    template = _template(path.strip('/').split('/'))\n    retired",
        "operations/test_other_calls.py::TestIdentityWrites::test_has_a_verb",
    ),
    _guard(
        "F-19", source.RAW, '    "PATCH": Repeat.ONCE,', '    "PATCH": Repeat.IDEMPOTENT,',
        "operations/test_other_calls.py::TestSending::test_repeated_by_method",
    ),
    _guard(
        "P2", source.REQUEST, "        if is_about_a_person(asked):", "        if False:",
        "operations/test_other_calls.py::TestPersons::test_a_known_customer",
    ),
    _guard(
        "F-30", source.REQUEST, "    if _path(target) != _path(first):", "    if not target:",
        "operations/test_other_calls.py::TestIterate::test_links_that_lead_elsewhere",
    ),
    _guard(
        "1.13", source.REQUEST, "        if target in seen:", "        if False:",
        "operations/test_other_calls.py::TestIterate::test_links_that_lead_back",
    ),
    _guard(
        "P3", source.LISTS, "            gone |= named\n", "",
        "operations/test_lists.py::TestAdding::test_a_profile_that_klaviyo_does_not_know",
    ),
    _guard(
        "lists", source.LISTS, "            if named or len(ids) > 1:", "            if named:",
        "operations/test_lists.py::TestAdding::test_a_profile_that_klaviyo_does_not_know",
    ),
    _guard(
        "H36", source.LISTS, "    with suppress(SafeKlaviyoError):\n        yield from forget_profile(call,",
        "    if False:\n        yield from forget_profile(call,",
        "operations/test_lists.py::TestAdding::test_a_profile_that_is_gone_is_made_anew",
    ),
    _guard(
        "P3", source.LISTS, "        found = yield from who(call, _claim(call, row))",
        "        found = (yield from person_of(call, _claim(call, row))).binding",
        "operations/test_lists.py::TestRemoving::test_nobody_is_made",
    ),
    _guard(
        "wrong account", source.CALL, "    notice_account(call, exchange.response)\n", "",
        "test_wiring.py::TestWrongAccount::test_is_noticed_at_the_first_answer",
    ),
    _guard(
        "deadline", source.WAITING, "left = min(call.patience_ends, call.deadline.ends_at) - now",
        "left = call.patience_ends - now",
        "operations/test_deadline.py::TestInSimulatedTime::test_a_lease_is_not_waited_for_beyond_it",
    ),
    _guard(
        "surplus answers", source.ANSWER_BYTES, "iter((None,)).__next__", "lambda: None",
        "senders/test_reading_answers.py::test_nothing_behind_an_answer_is_believed",
    ),
    _guard(
        "surplus answers through proxies", source.CONNECTIONS, "return not beyond", "return True",
        "senders/test_own_senders.py::TestThroughProxies::test_a_surplus_answer_ends_the_tunnel",
    ),
    _guard(
        "trailers", source.ANSWER_BYTES,
        "self.on_header = read.__setitem__", "self.on_header = answer.headers.__setitem__",
        "senders/test_reading_answers.py::test_a_trailer_is_no_header",
    ),
    _guard(
        "closing connections", source.ANSWER_BYTES, 'closes = "close" in', 'closes = "clos" ==',
        "senders/test_reading_answers.py::test_a_connection_is_kept_if_the_server_keeps_it",
    ),
    _guard(
        "size of answers", source.ANSWER_BODIES, "if self._size > LIMIT:", "if False:",
        "senders/test_senders.py::TestAnswers::test_a_body_has_a_limit",
    ),
    _guard(
        "clock set back", source.ROWS, "return left if left <= LONGEST else 0.0", "return left",
        "stores/test_store_event_loop.py::test_a_clock_set_back_blocks_nobody",
    ),
    _guard(
        "P3, R8", source.ADDING, "        if problem is None:", "        if True:",
        "test_bindings.py::TestFormer::test_ownership_beats_retirement",
    ),
    _guard(
        "P3", source.ADDING, "for _, given in part for claim in claims_of", "for _, given in () for claim in claims_of",
        "test_bindings.py::TestFormer::test_former_of_refused_row",
    ),
    _guard(
        "P3", source.ADDING, "        if tie.problem is not None:", "        if False:",
        "test_bindings.py::TestVerify::test_p3_what_klaviyo_contradicts_is_refused",
    ),
    _guard(
        "P4", source.ADDING, " for number, email in emails.items() if email in erased}",
        " for number, email in emails.items() if not email}",
        "test_bindings.py::TestAdd::test_an_erased_customer_is_not_added_as_checked",
    ),
    _guard(
        "R14", source.ADDING, "    if again:\n", "    if False:\n",
        "test_bindings.py::TestAdd::test_r14_another_phone_costs_the_phone",
    ),
    _guard(
        "P3, H33", source.LEARNING,
        "if found.retired(Kind.EMAIL) is not None or found.retired(Kind.EXTERNAL_ID) is not None:", "if False:",
        "test_learning.py::TestContradictions::test_p3_h33_they_are_reported_and_change_nothing",
    ),
    _guard(
        "P3", source.LEARNING, "    if contradiction:\n", "    if False:\n",
        "test_learning.py::TestContradictions::test_p3_h33_they_are_reported_and_change_nothing",
    ),
    _guard(
        "R16, H32", source.LEARN, "verified=False, token=lease.token", "token=lease.token",
        "test_learning.py::TestLearning::test_r16_h32_what_was_learnt_is_a_hint",
    ),
    _guard(
        "P4", source.LEARN, "refused if emails.get(at) in erased else lesson for", "lesson for",
        "test_learning.py::TestContradictions::test_an_erased_customer_is_not_learnt",
    ),
    _guard(
        "P4, H33", source.LEARN, ", token=lease.token)", ")",
        "test_learning.py::TestLearning::test_a_page_of_a_hundred_is_a_request",
    ),
    _guard(
        "H34", source.RESOLVING,
        "        yield from refresh(call, in_the_way)\n        return None\n", "        pass\n",
        "test_learning.py::TestLearning::test_h34_a_hint_that_is_wrong_gives_way",
    ),
    _guard(
        "H6", source.LEARN, "            yield from finish_intent(call, lease)\n", "            return None\n",
        "test_learning.py::TestContradictions::test_h6_an_expired_lease_is_finished_first",
    ),
    _guard(
        "rows of files", source.FILE_ROWS, "reader = csv.reader(lines, delimiter=delimiter, strict=True)",
        "reader = csv.reader(lines, delimiter=delimiter)",
        "cli/test_cli_imports.py::test_each_bad_row_costs_one_row_and_has_its_sentence",
    ),
    _guard(
        "R1", source.FILE_ROWS, 'with --encoding" if is_guess else ""',
        'with --encoding" if False else ""',
        "cli/test_cli_imports.py::test_a_guessed_encoding_names_no_customer",
    ),
    _guard(
        "P8", source.ADDRESSES, "@lru_cache(maxsize=8192)", "@lru_cache(maxsize=None)",
        "test_identity.py::test_p8_what_is_remembered_of_addresses_is_bounded",
    ),
    _guard(
        "R1", source.ADDRESSES, r"(?:\.{_ATOM})*)@", r"\.?)@",
        "test_addresses.py::test_each_odd_part_is_read_as_by_email_validator",
    ),
    _guard(
        "R18", source.GIVING,
        "    if withdrawn is None:\n        return", "    if True:\n        return",
        "consent/test_withdrawn.py::TestByLink::test_it_is_not_lifted_unasked",
    ),
    _guard(
        "R18", source.GIVING,
        "if profile is own or (is_ghost and", "if profile is own or (False and",
        "consent/test_withdrawn.py::TestOnAGhost::test_what_it_withdrew_the_person_withdrew",
    ),
    _guard(
        "R18, H29", source.GIVING,
        "    request = _request(intent)\n", "    request = _request(intent, own=own, phone_number=phone_number)\n",
        "consent/test_subscribe.py::TestOne::test_r18_a_customer_of_nobody_knows_yet",
    ),
    _guard(
        "R18", source.CONSENT_RULES,
        "return is_stop or withdrawn.reason in _FOR_GOOD", "return withdrawn.reason in _FOR_GOOD",
        "consent/test_withdrawn.py::TestForGood::test_a_stop_by_text_message",
    ),
    _guard(
        "R18", source.CONSENT_RULES,
        "if agreement.historical or _is_for_good(withdrawn) or withdrawn.at is None:\n        return False",
        "if _is_for_good(withdrawn) or withdrawn.at is None:\n        return False",
        "consent/test_withdrawn.py::TestByLink::test_no_history_lifts_it",
    ),
    _guard(
        "R18", source.CONSENT_RULES,
        "is not None and min(agreement.consented_at, asked_at) > withdrawn.at", "is not None",
        "consent/test_withdrawn.py::TestByLink::test_an_older_consent_does_not",
    ),
    _guard(
        "R18", source.CONSENT_RULES,
        "return is_stop or withdrawn.reason in _FOR_GOOD", "return is_stop",
        "consent/test_withdrawn.py::TestForGood::test_no_date_outweighs_it",
    ),
    _guard(
        "R18", source.CONSENT_RULES,
        "return subscribed and not withdrawals(profile, wanted)", "return subscribed",
        "consent/test_withdrawn.py::TestForGood::test_no_date_outweighs_it",
    ),
    _guard(
        "R18, H30", source.CONSENT_RULES,
        "else withdrawn.at < asked_at", "else True",
        "consent/test_withdrawn.py::TestWhileItGoesOn::test_h30_a_withdrawal_after_the_call",
    ),
    _guard(
        "R18, H30", source.GIVING,
        "yield from _readable(call, intent, is_first=False)", "yield from ()",
        "consent/test_consent_traces.py::TestH30::test_h30_before_the_repeat_of_a_lost_request",
    ),
    _guard(
        "R18, H30", source.GIVING,
        "    if not channels:\n        return False", "    if True:\n        return False",
        "consent/test_consent_traces.py::TestH30::test_h30_before_klaviyo_carries_it_out",
    ),
    _guard(
        "R18, H30", source.GIVING,
        "        keys=intent.keys,\n        external_ids=()", "        external_ids=()",
        "consent/test_consent_traces.py::TestH30::test_h30_before_klaviyo_carries_it_out",
    ),
    _guard(
        "R18, H30", source.GIVING,
        "if main or not (yield from _withdraw_again(call, lease, intent)):", "if True:",
        "consent/test_consent_traces.py::TestH30::test_h30_in_an_intent_that_was_left",
    ),
    _guard(
        "R18, H30", source.GIVING,
        'intent)):\n            return "completed"', 'intent)):\n            return "accepted"',
        "consent/test_consent_traces.py::TestH30::test_h30_another_consent_does_not_go_on_beside",
    ),
    _guard(
        "R18", source.GIVING,
        'reason = USER_SUPPRESSED if pending.verb == "suppress" else BY_API', "reason = None",
        "consent/test_pending_withdrawals.py::TestGiving::test_r18_a_newer_consent_lifts_it",
    ),
    _guard(
        "R18", source.SUBSCRIBE,
        "        yield from _check_number(call, claim)", "        pass",
        "consent/test_subscribe.py::TestSeveralChannels::test_r18_all_or_none_without_a_number",
    ),
    _guard(
        "R19", source.WITHDRAWING,
        "    names = [Identifier(Kind.EMAIL, email) for email in intent.emails]", "    names: list[Identifier] = []",
        "consent/test_unsubscribe.py::TestReach::test_r19_every_former_address",
    ),
    _guard(
        "R19", source.WITHDRAWING,
        "profile.external_id in {None, *intent.external_ids}", "True",
        "consent/test_unsubscribe.py::TestReach::test_r19_a_former_address_of_which_only_klaviyo_knows_the_owner",
    ),
    _guard(
        "R19", source.WITHDRAWING,
        "is_spared = bool(addressees) and intent.list_id is not None", "is_spared = False",
        "consent/test_unsubscribe.py::TestLists::test_r19_who_is_not_in_it_is_left_alone",
    ),
    _guard(
        "R19", source.WITHDRAWING,
        "        still = [each for each in _unsent(intent, fresh) if each in some]", "        still = some",
        "consent/test_unsubscribe.py::TestFailures::test_a_ghost_that_goes_before_a_repeat",
    ),
    _guard(
        "R19", source.CONSENT_RULES,
        "    return not channel_consent(profile, channel).can_receive",
        '    return channel_consent(profile, channel).status != "subscribed"',
        "consent/test_unsubscribe.py::TestReach::test_a_profile_that_was_never_subscribed",
    ),
    _guard(
        "R19", source.UNSUBSCRIBE,
        "            yield from _write_down(call, wanted, person)", "            pass",
        "consent/test_unsubscribe.py::TestReach::test_it_is_in_the_journal",
    ),
    _guard(
        "R19", source.UNSUBSCRIBE,
        "        yield from withdraw_without_map(call, _intent(wanted, _Person()))", "        pass",
        "consent/test_without_map.py::test_r19_the_identifier_given",
    ),
    _guard(
        "R19, H26", source.WITHDRAWING,
        "        yield from keep_open(call, lease, intent)", "        yield from release(call, lease)",
        "consent/test_consent_traces.py::test_h26_an_address_that_changes_after_a_withdrawal",
    ),
    _guard(
        "R19, H27", source.INTENTS,
        "return replace(self, forced=True)", "return self",
        "consent/test_open_intents.py::TestBeside::test_a_withdrawal_never_waits_for_a_consent",
    ),
    _guard(
        "R19, H27", source.WITHDRAWING,
        "(intent.forced or is_suppressed(profile)", "(is_suppressed(profile)",
        "consent/test_open_intents.py::TestBeside::test_h27_a_suppression_beside_a_consent",
    ),
    _guard(
        "R19, H28", source.UNSUBSCRIBE,
        "        yield from note_withdrawal(call, wanted.claim, entry, wanted.asked_at)", "        pass",
        "consent/test_unsubscribe.py::TestReach::test_h28_it_is_kept_where_nobody_was_found",
    ),
    _guard(
        "R19, H28", source.PENDING,
        "[*kept, made]", "[made]",
        "consent/test_pending_withdrawals.py::test_one_beside_another",
    ),
    _guard(
        "R19", source.INTENTS,
        "accepted_at=pending.accepted_at, asked=pending.asked, sent=pending.sent)", "asked=pending.asked)",
        "consent/test_open_intents.py::TestBeside::test_the_same_again_asks_for_nothing",
    ),
    _guard(
        "R19", source.WITHDRAWING,
        "accepted_at=None, forced=False, sent=())", "accepted_at=None, sent=())",
        "consent/test_open_intents.py::TestBeside::test_a_withdrawal_never_waits_for_a_consent",
    ),
    _guard(
        "R19", source.WITHDRAWING,
        "accepted_at=None, forced=False, sent=())", "accepted_at=None, forced=False)",
        "consent/test_open_intents.py::TestBeside::test_r19_what_klaviyo_never_carried_out_is_asked_for_again",
    ),
    _guard(
        "R19", source.WITHDRAWING,
        "if _word(channel, each) not in intent.sent", "if True",
        "consent/test_open_intents.py::TestBeside::test_r19_a_wider_one_does_not_ask_twice_for_the_same",
    ),
    _guard(
        "R19, H27", source.INTENTS,
        "if joined.forced and not pending.forced:", "if False:",
        "consent/test_open_intents.py::TestBeside::test_h27_one_after_a_consent_is_asked_for_anew",
    ),
    _guard(
        "R18", source.GIVING,
        "if main and (intent.awaited or was_subscribed", "if main and (was_subscribed",
        "consent/test_subscribe.py::TestOne::test_a_second_consent_within_half_an_hour",
    ),
    _guard(
        "R18", source.CONSENT_RULES,
        "(_stamp(each.changed_at) or 0.0) > since", "False",
        "consent/test_subscribe.py::TestOne::test_a_second_consent_within_half_an_hour",
    ),
    _guard(
        "H30", source.GIVING,
        "        return withdrawn_in(read_event_names(response), channels)", "        return ()",
        "consent/test_consent_events.py::test_h30_who_leaves_before_klaviyo_carries_it_out",
    ),
    _guard(
        "R18, H30", source.INTENTS,
        "return self.asked_at if self.written_at is None else self.written_at", "return self.asked_at",
        "consent/test_withdrawn.py::TestWrittenDown::test_h30_a_withdrawal_since_stays",
    ),
    _guard(
        "R18, H30", source.CONSENT_RULES,
        "min(agreement.consented_at, asked_at) > withdrawn.at", "agreement.consented_at > withdrawn.at",
        "consent/test_withdrawn.py::TestWrittenDown::test_h30_a_withdrawal_since_stays",
    ),
    _guard(
        "R18, H30", source.GIVING,
        "is_first=main and intent.written_at is None)", "is_first=main)",
        "consent/test_withdrawn.py::TestWrittenDown::test_h30_a_withdrawal_of_which_klaviyo_gives_no_time",
    ),
    _guard(
        "R18, H30", source.GIVING,
        "    if intent.written_at is not None:\n", "    if False:\n",
        "consent/test_withdrawn.py::TestWrittenDown::test_h30_a_withdrawal_that_klaviyo_does_not_show",
    ),
    _guard(
        "R19, H36", source.LIVING,
        "                yield from carry_doubt(call, bindings[0], after)", "                pass",
        "consent/test_unsubscribe.py::TestReach::test_a_profile_that_is_gone",
    ),
    _guard(
        "R13", source.CONSENT_RULES,
        'fields.get("verb") in _CONSENT_VERBS or', "False or",
        "consent/test_open_intents.py::TestBeside::test_warm_calls_do_not_wait",
    ),
    _guard(
        "audit", source.AUDIT, "missing |= _each_of(_OF_IDS, _NO_ID)", "pass",
        "audit/test_audit.py::TestChecked::test_what_the_data_cannot_show_is_not_checked",
    ),
    _guard(
        "audit", source.AUDIT, "table.leave()", "table.close()",
        "audit/test_audit.py::TestAccount::test_an_interrupted_audit_is_gone_on_with",
    ),
    _guard(
        "audit", source.AUDIT_TABLE, "            self._keep_one(profile_id)\n", "            pass\n",
        "audit/test_audit.py::TestPairs::test_a_profile_that_an_export_has_twice_counts_once",
    ),
    _guard(
        "P3", source.AUDIT_JUDGEMENT,
        "if not is_one and not _may_be_one_name(one.first_name, two.first_name):", "if False:",
        "audit/test_audit.py::TestDoubt::test_why_two_of_one_address_are_not_merged",
    ),
    _guard(
        "P3", source.AUDIT_JUDGEMENT, "            return THIRD", '            return ""',
        "audit/test_audit.py::TestDoubt::test_one_id_and_the_address_of_another",
    ),
    _guard(
        "P3", source.AUDIT_JUDGEMENT, "                return OTHERS_EMAIL", '                return ""',
        "audit/test_audit.py::TestDoubt::test_the_map",
    ),
    _guard(
        "P3", source.AUDIT_JUDGEMENT,
        "if customer is not None and customer.mail is not None and customer.mail != into.mail:", "if False:",
        "audit/test_audit.py::TestDoubt::test_the_map",
    ),
    _guard(
        "consent", source.AUDIT_JUDGEMENT, 'if given == "subscribed" and kept != "subscribed":', "if False:",
        "audit/test_audit.py::TestDoubt::test_why_two_of_one_address_are_not_merged",
    ),
    _guard(
        "consent", source.AUDIT_JUDGEMENT, 'if kept == "subscribed" and given in _REFUSING:', "if False:",
        "audit/test_audit.py::TestDoubt::test_why_two_of_one_address_are_not_merged",
    ),
    _guard(
        "P3", source.AUDIT_PLAN, "if source in doubtful or source in ending", "if source in ending",
        "audit/test_audit.py::TestDoubt::test_a_profile_for_which_two_could_stay",
    ),
    _guard(
        "P3", source.AUDIT_PLAN, "or source in staying or stays in ending:", "or source in staying:",
        "audit/test_audit.py::TestDoubt::test_a_chain_is_done_link_by_link",
    ),
    _guard(
        "P3", source.AUDIT_PLAN, "if each.source.profile_id in stays:", "if False:",
        "audit/test_repair.py::TestPlans::test_merges_that_contradict_each_other_are_refused",
    ),
    _guard(
        "P3", source.AUDIT_REPAIR, "_changed(planned, source, into) or ", "",
        "audit/test_repair.py::TestPassedOver::test_what_has_changed_since_the_audit",
    ),
    _guard(
        "consent", source.AUDIT_REPAIR,
        "cost = consent_cost(row_of_profile(source), row_of_profile(into))", 'cost = ""',
        "audit/test_repair.py::TestPassedOver::test_a_consent_that_the_plan_does_not_know",
    ),
    _guard(
        "P7", source.AUDIT_REPAIR, "        journal.begin(source, into)\n", "",
        "audit/test_repair.py::TestApply::test_the_journal_has_both_before_the_merge_is_sent",
    ),
    _guard(
        "P7", source.AUDIT_REPAIR, "if before in FINAL:", "if False:",
        "audit/test_repair.py::TestApply::test_a_second_run_does_nothing",
    ),
    _guard(
        "P7", source.AUDIT_REPAIR, 'if before != "begun" or self._journal is None:', "if True:",
        "audit/test_repair.py::TestInterrupted::test_an_answer_that_was_lost_ends_the_run_and_the_next_goes_on",
    ),
    _guard(
        "P4", source.AUDIT_JOURNAL, "fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass",
        "audit/test_repair.py::TestJournals::test_two_runs_never_share_one",
    ),
    _guard(
        "P3", source.AUDIT_JOURNAL, 'if head.get("account") != account:', "if False:",
        "audit/test_repair.py::TestJournals::test_a_journal_of_another_account_is_not_written_to",
    ),
    _guard(
        "P3", source.MERGE_PLAN, "return source.email is None and into", "return into",
        "identity/test_merge_halves.py::test_otherwise_they_are_two",
    ),
    _guard(
        "P3", source.MERGE_PLAN, "email_of(into) == owner.email is not None", "True",
        "identity/test_merge_halves.py::test_a_half_of_which_the_map_has_another_email_is_left",
    ),
    _guard(
        "outbox", source.OUTBOX_OWN, "if _is_in(each, of_django) or not _is_in(each, shared)", "",
        "outbox/test_outbox_own_transactions.py::test_unknown",
    ),
    _guard(
        "R4", source.MERGE_VERB, "planned.into.external_id or planned.source.external_id", "planned.into.external_id",
        "identity/test_merge_halves.py::test_an_id_that_did_not_come_with_the_merge_is_written_by_the_next_call",
    ),
    _guard(
        "R4", source.MERGE, "if lease is not None and _has_lost_its_id(intent, survivor, owner):", "if False:",
        "identity/test_merge_halves.py::test_an_id_that_did_not_come_with_the_merge_is_written_by_the_next_call",
    ),
    _guard(
        "H12", source.OUTBOX_WORDS,
        " AND EXISTS(SELECT 1 FROM {lane} AS held WHERE held.account = ? AND held.lane = ? AND held.token = ?)",
        " AND (? <> '' OR ? > -1 OR ? > -1)",
        "outbox/test_outbox_traces.py::TestH12::test_a_token_that_was_overtaken",
    ),
    _guard(
        "H12", source.OUTBOX_SCHEMA,
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "INTEGER PRIMARY KEY",
        "outbox/test_outbox_traces.py::TestH12::test_ids_never_come_again",
    ),
    _guard(
        "H13", source.OUTBOX_CARRY,
        "    if row.profile is None:\n        return None",
        "    if True:\n        return None",
        "outbox/test_outbox_traces.py::TestH13H14::test_an_address_that_has_gone_to_another",
    ),
    _guard(
        "H13", source.OUTBOX_INSERT,
        "each.retired_at is None and each.binding.key == owner.key for", "each.retired_at is None for",
        "outbox/test_outbox_inserts.py::test_h13_two_customers_fix_nothing",
    ),
    _guard(
        "R5", source.OUTBOX_INSERT,
        "each.retired_at is None and each.binding.key == owner.key for", "each.binding.key == owner.key for",
        "outbox/test_outbox_inserts.py::test_h13_a_former_address_is_for_the_rules",
    ),
    _guard(
        "R13", source.OUTBOX_INSERT, "if found.lease is not None or", "if",
        "outbox/test_outbox_inserts.py::test_r13_a_customer_under_a_lease_is_not_fixed",
    ),
    _guard(
        "H13", source.OUTBOX_AT_ONCE, "each.translate(_QUOTED)", "each",
        "outbox/test_outbox_connections.py::test_quotes_postgres",
    ),
    _guard(
        "outbox", source.OUTBOX_DRAIN, "    return tally.done\n",
        "    yield from CountLeft(call.account)\n    return tally.done\n",
        "worker/test_worker.py::TestRunning::test_a_drain_does_not_count_what_is_left",
    ),
    _guard(
        "H23", source.WORKING, "self.dropped += done.dropped", "self.dropped += 0",
        "worker/test_worker.py::TestRunning::test_h23_it_says_how_many_rows_of_erased_customers_it_has_dropped",
    ),
    _guard(
        "outbox", source.OUTBOX_CALLERS,
        "if using is not None and connection.__class__ is kind:", "if using is not None:",
        "outbox/test_outbox_connections.py::test_proxies",
    ),
    _guard(
        "H16", source.OUTBOX_GOING,
        "                _hold(holding, row.names, row.id)\n            elif len(found)",
        "                pass\n            elif len(found)",
        "outbox/test_outbox_traces.py::TestH16::test_a_row_that_waits_holds_back_its_person",
    ),
    _guard(
        "H17", source.OUTBOX_GOING,
        "if len(part) < max(PAGE, call.limit):",
        "if True:",
        "outbox/test_outbox_traces.py::TestH17::test_more_rows_than_are_read_at_once",
    ),
    _guard(
        "H18", source.OUTBOX_GOING,
        "yield from _hold_by_others(holding, names, call.lane)",
        "yield from ()",
        "outbox/test_outbox_traces.py::TestH18::test_other_lanes",
    ),
    _guard(
        "H18", source.OUTBOX_GOING,
        "    behind = yield from _behind(call, added, frozenset(ids))",
        "    behind: frozenset[int] = frozenset()",
        "outbox/test_outbox_traces.py::TestH18::test_a_guest_who_signs_up_while_rows_wait",
    ),
    _guard(
        "H20", source.OUTBOX_DRAIN,
        "if not again or again[0].id in seen:",
        "if True:",
        "outbox/test_outbox_schedules.py::test_h20",
    ),
    _guard(
        "H21", source.OUTBOX_CARRY,
        "if last is not None and last > row.at:",
        "if False:",
        "outbox/test_outbox_traces.py::TestH21::test_a_queued_change_that_a_direct_one_overtakes",
    ),
    _guard(
        "H22", source.OUTBOX_GOING,
        "CHANGING + name in changing for",
        "False for",
        "outbox/test_outbox_traces.py::TestH22::test_events_before_a_change",
    ),
    _guard(
        "R15, lessons before an enforced call", source.GUARDS_CORE,
        "        self.finish_lessons()\n", "",
        "guard/test_guard_learning.py::test_r15_an_event_right_after_an_observed_change_puts_nothing_back",
    ),
    _guard(
        "R15, the same awaited", source.GUARDS_ASYNC_CORE,
        "if self._tasks:\n", "if False:\n",
        "guard/test_guard_hooks.py::test_r15_awaited_an_event_right_after_an_observed_change",
    ),
    _guard(
        "H23", source.RECHECK_CONSENT,
        "return not erased\n", "return True\n",
        "consent/test_consent_traces.py::test_h23_an_event_that_lands_after_an_erasure",
    ),
    _guard(
        "H23", source.ERASING,
        "yield from forget_rows(call, sorted(names - others))",
        "yield from ()",
        "outbox/test_outbox_traces.py::TestH23::test_erase",
    ),
    _guard(
        "H18", source.OUTBOX_AT_ONCE, "IS DISTINCT FROM known.{kind} THEN", "IS NOT DISTINCT FROM known.{kind} THEN",
        "outbox/test_outbox_connections.py::test_names_postgres[named1]",
    ),
    _guard(
        "H24", source.OUTBOX_DRAIN,
        "elif error.may_retry and (",
        "elif False and (",
        "outbox/test_outbox_traces.py::TestH24::test_an_order_before_its_sign_up",
    ),
    _guard(
        "H24", source.OUTBOX_CARRY,
        "        if whole is not None:\n", "        if False:\n",
        "outbox/test_outbox.py::test_a_sign_up_that_is_queued_says_whose_the_id_is",
    ),
    _guard(
        "H24", source.OUTBOX_CARRY,
        'if later.verb == "change_email":', "if False:",
        "outbox/test_outbox.py::test_what_does_not_say_whose_the_id_is",
    ),
    _guard(
        "H24", source.OUTBOX_CARRY,
        "with suppress(IdentityError):", "with suppress():",
        "outbox/test_outbox.py::test_what_does_not_say_whose_the_id_is",
    ),
    _guard(
        "H25", source.MERGE,
        "    yield from check_none_in_hand(call, source_id, source_email)\n",
        "    yield from ()\n",
        "outbox/test_outbox_traces.py::TestH25::test_a_merge_while_a_row_is_in_hand",
    ),
    _guard(
        "R13", source.RESOLVING,
        "if (yield from is_reserved(call, claim)):",
        "if False:",
        "outbox/test_outbox_traces.py::TestReserved::test_a_direct_call_with_the_new_address",
    ),
    _guard(
        "R14", source.DIAGNOSIS_PEOPLE, "last, who = claims[index - 1]", "last, who = claims[0]",
        "diagnosis/test_causes.py::TestNoSecondProfile::test_address_that_goes_to_another_customer",
    ),
    _guard(
        "diagnosis", source.DIAGNOSIS_RESULT, "    if cause.before:\n", "    if False:\n",
        "diagnosis/test_causes.py::TestEvidence::test_sign_up_before_the_log_begins",
    ),
    _guard(
        "diagnosis", source.DIAGNOSIS_CAUSES, "if needs.told and not needs.told & replay.done:", "if False:",
        "diagnosis/test_causes.py::TestPlanted::test_is_found_and_explained",
    ),
    _guard(
        "diagnosis", source.DIAGNOSIS_EVIDENCE,
        "return shown.email is None or had is None or shown.email.lower() in had", "return True",
        "diagnosis/test_causes.py::TestEvidence::test_the_history_that_tracked_right",
    ),
    _guard(
        "diagnosis", source.DIAGNOSIS_HISTORIES,
        "return not operations & UNDOING and _keyed_apart(parts, first, second)", "return False",
        "diagnosis/test_causes.py::TestEvidence::test_the_history_that_duplicated",
    ),
    _guard(
        "diagnosis", source.DIAGNOSIS_RESULT, "    if unread:\n", "    if False:\n",
        "diagnosis/test_logs.py::TestHar::test_a_body_that_cannot_be_read_is_said",
    ),
    _guard(
        "diagnosis", source.DIAGNOSIS_LOGS, "if call.account == chosen:", "if True:",
        "diagnosis/test_logs.py::TestHar::test_another_accounts_calls_are_not_mixed_in",
    ),
    _guard(
        "P8", source.DIAGNOSIS_HAR, "hashlib.sha256(secret.encode()).hexdigest()[:16]", "secret",
        "diagnosis/test_logs.py::TestHar::test_no_header_is_kept",
    ),
    _guard(
        "P8", source.DIAGNOSIS_CALLS, '"{id}" if _ODD.search(part) else part', "part",
        "diagnosis/test_logs.py::TestHar::test_no_path_shows_an_address",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """A process in which tests run, each time with another change."""
    process = Warm()
    yield process
    process.close()


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.keeps}-{guard.module}")
def test_without_the_safeguard_its_test_fails(guard: Guard, warm: Warm) -> None:
    """Each safeguard is noticed when it is gone: by one test, which fails then and passes otherwise."""
    path = source.PACKAGE / guard.module
    text = path.read_text()
    assert 1 == text.count(guard.old), f"{guard.module} has changed: this row has to be written anew"
    changed = text.replace(guard.old, guard.new)
    compile(changed, guard.module, "exec")
    ended = warm.run(*NARROWED, named(guard.test), change=Change(source.dotted(guard.module), str(path), changed))
    assert 1 == ended.code, ended.output[-2000:]
    assert " failed" in ended.output


@pytest.mark.slow
def test_with_all_safeguards_the_tests_pass(warm: Warm) -> None:
    """The tests of the table pass as the code stands, so that what they notice is what was taken away."""
    ended = warm.run(*NARROWED, *sorted({named(guard.test) for guard in GUARDS}))
    assert 0 == ended.code, ended.output[-2000:]


def named(test: str) -> str:
    """Return a test's name as pytest takes it."""
    return str(ROOT / "tests" / test)
