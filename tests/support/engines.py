"""A shop with an outbox in PostgreSQL or in a file, and a pretend Klaviyo that engines in other processes reach."""

import sqlite3
import time
from collections import defaultdict
from contextlib import closing, contextmanager
from itertools import pairwise
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from safeklaviyo import Klaviyo
from safeklaviyo.testing import KlaviyoSimulator
from support.outbox import PostgresOutbox
from support.postgres_servers import migrated, own_database


def url_of(conninfo):
    """Return a connection string of libpq as a URL."""
    return "postgresql:///?" + urlencode(conninfo_to_dict(conninfo))


@contextmanager
def own_shop_database():
    """Give the URL of a database of a test module's own, with a map and an outbox."""
    with own_database() as conninfo:
        url = migrated(url_of(conninfo))
        with closing(PostgresOutbox(url)) as outbox:
            outbox.migrate()
        yield url


class Shop:
    """A shop: `klaviyo` queues, and engines deliver to `simulator`."""

    def __init__(self, url, simulator, base):
        self.url = url
        self.simulator = simulator
        self.environment = {
            "KLAVIYO_BASE_URL": base, "KLAVIYO_API_KEY": "pk_shop", "SAFEKLAVIYO_STORE": url, "SHOP_DATABASE": url,
        }  # fmt: skip
        self.klaviyo = Klaviyo("pk_shop", account="shop", store=url, base_url=base)
        self.queued = defaultdict(list)

    def know(self, customers):
        """Let the map know customers, as after their sign-up."""
        for number in range(customers):
            self.simulator.add_profile(external_id=f"c{number}", email=f"c{number}@shop.test")
        rows = [
            {"external_id": each.external_id, "email": each.email, "profile_id": each.id}
            for each in self.simulator.profiles
        ]
        self.klaviyo.bindings.add(rows, trusted=True)

    def queue(self, events, customers, *, start=0):
        """Queue events of customers in turn, a hundred in a transaction."""
        with self._connected() as connection:
            for number in range(start, start + events):
                customer = f"c{number % customers}"
                key = f"{customer}-{number:06}"
                self.klaviyo.outbox.track("Placed Order", external_id=customer, unique_id=key, connection=connection)
                self.queued[customer].append(key)
                if number % 100 == 99:
                    connection.commit()

    def waiting(self):
        """Return how many rows wait."""
        return self.klaviyo.outbox.counts().waiting

    def queued_total(self):
        """Return how many events were queued so far."""
        return sum(map(len, self.queued.values()))

    def now(self):
        """Return the time of the outbox's clock."""
        return self._ask("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0]

    def held(self):
        """Return the lanes that are held, and until when."""
        return dict(
            self._ask(
                "SELECT lane, expires FROM safeklaviyo.outbox_lane"
                " WHERE expires > extract(epoch FROM clock_timestamp())::float8"
            )
        )

    def _connected(self):
        return psycopg.connect(self.url)

    def _ask(self, statement):
        with self._connected() as connection:
            return connection.execute(statement).fetchall()

    def faults(self):
        """Return how many events were lost, doubled and out of their customer's order of acceptance."""
        self.simulator.drain()
        accepted = defaultdict(list)
        for each in self.simulator.events:
            accepted[each.unique_id.partition("-")[0]].append(each.unique_id)
        lost = sum(len(set(keys) - set(accepted[customer])) for customer, keys in self.queued.items())
        doubled = sum(len(keys) - len(set(keys)) for keys in accepted.values())
        disordered = sum(earlier > later for keys in accepted.values() for earlier, later in pairwise(keys))
        return {"lost": lost, "doubled": doubled, "disordered": disordered}


class ShopInAFile(Shop):
    """A shop with map and outbox in an SQLite file."""

    @contextmanager
    def _connected(self):
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection, connection:
            yield connection

    def now(self):
        """See `Shop.now`."""
        return time.time()

    def held(self):
        """See `Shop.held`."""
        rows = self._ask("SELECT lane, expires FROM safeklaviyo_outbox_lane")
        return {lane: expires for lane, expires in rows if expires > self.now()}


@contextmanager
def shop_in_a_file(folder):
    """Open a shop whose map and outbox are in a file."""
    simulator = KlaviyoSimulator(account="shop", queue_lag=0.0, clock="real")
    with simulator.serve() as base:
        shop = ShopInAFile(f"sqlite:///{folder}/shop.db", simulator, base)
        shop.waiting()  # makes the tables
        try:
            yield shop
        finally:
            shop.klaviyo.close()


@contextmanager
def shop_on_postgres():
    """Open a shop."""
    simulator = KlaviyoSimulator(account="shop", queue_lag=0.0, clock="real")
    with own_shop_database() as url, simulator.serve() as base:
        shop = Shop(url, simulator, base)
        try:
            yield shop
        finally:
            shop.klaviyo.close()
