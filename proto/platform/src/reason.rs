//! The reasons for which a request is refused: one stable word each, for programs, which the gRPC status carries as its
//! `google.rpc.ErrorInfo`.

use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Whoever looks for a reason's meaning, besides its word.
const DOMAIN: &str = "undoubt.dev";

/// Metadata of the status of what was not let in: nothing was done, and it may come back after so many milliseconds.
pub const RETRY_AFTER_KEY: &str = "retry-after-ms";

/// Defines the reasons: a word, the gRPC code, the milliseconds after which the very same request may come back, and the meaning.
macro_rules! reasons {
    ($($reason:ident $word:literal $code:ident $($after_ms:literal)?: $meaning:literal,)*) => {
        /// The reason for which a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $meaning] $reason,)*
        }

        impl Reason {
            /// All reasons, in the order of the catalogue.
            pub const ALL: &[Reason] = &[$(Reason::$reason,)*];

            /// Returns the word, which stays the same from version to version.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$reason => $word,)* }
            }

            /// Returns the gRPC code that goes with it.
            pub fn code(self) -> Code {
                match self { $(Reason::$reason => Code::$code,)* }
            }

            /// Returns the time after which the very same request may come back, with which nothing was done; `None`: another try
            /// would be refused again, or something may have been done.
            pub fn retry_after(self) -> Option<Duration> {
                match self { $(Reason::$reason => reasons!(@after $($after_ms)?),)* }
            }

            /// Returns the meaning, and what to do.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$reason => $meaning,)* }
            }
        }
    };
    (@after $after_ms:literal) => { Some(Duration::from_millis($after_ms)) };
    (@after) => { None };
}

