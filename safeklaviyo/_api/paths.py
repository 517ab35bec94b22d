"""The endpoints of Klaviyo's JSON:API that this library calls: their paths, their limits, and what they answer.

This is the one table of paths. The retired endpoints stand in `legacy`.
"""

from __future__ import annotations

import re
from typing import Final

from safeklaviyo._api.messages import Answer, Endpoint

PROFILES_PATH: Final = "/api/profiles"
ACCOUNTS_PATH: Final = "/api/accounts"
BULK_EVENTS_PATH: Final = "/api/event-bulk-create-jobs"
BULK_IMPORTS_PATH: Final = "/api/profile-bulk-import-jobs"
DELETIONS_PATH: Final = "/api/data-privacy-deletion-jobs"
EVENTS_PATH: Final = "/api/events"
LISTS_PATH: Final = "/api/lists"
MERGES_PATH: Final = "/api/profile-merge"
PROFILE_IMPORT_PATH: Final = "/api/profile-import"
BACK_IN_STOCK_PATH: Final = "/api/back-in-stock-subscriptions"
PUSH_TOKENS_PATH: Final = "/api/push-tokens"
SUBSCRIBING_PATH: Final = "/api/profile-subscription-bulk-create-jobs"
SUPPRESSING_PATH: Final = "/api/profile-suppression-bulk-create-jobs"
UNSUBSCRIBING_PATH: Final = "/api/profile-subscription-bulk-delete-jobs"
UNSUPPRESSING_PATH: Final = "/api/profile-suppression-bulk-delete-jobs"

ACCOUNTS: Final = Endpoint("get_accounts", burst=1, steady=15)
ADD_TO_LIST: Final = Endpoint("add_profiles_to_list", burst=10, steady=150, answer=Answer.RECEIPT)
BULK_EVENTS: Final = Endpoint("bulk_create_events", burst=10, steady=150, answer=Answer.RECEIPT)
BULK_IMPORT: Final = Endpoint("bulk_import_profiles", burst=10, steady=150)
CREATE_EVENT: Final = Endpoint("create_event", burst=350, steady=3500, answer=Answer.RECEIPT)
CREATE_PROFILE: Final = Endpoint("create_profile", burst=75, steady=750)
GET_EVENTS: Final = Endpoint("get_events", burst=350, steady=3500)
GET_IMPORT: Final = Endpoint("get_bulk_import_profiles_job", burst=10, steady=150)
GET_IMPORT_ERRORS: Final = Endpoint("get_errors_for_bulk_import_profiles_job", burst=10, steady=150)
GET_LIST: Final = Endpoint("get_list", burst=75, steady=750)
GET_LISTS: Final = Endpoint("get_lists", burst=75, steady=750)
GET_LIST_PROFILES: Final = Endpoint("get_profiles_for_list", burst=75, steady=750)
GET_PROFILE: Final = Endpoint("get_profile", burst=75, steady=750)
GET_PROFILES: Final = Endpoint("get_profiles", burst=75, steady=750)
MERGE_PROFILES: Final = Endpoint("merge_profiles", burst=10, steady=150)
REMOVE_FROM_LIST: Final = Endpoint("remove_profiles_from_list", burst=10, steady=150, answer=Answer.RECEIPT)
REQUEST_DELETION: Final = Endpoint("request_profile_deletion", burst=3, steady=60, answer=Answer.RECEIPT)
SUBSCRIBE_PROFILES: Final = Endpoint("bulk_subscribe_profiles", burst=75, steady=750, answer=Answer.RECEIPT)
SUPPRESS_PROFILES: Final = Endpoint("bulk_suppress_profiles", burst=75, steady=750, answer=Answer.RECEIPT)
UNSUBSCRIBE_PROFILES: Final = Endpoint("bulk_unsubscribe_profiles", burst=75, steady=750, answer=Answer.RECEIPT)
UNSUPPRESS_PROFILES: Final = Endpoint("bulk_unsuppress_profiles", burst=75, steady=750, answer=Answer.RECEIPT)
UPDATE_PROFILE: Final = Endpoint("update_profile", burst=75, steady=750)
ENDPOINTS: Final = (
    ACCOUNTS, ADD_TO_LIST, BULK_EVENTS, BULK_IMPORT, CREATE_EVENT, CREATE_PROFILE, GET_EVENTS, GET_IMPORT,
    GET_IMPORT_ERRORS, GET_LIST, GET_LIST_PROFILES, GET_LISTS, GET_PROFILE, GET_PROFILES, MERGE_PROFILES,
    REMOVE_FROM_LIST, REQUEST_DELETION, SUBSCRIBE_PROFILES, SUPPRESS_PROFILES, UNSUBSCRIBE_PROFILES,
    UNSUPPRESS_PROFILES, UPDATE_PROFILE,
)  # fmt: skip

