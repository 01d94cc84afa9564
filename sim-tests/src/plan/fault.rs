//! Faults: when they strike, and what they do.

use super::Host;
use super::points::OPENED;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that goes wrong. What lasts ends by itself, at the latest when the world is healed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub when: When,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum When {
    At {
        ms: u64,
    },
    /// When this host's code reaches the named point for the count-th time. A crash then happens exactly there.
    /// With `during`, only those times count when some transaction at a coordinator, some branch at a participant is in
    /// the state of this name, or nothing is in any (`idle`). [`points`](super::points) has the names.
    Point {
        host: Host,
        point: String,
        count: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        during: Option<String>,
    },
}

/// The effect of a fault, by the codes of the fault catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// The process dies (P1-P7, P10). With `power` the machine does: what was not forced is lost, its end may be torn (S3).
    Crash { host: Host, power: bool, down_ms: u64 },
    /// The coordinator dies and is not healed either (P8).
    Gone { host: Host },
    /// Says and writes nothing for a while, then goes on as if nothing had been (P9).
    Pause { host: Host, for_ms: u64 },
    /// The coordinator is paused, the standby takes over its volume, then the old one goes on (P9, zombie).
    Takeover { zombie_after_ms: u64 },
    /// Nothing passes; what is on its way is lost (N1). `one_way`: only from the first to the second (N2).
    Partition { from: Host, to: Host, one_way: bool, for_ms: u64 },
    /// What is sent arrives only once the link is free again (N7).
    Clog { from: Host, to: Host, for_ms: u64 },
    /// One message of a session arrives twice, or late, behind those sent after it, or is lost with its connection (N3,
    /// N4, N8).
    Tamper { participant: u8, direction: Direction, message: Message, count: u32, tampering: Tampering },
    /// Syncs are answered but nothing is stable; the power fails at the end (S1).
    LyingSyncs { host: Host, for_ms: u64 },
    /// The next sync fails (S2).
    SyncFails { host: Host },
    /// Loses power, and comes back with an older state of its disk (S4).
    RolledBack { host: Host, frames: u32 },
    /// Crashes, and finds a bit flipped in its log, this far into it in thousandths (S5). Repaired after a while.
    BitFlip { host: Host, at_permille: u16, repaired_after_ms: u64 },
    /// No room on the device (S6).
    DiskFull { host: Host, for_ms: u64 },
    /// (S6)
    ReadOnlyDisk { host: Host, for_ms: u64 },
    /// Writes are refused for now: none of them is applied, and they may be made again (S12).
    DiskAway { host: Host, for_ms: u64 },
    /// A participant's resource loses some of its answers: what it was told to do is done, or is not (S13).
    Unclear { participant: u8, for_ms: u64 },
    /// A participant's resource loses the locks of branches that have voted read-only, as soon as they have (S14).
    ReadersForgotten { participant: u8, for_ms: u64 },
    /// Somebody else ends the oldest prepared branch in the resource itself, or the next one if there is none (S15).
    OtherHand { participant: u8, commit: bool },
    /// A participant's database loses some of the connections of its sessions: before they read a request, before they answer it,
    /// or from the client's side only (D3).
    SessionsCut { participant: u8, for_ms: u64 },
    /// A participant's HTTP service answers slowly, badly, or not at all, whether or not it does what it was asked (H3).
    ServiceTroubled { participant: u8, for_ms: u64 },
    /// A stranger says to a participant that it is the coordinator, in every way that it can: with the id, the highest epoch, and a
    /// key of its own (S16).
    Impostor { participant: u8 },
    /// Each sync takes this long (S7).
    SlowDisk { host: Host, sync_ms: u64, for_ms: u64 },
    /// Crashes, and finds an empty disk (S8).
    Wiped { host: Host },
    /// A state that the disk had is put back after a while, and its server comes back with that (S11).
    PutBack { host: Host, copy: Copied, after_ms: u64 },
    /// Crashes, and finds the other's disk (S8). Put right after a while.
    Swapped { host: Host, with: Host, repaired_after_ms: u64 },
    /// Crashes, and has lost the vote it gave for one of its prepared branches (S9).
    VoteLost { participant: u8 },
    /// The coordinator crashes, and one of its open transactions can be read and not carried out (S10).
    Poisoned,
    /// The host's clock is off by this from now on (C1).
    Clock { host: Host, by_ms: i64 },
    /// An operator decides the oldest branch in doubt alone (O1; O2 if the coordinator decides otherwise).
    Resolve { participant: u8, commit: bool },
    /// An operator gives up on what the coordinator cannot finish (O3).
    Forget,
    /// Compensations are refused (G1): longer than sagas try, so that an operator has to look at them.
    CompensationsRefused { participant: u8, for_ms: u64 },
    /// Actions are refused for good: before the pivot and at it a saga compensates, after it there is no way but on
    /// (G3).
    ActionsRefused { participant: u8, for_ms: u64 },
    /// Prepares take this much longer, while steps are as fast as ever (G4).
    SlowPrepares { participant: u8, by_ms: u64, for_ms: u64 },
    /// A reader of events takes this long over each batch (E8).
    SlowReader { reader: u8, by_ms: u64, for_ms: u64 },
    /// What a participant reads of another's log comes later: sources overtake each other (E4).
    LateSource { participant: u8, from: u8, by_ms: u64, for_ms: u64 },
    /// The work of a participant's reactions is refused for good (E5).
    ReactionsRefused { participant: u8, for_ms: u64 },
    /// A participant takes this long over each event that it reacts to (E8).
    SlowReactions { participant: u8, by_ms: u64, for_ms: u64 },
    /// Somebody publishes the beginning of a trip in a form that nobody knows (E10).
    UnknownSchema,
    /// An operator ends every step that is stuck (O4).
    ResolveStuck { how: HowResolved },
    /// An operator ends the oldest saga that is open, though it may not be stuck (O5).
    EndSaga { how: HowEnded },
    /// An operator releases the semantic locks of the first saga that has some at this participant (O6).
    ReleaseMarks { participant: u8 },
}

