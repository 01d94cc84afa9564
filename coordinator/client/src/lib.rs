//! What an application links to submit transactions and sagas to a coordinator, and to look after them. It needs no
//! other crate of Undoubt.
//!
//! | to | use | see |
//! | --- | --- | --- |
//! | change several participants, all or nothing | [`Transaction`], [`Client::submit`] | [A transfer](#a-transfer) |
//! | go step by step, and undo what was done if one fails | [`Saga`], [`Step`] | [A saga](#a-saga) |
//! | let the coordinator choose between the two | [`Saga::auto`] | [Auto](#auto) |
//! | decide while the application runs, step by step | [`Client::begin`], [`OpenSaga::run`] | [An open saga](#an-open-saga) |
//! | keep many under way | [`Client::submit_many`] | [Many at once](#many-at-once) |
//! | go on without the outcome, and ask for it later | [`Client::submit_no_wait`], [`Client::wait`] | [Later](#later) |
//! | hear of the events that a participant publishes | [`ParticipantClient::events`] | |
//! | see what happens | [`Client::watch`], [`Client::get`] | [Watching](#watching) |
//! | find transactions | [`Client::list`] | [Listing](#listing) |
//! | help those that are stuck or in doubt | [`Client::resolve_step`], [`ParticipantClient`] | [For operators](#for-operators) |
//! | know what an error leaves open | [`SubmitError`], [`QueryError`], [`OperatorError`] | [Errors](#errors) |
//!
//! Programs that run are in this crate's folder `examples`.
//!
//! # A transfer
//!
//! A transaction is carried out by two-phase commit: all of its branches take effect or none, and nobody sees half of it.
//!
//! ```no_run
//! use undoubt_client::kv::{Add, KvWork};
//! use undoubt_client::{Client, ClientOptions, Outcome, Transaction};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect_lazy("http://127.0.0.1:7400", ClientOptions::default())?;
//! let transfer = Transaction::new()
//!     .on("bank-a", KvWork::new().add("alice", Add::of(-10).floor(0)))
//!     .on("bank-b", KvWork::new().add("bob", 10));
//! match client.submit(&transfer).await?.outcome {
//!     Outcome::Committed => println!("transferred"),
//!     Outcome::Aborted(reason) => println!("nothing happened: {reason}"),
//! }
//! # Ok(()) }
//! ```
//!
//! [`kv`] is the work of key-value participants; one with a format of its own takes [`Work::raw`]. What a participant read
//! comes back as [`Results`], from [`Answer::result`].
//!
//! # A saga
//!
//! The steps of a saga are committed one by one. If one fails, those before it are undone in reverse, up to the pivot: from
//! there on it only goes forward. A step can use what an earlier one read or made, by a [`Reference`].
//!
//! ```no_run
//! # use undoubt_client::kv::{Add, KvWork};
//! # use undoubt_client::{Client, Reference, Saga, Step, SubmitError};
//! # async fn example(client: Client) -> Result<(), SubmitError> {
//! let reserve = Step::new("reserve", "airline", KvWork::new().add("next-seat", 1)).undo(KvWork::new().add("cancelled", 1));
//! let book = KvWork::new().put("seat/", "alice").key_suffix_from(Reference::to("reserve", 0));
//! let unbook = KvWork::new().delete("seat/").key_suffix_from(Reference::to("reserve", 0));
//! let trip = Saga::new()
//!     .step(reserve)
//!     .step(Step::new("book", "airline", book).undo(unbook))
//!     .step(Step::new("pay", "bank", KvWork::new().add("alice", Add::of(-20).floor(0))).pivot());
//! println!("{}", client.submit(&trip).await?.outcome);
//! # Ok(()) }
//! ```
//!
//! # Auto
//!
//! The coordinator carries out the same steps by two-phase commit where every participant can prepare and answers, else as
//! the saga.
//!
//! ```no_run
//! # use undoubt_client::{Client, Saga, SubmitError};
//! # async fn example(client: Client, trip: Saga) -> Result<(), SubmitError> {
//! let answer = client.submit(trip.auto().value(5_000)).await?;
//! # Ok(()) }
//! ```
//!
//! # An open saga
//!
//! It begins without steps. Each joins when the application gets there: it runs an action at a participant and looks at the
//! answer, or says what undoes and what completes something that the application does itself. Closing is the point of no
//! return: then every step is completed; to cancel it undoes them, the last first.
//!
//! ```no_run
//! # use undoubt_client::kv::{Add, KvWork};
//! # use undoubt_client::{Client, JoinError, OpenStep, Opening};
//! # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//! let saga = client.begin(Opening::new()).await?;
//! let take = OpenStep::new("take", "airline").action(KvWork::new().add("seats", Add::of(-1).floor(0)));
//! match saga.run(take.undo(KvWork::new().add("seats", 1)).complete(KvWork::new().add("sold", 1))).await {
//!     Ok(left) => println!("a seat is taken: {left:?}"),
//!     Err(JoinError::Refused { refusal, .. }) => println!("no seat: {refusal}"),
//!     Err(error) => return Err(error.into()),
//! }
//! saga.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Many at once
//!
//! Over one stream, in batches, and answered in whatever order they end.
//!
//! ```no_run
//! # use undoubt_client::{Client, Transaction, kv::KvWork};
//! use futures::{StreamExt, stream};
//!
//! # async fn example(client: Client) {
//! let visit = |n| Transaction::new().on("counters", KvWork::new().add(format!("page/{n}"), 1));
//! let mut completions = client.submit_many(stream::iter((0..1_000).map(visit)));
//! while let Some(done) = completions.next().await {
//!     match done.result {
//!         Ok(answer) => println!("{}: {}", done.tx, answer.outcome),
//!         Err(error) => println!("{error}"),
//!     }
//! }
//! # }
//! ```
//!
//! # Later
//!
//! ```no_run
//! # use undoubt_client::{Client, Saga};
//! # async fn example(client: Client, trip: Saga) -> Result<(), Box<dyn std::error::Error>> {
//! client.submit_no_wait(&trip).await?;
//! // Later, perhaps in another process, which knows the id:
//! let answer = client.wait(trip.id()).await?;
//! // Or it is too late to wait any longer:
//! client.cancel(trip.id()).await?;
//! # Ok(()) }
//! ```
//!
//! The outcome can also be [told to a URL](Saga::callback), or [kept at a participant](Saga::outcome_at).
//!
//! # Watching
//!
//! ```no_run
//! # use undoubt_client::{Client, QueryError, Watched};
//! use futures::StreamExt;
//!
//! # async fn example(client: Client) -> Result<(), QueryError> {
//! let mut events = Box::pin(client.watch(None));
//! while let Some(watched) = events.next().await {
//!     if let Watched::Event { tx, event, .. } = watched? {
//!         println!("{tx}: {event:?}");
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Listing
//!
//! ```no_run
//! # use undoubt_client::{Client, Filter, ListQuery, QueryError};
//! # async fn example(client: Client) -> Result<(), QueryError> {
//! let damaged = client.list(&ListQuery::of(Filter::Damaged).limit(50)).await?;
//! for transaction in damaged.transactions {
//!     println!("{}: {:?}", transaction.tx, transaction.known.decided);
//! }
//! # Ok(()) }
//! ```
//!
//! # For operators
//!
//! A saga whose step was refused for good, and that has no other way, waits until somebody resolves the step. A branch that
//! is in doubt because its coordinator is lost can be decided at the participant, at the price that the two may differ.
//! What is done so is on record, with who did it and why.
//!
//! ```no_run
//! # use undoubt_client::{BranchResolution, Client, ClientOptions, ParticipantClient, StepResolution, TxId};
//! # async fn example(client: Client, saga: TxId, lost: TxId) -> Result<(), Box<dyn std::error::Error>> {
//! client.resolve_step(&saga, "pay", StepResolution::Done, "ada", "paid by hand").await?;
//! let bank = ParticipantClient::connect_lazy("http://127.0.0.1:7401", ClientOptions::default())?;
//! bank.resolve(&lost, BranchResolution::Abort, "ada", "its coordinator burnt down").await?;
//! # Ok(()) }
//! ```
//!
//! # Errors
//!
//! An abort is an outcome, not an error. Errors say what is known, and each variant what to do; the one to take seriously is
//! [`SubmitError::OutcomeUnknown`], which is neither a commit nor an abort.
//!
//! ```no_run
//! # use undoubt_client::{Client, SubmitError, Transaction};
//! # async fn example(client: Client, transfer: Transaction) -> Result<(), Box<dyn std::error::Error>> {
//! match client.submit(&transfer).await {
//!     Ok(answer) => println!("{}", answer.outcome),
//!     // Nothing was done. The same may be submitted at any time.
//!     Err(SubmitError::NotAccepted { .. }) => {}
//!     // It may have committed. Under its id the same is never done twice.
//!     Err(SubmitError::OutcomeUnknown { tx, .. }) => println!("{}", client.wait(&tx).await?.outcome),
//!     // It goes on once somebody has resolved the step.
//!     Err(SubmitError::Stuck { stuck, .. }) => println!("{stuck}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(()) }
//! ```
//!
//! # Certificates and tokens
//!
//! To a server at `https://` goes a client that is told whom to trust ([`ClientOptions::tls`], with the feature `tls`, which is
//! off by default). Who it is, it says by a certificate there or by a [token](ClientOptions::token).
//!
//! # What holds for every call
//!
//! * A transaction's id makes it idempotent: whatever is submitted again under its id is the same transaction with the
//!   same outcome. So every call that may be repeated is repeated, with capped and jittered backoff, until
//!   [its deadline](ClientOptions::deadline). No call waits longer than that, but for an outcome that takes longer by the
//!   transaction's own deadline: then until that has passed, and the answer had time to arrive.
//! * Nothing here reads the time of day, and only [`Transaction::new`] and [`Saga::new`] draw a random number. A simulation
//!   gives its transactions their ids and its channel with [`Client::with_channel`].
//! * Errors, views and other enums of this crate may grow, and say so (`#[non_exhaustive]`). Outcomes, refusals and reasons
//!   do not: a new one is a new version of the protocol, which every application has to think about.

