"""Servers in company, on this machine: behind sentinels, in a cluster, with certificates, and pairs of PostgreSQL."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shutil import chown, which

import psycopg
import pytest
import redis

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.testing.contract import BlockingStore
from support.postgres_servers import OwnCluster
from support.redis_servers import OwnServer, free_port

PATIENCE = 60.0
SECRETS = ("hunter2", "s3ntinel", "ann@shop.org", "PANN")
FORGETFUL = ("--save", "", "--appendonly", "no")
LOGGED = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
# A replica is promoted only if it was heard of within five ping periods, and it is asked each second.
_HASTE = ("info-period", "200", "ping-period", "300", "publish-period", "200", "ask-period", "100")


def until(is_so):
    """Wait until that is so, and return it."""
    give_up_at = time.monotonic() + PATIENCE
    while True:
        found = is_so()
        if found:
            return found
        assert time.monotonic() < give_up_at, "it never came to be so"
        time.sleep(0.02)


def until_served(use):
    """Do that again until the map is there to do it, and return what came of it and what failed before."""
    failures = []
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            return use(), failures
        except StoreUnavailableError as exc:
            failures.append(exc)
            assert time.monotonic() < give_up_at, "the map never came back"
            time.sleep(0.02)


def failure_of(use):
    """Do something with a map, and return why it was unavailable, or None."""
    try:
        use()
    except StoreUnavailableError as exc:
        return exc
    return None


@contextmanager
def opened(kind, async_kind, url, **options):
    """Open a store of each kind, and give each with an account of its own."""
    with ExitStack() as closed:
        blocking = BlockingStore(async_kind(url, **options))
        closed.callback(blocking.stop)
        yield ((closed.enter_context(kind(url, **options)), "one"), (blocking, "other"))


def assert_untold(errors):
    """Make sure that what failed says nothing secret or personal, in no link of its chain."""
    shown = " ".join(_told(error) for error in errors)
    assert [] == [secret for secret in SECRETS if secret in shown]


def _told(error):
    shown = []
    while error is not None:
        shown += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join(shown)


class Node(OwnServer):
    """A Redis server on a port that nobody else finds, with a password or none."""

    def __init__(self, folder, *options, password=None, ready=b"Ready to accept connections"):
        super().__init__(folder, *options, ready=ready)
        self._password = password

    def run(self, *command):
        """See `OwnServer.run`."""
        with redis.Redis(port=self.port, password=self._password, decode_responses=True) as client:
            return client.execute_command(*command)

    def blocked(self):
        """Return how many clients wait for it to go on."""
        return int(self.run("INFO", "clients")["blocked_clients"])

    def is_replica(self):
        """Tell whether it says that it is one."""
        with suppress(redis.ConnectionError):  # it hangs up when it becomes one
            return self.state()["role"] == "slave"
        return False

    def state(self):
        """Return what it says of its replication."""
        return self.run("INFO", "replication")


class Watched:
    """A primary and its replica under three sentinels, which agree within a second that it is gone.

    Attributes:
        primary: The server that was the primary at first.
        url: The sentinels and the service, without a password.
    """

    def __init__(self, folder, *, password=None, sentinel_password=None):
        self._folder = folder
        self._password, self._sentinel_password = password, sentinel_password
        self._opened = ExitStack()

    def __enter__(self):
        with ExitStack() as opened:
            self.primary = opened.enter_context(self._server("primary"))
            place = ("127.0.0.1", str(self.primary.port))
            self.replica = opened.enter_context(self._server("replica", "--replicaof", *place))
            until(lambda: self.replica.state()["master_link_status"] == "up")
            self.sentinels = [opened.enter_context(self._sentinel(f"sentinel{number}")) for number in range(3)]
            until(lambda: all(self._knows_all(each) for each in self.sentinels))
            self._opened = opened.pop_all()
        places = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        self.url = f"redis+sentinel://{places}/main"
        return self

    def __exit__(self, *_):
        self._opened.close()

    def url_with(self, password, sentinel_password):
        """Return the URL with the passwords of the servers and of the sentinels."""
        url = self.url.replace("//", f"//:{password}@")
        return url if sentinel_password is None else f"{url}?sentinel_password={sentinel_password}"

    def wait_for_copy(self):
        """Wait until the replica has all that was written to the primary."""
        written = self.primary.state()["master_repl_offset"]
        until(lambda: self.replica.state()["slave_repl_offset"] >= written)

    def wait_for_agreement(self):
        """Wait until every sentinel calls the replica the primary."""
        until(lambda: {self._named(each) for each in self.sentinels} == {self.replica.port})

    def _named(self, sentinel):
        return int(sentinel.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])

    def lag(self):
        """Keep from the replica all that is written from now on."""
        self.replica.pause()
        self.primary.run("CLIENT", "KILL", "TYPE", "replica")

    def _server(self, name, *options):
        folder = self._folder / name
        folder.mkdir()
        login = () if self._password is None else ("--requirepass", self._password, "--masterauth", self._password)
        return Node(folder, *FORGETFUL, "--repl-diskless-sync-delay", "0", *login, *options, password=self._password)

    def _sentinel(self, name):
        folder = self._folder / name
        folder.mkdir()
        lines = [
            f"sentinel monitor main 127.0.0.1 {self.primary.port} 2",
            "sentinel down-after-milliseconds main 700",
            "sentinel failover-timeout main 700",
        ]
        lines += [] if self._password is None else [f"sentinel auth-pass main {self._password}"]
        secret = self._sentinel_password
        lines += [] if secret is None else [f"requirepass {secret}", f"sentinel sentinel-pass {secret}"]
        settings = folder / "sentinel.conf"
        settings.write_text("".join(f"{line}\n" for line in lines))
        node = Node(folder, str(settings), "--sentinel", password=secret, ready=b"+monitor master main")
        return _hurried(node)

    def _knows_all(self, sentinel):
        main = _record(sentinel.run("SENTINEL", "MASTER", "main"))
        replicas = [_record(each) for each in sentinel.run("SENTINEL", "REPLICAS", "main")]
        return main["num-other-sentinels"] == "2" and [each["flags"] for each in replicas] == ["slave"]


def _record(reply):
    """Return what older versions of redis-py leave as a list."""
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


@contextmanager
def _hurried(sentinel):
    with sentinel:
        sentinel.run("SENTINEL", "DEBUG", *_HASTE)
        yield sentinel


class Cluster:
    """Three servers that share all slots, each as a snapshot of nothing but a log of everything."""

    SHARE = 16_384 // 3

    def __init__(self, folder):
        self._folder = folder
        self._opened = ExitStack()

    def __enter__(self):
        with ExitStack() as opened:
            self.nodes = [opened.enter_context(self._node(name)) for name in "abc"]
            for number, node in enumerate(self.nodes):
                last = 16_383 if number == 2 else (number + 1) * self.SHARE - 1
                node.run("CLUSTER", "ADDSLOTSRANGE", number * self.SHARE, last)
                node.run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.nodes[1:]:
                self.nodes[0].run("CLUSTER", "MEET", "127.0.0.1", other.port)
            until(lambda: all(self.is_whole(node) for node in self.nodes))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_):
        self._opened.close()

    def is_whole(self, node):
        """Tell whether a node knows all others and serves."""
        state = node.run("CLUSTER INFO")
        return state["cluster_state"] == "ok" and state["cluster_known_nodes"] == "3"

    def account(self, number, after=0):
        """Return the name of an account that this node serves at first; another one for another start."""
        names = (f"shop-{each}" for each in range(after, 10_000))
        return next(name for name in names if self.slot(name) // self.SHARE == number)

    def slot(self, account):
        """Return the slot of an account, whatever the prefix of its keys."""
        return redis.cluster.key_slot(f"x:{{account:{account}}}".encode())

    def move(self, account, source, target):
        """Move an account's slot from one node to another, and stop twice on the way: before its keys go, and after."""
        slot = self.slot(account)
        giver, taker = self.nodes[source], self.nodes[target]
        names = {id(node): node.run("CLUSTER", "MYID") for node in self.nodes}
        taker.run("CLUSTER", "SETSLOT", slot, "IMPORTING", names[id(giver)])
        giver.run("CLUSTER", "SETSLOT", slot, "MIGRATING", names[id(taker)])
        yield "begun"
        keys = giver.run("CLUSTER", "GETKEYSINSLOT", slot, 100)
        giver.run("MIGRATE", "127.0.0.1", taker.port, "", 0, 5000, "KEYS", *keys)
        yield "copied"
        for node in (taker, giver):
            node.run("CLUSTER", "SETSLOT", slot, "NODE", names[id(taker)])

    def _node(self, name):
        folder = self._folder / name
        folder.mkdir()
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "15000")
        return Node(folder, *LOGGED, *options, "--cluster-require-full-coverage", "no")


