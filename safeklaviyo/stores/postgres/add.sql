-- Many rows of an import at once: what the function "add" of version_1.sql does with each row in turn. It is sent as a
-- statement, because the functions of a map stay as its first version made them. It runs in the transaction in which
-- the account's lock was taken, as a statement of its own: so it sees what the writers before have committed.
--
-- Rows that have nothing to do with each other are judged and written as a set. Two rows have to do with each other if
-- they share an identifier (the client marks these as "again") or the one binding that has their identifiers. Such rows
-- are "late": the function "add" judges them in their order. A row whose identifiers are on several bindings is a
-- conflict in every order, and changes nothing.
--
-- As in version_1.sql each lookup stands alone behind OFFSET 0, so that PostgreSQL has no other plan than the index.
-- %(...)s are parameters.
WITH found AS (
    SELECT r.*, ox.at AS at_x, oe.at AS at_e, op.at AS at_p,
        ox.owner AS owner_x, oe.owner AS owner_e, op.owner AS owner_p,
        least(ox.owner, oe.owner, op.owner) AS first, greatest(ox.owner, oe.owner, op.owner) AS last
    FROM ROWS FROM (json_to_recordset(%(rows)s) AS (
        external_id text, email text, profile_id text, phone_number text, verified_at double precision, again boolean
    )) WITH ORDINALITY AS r(external_id, email, profile_id, phone_number, verified_at, again, number)
    LEFT JOIN LATERAL (
        SELECT binding AS at, CASE WHEN retired_at IS NULL THEN binding END AS owner FROM {schema}.place
        WHERE account = %(account)s AND kind = 'external_id' AND value = r.external_id OFFSET 0
    ) AS ox ON true
    LEFT JOIN LATERAL (
        SELECT binding AS at, CASE WHEN retired_at IS NULL THEN binding END AS owner FROM {schema}.place
        WHERE account = %(account)s AND kind = 'email' AND value = r.email OFFSET 0
    ) AS oe ON true
    LEFT JOIN LATERAL (
        SELECT binding AS at, CASE WHEN retired_at IS NULL THEN binding END AS owner FROM {schema}.place
        WHERE account = %(account)s AND kind = 'profile_id' AND value = r.profile_id OFFSET 0
    ) AS op ON true
), counted AS MATERIALIZED (
    SELECT f.*, count(*) FILTER (WHERE first = last) OVER (PARTITION BY first) AS sharing FROM found AS f
), judged AS MATERIALIZED (
    SELECT c.*, b.id, b.version,
        coalesce(c.external_id, b.external_id) AS whole_x, coalesce(c.email, b.email) AS whole_e,
        coalesce(c.profile_id, b.profile_id) AS whole_p, coalesce(c.phone_number, b.phone_number) AS whole_t,
        CASE
            WHEN c.first <> c.last THEN 'conflict'
            WHEN c.again OR c.first IS NOT NULL AND (c.sharing > 1 OR b.id IS NULL) THEN 'late'
            WHEN c.external_id <> b.external_id OR c.email <> b.email OR c.profile_id <> b.profile_id
                OR c.phone_number <> b.phone_number THEN 'conflict'
            WHEN b.id IS NOT NULL AND (c.external_id IS NULL OR b.external_id IS NOT NULL)
                AND (c.email IS NULL OR b.email IS NOT NULL) AND (c.profile_id IS NULL OR b.profile_id IS NOT NULL)
                AND (c.phone_number IS NULL OR b.phone_number IS NOT NULL) THEN 'unchanged'
            WHEN EXISTS (SELECT FROM {schema}.leased WHERE account = %(account)s AND kind = 'external_id'
                    AND value = coalesce(c.external_id, b.external_id))
                OR EXISTS (SELECT FROM {schema}.leased WHERE account = %(account)s AND kind = 'email'
                    AND value = coalesce(c.email, b.email))
                OR EXISTS (SELECT FROM {schema}.leased WHERE account = %(account)s AND kind = 'profile_id'
                    AND value = coalesce(c.profile_id, b.profile_id)) THEN 'conflict'
            ELSE 'added'
        END AS status
    FROM counted AS c LEFT JOIN LATERAL (SELECT * FROM {schema}.binding WHERE id = c.first OFFSET 0) AS b ON true
), era AS MATERIALIZED (
    -- What "number" does for each key, which takes as long as writing the row: done once, where the role may use the
    -- sequence itself. The higher part of a number is the same for a whole transaction.
    SELECT {schema}.number() >> 40 << 40 AS era, has_sequence_privilege({numbers}, 'USAGE') AS is_ours
), chosen AS MATERIALIZED (
    SELECT j.*, CASE
        WHEN j.id IS NOT NULL THEN j.id
        WHEN e.is_ours THEN e.era + nextval({numbers}::regclass)
        ELSE {schema}.number()
    END AS key
    FROM (SELECT * FROM judged WHERE status = 'added' ORDER BY number) AS j CROSS JOIN era AS e
), made AS (
    INSERT INTO {schema}.binding (id, account, external_id, email, profile_id, phone_number, verified_at, version)
    SELECT key, %(account)s, external_id, email, profile_id, phone_number, verified_at, 1 FROM chosen WHERE id IS NULL
), completed AS (
    UPDATE {schema}.binding AS b SET external_id = c.whole_x, email = c.whole_e, profile_id = c.whole_p,
        phone_number = c.whole_t, verified_at = c.verified_at, version = c.version + 1
    FROM chosen AS c WHERE b.id = c.id
), placed AS (
    INSERT INTO {schema}.place (account, kind, value, binding)
    SELECT %(account)s, i.kind, i.value, c.key FROM chosen AS c CROSS JOIN LATERAL (VALUES
        ('external_id', c.external_id, c.at_x), ('email', c.email, c.at_e), ('profile_id', c.profile_id, c.at_p)
    ) AS i(kind, value, at) WHERE i.value IS NOT NULL AND i.at IS NULL
), restored AS (
    -- Identifiers that were retired are current again.
    UPDATE {schema}.place AS p SET binding = c.key, retired_at = NULL
    FROM chosen AS c CROSS JOIN LATERAL (VALUES
        ('external_id', c.external_id, c.at_x, c.owner_x), ('email', c.email, c.at_e, c.owner_e),
        ('profile_id', c.profile_id, c.at_p, c.owner_p)
    ) AS i(kind, value, at, owner)
    WHERE i.at IS NOT NULL AND i.owner IS NULL
        AND p.account = %(account)s AND p.kind = i.kind AND p.value = i.value
), late AS MATERIALIZED (
    SELECT array_agg(number ORDER BY number) AS numbers, json_agg(json_build_object(
        'external_id', external_id, 'email', email, 'profile_id', profile_id, 'phone_number', phone_number,
        'verified_at', verified_at
    ) ORDER BY number) AS rows FROM judged WHERE status = 'late'
)
SELECT s.status FROM (
    SELECT number, status FROM judged WHERE status <> 'late'
    UNION ALL
    SELECT late.numbers[a.at], a.status
    FROM late CROSS JOIN LATERAL {schema}.add(%(account)s, late.rows) WITH ORDINALITY AS a(status, at)
    WHERE late.rows IS NOT NULL
) AS s ORDER BY s.number
