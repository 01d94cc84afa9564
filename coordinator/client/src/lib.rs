//! What an application links to submit transactions and look after them.
//!
//! ```no_run
//! use undoubt_client::{Client, ClientOptions, Transaction, kv::{Add, KvWork}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect_lazy("http://127.0.0.1:7400", ClientOptions::default())?;
//! let transfer = Transaction::new()
//!     .on("bank-a", KvWork::new().add("alice", Add::of(-10).floor(0)))
//!     .on("bank-b", KvWork::new().add("bob", 10));
//! let answer = client.submit(&transfer).await?;
//! println!("{}", answer.outcome);
//! # Ok(()) }
//! ```
//!
//! What holds for every call:
//!
//! * A transaction's id makes it idempotent: whatever is submitted again under its id is the same transaction with the
//!   same outcome. So every call that may be repeated is repeated, with capped and jittered backoff, until
//!   [`ClientOptions::deadline`]. No call waits longer than that, but for an outcome that takes longer by the transaction's
//!   own deadline: then until that has passed, and the answer had time to arrive.
//! * An abort is an outcome, not an error. Errors say what is known, and each variant what to do; the one to take
//!   seriously is [`SubmitError::OutcomeUnknown`], which is neither a commit nor an abort.
//! * Nothing here reads the time of day, and only [`Transaction::new`] draws a random number. A simulation gives its
//!   transactions their ids and its channel with [`Client::with_channel`].

#![warn(missing_docs)]

mod auto;
mod client;
mod connection;
mod error;
mod held;
mod listing;
mod operation;
mod operator;
mod options;
mod participant;
mod query;
mod retry;
mod saga;
mod step;
mod submission;
mod submit;
mod submit_many;
#[cfg(test)]
mod test_server;
mod transaction;
mod view;
mod watch;

pub use auto::Auto;
pub use client::Client;
pub use error::{
    CancelError, InvalidAddress, InvalidSubmission, OperatorError, QueryError, SubmitError, Unanswered, WaitError,
};
pub use held::{Held, HeldFilter, HeldQuery};
pub use listing::{Cursor, Filter, InvalidCursor, ListQuery, Listing, State};
pub use operator::{LossAccepted, StepResolution};
pub use options::ClientOptions;
pub use participant::{BranchResolution, ParticipantClient};
pub use saga::Saga;
pub use step::Step;
pub use submission::Submission;
pub use submit::Answer;
pub use submit_many::Completion;
pub use transaction::Transaction;
pub use undoubt_proto::convert::{KnownOutcome, Malformed};
pub use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, CoordinatorId, CoordinatorPhase, Direction, Epoch, EventKind, InvalidId,
    InvalidSaga, Outcome, PartName, PartState, ParticipantName, Refusal, RefusalCode, RetryPolicy, StepName, StuckStep,
    Timestamp, TransactionPhase, TxId,
};
pub use undoubt_work::{self as work, InvalidWork, Reference, Results, Value, Work, kv};
pub use view::{
    BranchView, CoordinatorView, HeldBranch, HeldStep, Heuristic, HistoryEvent, KnownCoordinator, Loss, Mark,
    ParticipantState, ParticipantView, TransactionView,
};
pub use watch::Watched;
