"""What the shop relies on, as its own tests would say it. `test_django` runs them on each kind of database."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from allauth.account.models import EmailAddress
from allauth.account.signals import email_changed
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.db.utils import ConnectionHandler
from django.test import TestCase, TransactionTestCase, override_settings

from django_shop.models import Order
from safeklaviyo.django import aget_klaviyo, get_klaviyo
from safeklaviyo.errors import ConfigurationError

TABLE = "safeklaviyo_outbox" if connection.vendor == "sqlite" else "safeklaviyo.outbox"
IN_MEMORY = connection.vendor == "sqlite" and "memory" in str(connection.settings_dict["NAME"])


class BoomError(Exception):
    """What ends a transaction."""


def place_order():
    """Place an order as a shop does."""
    order = Order.objects.create(total="12.50")
    return get_klaviyo().outbox.track(
        "Placed Order", external_id="7", email="ada@shop.test", value=order.total, unique_id=f"order-{order.pk}"
    )


def place_order_and_fail():
    """Place an order, and fail afterwards."""
    place_order()
    raise BoomError


def rows():
    """Return how many rows Django's connection sees."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {TABLE}")
        return cursor.fetchone()[0]


def recorded():
    """Deliver what waits, and return the keys of all events in Klaviyo, which is empty afterwards."""
    get_klaviyo().outbox.drain()
    settings.SIMULATOR.drain()
    keys = [each.unique_id for each in settings.SIMULATOR.events]
    settings.SIMULATOR.events.clear()
    return keys


class InATransaction(TransactionTestCase):
    def test_a_rollback_leaves_nothing(self):
        """Neither the order nor its row."""
        with pytest.raises(BoomError), transaction.atomic():
            place_order_and_fail()
        assert (0, 0) == (Order.objects.count(), rows())

    def test_a_commit_delivers(self):
        """The row is there with the order, and not before for others."""
        with transaction.atomic():
            queued = place_order()
        assert [queued.unique_id] == recorded()
        assert 0 == rows()

    def test_a_savepoint_that_is_rolled_back_takes_its_row_along(self):
        """The others stay."""
        with transaction.atomic():
            first = place_order()
            with pytest.raises(BoomError), transaction.atomic():
                place_order_and_fail()
            last = place_order()
        assert [first.unique_id, last.unique_id] == recorded()

    def test_nothing_is_left_of_the_test_before(self):
        """A flush empties the outbox and the map."""
        place_order()
        self._fixture_teardown()
        assert 0 == rows()
        if not IN_MEMORY:
            assert 0 == get_klaviyo().outbox.counts().waiting

    def test_a_request_is_one_transaction(self):
        """With ATOMIC_REQUESTS a view that fails leaves no row."""
        self.client.raise_request_exception = False
        assert 500 == self.client.get("/order?fail").status_code
        assert 0 == rows()
        key = self.client.get("/order").content.decode()
        assert [key] == recorded()

    def test_threads_use_their_own_connections(self):
        """Each row is in the transaction of the thread that has placed the order."""
        if IN_MEMORY:
            self.skipTest("Django shares no connection between threads here")

        def work(number):
            try:
                with transaction.atomic():
                    key = place_order().unique_id
                    transaction.set_rollback(bool(number % 2))
                return None if number % 2 else key
            finally:
                connection.close()

        place_order()  # the first of all asks the database who it is, over a connection of its own
        recorded()
        with ThreadPoolExecutor(1 if connection.vendor == "sqlite" else 4) as pool:
            keys = list(pool.map(work, range(8)))
        assert sorted(key for key in keys if key) == sorted(recorded())

    def test_an_asynchronous_view_queues(self):
        """Over Django's connection, in the thread of `sync_to_async`."""
        key = self.client.get("/viewed").content.decode()
        assert [key] == recorded()

    async def test_an_asynchronous_program_queues_in_a_transaction(self):
        """In a function that Django's thread runs."""

        @sync_to_async
        def order():
            with transaction.atomic():
                return place_order().unique_id

        klaviyo = await aget_klaviyo()
        assert klaviyo is await aget_klaviyo()
        key = await order()
        assert [key] == await sync_to_async(recorded)()
        given = await klaviyo.outbox.track("A", external_id="7", email="ada@shop.test", connection=connection)
        assert [given.unique_id] == await sync_to_async(recorded)()
        await klaviyo.aclose()

    def test_the_tables_go_and_come_again(self):
        """Backwards nothing of them is left, and forwards they are there again."""
        with override_settings(SAFEKLAVIYO=settings.SAFEKLAVIYO):
            call_command("migrate", "safeklaviyo", "zero", verbosity=0)
            assert "safeklaviyo.W003" in [each.id for each in run_checks(databases=["default"])]
            call_command("migrate", "safeklaviyo", verbosity=0)
        assert [] == [each.id for each in run_checks(databases=["default"])]
        key = place_order().unique_id
        assert [key] == recorded()

    def test_drain_is_a_command(self):
        """As for cron; one that cannot deliver says so in one line, and the rows stay."""
        place_order()
        out = io.StringIO()
        call_command("safeklaviyo_drain", stdout=out)
        assert "1 delivered, 0 waiting, 0 dead\n" == out.getvalue()
        place_order()
        settings.SIMULATOR.fail_next("create_event", status=401)
        with pytest.raises(CommandError, match="AuthenticationError"):
            call_command("safeklaviyo_drain")
        recorded()

    def test_a_worker_that_does_not_run_is_not_well(self):
        """`--check` reads the file of a worker."""
        with pytest.raises(SystemExit) as ended:
            call_command("safeklaviyo_worker", "--check", "/nowhere")
        assert 1 == ended.value.code

    def test_a_change_of_address_in_allauth_follows_the_orders(self):
        """The row of the change is written with allauth's own rows, and delivered after the orders before it."""
        user = User.objects.create_user("ada", "old@shop.test", "secret")
        old = EmailAddress.objects.create(user=user, email="old@shop.test", primary=True, verified=True)
        new = EmailAddress.objects.create(user=user, email="new@shop.test", verified=True)
        get_klaviyo().outbox.identify(external_id=user.pk, email=old.email)
        self.client.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
        answer = self.client.post("/accounts/email/", {"email": new.email, "action_primary": ""})
        assert (302, 2) == (answer.status_code, rows())
        get_klaviyo().outbox.drain()
        emails = [each.email for each in settings.SIMULATOR.profiles if each.external_id == str(user.pk)]
        assert ["new@shop.test"] == emails

    def test_an_address_that_nobody_can_have_does_not_keep_a_user_from_it(self):
        """It is logged, without the address, and nothing is queued."""
        user = User.objects.create_user("bob", "null", "secret")
        address = EmailAddress(user=user, email="null")
        with self.assertLogs("safeklaviyo.django", "ERROR") as logs:
            email_changed.send(EmailAddress, request=None, user=user, from_email_address=None, to_email_address=address)
        said = "a change of address was not put into the outbox: the email is a placeholder"
        assert (0, said) == (rows(), logs.records[0].getMessage())


