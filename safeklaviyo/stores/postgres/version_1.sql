-- The identity map of safeklaviyo in PostgreSQL 12 or later, version 1. Run it as one transaction.
--
-- "place" has one row for each identifier: the binding that owns it, and since when it is retired. Its primary key
-- keeps an external id, an email and a profile id unique in an account. "leased" has one row for each identifier of a
-- lease; its primary key keeps two leases from sharing an identifier. Writers of an account take turns by an advisory
-- lock, which ends with their transaction; readers never wait. No session keeps any state.
--
-- PostgreSQL keeps a function's plans for the life of a connection, and may make them while the tables are empty, when
-- a scan looks cheapest. So each lookup by a key stands alone, behind OFFSET 0 or in a loop: then PostgreSQL cannot
-- join it with the rest of the query, and has no other plan than the index.
--
-- The steps of the operations are those of safeklaviyo/stores/semantics.py, which says why each stands where it does.
-- The functions themselves are as the first version made them, to the letter: maps that exist have no others. So all
-- comments about them stand before them, and no name in them can change.

DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the database has to be encoded in UTF8' USING ERRCODE = 'SK002';
    END IF;
    -- Not CREATE SCHEMA IF NOT EXISTS: a role that may not create schemas can then use one that exists.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {schema_text}) THEN
        CREATE SCHEMA {schema};
    END IF;
END
$$;

-- Tokens and keys must not be given twice (P4). A standby that is promoted may not have received the newest numbers of
-- the lost server, and its sequence would give them again. But a promoted standby begins a new timeline, so the
-- timeline is the higher part of each number. Some services do not let the timeline be read, each with an error of its
-- own; the higher part is 0 there. "number" runs with the rights of the owner of the tables, so that other roles need
-- no rights on the sequence.
DO $$
BEGIN
    PERFORM pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn());
    CREATE FUNCTION {schema}.era() RETURNS bigint LANGUAGE sql VOLATILE AS $_$
        SELECT ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::bigint << 40
    $_$;
EXCEPTION WHEN OTHERS THEN
    CREATE FUNCTION {schema}.era() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 0::bigint';
END
$$;

CREATE SEQUENCE {schema}.numbers;
CREATE FUNCTION {schema}.number() RETURNS bigint LANGUAGE sql VOLATILE
SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT {schema}.era() + nextval({numbers_text}) $$;

CREATE TABLE {schema}.version(number integer PRIMARY KEY);

CREATE TABLE {schema}.binding(
    id bigint DEFAULT {schema}.number() PRIMARY KEY,
    account text COLLATE "C" NOT NULL,
    external_id text COLLATE "C",
    email text COLLATE "C",
    profile_id text COLLATE "C",
    phone_number text COLLATE "C",
    verified_at double precision,
    version bigint NOT NULL
);
CREATE INDEX binding_of_account ON {schema}.binding(account, id);

CREATE TABLE {schema}.place(
    account text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    binding bigint NOT NULL,
    retired_at double precision,
    PRIMARY KEY (account, kind, value)
);
CREATE INDEX place_retired ON {schema}.place(binding) WHERE retired_at IS NOT NULL;

CREATE TABLE {schema}.lease(
    token bigint DEFAULT {schema}.number() PRIMARY KEY,
    account text COLLATE "C" NOT NULL,
    identifiers text NOT NULL,
    intent text NOT NULL,
    expires double precision NOT NULL
);
CREATE INDEX lease_expires ON {schema}.lease(account, expires);

CREATE TABLE {schema}.leased(
    account text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    token bigint NOT NULL REFERENCES {schema}.lease ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (account, kind, value)
);
CREATE INDEX leased_token ON {schema}.leased(token);

CREATE TABLE {schema}.journal(
    number bigint DEFAULT {schema}.number() PRIMARY KEY,
    account text COLLATE "C" NOT NULL,
    at double precision NOT NULL,
    binding bigint NOT NULL,
    profile_id text,
    external_id text,
    verb text NOT NULL,
    old text,
    new text
);
CREATE INDEX journal_of_account ON {schema}.journal(account, number);
CREATE INDEX journal_of_binding ON {schema}.journal(binding, at);

CREATE TABLE {schema}.note(
    account text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (account, name)
);

CREATE FUNCTION {schema}.clock() RETURNS double precision LANGUAGE sql VOLATILE
AS $$ SELECT extract(epoch FROM clock_timestamp())::double precision $$;

