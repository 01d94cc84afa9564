//! A run that is over, as data: all that checkers look at.

mod subscriptions;

use crate::plan::{Copied, Direction, Host, HowResolved, Plan};
use crate::trace::Entry;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use subscriptions::{Account, Barrier, EventName, Inbox, Listed, Parked};

/// A run that has come to its end, or to the end of everybody's patience.
#[derive(Clone, Debug)]
pub struct Run {
    pub plan: Plan,
    /// The hash of the whole trace; two runs of one plan have the same.
    pub hash: u64,
    pub simulated_us: u64,
    /// The trace, which ends with what was found after the healing.
    pub trace: Vec<Entry>,
    /// The requests of clients, in the order in which they began.
    pub calls: Vec<Call>,
    pub finals: Finals,
    /// Faults that struck, with the states of what they met.
    pub hits: Vec<(usize, Vec<String>)>,
    /// The number of times that each crash point was reached.
    pub reached: BTreeMap<(Host, String), u32>,
}

/// A participant, by its number.
pub type Participant = u8;

/// One request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    pub client: u8,
    pub tx: String,
    pub kind: CallKind,
    pub asked_us: u64,
    pub told_us: Option<u64>,
    pub reply: Reply,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum CallKind {
    /// The call submits for the first time, or the very same once more.
    Submit(Work),
    /// The same id with other work: has to be refused, and must do nothing.
    SubmitOther(Work),
    Cancel,
    /// Asks what became of it.
    Ask,
}

/// The operations of a transaction at each participant, in order.
pub type Work = BTreeMap<Participant, Vec<Op>>;

/// The operations that workloads are made of. A branch that writes also leaves a mark: whether it took effect can be
/// seen on the disk for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Op {
    /// Accounts start at [`Op::OPENING_BALANCE`] and never fall below 0.
    Transfer {
        account: u8,
        delta: i64,
    },
    ReadAccount {
        account: u8,
    },
    /// Reads the register, then writes this transaction's id into it. So each value names its writer, and each write
    /// which one it replaced.
    ReadWrite {
        register: u8,
    },
    ReadRegister {
        register: u8,
    },
}

impl Op {
    pub const OPENING_BALANCE: i64 = 100;

    pub fn writes(&self) -> bool {
        match self {
            Op::Transfer { .. } | Op::ReadWrite { .. } => true,
            Op::ReadAccount { .. } | Op::ReadRegister { .. } => false,
        }
    }
}

/// The knowledge of a client after its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Reply {
    /// The transaction committed, with what each operation read, in the order of the work: for a [`Op::Transfer`] the
    /// balance after it, for a [`Op::ReadWrite`] the value before it.
    Committed(Option<Reads>),
    /// The transaction aborted, with the label of the reason.
    Aborted(String),
    /// It is nested in another, and as far as its client takes it: closed by itself, and so kept, or left open. It ends as its parent
    /// does.
    Nested { closed: bool },
    /// A definite refusal: the request did nothing.
    Refused(String),
    /// The transaction may have taken effect or not.
    Unknown(String),
}

impl Reply {
    /// An operator gave up on the only branch: nobody will ever know.
    pub fn given_up() -> Reply {
        Reply::Unknown("an operator gave up on it".to_owned())
    }
}

pub type Reads = BTreeMap<Participant, Vec<Option<String>>>;

