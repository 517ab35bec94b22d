"""What is decided about a claim: by what the map knows (the rules), and by what Klaviyo's answers prove."""

from safeklaviyo._rules.additions import BUSY, contradiction, former_conflict, names_of, why_refused
from safeklaviyo._rules.claims import (
    claim_from,
    decide,
    decide_unknown_id,
    is_sent_at_once,
    refusal,
    still_resolves,
)
from safeklaviyo._rules.conflicts import (
    ambiguity_error,
    drift_error,
    other_with,
    taken_error,
    unexplained_conflict,
)
from safeklaviyo._rules.evidence import ContactStep, compare, contact_step, decide_mismatch, owner_of_external_id
from safeklaviyo._rules.shown import differences, email_of, has_email

__all__ = [
    "BUSY",
    "ContactStep",
    "ambiguity_error",
    "claim_from",
    "compare",
    "contact_step",
    "contradiction",
    "decide",
    "decide_mismatch",
    "decide_unknown_id",
    "differences",
    "drift_error",
    "email_of",
    "former_conflict",
    "has_email",
    "is_sent_at_once",
    "names_of",
    "other_with",
    "owner_of_external_id",
    "refusal",
    "still_resolves",
    "taken_error",
    "unexplained_conflict",
    "why_refused",
]