@contextmanager
def secure_node(folder, *options):
    """Run a server that speaks TLS, where Redis was built for that."""
    with ExitStack() as opened:
        try:
            node = opened.enter_context(Node(folder, *options))
        except AssertionError:
            pytest.skip("redis-server does not start with TLS: it may have been built without")
        yield node


class Postgres(OwnCluster):
    """A PostgreSQL server of a test's own, perhaps one that follows another.

    Args:
        folder: Where its data goes; made.
        source: The server that it follows as a standby; None for a primary.
    """

    def __init__(self, folder, *, source=None):
        folder.mkdir()
        super().__init__(folder)
        self._source = source

    def __enter__(self):
        if self._source is None:
            return super().__enter__()
        chown(self._folder, **self._owner())
        place = ("-d", f"host=127.0.0.1 port={self._source.port} user=postgres")
        self._run("pg_basebackup", *place, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.start()
        return self

    def run(self, statement):
        """Execute a statement, and return the first value of its answer."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    def demand_tls(self, certificates):
        """Start it anew, with that certificate and for nobody who does not speak TLS."""
        data = self._folder / "data"
        for name, file in (("server.crt", certificates.server), ("server.key", certificates.key)):
            shutil.copy(file, data / name)
            (data / name).chmod(0o600)
            chown(data / name, **self._owner())
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\n")
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
        self.kill()
        self.start()

    def give(self, folder):
        """Make a folder the server's own."""
        chown(folder, **self._owner())

    def _owner(self):
        return {"user": self._user.get("user", os.geteuid())}


class Pooler:
    """PgBouncer before a server, with two connections to it, each for one transaction at a time."""

    SIZE = 2

    def __init__(self, folder, server):
        self._command = which("pgbouncer")
        if self._command is None:
            pytest.skip("pgbouncer is not installed")
        self._server = server
        self._folder = folder / "pooler"
        self._folder.mkdir()
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def __enter__(self):
        (self._folder / "users").write_text('"postgres" ""\n')
        (self._folder / "settings").write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={self._server.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self._folder}/users\npool_mode = transaction\n"
            f"default_pool_size = {self.SIZE}\nserver_login_retry = 1\n"
        )
        command = [self._command, "--quiet", self._folder / "settings"]
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._server._user)
        until(self._is_up)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def _is_up(self):
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(psycopg.OperationalError), psycopg.connect(self.url):
            return True
        return False


@contextmanager
def postgres_folder():
    """A folder that the user postgres can reach: in memory where the system has one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def small_disk(folder, size):
    """Mount a disk of so many bytes, where that is allowed."""
    place = folder / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("a small disk cannot be mounted here: only root may, and not in every container")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def filled(file):
    """Write to a file until its disk is full."""
    with suppress(OSError), file.open("wb", buffering=0) as open_file:
        while True:
            open_file.write(bytes(512))