/// The state of a disk that is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Copied {
    /// Its files, as they were while the server ran; the folder shows that it is a copy.
    Hot,
    /// Its files, from between two starts, for which the server was ended; the folder shows that it is a copy.
    Cold,
    /// A device's snapshot, made while the server ran: nothing shows.
    Snapshot,
    /// Nothing.
    Emptied,
}

/// An operator's way to end a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HowEnded {
    /// All that is not settled is skipped.
    Skip,
    /// All that is not settled is said to have been done by other means.
    Done,
    /// It is given up.
    Forget,
}

/// An operator's way to settle a stuck step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HowResolved {
    /// It is tried again.
    Retry,
    /// It is passed over, and the saga reported as damaged.
    Skip,
    /// It is said to have been done by other means.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    ToParticipant,
    ToCoordinator,
}

/// The messages of a session, by the names of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    Prepare,
    Confirm,
    Commit,
    Abort,
    Settle,
    Act,
    Compensate,
    Close,
    Vote,
    Confirmed,
    Finished,
    Inquiry,
    Acted,
    Compensated,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tampering {
    /// It arrives, and again this much later.
    Duplicate { after_ms: u64 },
    /// It arrives this much later; what was sent after it overtakes it.
    Delay { by_ms: u64 },
    /// It never arrives, and its connection ends with it.
    Lost,
}

/// A line of the fault catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Code {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    S8,
    S9,
    S10,
    S11,
    S12,
    S13,
    S14,
    S15,
    S16,
    /// A database crashes, or its machine loses power.
    D1,
    /// A database is cut off from its participant.
    D2,
    D3,
    /// An HTTP service crashes, or its machine loses power.
    H1,
    /// An HTTP service is cut off from its participant.
    H2,
    H3,
    /// A reader of events is cut off from a participant, or one participant from another whose events it reads.
    E1,
    E4,
    E5,
    E8,
    E10,
    /// A time limit is over while what it limits is about to end, by a clock that jumps. It is C1 wherever it strikes; a scenario looks at
    /// just this.
    E12,
    /// A participant's disk that is put back lacks events which were read. It is S11 wherever it strikes; a scenario looks at just this.
    E13,
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    P7,
    P8,
    P9,
    P10,
    N1,
    N2,
    N3,
    N4,
    N5,
    N6,
    N7,
    N8,
    C1,
    O1,
    O2,
    O3,
    O4,
    O5,
    O6,
    G1,
    G2,
    G3,
    G4,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}"))
    }
}

