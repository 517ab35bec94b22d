"""The errors of this library. Each says whether the call changed Klaviyo, and whether it may be repeated.

    SafeKlaviyoError
      ConfigurationError
      IdentityError
        InvalidIdentifierError      (also ValueError)
        IdOnlyError                 (Retryable)
        EmailMismatchError
        ExternalIdMismatchError
        EmailTakenError
        AmbiguousIdentityError
        ErasedError
        IdentityDriftError
        ProfileConflictError        (also APIStatusError)
      ConsentWithdrawnError
      InvalidPropertyError          (also ValueError)
      RetryableError                a mixin: trying the same call again later is safe
      LeaseHeldError                (Retryable)
      DeadlineExceededError         (also TimeoutError)
      StoreError
        StoreUnavailableError       (Retryable)
        StoreIncompatibleError
      APIConnectionError
        NotSentError                (Retryable)
        NoResponseError
      APIStatusError
        BadRequestError             400, 422
        AuthenticationError         401
        PermissionDeniedError       403
        NotFoundError               404
          ProfileNotVisibleError    (Retryable)
        GoneError                   410
        PayloadTooLargeError        413
        RateLimitError              429 (Retryable)
        ServerError                 5xx

A message has no personal data and no secret (P8). All else that a program needs is an attribute. Every error can be
pickled, because each class takes its message first and every attribute as an optional keyword.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

Outcome = Literal["not_applied", "unknown", "applied"]


class SafeKlaviyoError(Exception):
    """The base of every error raised by this library.

    Attributes:
        outcome: Whether the operation's main write changed Klaviyo: ``"not_applied"``, ``"unknown"`` or ``"applied"``.
        may_retry: Whether the same call may be made again later without doubling anything. For an event that means
            with the same `unique_id` and `time`, which the error carries.
        retry_after: Seconds to wait before that, where Klaviyo or this library knows; else None.
        rule: The rule that decided, such as ``"R6"``.
        operation: The name of the public method.
        unique_id: The event's idempotency key (`track` only).
        time: The event's time (`track` only).
    """

    retryable = False

    def __init__(
        self,
        message: str = "",
        *,
        outcome: Outcome = "not_applied",
        may_retry: bool | None = None,
        retry_after: float | None = None,
        rule: str | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome: Outcome = outcome
        # The class gives the default; `_sending.retry` overrides it with what it knows about the request.
        self.may_retry: bool = self.retryable if may_retry is None else may_retry
        self.retry_after = retry_after
        self.rule = rule
        self.operation: str | None = None
        self.unique_id: str | None = None
        self.time: datetime | None = None

    def __repr__(self) -> str:
        # Not the other attributes: identifiers are among them, and a `repr` ends in logs (P8).
        rule = f", rule={self.rule!r}" if self.rule else ""
        return f"{type(self).__name__}({str(self)!r}, outcome={self.outcome!r}{rule})"


class RetryableError(SafeKlaviyoError):
    """A mixin: trying the same call again later is safe."""

    retryable = True


class ConfigurationError(SafeKlaviyoError):
    """The client cannot work as it is set up."""


class IdentityError(SafeKlaviyoError):
    """It is not certain which customer is meant; no profile was changed.

    Attributes:
        external_id: The external id concerned, where there is one.
        email: The address concerned, where there is one.
    """

    def __init__(
        self, message: str = "", *, external_id: str | None = None, email: str | None = None, **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.external_id = external_id
        self.email = email


class InvalidIdentifierError(IdentityError, ValueError):
    """An identifier is malformed, a placeholder, or missing (rules R1, R2).

    Attributes:
        identifier_kind: ``"email"``, ``"external_id"``, ``"phone_number"`` or ``"profile_id"``, where one is concerned.
    """

    def __init__(self, message: str = "", *, identifier_kind: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        # A plain text, where one of this package's own kinds is given too: programs compare it, and write it into logs.
        self.identifier_kind: str | None = None if identifier_kind is None else str(identifier_kind)


class IdOnlyError(RetryableError, IdentityError):
    """Only an external id was given, and neither the map nor Klaviyo knows its email (R9).

    Sending the id alone would make a duplicate for good. Once the customer has signed up, the same call succeeds.
    """


class EmailMismatchError(IdentityError):
    """The external id is bound to another email; use `change_email` to change it (R6).

    Attributes:
        current_email: The email that the external id is bound to.
        orphan_profile_id: A profile with the email given and without an external id, where Klaviyo shows one. If
            `outcome` is ``"applied"``, this call has left it behind: Klaviyo had created it without the external id.
        profile_id: The profile of the external id, where it is known.
    """

    def __init__(
        self, message: str = "", *, current_email: str | None = None, orphan_profile_id: str | None = None,
        profile_id: str | None = None, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(message, **common)
        self.current_email = current_email
        self.profile_id = profile_id
        self.orphan_profile_id = orphan_profile_id


class ExternalIdMismatchError(IdentityError):
    """The email is bound to another external id (R7).

    Attributes:
        current_external_id: The external id that the email is bound to.
    """

    def __init__(self, message: str = "", *, current_external_id: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.current_external_id = current_external_id


class EmailTakenError(IdentityError):
    """The new address of `change_email` is on another profile.

    Attributes:
        profile_id: The profile that has the address, if Klaviyo or the map names it.
    """

    def __init__(self, message: str = "", *, profile_id: str | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.profile_id = profile_id


class AmbiguousIdentityError(IdentityError):
    """Several profiles have one identifier, or the identifiers given belong to different profiles.

    Attributes:
        profile_ids: The profiles found.
    """

    def __init__(self, message: str = "", *, profile_ids: tuple[str, ...] = (), **common: Any) -> None:
        super().__init__(message, **common)
        self.profile_ids = profile_ids


class ErasedError(IdentityError):
    """The customer was erased, and a late call must not create their profile again."""


class IdentityDriftError(IdentityError):
    """Klaviyo's answer contradicts the identity map (R15).

    Attributes:
        profile_id: The profile concerned.
        found_external_id: The external id that Klaviyo shows.
        found_email: The address that Klaviyo shows.
    """

    def __init__(
        self,
        message: str = "",
        *,
        profile_id: str | None = None,
        found_external_id: str | None = None,
        found_email: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.profile_id = profile_id
        self.found_external_id = found_external_id
        self.found_email = found_email


class ConsentWithdrawnError(SafeKlaviyoError):
    """The customer has withdrawn this consent, and it is not given back unasked (R18); nothing was sent.

    Ask the customer again, and then give `consented_at` or ``resubscribe=True``: see `Klaviyo.subscribe`.

    Attributes:
        withdrawn_at: When it was withdrawn, in UTC; None where Klaviyo does not say.
        reason: How, in Klaviyo's words, such as ``"UNSUBSCRIBE"``; None where it does not say.
    """

    def __init__(
        self,
        message: str = "",
        *,
        channel: str | None = None,
        withdrawn_at: datetime | None = None,
        reason: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.channel = channel
        self.withdrawn_at = withdrawn_at
        self.reason = reason


class Problem(NamedTuple):
    """One thing that cannot be sent.

    Attributes:
        path: Where it stands, such as ``"properties.items[2].price"``.
        reason: Why, and what to do: the rest of a sentence that begins with the path.
    """

    path: str
    reason: str


class InvalidPropertyError(SafeKlaviyoError, ValueError):
    """The call cannot be made as it is; nothing was sent.

    Attributes:
        path: Where the first problem stands.
        problems: Everything that stands in the way, so that one run shows all that has to be corrected.
    """

    def __init__(
        self, message: str = "", *, path: str | None = None, problems: tuple[Problem, ...] = (), **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.path = path
        self.problems = problems


class LeaseHeldError(RetryableError):
    """Another call is writing about this customer, and did not finish within `Policy.wait` (R13)."""


class DeadlineExceededError(SafeKlaviyoError, TimeoutError):
    """The call was not done within the client's `deadline`.

    The cause is the error that the call ended with, or would have waited or tried again after. `outcome` says what is
    known, and `may_retry` whether the same call may be made again: this is no `RetryableError`, because a write that
    cannot be repeated may have left.
    """


class StoreError(SafeKlaviyoError):
    """The identity map failed."""


class StoreUnavailableError(RetryableError, StoreError):
    """The identity map cannot answer now. Nothing is written to Klaviyo without the map's answer (P6)."""


