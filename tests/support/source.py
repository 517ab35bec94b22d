"""Where in the package's source things stand, by what they are about; tests that read or break the source ask here."""

from pathlib import Path

import safeklaviyo

PACKAGE = Path(safeklaviyo.__file__).parent
"""The folder of the package that is tested: the checkout's, or the installed one."""
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
PUBLIC = {
    "__init__.py", "__main__.py", "cli/__init__.py", "errors.py", "identity.py", "models.py", "policy.py",
    "stores/__init__.py", "stores/base.py", "stores/layered.py", "stores/memory.py", "stores/postgres.py",
    "stores/redis.py", "stores/sqlite.py", "testing/__init__.py", "testing/contract.py", "testing/plugin.py",
}  # fmt: skip
"""What programs may import; whatever else there is may move."""

PRIVATE = sorted(set(MODULES) - PUBLIC)

OPERATIONS = "_operations/"
ABSENCE = f"{OPERATIONS}_absence.py"
CALL = f"{OPERATIONS}_call.py"
CHANGE = f"{OPERATIONS}_change.py"
CONTACT = f"{OPERATIONS}_contact.py"
ERASE = f"{OPERATIONS}_erase.py"
ERASING = f"{OPERATIONS}_erasing.py"
MERGE = f"{OPERATIONS}_merge.py"
PHONE = f"{OPERATIONS}_phone.py"
READING = f"{OPERATIONS}_reading.py"
SETTLE = f"{OPERATIONS}_settle.py"
SUPERSEDED = f"{OPERATIONS}_superseded.py"
TRACK = f"{OPERATIONS}_track.py"
ANSWERS = "_answers.py"
CACHE = "stores/_cache.py"
DIALECTS = "_dialects.py"
EVENT = "_event.py"
EVIDENCE = "_evidence.py"
HTTP = "_http.py"
SENDERS = {HTTP, "_transports.py"}
"""The modules that know an HTTP library."""
LEDGER = "stores/_ledger.py"
PROPERTIES = "_properties.py"
RESERVED = "_reserved.py"
RETRY = "_retry.py"
RULES = "_rules.py"
VALUES = "_values.py"
VERSION = "_version.py"
WIRE = "_wire.py"
WIRE_LEGACY = "_wire_legacy.py"

DECIDERS = [ANSWERS, EVENT, EVIDENCE, PROPERTIES, RESERVED, RULES, VALUES, WIRE, "identity.py", "models.py"]
"""What decides, and does not know who asks."""
CORE = [
    name
    for name in MODULES
    if name.startswith(OPERATIONS)
    or name in {
        *DECIDERS, DIALECTS, RETRY, WIRE_LEGACY, "_budget.py", "_flow.py", "_pacing.py", "_target.py", "errors.py",
        "policy.py", "stores/base.py",
    }
]  # fmt: skip
"""What decides and describes, and does no I/O."""
ABOVE_DECIDERS = {"safeklaviyo._operations", "safeklaviyo._retry", "safeklaviyo._shell", "safeklaviyo._client"}
"""Who asks."""
SIMULATOR = "safeklaviyo.testing.simulator"
SIMULATOR_SERVER = "safeklaviyo.testing.server"
IN_CONTRIBUTING = {"_rules", "_operations", "stores.base"}
"""Some of the modules to which contributors are sent, as their page writes them."""


def dotted(name: str) -> str:
    """Return the name by which a module is imported, for that of its file."""
    parts = name.removesuffix(".py").split("/")
    return ".".join(("safeklaviyo", *(parts[:-1] if parts[-1] == "__init__" else parts)))
