CREATE TABLE undoubt.still_open (
    coordinator bytea NOT NULL,
    attempt bigint NOT NULL,
    PRIMARY KEY (coordinator, attempt)
);
