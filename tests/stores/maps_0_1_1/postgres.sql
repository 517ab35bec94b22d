SET check_function_bodies = false;





CREATE SCHEMA safeklaviyo;



CREATE FUNCTION safeklaviyo.absorb(_account text, _others bigint[], _into bigint, _now double precision) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _gone CONSTANT bigint[] := ARRAY(
        SELECT b.id FROM "safeklaviyo".binding AS b WHERE b.id = ANY(_others) AND b.id <> _into AND b.account = _account
    );
    _name record;
BEGIN
    UPDATE "safeklaviyo".place SET binding = _into WHERE binding = ANY(_gone) AND retired_at IS NOT NULL;
    FOR _name IN SELECT o.* FROM "safeklaviyo".binding AS b CROSS JOIN LATERAL "safeklaviyo".owned(b) AS o WHERE b.id = ANY(_gone)
    LOOP
        UPDATE "safeklaviyo".place SET binding = _into, retired_at = _now
        WHERE account = _account AND kind = _name.kind AND value = _name.value;
    END LOOP;
    DELETE FROM "safeklaviyo".binding WHERE id = ANY(_gone);
    UPDATE "safeklaviyo".journal SET binding = _into
    WHERE account = _account AND binding = ANY(_others) AND binding <> _into;
END
$$;



CREATE FUNCTION safeklaviyo.acquire(_account text, _identifiers json, _intent text, _ttl double precision) RETURNS TABLE(token bigint, identifiers text, intent text, remaining double precision, taken_over boolean)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
#variable_conflict use_column
DECLARE
    _now CONSTANT double precision := "safeklaviyo".enter(_account);
    _held bigint[];
    _token bigint;
BEGIN
    _held := ARRAY(
        SELECT d.token FROM "safeklaviyo".names(_identifiers) AS a CROSS JOIN LATERAL (
            SELECT token FROM "safeklaviyo".leased WHERE account = _account AND kind = a.kind AND value = a.value OFFSET 0
        ) AS d
    );
    SELECT min(l.token) INTO _token FROM "safeklaviyo".lease AS l WHERE l.token = ANY(_held) AND l.expires <= _now;
    IF _token IS NOT NULL THEN
        RETURN QUERY
        UPDATE "safeklaviyo".lease AS l SET token = DEFAULT, expires = _now + _ttl WHERE l.token = _token
        RETURNING l.token, l.identifiers, l.intent, _ttl, true;
    ELSIF _held = '{}' THEN
        INSERT INTO "safeklaviyo".lease AS l (account, identifiers, intent, expires)
        VALUES (_account, _identifiers::text, _intent, _now + _ttl) RETURNING l.token INTO _token;
        INSERT INTO "safeklaviyo".leased (account, kind, value, token)
        SELECT _account, a.kind, a.value, _token FROM "safeklaviyo".names(_identifiers) AS a;
        RETURN QUERY SELECT _token, _identifiers::text, _intent, _ttl, false;
    END IF;
END
$$;



CREATE FUNCTION safeklaviyo.add(_account text, _rows json) RETURNS SETOF text
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
#variable_conflict use_column
DECLARE
    _row "safeklaviyo".binding;
    _stands "safeklaviyo".binding;
    _whole "safeklaviyo".binding;
    _owners bigint[];
