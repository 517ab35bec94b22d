"""The client for Klaviyo that never makes a duplicate customer and never hands one customer's profile to another."""

from typing import TYPE_CHECKING, Any

from safeklaviyo._client import Klaviyo
from safeklaviyo._version import VERSION
from safeklaviyo.errors import (
    AmbiguousIdentityError,
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
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
    ProfileConflictError,
    RateLimitError,
    RetryableError,
    SafeKlaviyoError,
    ServerError,
    StoreError,
    StoreIncompatibleError,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identity
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
    Notice,
    PhoneChange,
    Profile,
    Recovery,
    Resolution,
    TrackResult,
)
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore

if TYPE_CHECKING:
    from safeklaviyo._async_client import AsyncKlaviyo

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
    "Binding",
    "ChangeReview",
    "ConfigurationError",
    "Decision",
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
    "MergePlan",
    "MergeRequest",
    "NoResponseError",
    "NotFoundError",
    "NotSentError",
    "Notice",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PhoneChange",
    "Policy",
    "Profile",
    "ProfileConflictError",
    "RateLimitError",
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


def __getattr__(name: str) -> Any:
    if name == "AsyncKlaviyo":  # blocking programs need not load asyncio
        from safeklaviyo._async_client import AsyncKlaviyo  # noqa: PLC0415

        return AsyncKlaviyo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
