"""Whether a row of many contradicts the map, and how many such rows say that the file is wrong (R19). Pure functions.

One withdrawal is carried out for everyone whom its identifiers name. In a file, rows with other customers' addresses
would unsubscribe people who have not asked for it. A file with a column that has slipped has thousands of such rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeklaviyo._rules.claims import decide, refusal
from safeklaviyo.errors import IdentityError

if TYPE_CHECKING:
    from safeklaviyo.identity import Claim
    from safeklaviyo.policy import Policy
    from safeklaviyo.stores.base import Found

_SHARE: Final = 100
"""One row of so many may contradict."""


def contradiction(claim: Claim, found: Found, policy: Policy) -> IdentityError | None:
    """Return the refusal of a pair that the map knows to be of different customers, or with another address.

    A former identifier is the customer's own, and no contradiction; nor is a customer whom the map does not know.
    """
    if claim.external_id is None or claim.email is None:
        return None
    strict = policy.model_copy(update={"retired": "rewrite", "email_mismatch": "refuse"})
    decision = decide(claim, found, strict, needs_profile=False)
    return refusal(decision) if decision.action == "refuse" else None


def are_too_many(contradicting: int, total: int) -> bool:
    """Tell whether so many contradicting rows say that the whole file is wrong; one row alone never does."""
    return contradicting > 1 and contradicting * _SHARE > total


def wrong_file(contradicting: int, total: int) -> IdentityError:
    """Return the error for a file of which nothing is sent."""
    return IdentityError(
        f"{contradicting} of the first {total} rows contradict the identity map, so nothing was sent: check that the "
        "external_id and the email in each row are of one customer, or give only one of them",
        rule="R19",
    )
