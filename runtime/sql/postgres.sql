-- The tables and functions of PostgresStore, version 1, for PostgreSQL 9.5 or newer.
--
-- `PostgresStore::migrate()` runs this very text, with its schema and its prefix in the place of `cloakroom_`. Who runs migrations
-- otherwise puts it into one, as it is or with another prefix, and lets it run in one transaction.
--
-- Functions carry the version in their names, so that a newer library and an older one can serve from one database during a
-- deploy. Each statement in one has a snapshot of its own (READ COMMITTED), which is what they are here for: a commit that has
-- waited for a record's lock then sees what the one before it has written.

-- One row per version of the library's statements that these tables and functions serve.
CREATE TABLE cloakroom_schema (version int8 NOT NULL);

-- One row per session: its header. Instants are milliseconds of the application's clock. Text from outside is stored as the bytes of its
-- UTF-8, since a database in another encoding refuses what its encoding cannot say.
CREATE TABLE cloakroom_record (
    selector bytea NOT NULL PRIMARY KEY,
    revision int8 NOT NULL,
    epoch int8 NOT NULL,
    created int8 NOT NULL,
    last_seen int8 NOT NULL,
    idle_until int8 NOT NULL,
    absolute_until int8 NOT NULL,
    authenticated_at int8,
    previous_since int8,
    -- 0 pending, 1 superseded, 2 revoked.
    previous_state int2,
    persistent bool NOT NULL,
    secret_hash bytea NOT NULL,
    wrapped_key bytea NOT NULL,
    previous_hash bytea,
    previous_key bytea,
    owner_hash bytea,
    owner_schema bytea,
    label bytea,
    -- Numbered parts that later builds have added to the header.
    extensions bytea
) WITH (fillfactor = 80);
CREATE INDEX ON cloakroom_record (least(idle_until, absolute_until));
-- Of an owner with very many sessions, pages are read in the order of selectors.
CREATE INDEX ON cloakroom_record (owner_hash, selector) WHERE owner_hash IS NOT NULL;

-- One row per stored field.
CREATE TABLE cloakroom_cell (
    selector bytea NOT NULL,
    key bytea NOT NULL,
    stamp int8 NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (selector, key)
) WITH (fillfactor = 80);

CREATE FUNCTION cloakroom_create_1(
    p_selector bytea, p_revision int8, p_epoch int8, p_created int8, p_last_seen int8, p_idle_until int8, p_absolute_until int8,
    p_persistent bool, p_secret_hash bytea, p_wrapped_key bytea, p_keys bytea[], p_stamps int8[], p_bodies bytea[],
    p_authenticated_at int8 DEFAULT NULL, p_owner_hash bytea DEFAULT NULL, p_owner_schema bytea DEFAULT NULL, p_label bytea DEFAULT NULL,
    p_previous_hash bytea DEFAULT NULL, p_previous_key bytea DEFAULT NULL, p_previous_state int2 DEFAULT NULL,
    p_previous_since int8 DEFAULT NULL, p_extensions bytea DEFAULT NULL
) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cloakroom_record (
        selector, revision, epoch, created, last_seen, idle_until, absolute_until, authenticated_at, previous_since, previous_state,
        persistent, secret_hash, wrapped_key, previous_hash, previous_key, owner_hash, owner_schema, label, extensions
    ) VALUES (
        p_selector, p_revision, p_epoch, p_created, p_last_seen, p_idle_until, p_absolute_until, p_authenticated_at,
        p_previous_since, p_previous_state, p_persistent, p_secret_hash, p_wrapped_key, p_previous_hash, p_previous_key,
        p_owner_hash, p_owner_schema, p_label, p_extensions
    ) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO cloakroom_cell (selector, key, stamp, body)
        SELECT p_selector, put.key, put.stamp, put.body FROM unnest(p_keys, p_stamps, p_bodies) AS put (key, stamp, body);
    RETURN true;
END
$$;

