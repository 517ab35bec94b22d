"""What a shop may decide: how strictly identities are kept, and how long to try.

Decided here: the settings, their defaults and their limits. The code that acts on them is in `_rules`, `_flows` and
`_sending`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal
from warnings import warn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from safeklaviyo.errors import ConfigurationError

DAY = 86_400.0


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _region(code: str | None) -> str | None:
    if code is None:
        return None
    try:
        import phonenumbers  # noqa: PLC0415 - an extra, and 20 ms at import
    except ImportError:
        raise ValueError("needs another package: pip install 'safeklaviyo[phone]'") from None
    region = code.upper()
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("has to be a country's two letters in ISO 3166, such as DE")
    return region


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
"""A duration: seconds as a number, or a timedelta."""


class _Settings(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as exc:
            # Not chained and without the input: a blocked value may be personal (P8).
            first = exc.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigurationError(f"{type(self).__name__}.{where}: {first['msg']}") from None


class Policy(_Settings):
    """How strictly identities are kept.

    Attributes:
        first_contact: ``"verify"`` searches Klaviyo before the first write about a customer; ``"trust"`` skips the
            searches, never the conditional create.
        event_naming: ``"pair"`` names an event's profile by profile id, external id and email; ``"profile_id"`` by
            the profile id alone, so that a queued event cannot put an old address back.
        unknown_id: What to do with an external id alone that the map does not know: ``"lookup"`` asks Klaviyo for
            its email, ``"refuse"`` raises `IdOnlyError` at once.
        email_mismatch: What to do with an external id and another email than its own (R6): ``"refuse"``; ``"change"``
            the email as `change_email` does; or ``"keep"`` the customer's own email: the id alone decides who is meant,
            and a notice says so.
        retired: What to do with a former identifier of a customer: ``"rewrite"`` it to that customer's current pair, or
            ``"refuse"``.
        retired_for: How long a retired identifier still resolves to its former owner; None means for ever.
        refresh_after: How old a binding's last check may be before Klaviyo is asked again.
        drift: What to do where Klaviyo contradicts the map: ``"refuse"``, or ``"adopt"`` what Klaviyo says.
        properties: What to do with what cannot be sent: ``"drop"`` leaves it out, with a notice and a line in the log
            for each, and makes the call; ``"refuse"`` raises one `InvalidPropertyError` that names all of it. What says
            who the customer is (R1, R2), and what fixes an event (its name, time and `unique_id`), is refused either
            way. What has one meaning is converted either way.
        phone_region: The country of phone numbers that are given without a country code, such as ``"DE"``; None leaves
            such numbers out (R14). Needs ``safeklaviyo[phone]``.
        blocked_values: Further values to refuse as placeholders, compared without case.
        max_external_id_length: The longest external id, in characters. Klaviyo's help centre says 64.
        allow_test_addresses: Send events for ``@example.com`` and ``@test.com`` to Klaviyo's own host, where they
            are dropped in silence (Klaviyo's Events API overview).
        lease: How long an identity is protected while it is written, beyond the time of one attempt.
        wait: How long to wait for another call's lease. The default is longer than a lease that a killed process has
            left, so that the waiting call sees that lease expire and finishes its write.
        merge_wait: How long to wait until Klaviyo has merged two profiles.
        lag: How long Klaviyo's reads may lag behind its writes. A profile counts as gone only if Klaviyo twice does not
            show it, this long apart.
        consent_wait: How long Klaviyo may take to carry out a request about consent that it has accepted. So long the
            customer's identifiers cannot be changed, unless Klaviyo shows sooner that it is done.
        outbox_wait: How long a row of the outbox may wait after refusals that may pass by themselves, such as an order
            by an id before its sign-up. All later rows of that customer wait with it; then it is parked.
        outbox_keep: How long a row that was parked is kept.
        visible_wait: How long `change_email` waits until Klaviyo's search shows the new address.
    """

    first_contact: Literal["verify", "trust"] = "verify"
    event_naming: Literal["pair", "profile_id"] = "pair"
    unknown_id: Literal["lookup", "refuse"] = "lookup"
    email_mismatch: Literal["refuse", "change", "keep"] = "refuse"
    retired: Literal["rewrite", "refuse"] = "rewrite"
    retired_for: Seconds | None = 365 * DAY
    refresh_after: Seconds = 30 * DAY
    drift: Literal["refuse", "adopt"] = "refuse"
    properties: Literal["drop", "refuse"] = "drop"
    phone_region: Annotated[str | None, AfterValidator(_region)] = None
    blocked_values: Annotated[frozenset[str], Field(repr=False)] = frozenset()
    max_external_id_length: Annotated[int, Field(ge=1, le=255)] = 64
    allow_test_addresses: bool = False
    # `wait` has to stay above `lease` and one attempt, or a call gives up before it can take a lease over.
    lease: Seconds = 5.0
    wait: Seconds = 20.0
    lag: Seconds = 60.0
    consent_wait: Seconds = 300.0
    outbox_wait: Seconds = DAY
    outbox_keep: Seconds = 90 * DAY
    merge_wait: Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)] = 10.0
    visible_wait: Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)] = 3.0

    def model_post_init(self, _context: Any, /) -> None:
        """Fold the blocked values once, so that comparing with them is one look-up."""
        # The model is frozen for its users, so this one write goes around it.
        object.__setattr__(self, "blocked_values", frozenset(value.strip().lower() for value in self.blocked_values))


class RetryPolicy(_Settings):
    """How long to try one request.

    Attributes:
        max_attempts: Attempts in all; 1 means no retry.
        max_delay: The longest wait between two attempts, in seconds; a longer ``Retry-After`` ends the trying.
        give_up_after: Seconds from the first attempt in which the last one must have begun. The `deadline` of the call
            ends the trying sooner.
    """

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 4
    max_delay: Seconds = 30.0
    give_up_after: Seconds = 60.0

    _limits_calls: bool = PrivateAttr(default=False)

    def __init__(self, **settings: Any) -> None:
        is_old_name = "deadline" in settings
        if is_old_name:
            if "give_up_after" in settings:
                raise ConfigurationError("RetryPolicy.deadline is the old name of give_up_after: give one of them")
            warn(_RENAMED, DeprecationWarning, stacklevel=2)
            settings["give_up_after"] = settings.pop("deadline")
        super().__init__(**settings)
        self._limits_calls = is_old_name

    def within(self, deadline: float | None) -> float | None:
        """Return the seconds that a call may take, given the client's `deadline`.

        Under its old name, `give_up_after` limits the call as well: that is what its users took it for.
        """
        if not self._limits_calls:
            return deadline
        return self.give_up_after if deadline is None else min(deadline, self.give_up_after)

    @property
    def deadline(self) -> float:
        """The old name of `give_up_after`."""
        warn(_RENAMED, DeprecationWarning, stacklevel=2)
        return self.give_up_after


_RENAMED = "RetryPolicy.deadline is called give_up_after; deadline= of the client limits a whole call"
