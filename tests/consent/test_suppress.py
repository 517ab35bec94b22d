"""`suppress`, `unsuppress`: a do-not-mail list that holds for those who come later, and is lifted for one profile."""

from __future__ import annotations

import pytest

from safeklaviyo import EmailMismatchError, ErasedError, ExternalIdMismatchError, IdOnlyError
from support.consent import READINGS, SUBSCRIBED, addressed, can_receive, come_to_rest, requests
from support.scenes import ANN, BOB, NEW, journal_of, leases, pairs, rejected

OLD = ANN["email"]
every_reading = pytest.mark.parametrize(
    "settings", [{"readings": reading} for reading in READINGS.values()], ids=list(READINGS)
)


def reasons(profile):
    """Return why a profile receives no email."""
    return [each.reason for each in profile.suppressions]


class TestSuppress:
    @every_reading
    def test_every_living_profile(self, client, simulator, store):
        """R19: as `unsubscribe` it reaches the own profile and a ghost, and no address without a profile."""
        k = client()
        k.identify(**ANN)
        k.change_email("ann@third.test", external_id="ann-1")
        k.change_email(NEW, external_id="ann-1")
        simulator.add_profile(email=OLD, consent=SUBSCRIBED)
        simulator.add_profile(**BOB, consent=SUBSCRIBED)
        change = k.suppress(external_id="ann-1")
        assert ("accepted", ("email",), 2, "R19") == (
            change.status, change.channels, len(change.profile_ids), change.rule,
        )  # fmt: skip
        come_to_rest(simulator, k)
        assert ([NEW, OLD], [BOB["email"]], 3, 0) == (
            addressed(simulator), can_receive(simulator), len(simulator.profiles), leases(store),
        )  # fmt: skip
        assert {"bulk_suppress_profiles"} == {entry.endpoint for entry in requests(simulator)}

    def test_consent_stays(self, client, simulator):
        """A suppression keeps mail away and withdraws nothing."""
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k = client()
        k.suppress(**ANN)
        come_to_rest(simulator, k)
        assert (SUBSCRIBED, ["USER_SUPPRESSED"]) == (simulator.find(**ANN).consent, reasons(simulator.find(**ANN)))

    @every_reading
    def test_an_address_that_nobody_has(self, client, simulator):
        """R19: first contact, then the suppression, so that it holds for whoever signs up with it later."""
        k = client()
        change = k.suppress(email=OLD)
        come_to_rest(simulator, k)
        assert ("accepted", [["USER_SUPPRESSED"]]) == (change.status, [reasons(each) for each in simulator.profiles])
        k.identify(**ANN)
        assert ({("ann-1", OLD)}, []) == (pairs(simulator), can_receive(simulator))

    def test_an_id_that_nobody_has(self, client, simulator):
        """R9: no profile can be made of an id alone."""
        error = rejected(client().suppress, external_id="eve-3")
        assert (IdOnlyError, [], []) == (type(error), simulator.profiles, requests(simulator))

    def test_an_erased_address(self, client, simulator):
        """An erased customer's address gets no profile again."""
        k = client()
        k.identify(**ANN)
        k.erase(external_id="ann-1")
        simulator.drain()
        error = rejected(k.suppress, email=OLD)
        assert (ErasedError, [], []) == (type(error), simulator.profiles, requests(simulator))

    def test_who_is_suppressed_already(self, client, simulator):
        """Nothing is sent."""
        own = simulator.add_profile(**ANN, suppressed=True).id
        change = client().suppress(**ANN)
        assert ("unchanged", (own,), []) == (change.status, change.profile_ids, requests(simulator))

    def test_it_is_in_the_journal(self, client, simulator, store):
        """Under its own word."""
        k = client()
        k.identify(**ANN)
        k.suppress(**ANN)
        assert [("suppress", "email", None)] == journal_of(store)
        assert ["bulk_suppress_profiles"] == [entry.endpoint for entry in requests(simulator)]

    def test_it_keeps_a_consent_from_being_given(self, client, simulator):
        """R18: only ``resubscribe=True`` lifts it."""
        k = client()
        simulator.add_profile(**ANN, consent=SUBSCRIBED)
        k.suppress(**ANN)
        come_to_rest(simulator, k)
        error = rejected(k.subscribe, "email", consented_at=simulator.now(), **ANN)
        assert "USER_SUPPRESSED" == error.reason
        assert "accepted" == k.subscribe("email", resubscribe=True, **ANN).status
        come_to_rest(simulator, k)
        assert [OLD] == can_receive(simulator)


class TestUnsuppress:
    @every_reading
    def test_only_the_own_profile(self, client, simulator, store):
        """R19: a suppression is lifted for the customer's own profile alone, and consent is not given back."""
        k = client()
        k.identify(**ANN)
        k.change_email(NEW, external_id="ann-1")
        ghost = simulator.add_profile(email=OLD, suppressed=True).id
        k.suppress(external_id="ann-1")
        come_to_rest(simulator, k)
        change = k.unsuppress(external_id="ann-1")
        come_to_rest(simulator, k)
        assert ("accepted", False, [NEW], 0) == (
            change.status, ghost in change.profile_ids, can_receive(simulator), leases(store),
        )  # fmt: skip
        assert {"NEVER_SUBSCRIBED"} == {each.consent for each in simulator.profiles}

    def test_a_withdrawal_stays(self, client, simulator):
        """It lifts what `suppress` did, and nothing else."""
        simulator.add_profile(**ANN, consent="UNSUBSCRIBED", suppressed=True)
        k = client()
        k.unsuppress(**ANN)
        come_to_rest(simulator, k)
        assert ["UNSUBSCRIBE"] == reasons(simulator.find(**ANN))

    def test_who_is_not_suppressed(self, client, simulator):
        """Nothing is sent, where there is nothing to lift."""
        simulator.add_profile(**ANN, consent="UNSUBSCRIBED")
        change = client().unsuppress(**ANN)
        assert ("unchanged", [], 1) == (change.status, requests(simulator), len(change.profile_ids))

    def test_who_is_in_doubt(self, client, simulator):
        """Lifting gives something back: it is refused where the pair contradicts the map (R6, R7)."""
        k = client()
        k.identify(**ANN)
        k.identify(**BOB)
        errors = [
            rejected(k.unsuppress, external_id="ann-1", email=BOB["email"]),
            rejected(k.unsuppress, external_id="eve-3", email=OLD),
            rejected(k.unsuppress, external_id="eve-3"),
        ]
        assert [EmailMismatchError, ExternalIdMismatchError, IdOnlyError] == [type(error) for error in errors]
        assert [] == requests(simulator)

    def test_a_suppression_after_a_lifting(self, client, simulator):
        """A lifting that Klaviyo has not carried out is waited for: the two would cross else."""
        simulator.add_profile(**ANN, suppressed=True)
        simulator._account.consent_lag = 3.0
        k = client()
        k.unsuppress(**ANN)
        assert "accepted" == k.suppress(**ANN).status
        come_to_rest(simulator, k)
        assert ["USER_SUPPRESSED"] == reasons(simulator.find(**ANN))
