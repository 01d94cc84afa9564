//! The points in the code of servers, and the states of what they are at, that a fault can wait for.

use super::{BRANCHES, Host, IDLE, PHASES};

/// The store was just opened, recovery begins.
pub const OPENED: &str = "opened";

/// Reached while a participant's resource manager is at work.
pub const IN_CALLS: [&str; 6] = ["executing", "committing", "aborting", "resolving", "acting", "compensating"];

/// The points of a database, before and after what it makes stable.
pub const IN_DATABASES: [&str; 6] =
    ["before-commit", "after-commit", "before-prepare", "after-prepare", "before-end-prepared", "after-end-prepared"];

/// The points of an HTTP service, when it has read a request, and before and after what it makes stable.
pub const IN_SERVICES: [&str; 3] = ["asked", "before-effect", "after-effect"];

/// Reached by a participant before each forced write to a store of its own.
pub const BEFORE_STORE: &str = "before-store";

/// Returns the points that this host's code can reach. Clients have none.
pub fn points_of(host: Host) -> Vec<&'static str> {
    match host {
        Host::Coordinator | Host::Standby => {
            [undoubt_coordinator::CRASH_POINTS, undoubt_coordinator::OPEN_SAGA_POINTS, &[OPENED]].concat()
        }
        Host::Participant(_) => [
            undoubt_participant::CRASH_POINTS,
            undoubt_participant::OPEN_SAGA_POINTS,
            undoubt_participant::SESSION_POINTS,
            &IN_CALLS,
            &[OPENED, BEFORE_STORE],
        ]
        .concat(),
        Host::Database(_) => [IN_DATABASES.as_slice(), &[OPENED]].concat(),
        Host::Service(_) => [IN_SERVICES.as_slice(), &[OPENED]].concat(),
        Host::Client(_) | Host::Reader(_) => Vec::new(),
    }
}

/// Returns the states of what can be under way at this host.
pub fn states_of(host: Host) -> Vec<&'static str> {
    match host {
        Host::Coordinator | Host::Standby => [&[IDLE], PHASES.as_slice()].concat(),
        Host::Participant(_) | Host::Database(_) | Host::Service(_) => [&[IDLE], BRANCHES.as_slice()].concat(),
        Host::Client(_) | Host::Reader(_) => Vec::new(),
    }
}
