//! The commands of open sagas.

use super::{TraceArgs, WaitArgs, duration};
use clap::{Args, ValueEnum};
use std::time::Duration;
use undoubt_client::CompletionOrder;
use undoubt_client::work::GRAMMAR;
use undoubt_vocabulary::TxId;

/// Begins an open saga: steps join it while it goes on, until it is closed or cancelled.
///
/// Prints its id, by which everybody goes on with it.
#[derive(Debug, Args)]
pub struct Begin {
    /// The saga's id: text, or 0x and hexadecimal.
    #[arg(long)]
    pub id: Option<TxId>,
    /// The time after which it is turned back unless it is closed before.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub deadline: Option<Duration>,
    /// The order in which its steps are completed once it is closed.
    #[arg(long, value_enum, default_value_t = Completions::Together)]
    pub completions: Completions,
    /// Ask this participant when the time is over, instead of turning the saga back, like --check-back shop 'get order-17': done
    /// closes it, a refusal turns it back, anything else is asked again.
    #[arg(long, num_args = 2, value_names = ["PARTICIPANT", "WORK"], requires = "deadline")]
    pub check_back: Vec<String>,
    /// Make it a part of this open saga, with which it is closed and cancelled.
    #[arg(long, value_name = "TX")]
    pub parent: Option<TxId>,
    /// Take steps and its end from nobody but the identity that begins it; operators may cancel it all the same.
    #[arg(long)]
    pub owner_only: bool,
    #[command(flatten)]
    pub trace: TraceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Completions {
    /// All at once.
    Together,
    /// One by one, in the order in which they joined.
    AsJoined,
    /// One by one, the last that joined first.
    Reversed,
    /// All or none, by one two-phase commit that begins when it is closed; steps have nothing but --complete then, one at each participant.
    TwoPhase,
}

impl From<Completions> for CompletionOrder {
    fn from(completions: Completions) -> Self {
        match completions {
            Completions::Together => CompletionOrder::Together,
            Completions::AsJoined => CompletionOrder::AsJoined,
            Completions::Reversed => CompletionOrder::Reversed,
            Completions::TwoPhase => CompletionOrder::TwoPhase,
        }
    }
}

/// Lets a step join an open saga, and runs its action, if it has one.
///
/// A step without --action is yours to do, once this command has ended well; --undo or --complete will be run, whether you did it or not.
#[derive(Debug, Args)]
#[command(after_help = JOIN_EXAMPLES, after_long_help = format!("{JOIN_EXAMPLES}\n\nWork:\n{GRAMMAR}"))]
pub struct Join {
    pub tx: TxId,
    /// The step's name, unique within its saga.
    pub step: String,
    /// The participant that does it.
    #[arg(long, value_name = "PARTICIPANT")]
    pub on: String,
    /// The work to be done now.
    #[arg(long, value_name = "WORK", requires = "undo")]
    pub action: Option<String>,
    /// The work that undoes it if the saga is cancelled.
    #[arg(long, value_name = "WORK")]
    pub undo: Option<String>,
    /// The work that completes it once the saga is closed.
    #[arg(long, value_name = "WORK")]
    pub complete: Option<String>,
    /// Return as soon as it is on record that the step has joined.
    #[arg(long)]
    pub no_wait: bool,
}

const JOIN_EXAMPLES: &str = "\
Examples:
  undoubt join trip-17 seat --on airline --action 'add seats -1 floor=0' --undo 'add seats 1'
  undoubt join trip-17 room --on hotel --undo 'call release room=7' --complete 'call confirm room=7'";

/// Closes an open saga: completes its steps, and waits until that is done. Nothing is undone from then on.
#[derive(Debug, Args)]
pub struct Close {
    pub tx: TxId,
    /// Return as soon as the coordinator has taken it over.
    #[arg(long)]
    pub no_wait: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
}
