"""Where in the package's source things stand, by what they are about; tests that read or break the source ask here."""

from pathlib import Path

import safeklaviyo

PACKAGE = Path(safeklaviyo.__file__).parent
"""The folder of the package that is tested: the checkout's, or the installed one."""
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
PUBLIC = {
    "__init__.py", "__main__.py", "audit/__init__.py", "batches.py", "celery.py",
    "cli/__init__.py", "consent.py", "demo/__init__.py", "django/__init__.py", "django/apps.py",
    "django/migrations/0001_initial.py", "errors.py", "gateway/__init__.py", "guard/__init__.py",
    "identity.py", "lists.py", "models.py", "outboxes.py", "policy.py", "procrastinate.py", "raw.py",
    "stores/__init__.py", "stores/base.py", "stores/calls.py", "stores/memory.py",
    "stores/postgres/__init__.py", "stores/redis/__init__.py", "stores/sqlite/__init__.py", "testing/__init__.py",
    "testing/contract.py", "testing/plugin.py",
}  # fmt: skip
"""What programs may import; whatever else there is may move."""

PRIVATE = sorted(set(MODULES) - PUBLIC)

AUDIT = "audit/_audit.py"
AUDIT_JOURNAL = "audit/_journal.py"
AUDIT_JUDGEMENT = "audit/_judgement.py"
AUDIT_PLAN = "audit/_plan.py"
AUDIT_REPAIR = "audit/_repair.py"
AUDIT_TABLE = "audit/_table.py"
MERGE_PLAN = "_rules/merge_plan.py"
MERGE_VERB = "_flows/verbs/merge.py"
GATEWAY = "gateway/_application.py"
GATEWAY_LEGACY = "gateway/_legacy.py"
GATEWAY_MESSAGES = "gateway/_messages.py"
ADDING = "_flows/verbs/add_bindings.py"
ADDING_TO_SQLITE = "stores/sqlite/_adding.py"
POSTGRES_VALUES = "stores/postgres/_values.py"
POSTGRES_CONNECTIONS = "stores/postgres/_connections.py"
CLAIMS = "cli/_claims.py"
SQLITE_TURNS = "stores/sqlite/_turns.py"
REPORT = "cli/_report.py"
LEARN = "_flows/verbs/learn.py"
LEARNING = "_rules/learning.py"
FILE_ROWS = "_files/rows.py"
ABSENCE = "_flows/identity/absence.py"
BINDING = "_flows/binding.py"
CALL = "_flows/call.py"
DEADLINES = "_flows/deadlines.py"
MANY = "_flows/many/rows.py"
RECORDS = "_files/records.py"
SENT_FILES = "cli/_bulk.py"
TOGETHER = "_flows/many/together.py"
TRACK_MANY = "_flows/many/track.py"
CONSENT_MANY = "_flows/many/consent.py"
CONTRADICTIONS = "_rules/contradictions.py"
IDENTIFY_MANY = "_flows/many/identify.py"
BULK = "_api/bulk.py"
IN_MANY = "_client/many.py"
CHECKPOINT = "cli/_checkpoint.py"
CHANGE = "_flows/leased/change_identifiers.py"
CONFIG = "_runtime/config.py"
CONTACT = "_flows/leased/first_contact.py"
ERASE = "_flows/verbs/erase.py"
UNEXPLAINED = "_flows/identity/unexplained.py"
RESOLVING = "_flows/identity/resolve.py"
LEFT_BEHIND = "_flows/identity/left_behind.py"
TOMBSTONES = "_flows/identity/tombstones.py"
IDENTIFY = "_flows/verbs/identify.py"
ERASING = "_flows/leased/erase.py"
RECHECK_CONSENT = "_flows/verbs/recheck_consent.py"
INTENTS = "_flows/leased/intents.py"
MERGE = "_flows/leased/merge.py"
PERSON = "_flows/verbs/person.py"
GIVING = "_flows/leased/giving.py"
LIVING = "_flows/leased/living.py"
WITHDRAWING = "_flows/leased/withdrawing.py"
SUBSCRIBE = "_flows/verbs/subscribe.py"
UNSUBSCRIBE = "_flows/verbs/unsubscribe.py"
CONSENT_RULES = "_rules/consent.py"
PENDING = "_flows/identity/pending_withdrawals.py"
PHONE = "_flows/identity/phones.py"
READING = "_flows/identity/reads.py"
DRIFT = "_flows/identity/drift.py"
LEASES = "_flows/leased/leases.py"
TAKEN = "_flows/leased/taken_identifiers.py"
SUPERSEDED = "_flows/leased/superseded.py"
SQLITE = "stores/sqlite/_database.py"
OBSERVING = "_runtime/observing.py"
TELEMETRY = "_runtime/telemetry.py"
TRANSFER = "cli/_transfer.py"
TRACEBACKS = "_tracebacks.py"
OUTBOX_GOING = "stores/outbox/going.py"
OUTBOX_WORDS = "stores/outbox/words.py"
OUTBOX_AT_ONCE = "stores/outbox/at_once.py"
OUTBOX_CALLERS = "stores/outbox/callers.py"
OUTBOX_OWN = "stores/outbox/own_transactions.py"
OUTBOX_SCHEMA = "stores/outbox/schema.py"
OUTBOX_CARRY = "_flows/outbox/carry.py"
OUTBOX_INSERT = "_flows/outbox/insert.py"
OUTBOX_DRAIN = "_flows/outbox/drain.py"
WAITING = "_flows/waiting.py"
WRITES = "_flows/writes.py"
TRACK = "_flows/verbs/track.py"
ANSWERS = "_api/responses.py"
DIALECTS = "_api/dialects.py"
EVENT = "_input/events.py"
EVENTS_OF_API = "_api/events.py"
EVIDENCE = "_rules/evidence.py"
SHOWN = "_rules/shown.py"
BODIES = "_api/bodies.py"
FINDINGS = "_input/findings.py"
IDENTITY = "identity.py"
ADDRESSES = "_addresses.py"
PLACEHOLDERS = "_placeholders.py"
ANSWER_BODIES = "_runtime/senders/bodies.py"
ANSWER_BYTES = "_runtime/senders/answers.py"
CONNECTIONS = "_runtime/senders/connections.py"
ROWS = "stores/rows.py"
SECRETS = "_secrets.py"
TOKENS = "_runtime/senders/tokens.py"
HELD = "_runtime/held_leases.py"
SENDERS = "_runtime/senders/"
HOOKS = "guard/_hooks/"
GUARDS_CARRY_LEARNING = "guard/_carry/learning.py"
GUARDS_CARRY_FINISHING = "guard/_carry/finishing.py"
GUARDS_CARRY_PARKING = "guard/_carry/parking.py"
GUARDS_KEYS = "guard/_keys.py"
GUARDS_CARRY_SETTLING = "guard/_carry/settling.py"
GUARDS_CARRY_UPDATING = "guard/_carry/updating.py"
GUARDS_COMMON = "guard/_common.py"
GUARDS_CORE = "guard/_core.py"
GUARDS_ASYNC_CORE = "guard/_async_core.py"
GUARDS_DECIDE_BY_MAP = "guard/_decide/by_map.py"
GUARDS_LESSONS = "guard/_lessons.py"
GUARDS_LOG_HASHES = "guard/_log/hashes.py"
GUARDS_PARSE_ASKED = "guard/_parse/asked.py"
GUARDS_WRITE_BODIES = "guard/_write/bodies.py"
GUARDS_WRITE_REPLIES = "guard/_write/replies.py"
SOCKETS = "_runtime/senders/sockets.py"
ASYNC_SOCKETS = "_runtime/senders/async_sockets.py"
PATIENCE = "stores/patience.py"
"""The folder of the modules that know an HTTP library."""
SEMANTICS = "stores/semantics.py"
PROPERTIES = "_input/properties.py"
RESERVED = "_input/reserved_keys.py"
RAW = "_api/raw.py"
REQUEST = "_flows/verbs/request.py"
LISTS = "_flows/verbs/lists.py"
ATTEMPTS = "_sending/attempts.py"
RULES = "_rules/claims.py"
VALUES = "_input/values.py"
VERSION = "_version.py"
WIRE = "_api/profiles.py"
WIRE_LEGACY = "_api/legacy.py"
REQUESTS = {
    "_api/accounts.py", "_api/bulk.py", "_api/lists.py", RAW, "_api/consent.py", EVENTS_OF_API, WIRE, WIRE_LEGACY,
}  # fmt: skip
"""The modules that make requests."""
NAMING_DIALECTS = {CONFIG, *(name for name in MODULES if name.startswith("_api/"))}
"""The modules that may name a dialect's class: the wire layer, and the arguments of which one chooses a dialect."""