BEGIN
    PERFORM "safeklaviyo".enter(_account);
    FOR _row IN SELECT * FROM json_populate_recordset(NULL::"safeklaviyo".binding, _rows) LOOP
        _owners := ARRAY(SELECT DISTINCT o.binding FROM "safeklaviyo".owners(_account, _row) AS o);
        IF cardinality(_owners) = 0 THEN
            _stands := NULL;
            _whole := _row;
            _whole.account := _account;
        ELSE
            SELECT b.* INTO _stands FROM "safeklaviyo".binding AS b WHERE b.id = _owners[1];
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
            SELECT FROM "safeklaviyo".owned(_whole) AS o CROSS JOIN LATERAL (
                SELECT FROM "safeklaviyo".leased WHERE account = _account AND kind = o.kind AND value = o.value OFFSET 0
            ) AS d
        ) THEN
            RETURN NEXT 'conflict';
        ELSE
            IF _stands.id IS NULL THEN
                INSERT INTO "safeklaviyo".binding AS b
                    (account, external_id, email, profile_id, phone_number, verified_at, version)
                VALUES (_account, _row.external_id, _row.email, _row.profile_id, _row.phone_number,
                    _row.verified_at, 1)
                RETURNING b.id INTO _whole.id;
            ELSE
                UPDATE "safeklaviyo".binding AS b SET external_id = _whole.external_id, email = _whole.email,
                    profile_id = _whole.profile_id, phone_number = _whole.phone_number,
                    verified_at = _row.verified_at, version = _stands.version + 1
                WHERE b.id = _whole.id;
            END IF;
            PERFORM "safeklaviyo".settle(_whole);
            RETURN NEXT 'added';
        END IF;
    END LOOP;
END
$$;



CREATE FUNCTION safeklaviyo.bind(_account text, _change json) RETURNS TABLE(status text, id bigint, external_id text, email text, profile_id text, phone_number text, verified_at double precision, version bigint)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
#variable_conflict use_column
DECLARE
    _now CONSTANT double precision := "safeklaviyo".enter(_account);
    _token CONSTANT bigint := (_change->>'token')::bigint;
    _absorb CONSTANT bigint[] := ARRAY(SELECT e::bigint FROM json_array_elements_text(_change->'absorb') AS e);
    _wanted "safeklaviyo".binding := json_populate_record(NULL::"safeklaviyo".binding, _change->'binding');
    _stands "safeklaviyo".binding;
    _status text := 'bound';
    _shown bigint;
    _name record;
BEGIN
    IF _token IS NOT NULL
        AND NOT EXISTS (SELECT FROM "safeklaviyo".lease AS l WHERE l.token = _token AND l.account = _account)
    THEN
        status := 'fenced';
        RETURN NEXT;
        RETURN;
    END IF;

    IF _wanted.id IS NULL THEN
        SELECT b.* INTO _stands FROM "safeklaviyo".owners(_account, _wanted) AS o
        JOIN "safeklaviyo".binding AS b ON b.id = o.binding
        WHERE o.kind <> 'profile_id' AND b.external_id IS NOT DISTINCT FROM _wanted.external_id
            AND b.email IS NOT DISTINCT FROM _wanted.email
        LIMIT 1;
        _status := CASE WHEN _stands.id IS NULL THEN 'bound' ELSE 'stale' END;
    ELSE
        SELECT b.* INTO _stands FROM "safeklaviyo".binding AS b WHERE b.id = _wanted.id AND b.account = _account;
        _status := CASE WHEN _stands.version = _wanted.version THEN 'bound' ELSE 'stale' END;
    END IF;
    _shown := _stands.id;

    IF _status = 'bound' THEN
        SELECT o.binding INTO _shown FROM "safeklaviyo".owners(_account, _wanted) AS o
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
            INSERT INTO "safeklaviyo".binding AS b
                (account, external_id, email, profile_id, phone_number, verified_at, version)
            VALUES (_account, _wanted.external_id, _wanted.email, _wanted.profile_id, _wanted.phone_number,
                _wanted.verified_at, _wanted.version)
            RETURNING b.id INTO _wanted.id;
        ELSE
            UPDATE "safeklaviyo".binding AS b SET external_id = _wanted.external_id, email = _wanted.email,
                profile_id = _wanted.profile_id, phone_number = _wanted.phone_number,
                verified_at = _wanted.verified_at, version = _wanted.version
            WHERE b.id = _wanted.id;
        END IF;
        _shown := _wanted.id;
        PERFORM "safeklaviyo".absorb(_account, _absorb, _shown, _now);

        FOR _name IN SELECT kind, value FROM "safeklaviyo".owned(_stands)
            EXCEPT SELECT kind, value FROM "safeklaviyo".owned(_wanted)
        LOOP
            IF _name.kind = 'profile_id' THEN
                DELETE FROM "safeklaviyo".place AS p
                WHERE p.account = _account AND p.kind = _name.kind AND p.value = _name.value;
            ELSE
                UPDATE "safeklaviyo".place AS p SET retired_at = _now
                WHERE p.account = _account AND p.kind = _name.kind AND p.value = _name.value;
            END IF;
        END LOOP;
        -- Ownership beats retirement.
        INSERT INTO "safeklaviyo".place AS p (account, kind, value, binding, retired_at)
        SELECT _account, a.kind, a.value, _shown, _now FROM "safeklaviyo".names(_change->'retire') AS a
        ON CONFLICT (account, kind, value) DO UPDATE SET binding = excluded.binding, retired_at = excluded.retired_at
        WHERE p.retired_at IS NOT NULL;
        PERFORM "safeklaviyo".settle(_wanted);

        DELETE FROM "safeklaviyo".lease AS l WHERE l.token = _token;
        INSERT INTO "safeklaviyo".journal (account, at, binding, profile_id, external_id, verb, old, new)
        SELECT _account, _now, _shown, _wanted.profile_id, _wanted.external_id, e->>0, e->>1, e->>2
        FROM (SELECT _change->'journal' AS e) AS j WHERE json_typeof(e) = 'array';
    END IF;

    RETURN QUERY
    SELECT _status, b.id, b.external_id, b.email, b.profile_id, b.phone_number, b.verified_at, b.version
    FROM (SELECT _shown AS id) AS s LEFT JOIN "safeklaviyo".binding AS b ON b.id = s.id;
