//! The end of the process: a code for programs, a sentence for people.

use serde_json::json;
use std::io;
use std::process::ExitCode;
use undoubt::credentials::Unusable;
use undoubt_client::{
    CancelError, InvalidAddress, JoinError, OperatorError, QueryError, StuckStep, SubmitError, TxId, Unanswered,
    WaitError,
};
use undoubt_platform::terminal::{complain, unless_reader_left};

/// The codes this program exits with. Scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Unexpected,
    Usage,
    Aborted,
    OutcomeUnknown,
    NotFound,
    NotReady,
    Refused,
    WrongState,
    Stuck,
}

impl Exit {
    const ALL: [Exit; 10] = [
        Exit::Done,
        Exit::Unexpected,
        Exit::Usage,
        Exit::Aborted,
        Exit::OutcomeUnknown,
        Exit::NotFound,
        Exit::NotReady,
        Exit::Refused,
        Exit::WrongState,
        Exit::Stuck,
    ];

    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Unexpected => 1,
            Exit::Usage => 2,
            Exit::Aborted => 3,
            Exit::OutcomeUnknown => 4,
            Exit::NotFound => 5,
            Exit::NotReady => 6,
            Exit::Refused => 7,
            Exit::WrongState => 8,
            Exit::Stuck => 9,
        }
    }

    /// The word for it in JSON, as `error.kind`.
    pub fn kind(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Unexpected => "unexpected",
            Exit::Usage => "usage",
            Exit::Aborted => "aborted",
            Exit::OutcomeUnknown => "outcome-unknown",
            Exit::NotFound => "not-found",
            Exit::NotReady => "not-ready",
            Exit::Refused => "refused",
            Exit::WrongState => "wrong-state",
            Exit::Stuck => "stuck",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done; the transaction committed",
            Exit::Unexpected => "an unexpected error",
            Exit::Usage => "the command line is wrong",
            Exit::Aborted => "the transaction aborted: nothing of it took effect",
            Exit::OutcomeUnknown => "not over or not known in time: what was asked for may happen yet, or already has",
            Exit::NotFound => "no trace of that transaction",
            Exit::NotReady => "not reachable or not ready; nothing was done",
            Exit::Refused => {
                "the request is invalid: malformed, too large, an id used before with other content, or not offered there"
            }
            Exit::WrongState => "too late for that, or the wrong state",
            Exit::Stuck => "a saga waits for an operator: a step was refused for good, and there is no other way",
        }
    }

    /// The end of a command that did something: the code says what came of it, whether that could be printed or not.
    pub fn told(self, printed: io::Result<()>) -> Exit {
        if let Err(error) = unless_reader_left(printed) {
            let (code, kind) = (self.code(), self.kind());
            complain(format_args!(
                "warning: cannot write to standard output: {error}. The exit code holds: {code}, {kind}"
            ));
        }
        self
    }

    /// The end of a command that was to show something, and nothing else.
    pub fn shown(printed: io::Result<()>) -> Result<Exit, Failure> {
        unless_reader_left(printed).map(|()| Exit::Done).map_err(|error| {
            Failure::new(Exit::Unexpected, format!("cannot write to standard output: {error}; make room, or close it"))
        })
    }

    /// Returns, of the ends of many transactions, the one to tell of: first those that somebody has to look after.
    pub fn graver(self, other: Exit) -> Exit {
        let rank = |exit| match exit {
            Exit::Done => 0,
            Exit::Aborted => 1,
            Exit::NotFound | Exit::WrongState => 2,
            Exit::Usage | Exit::Refused => 3,
            Exit::NotReady => 4,
            Exit::Unexpected => 5,
            Exit::OutcomeUnknown => 6,
            Exit::Stuck => 7,
        };
        if rank(other) > rank(self) { other } else { self }
    }

    /// The chapter of the help on exit codes.
    pub fn help() -> String {
        let codes = Exit::ALL.map(|exit| format!("  {}  {:<16} {}", exit.code(), exit.kind(), exit.meaning()));
        format!(
            "Exit codes (with `--output json`, an error is printed as {{\"error\":{{\"kind\", \"message\"}}}}):\n{}",
            codes.join("\n")
        )
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The reason why a command could not be carried out.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// The message: what, why, and what to do.
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }

    pub fn json(&self) -> serde_json::Value {
        json!({ "kind": self.exit.kind(), "message": self.message })
    }

    /// Says with which command to go on.
    fn advised(exit: Exit, message: &str, advice: &str) -> Self {
        Failure::new(exit, format!("{message}.\n  {advice}"))
    }

    fn unreached(cause: &Unanswered, message: String) -> Self {
        let advice = if cause.cause.contains("refused") {
            format!(
                "\n  Nothing listens at {}. Start undoubt-coordinator (or undoubt-participant) there; its --help says how. \
                 Or give the right address: a coordinator's with --coordinator or UNDOUBT_COORDINATOR.",
                cause.address
            )
        } else {
            String::new()
        };
        Failure::new(Exit::NotReady, message + &advice)
    }
}

