"""What holds after every test of an operation, whatever it was about (P1, P2, R14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.scenes import person_in, writes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.testing import KlaviyoSimulator


@pytest.fixture(autouse=True)
def _what_was_sent(simulator: KlaviyoSimulator) -> Iterator[None]:
    """P1: no write names a person by external id alone; R14: no create and no event carries a phone number.

    P2: a PATCH names its profile by id, and an event never by an email or an id without that.
    """
    yield
    for entry in writes(simulator):
        assert "create_or_update_profile" != entry.endpoint
        if entry.endpoint not in {"create_profile", "create_event", "update_profile"}:
            continue
        who = person_in(entry)
        if entry.endpoint == "update_profile":
            assert who["id"]
            continue
        assert "phone_number" not in who
        assert who["id"] or who.get("email")
        assert entry.endpoint == "create_profile" or who["id"]