impl Fault {
    /// The line of the catalogue, by what happens, and for crashes also by when.
    pub fn code(&self) -> Code {
        let point = match &self.when {
            When::Point { point, .. } => point.as_str(),
            When::At { .. } => "",
        };
        match &self.what {
            What::Crash { host: Host::Database(_), .. } => Code::D1,
            What::Crash { host: Host::Service(_), .. } => Code::H1,
            What::Crash { .. } if point == OPENED => Code::P10,
            What::Crash { host: Host::Participant(_), power: false, .. } => Code::P7,
            What::Crash { power: true, .. } => Code::S3,
            What::Crash { .. } => match point {
                "before-append-committed" => Code::P2,
                "after-append-committed" => Code::P3,
                "before-send-commit" | "after-send-commit" => Code::P4,
                "before-answer" | "after-answer" => Code::P5,
                "before-append-ended" | "after-append-ended" => Code::P6,
                _ => Code::P1,
            },
            What::Gone { .. } => Code::P8,
            What::Pause { .. } | What::Takeover { .. } => Code::P9,
            What::Partition { from: Host::Client(_), .. }
            | What::Partition { to: Host::Client(_), .. }
            | What::Clog { from: Host::Client(_), .. }
            | What::Clog { to: Host::Client(_), .. } => Code::N6,
            What::Partition { from: Host::Reader(_), .. } | What::Clog { from: Host::Reader(_), .. } => Code::E1,
            // Participants say nothing to each other but what they publish.
            What::Partition { from: Host::Participant(_), to: Host::Participant(_), .. }
            | What::Clog { from: Host::Participant(_), to: Host::Participant(_), .. } => Code::E1,
            What::Partition { to: Host::Database(_), .. } | What::Clog { to: Host::Database(_), .. } => Code::D2,
            What::Partition { to: Host::Service(_), .. } | What::Clog { to: Host::Service(_), .. } => Code::H2,
            What::Partition { one_way: false, .. } => Code::N1,
            What::Partition { one_way: true, .. } => Code::N2,
            What::Clog { .. } => Code::N7,
            What::Tamper { tampering: Tampering::Duplicate { .. }, .. } => Code::N3,
            What::Tamper { message: Message::Act, tampering: Tampering::Delay { .. }, .. } => Code::N5,
            What::Tamper { tampering: Tampering::Delay { .. }, .. } => Code::N4,
            What::Tamper { tampering: Tampering::Lost, .. } => Code::N8,
            What::LyingSyncs { .. } => Code::S1,
            What::SyncFails { .. } => Code::S2,
            What::RolledBack { .. } => Code::S4,
            What::BitFlip { .. } => Code::S5,
            What::DiskFull { .. } | What::ReadOnlyDisk { .. } => Code::S6,
            What::DiskAway { .. } => Code::S12,
            What::Unclear { .. } => Code::S13,
            What::ReadersForgotten { .. } => Code::S14,
            What::OtherHand { .. } => Code::S15,
            What::SessionsCut { .. } => Code::D3,
            What::ServiceTroubled { .. } => Code::H3,
            What::Impostor { .. } => Code::S16,
            What::SlowDisk { .. } => Code::S7,
            What::Wiped { .. } | What::Swapped { .. } => Code::S8,
            What::VoteLost { .. } => Code::S9,
            What::Poisoned => Code::S10,
            What::PutBack { .. } => Code::S11,
            What::Clock { .. } => Code::C1,
            What::Resolve { .. } => Code::O1,
            What::Forget => Code::O3,
            What::CompensationsRefused { .. } => Code::G1,
            What::ActionsRefused { .. } => Code::G3,
            What::SlowPrepares { .. } => Code::G4,
            What::LateSource { .. } => Code::E4,
            What::ReactionsRefused { .. } => Code::E5,
            What::SlowReader { .. } | What::SlowReactions { .. } => Code::E8,
            What::UnknownSchema => Code::E10,
            What::ResolveStuck { .. } => Code::O4,
            What::EndSaga { .. } => Code::O5,
            What::ReleaseMarks { .. } => Code::O6,
        }
    }
}

impl What {
    /// Returns what is done to the message, if this and `other` tamper with the same one.
    pub(crate) fn tampering_like(&self, other: &What) -> Option<Tampering> {
        let What::Tamper { participant, direction, message, count, tampering } = self else { return None };
        let What::Tamper { participant: p, direction: d, message: m, count: c, .. } = other else { return None };
        ((participant, direction, message, count) == (p, d, m, c)).then_some(*tampering)
    }

    /// Returns the time that it lasts, if it does.
    pub fn lasts_ms(&self) -> Option<u64> {
        self.clone().lasts_ms_mut().copied()
    }