AGENDA = "_worker/agenda.py"
TURNS = "stores/outbox/turns.py"
SHARED_PACING = "_sending/shared_pacing.py"
CELERY = "celery.py"
CHORES = "_worker/chores.py"
DJANGO_CLIENTS = "django/_clients.py"
DRAIN = "_flows/outbox/drain.py"
HEALTH = "_worker/health.py"
PROCRASTINATE = "procrastinate.py"
SYSTEMD = "_worker/systemd.py"
TEST_DATABASES = "django/_test_databases.py"
WORKING = "_worker/working.py"

ROOMS = (
    ("django",),
    ("cli",),
    ("audit", "demo", "gateway", "testing"),
    ("celery", "guard", "procrastinate"),
    ("_worker",),
    ("_client",),
    ("_runtime",),
    ("_flows",),
    ("_rules", "_sending"),
    ("stores",),
    ("_effects",),
    ("_api",),
    ("_files", "_input"),
    ("batches", "consent", "lists", "models", "outboxes", "raw"),
    ("identity", "policy"),
    (
        "errors", "notices",
        "_accounts", "_addresses", "_interruption", "_placeholders", "_secrets", "_tracebacks", "_version",
    ),
)  # fmt: skip
"""The rooms of the package, from the top. Each imports from rooms below it, and from itself. Those that stand side by
side do not know each other, but for the demo and the audit's diagnosis, which play on the simulator."""
WITHOUT_IO = (
    "_flows/", "_rules/", "_sending/", "_api/", "_input/",
    "guard/_parse/", "guard/_decide/", "guard/_write/", "guard/_carry/",
)  # fmt: skip
CORE = [
    name
    for name in MODULES
    if name.startswith(WITHOUT_IO)
    or name in {
        "_accounts.py", "_addresses.py", "_effects.py", "_secrets.py", "errors.py", "identity.py", "lists.py",
        "models.py", "policy.py", "raw.py", "stores/base.py", "stores/calls.py", "stores/records.py", "stores/rows.py",
        SEMANTICS,
    }
]  # fmt: skip
"""What decides and describes, and does no I/O."""


