CREATE SCHEMA undoubt;

CREATE TABLE undoubt.identity (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    id bytea NOT NULL CHECK (length(id) = 8),
    participant text,
    system_identifier bigint,
    timeline integer,
    database_oid oid
);
INSERT INTO undoubt.identity (version, id) VALUES (5, substring(uuid_send(gen_random_uuid()) FROM 1 FOR 8));

CREATE TABLE undoubt.run (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    host text NOT NULL,
    pid bigint NOT NULL
);

CREATE TABLE undoubt.coordinator (
    id bytea PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    low_water_mark bigint NOT NULL DEFAULT 0,
    pin bytea,
    pin_vouched boolean,
    pin_epoch bigint
);

CREATE TABLE undoubt.finished (
    coordinator bytea NOT NULL,
    attempt bigint NOT NULL,
    tx bytea NOT NULL,
    result bytea NOT NULL,
    start bigint NOT NULL DEFAULT 0,
    write bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (coordinator, attempt, tx)
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE TABLE undoubt.step (
    coordinator bytea NOT NULL,
    attempt bigint NOT NULL,
    step integer NOT NULL,
    tx bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('acted', 'compensated', 'completed', 'empty')),
    result bytea NOT NULL,
    released_at timestamptz,
    released_by text,
    released_why text,
    start bigint NOT NULL DEFAULT 0,
    write bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (coordinator, attempt, step, tx)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE TABLE undoubt.pending (
    key bytea NOT NULL,
    coordinator bytea NOT NULL,
    attempt bigint NOT NULL,
    step integer NOT NULL,
    tx bytea NOT NULL,
    begun_at bigint NOT NULL,
    PRIMARY KEY (key, coordinator, attempt, step, tx)
);
CREATE INDEX pending_owner ON undoubt.pending (coordinator, attempt, step);

CREATE TABLE undoubt.heuristic (
    coordinator bytea NOT NULL,
    attempt bigint NOT NULL,
    tx bytea NOT NULL,
    begun_at bigint NOT NULL,
    committed boolean NOT NULL,
    at bigint NOT NULL,
    who text NOT NULL,
    reason text NOT NULL,
    decision boolean,
    PRIMARY KEY (coordinator, attempt, tx)
);

CREATE TABLE undoubt.outcome (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
);

CREATE FUNCTION undoubt.expect(actual bigint, wanted bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF actual <> wanted THEN
        RAISE EXCEPTION 'there are % rows, not %', actual, wanted USING ERRCODE = 'UD001';
    END IF;
    RETURN true;
END $$;
