-- Events that have no position yet, in the order of their insertion.
CREATE TABLE undoubt.unnumbered (
    inserted bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    topic text NOT NULL,
    partition integer NOT NULL,
    version bigint,
    record bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE TABLE undoubt.event (
    position bigint PRIMARY KEY,
    previous bigint NOT NULL,
    published_at bigint NOT NULL,
    version bigint,
    record bytea NOT NULL
);

CREATE TABLE undoubt.log_end (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last bigint NOT NULL
);
INSERT INTO undoubt.log_end (last) VALUES (0);

CREATE TABLE undoubt.lane (
    topic text NOT NULL,
    partition integer NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE undoubt.incarnation (
    first bigint PRIMARY KEY,
    id bytea NOT NULL CHECK (length(id) = 16)
);

CREATE TABLE undoubt.topic (
    name text PRIMARY KEY,
    partitions integer NOT NULL
);

CREATE TABLE undoubt.entity (
    topic text NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (topic, key)
);

CREATE TABLE undoubt.subscription (
    family text NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (family, key)
);

CREATE FUNCTION undoubt.append(of_topic text, of_key bytea, expected bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    now bigint;
BEGIN
    INSERT INTO undoubt.entity AS e (topic, key, version) VALUES (of_topic, of_key, 1)
        ON CONFLICT (topic, key) DO UPDATE SET version = e.version + 1 RETURNING version INTO now;
    IF now <> expected + 1 THEN
        RAISE EXCEPTION '% % % %', now - 1, expected, of_topic, encode(of_key, 'hex') USING ERRCODE = 'UD002';
    END IF;
    RETURN now;
END $$;