-- Committed: the new revision, and whether it rotated. A guard failed: keys, stamps and bodies of the guarded cells. Gone: nothing.
CREATE FUNCTION cloakroom_commit_1(
    p_selector bytea, p_epoch int8, p_now int8,
    p_put_keys bytea[] DEFAULT NULL, p_put_bodies bytea[] DEFAULT NULL,
    p_guard_keys bytea[] DEFAULT NULL, p_guard_stamps int8[] DEFAULT NULL,
    p_wipe_except bytea[] DEFAULT NULL,
    p_roll_seen int8 DEFAULT NULL, p_roll_idle int8 DEFAULT NULL,
    p_reset_created int8 DEFAULT NULL, p_reset_seen int8 DEFAULT NULL, p_reset_idle int8 DEFAULT NULL,
    p_reset_absolute int8 DEFAULT NULL,
    p_presented bytea DEFAULT NULL,
    p_rotate_from bytea DEFAULT NULL, p_rotate_to bytea DEFAULT NULL, p_rotate_key bytea DEFAULT NULL,
    p_set_owner bool DEFAULT false, p_owner_hash bytea DEFAULT NULL, p_owner_schema bytea DEFAULT NULL,
    p_set_authenticated bool DEFAULT false, p_authenticated_at int8 DEFAULT NULL,
    p_persistent bool DEFAULT NULL,
    p_set_label bool DEFAULT false, p_label bytea DEFAULT NULL,
    p_extensions bytea DEFAULT NULL,
    p_loaded int8 DEFAULT NULL,
    OUT committed int8, OUT rotated bool, OUT keys bytea[], OUT stamps int8[], OUT bodies bytea[]
) LANGUAGE plpgsql AS $$
DECLARE
    carries_cells bool := p_put_keys IS NOT NULL OR p_wipe_except IS NOT NULL;
    secret bytea;
    -- Whether a renewal finds that nobody has presented the current secret: what the client holds is the one before.
    unseen bool := false;
BEGIN
    rotated := p_rotate_to IS NOT NULL;
    IF p_guard_keys IS NOT NULL OR p_rotate_from IS NOT NULL THEN
        SELECT
            r.secret_hash,
            p_rotate_from IS NOT NULL AND r.previous_state IS NOT DISTINCT FROM 0 AND r.secret_hash IS DISTINCT FROM p_presented
            INTO secret, unseen
            FROM cloakroom_record AS r
            WHERE r.selector = p_selector AND r.epoch = p_epoch AND r.idle_until > coalesce(p_loaded, p_now) AND r.absolute_until > p_now
            FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        IF EXISTS (
            SELECT FROM unnest(p_guard_keys, p_guard_stamps) AS guard (key, stamp)
                LEFT JOIN cloakroom_cell AS c ON c.selector = p_selector AND c.key = guard.key
                WHERE coalesce(c.stamp, 0) <> guard.stamp
        ) THEN
            SELECT coalesce(array_agg(c.key), '{}'), coalesce(array_agg(c.stamp), '{}'), coalesce(array_agg(c.body), '{}')
                INTO keys, stamps, bodies
                FROM cloakroom_cell AS c WHERE c.selector = p_selector AND c.key = ANY (p_guard_keys);
            RETURN;
        END IF;
        rotated := rotated AND (p_rotate_from IS NULL OR p_rotate_from = secret);
    END IF;
    UPDATE cloakroom_record AS r SET
        revision = r.revision + carries_cells::int,
        epoch = CASE WHEN rotated AND p_rotate_from IS NULL THEN least(r.epoch + 1, 4294967295) ELSE r.epoch END,
        created = coalesce(p_reset_created, r.created),
        last_seen = coalesce(p_reset_seen, greatest(r.last_seen, p_roll_seen)),
        idle_until = coalesce(p_reset_idle, greatest(r.idle_until, p_roll_idle)),
        absolute_until = coalesce(p_reset_absolute, r.absolute_until),
        authenticated_at = CASE WHEN p_set_authenticated THEN p_authenticated_at ELSE r.authenticated_at END,
        persistent = coalesce(p_persistent, r.persistent),
        secret_hash = CASE WHEN rotated THEN p_rotate_to ELSE r.secret_hash END,
        wrapped_key = CASE WHEN rotated THEN p_rotate_key ELSE r.wrapped_key END,
        previous_hash = CASE WHEN rotated AND NOT unseen THEN r.secret_hash ELSE r.previous_hash END,
        previous_key = CASE
            WHEN rotated AND p_rotate_from IS NULL THEN decode(repeat('00', 32), 'hex')
            WHEN rotated AND NOT unseen THEN r.wrapped_key
            ELSE r.previous_key END,
        previous_state = CASE
            WHEN rotated AND p_rotate_from IS NULL THEN 2
            WHEN rotated THEN 0
            WHEN r.previous_state = 0 AND r.secret_hash = p_presented THEN 1
            ELSE r.previous_state END,
        previous_since = CASE
            WHEN rotated OR r.previous_state = 0 AND r.secret_hash = p_presented THEN p_now
            ELSE r.previous_since END,
        owner_hash = CASE WHEN p_set_owner THEN p_owner_hash ELSE r.owner_hash END,
        owner_schema = CASE WHEN p_set_owner THEN p_owner_schema ELSE r.owner_schema END,
        label = CASE WHEN p_set_label THEN p_label ELSE r.label END,
        extensions = CASE WHEN p_extensions IS NULL THEN r.extensions ELSE nullif(p_extensions, '') END
        WHERE r.selector = p_selector AND r.epoch = p_epoch AND r.idle_until > coalesce(p_loaded, p_now) AND r.absolute_until > p_now
        RETURNING r.revision INTO committed;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_wipe_except IS NOT NULL THEN
        DELETE FROM cloakroom_cell AS c WHERE c.selector = p_selector AND c.key <> ALL (p_wipe_except);
    END IF;
    IF p_put_keys IS NOT NULL THEN
        INSERT INTO cloakroom_cell AS c (selector, key, stamp, body)
            SELECT p_selector, put.key, committed, put.body
                FROM unnest(p_put_keys, p_put_bodies) AS put (key, body)
            ON CONFLICT (selector, key) DO UPDATE SET stamp = excluded.stamp, body = excluded.body;
    END IF;