CREATE FUNCTION {schema}.names(_identifiers json) RETURNS TABLE(number bigint, kind text, value text)
LANGUAGE sql IMMUTABLE
AS $$ SELECT n, e->>0, e->>1 FROM json_array_elements(_identifiers) WITH ORDINALITY AS t(e, n) $$;

CREATE FUNCTION {schema}.owned(_binding {schema}.binding) RETURNS TABLE(number integer, kind text, value text)
LANGUAGE sql IMMUTABLE
AS $$
    SELECT v.* FROM (VALUES
        (1, 'external_id', _binding.external_id), (2, 'email', _binding.email), (3, 'profile_id', _binding.profile_id)
    ) AS v(number, kind, value) WHERE v.value IS NOT NULL
$$;

-- Wait for the account's other writers, and return the time at which this writer's turn begins. In READ COMMITTED each
-- later statement sees what those writers have committed. In a stricter isolation level it would see the map as it was
-- before the wait, so those are refused.
CREATE FUNCTION {schema}.enter(_account text) RETURNS double precision LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'the identity map needs the isolation level READ COMMITTED' USING ERRCODE = 'SK001';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended({schema_text} || ' ' || _account, 0));
    RETURN {schema}.clock();
END
$$;

-- Return a row for each identifier: its owner's binding, and the lease with the lowest token on the identifier or on
-- any identifier of that binding. Without identifiers there is one row, for the time alone.
CREATE FUNCTION {schema}.find(_account text, _identifiers json) RETURNS TABLE(
    now double precision, number bigint, retired_at double precision,
    id bigint, external_id text, email text, profile_id text, phone_number text,
    verified_at double precision, version bigint,
    token bigint, identifiers text, intent text, expires double precision
)
LANGUAGE plpgsql STABLE {planning}
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.now, a.number, p.retired_at,
        b.id, b.external_id, b.email, b.profile_id, b.phone_number, b.verified_at, b.version,
        l.token, l.identifiers, l.intent, l.expires
    FROM (SELECT {schema}.clock() AS now) AS c
    LEFT JOIN {schema}.names(_identifiers) AS a ON true
    LEFT JOIN LATERAL (
        SELECT * FROM {schema}.place WHERE account = _account AND kind = a.kind AND value = a.value OFFSET 0
    ) AS p ON true
    LEFT JOIN {schema}.binding AS b ON b.id = p.binding
    LEFT JOIN {schema}.lease AS l ON l.token = (
        SELECT min(t.token) FROM (
            SELECT d.token FROM {schema}.leased AS d
            WHERE d.account = _account AND d.kind = a.kind AND d.value = a.value
            UNION ALL
            SELECT d.token FROM {schema}.leased AS d
            WHERE d.account = _account AND d.kind = 'external_id' AND d.value = b.external_id
            UNION ALL
            SELECT d.token FROM {schema}.leased AS d
            WHERE d.account = _account AND d.kind = 'email' AND d.value = b.email
            UNION ALL
            SELECT d.token FROM {schema}.leased AS d
            WHERE d.account = _account AND d.kind = 'profile_id' AND d.value = b.profile_id
        ) AS t
    )
    ORDER BY a.number;
END
$$;

CREATE FUNCTION {schema}.page(_account text, _after bigint, _limit bigint) RETURNS SETOF {schema}.binding
LANGUAGE plpgsql STABLE {paging}
AS $$
BEGIN
    RETURN QUERY
    SELECT b.* FROM {schema}.binding AS b WHERE b.account = _account AND b.id > _after ORDER BY b.id LIMIT _limit;
END
$$;

CREATE FUNCTION {schema}.journal_page(_account text, _since double precision, _after bigint, _limit bigint)
RETURNS SETOF {schema}.journal
LANGUAGE plpgsql STABLE {paging}
AS $$
BEGIN
    RETURN QUERY
    SELECT j.* FROM {schema}.journal AS j
    WHERE j.account = _account AND j.number > _after AND j.at >= _since ORDER BY j.number LIMIT _limit;
END
$$;

-- Without a cursor the part begins with the first name. That may be the empty text, so an empty cursor is another case.
CREATE FUNCTION {schema}.note_page(_account text, _after text, _limit bigint) RETURNS SETOF {schema}.note
LANGUAGE plpgsql STABLE {paging}
AS $$
BEGIN
    IF _after IS NULL THEN
        RETURN QUERY SELECT n.* FROM {schema}.note AS n WHERE n.account = _account ORDER BY n.name LIMIT _limit;
    ELSE
        RETURN QUERY
        SELECT n.* FROM {schema}.note AS n WHERE n.account = _account AND n.name > _after ORDER BY n.name LIMIT _limit;
    END IF;