END
$$;



CREATE FUNCTION safeklaviyo.clock() RETURNS double precision
    LANGUAGE sql
    AS $$ SELECT extract(epoch FROM clock_timestamp())::double precision $$;



CREATE FUNCTION safeklaviyo.enter(_account text) RETURNS double precision
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'the identity map needs the isolation level READ COMMITTED' USING ERRCODE = 'SK001';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('safeklaviyo' || ' ' || _account, 0));
    RETURN "safeklaviyo".clock();
END
$$;



CREATE FUNCTION safeklaviyo.era() RETURNS bigint
    LANGUAGE sql
    AS $$
        SELECT ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::bigint << 40
    $$;



CREATE FUNCTION safeklaviyo.find(_account text, _identifiers json) RETURNS TABLE(now double precision, number bigint, retired_at double precision, id bigint, external_id text, email text, profile_id text, phone_number text, verified_at double precision, version bigint, token bigint, identifiers text, intent text, expires double precision)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.now, a.number, p.retired_at,
        b.id, b.external_id, b.email, b.profile_id, b.phone_number, b.verified_at, b.version,
        l.token, l.identifiers, l.intent, l.expires
    FROM (SELECT "safeklaviyo".clock() AS now) AS c
    LEFT JOIN "safeklaviyo".names(_identifiers) AS a ON true
    LEFT JOIN LATERAL (
        SELECT * FROM "safeklaviyo".place WHERE account = _account AND kind = a.kind AND value = a.value OFFSET 0
    ) AS p ON true
    LEFT JOIN "safeklaviyo".binding AS b ON b.id = p.binding
    LEFT JOIN "safeklaviyo".lease AS l ON l.token = (
        SELECT min(t.token) FROM (
            SELECT d.token FROM "safeklaviyo".leased AS d
            WHERE d.account = _account AND d.kind = a.kind AND d.value = a.value
            UNION ALL
            SELECT d.token FROM "safeklaviyo".leased AS d
            WHERE d.account = _account AND d.kind = 'external_id' AND d.value = b.external_id
            UNION ALL
            SELECT d.token FROM "safeklaviyo".leased AS d
            WHERE d.account = _account AND d.kind = 'email' AND d.value = b.email
            UNION ALL
            SELECT d.token FROM "safeklaviyo".leased AS d
            WHERE d.account = _account AND d.kind = 'profile_id' AND d.value = b.profile_id
        ) AS t
    )
    ORDER BY a.number;
