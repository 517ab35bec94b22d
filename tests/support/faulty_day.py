"""A long faulty day of a shop, with everything listening that tells a program's operators what happened.

Run as a program, in a process of its own, because what listens changes the whole process:
``python -m support.faulty_day FOLDER KIND STORE [LEAKING]``. It prints, as JSON, what was searched, and what was found
of 200 words that stand for customers and secrets. With a fourth argument it tells on a customer itself in every
channel: all of that has to be found.

The program's own variables show no one: a customer is an object with a silent `repr`.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sentry_sdk
import structlog
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.integrations.redis import RedisIntegration
from sentry_sdk.transport import Transport

from safeklaviyo import AsyncKlaviyo, Klaviyo, Policy, RetryPolicy, StoreUnavailableError
from safeklaviyo.cli import main as command
from safeklaviyo.stores import open_async_store, open_store
from safeklaviyo.testing import KlaviyoSimulator
from support.examples import examples
from support.leaks import texts_of
from support.signals import Heard, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PEOPLE = 40
EACH = 5
SECRETS = 4
SERVERS = ("uvicorn", "asyncio_of_server")
"""Loggers of the pretend Klaviyo, which runs in this process: it is the other side."""
STATUSES = (400, 401, 403, 404, 408, 409, 410, 413, 422, 429, 500, 503, 525)
MAILS = ("email",)
HEADS = ("zq", "1212555")
"""What the words begin with, and the phone numbers."""


class Word(str):
    """A text that stands for a customer or a secret. In this program's own variables it shows nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Word(…)"


class Person:
    """A customer, made of words. Each attribute is a plain text, as a shop's program has it."""

    def __init__(self, words: Iterator[Word]) -> None:
        own = [str(next(words)) for _ in range(EACH)]
        self._id, self._mail, digits, self._name, self._city = own
        self._phone = f"+{HEADS[1]}{int(digits[-6:], 16) % 10000:04d}"

    @property
    def id(self) -> str:
        """The shop's own id."""
        return self._id

    @property
    def email(self) -> str:
        """The address."""
        return f"{self._mail}@shop.dev"

    @property
    def new(self) -> str:
        """Another address."""
        return f"new.{self._mail}@shop.dev"

    @property
    def phone(self) -> str:
        """The number."""
        return self._phone

    @property
    def name(self) -> str:
        """The first name."""
        return self._name

    @property
    def city(self) -> str:
        """The value of a property."""
        return self._city

    def __repr__(self) -> str:
        return "Person(…)"


class Planted:
    """The words that are searched for."""

    def __init__(self, seed: str) -> None:
        chance = random.Random(seed)
        self.words = [Word(f"{HEADS[0]}{chance.randrange(16**10):010x}") for _ in range(PEOPLE * EACH + SECRETS)]
        words = iter(self.words)
        self.people = [Person(words) for _ in range(PEOPLE)]
        self.key, self.token, self.password, self.refused = (next(words) for _ in range(SECRETS))
        phones = [person.phone[1:] for person in self.people]
        self.searched = [str(word) for word in self.words] + phones

    def __repr__(self) -> str:
        return "Planted(…)"

    def around(self, text: str) -> str:
        """Return what stands around the first word in a text."""
        folded = text.lower()
        at = min(folded.find(word) for word in self.searched if word in folded)
        return text[max(at - 600, 0) : at + 200]

    def found_in(self, text: str) -> int:
        """Count the words that are in a text, however it writes capitals."""
        folded = text.lower()
        if not any(head in folded for head in HEADS):  # two searches, and not 240
            return 0
        return sum(word in folded for word in self.searched)