class InATestCase(TestCase):
    def test_a_row_is_there_and_goes_with_the_test(self):
        """Django's own connection sees the row, in the transaction of the test."""
        assert 0 == rows()
        place_order()
        assert 1 == rows()

    test_so_it_was_not_there_before = test_a_row_is_there_and_goes_with_the_test

    def test_in_memory_all_goes_over_the_connection_of_the_test(self):
        """So a test can deliver what it has queued, and see it arrive."""
        if not IN_MEMORY:
            self.skipTest("another connection does not see what is not committed")
        queued = place_order()
        assert 1 == get_klaviyo().outbox.counts().waiting
        assert [queued.unique_id] == recorded()

    def test_djangos_own_connection_may_be_given(self):
        """As what stands for it, as itself, or as a cursor of it."""
        outbox = get_klaviyo().outbox
        with connection.cursor() as cursor:
            for given in (connection, connections["default"], cursor):
                outbox.track("A", external_id="7", email="ada@shop.test", connection=given)
        assert 3 == rows()

    def test_another_connection_is_refused(self):
        """Rows are written over Django's, and nowhere else: not over another alias's, nor another thread's."""
        others = ConnectionHandler({"default": settings.DATABASES["default"], "other": settings.DATABASES["default"]})
        for given, said in (
            (others["other"], r"name that database in settings.SAFEKLAVIYO\['database'\]"),
            (others["default"], "of the thread that queues"),
            (object(), "writes over Django's own connection"),
        ):
            with pytest.raises(ConfigurationError, match=said):
                get_klaviyo().outbox.track("A", external_id="7", email="ada@shop.test", connection=given)
        assert 0 == rows()

    def test_there_is_one_client_for_the_same_settings(self):
        """And another one for other settings."""
        klaviyo = get_klaviyo()
        assert klaviyo is get_klaviyo()
        with override_settings(SAFEKLAVIYO={**settings.SAFEKLAVIYO, "deadline": 1.0}):
            assert klaviyo is not get_klaviyo()

    def test_the_checks_say_what_is_wrong(self):
        """What makes no sense is an error, and what does not work well a warning; neither shows a value."""
        for given, said in (
            (None, "settings.SAFEKLAVIYO is missing: set it to a dict, which may be empty"),
            ([], "settings.SAFEKLAVIYO has to be a dict"),
            ({"api-key": "pk_secret"}, "settings.SAFEKLAVIYO has no key 'api-key'"),
            ({"outbox": "x"}, "takes no outbox"),
            ({"database": "nowhere"}, "names no database of settings.DATABASES"),
            ({"account": "shop"}, "there is no key of Klaviyo's"),
            ({"api_key": "pk_secret"}, "the account is not named"),
        ):
            with override_settings(SAFEKLAVIYO=given):
                found = " ".join(str(each) for each in run_checks())
            assert said in found
            assert "pk_secret" not in found
