"""The duplicates that are in an account already: found, explained, and merged where the data prove it.

The module of a name is loaded when the name is first used; `_HOMES` says which module that is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safeklaviyo.audit._audit import audit
    from safeklaviyo.audit._diagnosis.diagnoses import Diagnosis, diagnose
    from safeklaviyo.audit._exports import Export
    from safeklaviyo.audit._finding import RULES, Finding, Shown, ShownBinding
    from safeklaviyo.audit._found import Audit
    from safeklaviyo.audit._plan import PlannedMerge, RepairPlan
    from safeklaviyo.audit._repair import RepairReport, RepairResult, repair

__all__ = [
    "RULES",
    "Audit",
    "Diagnosis",
    "Export",
    "Finding",
    "PlannedMerge",
    "RepairPlan",
    "RepairReport",
    "RepairResult",
    "Shown",
    "ShownBinding",
    "audit",
    "diagnose",
    "repair",
]

_HOMES = {
    name: home
    for home, names in {
        "_diagnosis.diagnoses": ("Diagnosis", "diagnose"),
        "_audit": ("audit",),
        "_exports": ("Export",),
        "_finding": ("Finding", "RULES", "Shown", "ShownBinding"),
        "_found": ("Audit",),
        "_plan": ("PlannedMerge", "RepairPlan"),
        "_repair": ("RepairReport", "RepairResult", "repair"),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
