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

/// The path of each method, the roles that it needs, and its word in the audit record.
pub(super) const METHODS: &[(&str, Needed, &str)] = &[
    ("/undoubt.v1.Coordinator/Submit", Needed::OneOf(&[Submit]), "submit"),
    ("/undoubt.v1.Coordinator/SubmitMany", Needed::OneOf(&[Submit]), "submit"),
    ("/undoubt.v1.Coordinator/Begin", Needed::OneOf(&[Submit]), "begin"),
    ("/undoubt.v1.Coordinator/Join", Needed::OneOf(&[Submit]), "join"),
    ("/undoubt.v1.Coordinator/Close", Needed::OneOf(&[Submit]), "close"),
    ("/undoubt.v1.Coordinator/Await", Needed::OneOf(&[Submit, Read]), "await"),
    ("/undoubt.v1.Coordinator/Cancel", Needed::OneOf(&[Submit, Operate]), "cancel"),
    ("/undoubt.v1.Coordinator/Get", Needed::OneOf(&[Read, Operate]), "get"),
    ("/undoubt.v1.Coordinator/List", Needed::OneOf(&[Read, Operate]), "list"),
    ("/undoubt.v1.Coordinator/Watch", Needed::OneOf(&[Read, Operate]), "watch"),
    // Applications ask it for the default timeout; ids it tells to others only.
    ("/undoubt.v1.Operator/Describe", Needed::OneOf(&[Submit, Read, Operate]), "describe"),
    ("/undoubt.v1.Operator/AcceptLoss", Needed::OneOf(&[Operate]), "accept-loss"),
    ("/undoubt.v1.Operator/Forget", Needed::OneOf(&[Operate]), "forget"),
    ("/undoubt.v1.Operator/ResolveStep", Needed::OneOf(&[Operate]), "resolve-step"),
    ("/undoubt.v1.Operator/PauseRecovery", Needed::OneOf(&[Operate]), "pause-recovery"),
    ("/undoubt.v1.Operator/ResumeRecovery", Needed::OneOf(&[Operate]), "resume-recovery"),
    ("/undoubt.v1.Operator/Drain", Needed::OneOf(&[Operate]), "drain"),
    ("/undoubt.v1.Operator/Backup", Needed::OneOf(&[Operate]), "backup"),
    ("/undoubt.v1.Operator/Audit", Needed::OneOf(&[Operate]), "audit"),
    ("/undoubt.v1.Participant/Session", Needed::OneOf(&[Coordinator]), "session"),
    ("/undoubt.v1.Participant/Recall", Needed::OneOf(&[Coordinator]), "recall"),
    // It tells ids to those who may read or operate only.
    ("/undoubt.v1.ParticipantAdmin/Describe", ANY, "describe"),
    ("/undoubt.v1.ParticipantAdmin/ListBranches", Needed::OneOf(&[Read, Operate]), "list-branches"),
    ("/undoubt.v1.ParticipantAdmin/ListMarks", Needed::OneOf(&[Read, Operate]), "list-marks"),
    ("/undoubt.v1.ParticipantAdmin/ResolveBranch", Needed::OneOf(&[Operate]), "resolve"),
    ("/undoubt.v1.ParticipantAdmin/ForgetBranch", Needed::OneOf(&[Operate]), "forget"),
    ("/undoubt.v1.ParticipantAdmin/AcceptLoss", Needed::OneOf(&[Operate]), "accept-loss"),
    ("/undoubt.v1.ParticipantAdmin/ReleaseMarks", Needed::OneOf(&[Operate]), "release-marks"),
    ("/undoubt.v1.ParticipantAdmin/PinCoordinator", Needed::OneOf(&[Operate]), "pin-coordinator"),
    ("/undoubt.v1.ParticipantAdmin/Backup", Needed::OneOf(&[Operate]), "backup"),
    ("/undoubt.v1.ParticipantAdmin/Audit", Needed::OneOf(&[Operate]), "audit"),
    ("/undoubt.v1.Events/Read", Needed::OneOf(&[Read]), "read-events"),
    ("/undoubt.v1.Events/KeepEvents", Needed::OneOf(&[Read]), "keep-events"),
    ("/undoubt.v1.Events/ListReaders", Needed::OneOf(&[Read, Operate]), "list-readers"),
    ("/undoubt.v1.Events/ForgetReader", Needed::OneOf(&[Operate]), "forget-reader"),
    ("/undoubt.v1.Events/ResumeSubscription", Needed::OneOf(&[Operate]), "resume-subscription"),
    ("/undoubt.v1.Events/DescribeLog", Needed::OneOf(&[Read, Operate]), "describe-log"),
    ("/undoubt.v1.Events/ListSubscriptions", Needed::OneOf(&[Read, Operate]), "list-subscriptions"),
    ("/undoubt.v1.Events/ListParked", Needed::OneOf(&[Read, Operate]), "list-parked"),
    ("/undoubt.v1.Events/GetParked", Needed::OneOf(&[Read]), "get-parked"),
    ("/undoubt.v1.Events/RetryParked", Needed::OneOf(&[Operate]), "retry-parked"),
    ("/undoubt.v1.Events/GiveUpParked", Needed::OneOf(&[Operate]), "give-up-parked"),
    // At the port for figures.
    ("/metrics", Needed::OneOf(&[Read, Operate]), "metrics"),
    ("/healthz", Needed::Nothing, "healthz"),
    ("/readyz", Needed::Nothing, "readyz"),
    // Load balancers ask this, and it tells nothing but whether somebody serves.
    ("/grpc.health.v1.Health/Check", Needed::Nothing, "check"),
    ("/grpc.health.v1.Health/Watch", Needed::Nothing, "watch"),
];

static BY_PATH: LazyLock<BTreeMap<&str, (Needed, &str)>> =
    LazyLock::new(|| METHODS.iter().map(|(path, needed, word)| (*path, (*needed, *word))).collect());

/// Returns the roles that the method at this path needs. One that is not known, reflection among them, is open to all who
/// are known.
pub fn needed(path: &str) -> Needed {
    BY_PATH.get(path).map_or(ANY, |(needed, _)| *needed)
}

/// Returns the word that the audit record has for the method at this path.
pub fn action(path: &str) -> &'static str {
    BY_PATH.get(path).map_or("unknown", |(_, word)| *word)
}
