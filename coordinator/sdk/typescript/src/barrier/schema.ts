// Generated from coordinator/sdk/vectors/schema.*.sql by "npm run types". Change those, not this.

export const POSTGRESQL = `-- The barrier's table: one row an effect, whatever is done under it. See README.md beside this file.
CREATE TABLE IF NOT EXISTS undoubt_barrier (
    effect              varchar(512) PRIMARY KEY,
    action_status       smallint,
    action_type         varchar(255),
    action_body         bytea,
    completion_status   smallint,
    completion_type     varchar(255),
    completion_body     bytea,
    compensation_status smallint,
    compensation_type   varchar(255),
    compensation_body   bytea,
    touched_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS undoubt_barrier_touched_at ON undoubt_barrier (touched_at);
`;

export const MYSQL = `-- The barrier's table: one row an effect, whatever is done under it. See README.md beside this file.
CREATE TABLE IF NOT EXISTS undoubt_barrier (
    effect              varchar(512) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
    action_status       smallint,
    action_type         varchar(255),
    action_body         mediumblob,
    completion_status   smallint,
    completion_type     varchar(255),
    completion_body     mediumblob,
    compensation_status smallint,
    compensation_type   varchar(255),
    compensation_body   mediumblob,
    touched_at          timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    KEY undoubt_barrier_touched_at (touched_at)
) ENGINE = InnoDB;
`;