    pub(crate) fn lasts_ms_mut(&mut self) -> Option<&mut u64> {
        match self {
            What::Crash { down_ms: ms, .. }
            | What::Pause { for_ms: ms, .. }
            | What::Takeover { zombie_after_ms: ms }
            | What::Partition { for_ms: ms, .. }
            | What::Clog { for_ms: ms, .. }
            | What::LyingSyncs { for_ms: ms, .. }
            | What::BitFlip { repaired_after_ms: ms, .. }
            | What::DiskFull { for_ms: ms, .. }
            | What::ReadOnlyDisk { for_ms: ms, .. }
            | What::DiskAway { for_ms: ms, .. }
            | What::Unclear { for_ms: ms, .. }
            | What::ReadersForgotten { for_ms: ms, .. }
            | What::SessionsCut { for_ms: ms, .. }
            | What::ServiceTroubled { for_ms: ms, .. }
            | What::SlowDisk { for_ms: ms, .. }
            | What::Swapped { repaired_after_ms: ms, .. }
            | What::PutBack { after_ms: ms, .. }
            | What::CompensationsRefused { for_ms: ms, .. }
            | What::ActionsRefused { for_ms: ms, .. }
            | What::SlowPrepares { for_ms: ms, .. }
            | What::LateSource { for_ms: ms, .. }
            | What::ReactionsRefused { for_ms: ms, .. }
            | What::SlowReactions { for_ms: ms, .. }
            | What::SlowReader { for_ms: ms, .. } => Some(ms),
            What::Gone { .. }
            | What::UnknownSchema
            | What::Tamper { .. }
            | What::SyncFails { .. }
            | What::RolledBack { .. }
            | What::Wiped { .. }
            | What::VoteLost { .. }
            | What::Poisoned
            | What::Clock { .. }
            | What::OtherHand { .. }
            | What::Impostor { .. }
            | What::Resolve { .. }
            | What::Forget
            | What::ResolveStuck { .. }
            | What::EndSaga { .. }
            | What::ReleaseMarks { .. } => None,
        }
    }

    /// Returns true if a disk loses something that was stable, of which the server that it belongs to has to know.
    pub(crate) fn takes_from_disks(&self) -> bool {
        matches!(
            self,
            What::LyingSyncs { .. }
                | What::RolledBack { .. }
                | What::BitFlip { .. }
                | What::Wiped { .. }
                | What::PutBack { .. }
                | What::Swapped { .. }
                | What::VoteLost { .. }
        )
    }

    /// Returns the hosts that it concerns.
    pub fn hosts(&self) -> Vec<Host> {
        match self {
            What::Crash { host, .. }
            | What::Gone { host }
            | What::Pause { host, .. }
            | What::LyingSyncs { host, .. }
            | What::SyncFails { host }
            | What::RolledBack { host, .. }
            | What::BitFlip { host, .. }
            | What::DiskFull { host, .. }
            | What::ReadOnlyDisk { host, .. }
            | What::DiskAway { host, .. }
            | What::SlowDisk { host, .. }
            | What::Wiped { host }
            | What::PutBack { host, .. }
            | What::Clock { host, .. } => vec![*host],
            What::Swapped { host, with, .. } => vec![*host, *with],
            What::SessionsCut { participant, .. } => vec![Host::Database(*participant)],
            What::ServiceTroubled { participant, .. } => vec![Host::Service(*participant)],
            What::SlowReader { reader, .. } => vec![Host::Reader(*reader)],
            What::LateSource { participant, from, .. } => {
                vec![Host::Participant(*participant), Host::Participant(*from)]
            }
            What::UnknownSchema => vec![Host::Participant(1)],
            What::Partition { from, to, .. } | What::Clog { from, to, .. } => vec![*from, *to],
            What::Tamper { participant, .. } => vec![Host::Coordinator, Host::Participant(*participant)],
            What::VoteLost { participant }
            | What::Unclear { participant, .. }
            | What::ReadersForgotten { participant, .. }
            | What::OtherHand { participant, .. }
            | What::Impostor { participant }
            | What::Resolve { participant, .. }
            | What::CompensationsRefused { participant, .. }
            | What::ActionsRefused { participant, .. }
            | What::SlowPrepares { participant, .. }
            | What::ReactionsRefused { participant, .. }
            | What::SlowReactions { participant, .. }
            | What::ReleaseMarks { participant } => vec![Host::Participant(*participant)],
            What::Poisoned
            | What::Takeover { .. }
            | What::Forget
            | What::ResolveStuck { .. }
            | What::EndSaga { .. } => vec![Host::Coordinator],
        }
    }
}
