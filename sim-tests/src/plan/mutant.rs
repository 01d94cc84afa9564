//! Bugs planted at the seams of the servers, to see that the sweep finds them.
//!
//! The servers stay as they are; a mutant stands between them and their disk, their resource or their sessions, and does
//! what a server with that bug would do. Only the simulation has them.

use serde::{Deserialize, Serialize};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mutant {
    /// The coordinator forces nothing: decisions are sent and answered before they are stable (breaks R1, R10).
    UnforcedDecisions,
    /// Participants vote before their record is stable (breaks R2).
    UnforcedVotes,
    /// A branch that commits in one phase says so before that is stable (breaks R2).
    UnforcedOnePhase,
    /// A coordinator's recovery overlooks what is open: everything is presumed aborted (breaks R4).
    OpenRecordsForgotten,
    /// A coordinator does not look up what has ended: the same id runs again (breaks R10).
    OutcomesForgotten,
    /// Every start of a coordinator has the same epoch, and so the same attempt numbers (breaks R5).
    EpochReused,
    /// A participant's recovery overlooks what is prepared: its locks are free (breaks R2).
    PreparedForgotten,
    /// A participant commits when it votes (breaks two-phase commit as such).
    CommitsAtPrepare,
    /// A participant says that it has aborted a branch, and keeps it (breaks R11).
    AbortOnlyAcknowledged,
    /// A coordinator takes a refusal for a vote (breaks two-phase commit as such).
    RefusalOverlooked,
    /// A read-only branch frees its locks when it votes, and says later that it has held them (breaks two-phase locking, R7).
    ReadLocksFreedAtVote,
    /// A coordinator does not listen to those who ask for a decision (breaks R11).
    InquiriesIgnored,
    /// A coordinator says commit once, whether or not it was heard (breaks R6).
    CommitNotRepeated,
    /// The low-water mark passes what is still open (breaks R11).
    LowWaterMarkRunsAhead,
    /// An operator's decision is reported as if it had been the coordinator's (breaks R3).
    HeuristicUnreported,
    /// A participant's recovery overlooks the barriers of steps: what is repeated runs again.
    BarriersForgotten,
    /// A participant says that it has compensated, and does nothing.
    CompensationsOnlyAnswered,
    /// A coordinator says once that a step is to be compensated, whether or not it was heard (breaks R6).
    CompensationsNotRepeated,
    /// A coordinator forces nothing of a saga, neither its beginning nor that it compensates nor its end.
    UnforcedSagas,
    /// A coordinator passes over records that it cannot carry out, and so presumes that there was nothing (breaks R13).
    PoisonOverlooked,
    /// A coordinator does not mind what its store takes at once (breaks R13).
    WritesOfAnySize,
    /// Batches of sessions are closed by the number of their messages only (breaks R13).
    BatchesOfAnySize,
    /// A participant says what it read once, whether or not it was heard.
    ReadAnsweredOnce,
    /// A participant does not store what it has seen of coordinators' logs.
    NumbersForgotten,
    /// A participant does not show a coordinator what it has seen of its log.
    NumbersUnshown,
    /// A coordinator does not show a participant what it has seen of its log.
    NumbersKept,
    /// A coordinator takes no notice of the marks of starts: two of the same count are one.
    MarksIgnored,
    /// A coordinator speaks before it has asked anybody what is known of its log.
    SpeaksUnasked,
    /// Nobody looks whether a folder shows that it is a copy.
    FolderSignIgnored,
    /// A participant that was put back serves after its next start.
    PutBackServes,
    /// A coordinator takes no notice of what participants answer about its log, and so is never held for it.
    RecallIgnored,
    /// A coordinator says hello before it knows whether it may, and so ends whoever has an older epoch.
    EpochTakenUnasked,
    /// A coordinator does not list what a participant has lost.
    LossUnlisted,
    /// A branch or step of which it is unclear what became is called refused (breaks R10).
    UnclearCalledRefused,
    /// A participant says from memory that a reader has held its locks (breaks R7).
    ConfirmedFromMemory,
    /// A participant says that a branch has ended as it was told, though another hand had ended it the other way (breaks R3).
    OtherHandIgnored,
    /// A participant stores the epoch of a coordinator, and not its key (breaks R14): after a restart it takes it for one from before
    /// there were keys.
    PinForgotten,
    /// The adapter of a database begins without having ended the sessions of earlier processes: what they were sent may land yet (R2).
    FenceForgotten,
    /// Sessions of an adapter take no lease, so that nobody finds them who takes the database over.
    LeaseForgotten,
    /// An adapter says what became of a call that was unclear before the session has ended that may still carry it out.
    SuspectsLeft,
    /// An adapter says that nothing happened when a session broke, without having ended it.
    UnclearCalledUnavailable,
    /// An adapter takes a branch that is not prepared any more for committed, without having looked for its evidence (breaks R3).
    UnknownNameCommitted,
    /// An adapter takes the end of a transaction for a vote, though an error had undone it (breaks R2).
    EarlierErrorsOverlooked,
    /// An adapter writes no evidence of branches, by which it could tell that one has committed.
    EvidenceForgotten,
    /// A participant says that it has undone what was completed, and does nothing.
    UndoneAnewOnlyAnswered,
    /// A coordinator's recovery overlooks in whom a saga is nested.
    ParentForgotten,
    /// A coordinator says that it has cancelled a nested saga, and leaves it open.
    NestedCancelForgotten,
    /// A coordinator says of a saga that it has ended when it has only been closed, whatever is nested in it.
    EndToldEarly,
    /// A participant that calls a service does not store that it is about to call, before an action.
    AttemptForgotten,
    /// A participant that calls a service does not store, before a try, that it owes a cancel.
    TryForgotten,
    /// A participant's recovery overlooks the cancels that it owes.
    CancelForgotten,
    /// A participant takes a confirm for done that its service refuses for good (breaks R3).
    RefusedConfirmCommitted,
    /// A participant writes events once their work is written, by themselves.
    EventsWrittenApart,
    /// A participant allots positions when it votes: those of branches that abort stay empty.
    PositionsAllottedAtPrepare,
    /// A participant hands on events that are not on stable storage.
    UnstableEventsServed,
    /// Every start of a participant's log has the same incarnation.
    IncarnationReused,
    /// A participant publishes the events of branches that abort.
    AbortPublishes,
    /// A participant keeps the record of what it has committed, and publishes it once more after a restart.
    CommitPublishesAgain,
    /// A subscription stores that it has dealt with an event, and then does its work.
    PositionStoredFirst,
    /// A subscription does its work, and then stores that it has dealt with the event.
    PositionStoredLater,
    /// A subscription does not know what it has dealt with after a restart.
    RepetitionsApplied,
    /// What cannot be applied is passed over, and its key is not parked.
    PoisonSkipped,
    /// A participant's recovery overlooks what is parked: its keys go on.
    ParkedForgotten,
    /// What undoes a reaction and comes before it leaves nothing behind: the late action is carried out.
    BarrierOfUndoMissing,
    /// A reader does not say of which life of the log its place is.
    IncarnationNotCompared,
}