class Ears(logging.Handler):
    """All that is heard, by channel."""

    def __init__(self) -> None:
        super().__init__(1)
        self.heard: dict[str, list[str]] = {}
        self.structured = io.StringIO()

    def hear(self, channel: str, text: str) -> None:
        """Keep a text."""
        self.heard.setdefault(channel, []).append(text)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, with its arguments and its further fields."""
        if record.name.startswith(SERVERS):
            return
        fields = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self.hear("log", f"{record.getMessage()} {fields!r}")
        if record.exc_info and record.exc_info[1] is not None:
            self.hear("log", "".join(traceback.format_exception(record.exc_info[1])))

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Keep the command lines of other programs, and the names of files that are written."""
        if event == "subprocess.Popen":
            self.hear("command line", repr([str(each) for each in arguments[1]]))
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self.hear("file name", str(arguments[0]))

    def crumb(self, crumb: dict[str, Any], _hint: object) -> dict[str, Any]:
        """Keep what Sentry would send with the errors to come: with each of them again, if it kept them all."""
        self.hear("sentry", repr(crumb))
        return crumb

    def failed(self, error: BaseException) -> None:
        """Report an error to everybody, as a program would."""
        sentry_sdk.capture_exception(error)
        structlog.get_logger().error("a call failed", exc_info=error)
        logging.getLogger("shop").error("a call failed", exc_info=error)
        for text in texts_of(error):
            self.hear("error", text)
        self.hear("error", f"{error} {error!r} " + "".join(traceback.format_exception(error)))
        with suppress(Exception):  # some of what libraries raise cannot be pickled
            again = pickle.loads(pickle.dumps(error))
            self.hear("error", f"{again} {again!r}")

    def set_up(self) -> None:
        """Let everything listen."""
        ears = self

        class Kept(Transport):
            def capture_envelope(self, envelope: Any) -> None:
                for item in envelope.items:
                    ears.hear("sentry", item.get_bytes().decode())

        logging.basicConfig(level=1, handlers=[self], force=True)
        for name in ("safeklaviyo", "httpx", "httpcore", "asyncio", "psycopg", "psycopg.pool", "redis"):
            logging.getLogger(name).setLevel(1)
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
            ignore_logger(name)
        # By itself Sentry loads every library that it knows and finds, Django and SQLAlchemy too: a third of the time.
        sentry_sdk.init(
            auto_enabling_integrations=False, integrations=[HttpxIntegration(), RedisIntegration()],
            dsn="https://public@127.0.0.1/1", transport=Kept, traces_sample_rate=1.0, enable_logs=True,
            max_value_length=1_000_000, max_breadcrumbs=5, before_breadcrumb=self.crumb,
        )  # fmt: skip
        shown = structlog.tracebacks.ExceptionDictTransformer(
            show_locals=True, locals_max_string=100_000, locals_max_length=1000, max_frames=1000
        )
        structlog.configure(
            processors=[structlog.processors.ExceptionRenderer(shown), structlog.processors.JSONRenderer(default=repr)],
            logger_factory=structlog.PrintLoggerFactory(self.structured),
        )
        sys.addaudithook(self.audit)


class Soft(Exception):  # noqa: N818 - as task queues call theirs
    """The time limit of a task queue, raised by a signal handler."""


