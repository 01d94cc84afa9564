//! How transactions, branches, steps and servers stand, as they tell it: each value has a label, and a number on the wire.

use serde::{Serialize, Serializer};
use std::fmt;

/// Defines an enum with a label and a number for each value.
macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident: $($(#[$value_doc:meta])* $value:ident = $number:literal $label:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$value_doc])* $value = $number,)*
        }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &[$name] = &[$($name::$value,)*];

            /// Returns the label, for people and programs.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$value => $label,)*
                }
            }

            /// Returns the number on the wire.
            pub fn number(self) -> i32 {
                self as i32
            }

            /// Returns the value with this number; `None`: this version knows none.
            pub fn of_number(number: i32) -> Option<$name> {
                match number {
                    $($number => Some($name::$value),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

labelled! {
    /// How far a transaction is.
    TransactionPhase:
    /// Votes are awaited.
    Preparing = 1 "preparing",
    /// Read-only branches are asked whether they held their locks.
    Confirming = 2 "confirming",
    /// The decision to commit is being recorded.
    LoggingCommit = 3 "logging-commit",
    /// It is decided, and branches have yet to acknowledge it.
    Committing = 4 "committing",
    /// That the only branch may commit by itself is being recorded.
    LoggingDelegation = 5 "logging-delegation",
    /// The only branch commits by itself.
    Delegated = 6 "delegated",
    /// The only branch is asked what it came to.
    Settling = 7 "settling",
    /// Its end as committed is being recorded.
    EndingCommitted = 8 "ending-committed",
    /// Its end as aborted is being recorded.
    EndingAborted = 9 "ending-aborted",
    /// Two-phase commit was given up for a saga, whose beginning is being recorded.
    FallingBack = 10 "falling-back",
    /// It is over.
    Ended = 11 "ended",
    /// The beginning of a saga is being recorded.
    Beginning = 12 "beginning",
    /// The actions of a saga run.
    Running = 13 "running",
    /// A step of a saga waits for an operator.
    Stuck = 14 "stuck",
    /// That a saga compensates is being recorded.
    LoggingCompensation = 15 "logging-compensation",
    /// The compensations of a saga run.
    Compensating = 16 "compensating",
    /// A saga is decided, and participants have yet to free its semantic locks.
    Closing = 17 "closing",
    /// The end of a saga is being recorded.
    Ending = 18 "ending",
    /// Its record cannot be carried out, and it is held until an operator ends it.
    Unusable = 19 "unusable",
    /// An open saga takes steps.
    Open = 20 "open",
    /// It is being recorded that an open saga is closed.
    LoggingClose = 21 "logging-close",
    /// The completions of a saga that was closed run.
    Completing = 22 "completing",
    /// A nested saga was closed and its steps are completed; it ends with its parent.
    Closed = 23 "closed",
    /// Nothing was heard in time of what a choreographed saga waits for.
    Quiet = 24 "quiet",
    /// How a choreographed saga stands cannot be told from what was heard.
    Unknown = 25 "unknown",
}

labelled! {
    /// How a branch or a step stands, as its coordinator sees it.
    PartState:
    /// The branch has not voted.
    Awaited = 1 "awaited",
    /// The branch has voted to commit.
    Prepared = 2 "prepared",
    /// The branch has only read, and holds its locks.
    ReadOnly = 3 "read-only",
    /// The branch has only read, and has left.
    ReadOnlyLeft = 4 "read-only-left",
    /// The branch has committed.
    Committed = 5 "committed",
    /// The branch has refused.
    Refused = 6 "refused",
    /// The branch has aborted.
    Aborted = 7 "aborted",
    /// An operator, or an unknown hand, has committed the branch.
    HeuristicallyCommitted = 8 "heuristically-committed",
    /// An operator, or an unknown hand, has aborted the branch.
    HeuristicallyAborted = 9 "heuristically-aborted",
    /// Nobody knows what became of it.
    Unknown = 10 "unknown",
    /// The step waits for others.
    Waiting = 11 "waiting",
    /// The step's action was sent before a restart, and may be in effect.
    InDoubt = 12 "in-doubt",
    /// The step's action runs.
    Acting = 13 "acting",
    /// The step's compensation runs.
    Compensating = 14 "compensating",
    /// The step is tried again after a pause.
    WaitingToRetry = 15 "waiting-to-retry",
    /// The step waits for an operator.
    Stuck = 16 "stuck",
    /// An operator's decision about the step is being recorded.
    Resolving = 17 "resolving",
    /// The step's action is in effect.
    Done = 18 "done",
    /// The step's action is in effect, and holds semantic locks.
    DoneWithLocks = 19 "done-with-locks",
    /// The step's action is not in effect, and never will be.
    Undone = 20 "undone",
    /// An operator went on without the step.
    Skipped = 21 "skipped",
    /// The step has joined, and its caller does its action himself.
    Joined = 22 "joined",
    /// The step's completion runs.
    Completing = 23 "completing",
    /// The step is completed.
    Completed = 24 "completed",
}

labelled! {
    /// The kind of something that happened to a transaction.
    EventKind:
    /// It was let in.
    Begun = 1 "begun",
    /// The way of an auto transaction was chosen.
    Chosen = 2 "chosen",
    /// It was found in the log after a restart.
    Recovered = 3 "recovered",
    /// A message was sent to a participant.
    Sent = 4 "sent",
    /// A participant voted.
    Voted = 5 "voted",
    /// A participant said whether it held its read locks.
    Confirmed = 6 "confirmed",
    /// It was decided.
    Decided = 7 "decided",
    /// A record became stable.
    Logged = 8 "logged",
    /// A branch ended.
    Finished = 9 "finished",
    /// A participant asked for the decision.
    Inquired = 10 "inquired",
    /// A participant told of an earlier attempt under this id, of which nothing was left here.
    EarlierAttempt = 11 "earlier-attempt",
    /// Its deadline passed.
    DeadlinePassed = 12 "deadline-passed",
    /// What was not acknowledged was sent again.
    Retried = 13 "retried",
    /// An operator gave it up.
    Forgotten = 14 "forgotten",
    /// The action of a step was answered.
    Acted = 15 "acted",
    /// The compensation of a step was answered.
    Compensated = 16 "compensated",
    /// An attempt of a step was not answered in time.
    Unanswered = 17 "unanswered",
    /// A saga compensates from here on.
    Compensating = 18 "compensating",
    /// Only an operator can go on with a step.
    Stuck = 19 "stuck",
    /// A step with no way but on was tried as often as its policy has it, and is tried on.
    HeldUp = 20 "held-up",
    /// An operator decided about a step.
    Resolved = 21 "resolved",
    /// A participant has freed the semantic locks of a saga.
    Closed = 22 "closed",
    /// A result could not be kept.
    LeftOut = 23 "left-out",
    /// Its record cannot be carried out, or could not be written.
    Unusable = 24 "unusable",
    /// An operator did something about it.
    Operator = 25 "operator",
    /// A step joined an open saga.
    Joined = 26 "joined",
    /// An open saga was asked to be closed.
    CloseAsked = 27 "close-asked",
    /// The completion of a step was answered.
    Completed = 28 "completed",
    /// A nested saga was closed and its steps are completed; it ends with its parent.
    Kept = 29 "kept",
    /// An event of a choreographed saga was published, by something that is not declared.
    Published = 30 "published",
    /// A reaction of a choreographed saga was refused, and has published that.
    Refused = 31 "refused",
    /// What happened cannot be known: events were missed.
    Missed = 32 "missed",
}

labelled! {
    /// How far a coordinator is.
    CoordinatorPhase:
    /// It reads its log, or carries on with what the log has.
    Recovering = 1 "recovering",
    /// Its log may be an older copy than others have seen, so it serves nobody.
    Held = 2 "held",
    /// It serves, and an operator has paused what its log has.
    RecoveryPaused = 3 "recovery-paused",
    /// It serves.
    Serving = 4 "serving",
    /// It finishes what is open and takes nothing new.
    Draining = 5 "draining",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_number_and_every_label_means_one_value() {
        let phases = TransactionPhase::ALL.iter().map(|phase| phase.as_str()).collect::<BTreeSet<_>>();
        assert_eq!(phases.len(), TransactionPhase::ALL.len());
        for state in PartState::ALL {
            assert_eq!(PartState::of_number(state.number()), Some(*state));
        }
        assert_eq!((EventKind::of_number(0), EventKind::of_number(99)), (None, None));
    }
}