END
$$;



CREATE FUNCTION safeklaviyo.number() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog'
    AS $$ SELECT "safeklaviyo".era() + nextval('"safeklaviyo".numbers') $$;





CREATE TABLE safeklaviyo.journal (
    number bigint DEFAULT safeklaviyo.number() NOT NULL,
    account text NOT NULL COLLATE pg_catalog."C",
    at double precision NOT NULL,
    binding bigint NOT NULL,
    profile_id text,
    external_id text,
    verb text NOT NULL,
    old text,
    new text
);



CREATE FUNCTION safeklaviyo.journal_page(_account text, _since double precision, _after bigint, _limit bigint) RETURNS SETOF safeklaviyo.journal
    LANGUAGE plpgsql STABLE
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
BEGIN
    RETURN QUERY
    SELECT j.* FROM "safeklaviyo".journal AS j
    WHERE j.account = _account AND j.number > _after AND j.at >= _since ORDER BY j.number LIMIT _limit;
END
$$;



CREATE FUNCTION safeklaviyo.names(_identifiers json) RETURNS TABLE(number bigint, kind text, value text)
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT n, e->>0, e->>1 FROM json_array_elements(_identifiers) WITH ORDINALITY AS t(e, n) $$;



CREATE TABLE safeklaviyo.note (
    account text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL
);



CREATE FUNCTION safeklaviyo.note_page(_account text, _after text, _limit bigint) RETURNS SETOF safeklaviyo.note
    LANGUAGE plpgsql STABLE
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
BEGIN
    IF _after IS NULL THEN
        RETURN QUERY SELECT n.* FROM "safeklaviyo".note AS n WHERE n.account = _account ORDER BY n.name LIMIT _limit;
    ELSE
        RETURN QUERY
        SELECT n.* FROM "safeklaviyo".note AS n WHERE n.account = _account AND n.name > _after ORDER BY n.name LIMIT _limit;
    END IF;
END
$$;



CREATE TABLE safeklaviyo.binding (
    id bigint DEFAULT safeklaviyo.number() NOT NULL,
    account text NOT NULL COLLATE pg_catalog."C",
    external_id text COLLATE pg_catalog."C",
    email text COLLATE pg_catalog."C",
    profile_id text COLLATE pg_catalog."C",
    phone_number text COLLATE pg_catalog."C",
    verified_at double precision,
    version bigint NOT NULL
);



CREATE FUNCTION safeklaviyo.owned(_binding safeklaviyo.binding) RETURNS TABLE(number integer, kind text, value text)
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT v.* FROM (VALUES
        (1, 'external_id', _binding.external_id), (2, 'email', _binding.email), (3, 'profile_id', _binding.profile_id)
    ) AS v(number, kind, value) WHERE v.value IS NOT NULL
$$;



CREATE FUNCTION safeklaviyo.owners(_account text, _binding safeklaviyo.binding) RETURNS TABLE(number integer, kind text, binding bigint)
    LANGUAGE sql STABLE
    AS $$
    SELECT o.number, o.kind, p.binding FROM "safeklaviyo".owned(_binding) AS o CROSS JOIN LATERAL (
        SELECT binding FROM "safeklaviyo".place
        WHERE account = _account AND kind = o.kind AND value = o.value AND retired_at IS NULL OFFSET 0
    ) AS p
$$;



