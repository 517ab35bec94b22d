"""The words of the report page: what each kind of finding is called, what it means, and what to do first."""

from __future__ import annotations

from typing import Final

TITLES: Final = {
    "A1": "An id without an email",
    "A2": "One email in two spellings",
    "A3": "One customer id on two profiles",
    "A4": "One phone number on two profiles",
    "A5": "A live profile on a former address",
    "A6": "The identity map and Klaviyo disagree",
    "A7": "A second profile of a customer, by email alone",
    "A8": "Addresses that differ by a dot or a plus sign",
    "A9": "A placeholder in place of an identifier",
}
MEANINGS: Final = {
    "A1": "Something called Klaviyo with the shop's id alone. The next call with the email makes a second profile.",
    "A2": "Both profiles have the same address, written differently. They get every campaign twice.",
    "A3": "Two profiles carry one id of the shop. Events and properties of one customer are split between them.",
    "A4": "Families and colleagues share numbers, so these are shown and never merged.",
    "A5": "The customer has another address now, and something still uses the old one. A withdrawal on one does "
    "not reach the other.",
    "A6": "The profile that the map has for a customer shows another id or address, or is gone. The next call about "
    "the customer would be refused or repaired.",
    "A7": "The customer has a profile with the id, and another one with the address alone.",
    "A8": "To some mail providers these are one mailbox, to others two people. They are shown and never merged.",
    "A9": "Text such as null or undefined was sent as an identifier. Different people end up on one profile.",
}
FIRST_STEPS: Final = (
    (
        frozenset({"A9"}),
        "Find what sends placeholders (A9). Until it stops, strangers share one profile, and no merge can part them.",
    ),
    (
        frozenset({"A1", "A3", "A7"}),
        (
            "Stop what makes new duplicates before you merge the old ones: calls that name a customer by id or by "
            "email alone. Send them through safeklaviyo, or put safeklaviyo.guard in front of them."
        ),
    ),
    (
        frozenset({"A5"}),
        "Look at former addresses that still get mail (A5): a customer's withdrawal does not reach all of them.",
    ),
    (
        frozenset({"A6"}),
        "Settle where map and Klaviyo disagree (A6) with safeklaviyo explain, one customer at a time.",
    ),
)
"""What to do if one of these kinds was found, the most urgent first."""
