"""The two dialects behind one set of requests, so that flows need not know which API they talk to.

`CurrentDialect` speaks Klaviyo's JSON:API, `LegacyDialect` the retired Track, Identify and People endpoints. What a
dialect can do stands in its flags. A flow asks the flag that its next step needs, and never which dialect it is. In
the legacy dialect the rules about Klaviyo's answers (R15, R16, R17) do not hold, because an answer there is ``1``. Read
next: `_api.profiles`, `_api.legacy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from safeklaviyo._api.events import EventForm, create_event
from safeklaviyo._api.legacy import (
    failure_in,
    get_person,
    identify,
    read_person,
    read_search,
    search_person,
    track,
    update_person,
)
from safeklaviyo._api.profiles import create_profile, get_profile, list_profiles, search_profiles, update_profile
from safeklaviyo._api.responses import read_next_path, read_profile, read_profile_ids
from safeklaviyo._input.properties import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person
    from safeklaviyo._secrets import Secret
    from safeklaviyo.errors import BadRequestError
    from safeklaviyo.identity import Identity, Kind
    from safeklaviyo.models import Binding, Clear, Profile


class Dialect(Protocol):
    """What a flow asks of an API.

    Attributes:
        name: What the argument `dialect` of the client calls it. To be shown, not to be asked.
        has_profile_ids: Writes about a known customer name the profile by Klaviyo's id, and 404 says it is missing.
        has_conditional_create: A create is refused (409) where one of its identifiers is on another profile.
        answers_with_profile: The answer to a write shows the profile as it is then.
        has_merges: One profile can be merged into another.
        has_deletions: A profile can be deleted.
        has_lists: All profiles can be listed.
        has_other_calls: Any other endpoint can be called.
        has_consent: Consent can be read, given and withdrawn.
        empty_search_statuses: The statuses, besides success, by which a search says that it found no profile.
    """

    name: str
    has_profile_ids: bool
    has_conditional_create: bool
    answers_with_profile: bool
    has_merges: bool
    has_deletions: bool
    has_lists: bool
    has_other_calls: bool
    has_consent: bool
    empty_search_statuses: frozenset[int]

    def failure_in(self, response: Response) -> BadRequestError | None:
        """Return the failure that a successful answer reports in its body, as the legacy ``0`` does; else None."""
        ...

    def search(self, kind: Kind, value: str) -> Request:
        """Ask who has this identifier."""
        ...

    def read_search(self, response: Response) -> tuple[str, ...]:
        """Return the ids of the profiles found; none for the legacy 404."""
        ...

    def search_on(self, response: Response) -> Request | None:
        """Ask for the profiles that a search has found besides those in this answer; None if these are all.

        Raises:
            UnreadableAnswer: The answer does not say where they are.
        """
        ...

    def get(self, profile_id: str, *, subscriptions: bool = True) -> Request:
        """Ask for one profile, and for its consent and suppression where the dialect has `has_consent`."""
        ...

    def read(self, response: Response) -> Profile:
        """Return the profile in an answer."""
        ...

    def create(self, identity: Identity, person: Person) -> Request:
        """Create a profile: conditionally, where the dialect can."""
        ...

    def move(
        self,
        profile_id: str,
        *,
        external_id: str | Clear | None = None,
        email: str | None = None,
        phone_number: str | Clear | None = None,
    ) -> Request:
        """Change identifiers of one profile by its id."""
        ...

    def update(self, binding: Binding, person: Person) -> Request:
        """Write properties onto the profile of a known customer."""
        ...

    def event(self, event: Event, binding: Binding, person: Person, *, by_profile_id_alone: bool) -> Request:
        """Record an event about a known customer."""
        ...


class CurrentDialect:
    """Klaviyo's JSON:API.

    Args:
        revision: The one asked for, on which an event's form depends.
    """

    name = "current"
    has_profile_ids = True
    has_conditional_create = True
    answers_with_profile = True
    has_merges = True
    has_deletions = True
    has_lists = True
    has_other_calls = True
    has_consent = True
    empty_search_statuses: frozenset[int] = frozenset()

    def __init__(self, revision: str) -> None:
        self._form = EventForm.of(revision)

    def failure_in(self, response: Response) -> BadRequestError | None:  # noqa: ARG002 - here the status says it all
        """Return None: no body of a successful answer reports a failure."""
        return None

    def search(self, kind: Kind, value: str) -> Request:
        """Ask who has this identifier."""
        return search_profiles(kind, value)

    def read_search(self, response: Response) -> tuple[str, ...]:
        """Return the ids of the profiles found."""
        return read_profile_ids(response)

    def search_on(self, response: Response) -> Request | None:
        """Follow the link to the next page."""
        path = read_next_path(response)
        return None if path is None else list_profiles(cursor_url=path)

    def get(self, profile_id: str, *, subscriptions: bool = True) -> Request:
        """Ask for one profile."""
        return get_profile(profile_id, subscriptions=subscriptions)

    def read(self, response: Response) -> Profile:
        """Return the profile in an answer."""
        return read_profile(response)

    def create(self, identity: Identity, person: Person) -> Request:
        """Create a profile unless an identifier is taken: 201 or 409."""
        return create_profile(identity, person)

    def move(
        self,
        profile_id: str,
        *,
        external_id: str | Clear | None = None,
        email: str | None = None,
        phone_number: str | Clear | None = None,
    ) -> Request:
        """Change identifiers of one profile by its id."""
        return update_profile(profile_id, NOTHING, external_id=external_id, email=email, phone_number=phone_number)

    def update(self, binding: Binding, person: Person) -> Request:
        """Write properties by profile id, without identifiers; with nothing to write, read."""
        # Without identifiers (P2): a binding that was read before a change would put the old address back.
        profile_id = str(binding.profile_id)
        return get_profile(profile_id) if person.is_empty else update_profile(profile_id, person)

    def event(self, event: Event, binding: Binding, person: Person, *, by_profile_id_alone: bool) -> Request:
        """Record an event: asynchronous, deduplicated by profile, metric and unique id."""
        return create_event(
            event,
            profile_id=binding.profile_id,
            external_id=None if by_profile_id_alone else binding.external_id,
            email=None if by_profile_id_alone else binding.email,
            person=person,
            form=self._form,
        )


class CallersCreate(CurrentDialect):
    """The current dialect, with a create in the caller's own words.

    Args:
        revision: As the caller's.
        create: Returns the request that creates the profile of a pair.

    Attributes:
        created: Klaviyo's answer to the create, if it was made.
    """

    def __init__(self, revision: str, create: Callable[[Identity], Request]) -> None:
        super().__init__(revision)
        self._create = create
        self.created: Response | None = None

    def create(self, identity: Identity, person: Person) -> Request:  # noqa: ARG002 - the request has its own words
        """Create a profile unless an identifier is taken: 201 or 409."""
        return self._create(identity)

    def read(self, response: Response) -> Profile:
        """Return the profile in an answer, and keep the answer to the create, which alone is 201."""
        # Reads pass here too, with 200.
        if response.status == 201:
            self.created = response
        return super().read(response)


class LegacyDialect:
    """The Track, Identify and People endpoints.

    Args:
        public_key: The account's public key, called token there.
        api_key: The private key, for the People endpoints.
    """

    name = "legacy"
    has_profile_ids = False
    has_conditional_create = False
    answers_with_profile = False
    has_merges = False
    has_deletions = False
    has_lists = False
    has_other_calls = False
    has_consent = False
    empty_search_statuses = frozenset({404})

    def __init__(self, public_key: str, api_key: Secret) -> None:
        self._public_key = public_key
        self._api_key = api_key

    def failure_in(self, response: Response) -> BadRequestError | None:
        """Return the failure that the body ``0`` reports: the data was not understood."""
        return failure_in(response)

    def search(self, kind: Kind, value: str) -> Request:
        """Ask who has this identifier."""
        return search_person(self._api_key, kind, value)

    def read_search(self, response: Response) -> tuple[str, ...]:
        """Return the id of the profile found; none for 404."""
        found = read_search(response)
        return () if found is None else (found,)

    def search_on(self, response: Response) -> Request | None:  # noqa: ARG002 - one profile is all there can be
        """Return None: this search finds one profile at most."""
        return None

    def get(self, profile_id: str, *, subscriptions: bool = True) -> Request:  # noqa: ARG002 - it shows none
        """Ask for one person."""
        return get_person(self._api_key, profile_id)

    def read(self, response: Response) -> Profile:
        """Return the person in an answer."""
        return read_person(response)

    def create(self, identity: Identity, person: Person) -> Request:
        """Identify by the pair: creates or updates, asynchronously."""
        return identify(self._public_key, identity, person)

    def move(
        self,
        profile_id: str,
        *,
        external_id: str | Clear | None = None,
        email: str | None = None,
        phone_number: str | Clear | None = None,
    ) -> Request:
        """Change identifiers of one person by its id."""
        return update_person(self._api_key, profile_id, external_id=external_id, email=email, phone_number=phone_number)

    def update(self, binding: Binding, person: Person) -> Request:
        """Identify by the pair."""
        return identify(self._public_key, binding.identity, person)

    def event(self, event: Event, binding: Binding, person: Person, *, by_profile_id_alone: bool) -> Request:  # noqa: ARG002 - this dialect has no profile ids
        """Track by the pair."""
        return track(self._public_key, event, binding.identity, person)
