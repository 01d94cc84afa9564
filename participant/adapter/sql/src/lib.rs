//! The part that resources over SQL databases share. It knows no driver.
//!
//! * [`Procedures`]: what a participant's owner declares in TOML, read with every fault at its line. No SQL comes from the
//!   wire: a call names a procedure and gives arguments.
//! * [`Task`]: the calls of one branch or step, with their arguments bound to the declared types and their lock keys filled in.
//! * [`Class`]: what an error of a database means, and what is done on it.
//! * [`PreparedName`], [`EnlistedName`]: the names under which databases list what is prepared, by the participant or by an application.
//! * [`KeptStore`]: a store in a table of the database, for the audit record and what is remembered of others.
//! * [`TableLog`]: the log of events in tables of the database, numbered once they have committed.
//! * [`TableReactions`]: the local transactions of subscriptions, in a table of the database.
//! * [`WriteNumbers`]: the numbers by which it is noticed that the database was put back to an earlier state.

mod class;
mod declaration;
mod emits;
mod enlisted_name;
mod fault;
mod kept_store;
mod lack;
mod parameter;
mod prepared_name;
mod procedure;
mod reactions;
mod statement;
mod table_log;
mod task;
mod template;
mod write_numbers;

use declaration::MAX_STATEMENTS;
use std::time::Duration;
use task::MAX_LOCK_KEY_BYTES;
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

pub use class::Class;
pub use emits::Outgoing;
pub use enlisted_name::EnlistedName;
pub use fault::{Fault, Faults};
pub use kept_store::{Changes, Keeper, KeptStore, Pair, not_kept};
pub use lack::Lack;
pub use parameter::{Mismatch, ParameterType, text_of};
pub use prepared_name::{Identity, NotOurs, PreparedName, Xid};
pub use procedure::{Declared, Isolation, Parameter, Procedure, Procedures};
pub use reactions::{End, Ran, ReactionTable, RowChanges, Step, TableReactions};
pub use statement::{Dialect, Piece, Statement, Verb};
pub use table_log::{
    Begun, EventTable, MAX_NUMBERED_BYTES, MAX_NUMBERED_EVENTS, Numbered, Numbering, Outbox, StoredLog, TableLog, Tail,
    Unnumbered,
};
pub use task::{Bound, Place, Task};
pub use write_numbers::{KEPT_FAMILIES, RowNumber, WriteNumbers};

/// The time after which records of what is over are deleted, all at once: each time costs the database a transaction.
pub const COLLECT_AFTER: Duration = Duration::from_secs(2);

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Count MAX_STATEMENTS, "Statements of one procedure.", "The participant does not start; `undoubt-participant check` names the procedure."),
    limit!(Bytes MAX_LOCK_KEY_BYTES, "A key of `locks`, with the arguments filled in.", "The participant refuses the work with `too-large`."),
];
