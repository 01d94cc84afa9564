//! The words of Undoubt as plain types.
//!
//! Both cores speak these types, the wire and the stored records are translations of them, and the exhaustive
//! exploration passes them around as they are. Nothing here does I/O, reads a clock or draws a random number.

pub mod backoff;
pub mod digest_map;
pub mod digested_bytes;
pub mod event;
pub mod id;
pub mod known_attempt;
pub mod limit;
pub mod limits;
pub mod low_water_mark;
pub mod message;
pub mod outcome;
pub mod outcome_form;
pub mod printable_text;
pub mod proof;
pub mod protocol;
pub mod saga;
pub mod time;
pub mod trace_context;
pub mod view;
pub mod witness;

pub use backoff::Backoff;
pub use digest_map::{Digest, DigestMap};
pub use digested_bytes::{Digested, SeededTooLate, seed_digests};
pub use event::{
    CorrelationId, Event, EventId, EventType, Incarnation, InvalidEvent, NewEvent, Partition, Position, ReactionName,
    ReaderName, SubscriptionName, Topic, TopicName,
};
pub use id::{AttemptNumber, CoordinatorId, Epoch, InvalidId, PartName, ParticipantName, StepName, TxId};
pub use known_attempt::{KnownAttempt, KnownState};
pub use low_water_mark::LowWaterMark;
pub use message::{Execution, Prepare, ToCoordinator, ToParticipant};
pub use outcome::{AbortReason, BranchOutcome, Outcome, Refusal, RefusalCode, Vote};
pub use outcome_form::{AbortForm, OutcomeForm};
pub use proof::{Challenge, PublicKey, Signature, Statement, Succession};
pub use protocol::{Abilities, Ability};
pub use saga::{Direction, InvalidSaga, RetryPolicy, RunStep, SagaStep, StepIndex, StepOutcome, StuckStep};
pub use time::{Timestamp, time_left};
pub use trace_context::{SpanId, TraceContext, TraceId, TraceState};
pub use view::{CoordinatorPhase, EventKind, PartState, TransactionPhase};
pub use witness::{Lack, Start, Starts, WriteNumber};