class Day:
    """The day: each call is made, and what it raises is reported."""

    def __init__(self, kind: type, folder: Path, store: str, planted: Planted, ears: Ears) -> None:
        self.kind, self.folder, self.store, self.planted, self.ears = kind, folder, store, planted, ears
        self.chance = random.Random(store)
        self.runner = asyncio.Runner()
        self.simulator = KlaviyoSimulator(account="SiMuLa", queue_lag=0.0, legacy="alive")
        self.counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        return "Day(…)"

    def do(self, work: Callable[[], Any]) -> Any:
        """Make a call, blocking or awaited, to its end."""
        with sentry_sdk.start_transaction(name="call"):
            try:
                result = work()
                if inspect.iscoroutine(result):
                    result = self.runner.run(result)
                elif hasattr(result, "__anext__"):
                    result = self.runner.run(_drained(result))
                elif hasattr(result, "__next__"):
                    result = list(result)
            except BaseException as error:  # noqa: BLE001 - a signal handler's too
                self.counts[type(error).__name__] += 1
                self.ears.failed(error)
                return None
        self.counts["done"] += 1
        return result

    def client(self, **options: Any) -> Any:
        """Return a client with little patience."""
        quick = {"retry": RetryPolicy(max_attempts=2, max_delay=0.05), "deadline": 2.0, "timeout": 0.4}
        waits = Policy(wait=0.1, lag=0.05, visible_wait=0.1, merge_wait=0.1)
        quick |= {"policy": waits, "account": "SiMuLa", "store": self.store, "base_url": self.base}
        if "access_token" not in options:
            quick["api_key"] = Word(f"pk_{self.planted.key}")
        return self.kind(**_plain(quick | options))

    def live(self) -> None:
        """Let the day pass."""
        with self.simulator.serve() as self.base:
            k = self.client(on_decision=self.crash)
            self.limited(k, self.planted.people[-1])
            for person in self.planted.people:
                self.of(k, person)
            self.around(k)
            self.do(k.aclose if self.kind is AsyncKlaviyo else k.close)
        self.runner.close()

    def crash(self, decision: Any) -> None:
        """Fail, now and then, over a decision."""
        if self.chance.random() < 0.3:
            raise LookupError(decision.identity.email)

    def trouble(self, person: Person) -> None:
        """Let some of the next requests fail, in words that quote what was sent."""
        quoting = {
            "errors": [{
                "id": "6a52", "status": 400, "code": "invalid", "title": person.email, "source": {"pointer": person.id},
                "detail": f"{person.email} {person.phone} {self.planted.key}",
                "meta": {"duplicate_profile_id": person.id},
            }]
        }  # fmt: skip
        kind = self.chance.randrange(6)
        if kind < 2:
            body = quoting if kind else f"<html>{person.email} {person.name}</html>"
            self.simulator.fail_next(status=self.chance.choice(STATUSES), body=body, times=self.chance.randint(1, 3))
        elif kind == 2:
            self.simulator.fail_next(broken="lost", times=self.chance.randint(1, 3))
        elif kind == 3:
            self.simulator.fail_next(when="after", broken=self.chance.choice(("lost", "truncated")))
        elif kind == 4:
            self.simulator.fail_next(delay=0.5)

    def of(self, k: Any, p: Person) -> None:
        """Make every call about one customer, each with its own trouble."""
        other = self.chance.choice(self.planted.people)
        calls: list[Callable[[], Any]] = [
            lambda: k.identify({"first_name": p.name, "city": p.city}, external_id=p.id, email=p.email),
            lambda: k.identify(
                {p.email: {p.email: object()}, "city": {p.city}}, external_id=p.id, email=p.email, phone_number=p.phone
            ),
            lambda: k.track(
                "Placed Order", external_id=p.id, email=p.email, properties={"to": p.city}, unique_id=p.name
            ),
            lambda: k.track("Placed Order", external_id=p.id, email=other.email),
            lambda: k.track("Placed Order", email=p.email, time=p.name),
            lambda: k.resolve(external_id=p.id),
            lambda: k.explain(external_id=p.id, email=other.email, phone_number=p.phone),
            lambda: k.change_phone_number(p.phone, email=p.email),
            lambda: k.change_email(p.new, external_id=p.id),
            lambda: k.change_email(other.email, external_id=p.id, on_taken="merge"),
            lambda: k.change_external_id(f"{p.id}-9", email=p.new),
            lambda: k.subscribe(MAILS, email=p.email, source=p.city),
            lambda: k.unsubscribe(MAILS, email=p.new),
            lambda: k.suppress(email=p.email),
            lambda: k.unsuppress(email=p.email),
            lambda: k.consent(email=p.new),
            lambda: k.profiles.search(email=p.email),
            lambda: k.profiles.search(phone_number=p.phone),
            lambda: k.profiles.get(p.id),
            lambda: k.profiles.update(p.id, {"city": p.city}),
            lambda: k.profiles.iterate(filter=f'equals(email,"{p.email}")'),
            lambda: k.bindings.add(
                [{"email": p.email, "external_id": p.id}, {"email": p.name, "phone_number": p.phone}]
            ),
            lambda: k.bindings.get(email=p.email),
            lambda: k.identify(external_id=p.id, email=f"{p.name}\udcff@shop.dev"),
            lambda: k.identify({"$email": other.email}, email=p.email),
            lambda: k.track("Placed Order", external_id=f"{p.name}-unknown"),
            lambda: k.request("GET", "/api/profiles", params={"filter": f'equals(email,"{p.email}")'}),
            lambda: k.iterate(f"/api/segments/{p.id}/profiles"),
        ]
        self.chance.shuffle(calls)
        for call in calls[: examples(20)]:
            if self.chance.random() < 0.5:
                self.trouble(p)
            self.do(call)
        if self.chance.random() < 0.2:
            self.do(lambda: k.erase(email=p.email))
        self.simulator.drain()

    def around(self, k: Any) -> None:
        """Do what is about nobody alone: other clients, maps that fail, time limits, commands."""
        p = self.planted.people[0]
        self.do(k.recover)
        self.do(k.recheck_changes)
        self.do(lambda: k.identify(external_id=p.id, email=p.email))
        for url in (
            f"postgresql://shop:{self.planted.password}@127.0.0.1:9/app",
            f"redis://shop:{self.planted.password}@127.0.0.1:9/0",
            f"postgresql://shop:{self.planted.password}@127.0.0.1:9/app?nonsense={self.planted.password}",
            f"oracle://shop:{self.planted.password}@db",
            f"sqlite:///{self.folder}/nowhere/{'x' * 300}.db",
        ):
            self.elsewhere(Word(url), p)
        self.tokens(p)
        self.failing_map(p)
        self.do(lambda: self.kind(f"pk_{self.planted.refused}\n", store="memory://"))
        self.do(lambda: self.kind(f"pk_{self.planted.refused}", store="memory://", base_url="http://shop.dev"))
        legacy = self.client(dialect="legacy", public_key="PubKey", store="memory://", account=None)
        self.do(lambda: legacy.track("Placed Order", email=p.email))
        self.do(lambda: legacy.profiles.search(email=p.email))
        self.end(legacy)
        self.commands(p)

    def end(self, k: Any) -> None:
        """Close a client."""
        self.do(k.aclose if self.kind is AsyncKlaviyo else k.close)

    def elsewhere(self, url: Word, p: Person) -> None:
        """Use a map that is not there."""
        k = self.do(lambda: self.client(store=url))
        if k is not None:
            self.do(lambda: k.identify(external_id=p.id, email=p.email))
            self.end(k)
        opened = open_store if self.kind is Klaviyo else open_async_store
        self.do(lambda: opened(str(url)))

    def tokens(self, p: Person) -> None:
        """Use access tokens, from a function that crashes."""

        def crash() -> str:
            raise LookupError("no token")

        for token in (lambda: str(self.planted.token), crash):
            k = self.client(access_token=token, store="memory://")
            self.do(lambda k=k: k.identify(external_id=p.id, email=p.email))
            self.end(k)

    def failing_map(self, p: Person) -> None:
        """Use a map of which the driver quotes what it was asked."""
        inner: Any = (open_store if self.kind is Klaviyo else open_async_store)("memory://")
        answer = inner.perform

        def perform(call: Any) -> Any:
            if self.chance.random() < 0.4:
                try:
                    {}[f"DETAIL: {call!r} {p.email}"]
                except KeyError:
                    raise StoreUnavailableError("the map is away") from None
            return answer(call)

        inner.perform = perform
        k = self.client(store=inner)
        for _ in range(10):
            self.do(lambda: k.identify(external_id=p.id, email=p.email))
            self.do(lambda: k.change_email(p.new, external_id=p.id))
        self.end(k)

    def limited(self, k: Any, p: Person) -> None:
        """End calls by a signal handler, or by cancelling them, while they wait for an answer."""

        def ring(*_: object) -> None:
            raise Soft

        async def cut() -> None:
            async with asyncio.timeout(0.05):
                await k.identify({"city": p.city}, external_id=p.id, email=p.email)

        before = signal.signal(signal.SIGALRM, ring)
        for _ in range(5):
            self.simulator.fail_next(delay=0.4)
            if self.kind is Klaviyo:
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                self.do(lambda: k.identify({"city": p.city}, external_id=p.id, email=p.email))
                signal.setitimer(signal.ITIMER_REAL, 0)
            else:
                self.do(cut)
        signal.signal(signal.SIGALRM, before)

    def commands(self, p: Person) -> None:
        """Import a file with bad rows, and look at a map whose URL has a password, in processes of their own too."""
        people = self.folder / "people.csv"
        rows = [f"{each.id},{each.email}\n".encode() for each in self.planted.people]
        people.write_bytes(b"external_id,email\n" + b"".join(rows) + f"{p.name},{p.name}".encode() + b"\xff@shop.dev\n")
        os.environ["SHOP_MAP"] = f"postgresql://shop:{self.planted.password}@127.0.0.1:9/app"
        os.environ["KLAVIYO_API_KEY"] = f"pk_{self.planted.key}"
        here = ["--store", self.store, "--account", "SiMuLa"] if self.store != "memory://" else None
        away = ["--store", "env:SHOP_MAP", "--account", "SiMuLa"]
        if here is not None:
            self.do(lambda: command(["bindings", "import", str(people), "--resume", *here]))
        for arguments in (["bindings", "import", str(people), "--resume", *away], ["doctor", *away]):
            done = subprocess.run(
                [sys.executable, "-m", "safeklaviyo", *arguments], check=False, capture_output=True, text=True
            )
            self.ears.hear("command", done.stdout + done.stderr)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Word) else value for name, value in options.items()}


