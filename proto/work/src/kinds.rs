//! The kinds of work, by their fields in `work.proto`. Those that nothing here does yet have their names, so that a resource
//! can say what it was asked for.

use crate::invalid_work::InvalidWork;

pub(crate) const OPERATIONS: u64 = 1;
pub(crate) const CALLS: u64 = 2;
pub(crate) const ENLISTED: u64 = 3;
pub(crate) const OUTCOME_KEY: u64 = 5;
pub(crate) const HTTP: u64 = 6;
pub(crate) const EVENTS: u64 = 7;

const NAMES: [(u64, &str); 7] = [
    (OPERATIONS, "operations"),
    (CALLS, "calls"),
    (ENLISTED, "enlisted"),
    (4, "members"),
    (OUTCOME_KEY, "outcome_key"),
    (HTTP, "http"),
    (EVENTS, "events"),
];

/// Returns the refusal of a field by a resource that does another kind.
pub(crate) fn refused(field: u64, does: u64) -> InvalidWork {
    let name = |number| NAMES.iter().find(|(named, _)| *named == number).map(|(_, name)| *name);
    let kind = name(field).map_or_else(|| format!("a field {field}"), str::to_owned);
    InvalidWork::OtherKind { kind, does: name(does).unwrap_or("nothing") }
}