END
$$;

-- Cells go after their record, in a statement of their own: it sees those that a commit has added while the first one waited.
CREATE FUNCTION cloakroom_delete_1(p_selectors bytea[]) RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE
    deleted int8;
BEGIN
    DELETE FROM cloakroom_record AS r WHERE r.selector = ANY (p_selectors);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF deleted = 0 THEN
        -- Those of a record that has come meanwhile are not ours.
        RETURN 0;
    END IF;
    DELETE FROM cloakroom_cell AS c WHERE c.selector = ANY (p_selectors);
    RETURN deleted;
END
$$;

-- At most so many; fewer means that there are no more. Locked in the order of their selectors, so that two of these cannot wait for each
-- other.
CREATE FUNCTION cloakroom_delete_by_owner_1(p_owner bytea, p_except bytea, p_limit int8) RETURNS int8 LANGUAGE plpgsql AS $$
BEGIN
    RETURN cloakroom_delete_1(ARRAY (
        SELECT r.selector FROM cloakroom_record AS r
            WHERE r.owner_hash = p_owner AND r.selector IS DISTINCT FROM p_except
            ORDER BY r.selector LIMIT p_limit FOR UPDATE
    ));
END
$$;

-- Passes over what somebody else has locked: another sweep, or a request that may be rolling the deadline.
CREATE FUNCTION cloakroom_sweep_1(p_past int8, p_limit int8) RETURNS int8 LANGUAGE plpgsql AS $$
BEGIN
    RETURN cloakroom_delete_1(ARRAY (
        SELECT r.selector FROM cloakroom_record AS r
            WHERE least(r.idle_until, r.absolute_until) <= p_past
            ORDER BY least(r.idle_until, r.absolute_until) LIMIT p_limit FOR UPDATE SKIP LOCKED
    ));
END
$$;

-- Last, so that a file that ran half is known for one.
INSERT INTO cloakroom_schema (version) VALUES (1);
