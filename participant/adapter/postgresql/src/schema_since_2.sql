CREATE TABLE undoubt.written (
    start bigint PRIMARY KEY,
    write bigint NOT NULL
);

CREATE TABLE undoubt.kept (
    family text NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (family, key)
);

CREATE TABLE undoubt.enlisted (
    coordinator bytea NOT NULL CHECK (length(coordinator) = 16),
    tx bytea NOT NULL CHECK (length(tx) BETWEEN 1 AND 64),
    PRIMARY KEY (coordinator, tx)
);

CREATE TABLE undoubt.adopted (
    coordinator bytea NOT NULL,
    tx bytea NOT NULL,
    attempt bigint,
    begun_at bigint NOT NULL,
    PRIMARY KEY (coordinator, tx)
);

CREATE FUNCTION undoubt.enlist(coordinator bytea, tx bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    name text := 'undoubt1e_' || translate(encode((SELECT id FROM undoubt.identity) || $1 || $2, 'base64'), E'+/=\n', '-_');
BEGIN
    -- The row below would wait for what is prepared.
    IF EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = name) THEN
        RAISE EXCEPTION 'this transaction is enlisted and prepared already' USING ERRCODE = '42710';
    END IF;
    INSERT INTO undoubt.enlisted VALUES ($1, $2);
    RETURN name;
END $$;
