"""What a refusal of common mistakes says."""

from __future__ import annotations

import pytest

from safeklaviyo import InvalidIdentifierError, InvalidPropertyError
from safeklaviyo.identity import normalise_email, normalise_external_id, normalise_phone_number
from safeklaviyo.testing import KlaviyoSimulator


@pytest.mark.parametrize("name", ["email", "external_id", "phone_number"])
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_identifier_is_called_empty(name: str, text: str) -> None:
    """An empty text is no placeholder: the message says to leave it out."""
    read = {"email": normalise_email, "external_id": normalise_external_id, "phone_number": normalise_phone_number}
    with pytest.raises(InvalidIdentifierError, match="is empty: leave it out, or give None"):
        read[name](text)


def test_the_token_of_a_legacy_payload_is_no_property() -> None:
    """The public key beside the properties is left out with a notice; a token of the shop's own is kept."""
    simulator = KlaviyoSimulator()
    with simulator.client() as klaviyo:
        result = klaviyo.identify({"token": "AbC123", "properties": {"$email": "ada@shop.test", "$id": "1"}})
        klaviyo.identify({"token": "own", "plan": "gold"}, external_id="2", email="eve@shop.test")
        payload = {"token": "AbC123", "event": "Seen", "properties": {"sku": "engine"}}
        seen = klaviyo.track("Seen", email="ada@shop.test", properties=payload)
    assert [notice.path for notice in result.warnings] == ["properties.token"]
    assert "properties.token" in [notice.path for notice in seen.warnings]
    ada, eve = (simulator.find(email=f"{name}@shop.test") for name in ("ada", "eve"))
    assert ada is not None
    assert eve is not None
    assert "token" not in ada.properties
    assert eve.properties["token"] == "own"


@pytest.mark.parametrize(("key", "said"), [("plan", "has the key plan that"), ("ada@shop.test", "has a key that")])
def test_a_refused_row_names_its_key_where_it_is_a_name(key: str, said: str) -> None:
    """A key that looks like a name is shown, one that may be personal is not."""
    errors: list[Exception] = []
    with KlaviyoSimulator().client() as klaviyo:
        klaviyo.identify_many(
            [{"external_id": "1", key: 1}], on_refused=lambda _number, _row, error: errors.append(error)
        )
    assert said in str(errors[0])
    assert "ada@" not in str(errors[0])
    assert "put it under properties" in str(errors[0])


def test_unix_seconds_as_text_are_refused_with_the_remedy() -> None:
    """The message says to give a number."""
    with KlaviyoSimulator().client() as klaviyo, pytest.raises(InvalidPropertyError, match="seconds as a number"):
        klaviyo.track("Placed Order", email="ada@shop.test", time="1764000000")
