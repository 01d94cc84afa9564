//! The coordinator's rules as a pure state machine.
//!
//! [`Coordinator`] is told what happens ([`Input`]) and says what is to be done about it ([`Effect`]). It does no I/O,
//! reads no clock, draws no random number, and two equal coordinators told the same things say the same things. The
//! service, the simulation and the exhaustive exploration all drive this very type.
//!
//! # Contract with whoever drives it
//!
//! * Effects are carried out in the order given, before the next input's effects.
//! * [`Effect::Append`]: once the record is on stable storage (not merely written), [`Input::Appended`] is due. A record
//!   marked `forced` has somebody waiting for it; one that isn't may ride along with the next that is. Each append of a
//!   transaction is answered once, in the order of the appends; a later record takes the place of an earlier one, save that each
//!   step of an open saga has a record of its own.
//! * [`Effect::Send`] may be lost at any time, delayed, repeated or overtaken; [`Input::Connected`] makes the coordinator
//!   repeat what is still awaited. Nothing is sent to a participant that is not connected.
//! * [`Input::Disconnected`] ends a session, and [`Input::Connected`] begins the next: after either, no
//!   [`Request::Message`] of the session before is put in. A read-only vote from before a participant's crash would be
//!   taken for the vote on the prepare that is repeated to it, though the crash has freed its locks in between.
//! * [`Effect::Arm`]: [`Input::Fired`] is due after the timer's time. Timers are never disarmed; one that fires late or
//!   without need is harmless.
//! * [`Effect::LookUp`] is answered with [`Input::LookedUp`] at once, before any other input.
//! * Every client that a submission or an await named gets exactly one [`Effect::Answer`], unless the process ends.
//!
//! # Two ways
//!
//! Two-phase commit, and sagas, which are submitted whole or open: begun, joined by steps while they go on, and closed. Auto chooses between them, and lets a two-phase commit that was not answered go on as a
//! saga: under the same id, with a new attempt number.
//!
//! # The rules it keeps
//!
//! R1 (the commit decision is stable before anyone hears of it), R4 (who may presume an abort), R6 (a timeout is not a
//! refusal), R7 (one phase for one branch; read-only branches), R9 (admission), R10 (no outcome is answered before it is
//! on stable storage), R11 (low-water marks).

mod breaker;
mod census;
mod choice;
mod context;
mod coordinator;
mod effect;
mod input;
mod loss;
mod low_water_mark;
mod open_transaction;
mod reconciliation;
mod record;
mod room;
mod saga;
pub mod standing;
mod transaction;
mod unusable_transaction;

pub use census::{Census, Counted};
pub use coordinator::{Coordinator, Limits, Phase};
pub use effect::{Answer, Effect, Note, Rejection, StepAnswer, Timer};
pub use input::{Beginning, Client, Content, Input, Joining, Request, StepResolution, Submission};
pub use loss::{Part, PartStep, StillKnown};
pub use reconciliation::{Recollection, TakenBack, held_after_loss};
pub use record::{
    Barrier, Completions, EndedBranch, EndedRecord, JoinedRecord, OpenKind, OpenRecord, OpenedRecord, OpenedState,
    ParentRecord, Progress, Record, SagaRecord, Stage, Terms, Unfinished, UnusableRecord, decided,
};
pub use transaction::{BranchView, TransactionView};
