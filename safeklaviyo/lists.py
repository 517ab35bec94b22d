"""Klaviyo's mailing lists, as `Klaviyo.lists` returns them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailingList:
    """A list.

    Attributes:
        id: Klaviyo's id of the list.
        name: Its name.
        opt_in_process: ``"single_opt_in"``; or ``"double_opt_in"``: whom `subscribe` adds is asked to confirm first.
    """

    id: str
    name: str
    opt_in_process: str
