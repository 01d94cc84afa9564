//! The arguments by which an operator decides for others.

use clap::{Args, Subcommand, ValueEnum};
use undoubt_vocabulary::{CoordinatorId, ParticipantName, PublicKey, TxId};

/// Decides a branch in doubt without its coordinator (a heuristic outcome).
///
/// Only for a coordinator that will not come back in time. If it has decided or will decide otherwise, the transaction
/// ends half done, and is reported as damaged for good. Ask it first, with `undoubt status`.
#[derive(Debug, Args)]
pub struct Resolve {
    pub tx: TxId,
    /// The decision to carry out at the branch.
    #[arg(value_enum)]
    pub decision: Decision,
    /// The participant that holds the branch: its name, or its address.
    #[arg(long, value_name = "NAME|URL")]
    pub participant: String,
    /// The person who decides. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub who: String,
    /// Why. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

/// The actions on a participant.
#[derive(Debug, Subcommand)]
pub enum ParticipantsAction {
    Accept(AcceptParticipant),
    Pin(PinCoordinator),
}

/// Pins the public key by which a participant knows a coordinator, in place of the one that is pinned.
///
/// A process that proves that key is taken for the coordinator: it may end its sessions and decide its transactions. This is needed
/// where a key file was lost, as with a backup, or where a participant knows a coordinator from before there were keys.
/// `undoubt-coordinator key FILE` prints a key.
#[derive(Debug, Args)]
pub struct PinCoordinator {
    /// The participant's name, as the coordinator calls it, or its address.
    pub participant: String,
    /// The coordinator's id. `undoubt describe` shows it.
    #[arg(long, value_name = "ID")]
    pub coordinator_id: CoordinatorId,
    /// The coordinator's public key: 64 hexadecimal digits.
    #[arg(long, value_name = "KEY")]
    pub public_key: PublicKey,
    /// The person who decides. Logged.
    #[arg(long, value_parser = statement)]
    pub who: String,
    /// Why. Logged.
    #[arg(long, value_parser = statement)]
    pub reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

/// Accepts that a participant was put back from an older copy, and has lost what came after it.
///
/// Until then it serves nobody. If a newer folder of it exists, stop it and use that instead. What it had acknowledged and has
/// lost is damage: the coordinator lists the transactions that it still has, for good, and says if there may be more.
#[derive(Debug, Args)]
pub struct AcceptParticipant {
    /// The participant's name.
    pub name: ParticipantName,
    /// The person who decides. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub who: String,
    /// Why. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

/// Lets a coordinator that is held serve, though its log is an older copy than others have seen.
///
/// If a newer folder of it exists, stop this one and use that instead. What participants know is taken back first: what
/// committed counts as committed, and what they hold of attempts that the log lacks is held until an operator ends each
/// (`undoubt forget`). What nobody knows any more counts as never submitted, even if clients were told otherwise, and may be run
/// again under the same id.
#[derive(Debug, Args)]
pub struct AcceptLoss {
    /// A participant that is not waited for: what it knows is not taken back. May be given several times.
    #[arg(long, value_name = "PARTICIPANT")]
    pub without: Vec<ParticipantName>,
    /// The person who decides. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub who: String,
    /// Why. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decision {
    Commit,
    Abort,
}

/// Ends a step of a saga that is not settled, whatever it waits for.
///
/// The saga goes on as if the step were done, or undone where it compensates. What was sent before may still take
/// effect at the participant, and nobody looks after it. A step that uses its result is given none. A skipped step is
/// reported as damage for good.
#[derive(Debug, Args)]
pub struct ResolveStep {
    pub tx: TxId,
    /// The step's name; see `undoubt status`.
    pub step: String,
    /// Try it again, if it is stuck; go on without it, which is reported as damage for good; or take it for done by other
    /// means.
    #[arg(value_enum)]
    pub resolution: Resolution,
    /// The person who decides. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub who: String,
    /// Why. Recorded for good.
    #[arg(long, value_parser = statement)]
    pub reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

/// Drops the semantic locks of one saga at a participant before the saga is over; also if its coordinator is lost.
///
/// The saga is isolated no more: others change what it has marked, and if it is undone later, that may be refused, or undo what
/// others did. It goes on as it was. Where its coordinator can be reached, end the saga there instead: `undoubt cancel`,
/// `resolve-step` or `forget`.
#[derive(Debug, Args)]
pub struct ReleaseMarks {
    pub tx: TxId,
    /// The participant, by its name or address; `undoubt branches` shows its semantic locks.
    #[arg(long, value_name = "NAME|URL")]
    pub participant: String,
    /// Whose saga it is, as `undoubt branches` shows it.
    #[arg(long, value_name = "ID")]
    pub coordinator_id: CoordinatorId,
    /// The person who decides. Logged and stored.
    #[arg(long, value_parser = statement)]
    pub who: String,
    /// Why. Logged and stored.
    #[arg(long, value_parser = statement)]
    pub reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resolution {
    Retry,
    Skip,
    Done,
}

/// Gives a transaction up, whatever it waits for, or drops the record of a heuristic outcome.
///
/// At the coordinator (with --who and --reason): of two-phase commit, the outcome of branches that do not acknowledge is recorded
/// as unknown; undecided ones have to be cancelled first. Of a saga, nothing is done or undone any more: what may be in effect
/// is recorded as unknown, and what is done stays. Where anything is unknown or half done, the transaction is reported as
/// damaged for good. A damaged one that has ended is marked as seen to. At a participant (with --participant) only the record of a heuristic outcome is dropped.
#[derive(Debug, Args)]
pub struct Forget {
    pub tx: TxId,
    /// A participant, by its name or address, to forget a heuristic outcome there.
    #[arg(long, value_name = "NAME|URL", conflicts_with_all = ["who", "reason"])]
    pub participant: Option<String>,
    /// The person who gives up. Recorded for good.
    #[arg(long, value_parser = statement, required_unless_present = "participant")]
    pub who: Option<String>,
    /// Why. Recorded for good.
    #[arg(long, value_parser = statement, required_unless_present = "participant")]
    pub reason: Option<String>,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

const MAX_STATEMENT_BYTES: usize = 256;

pub fn statement(text: &str) -> Result<String, String> {
    match text.trim().len() {
        0 => Err("it is empty; somebody will want to know".to_owned()),
        1..=MAX_STATEMENT_BYTES => Ok(text.trim().to_owned()),
        length => Err(format!("it has {length} bytes, more than the {MAX_STATEMENT_BYTES} allowed; shorten it")),
    }
}
