"""Events without a key, with ``unique_id="from_content"``: H35's trace in both directions."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from safeklaviyo import ConfigurationError, guard
from support.guarding import Asked, Keys, Shop, event, keys_of, operation_of, read
from support.scenes import ANN, BOB

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator

AT = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def keyed(simulator: KlaviyoSimulator, k: Klaviyo) -> Shop:
    """A shop whose events get keys of their content."""
    k.identify(**ANN)
    return Shop(simulator, k, mode="enforce", unique_id="from_content")


def asked(data: Any) -> Asked:
    """Return an event as the guard reads it."""
    body = json.dumps({"data": data}).encode()
    return read("POST", "/api/events", operation_of("POST", "/api/events"), {}, body)


def with_attributes(data: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an event with further attributes."""
    return {**data, "attributes": {**data["attributes"], **more}}


def test_h35_two_events_of_one_second_are_both_kept(keyed: Shop, simulator: KlaviyoSimulator) -> None:
    """Klaviyo alone counts one for each customer, metric and second: here of two articles both are recorded."""
    for number in (1, 2):
        assert (
            202 == keyed.post("/api/events", with_attributes(event(**ANN), properties={"article": number})).status_code
        )
    simulator.drain()
    assert [1, 2] == sorted(each.properties["article"] for each in simulator.events)
    assert 2 == keyed.counters["unkeyed_events"]


@pytest.mark.parametrize("lost", ["status", "connection"])
def test_h35_a_repeat_after_a_lost_answer_is_one(keyed: Shop, simulator: KlaviyoSimulator, lost: str) -> None:
    """The caller's own retry, in a second in which Klaviyo would count it again, has the key of the first attempt."""
    simulator.fail_next("create_event", status=503 if lost == "status" else None, when="after")
    if lost == "status":
        assert 503 == keyed.event(**ANN).status_code
    else:
        with pytest.raises(httpx.TransportError):
            keyed.event(**ANN)
    simulator.advance(30.0)
    assert 202 == keyed.event(**ANN).status_code
    first, second = (json.loads(each.content)["data"]["attributes"]["unique_id"] for each in keyed.sent)
    assert first == second
    simulator.drain()
    assert 1 == len(simulator.events)


def test_h35_after_an_answer_equal_content_is_another_event(keyed: Shop) -> None:
    """What was accepted is done: the next call of the kind, in a later second, is no repeat of it."""
    assert 202 == keyed.event(**ANN).status_code
    later = keys_of(keyed).key_of(asked(event(**ANN)), AT, time.monotonic())
    assert keyed.last["attributes"]["unique_id"] != later


def test_the_callers_own_key_stays(keyed: Shop) -> None:
    """Only what has no key gets one."""
    keyed.post("/api/events", with_attributes(event(**ANN), unique_id="order-1"))
    assert "order-1" == keyed.last["attributes"]["unique_id"]


def test_an_event_that_names_a_profile_gets_one_too(keyed: Shop, k: Klaviyo) -> None:
    """Nothing else of it is changed."""
    data = event()
    data["attributes"]["profile"]["data"] = {"type": "profile", "id": k.resolve(**ANN).profile_id}
    keyed.post("/api/events", data)
    sent = keyed.last
    assert sent["attributes"].pop("unique_id")
    assert data == sent
    assert {"enforced": 1, "rewritten": 1, "unkeyed_events": 1} == keyed.counters


class TestKeys:
    """When two calls are one event."""

    def test_equal_content_of_one_second_is_one(self) -> None:
        """As Klaviyo has it; the order in which a caller writes names says nothing."""
        keys, data = Keys(), event(**ANN)
        turned = {"attributes": dict(reversed(data["attributes"].items())), "type": "event"}
        assert keys.key_of(asked(data), AT, 0.0) == keys.key_of(asked(turned), AT, 0.1)

    def test_without_an_answer_it_is_the_same_for_a_minute(self) -> None:
        """Each further attempt begins a new minute; after one without any it is another event."""
        keys, data = Keys(), asked(event(**ANN))
        first = keys.key_of(data, AT, 0.0)
        assert first == keys.key_of(data, AT + timedelta(seconds=50), 50.0)
        assert first == keys.key_of(data, AT + timedelta(seconds=100), 100.0)
        assert first != keys.key_of(data, AT + timedelta(seconds=161), 161.0)

    def test_after_an_answer_it_is_another_event(self) -> None:
        """A customer who looks at the same page twice has looked twice."""
        keys, data = Keys(), asked(event(**ANN))
        first = keys.key_of(data, AT, 0.0)
        keys.answered(first)
        assert first != keys.key_of(data, AT + timedelta(seconds=2), 2.0)

    def test_a_time_of_the_callers_is_enough(self) -> None:
        """Then nothing has to be remembered: another process comes to the same key, at any time."""
        data = asked(with_attributes(event(**ANN), time="2026-11-01T12:00:00Z"))
        assert Keys().key_of(data, AT, 0.0) == Keys().key_of(data, AT + timedelta(days=1), 1.0)

    @pytest.mark.parametrize("more", [{"value": 9.5}, {"time": "2026-11-01T12:00:00Z"}, {"properties": {"n": 2}}])
    def test_other_content_is_another_event(self, more: dict[str, Any]) -> None:
        """And so is another customer, or another metric."""
        keys = Keys()
        others = [with_attributes(event(**ANN), **more), event(**BOB), event("Viewed Product", **ANN)]
        assert 4 == len({keys.key_of(asked(each), AT, 0.0) for each in [event(**ANN), *others]})

    def test_no_more_than_ten_thousand_are_remembered(self) -> None:
        """The oldest is forgotten, and is another event then."""
        keys = Keys()
        keys.answered("never-1")
        first = keys.key_of(asked(event(**ANN)), AT, 0.0)
        for number in range(10_000):
            keys.key_of(asked(event(email=f"{number}@shop.test")), AT, 0.0)
        assert first != keys.key_of(asked(event(**ANN)), AT + timedelta(seconds=1), 1.0)


def test_an_unknown_way_is_refused(k: Klaviyo) -> None:
    """The two ways are named."""
    with pytest.raises(ConfigurationError, match="as_sent"):
        guard.transport(k, unique_id="always")  # type: ignore[arg-type]
