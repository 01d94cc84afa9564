ALTER TABLE undoubt.finished ADD COLUMN start bigint NOT NULL DEFAULT 0, ADD COLUMN write bigint NOT NULL DEFAULT 0;
ALTER TABLE undoubt.step ADD COLUMN start bigint NOT NULL DEFAULT 0, ADD COLUMN write bigint NOT NULL DEFAULT 0;

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

UPDATE undoubt.identity SET version = 2;