class StoreIncompatibleError(StoreError):
    """The identity map was written by another version, or the data found there is not a map."""


class APIConnectionError(SafeKlaviyoError):
    """No answer of Klaviyo's was received."""


class NotSentError(RetryableError, APIConnectionError):
    """The request was not sent: no connection could be made."""


class NoResponseError(APIConnectionError):
    """The request was sent, and no complete answer of Klaviyo's came back: what Klaviyo did is unknown.

    A web page, a challenge, a redirect or half a body is not Klaviyo's answer, with any status. A proxy or a firewall
    between Klaviyo and this host may have sent it (F-34).
    """

    def __init__(self, message: str = "", *, outcome: Outcome = "unknown", **common: Any) -> None:
        super().__init__(message, outcome=outcome, **common)


class APIStatusError(SafeKlaviyoError):
    """Klaviyo answered with a status that is not success.

    Attributes:
        status_code: The HTTP status.
        code: The first error's code, such as ``"duplicate_profile"``, where the body named one.
        errors: The body's errors as Klaviyo sent them; they may quote what was sent.
        request_id: Klaviyo's id of the error or the request, for its support.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int = 0,
        code: str | None = None,
        errors: tuple[dict[str, Any], ...] = (),
        request_id: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.status_code = status_code
        self.code = code
        self.errors = errors
        self.request_id = request_id


class BadRequestError(APIStatusError):
    """400 or 422: Klaviyo does not accept what was sent."""


class AuthenticationError(APIStatusError):
    """401: the key is wrong or missing."""


class PermissionDeniedError(APIStatusError):
    """403: the key lacks a scope."""


class NotFoundError(APIStatusError):
    """404: there is no such profile, or list."""


class ProfileNotVisibleError(RetryableError, NotFoundError):
    """Klaviyo does not show a customer's profile now. Its reads may lag, so the profile may still be there.

    The profile counts as gone if it is still missing after `Policy.lag`. Until then this library concludes nothing, and
    the caller may make the same call again after `retry_after` seconds.
    """


class GoneError(APIStatusError):
    """410: this API has been retired."""


class PayloadTooLargeError(APIStatusError):
    """413: the request is larger than Klaviyo accepts."""


class RateLimitError(RetryableError, APIStatusError):
    """429: too many requests, after as many retries as allowed."""


class ServerError(APIStatusError):
    """5xx: Klaviyo failed."""


class ProfileConflictError(IdentityError, APIStatusError):
    """409: Klaviyo says that another profile has one of the identifiers (R17).

    Attributes:
        identifier: The kind of identifier that collides, if reading the profiles has shown it.
        profile_id: The profile that has it, where Klaviyo named one.
    """

    def __init__(
        self, message: str = "", *, identifier: str | None = None, profile_id: str | None = None, **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.identifier = identifier
        self.profile_id = profile_id