/// The state of everything when all was over.
#[derive(Clone, Debug, Default)]
pub struct Finals {
    /// The time from the healing until everything had come to its end; `None` if it hadn't within the bound.
    pub settled_after_us: Option<u64>,
    pub participants: BTreeMap<Participant, ParticipantFinal>,
    /// The outcome that the coordinator tells of each transaction that was ever submitted.
    pub outcomes: BTreeMap<String, FinalOutcome>,
    /// Transactions still open at the coordinator, with their phase.
    pub open: Vec<(String, String)>,
    /// Transactions whose acknowledged records a lying disk has destroyed, at any host. Nothing can be promised for them.
    pub excused: BTreeSet<String>,
    /// A lying disk has destroyed an identity, an epoch or a low-water mark.
    pub excused_epochs: bool,
    /// Transactions whose record was made impossible to carry out.
    pub poisoned: BTreeSet<String>,
    /// The transactions that the coordinator listed as held, so that an operator could end them.
    pub held: BTreeSet<String>,
    /// The hosts whose losses operators have accepted, and the moments when they asked for it.
    pub accepted: Vec<(Host, u64)>,
    /// Disks that were put back, in their order.
    pub put_back: Vec<PutBack>,
    /// A lying disk has destroyed a balance or a register.
    pub excused_data: bool,
    /// Steps that sagas ended without, as the coordinator's records have it.
    pub done_without: BTreeMap<String, BTreeMap<Participant, HowResolved>>,
    /// Steps of sagas that operators passed over.
    pub passed_over: Vec<PassedOver>,
    /// The stuck steps that operators had tried again.
    pub retries: Retries,
    /// Participants that have taken a stranger for the coordinator, and the epoch that it claimed.
    pub impostors_welcomed: Vec<(Participant, u32)>,
    /// Batches of several messages that had more bytes than is usual.
    pub oversized: Vec<Oversized>,
    /// The effects that HTTP services were asked for, by the participant that calls the service.
    pub services: BTreeMap<Participant, Vec<Effect>>,
    /// The log of events that each participant has.
    pub logs: BTreeMap<Participant, Vec<Published>>,
    /// What readers were told of these logs.
    pub readings: Vec<Reading>,
    /// What participants' stores showed of their subscriptions at each start, and in the end.
    pub accounts: Vec<Account>,
    /// All events that any log was seen to hold.
    pub known_events: BTreeMap<(Participant, EventName), Published>,
    /// The events that were told to other participants over the network, by the transaction or saga that they belong to.
    pub events_told: BTreeMap<String, u64>,
    /// How subscriptions stood in the end; none of a participant that did not say.
    pub listed: Vec<Listed>,
    /// The positions at which participants' disks had events that were acknowledged, and have lost.
    pub lost_events: BTreeSet<(Participant, u64)>,
    /// The hosts that could not be brought back, on purpose (P8).
    pub gone: BTreeSet<Host>,
    /// The reply to a transaction that touches everything, after all had ended: it fails where a lock was left behind.
    pub probe: Option<Reply>,
    /// The finds of recovery when every process was started once more, twice; see the checker.
    pub recoveries: Vec<Recovery>,
    /// Clients were still asking when the run was broken off.
    pub out_of_patience: bool,
    /// Panics, and processes that refused to start on a healthy disk.
    pub failures: Vec<String>,
}

impl Finals {
    /// Returns true if balances and registers, and who read them when, can be held against nobody.
    pub fn excuses_data(&self) -> bool {
        self.excused_data || self.excused_epochs
    }
}

/// An earlier state of a disk was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBack {
    pub host: Host,
    pub at_us: u64,
    pub copy: Copied,
    /// The folder shows that it is a copy.
    pub signed: bool,
    /// Transactions of which something was acknowledged there, and is not in that state. All before it, where a coordinator's was
    /// emptied.
    pub lost: BTreeSet<String>,
}

/// A batch of a session that its sender should have closed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversized {
    pub participant: Participant,
    pub direction: Direction,
    pub messages: usize,
    pub bytes: usize,
    pub usual: usize,
}

/// An operator ended a step that was not carried out, nor undone; or that was not stuck, and may be either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    pub tx: String,
    pub participant: Participant,
    /// Skipped, or said to be done.
    pub how: HowResolved,
    /// True if it was certainly stuck: nothing of it was in effect that its refusals had not left so.
    pub stuck: bool,
    /// True if the operator was told that it is on record; otherwise he never heard, and it may be or not.
    pub certain: bool,
}

/// The stuck steps that operators had tried again, and when. A step that was seen to be stuck need not be so any more if another
/// operator has had it tried again since.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    answered: u64,
    /// For each transaction and step the number of answers up to that to its last retry; `u64::MAX` while none has come, for it may
    /// still arrive.
    last: BTreeMap<(String, String), u64>,
}

impl Retries {
    /// Returns the number of retries that were answered until now.
    pub fn now(&self) -> u64 {
        self.answered
    }

    pub fn ask(&mut self, step: (String, String)) {
        self.last.insert(step, u64::MAX);
    }

    pub fn answered(&mut self, step: (String, String)) {
        self.answered += 1;
        self.last.insert(step, self.answered);
    }