VERBS: Final = {
    DELETIONS_PATH: "erase",
    BULK_EVENTS_PATH: "track_many",
    EVENTS_PATH: "track",
    BULK_IMPORTS_PATH: "identify_many",
    PROFILE_IMPORT_PATH: "identify",
    MERGES_PATH: "profiles.merge",
    PROFILES_PATH: "identify",
    f"{PROFILES_PATH}/{{}}": "profiles.update",
    SUBSCRIBING_PATH: "subscribe",
    SUPPRESSING_PATH: "suppress",
    UNSUBSCRIBING_PATH: "unsubscribe",
    UNSUPPRESSING_PATH: "unsuppress",
}
"""The paths below which a write identifies a person, each with the verb that keeps one profile for each customer."""

ABOUT_A_PERSON: Final = frozenset({BACK_IN_STOCK_PATH, PUSH_TOKENS_PATH})
"""The paths that take a person in the body of a POST, and have no verb."""

NAMING: Final = {
    ("POST", EVENTS_PATH): CREATE_EVENT.name,
    ("POST", BULK_EVENTS_PATH): BULK_EVENTS.name,
    ("POST", PROFILE_IMPORT_PATH): "create_or_update_profile",
    ("POST", PROFILES_PATH): CREATE_PROFILE.name,
    ("PATCH", f"{PROFILES_PATH}/{{}}"): UPDATE_PROFILE.name,
    ("POST", BULK_IMPORTS_PATH): BULK_IMPORT.name,
    ("POST", MERGES_PATH): MERGE_PROFILES.name,
    ("POST", SUBSCRIBING_PATH): SUBSCRIBE_PROFILES.name,
    ("POST", UNSUBSCRIBING_PATH): UNSUBSCRIBE_PROFILES.name,
    ("POST", SUPPRESSING_PATH): SUPPRESS_PROFILES.name,
    ("POST", UNSUPPRESSING_PATH): UNSUPPRESS_PROFILES.name,
    ("POST", BACK_IN_STOCK_PATH): "create_back_in_stock_subscription",
    ("POST", PUSH_TOKENS_PATH): "create_push_token",
}  # fmt: skip
"""The operations with requests that name people by the shop's own identifiers, by method and path."""

RETIRED: Final = {
    "/api/identify": "identify", "/api/track": "track", "/api/v1": "profiles.get", "/api/v2": "profiles.search",
}  # fmt: skip
"""The retired endpoints, of which even a GET writes."""


def template_of(target: str) -> str:
    """Return a target's path without what is one resource's own: ``/api/profiles/{id}``, and no query."""
    _, api, *words = target.partition("?")[0].split("/")
    # After the collection comes an id, also one that looks like a word; in the retired API the version comes before.
    own = 2 if words[:1] in (["v1"], ["v2"]) else 1
    shown = [word if number != own and _WORD.fullmatch(word) else "{id}" for number, word in enumerate(words)]
    return "/".join(("", api, *shown))


_WORD: Final = re.compile(r"[a-z][a-z-]*|v\d", re.ASCII)
"""A segment of a path that is a word of Klaviyo's."""