impl From<&SubmitError> for Exit {
    fn from(error: &SubmitError) -> Self {
        match error {
            SubmitError::Invalid(_)
            | SubmitError::Refused { .. }
            | SubmitError::UnknownParticipant { .. }
            | SubmitError::NotOffered { .. }
            | SubmitError::IdReused { .. } => Exit::Refused,
            SubmitError::NotAccepted { .. } => Exit::NotReady,
            SubmitError::NotPossible { .. } => Exit::WrongState,
            SubmitError::Stuck { .. } => Exit::Stuck,
            SubmitError::OutcomeUnknown { .. } | SubmitError::Malformed { .. } | SubmitError::Unexpected { .. } | _ => {
                Exit::OutcomeUnknown
            }
        }
    }
}

fn ask(tx: &TxId) -> String {
    format!("`undoubt wait {tx}` waits for its outcome, `undoubt status {tx}` shows how it stands.")
}

fn resolve(tx: &TxId, stuck: &StuckStep) -> String {
    format!("`undoubt resolve-step {tx} {} retry|skip|done --who YOU --reason WHY` resolves it.", stuck.step)
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        let (exit, message) = (Exit::from(&error), error.to_string());
        match error {
            SubmitError::NotAccepted { cause, .. } => Failure::unreached(&cause, message),
            SubmitError::OutcomeUnknown { tx, .. }
            | SubmitError::Malformed { tx, .. }
            | SubmitError::Unexpected { tx, .. } => Failure::advised(exit, &message, &ask(&tx)),
            SubmitError::Stuck { tx, stuck } => Failure::advised(exit, &message, &resolve(&tx, &stuck)),
            SubmitError::Invalid(_)
            | SubmitError::Refused { .. }
            | SubmitError::UnknownParticipant { .. }
            | SubmitError::NotOffered { .. }
            | SubmitError::IdReused { .. }
            | SubmitError::NotPossible { .. }
            | _ => Failure::new(exit, message),
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        let message = error.to_string();
        match error {
            JoinError::Refused { tx, .. } => {
                let advice =
                    format!("`undoubt close {tx}` goes on without it, `undoubt cancel {tx}` turns the saga back.");
                Failure::advised(Exit::Aborted, &message, &advice)
            }
            JoinError::Unanswered { .. } => Failure::new(Exit::OutcomeUnknown, message),
            JoinError::Skipped { .. } | JoinError::Over { .. } => Failure::new(Exit::WrongState, message),
            JoinError::NoAction { .. } => Failure::new(Exit::Refused, message),
            JoinError::Call(error) => error.into(),
            _ => Failure::new(Exit::Unexpected, message),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::NotFound { .. } => Failure::new(Exit::NotFound, message),
            QueryError::Refused { .. } | QueryError::NotOffered { .. } => Failure::new(Exit::Refused, message),
            QueryError::Unanswered(cause) => Failure::unreached(&cause, message),
            QueryError::Malformed(_) | QueryError::Unexpected { .. } | _ => Failure::new(Exit::Unexpected, message),
        }
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        let message = error.to_string();
        match error {
            WaitError::StillPending { .. } => Failure::new(Exit::OutcomeUnknown, message),
            WaitError::Stuck { tx, stuck } => Failure::advised(Exit::Stuck, &message, &resolve(&tx, &stuck)),
            WaitError::Query(error) => error.into(),
            _ => Failure::new(Exit::Unexpected, message),
        }
    }
}

