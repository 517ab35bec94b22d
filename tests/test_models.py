"""What operations return: frozen, tolerant of what Klaviyo adds, and masked wherever it is printed."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from safeklaviyo import models
from safeklaviyo.identity import Identity
from safeklaviyo.models import (
    CLEAR,
    Binding,
    Decision,
    EmailChange,
    IdentifyResult,
    ImportReport,
    Notice,
    Profile,
    Progress,
    TrackResult,
)

ID, EMAIL, OLD, PHONE = "customer-4711", "jane.doe@shop.example", "old.jane@shop.example", "+4915112345678"
WHEN = datetime(2026, 10, 15, tzinfo=UTC)
PAIR = Identity(ID, EMAIL)
NOTICE = Notice("phone_taken", "phone_number", "the phone number is another profile's")
BINDING = Binding(ID, EMAIL, "01ABC", PHONE, 1.0, 3, key=f"id:{ID}")
PROFILE = Profile(
    id="01ABC", external_id=ID, email=EMAIL, phone_number=PHONE, first_name="Jane", properties={"a": EMAIL}
)
RESULTS = [
    NOTICE,
    BINDING,
    Decision("send", PAIR, "R3", "the map knows the pair", binding=BINDING),
    IdentifyResult("01ABC", created=True, identity=PAIR, rule="R3", warnings=(NOTICE,)),
    TrackResult("order-1", WHEN, "01ABC", PAIR, "R3"),
    EmailChange("changed", "01ABC", ID, OLD, EMAIL, visible=True, warnings=(NOTICE,)),
    ImportReport(1, 2, ((3, "the email is malformed"),)),
    Progress(1, None, 0, 2.5, None),
]


@pytest.mark.parametrize("result", [*RESULTS, PROFILE, PAIR], ids=lambda result: type(result).__name__)
def test_p8_printing_shows_nobody(result):
    """P8: neither `repr` nor `str` nor a rich console shows who it is about."""
    console = Console(file=StringIO(), width=500)
    console.print(result, [result])
    shown = f"{result!r} {result} {console.file.getvalue()}"
    assert [] == [word for word in (ID, EMAIL, OLD, PHONE, "Jane") if word in shown]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (
            BINDING,
            (
                "Binding(external_id=***11, email=j***@***, profile_id='01ABC', phone_number=***78, verified_at=1.0,"
                " version=3)"
            ),
        ),
        (Binding(None, EMAIL), "Binding(email=j***@***, version=0)"),
        (
            EmailChange("changed", "01ABC", ID, OLD, EMAIL, visible=False),
            (
                "EmailChange(status='changed', profile_id='01ABC', external_id=***11, old_email=o***@***,"
                " new_email=j***@***, visible=False)"
            ),
        ),
        (PROFILE, "Profile(id='01ABC', external_id='***11', email='j***@***')"),
        (Profile(id="01ABC"), "Profile(id='01ABC', external_id=None, email=None)"),
    ],
)
def test_repr_is_masked_but_useful(result, text):
    """A `repr` says which record it is, with what is personal masked and what is missing left out."""
    assert text == repr(result)


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_results_are_frozen_values(result):
    """A result cannot be changed, and equals its copy and what a pickle of it gives back."""
    name = dataclasses.fields(result)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, name, None)
    assert [result] * 2 == [copy.deepcopy(result), pickle.loads(pickle.dumps(result))]
    assert hash(result) == hash(copy.deepcopy(result))


def test_a_profile_is_frozen():
    """A profile cannot be changed by accident: that would change nothing in Klaviyo."""
    with pytest.raises(ValidationError, match="frozen"):
        PROFILE.email = OLD
    assert PROFILE == pickle.loads(pickle.dumps(PROFILE))


def test_f23_a_profile_keeps_what_it_does_not_know():
    """F-23: fields that Klaviyo adds later are kept, and fields that are missing are None or empty."""
    profile = Profile.model_validate({"id": "01ABC", "loyalty": {"tier": 2}, "created": "2026-10-15T00:00:00+00:00"})
    assert ({"loyalty": {"tier": 2}}, WHEN) == (profile.model_extra, profile.created)
    assert (None, None, {}, {}, None) == (
        profile.email,
        profile.external_id,
        profile.location,
        profile.properties,
        profile.subscriptions,
    )


def test_profiles_do_not_share_their_defaults():
    """What is missing in one profile is not another's (F-10)."""
    first, second = Profile(id="01A"), Profile(id="01B")
    first.properties["seen"] = True
    assert {} == second.properties


def test_a_binding_names_its_pair():
    """A binding's identity is its external id and its current email."""
    assert PAIR == BINDING.identity


def test_clear_is_itself_everywhere():
    """`CLEAR` survives copying and pickling as the same object, and prints as its name."""
    assert (CLEAR, CLEAR, "CLEAR") == (copy.deepcopy(CLEAR), pickle.loads(pickle.dumps(CLEAR)), repr(CLEAR))
    assert pickle.loads(pickle.dumps(CLEAR)) is CLEAR


def test_importing_the_models_stays_light():
    """Reading a result needs no HTTP library, no database and no event loop."""
    program = f"""
import sys, types
package = sys.modules["safeklaviyo"] = types.ModuleType("safeklaviyo")
package.__path__ = [{str(Path(models.__file__).parent)!r}]
before = set(sys.modules)
import safeklaviyo.models
heavy = {{"httpx", "asyncio", "sqlite3", "ssl", "rich", "email_validator", "tenacity"}}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