CREATE FUNCTION safeklaviyo.page(_account text, _after bigint, _limit bigint) RETURNS SETOF safeklaviyo.binding
    LANGUAGE plpgsql STABLE
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
BEGIN
    RETURN QUERY
    SELECT b.* FROM "safeklaviyo".binding AS b WHERE b.account = _account AND b.id > _after ORDER BY b.id LIMIT _limit;
END
$$;



CREATE FUNCTION safeklaviyo.release(_account text, _token bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
BEGIN
    PERFORM "safeklaviyo".enter(_account);
    DELETE FROM "safeklaviyo".lease AS l WHERE l.token = _token AND l.account = _account;
    RETURN FOUND;
END
$$;



CREATE FUNCTION safeklaviyo.release_identifier(_account text, _kind text, _value text) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
BEGIN
    PERFORM "safeklaviyo".enter(_account);
    DELETE FROM "safeklaviyo".place AS p
    WHERE p.account = _account AND p.kind = _kind AND p.value = _value AND p.retired_at IS NOT NULL;
    RETURN FOUND;
END
$$;



CREATE FUNCTION safeklaviyo.remove(_account text, _kind text, _value text) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
DECLARE
    _gone "safeklaviyo".binding;
    _name record;
BEGIN
    PERFORM "safeklaviyo".enter(_account);
    DELETE FROM "safeklaviyo".binding AS b WHERE b.id = (
        SELECT p.binding FROM "safeklaviyo".place AS p
        WHERE p.account = _account AND p.kind = _kind AND p.value = _value AND p.retired_at IS NULL
    ) RETURNING b.* INTO _gone;
    DELETE FROM "safeklaviyo".place WHERE binding = _gone.id AND retired_at IS NOT NULL;
    FOR _name IN SELECT * FROM "safeklaviyo".owned(_gone) LOOP
        DELETE FROM "safeklaviyo".place WHERE account = _account AND kind = _name.kind AND value = _name.value;
    END LOOP;
    RETURN _gone.id IS NOT NULL;
END
$$;



CREATE FUNCTION safeklaviyo.renew(_account text, _token bigint, _ttl double precision, _intent text) RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
DECLARE
    _now CONSTANT double precision := "safeklaviyo".enter(_account);
BEGIN
    UPDATE "safeklaviyo".lease AS l SET intent = coalesce(_intent, l.intent), expires = _now + _ttl
    WHERE l.token = _token AND l.account = _account;
    RETURN FOUND;
END
$$;



CREATE FUNCTION safeklaviyo.restore(_account text, _rows json) RETURNS bigint
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
DECLARE
    _row json;
    _owner bigint;
    _restored bigint := 0;
BEGIN
    PERFORM "safeklaviyo".enter(_account);
    FOR _row IN SELECT * FROM json_array_elements(_rows) LOOP
        SELECT p.binding INTO _owner FROM "safeklaviyo".place AS p
        WHERE p.account = _account AND p.kind = _row->>0 AND p.value = _row->>1 AND p.retired_at IS NULL;
        CONTINUE WHEN _owner IS NULL;
        INSERT INTO "safeklaviyo".place (account, kind, value, binding, retired_at)
        VALUES (_account, _row->>2, _row->>3, _owner, (_row->>4)::double precision)
        ON CONFLICT (account, kind, value) DO NOTHING;
        IF FOUND THEN
            _restored := _restored + 1;
        END IF;
    END LOOP;
    RETURN _restored;
END
$$;



CREATE FUNCTION safeklaviyo.restore_journal(_account text, _rows json) RETURNS bigint
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET lock_timeout TO '4s'
    AS $$
DECLARE
    _row json;
    _told "safeklaviyo".journal;
    _owners bigint[];
    _restored bigint := 0;
BEGIN
    PERFORM "safeklaviyo".enter(_account);
    FOR _row IN SELECT * FROM json_array_elements(_rows) LOOP
        _owners := ARRAY(
            SELECT DISTINCT p.binding FROM "safeklaviyo".names(_row->0) AS a LEFT JOIN LATERAL (
                SELECT o.binding FROM "safeklaviyo".place AS o
                WHERE o.account = _account AND o.kind = a.kind AND o.value = a.value AND o.retired_at IS NULL OFFSET 0
            ) AS p ON true
        );
        CONTINUE WHEN _owners[1] IS NULL OR cardinality(_owners) > 1;
        _told := json_populate_record(NULL::"safeklaviyo".journal, _row->1);
        INSERT INTO "safeklaviyo".journal (account, at, binding, profile_id, external_id, verb, old, new)
        SELECT _account, _told.at, _owners[1], _told.profile_id, _told.external_id, _told.verb, _told.old, _told.new
        WHERE NOT EXISTS (
            SELECT FROM "safeklaviyo".journal AS j WHERE j.binding = _owners[1] AND j.at = _told.at
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



CREATE FUNCTION safeklaviyo.settle(_binding safeklaviyo.binding) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO "safeklaviyo".place AS p (account, kind, value, binding)
    SELECT _binding.account, o.kind, o.value, _binding.id FROM "safeklaviyo".owned(_binding) AS o
    ON CONFLICT (account, kind, value) DO UPDATE SET binding = excluded.binding, retired_at = NULL
    WHERE p.binding <> excluded.binding OR p.retired_at IS NOT NULL;
END
$$;



CREATE TABLE safeklaviyo.lease (
    token bigint DEFAULT safeklaviyo.number() NOT NULL,
    account text NOT NULL COLLATE pg_catalog."C",
    identifiers text NOT NULL,
    intent text NOT NULL,
    expires double precision NOT NULL
);



CREATE TABLE safeklaviyo.leased (
    account text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C",
    token bigint NOT NULL
);



CREATE SEQUENCE safeklaviyo.numbers
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;



CREATE TABLE safeklaviyo.place (
    account text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C",
    binding bigint NOT NULL,
    retired_at double precision
);



CREATE TABLE safeklaviyo.version (
    number integer NOT NULL
);



INSERT INTO safeklaviyo.binding VALUES (1099511627778, 'SiMuLa', 'ann-1', 'ann@new.test', '01SAFEK0000000000000000001', '+12025550199', 1795892220.527619, 3);
INSERT INTO safeklaviyo.binding VALUES (1099511627783, 'SiMuLa', 'bob-20', 'bob@shop.test', '01SAFEK0000000000000000002', NULL, 1795892220.581994, 2);
INSERT INTO safeklaviyo.binding VALUES (1099511627787, 'SiMuLa', NULL, 'cat@shop.test', '01SAFEK0000000000000000003', NULL, 1795892220.608189, 1);
INSERT INTO safeklaviyo.binding VALUES (1099511627788, 'SiMuLa', 'dan-4', 'dan@shop.test', NULL, NULL, NULL, 1);
INSERT INTO safeklaviyo.binding VALUES (1099511627793, 'SiMuLa', 'kim-6', 'kim@shop.test', '01SAFEK0000000000000000006', NULL, 1795892220.802345, 2);
INSERT INTO safeklaviyo.binding VALUES (1099511627796, 'SiMuLa', 'jon-7', 'jon@shop.test', '01J0000000000000000000GONE', NULL, NULL, 2);
INSERT INTO safeklaviyo.binding VALUES (1099511627798, 'SiMuLa', 'fay-9', 'fay@shop.test', '01SAFEK0000000000000000008', NULL, 1795892220.881723, 1);
INSERT INTO safeklaviyo.binding VALUES (1099511627800, 'SiMuLa', 'eve-8', 'eve@shop.test', '01SAFEK0000000000000000009', NULL, 1795892220.931023, 1);
INSERT INTO safeklaviyo.binding VALUES (1099511627802, 'SiMuLa', 'gil-10', 'gil@shop.test', '01SAFEK000000000000000000A', NULL, 1795892220.950125, 1);



INSERT INTO safeklaviyo.journal VALUES (1099511627780, 'SiMuLa', 1795892220.501126, 1099511627778, '01SAFEK0000000000000000001', 'ann-1', 'change_email', 'ann@shop.test', 'ann@new.test');
INSERT INTO safeklaviyo.journal VALUES (1099511627785, 'SiMuLa', 1795892220.581994, 1099511627783, '01SAFEK0000000000000000002', 'bob-20', 'change_external_id', 'bob-2', 'bob-20');
INSERT INTO safeklaviyo.journal VALUES (1099511627795, 'SiMuLa', 1795892220.802345, 1099511627793, '01SAFEK0000000000000000006', 'kim-6', 'merge', 'kim@old.test', 'kim@shop.test');



INSERT INTO safeklaviyo.lease VALUES (1099511627803, 'SiMuLa', '[["email", "eve@new.test"], ["email", "eve@shop.test"], ["external_id", "eve-8"], ["profile_id", "01SAFEK0000000000000000009"]]', '{"verb": "change", "external_id": "eve-8", "email": "eve@shop.test", "profile_id": "01SAFEK0000000000000000009", "new_email": "eve@new.test"}	    	 	   	 		 	  			  	  	  	 						 	 			   	 	  	 	 	 		 	  	  			 	 				 	  							 		    	 	 					 		  		 				  			 			 	 ', 1795892237.228449);
INSERT INTO safeklaviyo.lease VALUES (1099511627804, 'SiMuLa', '[["email", "fay@shop.test"], ["external_id", "fay-9"], ["profile_id", "01SAFEK0000000000000000008"]]', '{"verb": "erase", "external_id": "fay-9", "email": "fay@shop.test", "profile_id": "01SAFEK0000000000000000008", "new_external_id": "fay-9", "new_email": "fay@shop.test"} 			   							 	   			 	 	 	 	 	    		  					    	  				 		 	  		 	 		 	   	 	  				 			  	  	  		    					 	   			   			 	   		', 1795892237.258354);
INSERT INTO safeklaviyo.lease VALUES (1099511627805, 'SiMuLa', '[["email", "gil@old.test"], ["email", "gil@shop.test"], ["external_id", "gil-10"], ["profile_id", "01SAFEK000000000000000000A"], ["profile_id", "01SAFEK000000000000000000B"]]', '{"verb": "merge", "external_id": "gil-10", "email": "gil@shop.test", "profile_id": "01SAFEK000000000000000000A", "source_id": "01SAFEK000000000000000000B", "source_email": "gil@old.test"}					   				  		      	  	   	    		      	  		  	  	 			 	     	 	   		 	   		 					 							  	   		  	   		 				    		 		     ', 1795892237.331783);
INSERT INTO safeklaviyo.lease VALUES (1099511627806, 'SiMuLa', '[["email", "hal@shop.test"], ["external_id", "hal-11"]]', '{"verb": "contact", "external_id": "hal-11", "email": "hal@shop.test"} 	    	 		 	  	 	 		    			  	 			  							  			 	  				 	    			  			 		   				 	 				 			  	 		    						   			   	  			 				 ', 1795892237.352819);



INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'email', 'eve@new.test', 1099511627803);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'email', 'eve@shop.test', 1099511627803);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'external_id', 'eve-8', 1099511627803);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000009', 1099511627803);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'email', 'fay@shop.test', 1099511627804);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'external_id', 'fay-9', 1099511627804);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000008', 1099511627804);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'email', 'gil@old.test', 1099511627805);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'email', 'gil@shop.test', 1099511627805);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'external_id', 'gil-10', 1099511627805);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'profile_id', '01SAFEK000000000000000000A', 1099511627805);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'profile_id', '01SAFEK000000000000000000B', 1099511627805);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'email', 'hal@shop.test', 1099511627806);
INSERT INTO safeklaviyo.leased VALUES ('SiMuLa', 'external_id', 'hal-11', 1099511627806);



