-- The barrier's table: one row an effect, whatever is done under it. See README.md beside this file.
CREATE TABLE IF NOT EXISTS undoubt_barrier (
    effect              TEXT PRIMARY KEY,
    action_status       INTEGER,
    action_type         TEXT,
    action_body         BLOB,
    completion_status   INTEGER,
    completion_type     TEXT,
    completion_body     BLOB,
    compensation_status INTEGER,
    compensation_type   TEXT,
    compensation_body   BLOB,
    touched_at          TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS undoubt_barrier_touched_at ON undoubt_barrier (touched_at);
