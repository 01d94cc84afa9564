//! The one table of which roles each method needs. A test holds it against the services that there are.

use super::role::Role::{self, Coordinator, Operate, Read, Submit};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The roles that a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Anybody may call it.
    Nothing,
    /// The caller has one of these.
    OneOf(&'static [Role]),
}

/// What every caller has that is known at all.
const ANY: Needed = Needed::OneOf(&Role::ALL);

pub(super) const METHODS: &[(&str, Needed)] = &[
    ("/undoubt.v1.Coordinator/Submit", Needed::OneOf(&[Submit])),
    ("/undoubt.v1.Coordinator/SubmitMany", Needed::OneOf(&[Submit])),
    ("/undoubt.v1.Coordinator/Await", Needed::OneOf(&[Submit, Read])),
    ("/undoubt.v1.Coordinator/Cancel", Needed::OneOf(&[Submit, Operate])),
    ("/undoubt.v1.Coordinator/Get", Needed::OneOf(&[Read, Operate])),
    ("/undoubt.v1.Coordinator/List", Needed::OneOf(&[Read, Operate])),
    ("/undoubt.v1.Coordinator/Watch", Needed::OneOf(&[Read, Operate])),
    // Applications ask it for the default timeout; ids it tells to others only.
    ("/undoubt.v1.Operator/Describe", Needed::OneOf(&[Submit, Read, Operate])),
    ("/undoubt.v1.Operator/AcceptLoss", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.Operator/Forget", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.Operator/ResolveStep", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.Operator/PauseRecovery", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.Operator/ResumeRecovery", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.Operator/Drain", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.Operator/Backup", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.Participant/Session", Needed::OneOf(&[Coordinator])),
    ("/undoubt.v1.Participant/Recall", Needed::OneOf(&[Coordinator])),
    // It tells ids to those who may read or operate only.
    ("/undoubt.v1.ParticipantAdmin/Describe", ANY),
    ("/undoubt.v1.ParticipantAdmin/ListBranches", Needed::OneOf(&[Read, Operate])),
    ("/undoubt.v1.ParticipantAdmin/ListMarks", Needed::OneOf(&[Read, Operate])),
    ("/undoubt.v1.ParticipantAdmin/ResolveBranch", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.ParticipantAdmin/ForgetBranch", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.ParticipantAdmin/AcceptLoss", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.ParticipantAdmin/ReleaseMarks", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.ParticipantAdmin/PinCoordinator", Needed::OneOf(&[Operate])),
    ("/undoubt.v1.ParticipantAdmin/Backup", Needed::OneOf(&[Operate])),
    // At the port for figures.
    ("/metrics", Needed::OneOf(&[Read, Operate])),
    ("/healthz", Needed::Nothing),
    ("/readyz", Needed::Nothing),
    // Load balancers ask this, and it tells nothing but whether somebody serves.
    ("/grpc.health.v1.Health/Check", Needed::Nothing),
    ("/grpc.health.v1.Health/Watch", Needed::Nothing),
];

static BY_PATH: LazyLock<BTreeMap<&str, Needed>> = LazyLock::new(|| METHODS.iter().copied().collect());

/// Returns the roles that the method at this path needs. One that is not known, reflection among them, is open to all who
/// are known.
pub fn needed(path: &str) -> Needed {
    BY_PATH.get(path).copied().unwrap_or(ANY)
}