impl Mutant {
    /// Returns true if it is a bug in the adapter of a database.
    pub fn is_about_databases(self) -> bool {
        matches!(
            self,
            Mutant::FenceForgotten
                | Mutant::LeaseForgotten
                | Mutant::SuspectsLeft
                | Mutant::UnclearCalledUnavailable
                | Mutant::UnknownNameCommitted
                | Mutant::EarlierErrorsOverlooked
                | Mutant::EvidenceForgotten
        )
    }

    /// Returns true if it is a bug in the adapter of HTTP services.
    pub fn is_about_services(self) -> bool {
        matches!(
            self,
            Mutant::AttemptForgotten | Mutant::TryForgotten | Mutant::CancelForgotten | Mutant::RefusedConfirmCommitted
        )
    }

    /// Returns true if it is a bug in what participants publish.
    pub fn is_about_events(self) -> bool {
        matches!(
            self,
            Mutant::EventsWrittenApart
                | Mutant::PositionsAllottedAtPrepare
                | Mutant::UnstableEventsServed
                | Mutant::IncarnationReused
                | Mutant::AbortPublishes
                | Mutant::CommitPublishesAgain
                | Mutant::PositionStoredFirst
                | Mutant::PositionStoredLater
                | Mutant::RepetitionsApplied
                | Mutant::PoisonSkipped
                | Mutant::ParkedForgotten
                | Mutant::BarrierOfUndoMissing
                | Mutant::IncarnationNotCompared
        )
    }

    /// Returns true if it shows only where sagas are nested.
    pub fn is_about_nested_sagas(self) -> bool {
        matches!(
            self,
            Mutant::UndoneAnewOnlyAnswered
                | Mutant::ParentForgotten
                | Mutant::NestedCancelForgotten
                | Mutant::EndToldEarly
        )
    }

    /// Returns true if it shows only where a disk was put back.
    pub fn is_about_disks_put_back(self) -> bool {
        matches!(
            self,
            Mutant::NumbersForgotten
                | Mutant::NumbersUnshown
                | Mutant::NumbersKept
                | Mutant::MarksIgnored
                | Mutant::SpeaksUnasked
                | Mutant::FolderSignIgnored
                | Mutant::PutBackServes
                | Mutant::RecallIgnored
                | Mutant::EpochTakenUnasked
                | Mutant::LossUnlisted
        )
    }
}
