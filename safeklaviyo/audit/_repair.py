"""`repair`: the merges of a plan, one after the other. Both profiles are read again before each merge is sent.

Decided here: which merges of a plan still hold. A merge cannot be undone. So a merge is skipped and reported if a
profile has changed since the audit, or if a consent could be lost. The next audit judges it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from safeklaviyo._rules.merge_plan import planned_merge
from safeklaviyo.audit._account import surveyor
from safeklaviyo.audit._compared import row_of_profile
from safeklaviyo.audit._journal import FINAL, Journal
from safeklaviyo.audit._judgement import consent_cost
from safeklaviyo.audit._plan import RepairPlan, plan_from
from safeklaviyo.errors import (
    ConfigurationError,
    IdentityError,
    LeaseHeldError,
    NotFoundError,
    ProfileNotVisibleError,
    SafeKlaviyoError,
)
from safeklaviyo.identity import comparable_email
from safeklaviyo.models import Binding, Progress

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from safeklaviyo import Klaviyo
    from safeklaviyo.audit._finding import Shown
    from safeklaviyo.audit._plan import PlannedMerge
    from safeklaviyo.models import Profile

Status: TypeAlias = Literal["would_merge", "merged", "requested", "skipped"]


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The result of one merge of a plan.

    Attributes:
        source_id: The profile that ends.
        into_id: The profile that stays.
        rule: The rule of the finding, such as ``"A2"``.
        status: One of
            ``"would_merge"``: nothing speaks against the merge (a dry run);
            ``"merged"``: the source is gone;
            ``"requested"``: Klaviyo has accepted the merge, and not done it yet;
            ``"skipped"``: something speaks against the merge now, and no request was sent.
        reason: Why the merge was skipped, or that an earlier run has done it. Holds no personal data.
    """

    source_id: str
    into_id: str
    rule: str
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The result of a repair.

    Attributes:
        results: One for each merge, in the order of the plan.
        dry_run: No merge was sent, and no journal was written.
        journal: The file with both profiles of each merge, as they were before; None in a dry run.
    """

    results: tuple[RepairResult, ...]
    dry_run: bool
    journal: Path | None = None

    def count(self, status: Status) -> int:
        """Return how many merges have this status."""
        return sum(each.status == status for each in self.results)

    @property
    def merged(self) -> int:
        """How many merges are done."""
        return self.count("merged")

    @property
    def requested(self) -> int:
        """How many merges Klaviyo has accepted, and not done yet."""
        return self.count("requested")

    @property
    def skipped(self) -> int:
        """How many merges were skipped."""
        return self.count("skipped")


def repair(
    k: Klaviyo, plan: RepairPlan | str | os.PathLike[str], *, dry_run: bool = True,
    journal: str | os.PathLike[str] | None = None, on_progress: Callable[[Progress], object] | None = None,
) -> RepairReport:  # fmt: skip
    """Carry out the merges of a plan that still hold. Writes nothing unless ``dry_run=False``.

    Both profiles are read before each merge. A merge is skipped and reported if a profile has changed since the audit,
    if the rules of merges forbid it, or if it may cost a consent. After an interruption the same call goes on: the
    journal says which merges are done. The client's pace and its deadline hold for each merge.

    Args:
        k: The client of the account.
        plan: The plan, or the path of its file.
        dry_run: Read and judge only. A merge cannot be undone.
        journal: The file for both profiles as they were before, and for the result of each merge. Before a merge is
            sent, its line is on the disk. Without a name: the plan's file with ``.journal`` after its name, or a file
            in the user's state folder.
        on_progress: Called after each merge.

    Raises:
        ConfigurationError: The plan makes no sense, or is of another account; the message names the entry.
        OSError: The plan or the journal cannot be read or written.
        StoreError: The identity map cannot answer; `repair` can be called again.
        APIConnectionError: Klaviyo cannot be reached; `repair` can be called again.
        APIStatusError: Klaviyo refused; `repair` can be called again.
    """
    wanted = plan_from(plan)
    account = surveyor(k).account
    if wanted.account is not None and wanted.account != account:
        raise ConfigurationError("the plan is of another account than the client; nothing was written")
    if dry_run:
        report = _Run(k, None, on_progress, len(wanted.merges))
        return RepairReport(tuple(map(report.merge, wanted.merges)), dry_run=True)
    path = Path(journal) if journal is not None else _journal_of(plan, wanted, account)
    with Journal(path, account) as kept:
        report = _Run(k, kept, on_progress, len(wanted.merges))
        return RepairReport(tuple(map(report.merge, wanted.merges)), dry_run=False, journal=path)


def _journal_of(plan: RepairPlan | str | os.PathLike[str], wanted: RepairPlan, account: str) -> Path:
    if not isinstance(plan, RepairPlan):
        return Path(f"{Path(plan)}.journal")
    from platformdirs import user_state_path  # noqa: PLC0415 - as for the default map

    # The name depends on the plan alone, so that the same call finds the journal of an interrupted run.
    merges = "\n".join(f"{each.source.profile_id} {each.into.profile_id}" for each in wanted.merges)
    name = sha256(f"{account}\n{wanted.made_at}\n{merges}".encode()).hexdigest()[:16]
    return user_state_path("safeklaviyo", ensure_exists=True) / f"repair-{name}.journal"


class _Run:
    """One run over a plan.

    Args:
        k: The client.
        journal: The journal; None for a dry run.
        on_progress: Called after each merge; None if the caller wants no progress.
        total: How many merges the plan has.
    """

    def __init__(
        self, k: Klaviyo, journal: Journal | None, on_progress: Callable[[Progress], object] | None, total: int
    ) -> None:
        self._k = k
        self._journal = journal
        self._on_progress = on_progress
        self._total = total
        self._done = 0
        self._skipped = 0
        self._began_at = time.monotonic()

    def merge(self, planned: PlannedMerge) -> RepairResult:
        """Carry out one merge, or say why it is skipped.

        Raises:
            SafeKlaviyoError: The run cannot go on; `repair` can be called again.
        """
        source_id, into_id = planned.source.profile_id or "", planned.into.profile_id or ""
        try:
            status, reason = self._merge(planned, source_id, into_id)
        except LeaseHeldError as error:
            # Another call is writing about one customer. That does not stop the merges of all others.
            if error.outcome != "not_applied":
                raise
            status, reason = "skipped", "another call is writing about one of the two; run the repair again"
        result = RepairResult(source_id, into_id, planned.rule, status, reason)
        self._done += 1
        self._skipped += status == "skipped"
        if self._on_progress is not None:
            pace = self._done / max(time.monotonic() - self._began_at, 1e-9)
            left = (self._total - self._done) / pace
            self._on_progress(Progress(self._done, self._total, self._skipped, pace, left))
        return result

    def _merge(self, planned: PlannedMerge, source_id: str, into_id: str) -> tuple[Status, str]:
        before = None if self._journal is None else self._journal.state(source_id, into_id)
        # Step 1: believe the journal about merges that an earlier run has finished.
        if before in FINAL:
            return ("merged" if before == "merged" else "requested"), "an earlier run has done it"
        # Step 2: read both again. The audit may be weeks old.
        source, into = self._read(source_id), self._read(into_id)
        if into is None:
            return self._skip(before, source_id, into_id, "the profile that was to stay is no longer there")
        if source is None or source.id == into_id:
            return self._gone(before, source_id, into_id)
        reason = _changed(planned, source, into) or self._against(planned, source, into)
        if not reason and self._journal is not None:
            # Step 3: teach the map that two halves are one customer's (A7). Otherwise `profiles.merge` refuses them.
            reason = self._teach(planned)
        if reason:
            return self._skip(before, source_id, into_id, reason)
        return self._send(source, into)

    def _send(self, source: Profile, into: Profile) -> tuple[Status, str]:
        journal, source_id, into_id = self._journal, source.id, into.id
        if journal is None:
            return "would_merge", ""
        # Step 4: write both to the disk before the request is sent. Nothing else could say afterwards what they were.
        journal.begin(source, into)
        try:
            done = self._k.profiles.merge(source_id, into_id)
        except IdentityError as error:
            # The rules of merges refuse, or another call came in between. If the merge was sent, it may still be done.
            state: Literal["skipped", "requested"] = "skipped" if error.outcome == "not_applied" else "requested"
            journal.end(source_id, into_id, state, str(error))
            return state, str(error)
        except SafeKlaviyoError as error:
            # With another outcome the merge may be on its way. Its line stays "begun", and the next run reads both.
            if error.outcome == "not_applied":
                journal.end(source_id, into_id, "failed", type(error).__name__)
            raise
        status: Literal["merged", "requested"] = "merged" if done.status == "completed" else "requested"
        journal.end(source_id, into_id, status)
        return status, ""

    def _gone(self, before: str | None, source_id: str, into_id: str) -> tuple[Status, str]:
        """Conclude from a missing source: an earlier run has merged it before it was killed, or another program has."""
        if before != "begun" or self._journal is None:
            return "skipped", "the profile that was to end is no longer there"
        # The map may not know of the merge yet. The same call finishes the map, and sends no second merge.
        try:
            self._k.profiles.merge(source_id, into_id)
        except ProfileNotVisibleError:
            return "requested", "Klaviyo does not show the source now; run the repair again to finish the map"
        except (IdentityError, NotFoundError):
            pass  # the map is finished already, or contradicts the merge, which the next audit shows
        self._journal.end(source_id, into_id, "merged")
        return "merged", "an earlier run has done it"

    def _skip(self, before: str | None, source_id: str, into_id: str, reason: str) -> tuple[Status, str]:
        if self._journal is not None and before != "skipped":
            self._journal.end(source_id, into_id, "skipped", reason)
        return "skipped", reason

    def _read(self, profile_id: str) -> Profile | None:
        try:
            return self._k.profiles.get(profile_id, subscriptions=True)
        except NotFoundError:
            return None

    def _teach(self, planned: PlannedMerge) -> str:
        """Add the customer of the shop's own data to the map (A7); return why the map refuses, or an empty text."""
        pair = _pair(planned)
        if pair is None or self._k.bindings.get(external_id=pair.external_id) is not None:
            return ""
        report = self._k.bindings.add([{"external_id": pair.external_id, "email": pair.email}])
        return report.refused[0][1] if report.refused else ""

    def _against(self, planned: PlannedMerge, source: Profile, into: Profile) -> str:
        """Return what speaks against a merge of the two profiles as they are now; empty if nothing does."""
        cost = consent_cost(row_of_profile(source), row_of_profile(into))
        if cost:
            return cost
        # The map does not know this customer yet: the rules are asked as if it did, and step 3 teaches it.
        pair = _pair(planned)
        if pair is not None and self._k.bindings.get(external_id=pair.external_id) is None:
            plan = planned_merge(source, into, owner=pair)
        else:
            plan = self._k.profiles.plan_merge(source.id, into.id)
        if plan.obstacles:
            return plan.obstacles[0]
        return "" if plan.is_allowed else "the destination would become suppressed, as the source is"


