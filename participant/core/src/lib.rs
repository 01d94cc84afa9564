//! The participant's rules as pure state machines: no I/O, clock, thread or randomness.
//!
//! [`Participant`] is told what happens ([`Input`]) and says what is to be done about it ([`Effect`]).
//!
//! # Contract with whoever drives a [`Participant`]
//!
//! * Effects are carried out in the order given.
//! * The resource manager is asked for one thing of a branch or a step at a time, and to close a saga, or to release
//!   its semantic locks, only while nothing else of it is under way. Each of [`Effect::Execute`], [`Effect::Settle`], [`Effect::Confirm`], [`Effect::Commit`], [`Effect::Abort`], [`Effect::Resolve`],
//!   [`Effect::RunAction`], [`Effect::FinishStep`], [`Effect::StoreEmpty`], [`Effect::CloseSaga`] and
//!   [`Effect::ReleaseMarks`] is answered with its own input, however long it takes. It is never abandoned midway: work whose end nobody waits for is how branches get
//!   orphaned.
//! * [`Effect::RecallVote`] and [`Effect::RecallOutcome`] are questions: they may be asked at any time, and are answered with
//!   [`Input::VoteRecalled`] and [`Input::OutcomeRecalled`], later or never. Whoever waits for the answer asks again.
//! * [`Effect::Send`] may be lost; nothing is repeated by itself but inquiries and reports, at [`Input::SweepDue`].
//!
//! # The rules it keeps
//!
//! R2 (a vote is sent only once the resource manager has made it durable), R3 (how a branch in doubt may end), R5 (epochs),
//! R6 (barriers make a saga's steps safe to repeat), R11 (the low-water mark; the sweep), R14 (who may speak for a coordinator:
//! [`pin`]). Signatures are verified by whoever drives it, before it hears of a hello.

mod branch;
pub mod branch_id;
mod census;
mod effect;
pub mod heuristic;
mod input;
mod kept_result;
mod participant;
pub mod pin;
pub mod release;
mod saga;
mod standing;
pub mod step;

pub use branch::BranchView;
pub use branch_id::BranchId;
pub use census::Census;
pub use effect::{Answer, Effect, Rejection, SessionRefused};
pub use heuristic::Heuristic;
pub use input::{Hello, Input, Operator, Recovered, Session};
pub use kept_result::{Kept, SHORT_RESULT_BYTES};
pub use participant::{AskedAbout, KnownCoordinator, Limits, Participant};
pub use pin::{Pin, Proof, Trust, Unproven};
pub use release::Release;
pub use standing::{Loss, Recall, Recalled, Seen};
pub use step::{StepId, StepState, StepView};
