"""What is decided about a claim: by what the map knows (the rules), and by what Klaviyo's answers prove."""

from safeklaviyo._evidence import (
    Placement,
    ambiguous,
    compare,
    drift,
    email_of,
    has_email,
    other_with,
    owner_of_external_id,
    place,
    taken,
    unexplained,
)
from safeklaviyo._rules import claim_from, decide, refusal, speaks

__all__ = [
    "Placement",
    "ambiguous",
    "claim_from",
    "compare",
    "decide",
    "drift",
    "email_of",
    "has_email",
    "other_with",
    "owner_of_external_id",
    "place",
    "refusal",
    "speaks",
    "taken",
    "unexplained",
]
