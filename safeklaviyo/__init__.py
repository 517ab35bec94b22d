"""The client for Klaviyo that never makes a duplicate customer and never hands one customer's profile to another.

What it consists of is loaded when it is first asked for, so that importing the package costs next to nothing.
"""

from importlib import import_module
from logging import NullHandler, getLogger
from typing import TYPE_CHECKING, Any

from safeklaviyo._version import VERSION

if TYPE_CHECKING:
    from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo.batches import BatchReport
    from safeklaviyo.consent import Channel, ChannelConsent, Consent, ConsentChange, ConsentStatus
    from safeklaviyo.errors import (
        AmbiguousIdentityError,
        APIConnectionError,
        APIStatusError,
        AuthenticationError,
        BadRequestError,
        ConfigurationError,
        ConsentWithdrawnError,
        DeadlineExceededError,
        EmailMismatchError,
        EmailTakenError,
        ErasedError,
        ExternalIdMismatchError,
        GoneError,
        IdentityDriftError,
        IdentityError,
        IdOnlyError,
        InvalidIdentifierError,
        InvalidPropertyError,
        LeaseHeldError,
        NoResponseError,
        NotFoundError,
        NotSentError,
        PayloadTooLargeError,
        PermissionDeniedError,
        Problem,
        ProfileConflictError,
        ProfileNotVisibleError,
        RateLimitError,
        RetryableError,
        SafeKlaviyoError,
        ServerError,
        StoreError,
        StoreIncompatibleError,
        StoreUnavailableError,
    )
    from safeklaviyo.identity import Identity
    from safeklaviyo.lists import MailingList
    from safeklaviyo.models import (
        CLEAR,
        Binding,
        ChangeReview,
        Decision,
        EmailChange,
        Erasure,
        ExternalIdChange,
        IdentifyResult,
        ImportReport,
        MergePlan,
        MergeRequest,
        PhoneChange,
        Profile,
        Progress,
        Recovery,
        Resolution,
        TrackResult,
    )
    from safeklaviyo.notices import Notice, NoticeCode
    from safeklaviyo.outboxes import DeadRow, DrainReport, OutboxCounts, Queued
    from safeklaviyo.policy import Policy, RetryPolicy
    from safeklaviyo.raw import RawResponse
    from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore

__version__ = VERSION

__all__ = [
    "CLEAR",
    "APIConnectionError",
    "APIStatusError",
    "AmbiguousIdentityError",
    "AsyncIdentityStore",
    "AsyncKlaviyo",
    "AuthenticationError",
    "BadRequestError",
    "BatchReport",
    "Binding",
    "ChangeReview",
    "Channel",
    "ChannelConsent",
    "ConfigurationError",
    "Consent",
    "ConsentChange",
    "ConsentStatus",
    "ConsentWithdrawnError",
    "DeadRow",
    "DeadlineExceededError",
    "Decision",
    "DrainReport",
    "EmailChange",
    "EmailMismatchError",
    "EmailTakenError",
    "ErasedError",
    "Erasure",
    "ExternalIdChange",
    "ExternalIdMismatchError",
    "GoneError",
    "IdOnlyError",
    "IdentifyResult",
    "Identity",
    "IdentityDriftError",
    "IdentityError",
    "IdentityStore",
    "ImportReport",
    "InvalidIdentifierError",
    "InvalidPropertyError",
    "Klaviyo",
    "LeaseHeldError",
    "MailingList",
    "MergePlan",
    "MergeRequest",
    "NoResponseError",
    "NotFoundError",
    "NotSentError",
    "Notice",
    "NoticeCode",
    "OutboxCounts",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PhoneChange",
    "Policy",
    "Problem",
    "Profile",
    "ProfileConflictError",
    "ProfileNotVisibleError",
    "Progress",
    "Queued",
    "RateLimitError",
    "RawResponse",
    "Recovery",
    "Resolution",
    "RetryPolicy",
    "RetryableError",
    "SafeKlaviyoError",
    "ServerError",
    "StoreError",
    "StoreIncompatibleError",
    "StoreUnavailableError",
    "TrackResult",
]

_HOMES = {
    name: home
    for home, names in {
        "_client.async_klaviyo": ("AsyncKlaviyo",),
        "_client.klaviyo": ("Klaviyo",),
        "errors": (
            "APIConnectionError",
            "APIStatusError",
            "AmbiguousIdentityError",
            "AuthenticationError",
            "BadRequestError",
            "ConfigurationError",
            "ConsentWithdrawnError",
            "DeadlineExceededError",
            "EmailMismatchError",
            "EmailTakenError",
            "ErasedError",
            "ExternalIdMismatchError",
            "GoneError",
            "IdOnlyError",
            "IdentityDriftError",
            "IdentityError",
            "InvalidIdentifierError",
            "InvalidPropertyError",
            "LeaseHeldError",
            "NoResponseError",
            "NotFoundError",
            "NotSentError",
            "PayloadTooLargeError",
            "PermissionDeniedError",
            "Problem",
            "ProfileConflictError",
            "ProfileNotVisibleError",
            "RateLimitError",
            "RetryableError",
            "SafeKlaviyoError",
            "ServerError",
            "StoreError",
            "StoreIncompatibleError",
            "StoreUnavailableError",
        ),
        "batches": ("BatchReport",),
        "consent": ("Channel", "ChannelConsent", "Consent", "ConsentChange", "ConsentStatus"),
        "identity": ("Identity",),
        "lists": ("MailingList",),
        "models": (
            "Binding",
            "CLEAR",
            "ChangeReview",
            "Decision",
            "EmailChange",
            "Erasure",
            "ExternalIdChange",
            "IdentifyResult",
            "ImportReport",
            "MergePlan",
            "MergeRequest",
            "PhoneChange",
            "Profile",
            "Progress",
            "Recovery",
            "Resolution",
            "TrackResult",
        ),
        "notices": ("Notice", "NoticeCode"),
        "outboxes": ("DeadRow", "DrainReport", "OutboxCounts", "Queued"),
        "policy": ("Policy", "RetryPolicy"),
        "raw": ("RawResponse",),
        "stores.base": ("AsyncIdentityStore", "IdentityStore"),
    }.items()
    for name in names
}

getLogger("safeklaviyo").addHandler(NullHandler())


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