HARD = (
    "_flows/identity", "_flows/leased", "_flows/outbox", "_flows/verbs", "_rules", "_sending", "audit", "gateway",
    "guard", "guard/_carry", "guard/_decide", "stores", "stores/outbox", "stores/postgres", "stores/redis",
    "stores/sqlite",
)  # fmt: skip
"""The rooms with long flows, and with lines that must stand where they do."""


def room(name: str) -> str:
    """Return the room in which a module stands, or an empty text for the package's own face."""
    first = name.partition("/")[0].removesuffix(".py")
    return "" if first in {"__init__", "__main__"} else first


DIAGNOSIS = "audit/_diagnosis/"
"""The folder of the modules that replay logs into the simulator."""
DIAGNOSIS_CALLS = "audit/_diagnosis/calls.py"
DIAGNOSIS_CAUSES = "audit/_diagnosis/causes.py"
DIAGNOSIS_EVIDENCE = "audit/_diagnosis/evidence.py"
DIAGNOSIS_HAR = "audit/_diagnosis/har.py"
DIAGNOSIS_HISTORIES = "audit/_diagnosis/histories.py"
DIAGNOSIS_LOGS = "audit/_diagnosis/logs.py"
DIAGNOSIS_PEOPLE = "audit/_diagnosis/people.py"
DIAGNOSIS_RESULT = "audit/_diagnosis/diagnoses.py"
SIMULATOR = "safeklaviyo.testing.simulator"
SIMULATOR_CLIENTS = "safeklaviyo.testing.clients"
SIMULATOR_SERVER = "safeklaviyo.testing.server"
IN_CONTRIBUTING = {"_rules.claims", "_flows.verbs", "stores.base"}
"""Some of the modules to which contributors are sent, as their page writes them."""


def dotted(name: str) -> str:
    """Return the name by which a module is imported, for that of its file."""
    parts = name.removesuffix(".py").split("/")
    return ".".join(("safeklaviyo", *(parts[:-1] if parts[-1] == "__init__" else parts)))
