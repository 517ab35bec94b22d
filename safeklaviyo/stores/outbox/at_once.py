"""Inserting a row in PostgreSQL by one call of a function, which also fixes the row's profile from the map beside it.

Decided here: the two usual cases, in which the rules need not be asked. Either the map knows none of the identifiers,
or all of them are current on one binding with an address and a profile. In any other case the function inserts nothing.

PostgreSQL keeps the plans of a function's statements. Sent one by one they would take longer to plan than to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.outbox.words import ESCAPES, NAME_LENGTH, OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.stores.outbox import calls
    from safeklaviyo.stores.outbox.records import NewRow
    from safeklaviyo.stores.outbox.words import Steps


def _added(kind: str) -> str:
    """Return what adds a name of the binding that was not asked for, hashed as `_flows.outbox.names` does."""
    text = f"own_key || E'\\n' || asked_account || E'\\n{kind}\\n' || known.{kind}"
    return f"""IF known.{kind} IS NOT NULL AND texts[array_position(kinds, '{kind}')] IS DISTINCT FROM known.{kind} THEN
                named := named || left(encode(sha256(convert_to({text}, 'UTF8')), 'hex'), {NAME_LENGTH});
            END IF;"""


PUT: Final = f"""
    CREATE OR REPLACE FUNCTION {{put}}(
        asked_account text, asked_about text, kinds text[], texts text[], named text[], new_lane integer,
        new_profile text, new_verb text, new_payload text, new_key text, new_time double precision)
    RETURNS bigint LANGUAGE plpgsql VOLATILE AS $body_of_safeklaviyo$
    DECLARE
        own_key text;
        owner bigint;
        met bigint;
        is_current boolean := true;
        known record;
        row_id bigint;
    BEGIN
        SELECT a.key INTO own_key FROM {{about}} AS a WHERE a.id = asked_about;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        FOR number IN 1 .. coalesce(array_length(kinds, 1), 0) LOOP
            SELECT p.binding, is_current AND p.retired_at IS NULL INTO met, is_current FROM {{place}} AS p
            WHERE p.account = asked_account AND p.kind = kinds[number] AND p.value = texts[number];
            -- Either all identifiers lead to one binding, or none leads to any. The rules judge every other case.
            IF number > 1 AND met IS DISTINCT FROM owner OR is_current IS FALSE THEN
                RETURN 0;
            END IF;
            is_current := true;
            owner := met;
        END LOOP;
        IF owner IS NOT NULL THEN
            SELECT b.id, b.external_id, b.email, b.profile_id INTO known FROM {{binding}} AS b WHERE b.id = owner;
            IF known.email IS NULL OR known.profile_id IS NULL THEN
                RETURN 0;
            END IF;
            new_profile := known.profile_id;
            new_lane := mod(known.id, 64);
            -- The caller has hashed the names that were asked for; those that the binding has besides are added.
            {_added("external_id")}
            {_added("email")}
            {_added("profile_id")}
        END IF;
        INSERT INTO {{outbox}}(account, lane, names, profile, verb, payload, unique_id, time, at, due)
        SELECT asked_account, new_lane, to_jsonb(named), new_profile, new_verb, new_payload, new_key, new_time, t.now,
            t.now FROM (SELECT extract(epoch FROM clock_timestamp())::double precision AS now) AS t
        RETURNING id INTO row_id;
        INSERT INTO {{name}}(name, lane, id) SELECT unnest(named), new_lane, row_id ON CONFLICT DO NOTHING;
        PERFORM pg_notify('safeklaviyo_outbox', asked_account || ':' || new_lane);
        RETURN row_id;
    END
    $body_of_safeklaviyo$
"""  # noqa: S608 - names of this module's own
_CALL: Final = (
    "SELECT {put}(CAST(? AS text), CAST(? AS text), CAST(? AS text[]), CAST(? AS text[]), CAST(? AS text[]),"
    " CAST(? AS integer), CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS text),"
    " CAST(? AS double precision))"
)


def insert_at_once(call: calls.InsertAtOnce) -> Steps[int | None]:
    """Insert a row in one of the usual cases; return None in any other case."""
    kinds = [str(kind) for kind, _ in call.identifiers]
    texts = [value.translate(ESCAPES) for _, value in call.identifiers]
    rows = yield _CALL, _given(call.account, call.about, kinds, texts, call.row)
    return _id_of(rows[0][0]) or None


def insert_as_told(call: calls.Insert) -> Steps[int]:
    """Insert a row with the profile and the names that it has already."""
    # Without identifiers the function does not ask the map.
    rows = yield _CALL, _given(call.account, call.about, [], [], call.row)
    return _id_of(rows[0][0])


_QUOTED: Final = str.maketrans({'"': r"\"", "\\": r"\\"})


def _given(account: str, about: str, kinds: list[str], texts: list[str], row: NewRow) -> tuple[object, ...]:
    unique_id = None if row.unique_id is None else row.unique_id.translate(ESCAPES)
    lists = (_array(kinds), _array(texts), _array(row.names + row.marks))
    return (account, about, *lists, row.lane, row.profile, row.verb, row.payload, unique_id, row.time)


def _array(values: Sequence[str]) -> str:
    """Return PostgreSQL's text of an array, which every driver can send (*Array Input and Output Syntax*)."""
    return '{"' + '","'.join([each.translate(_QUOTED) for each in values]) + '"}' if values else "{}"


def _id_of(answer: int | None) -> int:
    if answer is None:
        raise ConfigurationError(OTHER)
    return int(answer)
