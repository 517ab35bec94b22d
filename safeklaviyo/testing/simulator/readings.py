"""What Klaviyo has not confirmed: each field is a question, and its type has the answers that were seen or guessed.

A client has to be safe under every answer. The defaults are what Klaviyo documents, else what was recorded, else what
its users report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args, get_type_hints

from safeklaviyo.testing.simulator.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = {"any_limit": (None, 100), "external_ids_cut_at": (None, 64)}
"""Answers to the questions for a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings(Record):
    """One answer to each question.

    Attributes:
        email_case: How an address is stored and compared: in lower case, as it was sent but compared without its case,
            or as different addresses. Integrators report the first.
        external_id_unique_on_create: Creating a profile with another's external id is a conflict, as the error's text
            ("one of these identifiers") says; the recorded conflict was about an email. False: a second profile.
            ``"dropped"``: a profile without that external id and without names, as was recorded.
        external_ids_cut_at: The help centre says that longer ids are cut off at 64 characters, an integrator allows
            255. None: longer ones than 255 are refused.
        external_ids_shown: An external id that is the text of a number is answered as a text, as the schema says, or as
            a number, as was recorded.
        import_conflict: What Create or Update Profile answers to a profile id with another profile's email: 404 was
            reported, 409 is documented for conflicts.
        merged_id: What a merged profile's id leads to: to no profile, as the source is documented to be deleted, or to
            the destination, which an integrator saw for a while.
        merge_status: The recorded answer of Merge Profiles is 202, the schema says 201.
        merge_into_itself: The answer to merging a profile with itself; 202 does nothing. No source.
        merge_unknown: The answer to merging an unknown profile; 202 does nothing. No source.
        merge_deduplicates: Of two events with one key the merge keeps one. Documented is only that all are copied.
        merge_moves_keys: What the source's events were known by counts for the destination: the same unique id is a
            repetition there. No source.
        merged_event_names_source: The Merged Profile event says which profile it was.
        deletion_matches: Which profiles a deletion job deletes: those that match when it runs, or when it was asked.
        event_conflict: What becomes of a profile with one of an event's identifiers, if a higher-ranking identifier of
            the event belongs to another profile. The help centre: the profile is merged if it has that one identifier
            alone, else it stays.
        event_email_first: The email decides before the external id, as the developer documentation calls it the primary
            identifier. The help centre ranks the external id higher.
        event_replaces_email: An event that is matched by its external id or phone replaces an email that is there.
        deep_merge: Nested objects in a profile's properties are merged key by key, not replaced.
        unknown_fields: Fields that the schema does not name are refused, or ignored.
        revision_missing: The answer to a request without a revision; 200 takes the latest.
        revision_unknown: The answer to an unknown revision; 200 takes the latest.
        no_credentials: The code of the 401 for a request without a key; the first was seen by third parties only.
        subscribe_by_id: A subscription that names the profile by its id alone, without the email or phone number of the
            channel, is accepted, as the schema says ("will be used to perform the lookup"), or refused with 400.
        subscribe_pause: For how many seconds after a subscription job another one does nothing for the same profile. A
            guide says that a profile is in one such job each 30 minutes at most; no test has shown it.
        withdrawal_creates: A withdrawal or suppression by an address that no profile has creates a profile, as the
            reference says since 2026-10-15; no test has shown it.
        spam_report_unsubscribes: A spam report withdraws the consent too, and does not only suppress.
        consent_events: A change of consent is an event too ("Unsubscribed from Email Marketing"), which can be read.
            Klaviyo's help names these metrics; no recorded answer has them. Off by default, because tests count
            the events that a program sends.
        bulk_repeats: What a job of events does with a unique id that its profile and metric have already: the event is
            dropped, as the overview says, or the job is refused, as the field's description says, with a pointer to
            the row or without.
        any_limit: How many values a filter's ``any`` may have; None for no limit.
        earliest_year: Before which an event is refused: 2000 in the overview, 1990 in the schema.
        large_steady: Requests a minute in tier L: 750 in recorded headers, 700 in the guide.
        drops_test_addresses: Events of ``@example.com`` and ``@test.com`` are dropped in silence, as Klaviyo does. Off
            by default, because tests use such addresses.
        retired_status: How the retired Track, Identify and People endpoints answer; 410 is documented.
    """

    email_case: Literal["lowered", "kept", "distinct"] = "lowered"
    external_id_unique_on_create: Literal[True, False, "dropped"] = True
    external_ids_cut_at: int | None = None
    external_ids_shown: Literal["text", "number"] = "text"
    import_conflict: Literal[404, 409] = 404
    merged_id: Literal["missing", "alias"] = "missing"
    merge_status: Literal[201, 202] = 202
    merge_into_itself: Literal[202, 400, 404] = 400
    merge_unknown: Literal[202, 400, 404] = 404
    merge_deduplicates: bool = False
    merge_moves_keys: bool = True
    merged_event_names_source: bool = False
    deletion_matches: Literal["when_run", "when_asked"] = "when_run"
    event_conflict: Literal["merge_alone", "merge", "keep"] = "merge_alone"
    event_email_first: bool = False
    event_replaces_email: bool = True
    deep_merge: bool = False
    unknown_fields: Literal["refused", "ignored"] = "refused"
    revision_missing: Literal[200, 400] = 200
    revision_unknown: Literal[200, 400] = 400
    no_credentials: Literal["not_authenticated", "authentication_failed"] = "not_authenticated"
    subscribe_by_id: Literal[202, 400] = 202
    subscribe_pause: Literal[0, 1800] = 0
    withdrawal_creates: bool = True
    spam_report_unsubscribes: bool = False
    consent_events: bool = False
    bulk_repeats: Literal["dropped", "refused", "refused_without_pointer"] = "dropped"
    any_limit: int | None = None
    earliest_year: Literal[1990, 2000] = 2000
    large_steady: Literal[700, 750] = 750
    drops_test_addresses: bool = False
    retired_status: Literal[404, 410] = 410

    @classmethod
    def each(cls) -> Iterator[Readings]:
        """Yield the default reading, and every one that answers one question otherwise."""
        usual = cls()
        yield usual
        for name, kind in get_type_hints(cls).items():
            for answer in _NUMBERS.get(name) or get_args(kind) or (False, True):
                if answer != getattr(usual, name):
                    yield replace(usual, **{name: answer})