reasons! {
    Recovering "RECOVERING" Unavailable 100: "The coordinator reads its log. Come back.",
    Draining "DRAINING" Unavailable 100: "The coordinator finishes what is open and takes nothing new. Come back after its restart.",
    BeingNoted "BEING_NOTED" Unavailable 100: "Something about this very transaction is being recorded. Come back.",
    BeingBegun "BEING_BEGUN" Unavailable 100: "The beginning of this very transaction is being recorded. Come back.",
    BeingTaken "BEING_TAKEN" Unavailable 100: "Another submission of this id is being taken. Come back.",
    TooManyOpen "TOO_MANY_OPEN" ResourceExhausted 100: "As many transactions are open as may be (`max_open_transactions`). Come back.",
    TooManyBegun "TOO_MANY_BEGUN" ResourceExhausted 1_000: "As many open sagas wait for their clients as may (`max_begun_transactions`). Come back.",
    TooMuchOpen "TOO_MUCH_OPEN" ResourceExhausted 100: "The work of all open transactions is as much as may be (`max_open_bytes`). Come back.",
    TooMuchGathered "TOO_MUCH_GATHERED" ResourceExhausted 100: "Open transactions have gathered as much as may be (`max_gathered_bytes`). Come back.",
    TooManyWaiters "TOO_MANY_WAITERS" ResourceExhausted 100: "As many clients wait for this transaction as may. Come back.",
    TooManyCallbacks "TOO_MANY_CALLBACKS" ResourceExhausted 100: "As many callbacks are promised as may be. Come back, or wait instead.",
    TooManySubmissions "TOO_MANY_SUBMISSIONS" ResourceExhausted 100: "Whoever asks has submitted as many transactions in a second as one identity may (`limits.submissions_per_s`). Come back when the status says so.",
    ShareTaken "SHARE_TAKEN" ResourceExhausted 100: "Whoever asks holds as many transactions open as one identity may (`limits.open_percent`). Come back when some have ended.",
    TooManyRequests "TOO_MANY_REQUESTS" ResourceExhausted 1_000: "As many requests are under way as may be, or there is no room for this one. Come back.",
    NoWorkTaken "NO_WORK_TAKEN" ResourceExhausted 100: "No new work is taken, for the log cannot be written or the disk is full. The message says why.",
    NoRoomForAnswer "NO_ROOM_FOR_ANSWER" ResourceExhausted: "What was asked for was done, and there was no room for its answer. Ask again for it.",
    OutcomeKnown "OUTCOME_KNOWN" Unavailable: "The outcome is known, and could not be told. Ask again under the same id.",
    RecordCollected "RECORD_COLLECTED" DataLoss: "The transaction was decided, and its record collected before its answer could be told (`retention_s`).",
    Stopping "STOPPING" Unavailable: "The server is stopping. Whether the request was carried out, the next start tells.",
    OtherStep "OTHER_STEP" AlreadyExists: "A step joined under this name with other content. Give this one a name of its own.",
    OtherContent "OTHER_CONTENT" AlreadyExists: "The id was submitted before with other content. Draw a new id for new work.",
    InvalidRequest "INVALID_REQUEST" InvalidArgument: "A field of the request cannot be read or is not allowed; the message names it. Correct it.",
    NoBranches "NO_BRANCHES" InvalidArgument: "The transaction has nothing to do. Give a participant some work.",
    TooManyBranches "TOO_MANY_BRANCHES" InvalidArgument: "The transaction has more branches or steps than it may. Split it.",
    TwoBranches "TWO_BRANCHES" InvalidArgument: "A participant is named twice. Put all of its work into one branch.",
    TooLarge "TOO_LARGE" InvalidArgument: "The work is larger than it may be. Make it smaller.",
    InvalidSaga "INVALID_SAGA" InvalidArgument: "The saga could not be carried out, or not be undone; the message has the path to the fault.",
    NeitherWay "NEITHER_WAY" InvalidArgument: "Auto can go neither by two-phase commit nor by a saga; the message says why.",
    LacksAbility "LACKS_ABILITY" InvalidArgument: "A participant lacks what this transaction needs. Update it, or leave it out.",
    NoSuchStep "NO_SUCH_STEP" InvalidArgument: "The saga has no step of that name.",
    UnknownParticipant "UNKNOWN_PARTICIPANT" NotFound: "The participant is not configured at this coordinator.",
    NotFound "NOT_FOUND" NotFound: "There is no trace of it: it never was, or it was collected after its retention.",
    NotDecidedYet "NOT_DECIDED_YET" DeadlineExceeded: "It is not decided yet. Ask again.",
    DeadlinePassed "DEADLINE_PASSED" DeadlineExceeded: "The deadline passed before anything was done.",
    MessageIncomplete "MESSAGE_INCOMPLETE" DeadlineExceeded: "The request did not come whole in time; nothing was done with it.",
    MessageTooLarge "MESSAGE_TOO_LARGE" OutOfRange: "The message is larger than is taken. Make it smaller.",
    NotDecided "NOT_DECIDED" FailedPrecondition: "It is not decided, so it cannot be given up. Cancel it instead.",
    TooLate "TOO_LATE" FailedPrecondition: "It is too late for that; the message says how it stands.",
    NothingToForget "NOTHING_TO_FORGET" FailedPrecondition: "Nothing of it is damaged.",
    StepSettled "STEP_SETTLED" FailedPrecondition: "The step is settled already.",
    NotOpen "NOT_OPEN" FailedPrecondition: "The open saga was closed or turned back, so no step can join it any more.",
    NotBegun "NOT_BEGUN" FailedPrecondition: "The transaction was submitted whole: it takes no steps, and ends by itself.",
    NoParent "NO_PARENT" FailedPrecondition: "No saga can be nested in that one: it is no open saga of this coordinator, does not take steps, or is nested too deep itself.",
    StepUnsettled "STEP_UNSETTLED" FailedPrecondition: "A step is under way, or nobody knows what became of it, so the open saga cannot be closed yet.",
    NotStuck "NOT_STUCK" FailedPrecondition: "The step is not stuck, so there is nothing to try again.",
    NotASaga "NOT_A_SAGA" FailedPrecondition: "It is no saga, and has no steps.",
    Unusable "UNUSABLE" FailedPrecondition: "Its record cannot be carried out, so it is held until an operator gives it up.",
    WrongState "WRONG_STATE" FailedPrecondition: "It is in no state for that; the message says in which.",
    NotOffered "NOT_OFFERED" Unimplemented: "This server does not offer it.",
    Unidentified "UNIDENTIFIED" Unauthenticated: "The server has to know who asks, and the request does not say so, or names nobody it knows. The message says what to show.",
    LacksRole "LACKS_ROLE" PermissionDenied: "Whoever asks lacks the role for it. Have it given in the server's identities, or ask as somebody else.",
    NotOwner "NOT_OWNER" PermissionDenied: "The transaction is its owner's alone (`owner_only`), and whoever asks is another. Ask as the identity that began it, or have an operator cancel it.",
    NoCommonVersion "NO_COMMON_VERSION" FailedPrecondition: "Coordinator and participant speak no version of the protocol in common. Update the older one.",
    OtherParticipant "OTHER_PARTICIPANT" FailedPrecondition: "The participant at this address has another name. Correct the coordinator's configuration.",
    NoHello "NO_HELLO" DeadlineExceeded: "A session was opened, and neither hello nor proof came in time.",
    FencedByEpoch "FENCED_BY_EPOCH" FailedPrecondition: "A newer start of this coordinator is known; the metadata tell its epoch.",
    SessionReplaced "SESSION_REPLACED" Aborted: "A newer session of the same coordinator took the place of this one.",
    PutBack "PUT_BACK" FailedPrecondition: "The log is an older copy than the other side has seen; the message says by what that is known.",
    LogPutBack "LOG_PUT_BACK" DataLoss: "The participant's log of events is an older copy than the reader has read: what the reader made of the rest is of a past that there is not any more. Look at it, and begin again from a position that both have.",
    EventsTrimmed "EVENTS_TRIMMED" OutOfRange: "Events behind that position are not kept any more; the message says which is the first that is. Build what follows from them anew.",
    TooManyReaders "TOO_MANY_READERS" ResourceExhausted: "As many readers are registered at the log as may be. Forget those that nobody runs any more.",
    Unproven "UNPROVEN" Unauthenticated: "No key proves that this is the coordinator which it says. The message has what to do.",
    OtherKey "OTHER_KEY" PermissionDenied: "Another key is pinned for this coordinator, or none and it is known from before. It takes an operator's word.",
    TooManyPins "TOO_MANY_PINS" ResourceExhausted: "As many coordinators are pinned at first contact as may be (`max_unvouched_pins`). It takes an operator's word.",
    EpochOutOfRange "EPOCH_OUT_OF_RANGE" OutOfRange: "The epoch is near the end of its range, which honest starts do not reach.",
    Internal "INTERNAL" Internal: "Something is broken; the message says what. Look at the server's log.",
}

