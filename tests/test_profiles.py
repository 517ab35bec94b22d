"""``k.profiles``: reading and writing Klaviyo's profiles by their ids, with both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import (
    CLEAR,
    ConfigurationError,
    InvalidIdentifierError,
    InvalidPropertyError,
    NoResponseError,
    NotFoundError,
    RetryPolicy,
)

if TYPE_CHECKING:
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient


def page_before(cursor: str, *ids: str) -> dict[str, Any]:
    """Return a page of profiles, with a link to the page of a cursor."""
    rows = [{"type": "profile", "id": profile_id, "attributes": {}} for profile_id in ids]
    return {"data": rows, "links": {"next": f"https://a.klaviyo.com/api/profiles?page%5Bcursor%5D={cursor}"}}


class TestSearch:
    @pytest.mark.parametrize(
        "wanted", [{"email": " ANN@shop.dev"}, {"external_id": "A1"}, {"phone_number": "+1 (212) 555-0123"}]
    )
    def test_by_one_identifier(self, client: NewClient, simulator: KlaviyoSimulator, wanted: dict[str, Any]) -> None:
        """Each kind of identifier finds the profile, as it is now."""
        profile = simulator.add_profile(external_id="A1", email="ann@shop.dev", phone_number="+12125550123")
        (found,) = client().profiles.search(**wanted)
        assert (profile.id, "ann@shop.dev") == (found.id, found.email)

    def test_subscriptions(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Consent and suppression are asked for only where the caller wants them, in each of the three ways."""
        profile = simulator.add_profile(email="ann@shop.dev")
        profiles = client().profiles
        assert None is profiles.get(profile.id).subscriptions
        assert [None] == [each.subscriptions for each in profiles.search(email="ann@shop.dev")]
        assert [None] == [each.subscriptions for each in profiles.iterate()]
        shown = profiles.get(profile.id, subscriptions=True).subscriptions
        assert shown is not None
        assert "NEVER_SUBSCRIBED" == shown["email"]["marketing"]["consent"]
        assert [shown] == [each.subscriptions for each in profiles.search(email="ann@shop.dev", subscriptions=True)]
        assert [shown] == [each.subscriptions for each in profiles.iterate(subscriptions=True)]

    def test_subscriptions_on_later_pages(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Each page has them."""
        for number in range(3):
            simulator.add_profile(email=f"{number}@shop.dev")
        found = list(client().profiles.iterate(page_size=1, subscriptions=True))
        assert 3 == len([each for each in found if each.subscriptions is not None])

    def test_subscriptions_in_the_legacy_dialect(self, client: NewClient) -> None:
        """The retired API shows none, which is said before anything is sent."""
        k = client(dialect="legacy", public_key="SiMuLa", base_url="http://127.0.0.1:8000")
        for ask in (k.profiles.get, lambda _, **more: k.profiles.search(email="ann@shop.dev", **more)):
            with pytest.raises(ConfigurationError, match="subscriptions"):
                ask("01ABC", subscriptions=True)

    def test_all_hits(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Several hits are all returned, never the first alone (F-5)."""
        ids = {simulator.add_profile(email=f"{name}@shop.dev", external_id="A1").id for name in ("ann", "amy")}
        assert ids == {profile.id for profile in client().profiles.search(external_id="A1")}

    def test_hits_on_several_pages(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Hits beyond Klaviyo's first page of 20 are returned too."""
        ids = {simulator.add_profile(email=f"{number}@shop.dev", external_id="A1").id for number in range(25)}
        assert ids == {profile.id for profile in client().profiles.search(external_id="A1")}

    def test_pages_that_do_not_end(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Links that lead back, or on and on, end in an error, and nothing is concluded from a part (P6)."""
        k = client()
        for times, cursors in ((2, ["a", "a"]), (100, [str(number) for number in range(100)])):
            simulator.journal.clear()
            for cursor in cursors:
                simulator.fail_next("get_profiles", status=200, body=page_before(cursor))
            with pytest.raises(NoResponseError, match="do not end") as caught:
                k.identify(email="ann@shop.dev")
            assert (True, "not_applied") == (caught.value.may_retry, caught.value.outcome)
            assert ["get_profiles"] * times == [entry.endpoint for entry in simulator.journal]

    def test_nobody(self, client: NewClient) -> None:
        """Nobody is an empty list."""
        assert [] == client().profiles.search(email="ann@shop.dev")

    @pytest.mark.parametrize("wanted", [{}, {"email": "ann@shop.dev", "external_id": "A1"}, {"email": "null"}])
    def test_refused(self, client: NewClient, simulator: KlaviyoSimulator, wanted: dict[str, Any]) -> None:
        """Exactly one usable identifier is asked for."""
        with pytest.raises(InvalidIdentifierError):
            client().profiles.search(**wanted)
        assert [] == simulator.journal


class TestGet:
    def test_found(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A profile comes with its attributes and properties."""
        made = simulator.add_profile(email="ann@shop.dev", properties={"plan": "gold"}, first_name="Ann")
        profile = client().profiles.get(made.id)
        assert ("Ann", {"plan": "gold"}) == (profile.first_name, profile.properties)

    def test_missing(self, client: NewClient) -> None:
        """There is no such profile."""
        with pytest.raises(NotFoundError) as caught:
            client().profiles.get("01NOBODY")
        assert "profiles.get" == caught.value.operation

    @pytest.mark.parametrize("profile_id", ["..", "", "a/b", "a?b", None, 5])
    def test_refused(self, client: NewClient, simulator: KlaviyoSimulator, profile_id: Any) -> None:
        """An id cannot lead to another path (F-7)."""
        with pytest.raises(InvalidIdentifierError):
            client().profiles.get(profile_id)
        assert [] == simulator.journal


class TestUpdate:
    def test_writes(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What is given is written, and the profile comes back as it is then."""
        made = simulator.add_profile(email="ann@shop.dev", properties={"a": 1, "b": 2, "tags": ["x"]}, first_name="Ann")
        profile = client().profiles.update(made.id, {"first_name": CLEAR, "a": 5}, append={"tags": "y"}, unset=["b"])
        assert (None, {"a": 5, "tags": ["x", "y"]}) == (profile.first_name, profile.properties)
        assert {"a": 5, "tags": ["y"]} == client().profiles.update(made.id, unappend={"tags": "x"}).properties

    def test_nothing_to_write(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Without properties the profile is only read."""
        made = simulator.add_profile(email="ann@shop.dev")
        assert made.id == client().profiles.update(made.id).id
        assert ["get_profile"] == [entry.endpoint for entry in simulator.journal]

    @pytest.mark.parametrize("name", ["email", "$email", "$id", "external_id", "phone_number"])
    def test_identifiers_are_refused(self, client: NewClient, simulator: KlaviyoSimulator, name: str) -> None:
        """Who owns an identifier changes only through the verb for it (P3)."""
        value = "+12125550123" if "phone" in name else "bob@shop.dev"
        with pytest.raises(InvalidPropertyError, match="verb of its own"):
            client().profiles.update("01ABC", {name: value})
        assert [] == simulator.journal

    def test_unknown_outcome(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A write without an answer says that it may have been carried out (P7)."""
        made = simulator.add_profile(email="ann@shop.dev")
        simulator.fail_next("update_profile", when="after")
        with pytest.raises(NoResponseError) as caught:
            client(retry=RetryPolicy(max_attempts=1)).profiles.update(made.id, {"a": 1})
        assert "unknown" == caught.value.outcome


class TestMerge:
    def test_plan_then_merge(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A plan writes nothing; the merge leaves one profile."""
        k = client()
        orphan = simulator.add_profile(email="old@shop.dev", properties={"size": "M"})
        kept = str(k.identify(external_id="A1", email="ann@shop.dev").profile_id)
        plan = k.profiles.plan_merge(orphan.id, into=kept)
        assert (orphan.id, kept, ()) == (plan.source_id, plan.into_id, plan.obstacles)
        assert 2 == len(simulator.profiles)
        request = k.profiles.merge(orphan.id, into=kept, allow_suppressed=True)
        assert (orphan.id, kept) == (request.source_id, request.into_id)
        simulator.drain()
        assert [kept] == [profile.id for profile in simulator.profiles]


class TestIterate:
    @pytest.mark.parametrize(("size", "pages"), [(100, 1), (5, 1), (2, 3), (1, 5)])
    def test_all_pages(self, client: NewClient, simulator: KlaviyoSimulator, size: int, pages: int) -> None:
        """Every profile comes once, and no more pages are fetched than there are."""
        made = [simulator.add_profile(email=f"{number}@shop.dev").id for number in range(5)]
        seen = [profile.id for profile in client().profiles.iterate(page_size=size)]
        assert sorted(made) == sorted(seen)
        assert pages == len(simulator.journal)

    def test_lazily(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Nothing is fetched before it is wanted."""
        for number in range(4):
            simulator.add_profile(email=f"{number}@shop.dev")
        profiles = client().profiles.iterate(page_size=2)
        assert 0 == len(simulator.journal)
        next(profiles)
        assert 1 == len(simulator.journal)

    def test_filter_and_sort(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Klaviyo's own filter language and order are passed on, on every page."""
        for name in ("a", "b", "c"):
            simulator.add_profile(email=f"{name}@shop.dev")
            simulator.advance(60)
        wanted = 'any(email,["a@shop.dev","c@shop.dev"])'
        seen = [p.email for p in client().profiles.iterate(filter=wanted, sort="-created", page_size=1)]
        assert ["c@shop.dev", "a@shop.dev"] == seen

    @pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"]])
    def test_a_link_that_leads_back(self, client: NewClient, simulator: KlaviyoSimulator, cursors: list[str]) -> None:
        """A page that was read already ends the iteration with an error, after what came before it."""
        for number, cursor in enumerate(cursors):
            simulator.fail_next("get_profiles", status=200, body=page_before(cursor, f"P{number}"))
        profiles = client().profiles.iterate()
        assert [f"P{number}" for number in range(len(cursors))] == [next(profiles).id for _ in cursors]
        with pytest.raises(NoResponseError, match="do not end"):
            next(profiles)
        assert len(cursors) == len(simulator.journal)

    @pytest.mark.parametrize("size", [0, 101])
    def test_page_size(self, client: NewClient, size: int) -> None:
        """Klaviyo's pages hold from 1 to 100."""
        with pytest.raises(ConfigurationError, match="page_size"):
            next(client().profiles.iterate(page_size=size))