INSERT INTO safeklaviyo.note VALUES ('SiMuLa', 'erased:0e6e59a77afa2b6a15856474cfe489d1f33d11b41ea890f3c8fd441e5e22a258', '1');
INSERT INTO safeklaviyo.note VALUES ('SiMuLa', 'erased:92fa6649f44d25dfb63147448e22e2d4dbb8949a6d1526e5bb7495fca7d3bf33', '1');
INSERT INTO safeklaviyo.note VALUES ('SiMuLa', 'missing:01J0000000000000000000GONE', '1795892220.829978 2');
INSERT INTO safeklaviyo.note VALUES ('', 'account:536638e8d52e043e', 'SiMuLa');
INSERT INTO safeklaviyo.note VALUES ('SiMuLa', 'remembered', '1795892221.130904');



INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'ann-1', 1099511627778, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000001', 1099511627778, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'ann@shop.test', 1099511627778, 1795892220.501126);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'ann@new.test', 1099511627778, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'bob@shop.test', 1099511627783, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000002', 1099511627783, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'bob-2', 1099511627783, 1795892220.581994);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'bob-20', 1099511627783, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'cat@shop.test', 1099511627787, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000003', 1099511627787, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'dan-4', 1099511627788, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'dan@shop.test', 1099511627788, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'kim-6', 1099511627793, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'kim@shop.test', 1099511627793, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000006', 1099511627793, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'kim@old.test', 1099511627793, 1795892220.802345);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'jon-7', 1099511627796, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'jon@shop.test', 1099511627796, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01J0000000000000000000GONE', 1099511627796, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'fay-9', 1099511627798, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'fay@shop.test', 1099511627798, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000008', 1099511627798, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'eve-8', 1099511627800, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'eve@shop.test', 1099511627800, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01SAFEK0000000000000000009', 1099511627800, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'external_id', 'gil-10', 1099511627802, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'email', 'gil@shop.test', 1099511627802, NULL);
INSERT INTO safeklaviyo.place VALUES ('SiMuLa', 'profile_id', '01SAFEK000000000000000000A', 1099511627802, NULL);



