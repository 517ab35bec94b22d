"""The decision log: a line for each call, by the published schema, without an identifier, at no cost to the call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema

from support.guarding import Shop
from support.scenes import ANN, NEW, PHONE
from support.source import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator

SCHEMA = json.loads((PACKAGE / "guard" / "decision-log.schema.json").read_text())


def lines(shop: Shop, log: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, each of which fits the schema."""
    shop.transport.guard.flush()
    found = [json.loads(line) for line in log.read_text().splitlines()]
    for line in found:
        jsonschema.validate(line, SCHEMA)
    return found


def test_each_call_has_a_line(simulator: KlaviyoSimulator, k: Klaviyo, tmp_path: Path) -> None:
    """What was asked, decided and answered, and where in the shop's code."""
    log = tmp_path / "decisions.jsonl"
    shop = Shop(simulator, k, mode="enforce", decision_log=log)
    profile_id = k.identify(**ANN).profile_id
    shop.event(external_id=7, email=ANN["email"])
    shop.upsert(**ANN, first_name="Ann")
    refused, written = lines(shop, log)
    assert ("create_event", "refuse", "R7", 409, False) == (
        refused["operation"], refused["action"], refused["rule"], refused["status"], refused["from_klaviyo"],
    )  # fmt: skip
    assert "int" == refused["people"][0]["external_id"]["kind"]
    assert ["/data/attributes/external_id", "/data/attributes/email", "/data/id"] == written["rewritten"]
    assert [profile_id] == [each["profile_id"] for each in written["answer"]["profiles"]]
    assert written["people"][0]["email"] == refused["people"][0]["email"]
    assert "support/guarding.py" == written["site"].partition(":")[0]


def test_no_identifier_is_in_it(simulator: KlaviyoSimulator, k: Klaviyo, tmp_path: Path) -> None:
    """P8: neither of the call, nor of the answer, nor of a refusal; and not in the hashes of another map."""
    log = tmp_path / "decisions.jsonl"
    shop = Shop(simulator, k, mode="enforce", decision_log=log)
    shop.upsert(**ANN, phone_number=PHONE)
    shop.upsert(external_id=ANN["external_id"], email=NEW)
    shop.create(**ANN)
    lines(shop, log)
    text = log.read_text()
    assert [] == [each for each in (*ANN.values(), NEW, PHONE, PHONE[1:]) if each in text]


def test_a_log_that_cannot_be_written_costs_nothing(simulator: KlaviyoSimulator, k: Klaviyo, tmp_path: Path) -> None:
    """The call is answered, the lines are counted, and one warning is logged."""
    shop = Shop(simulator, k, decision_log=tmp_path)  # a folder
    assert [202, 202] == [shop.event(**ANN).status_code for _ in range(2)]
    shop.transport.guard.flush()
    assert 2 == shop.counters["log_failed"]
