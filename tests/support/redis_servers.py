"""Redis servers for tests: the one that is there, and ones of a test's own on other ports."""

import asyncio
import atexit
import os
import signal
import socket
import subprocess
import threading
import uuid
from contextlib import contextmanager, suppress
from functools import cache
from random import SystemRandom
from shutil import which

import pytest
import redis

URL = os.environ.get("SAFEKLAVIYO_TEST_REDIS", "redis://127.0.0.1:6379/15")
PORTS = range(21_000, 31_000)  # a cluster needs the port ten thousand above its own as well


@cache
def shared():
    """Return a client of the server that is there, one for all tests of this process; None if no server answers."""
    client = redis.Redis.from_url(URL, socket_connect_timeout=1.0)
    atexit.register(client.close)
    try:
        client.ping()
    except redis.RedisError:
        return None
    return client


def url_or_skip():
    """Return the URL of the server that is there."""
    if shared() is None:
        pytest.skip("no Redis server answers: start one, and name it in SAFEKLAVIYO_TEST_REDIS")
    return URL


@contextmanager
def own_prefix(client):
    """Give a prefix of a test's own, and remove its keys afterwards."""
    prefix = f"test-{uuid.uuid4().hex}"
    try:
        yield prefix
    finally:
        for key in client.scan_iter(f"{prefix}*", count=1000):
            client.unlink(key)


@contextmanager
def shared_prefix():
    """Give a prefix on the server that is there, if there is one."""
    url_or_skip()
    with own_prefix(shared()) as prefix:
        yield prefix


class OwnServer:
    """A Redis server of a test's own, in a folder; what it was told to keep is there when it is started again."""

    def __init__(self, folder, *options, ready=b"Ready to accept connections"):
        if which("redis-server") is None:
            pytest.skip("redis-server is not installed")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder))
        self._command = ["redis-server", *options, *place]
        self._ready = ready
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Start it, and wait until it says that it is ready."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        self.wait_for(self._ready)

    def wait_for(self, words):
        """Read what the server says until it says that."""
        assert any(words in line for line in self._process.stdout), "the server ended early"

    def kill(self):
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def pause(self):
        """Let it answer nobody, as if it hung."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Let it go on where it was paused."""
        self._process.send_signal(signal.SIGCONT)

    def run(self, *command):
        """Send one command, and return its reply."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)


def free_port():
    """Return a port on which nobody listens: any, so that nobody takes that of a server which is dead for a while."""
    for port in SystemRandom().sample(PORTS, 100):  # whose order no test's seed decides
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + 10_000))
            with socket.socket() as other:
                other.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free")


class ScriptedServer:
    """Something that answers whatever it is sent with the same bytes, or not at all, or by hanging up."""

    def __init__(self, answer):
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = []
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://shop:hunter2@127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (*self._open, self._listener):
            each.close()

    def _listen(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with suppress(OSError):
            while connection.recv(65_536):
                if self._answer is None:
                    continue
                if not self._answer:
                    connection.shutdown(socket.SHUT_RDWR)
                connection.sendall(self._answer)


def run_async(make, work):
    """Do something with an asynchronous store, in a loop of its own."""

    async def whole():
        async with make() as store:
            return await work(store)

    return asyncio.run(whole())