impl Reason {
    /// Returns the status that refuses a request for this reason. `message`: what, why, and what to do.
    pub fn refuse(self, message: impl Into<String>) -> Status {
        self.status(message.into(), ErrorDetails::new(), [], self.retry_after())
    }

    /// Returns the status that refuses a request that may come back after this time, with what programs may want to know.
    pub fn refuse_until<const N: usize>(
        self,
        after: Duration,
        message: impl Into<String>,
        known: [(&str, String); N],
    ) -> Status {
        self.status(message.into(), ErrorDetails::new(), known, Some(after))
    }

    /// Returns the status that refuses a request for one of its fields, by the path to it.
    pub fn refuse_field(self, field: &str, message: impl Into<String>) -> Status {
        let message = message.into();
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation(field, message.clone());
        self.status(message, details, [], self.retry_after())
    }

    fn status<const N: usize>(
        self,
        message: String,
        mut details: ErrorDetails,
        known: [(&str, String); N],
        after: Option<Duration>,
    ) -> Status {
        details.set_error_info(self.as_str(), DOMAIN, known.map(|(key, value)| (key.to_owned(), value)));
        let Some(after) = after else {
            return Status::with_error_details(self.code(), message, details);
        };
        details.set_retry_info(Some(after));
        let mut status = Status::with_error_details(self.code(), message, details);
        status.metadata_mut().insert(RETRY_AFTER_KEY, milliseconds(after).into());
        status
    }

    /// Returns the reason that a status carries; `None` if it carries none, or one that this version does not know.
    pub fn of(status: &Status) -> Option<Reason> {
        let info = status.get_details_error_info()?;
        Reason::ALL.iter().copied().find(|reason| info.domain == DOMAIN && reason.as_str() == info.reason)
    }
}

/// Returns a time to come back after as the metadata tell it: in whole milliseconds, of which a part counts as one.
pub fn milliseconds(after: Duration) -> u32 {
    u32::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// Returns the time after which the refused request may come back, if its status says one.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_its_reason_and_when_to_come_back() {
        for reason in Reason::ALL {
            let status = reason.refuse("because");
            assert_eq!((status.code(), status.message()), (reason.code(), "because"));
            assert_eq!(Reason::of(&status), Some(*reason));
            let comes_back = status.metadata().get(RETRY_AFTER_KEY).is_some();
            assert_eq!(comes_back, reason.retry_after().is_some(), "{}", reason.as_str());
            assert_eq!(comes_back, status.get_details_retry_info().is_some());
        }
        assert_eq!(Reason::of(&Status::internal("no details")), None);
    }

    #[test]
    fn a_refused_field_is_named_by_its_path() {
        let status = Reason::InvalidRequest.refuse_field("steps[1].name", "it is empty");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(
            (violations[0].field.as_str(), violations[0].description.as_str()),
            ("steps[1].name", "it is empty")
        );
    }
}