#![warn(missing_docs)]

mod audit;
mod auto;
mod client;
mod connection;
mod credentials;
#[cfg(feature = "tls")]
mod encrypted;
mod error;
mod events;
mod figures;
mod held;
mod limits;
mod listing;
mod open_saga;
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

pub use audit::{AuditEntry, AuditQuery, AuditRecord};
pub use auto::Auto;
pub use client::Client;
pub use credentials::{InvalidCredentials, OnBehalfOf};
pub use error::{
    CancelError, InvalidAddress, InvalidSubmission, JoinError, OperatorError, QueryError, SubmitError, Unanswered,
    WaitError,
};
pub use events::{EventLogState, EventNews, EventPlace, EventQuery, LogReaderState, ParkedState, SubscriptionState};
pub use figures::Figures;
pub use held::{Held, HeldFilter, HeldQuery};
pub use limits::LIMITS;
pub use listing::{Cursor, Filter, InvalidCursor, ListQuery, Listing, OutcomeState};
pub use open_saga::{CompletionOrder, Joined, OpenSaga, OpenStep, Opening};
pub use operator::{LossAccepted, StepResolution};
pub use options::ClientOptions;
pub use participant::{BranchResolution, ParticipantClient};
pub use saga::Saga;
pub use step::Step;
pub use submission::Submission;
pub use submit::Answer;
pub use submit_many::Completion;
pub use transaction::Transaction;
pub use undoubt_vocabulary::limit::{Limit, Unit as LimitUnit};
pub use view::{
    BranchView, CoordinatorView, HeldBranch, HeldStep, Heuristic, HistoryEvent, KnownCoordinator, Loss, Mark,
    ParticipantState, ParticipantView, TransactionView,
};
pub use watch::Watched;

pub use undoubt_proto::convert::{KnownOutcome, Malformed};
pub use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, CoordinatorId, CoordinatorPhase, CorrelationId, Direction, Epoch, Event,
    EventId, EventKind, EventType, Incarnation, InvalidId, InvalidSaga, Outcome, PartName, PartState, ParticipantName,
    Partition, Position, PublicKey, Refusal, RefusalCode, RetryPolicy, StepName, StuckStep, Timestamp, TopicName,
    TransactionPhase, TxId,
};
pub use undoubt_work::{self as work, InvalidWork, Reference, Results, Value, Work, kv};

/// The bytes of keys, values and work in a participant's own format.
pub use bytes::Bytes;
/// What an answer from elsewhere is classified by, in errors that are not expected.
pub use tonic::Code;
/// A connection that was made elsewhere, for [`Client::with_channel`].
pub use tonic::transport::Channel;