impl From<CancelError> for Failure {
    fn from(error: CancelError) -> Self {
        let message = error.to_string();
        match error {
            CancelError::TooLate { .. } => Failure::new(Exit::WrongState, message),
            CancelError::NotOver { tx, .. } => Failure::advised(Exit::OutcomeUnknown, &message, &ask(&tx)),
            CancelError::Query(error) => error.into(),
            _ => Failure::new(Exit::Unexpected, message),
        }
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let message = error.to_string();
        match error {
            OperatorError::NotFound { .. } => Failure::new(Exit::NotFound, message),
            OperatorError::WrongState { .. } => Failure::new(Exit::WrongState, message),
            OperatorError::Refused { .. } | OperatorError::NotOffered { .. } => Failure::new(Exit::Refused, message),
            OperatorError::NotReached(cause) => Failure::unreached(&cause, message),
            OperatorError::Unclear(_) => Failure::new(Exit::OutcomeUnknown, message),
            OperatorError::Malformed { .. } | OperatorError::Unexpected { .. } | _ => {
                Failure::new(Exit::Unexpected, message)
            }
        }
    }
}

impl From<InvalidAddress> for Failure {
    fn from(error: InvalidAddress) -> Self {
        Failure::new(Exit::Usage, error.to_string())
    }
}

impl From<Unusable> for Failure {
    fn from(error: Unusable) -> Self {
        Failure::new(Exit::Usage, error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let refused = error.chain().find_map(|cause| cause.downcast_ref::<SubmitError>());
        Failure::new(refused.map_or(Exit::Unexpected, Exit::from), format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn every_code_is_distinct_and_in_the_help() {
        let help = Exit::help();
        for (at, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), at);
            assert!(help.contains(&format!("{at}  {}", exit.kind())), "{help}");
        }
    }

    #[test]
    fn what_was_done_is_told_by_the_code_whether_it_could_be_printed_or_not() {
        let broken = || Err(io::Error::from(ErrorKind::BrokenPipe));
        let full = || Err(io::Error::from(ErrorKind::StorageFull));
        assert_eq!((Exit::Aborted.told(broken()), Exit::Aborted.told(full())), (Exit::Aborted, Exit::Aborted));
        assert_eq!(Exit::shown(broken()).unwrap(), Exit::Done);
        assert_eq!(Exit::shown(full()).unwrap_err().exit, Exit::Unexpected);
    }

    #[test]
    fn of_many_results_the_gravest_is_told() {
        assert_eq!(Exit::Done.graver(Exit::Aborted), Exit::Aborted);
        assert_eq!(Exit::OutcomeUnknown.graver(Exit::Refused), Exit::OutcomeUnknown);
        assert_eq!(Exit::Done.graver(Exit::Done), Exit::Done);
    }

    #[test]
    fn a_refused_connection_says_what_to_start() {
        let cause = Unanswered {
            address: "http://127.0.0.1:7400".to_owned(),
            after: std::time::Duration::from_secs(1),
            cause: "tcp connect error: Connection refused (os error 111)".to_owned(),
            reason: None,
            maybe_received: false,
        };
        let failure = Failure::from(QueryError::Unanswered(cause));
        assert_eq!(failure.exit, Exit::NotReady);
        assert!(failure.message.contains("undoubt-coordinator"), "{}", failure.message);
        assert!(failure.message.contains("--coordinator"), "{}", failure.message);
    }
}