END
$$;

-- An expired lease is handed over with its own identifiers and intent, which have to be finished first (H6). Its new
-- token fences the holder before. The rows of "leased" follow the token by ON UPDATE CASCADE. If leases are in the way
-- and none has expired, no row is returned.
CREATE FUNCTION {schema}.acquire(_account text, _identifiers json, _intent text, _ttl double precision)
RETURNS TABLE(token bigint, identifiers text, intent text, remaining double precision, taken_over boolean)
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
#variable_conflict use_column
DECLARE
    _now CONSTANT double precision := {schema}.enter(_account);
    _held bigint[];
    _token bigint;
BEGIN
    _held := ARRAY(
        SELECT d.token FROM {schema}.names(_identifiers) AS a CROSS JOIN LATERAL (
            SELECT token FROM {schema}.leased WHERE account = _account AND kind = a.kind AND value = a.value OFFSET 0
        ) AS d
    );
    SELECT min(l.token) INTO _token FROM {schema}.lease AS l WHERE l.token = ANY(_held) AND l.expires <= _now;
    IF _token IS NOT NULL THEN
        RETURN QUERY
        UPDATE {schema}.lease AS l SET token = DEFAULT, expires = _now + _ttl WHERE l.token = _token
        RETURNING l.token, l.identifiers, l.intent, _ttl, true;
    ELSIF _held = '{}' THEN
        INSERT INTO {schema}.lease AS l (account, identifiers, intent, expires)
        VALUES (_account, _identifiers::text, _intent, _now + _ttl) RETURNING l.token INTO _token;
        INSERT INTO {schema}.leased (account, kind, value, token)
        SELECT _account, a.kind, a.value, _token FROM {schema}.names(_identifiers) AS a;
        RETURN QUERY SELECT _token, _identifiers::text, _intent, _ttl, false;
    END IF;
END
$$;

CREATE FUNCTION {schema}.renew(_account text, _token bigint, _ttl double precision, _intent text) RETURNS boolean
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
DECLARE
    _now CONSTANT double precision := {schema}.enter(_account);
BEGIN
    UPDATE {schema}.lease AS l SET intent = coalesce(_intent, l.intent), expires = _now + _ttl
    WHERE l.token = _token AND l.account = _account;
    RETURN FOUND;
END
$$;

