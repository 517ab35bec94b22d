"""Which endpoint a path is, by Klaviyo's own name for it, and how often it may be asked."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import normpath
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator import (
    account_endpoints,
    consent_endpoints,
    event_endpoints,
    job_endpoints,
    legacy_endpoints,
    list_endpoints,
    metric_endpoints,
    profile_endpoints,
    push_endpoints,
    segment_endpoints,
    unused_endpoints,
)
from safeklaviyo.testing.simulator.limits import TIERS, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.readings import Readings
    from safeklaviyo.testing.simulator.records import Answer, Asked

ONE = "{}"
"""Stands for an id in a path."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    Attributes:
        tier: Of its rate limit; empty in the legacy dialect.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    tier: str
    answer: Callable[[Account, Asked], Answer]

    @property
    def legacy(self) -> bool:
        """Whether it belongs to the retired API."""
        return not self.tier

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return not self.name.startswith(("get_", "search_"))


_A, _P, _E, _M, _S = account_endpoints, profile_endpoints, event_endpoints, metric_endpoints, segment_endpoints
_C, _G, _J, _L, _T = consent_endpoints, list_endpoints, job_endpoints, legacy_endpoints, push_endpoints
_IMPORT = "/api/profile-bulk-import-jobs/{}"


def _route(methods: str, path: str, tier: str, answer: Callable[[Account, Asked], Answer]) -> Route:
    # The functions have Klaviyo's names of the endpoints.
    return Route(answer.__name__, tuple(methods.split()), path, tier, answer)


ROUTES = (
    _route("GET", "/api/profiles", "L", _P.get_profiles),
    _route("POST", "/api/profiles", "L", _P.create_profile),
    _route("GET", "/api/profiles/{}", "L", _P.get_profile),
    _route("PATCH", "/api/profiles/{}", "L", _P.update_profile),
    _route("POST", "/api/profile-import", "L", _P.create_or_update_profile),
    _route("POST", "/api/profile-merge", "M", _P.merge_profiles),
    _route("POST", "/api/data-privacy-deletion-jobs", "S", _P.request_profile_deletion),
    _route("GET", "/api/profiles/{}/lists", "S", _P.get_lists_for_profile),
    _route("GET", "/api/profiles/{}/relationships/lists", "S", _P.get_list_ids_for_profile),
    _route("GET", "/api/lists", "L", _G.get_lists),
    _route("POST", "/api/lists", "M", _G.create_list),
    _route("GET", "/api/lists/{}", "L", _G.get_list),
    _route("PATCH", "/api/lists/{}", "M", _G.update_list),
    _route("DELETE", "/api/lists/{}", "M", _G.delete_list),
    _route("GET", "/api/lists/{}/profiles", "L", _G.get_profiles_for_list),
    _route("GET", "/api/lists/{}/relationships/profiles", "L", _G.get_profile_ids_for_list),
    _route("POST", "/api/lists/{}/relationships/profiles", "M", _G.add_profiles_to_list),
    _route("DELETE", "/api/lists/{}/relationships/profiles", "M", _G.remove_profiles_from_list),
    _route("GET", "/api/accounts", "XS", _A.get_accounts),
    _route("GET", "/api/accounts/{}", "XS", _A.get_account),
    _route("GET", "/api/profiles/{}/segments", "S", _P.get_segments_for_profile),
    _route("GET", "/api/profiles/{}/relationships/segments", "S", _P.get_segment_ids_for_profile),
    _route("GET", "/api/segments", "L", _S.get_segments),
    _route("GET", "/api/segments/{}", "L", _S.get_segment),
    _route("GET", "/api/segments/{}/profiles", "L", _S.get_profiles_for_segment),
    _route("GET", "/api/segments/{}/relationships/profiles", "L", _S.get_profile_ids_for_segment),
    _route("POST", "/api/events", "XL", _E.create_event),
    _route("GET", "/api/events", "XL", _E.get_events),
    _route("GET", "/api/events/{}", "M", _E.get_event),
    _route("GET", "/api/events/{}/metric", "XL", _E.get_metric_for_event),
    _route("GET", "/api/events/{}/relationships/metric", "XL", _E.get_metric_id_for_event),
    _route("GET", "/api/events/{}/profile", "XL", _E.get_profile_for_event),
    _route("GET", "/api/events/{}/relationships/profile", "XL", _E.get_profile_id_for_event),
    _route("POST", "/api/event-bulk-create-jobs", "M", _E.bulk_create_events),
    _route("GET", "/api/metrics", "M", _M.get_metrics),
    _route("GET", "/api/metrics/{}", "M", _M.get_metric),
    _route("POST", "/api/profile-subscription-bulk-create-jobs", "L", _C.bulk_subscribe_profiles),
    _route("POST", "/api/profile-subscription-bulk-delete-jobs", "L", _C.bulk_unsubscribe_profiles),
    _route("POST", "/api/profile-suppression-bulk-create-jobs", "L", _C.bulk_suppress_profiles),
    _route("POST", "/api/profile-suppression-bulk-delete-jobs", "L", _C.bulk_unsuppress_profiles),
    _route("POST", "/api/profile-bulk-import-jobs", "M", _J.bulk_import_profiles),
    _route("GET", "/api/profile-bulk-import-jobs", "M", _J.get_bulk_import_profiles_jobs),
    _route("GET", f"{_IMPORT}", "M", _J.get_bulk_import_profiles_job),
    _route("GET", f"{_IMPORT}/import-errors", "M", _J.get_errors_for_bulk_import_profiles_job),
    _route("GET", f"{_IMPORT}/profiles", "M", _J.get_profiles_for_bulk_import_profiles_job),
    _route("GET", f"{_IMPORT}/relationships/profiles", "M", _J.get_profile_ids_for_bulk_import_profiles_job),
    _route("GET", f"{_IMPORT}/lists", "M", _J.get_list_for_bulk_import_profiles_job),
    _route("GET", f"{_IMPORT}/relationships/lists", "M", _J.get_list_ids_for_bulk_import_profiles_job),
    _route("GET", "/api/profile-suppression-bulk-create-jobs", "L", _J.get_bulk_suppress_profiles_jobs),
    _route("GET", "/api/profile-suppression-bulk-create-jobs/{}", "L", _J.get_bulk_suppress_profiles_job),
    _route("GET", "/api/profile-suppression-bulk-delete-jobs", "L", _J.get_bulk_unsuppress_profiles_jobs),
    _route("GET", "/api/profile-suppression-bulk-delete-jobs/{}", "L", _J.get_bulk_unsuppress_profiles_job),
    _route("POST", "/api/push-tokens", "L", _T.create_push_token),
    _route("GET", "/api/push-tokens", "M", _T.get_push_tokens),
    _route("GET", "/api/push-tokens/{}", "M", _T.get_push_token),
    _route("DELETE", "/api/push-tokens/{}", "S", _T.delete_push_token),
    _route("GET", "/api/push-tokens/{}/profile", "M", _T.get_profile_for_push_token),
    _route("GET", "/api/push-tokens/{}/relationships/profile", "M", _T.get_profile_id_for_push_token),
    _route("GET", "/api/profiles/{}/push-tokens", "M", _T.get_push_tokens_for_profile),
    _route("GET", "/api/profiles/{}/relationships/push-tokens", "M", _T.get_push_token_ids_for_profile),
    _route("POST", "/api/back-in-stock-subscriptions", "XL", _T.create_back_in_stock_subscription),
    _route("GET POST", "/api/track", "", _L.track),
    _route("GET POST", "/api/identify", "", _L.identify),
    _route("GET", "/api/v2/people/search", "", _L.search_people),
    _route("GET", "/api/v1/person/{}", "", _L.get_person),
    _route("PUT", "/api/v1/person/{}", "", _L.update_person),
    *(Route(name, ("GET",), path, tier, answer) for name, path, tier, answer in unused_endpoints.endpoints()),
)
NAMES = frozenset(route.name for route in ROUTES)
_BY_PATH: dict[str, list[Route]] = {}
for _each in ROUTES:
    _BY_PATH.setdefault(_each.path, []).append(_each)


