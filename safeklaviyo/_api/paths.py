"""The endpoints of Klaviyo's JSON:API that this library calls: their paths, their limits, and what they answer.

This is the one table of paths. The retired endpoints stand in `legacy`.
"""

from __future__ import annotations

from typing import Final

from safeklaviyo._api.messages import Answer, Endpoint

PROFILES_PATH: Final = "/api/profiles"
ACCOUNTS_PATH: Final = "/api/accounts"
DELETIONS_PATH: Final = "/api/data-privacy-deletion-jobs"
EVENTS_PATH: Final = "/api/events"
MERGES_PATH: Final = "/api/profile-merge"

ACCOUNTS: Final = Endpoint("get_accounts", burst=1, steady=15)
CREATE_EVENT: Final = Endpoint("create_event", burst=350, steady=3500, answer=Answer.RECEIPT)
CREATE_PROFILE: Final = Endpoint("create_profile", burst=75, steady=750)
GET_PROFILE: Final = Endpoint("get_profile", burst=75, steady=750)
GET_PROFILES: Final = Endpoint("get_profiles", burst=75, steady=750)
MERGE_PROFILES: Final = Endpoint("merge_profiles", burst=10, steady=150)
REQUEST_DELETION: Final = Endpoint("request_profile_deletion", burst=3, steady=60, answer=Answer.RECEIPT)
UPDATE_PROFILE: Final = Endpoint("update_profile", burst=75, steady=750)
ENDPOINTS: Final = (
    ACCOUNTS, CREATE_EVENT, CREATE_PROFILE, GET_PROFILE, GET_PROFILES, MERGE_PROFILES, REQUEST_DELETION, UPDATE_PROFILE,
)  # fmt: skip