    /// Returns true if the step may have been tried again after so many retries were answered.
    pub fn may_be_under_way(&self, step: &(String, String), looked_at: u64) -> bool {
        self.last.get(step).is_some_and(|last| *last > looked_at)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParticipantFinal {
    pub accounts: BTreeMap<u8, i64>,
    pub registers: BTreeMap<u8, String>,
    /// Transactions whose branch took effect here, by the marks.
    pub marks: BTreeSet<String>,
    /// Nested sagas whose steps were completed here, by marks of their own.
    pub completed: BTreeSet<String>,
    /// Branches that are not over: transaction, state, whether the coordinator it waits for is the present one.
    pub open: Vec<OpenBranch>,
    /// Transactions whose branch somebody else ended in the resource itself.
    pub ended_by_others: BTreeSet<String>,
    /// Operators' decisions, and what other hands did, that are on record: transaction and whether it was to commit.
    pub heuristics: BTreeMap<String, bool>,
}

/// An event, as it is in a log or was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub position: u64,
    pub incarnation: [u8; 16],
    pub topic: String,
    pub partition: u32,
    pub previous: u64,
    pub key: String,
    pub version: Option<u64>,
    /// The transaction.
    pub correlation: String,
    pub published_at_us: u64,
    pub kind: String,
    /// The event that led to it.
    pub caused_by: Option<EventName>,
    /// Of what clients' work publishes a [`Deed`] as JSON.
    pub data: String,
}

impl Published {
    /// Returns its id.
    pub fn id(&self) -> EventName {
        (self.incarnation, self.position)
    }

    /// Returns what it tells of; `None` if that is nothing that any work publishes.
    pub fn deed(&self) -> Option<Deed> {
        serde_json::from_str(&self.data).ok()
    }
}

/// The data of an event: what the work has done there that has published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    pub tx: String,
    pub part: DeedPart,
    /// Its place among the events of that part, from 0.
    pub index: u32,
    /// What it has added to the account that is its key, and what that came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<(i64, i64)>,
}

/// The part of a transaction's work at a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeedPart {
    /// Its branch, or the action of its step, or what completes a step without one.
    Do,
    /// The completion of a step that has an action.
    Complete,
    Undo,
}

/// What a reader was told of a participant's log, from its beginning until the log was put back, or until the end.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub reader: u8,
    pub participant: Participant,
    /// As it was told first, by positions.
    pub told: BTreeMap<u64, Published>,
    /// What it was told behind the place to which it fell back, and read anew from there.
    pub forgotten: Vec<Published>,
    /// What was told once more, and otherwise.
    pub told_otherwise: Vec<Published>,
    /// The positions behind which something else was told than what comes next there.
    pub gaps: Vec<u64>,
    pub put_back: Option<ToldPutBack>,
    /// It was told that events had been dropped.
    pub told_trimmed: Option<String>,
    /// It had come to the end of the log when all was over.
    pub is_through: bool,
}

/// A reader was told that the log was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldPutBack {
    pub at_us: u64,
    /// The last position that it had read.
    pub position: u64,
    /// The very event is in the log there, all the same.
    pub is_there: bool,
}

/// What an HTTP service has kept of one effect: of a step, or of a branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub tx: String,
    /// The name under which it was asked for, which an action shares with what undoes it.
    pub name: String,
    /// The operations that were answered with success, by their names.
    pub done: BTreeSet<String>,
    /// True if what it was to do is in effect.
    pub in_effect: bool,
    /// True if it was tried, and neither confirmed nor cancelled.
    pub held: bool,
    /// True if somebody else dropped what it held.
    pub dropped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBranch {
    pub tx: String,
    pub state: String,
    /// Its coordinator lost its disk, or is gone for good: nobody will ever decide it (P8, S8).
    pub orphaned_by_design: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinalOutcome {
    Committed {
        reads: Option<Reads>,
        /// Some branch ended otherwise, or nobody knows, and the coordinator says so.
        damaged: bool,
    },
    Aborted {
        damaged: bool,
    },
    /// An operator gave up on the only branch, which alone knows.
    GivenUp,
    /// The coordinator has no trace: it never was, or its abort is presumed.
    NotFound,
    /// The transaction is not decided yet, or could not be asked about.
    Unknown,
}

/// One host's store before and after a restart without any work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub host: Host,
    /// A difference although nothing happened, save in epochs and the like.
    pub difference: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_not_stuck_for_certain_once_another_operator_had_it_tried_again_since() {
        let (mut retries, step) = (Retries::default(), ("s1".to_owned(), "debit".to_owned()));
        let looked_at = retries.now();
        assert!(!retries.may_be_under_way(&step, looked_at));
        retries.ask(step.clone());
        assert!(retries.may_be_under_way(&step, looked_at), "it may have arrived");
        assert!(retries.may_be_under_way(&step, retries.now()), "it may arrive yet");
        retries.answered(step.clone());
        assert!(retries.may_be_under_way(&step, looked_at));
        assert!(!retries.may_be_under_way(&step, retries.now()), "what is stuck now is stuck after that retry");
    }
}
