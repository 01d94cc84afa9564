//! Bugs planted between the cores and their world, to see that the exploration finds them.
//!
//! The cores stay as they are: a mutant drives them wrongly, as a careless driver or resource manager might.

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Mutant {
    /// The commit decision is called stable as soon as it is queued (breaks R1).
    CommitBeforeStable,
    /// The same, and nobody looks at the messages that are sent: only what comes of it can tell.
    CommitLostUnnoticed,
    /// The record of an end is called stable as soon as it is queued (breaks R10; and R3, where it tells of an operator's
    /// decision).
    EndBeforeStable,
    /// A branch votes prepared before its record is written (breaks R2).
    VoteBeforeDurable,
    /// Prepared branches do not hold their locks after a restart (breaks R2).
    LocksNotRestored,
    /// Open records of the log are not folded at the start: everything is presumed aborted (breaks R4).
    OpenRecordsForgotten,
    /// The same, but only if recovery starts paused (breaks R4).
    PausedStartForgets,
    /// A coordinator calls itself recovered before it has read its log (breaks R4).
    PresumesWhileRecovering,
    /// A session of a lower epoch is let in (breaks R5).
    LowerEpochAccepted,
    /// A session is let in before its epoch is on stable storage (breaks R5).
    EpochUnrecorded,
    /// A read-only branch frees its locks when it votes, and says later that it has held them (breaks two-phase locking).
    ReadOnlyLeavesAtVote,
    /// What a participant said in a session that is over is still heard after a new one stands.
    OldSessionHeard,
    /// The low-water mark passes an attempt that is being settled, so what it came to is forgotten (breaks R11).
    LowWaterMarkRunsAhead,
    /// Prepared branches never ask (breaks R11).
    NoSweep,
    /// A crash takes back of an abort that its locks were freed, but not that its branch is over (breaks R11).
    AbortForcedInPart,
    /// Participants do not agree on who is older (breaks R12).
    AgesDiffer,
    /// Who is younger waits for anybody, not only for those who are leaving (breaks R12).
    AnybodyWaits,
    /// The lock table is not told who is leaving, so the next transaction is refused for its sake (breaks R12).
    LeavingUntold,
    /// An operator's decision is answered before it is on stable storage (breaks R3).
    DecisionUnrecorded,
    /// An operator's forgetting erases the decision before the end is recorded (breaks R10).
    ForgettingErases,
    /// The end of a drain erases what is still open (breaks R10).
    DrainForgets,
    /// Resuming a paused recovery lets nothing go on.
    NeverResumes,
    /// The record that a saga begins is called stable as soon as it is queued.
    BegunBeforeStable,
    /// The same, and nobody looks at the messages that are sent: what is in effect is known to nobody after a crash.
    BegunLostUnnoticed,
    /// The record that a saga compensates is called stable as soon as it is queued.
    CompensatingBeforeStable,
    /// A saga's progress is called stable as soon as it is queued: its pivot is sent too early.
    ProgressBeforeStable,
    /// Open records of sagas are not folded at the start.
    SagasForgotten,
    /// Barriers are forgotten at a participant's restart (breaks R6).
    BarriersForgotten,
    /// A compensation does not write its barrier (breaks R6).
    CompensationUnmarked,
    /// That a compensation was empty is answered and not stored (breaks R6).
    EmptyUnstored,
    /// A saga is called closed with its semantic locks in place.
    MarksLeft,
    /// A saga's semantic locks are called released with all of them in place.
    ReleaseLeavesMarks,
    /// The coordinator's core is not told that a saga is forgotten, and the operator is answered all the same.
    ForgettingUnheard,
    /// What an operator says of a stuck step is called stable as soon as it is queued.
    WordUnrecorded,
    /// A record that the store refuses is called stable (breaks R1).
    RefusedCalledStable,
    /// The core is not told that a record is refused (breaks R13).
    RefusalUntold,
    /// What can be read and not carried out is left out at the start: it is presumed aborted (breaks R4).
    UnusableOverlooked,
    /// What operators have said of steps is not read from the log at the start.
    WordsForgotten,
    /// A compensation is called refused though it is in effect (breaks R6).
    RefusedThoughDone,
    /// A saga does not mind another's semantic locks.
    MarksIgnored,
    /// Every participant is taken for one that can prepare.
    AbilityAssumed,
    /// The coordinator's clock stands still.
    TimeStandsStill,
    /// Nobody stores what was seen of others' logs.
    SeenUnstored,
    /// Participants do not say what they have seen.
    SeenUntold,
    /// Participants do not look at what they are shown.
    ShownUnread,
    /// Starts draw no marks: two of the same count are taken for one.
    StartsUnmarked,
    /// The coordinator speaks before it has asked anybody.
    SpeaksUnasked,
    /// A coordinator goes on though a session's beginning shows what its log lacks.
    LateSignIgnored,
    /// A coordinator that has to end, because a participant knows a later start, does not store that.
    OwnSignForgotten,
    /// Nobody takes back what participants have committed when a loss is accepted.
    CommitsNotTakenBack,
    /// Sagas that the log holds open go on when a loss is accepted.
    SagasGoOnAfterLoss,
    /// Participants are not asked what they still know when a loss is accepted.
    NothingTakenBack,
    /// The coordinator does not list what a participant has lost.
    LossUnlisted,
    /// It lists that of what has ended, and not of what is open.
    OpenLossUnlisted,
    /// That a folder shows that it was put back, or that a participant is shown it, is not stored.
    SignUnstored,
    /// The coordinator says hello before it has found out whether its log is the newest.
    SpeaksWhileAsking,
    /// The coordinator's core is told that it has recovered before it may speak.
    RecoversWhileAsking,
    /// Writes count as stable before they are: numbers are told that a crash takes back.
    UnstableNumbered,
    /// Participants do not say that a process is connected as the coordinator.
    ConnectedUntold,
    /// A loss that was accepted is not counted.
    LossUncounted,
    /// A participant says of what its low-water mark has passed that it was aborted.
    PassedCalledAborted,
    /// A resource says from memory that a reader has held its locks (breaks R7).
    ConfirmedFromMemory,
    /// A resource says that it has ended a branch as it was told, though another hand had ended it the other way (breaks R3).
    OtherHandOverlooked,
    /// What another hand did is kept, and reported as if the branch had ended as it was told (breaks R3).
    OtherHandUnreported,
    /// What another hand did is reported, and not kept (breaks R3).
    OtherHandUnstored,
    /// Nobody is asked at whose word a branch has committed of which a start finds evidence (breaks R3).
    EvidenceUnasked,
    /// The low-water mark drops the evidence of what is not over here (breaks R3).
    EvidenceCollected,
    /// The coordinator's core is not told which records the log has dropped (breaks R4).
    ForgottenUntold,
    /// A branch whose execution was unclear is refused before it is clear.
    UnclearCalledRefused,
    /// A branch that the resource finds prepared is told to nobody (breaks R11).
    FoundUntold,
    /// It is told once only, whatever the participant was at (breaks R11).
    FoundToldOnce,
    /// A resource undoes all that it finds prepared, and asks nobody (breaks R2).
    FoundAborted,
    /// What an abort owes is forgotten at a restart.
    OwedForgotten,
    /// A branch that is alone and was interrupted amid its end is forgotten at a restart.
    SettlingForgotten,
    /// A branch that is alone and was interrupted amid its end is taken for committed at a restart (breaks R10).
    SettlingCalledCommitted,
    /// The record that a step has joined an open saga is called stable as soon as it is queued.
    JoinedBeforeStable,
    /// The same, and nobody looks at the messages that are sent: what is in effect is known to nobody.
    JoinedLostUnnoticed,
    /// The record that an open saga was closed is called stable as soon as it is queued.
    ClosedBeforeStable,
    /// The record that a step of an open saga was refused is called stable as soon as it is queued.
    RefusedBeforeStable,
    /// The record that an open saga was closed, or compensates, is written before that of what has joined just before.
    JoinedLast,
    /// Open sagas are not folded at the start.
    OpenSagasForgotten,
    /// They are, without their steps.
    JoinedForgotten,
    /// They are, without the last branch that joined, where they are completed by two-phase commit.
    BranchForgotten,
    /// Those that were closed are taken for completed in full at the start (breaks R10).
    CompletionsForgotten,
    /// Those that were closed are taken for cancelled at the start.
    ClosedReadAsCancelled,
    /// All steps but the first of those that compensate are taken for undone at the start.
    LaterStepsForgotten,
    /// It is written of those that compensate that a silence was why, whatever it was.
    TurnedBackBySilence,
    /// Of those with a check-back, that is forgotten at the start.
    CheckBackForgotten,
    /// A participant that cannot answer a check-back yet says that it failed.
    LaterCalledFailed,
    /// A participant says of what failed that it is done, where a check-back asks.
    FailedCalledDone,
    /// Completions run in the opposite order after a restart.
    CompletionsTurnedRound,
    /// A completion does not write its barrier (breaks R6).
    CompletionUnmarked,
    /// Whoever joins late is sent its steps under the saga's own attempt number (breaks R11).
    JoinedUnderSagasNumber,
    /// Participants are not told that a step's caller has acted himself.
    ElsewhereUntold,
    /// After a restart a nested saga has no parent, and ends by itself.
    ParentForgotten,
    /// What was completed and is to be undone is undone as the step that was completed.
    UndoneAsItself,
    /// A participant is not told what is still open below the low-water mark (breaks R11).
    StillOpenUntold,
    /// A resource drops what it keeps of all below the low-water mark (breaks R11).
    StillOpenCollected,
    /// What is still open below the low-water mark is forgotten at a participant's restart (breaks R11).
    StillOpenForgotten,
    /// What an application had prepared is undone when its coordinator says that nobody has it open, though an attempt has adopted it
    /// meanwhile (breaks R2).
    AdoptedUndone,
    /// A coordinator that is asked about what no attempt has asked for says that nobody has it open, though it has.
    OpenCalledUnsubmitted,
}
