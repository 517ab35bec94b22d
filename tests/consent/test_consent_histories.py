"""Long random histories of consent: changes, ghosts, forms, links in mails, deaths, failures; what always holds.

- After a withdrawal that no newer consent follows, no living profile that its person ever named can receive.
- No withdrawal creates a profile, and no consent changes an identifier, but for a number that it attaches (R14).
- No withdrawal is lifted unasked, be it by a call or by the link of a mail.
- Nobody else's consent changes: not of somebody who only looks on, and not of whoever has a former address by now.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from safeklaviyo import Policy, RetryPolicy, SafeKlaviyoError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.consent import READINGS, SUBSCRIBED, leaves, receiving
from support.deaths import die_after
from support.scenes import ACCOUNT, ANN, Killed, browse, expire, leases

pytestmark = pytest.mark.proof

SHOWN = {"email": "email.marketing", "sms": "sms.marketing"}
WITHDRAWING = {"bulk_unsubscribe_profiles", "bulk_suppress_profiles"}
FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 429},
    {},
    {"broken": "refused"},
    {"when": "after"},
    {"broken": "truncated", "when": "after"},
]
MOVES = {
    "subscribe": 5,
    "unsubscribe": 5,
    "suppress": 1,
    "identify": 2,
    "track": 1,
    "change_email": 3,
    "take_former": 2,
    "merge": 2,
    "erase": 1,
    "form": 2,
    "browse": 2,
    "link": 2,
    "work": 8,
    "wait": 3,
    "recover": 2,
    "recheck": 1,
    "doom": 3,
    "fail": 2,
}


@dataclass
class Person:
    """One customer as the shop knows them.

    Attributes:
        names: The addresses that they have or had.
        said: What stands last, by channel: ``"in"``, ``"out"``, or nothing where a call's outcome is unknown.
        at: When, by channel.
        form_at: When they last filled in a form.
        unsure: Withdrawals that failed, which a shop repeats.
    """

    number: int
    names: list[str]
    said: dict[str, str] = field(default_factory=dict)
    at: dict[str, float] = field(default_factory=dict)
    form_at: float = 0.0
    unsure: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    @property
    def external_id(self):
        return f"c{self.number}"


class History:
    """One history, of which everything follows from its seed."""

    def __init__(self, open_client, seed):
        self.rng = Random(seed)
        rng, reading = self.rng, READINGS[sorted(READINGS)[seed % len(READINGS)]]
        reading = replace(reading, consent_events=seed // len(READINGS) % 2 == 1)
        lag = rng.choice([0, 0, 1.0])
        self.simulator = KlaviyoSimulator(reading, account=ACCOUNT, search_lag=lag, start=1_800_000_000.0)
        self.store = MemoryStore(clock=self.simulator.now)
        self.open_client = open_client
        self.turn = 0
        self.counts: Counter[str] = Counter()
        self.links: dict[str, float] = {}
        self.accepted: dict[int, tuple[Any, float]] = {}
        self.late: set[str] = set()
        self.left: set[str] = set()
        self.reported: set[str | None] = set()
        self.restart()
        self.owners: dict[str, Person] = {}
        self.people: list[Person] = []
        for number in range(3):
            self.people.append(self.arrive(number))
        self.k.identify(**ANN)  # she only looks on
        self.k.subscribe("email", **ANN)
        self.rest()
        self.before = self.onlooker()

    def arrive(self, number):
        """Let a customer sign up."""
        person = Person(number, [f"c{number}-0@shop.test"])
        phone = {"phone_number": f"+1202555{number:04}"} if self.rng.random() < 0.6 else {}
        self.k.identify(external_id=person.external_id, email=person.names[0], **phone)
        self.owners[person.names[0]] = person
        # Half of them have moved already, and most of those have left a ghost behind.
        if self.rng.random() < 0.5:
            self.move_to(person, f"c{number}-moved@shop.test")
            consent = self.rng.choice([None, SUBSCRIBED, SUBSCRIBED, "NEVER_SUBSCRIBED"])
            if consent is not None:
                self.simulator.add_profile(email=person.names[0], consent=consent)
        return person

    def restart(self):
        """Let another process take over."""
        policy = Policy(merge_wait=1, visible_wait=1, wait=8, consent_wait=120)
        self.k = self.open_client(self.simulator, self.store, retry=RetryPolicy(max_attempts=2), policy=policy)

    def run(self, moves):
        """Live through it, and check what is left in the end."""
        for _ in range(moves):
            (move,) = self.rng.choices(list(MOVES), list(MOVES.values()))
            getattr(self, move)(self.rng.choice(self.people))
            self.simulator.advance(1.0)
            self.work_in_time()
            assert self.before == self.onlooker()
        self.quiet()
        self.check()

    def own(self, person):
        """Return a person's profile, if there is one."""
        return self.simulator.find(external_id=person.external_id)

    def named(self, person):
        """Return how a call names a person."""
        by, email = self.rng.choice(["id", "email", "both"]), self.rng.choice(person.names)
        # An address that is another customer's by now names that one.
        if by == "id" or self.owners.get(email) is not person:
            return {"external_id": person.external_id}
        return {"email": email} if by == "email" else {"external_id": person.external_id, "email": email}

    def attempt(self, call, *args, **named):
        """Make a call, and say how it ended: its result, None if nothing was done, or "unknown"."""
        try:
            return call(*args, **named)
        except Killed:
            self.restart()
            return "unknown"
        except SafeKlaviyoError as error:
            self.counts[type(error).__name__] += 1
            return None if error.outcome == "not_applied" else "unknown"

    # What people do by the shop.

    def channels(self, person):
        own = self.own(person)
        has_phone = own is not None and own.phone_number is not None
        return self.rng.choice([("email",), ("email",), ("sms",), ("email", "sms")]) if has_phone else ("email",)

    def subscribe(self, person):
        """A customer consents, or consents again."""
        channels, again = self.channels(person), self.rng.random() < 0.4
        own = self.own(person)
        # A consent that was carried out late may have lifted it by now, until `recheck_changes` looks.
        was_linked = own is not None and own.id in self.links and "email" in channels and own.suppressions
        result = self.attempt(self.k.subscribe, list(channels), resubscribe=again, **self.named(person))
        if result is None:
            return
        is_known = result != "unknown"
        for channel in channels:
            was_out = person.said.get(channel) == "out" and person.form_at <= person.at[channel]
            if is_known and not again:
                assert not was_out, "a withdrawal was lifted unasked"
                assert not (channel == "email" and was_linked and person.form_at <= self.links[own.id])
            if not is_known and not again and was_out:
                continue  # it must not be lifted
            # A withdrawal that was begun before, and whose outcome is unknown, may still be carried out.
            is_sure = is_known and (result.status == "accepted" or person.said.get(channel) != "")
            person.said[channel], person.at[channel] = ("in" if is_sure else ""), self.simulator.now()
        if own is not None and "email" in channels and again:
            self.links.pop(own.id, None)
        if is_known:
            person.unsure.clear()
        self.counts["given"] += is_known

    def unsubscribe(self, person):
        """A customer withdraws."""
        self.withdraw(person, "unsubscribe", self.channels(person))

    def suppress(self, person):
        """A customer is put on the list of those who get no mail."""
        self.withdraw(person, "suppress", ("email",))

    def withdraw(self, person, verb, channels, named=None):
        arguments = () if verb == "suppress" else (list(channels),)
        result = self.attempt(getattr(self.k, verb), *arguments, **(named or self.named(person)))
        is_known = result not in {None, "unknown"}
        own = self.own(person)
        for channel in channels:
            # What was never given cannot be withdrawn, and Klaviyo is told nothing.
            is_void = own is not None and channel == "sms" and SHOWN[channel] not in own.consents
            said = "out" if is_known and not is_void else ""
            person.said[channel], person.at[channel] = said, self.simulator.now()
        if not is_known:
            person.unsure.append((verb, channels))
        self.counts["withdrawn"] += is_known
        return is_known

    def identify(self, person):
        """A customer is written about."""
        self.attempt(self.k.identify, {"turn": self.turn}, **self.named(person))

    def track(self, person):
        """A customer does something."""
        self.turn += 1
        self.attempt(self.k.track, "Ordered", unique_id=f"e{self.turn}", **self.named(person))

    def change_email(self, person):
        """A customer moves to a new address of their own."""
        self.turn += 1
        self.move_to(person, f"c{person.number}-{self.turn}@shop.test")

    def take_former(self, person):
        """A customer gets an address that another one has left."""
        current = {str(each.email) for each in self.simulator.profiles}
        left = [each for each in self.owners if each not in current and self.owners[each] is not person]
        if left:
            self.move_to(person, self.rng.choice(sorted(left)))

    def move_to(self, person, email):
        result = self.attempt(self.k.change_email, email, external_id=person.external_id, on_taken="refuse")
        if result == "unknown":
            self.owners.pop(email, None)  # either may have it
        elif result is not None:
            person.names.append(email)
            self.owners[email] = person
            self.counts["moved"] += 1

    def merge(self, person):
        """A ghost turns out to be a customer's."""
        own = self.own(person)
        ghosts = [each for each in self.simulator.profiles if each.external_id is None and each.email in person.names]
        if own is None or not ghosts:
            return
        ghost = self.rng.choice(ghosts)
        if self.owners.get(str(ghost.email)) is not person:
            return
        result = self.attempt(self.k.profiles.merge, ghost.id, into=own.id, allow_suppressed=self.rng.random() < 0.5)
        if result is not None:
            self.counts["merged"] += 1
            self.links.pop(ghost.id, None)
            person.said.update({channel: "" for channel, said in person.said.items() if said == "in"})

    def erase(self, person):
        """A customer goes, and another one comes in their place."""
        if self.rng.random() < 0.5:
            return
        self.attempt(self.k.erase, external_id=person.external_id)
        self.rest()
        if self.own(person) is None:
            self.turn += 1
            for email, owner in list(self.owners.items()):
                if owner is person:
                    del self.owners[email]
            self.people[self.people.index(person)] = self.arrive(100 + self.turn)
            self.counts["erased"] += 1

    # What people do without it.

    def form(self, person):
        """A customer fills in a form in a browser, with an address of theirs."""
        email = self.rng.choice(person.names)
        if self.owners.get(email) is person:
            profile = self.simulator.submit_form(email=email)
            person.form_at = self.simulator.now()
            self.links.pop(profile.id, None)
            self.counts["forms"] += 1

    def browse(self, person):
        """A browser shows an address of a customer's."""
        email = self.rng.choice(person.names)
        if self.owners.get(email) is person and self.simulator.find(email=email) is None:
            browse(self.simulator, email=email)
            self.counts["browsed"] += 1

    def link(self, person):
        """A customer uses the link of a mail that has reached one of their profiles."""
        theirs = [each for each in person.names if self.owners.get(each) is person]
        found = [profile for email in theirs if (profile := self.simulator.find(email=email)) is not None]
        if found:
            profile = self.rng.choice(found)
            before = self.marks(profile)
            leaves(self.simulator, str(profile.email))
            # A second withdrawal may leave no mark in Klaviyo. No client can know of it, nor compare it with a consent
            # that Klaviyo has accepted and not carried out.
            if before == self.marks(self.simulator.find(email=profile.email)):
                self.counts["links without a mark"] += 1
            else:
                self.links[profile.id] = self.simulator.now()
            self.left.add(str(profile.email))
            if profile.external_id == person.external_id and person.said.get("email") == "in":
                person.said["email"] = ""
            self.counts["links"] += 1

    def marks(self, profile):
        """Return what shows that a person has left."""
        return profile.consents, profile.suppressions, len(self.simulator.events)

    # What befalls them.

    def work(self, _):
        """Klaviyo does one of the things that it has accepted."""
        pending = self.simulator.pending
        if pending:
            self.do(self.rng.randrange(len(pending)))

    def do(self, index):
        queued = self.simulator._account.queue[index]
        self.accepted.pop(id(queued), None)
        endpoint = queued.endpoint
        before = {each.id: (each.external_id, each.email, each.phone_number) for each in self.simulator.profiles}
        self.simulator.step(index)
        after = {each.id: (each.external_id, each.email, each.phone_number) for each in self.simulator.profiles}
        made = [email for key, (_, email, _) in after.items() if key not in before]
        if endpoint in WITHDRAWING:
            # An address may be free by then: its withdrawal showed already, by another copy of the request or by the
            # link of a mail; or a late event has put a former address back (H1). A profile that is made then receives
            # nothing, and is reported.
            early = [email for email in made if self.times_asked(email) < 2 and email not in self.left]
            assert [] == early, "a withdrawal has made a profile"
            self.late.update(made)
            self.counts["made by a late copy"] += len(made)
        elif endpoint == "create_event":
            self.left.update(str(before[key][1]) for key in before if before[key] != after.get(key))
        elif endpoint == "bulk_subscribe_profiles":
            # Where Klaviyo takes no row by id, the address travels, and is put back (H29, which the next call repairs).
            assert before == after or self.simulator.readings.subscribe_by_id == 400, "a consent has changed a profile"
            assert before.keys() == after.keys()
            self.left.update(str(before[key][1]) for key in before if before[key] != after[key])
            self.counts["put back"] += before != after
        assert before.items() <= after.items() or endpoint not in WITHDRAWING, "a withdrawal has changed a profile"

    def times_asked(self, email):
        """Return how often Klaviyo was asked to withdraw for an address."""
        entries = [entry for entry in self.simulator.journal if entry.endpoint in WITHDRAWING]
        rows = [row for entry in entries for row in entry.body["data"]["attributes"]["profiles"]["data"]]
        return sum(row["attributes"].get("email") == email for row in rows)

    def work_in_time(self):
        """Let Klaviyo do whatever it has accepted a minute and more ago."""
        for queued in self.simulator._account.queue[:]:
            _, since = self.accepted.setdefault(id(queued), (queued, self.simulator.now()))
            if self.simulator.now() - since > 60:
                self.do(self.simulator._account.queue.index(queued))

    def wait(self, _):
        """Time passes."""
        seconds = self.rng.choice([2.0, 20.0, 130.0, 400.0])
        if seconds > 60:
            while self.simulator.pending:
                self.do(self.rng.randrange(len(self.simulator.pending)))
        self.simulator.advance(seconds)

    def recover(self, _):
        """The scheduled job runs."""
        self.attempt(self.k.recover)

    def recheck(self, _):
        """The other scheduled job runs."""
        self.attempt(self.k.recheck_changes, repair=True)

    def doom(self, _):
        """The process will die."""
        die_after(self.k, self.rng.randint(1, 20))

    def fail(self, _):
        """A request to come fails."""
        left = iter(range(self.rng.randint(0, 5), -1, -1))

        def is_meant(asked):
            return asked.headers.get("user-agent") != "by hand" and next(left, 1) == 0

        self.simulator.fail_next(match=is_meant, **self.rng.choice(FAULTS))

    # The end.

    def rest(self):
        """Let Klaviyo do what it has accepted, and the scheduled job look at it."""
        self.simulator._faults._next.clear()
        self.restart()
        for _ in range(5):
            while self.simulator.pending:
                self.do(0)
            self.simulator.drain()
            expire(self.simulator)
            self.k.recover()

    def quiet(self):
        """Let everything come to rest, as a shop's repetitions and scheduled jobs do in time."""
        self.rest()
        for person in self.people:
            for verb, channels in person.unsure[:]:
                for _ in range(4):
                    if self.withdraw(person, verb, channels, {"external_id": person.external_id}):
                        break
                    self.simulator.advance(61)
        for _ in range(2):
            self.rest()
            for review in self.k.recheck_changes(repair=True):
                self.reported.update({review.ghost_profile_id, review.profile_id})
        self.rest()

    def check(self):
        """Look at what is left in the end."""
        assert 0 == leases(self.store)
        for email in self.late:
            profile = self.simulator.find(email=email)
            assert profile is None or profile.external_id is not None or profile.id in self.reported
        for profile in self.simulator.profiles:
            person = next((each for each in self.people if each.external_id == profile.external_id), None)
            if person is None and profile.external_id is None:
                person = self.owners.get(str(profile.email))
            if person is not None:
                self.check_profile(person, profile)
        for person in self.people:
            own = self.own(person)
            known = self.store.find(ACCOUNT, [Identifier(Kind.EXTERNAL_ID, person.external_id)]).matches
            if own is not None and own.id not in self.reported:
                assert [own.email] == [each.binding.email for each in known]
            # A withdrawal that showed by a link, too, may be carried out after a newer consent.
            if own is not None and person.said.get("email") == "in" and own.email not in self.left:
                assert SUBSCRIBED == own.consent, "a consent was lost"

    def check_profile(self, person, profile):
        consent = profile.consents.get("email.marketing")
        for channel, shown in SHOWN.items():
            if shown not in receiving(profile):
                continue
            is_newer = channel == "email" and consent is not None and consent.method == "Form"
            is_newer = is_newer and consent.status == SUBSCRIBED and consent.at >= person.at.get(channel, 0)
            assert person.said.get(channel) != "out" or is_newer, f"{channel} still reaches {profile.email}"
        linked = self.links.get(profile.id)
        if linked is not None and "email.marketing" in receiving(profile):
            is_newer = consent is not None and consent.method == "Form" and consent.at >= linked
            is_asked = person.said.get("email") == "in" and person.at["email"] > linked
            assert is_newer or is_asked, f"a withdrawal by link was lifted on {profile.email}"

    def onlooker(self):
        """Return what must never change."""
        ann = self.simulator.find(external_id=ANN["external_id"])
        return ann.email, ann.consents, ann.suppressions


def live(open_client, seeds, moves=22):
    """Live through histories, and count what happened in them."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        history = History(open_client, seed)
        try:
            history.run(moves)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        counts += history.counts
    return counts


HAPPENING = ("given", "withdrawn", "moved", "merged", "links", "forms")
"""What has to happen in histories that are to say anything."""


@pytest.mark.parametrize("piece", range(2))
def test_histories(open_client, piece):
    """R18, R19: whatever happens, in whatever order, nobody receives what they have withdrawn."""
    counts = live(open_client, range(piece * 20, piece * 20 + 20))
    assert min(counts[each] for each in HAPPENING) > 3, counts


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("piece", range(20))
def test_ten_thousand_histories(open_client, piece):
    """R18, R19: the same for 10,000 histories, of which the first were lived through by the test above."""
    counts = live(open_client, range(piece * 500, piece * 500 + 500))
    assert min(counts[each] for each in HAPPENING) > 3, counts