async def _drained(source: Any) -> list[Any]:
    return [each async for each in source]


def tell_on(planted: Planted, ears: Ears, folder: Path) -> None:
    """Tell on a customer in every channel, as a fault in this package would."""
    p = planted.people[3]
    logging.getLogger("safeklaviyo").info("asked for a customer", extra={"email": p.email})
    code = compile("def ask(email):\n    raise LookupError('no one')\n", "leaky.py", "exec")
    ours: dict[str, Any] = {"__name__": "safeklaviyo.leaky"}
    exec(code, ours)
    try:
        ours["ask"](p.email)
    except LookupError as error:
        ears.failed(error)
    from opentelemetry import metrics, trace

    with trace.get_tracer("safeklaviyo").start_as_current_span("leak") as span:
        span.set_attribute("url.full", f"https://a.klaviyo.com/?email={p.email}")
    metrics.get_meter("safeklaviyo").create_counter("leak").add(1, {"email": p.email})
    Path(tempfile.gettempdir(), "leak.tmp").write_text(p.email)
    (folder / f"{p.id}.log").write_text("")
    subprocess.run([sys.executable, "-c", "", p.email], check=True)
    ears.hear("command", p.email)


def searched(planted: Planted, ears: Ears, heard: Heard, folder: Path) -> dict[str, Any]:
    """Search everything, and return how much there was, and how many words were found, by channel."""
    sentry_sdk.flush()
    texts = {**ears.heard, "structlog": ears.structured.getvalue().splitlines()}
    texts["spans"], texts["metrics"] = [span.to_json() for span in heard.spans], list(heard.told_of_metrics())
    left = [path for path in (folder / "tmp").rglob("*") if path.is_file()] + list(folder.glob("*.progress*"))
    texts["temporary file"] = [f"{path} {path.read_bytes()!r}" for path in left]
    found = {channel: sum(planted.found_in(text) for text in each) for channel, each in texts.items()}
    shown = {
        channel: next((planted.around(text) for text in each if planted.found_in(text)), "")
        for channel, each in texts.items() if found[channel]
    }  # fmt: skip
    return {"texts": {channel: len(each) for channel, each in texts.items()}, "found": found, "shown": shown}


def main() -> None:
    """Live the day, and print what was found."""
    folder, kind, store = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    leaks = len(sys.argv) > 4
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")
    planted, ears = Planted(f"{kind} {store}"), Ears()
    with listening(instruments_httpx=True) as heard:
        ears.set_up()
        day = Day(AsyncKlaviyo if kind == "async" else Klaviyo, folder, store, planted, ears)
        if leaks:
            tell_on(planted, ears, folder)
        else:
            day.live()
        report = searched(planted, ears, heard, folder)
    print(json.dumps({**report, "planted": len(planted.words), "counts": day.counts}))


if __name__ == "__main__":
    main()