def _pair(planned: PlannedMerge) -> Binding | None:
    """Return the customer of a merge of two halves (A7), as the plan names them; None for other merges."""
    bound = planned.binding
    if planned.rule != "A7" or bound is None or bound.external_id is None or bound.email is None:
        return None
    return Binding(bound.external_id, bound.email)


def _changed(planned: PlannedMerge, source: Profile, into: Profile) -> str:
    """Return which field has changed since the audit, as a reason; empty if none has."""
    for name, shown, now in (("source", planned.source, source), ("destination", planned.into, into)):
        field = _difference(shown, now)
        if field:
            return f"the {field} of the {name} is another one than the audit saw"
    return ""


def _difference(shown: Shown, now: Profile) -> str:
    row = row_of_profile(now)
    if _text(shown.external_id) != row.external_id:
        return "external id"
    if _mail(shown.email) != _mail(row.email):
        return "email"
    if _text(shown.phone_number) != row.phone_number:
        return "phone number"
    # An export may not say a consent. Then there is nothing to compare.
    for name, was, word in (("email consent", shown.consent, row.consent), ("SMS consent", shown.sms, row.sms)):
        if was not in {"unknown", word}:
            return name
    return ""


def _text(value: str | None) -> str | None:
    return value.strip() or None if value else None


def _mail(email: str | None) -> str | None:
    return None if _text(email) is None else comparable_email(email or "")