CREATE FUNCTION {schema}.release(_account text, _token bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
BEGIN
    PERFORM {schema}.enter(_account);
    DELETE FROM {schema}.lease AS l WHERE l.token = _token AND l.account = _account;
    RETURN FOUND;
END
$$;

-- Make a binding's identifiers current on it. An identifier that was retired is not retired any more.
CREATE FUNCTION {schema}.settle(_binding {schema}.binding) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    INSERT INTO {schema}.place AS p (account, kind, value, binding)
    SELECT _binding.account, o.kind, o.value, _binding.id FROM {schema}.owned(_binding) AS o
    ON CONFLICT (account, kind, value) DO UPDATE SET binding = excluded.binding, retired_at = NULL
    WHERE p.binding <> excluded.binding OR p.retired_at IS NOT NULL;
END
$$;

-- Return, for each identifier of a binding, the binding on which it is current in the map.
CREATE FUNCTION {schema}.owners(_account text, _binding {schema}.binding)
RETURNS TABLE(number integer, kind text, binding bigint) LANGUAGE sql STABLE
AS $$
    SELECT o.number, o.kind, p.binding FROM {schema}.owned(_binding) AS o CROSS JOIN LATERAL (
        SELECT binding FROM {schema}.place
        WHERE account = _account AND kind = o.kind AND value = o.value AND retired_at IS NULL OFFSET 0
    ) AS p
$$;

-- Merge other bindings into one: their current and retired identifiers are retired from it, their rows of the journal
-- become its rows, and they are removed. The journal's rows also move for a binding that is gone already.
CREATE FUNCTION {schema}.absorb(_account text, _others bigint[], _into bigint, _now double precision) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    _gone CONSTANT bigint[] := ARRAY(
        SELECT b.id FROM {schema}.binding AS b WHERE b.id = ANY(_others) AND b.id <> _into AND b.account = _account
    );
    _name record;
BEGIN
    UPDATE {schema}.place SET binding = _into WHERE binding = ANY(_gone) AND retired_at IS NOT NULL;
    FOR _name IN SELECT o.* FROM {schema}.binding AS b CROSS JOIN LATERAL {schema}.owned(b) AS o WHERE b.id = ANY(_gone)
    LOOP
        UPDATE {schema}.place SET binding = _into, retired_at = _now
        WHERE account = _account AND kind = _name.kind AND value = _name.value;
    END LOOP;
    DELETE FROM {schema}.binding WHERE id = ANY(_gone);
    UPDATE {schema}.journal SET binding = _into
    WHERE account = _account AND binding = ANY(_others) AND binding <> _into;
END
$$;

-- Carry out a change. The checks, in this order:
--
-- 1. The token: a fenced caller has to stop, even if the change is stale or in conflict too (P4).
-- 2. The version: compare-and-set (H5). A new binding is stale if the same pair has been bound. "_stands" is the
--    binding as it is before the change.
-- 3. Uniqueness: an identifier that is current on a binding outside this change stays there (P3).
--
-- Then the change. A former external id or email is retired; a former profile id is deleted, because it must not lead
-- to this customer. An identifier that is current on a binding is not retired ("ownership beats retirement"). The lease
-- ends in the same transaction, so that no process can be killed between the two.
CREATE FUNCTION {schema}.bind(_account text, _change json) RETURNS TABLE(
    status text, id bigint, external_id text, email text, profile_id text, phone_number text,
    verified_at double precision, version bigint
)
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
#variable_conflict use_column
DECLARE
    _now CONSTANT double precision := {schema}.enter(_account);
    _token CONSTANT bigint := (_change->>'token')::bigint;
    _absorb CONSTANT bigint[] := ARRAY(SELECT e::bigint FROM json_array_elements_text(_change->'absorb') AS e);
    _wanted {schema}.binding := json_populate_record(NULL::{schema}.binding, _change->'binding');
    _stands {schema}.binding;
    _status text := 'bound';
    _shown bigint;
    _name record;
BEGIN
    IF _token IS NOT NULL
        AND NOT EXISTS (SELECT FROM {schema}.lease AS l WHERE l.token = _token AND l.account = _account)
    THEN
        status := 'fenced';
        RETURN NEXT;
        RETURN;
    END IF;

    IF _wanted.id IS NULL THEN
        SELECT b.* INTO _stands FROM {schema}.owners(_account, _wanted) AS o
        JOIN {schema}.binding AS b ON b.id = o.binding
        WHERE o.kind <> 'profile_id' AND b.external_id IS NOT DISTINCT FROM _wanted.external_id
            AND b.email IS NOT DISTINCT FROM _wanted.email
        LIMIT 1;
        _status := CASE WHEN _stands.id IS NULL THEN 'bound' ELSE 'stale' END;
    ELSE
        SELECT b.* INTO _stands FROM {schema}.binding AS b WHERE b.id = _wanted.id AND b.account = _account;
        _status := CASE WHEN _stands.version = _wanted.version THEN 'bound' ELSE 'stale' END;
    END IF;
    _shown := _stands.id;

    IF _status = 'bound' THEN
        SELECT o.binding INTO _shown FROM {schema}.owners(_account, _wanted) AS o
        WHERE o.binding IS DISTINCT FROM _wanted.id AND o.binding <> ALL(_absorb) ORDER BY o.number LIMIT 1;
        IF _shown IS NOT NULL THEN
            _status := 'conflict';
        END IF;
    END IF;

    IF _status = 'bound' THEN
        _wanted.account := _account;
        _wanted.version := coalesce(_stands.version, 0) + 1;
        IF (_change->>'verified')::boolean THEN
            _wanted.verified_at := _now;
        END IF;
        IF _stands.id IS NULL THEN
            INSERT INTO {schema}.binding AS b
                (account, external_id, email, profile_id, phone_number, verified_at, version)
            VALUES (_account, _wanted.external_id, _wanted.email, _wanted.profile_id, _wanted.phone_number,
                _wanted.verified_at, _wanted.version)
            RETURNING b.id INTO _wanted.id;
        ELSE
            UPDATE {schema}.binding AS b SET external_id = _wanted.external_id, email = _wanted.email,
                profile_id = _wanted.profile_id, phone_number = _wanted.phone_number,
                verified_at = _wanted.verified_at, version = _wanted.version
            WHERE b.id = _wanted.id;
        END IF;
        _shown := _wanted.id;
        PERFORM {schema}.absorb(_account, _absorb, _shown, _now);

        FOR _name IN SELECT kind, value FROM {schema}.owned(_stands)
            EXCEPT SELECT kind, value FROM {schema}.owned(_wanted)
        LOOP
            IF _name.kind = 'profile_id' THEN
                DELETE FROM {schema}.place AS p
                WHERE p.account = _account AND p.kind = _name.kind AND p.value = _name.value;
            ELSE
                UPDATE {schema}.place AS p SET retired_at = _now
                WHERE p.account = _account AND p.kind = _name.kind AND p.value = _name.value;
            END IF;
        END LOOP;
        -- Ownership beats retirement.
        INSERT INTO {schema}.place AS p (account, kind, value, binding, retired_at)
        SELECT _account, a.kind, a.value, _shown, _now FROM {schema}.names(_change->'retire') AS a
        ON CONFLICT (account, kind, value) DO UPDATE SET binding = excluded.binding, retired_at = excluded.retired_at
        WHERE p.retired_at IS NOT NULL;
        PERFORM {schema}.settle(_wanted);

        DELETE FROM {schema}.lease AS l WHERE l.token = _token;
        INSERT INTO {schema}.journal (account, at, binding, profile_id, external_id, verb, old, new)
        SELECT _account, _now, _shown, _wanted.profile_id, _wanted.external_id, e->>0, e->>1, e->>2
        FROM (SELECT _change->'journal' AS e) AS j WHERE json_typeof(e) = 'array';
    END IF;

    RETURN QUERY
    SELECT _status, b.id, b.external_id, b.email, b.profile_id, b.phone_number, b.verified_at, b.version
    FROM (SELECT _shown AS id) AS s LEFT JOIN {schema}.binding AS b ON b.id = s.id;
END
$$;

-- For each row: "_stands" is the binding that has its identifiers, "_whole" that binding with its gaps filled in. A
-- lease on any of the identifiers is a conflict, because an import must not change what the lease's holder relies on.
CREATE FUNCTION {schema}.add(_account text, _rows json) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
#variable_conflict use_column
DECLARE
    _row {schema}.binding;
    _stands {schema}.binding;
    _whole {schema}.binding;
    _owners bigint[];
BEGIN
    PERFORM {schema}.enter(_account);
    FOR _row IN SELECT * FROM json_populate_recordset(NULL::{schema}.binding, _rows) LOOP
        _owners := ARRAY(SELECT DISTINCT o.binding FROM {schema}.owners(_account, _row) AS o);
        IF cardinality(_owners) = 0 THEN
            _stands := NULL;
            _whole := _row;
            _whole.account := _account;
        ELSE
            SELECT b.* INTO _stands FROM {schema}.binding AS b WHERE b.id = _owners[1];
            _whole := _stands;
            _whole.external_id := coalesce(_row.external_id, _stands.external_id);
            _whole.email := coalesce(_row.email, _stands.email);
            _whole.profile_id := coalesce(_row.profile_id, _stands.profile_id);
            _whole.phone_number := coalesce(_row.phone_number, _stands.phone_number);
        END IF;

        IF cardinality(_owners) > 1
            OR _whole.external_id <> _stands.external_id OR _whole.email <> _stands.email
            OR _whole.profile_id <> _stands.profile_id OR _whole.phone_number <> _stands.phone_number
        THEN
            RETURN NEXT 'conflict';
        ELSIF cardinality(_owners) = 1 AND _whole IS NOT DISTINCT FROM _stands THEN
            RETURN NEXT 'unchanged';
        ELSIF EXISTS (
            SELECT FROM {schema}.owned(_whole) AS o CROSS JOIN LATERAL (
                SELECT FROM {schema}.leased WHERE account = _account AND kind = o.kind AND value = o.value OFFSET 0
            ) AS d
        ) THEN
            RETURN NEXT 'conflict';
        ELSE
            IF _stands.id IS NULL THEN
                INSERT INTO {schema}.binding AS b
                    (account, external_id, email, profile_id, phone_number, verified_at, version)
                VALUES (_account, _row.external_id, _row.email, _row.profile_id, _row.phone_number,
                    _row.verified_at, 1)
                RETURNING b.id INTO _whole.id;
            ELSE
                UPDATE {schema}.binding AS b SET external_id = _whole.external_id, email = _whole.email,
                    profile_id = _whole.profile_id, phone_number = _whole.phone_number,
                    verified_at = _row.verified_at, version = _stands.version + 1
                WHERE b.id = _whole.id;
            END IF;
            PERFORM {schema}.settle(_whole);
            RETURN NEXT 'added';
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION {schema}.remove(_account text, _kind text, _value text) RETURNS boolean
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
DECLARE
    _gone {schema}.binding;
    _name record;
BEGIN
    PERFORM {schema}.enter(_account);
    DELETE FROM {schema}.binding AS b WHERE b.id = (
        SELECT p.binding FROM {schema}.place AS p
        WHERE p.account = _account AND p.kind = _kind AND p.value = _value AND p.retired_at IS NULL
    ) RETURNING b.* INTO _gone;
    DELETE FROM {schema}.place WHERE binding = _gone.id AND retired_at IS NOT NULL;
    FOR _name IN SELECT * FROM {schema}.owned(_gone) LOOP
        DELETE FROM {schema}.place WHERE account = _account AND kind = _name.kind AND value = _name.value;
    END LOOP;
    RETURN _gone.id IS NOT NULL;
END
$$;

-- A row has the kind and value of an identifier that is current on the binding, those of the retired identifier, and
-- the time of its retirement. ON CONFLICT: an identifier that has an owner here keeps that owner.
CREATE FUNCTION {schema}.restore(_account text, _rows json) RETURNS bigint
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
DECLARE
    _row json;
    _owner bigint;
    _restored bigint := 0;
BEGIN
    PERFORM {schema}.enter(_account);
    FOR _row IN SELECT * FROM json_array_elements(_rows) LOOP
        SELECT p.binding INTO _owner FROM {schema}.place AS p
        WHERE p.account = _account AND p.kind = _row->>0 AND p.value = _row->>1 AND p.retired_at IS NULL;
        CONTINUE WHEN _owner IS NULL;
        INSERT INTO {schema}.place (account, kind, value, binding, retired_at)
        VALUES (_account, _row->>2, _row->>3, _owner, (_row->>4)::double precision)
        ON CONFLICT (account, kind, value) DO NOTHING;
        IF FOUND THEN
            _restored := _restored + 1;
        END IF;
    END LOOP;
    RETURN _restored;
END
$$;

-- A row has the identifiers of its binding, and its columns ("_told"). In "_owners" NULL stands for an identifier that
-- is current nowhere: exactly one binding has to have them all, because a row about one customer must not become
-- another's.
CREATE FUNCTION {schema}.restore_journal(_account text, _rows json) RETURNS bigint
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
DECLARE
    _row json;
    _told {schema}.journal;
    _owners bigint[];
    _restored bigint := 0;
BEGIN
    PERFORM {schema}.enter(_account);
    FOR _row IN SELECT * FROM json_array_elements(_rows) LOOP
        _owners := ARRAY(
            SELECT DISTINCT p.binding FROM {schema}.names(_row->0) AS a LEFT JOIN LATERAL (
                SELECT o.binding FROM {schema}.place AS o
                WHERE o.account = _account AND o.kind = a.kind AND o.value = a.value AND o.retired_at IS NULL OFFSET 0
            ) AS p ON true
        );
        CONTINUE WHEN _owners[1] IS NULL OR cardinality(_owners) > 1;
        _told := json_populate_record(NULL::{schema}.journal, _row->1);
        INSERT INTO {schema}.journal (account, at, binding, profile_id, external_id, verb, old, new)
        SELECT _account, _told.at, _owners[1], _told.profile_id, _told.external_id, _told.verb, _told.old, _told.new
        WHERE NOT EXISTS (
            SELECT FROM {schema}.journal AS j WHERE j.binding = _owners[1] AND j.at = _told.at
                AND (j.profile_id, j.external_id, j.verb, j.old, j.new)
                IS NOT DISTINCT FROM (_told.profile_id, _told.external_id, _told.verb, _told.old, _told.new)
        );
        IF FOUND THEN
            _restored := _restored + 1;
        END IF;
    END LOOP;
    RETURN _restored;
END
$$;

CREATE FUNCTION {schema}.release_identifier(_account text, _kind text, _value text) RETURNS boolean
LANGUAGE plpgsql VOLATILE {planning} {waiting}
AS $$
BEGIN
    PERFORM {schema}.enter(_account);
    DELETE FROM {schema}.place AS p
    WHERE p.account = _account AND p.kind = _kind AND p.value = _value AND p.retired_at IS NOT NULL;
    RETURN FOUND;
END
$$;

INSERT INTO {schema}.version VALUES (1);