INSERT INTO safeklaviyo.version VALUES (1);



SELECT pg_catalog.setval('safeklaviyo.numbers', 30, true);



ALTER TABLE ONLY safeklaviyo.binding
    ADD CONSTRAINT binding_pkey PRIMARY KEY (id);



ALTER TABLE ONLY safeklaviyo.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (number);



ALTER TABLE ONLY safeklaviyo.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (token);



ALTER TABLE ONLY safeklaviyo.leased
    ADD CONSTRAINT leased_pkey PRIMARY KEY (account, kind, value);



ALTER TABLE ONLY safeklaviyo.note
    ADD CONSTRAINT note_pkey PRIMARY KEY (account, name);



ALTER TABLE ONLY safeklaviyo.place
    ADD CONSTRAINT place_pkey PRIMARY KEY (account, kind, value);



ALTER TABLE ONLY safeklaviyo.version
    ADD CONSTRAINT version_pkey PRIMARY KEY (number);



CREATE INDEX binding_of_account ON safeklaviyo.binding USING btree (account, id);



CREATE INDEX journal_of_account ON safeklaviyo.journal USING btree (account, number);



CREATE INDEX journal_of_binding ON safeklaviyo.journal USING btree (binding, at);



CREATE INDEX lease_expires ON safeklaviyo.lease USING btree (account, expires);



CREATE INDEX leased_token ON safeklaviyo.leased USING btree (token);



CREATE INDEX place_retired ON safeklaviyo.place USING btree (binding) WHERE (retired_at IS NOT NULL);



ALTER TABLE ONLY safeklaviyo.leased
    ADD CONSTRAINT leased_token_fkey FOREIGN KEY (token) REFERENCES safeklaviyo.lease(token) ON UPDATE CASCADE ON DELETE CASCADE;




