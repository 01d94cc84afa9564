//! Exhaustive exploration: small worlds, and everything that can happen in them.
//!
//! A world is one coordinator and a few participants, each the very state machine that ships, with a log, resources with
//! real locks, sessions, packets in flight, armed timers and waiting clients. From the first world on every possible
//! next step is taken: a packet arrives, gets lost or arrives twice, a record becomes stable, a resource gets on, a
//! timer fires, somebody crashes, restarts, dials. In every world the protocol's rules are checked; afterwards, that
//! from every world the end can be reached without another fault. Where a saga is stuck, that takes an operator who has the
//! step tried again, skips it, or has done it by other means (see [`operator`]). No such word is lost once it was answered,
//! and nothing but such a word excuses a saga that is said to be done, or undone, and is not.
//!
//! What a step leaves out, and why nothing is missed by it:
//! * A durable write of a resource and its answer are one step (see [`resource`]). For the log they are two, because
//!   clients hear of it. A crash may find any part of what was not forced written, there and here (see [`storage`]).
//! * Packets that their receiver would ignore are dropped at once (see [`world`]).
//! * A commit that a resource is told is done at once, where no other transaction can see that it isn't: until it is done
//!   nobody can tell whether it was received, for a crash loses both alike.
//! * Sessions begin, and processes start again, at once in most scenarios (see [`Sessions`]).
//! * A step of a saga takes its locks, its effect, its barrier and its semantic locks in one step, as they are one forced
//!   write. Whoever is kept out by another saga's semantic lock tries again when that is gone; a few times also before.
//! * What a caller of an open saga does himself is done nowhere: it may be in effect from the moment on at which he was told that the
//!   step has joined, so nothing but its compensation or its completion can be seen of it.
//! * The coordinator's clock only moves on when the pause of an open breaker is over, once in a process' life.
//! * Repetition by timers and sweeps waits until it can matter (see [`action`]).
//! * What a participant notices of a dead session makes no difference until the next session comes (see [`session`]).
//! * Where folders are put back (see [`restoring`]) writes are numbered. A question before the first session and its answer are
//!   one step, and so is what an operator accepts with all that is taken back. A coordinator's folder is not emptied; a copy
//!   of it that may speak takes the original's place at once.
//! * Of worlds that differ only in the names of interchangeable participants one is explored (see [`symmetry`]).
//!
//! Who is taken for a coordinator is explored in worlds of its own, with an impostor (see [`impostor`]).
//!
//! A session's packets are unordered here and may be lost one by one, which a stream in production never does: whatever
//! holds here, holds there.

mod action;
mod cells;
mod check;
mod coordinator;
mod impostor;
mod liveness;
mod machines;
mod mutant;
mod network;
mod numbers;
mod operator;
mod part;
mod participant;
mod renaming;
mod report;
mod resource;
mod restoration;
mod scenario;
mod search;
mod serial;
mod session;
mod step;
mod storage;
mod symmetry;
mod words;
mod work;
mod world;

pub use cells::Cells;
pub use impostor::{Findings, Flaw, Measure, explore_impostor};
pub use mutant::Mutant;
pub use report::{Limits, Report, Trace};
pub use restoration::Machine;
pub use scenario::{
    Budget, Crashing, Deadlines, Enlisting, OpenStep, Request, RequestKind, SagaStep, Scenario, Sessions,
};
pub use search::explore;
pub use words::StepWords;