def find(path: str) -> tuple[list[Route], str]:
    """Return the endpoints of a path, one for each method, and the id in it.

    A slash at the end is ignored.
    """
    # Servers resolve dots before they choose an endpoint, so an id such as ".." reaches another one (F-7).
    if "/." in path:
        path = normpath(path)
    path = path.rstrip("/")
    exact = _BY_PATH.get(path)
    if exact is not None:
        return exact, ""
    parts = path.split("/")
    for index in range(len(parts) - 1, 1, -1):
        pattern = "/".join((*parts[:index], ONE, *parts[index + 1 :]))
        if pattern in _BY_PATH:
            return _BY_PATH[pattern], parts[index]
    return [], ""


def limits(route: Route, asked: Asked, readings: Readings) -> tuple[str, Limits]:
    """Return how often an endpoint may be asked in a second and in a minute, and what is counted.

    Costly fields are allowed less often, and counted apart.
    """
    included = asked.query.get("include", "").split(",")
    if route.name == "get_profile" and {"lists", "segments"}.intersection(included):
        return f"{route.name} include", TIERS["XS"]
    if any("profile_count" in asked.query.get(f"additional-fields[{kind}]", "") for kind in ("list", "segment")):
        return f"{route.name} profile_count", TIERS["XS"]
    if "predictive_analytics" in asked.query.get("additional-fields[profile]", ""):
        return f"{route.name} predictive_analytics", TIERS["M"]
    burst, steady = TIERS[route.tier]
    return route.name, (burst, readings.large_steady if route.tier == "L" else steady)
