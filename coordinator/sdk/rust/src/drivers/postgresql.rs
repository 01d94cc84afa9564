//! What both drivers say to PostgreSQL.

use super::columns;
use crate::rules::Part;

pub(super) const SCHEMA: &str = include_str!("../schema.postgresql.sql");

/// Waits, for a bounded time, for whoever has made the row or has it locked, and reads what that one left. The bound is set before the
/// row is looked for, because it is where its name comes from.
pub(super) const LOCK: &str = concat!(
    "INSERT INTO undoubt_barrier (effect) SELECT $1::varchar FROM set_config('lock_timeout', $2, true)
     ON CONFLICT (effect) DO UPDATE SET touched_at = now() RETURNING ",
    columns!()
);

pub(super) const OWN: &str =
    "INSERT INTO undoubt_barrier (effect, action_status) VALUES ($1, 200) ON CONFLICT (effect) DO NOTHING";

pub(super) const PURGE: &str = "DELETE FROM undoubt_barrier WHERE effect IN (SELECT effect FROM undoubt_barrier
     WHERE touched_at < now() - $1 * interval '1 second' LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Changes the version of the row that this very transaction has written, and so none where a handler has ended it.
pub(super) fn keep(part: Part) -> &'static str {
    macro_rules! keep {
        ($part:literal) => {
            concat!(
                "UPDATE undoubt_barrier SET ",
                $part,
                "_status = $2, ",
                $part,
                "_type = $3, ",
                $part,
                "_body = $4 WHERE effect = $1 AND xmin = pg_current_xact_id()::xid"
            )
        };
    }
    match part {
        Part::Action => keep!("action"),
        Part::Completion => keep!("completion"),
        Part::Compensation => keep!("compensation"),
    }
}

/// Returns whether an error's code says: a serialization failure, a deadlock, or a lock that was not had in time.
pub(super) fn is_contention(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03")
}

pub(super) fn lock_timeout(timeout: std::time::Duration) -> String {
    // 0 would be without a bound.
    format!("{}ms", timeout.as_millis().clamp(1, i32::MAX as u128))
}
