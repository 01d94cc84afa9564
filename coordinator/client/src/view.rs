//! The views that coordinators and participants give of themselves, in the vocabulary's types.

mod participant;

pub use participant::{HeldBranch, HeldStep, Heuristic, KnownCoordinator, Mark, ParticipantState};

use std::str::FromStr;
use std::time::Duration;
use undoubt_proto::convert::{KnownOutcome, Malformed, branch_outcome};
use undoubt_proto::v1;
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, CoordinatorId, CoordinatorPhase, Epoch, EventKind, InvalidId, PartState,
    ParticipantName, StepName, Timestamp, TransactionPhase, TxId,
};

use crate::figures::Figures;
use crate::submit::known;

/// The standing of a transaction, as its coordinator knows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransactionView {
    /// Its id.
    pub tx: TxId,
    /// The number of its present attempt.
    pub attempt_number: AttemptNumber,
    /// `None`: one that this version does not know.
    pub phase: Option<TransactionPhase>,
    /// An operator has paused recovery, and it waits.
    pub paused: bool,
    /// Its outcome as far as it is known, with what its branches or steps handed back.
    pub known: KnownOutcome,
    /// The time at which it began, by the coordinator's clock.
    pub begun_at: Timestamp,
    /// `None` while it goes on.
    pub ended_at: Option<Timestamp>,
    /// Its branches, or steps, in the order given.
    pub branches: Vec<BranchView>,
    /// What happened to it, the oldest first.
    pub history: Vec<HistoryEvent>,
    /// Branch outcomes differ from the decision, or nobody knows: an operator should look.
    pub heuristic_damage: bool,
    /// Branches and results are named by its steps, and an abort means that all was undone.
    pub saga: bool,
    /// Set: its record cannot be carried out, for this reason, and it is held until an operator forgets it.
    pub unusable_because: Option<String>,
    /// The open saga that it is nested in.
    pub parent: Option<TxId>,
    /// The sagas that are nested in it and have not ended.
    pub children: Vec<TxId>,
    /// Set: no coordinator carries it out; an observer tells how it stands.
    pub choreographed: Option<Choreographed>,
}

/// The standing of a choreographed saga, as far as its participants' events and subscriptions show it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Choreographed {
    /// `running`, `undoing`, `done`, `undone`, `expired`, `mixed`, `parked`, `quiet` or `unknown`.
    pub standing: String,
    /// What it waits for; nothing once it has ended.
    pub awaited: Vec<Awaited>,
    /// Why, where the standing alone does not say it.
    pub why: Option<String>,
}

/// A reaction, or the end of a time limit, that a choreographed saga waits for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Awaited {
    /// The participant whose reaction it is.
    pub participant: ParticipantName,
    /// The name of the reaction.
    pub reaction: String,
    /// The type of the event that it has yet to deal with.
    pub event: String,
    /// The time at which that was published.
    pub since: Timestamp,
    /// What it waits for and what holds it up, in words.
    pub detail: String,
}

/// One branch, as its coordinator sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BranchView {
    /// The participant that it is at.
    pub participant: ParticipantName,
    /// The name of the step, in a saga.
    pub step: Option<StepName>,
    /// `None`: one that this version does not know.
    pub state: Option<PartState>,
    /// `None` while it is not known.
    pub outcome: Option<BranchOutcome>,
    /// The last refusal by its participant, while a step with no way but on is refused.
    pub detail: Option<String>,
}

impl BranchView {
    /// Returns the name of the step, or of the branch's participant.
    pub fn name(&self) -> &str {
        self.step.as_ref().map_or(self.participant.as_str(), StepName::as_str)
    }
}

/// One thing that happened to a transaction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryEvent {
    /// The time at which it happened, by the coordinator's clock.
    pub at: Timestamp,
    /// `None`: one that this version does not know.
    pub kind: Option<EventKind>,
    /// `None` where it is about the whole transaction.
    pub participant: Option<ParticipantName>,
    /// More about it, for people; empty where there is no more.
    pub detail: String,
    /// The number of times that it happened in a row.
    pub count: u32,
}

/// The state of a coordinator, as it tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CoordinatorView {
    /// Its configured name.
    pub name: String,
    /// The id of its log: another log is another coordinator, whatever its name.
    pub id: Option<CoordinatorId>,
    /// The count of its starts.
    pub epoch: Epoch,
    /// `None`: one that this version does not know.
    pub phase: Option<CoordinatorPhase>,
    /// Transactions that have not ended.
    pub open: u64,
    /// Transactions that are decided to commit, and of which some branch has not acknowledged.
    pub unacknowledged: u64,
    /// Transactions of which branch outcomes differ from the decision, or are not known.
    pub damaged: u64,
    /// Transactions that may be open at the same time.
    pub max_open: u64,
    /// The participants that it is configured with.
    pub participants: Vec<ParticipantView>,
    /// `None` while all is well.
    pub refusing_work_because: Option<String>,
    /// The deadline of transactions that name none; `None` of coordinators that do not tell.
    pub default_timeout: Option<Duration>,
    /// The reasons why it serves nobody: others have seen more of its log than it holds.
    pub held_because: Vec<String>,
    /// The oldest first.
    pub losses: Vec<Loss>,
    /// Counts, and what waits longest; `None` of coordinators that do not tell.
    pub figures: Option<Figures>,
}

/// A loss that an operator has accepted: of a server that was put back from an older copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loss {
    /// The time at which it was accepted.
    pub at: Timestamp,
    /// The operator who accepted it, as given.
    pub who: String,
    /// The operator's reason, as given.
    pub reason: String,
    /// The reason why it was believed to be put back from an older copy.
    pub put_back: String,
    /// The participant whose loss a coordinator tells of; `None`: its own, or that of the participant who tells.
    pub participant: Option<ParticipantName>,
    /// Transactions that are listed as damaged, or are held, because of it.
    pub listed: u32,
    /// There are, or may be, more than are listed.
    pub more: bool,
}

/// A participant, as a coordinator sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParticipantView {
    /// Its configured name.
    pub name: ParticipantName,
    /// The address at which it is called.
    pub address: String,
    /// It has a session with the coordinator.
    pub connected: bool,
    /// The time at which it was connected, or ceased to be.
    pub since: Timestamp,
    /// The kind of its resource, like kv; empty until it has connected.
    pub resource: String,
    /// The reason why it is not connected.
    pub last_error: Option<String>,
    /// Attempts to connect since it was connected last.
    pub connection_attempts: u64,
    /// Messages queued to it.
    pub queued: u64,
    /// Transactions that wait for its answer.
    pub open: u64,
    /// It does not number its writes: were it put back from an older copy, nobody would notice.
    pub unnumbered: bool,
    /// It was taken out of the settings: no new transactions are taken that name it, and it goes once nothing is open with it.
    pub leaving: bool,
    /// Auto spares it two-phase commit, since it let some run into their deadlines.
    pub spared: bool,
}

impl TryFrom<v1::Transaction> for TransactionView {
    type Error = Malformed;

    fn try_from(wire: v1::Transaction) -> Result<Self, Malformed> {
        Ok(TransactionView {
            tx: tx(wire.tx)?,
            attempt_number: AttemptNumber(wire.attempt_number),
            phase: TransactionPhase::of_number(wire.phase),
            paused: wire.paused,
            known: known(wire.outcome)?,
            begun_at: Timestamp(wire.begun_at_us),
            ended_at: (wire.ended_at_us != 0).then_some(Timestamp(wire.ended_at_us)),
            saga: wire.saga,
            branches: all(wire.branches)?,
            history: all(wire.history)?,
            heuristic_damage: wire.heuristic_damage,
            unusable_because: Some(wire.unusable_because).filter(|why| !why.is_empty()),
            parent: (!wire.parent.is_empty()).then(|| tx(wire.parent)).transpose()?,
            children: wire.children.into_iter().map(tx).collect::<Result<_, _>>()?,
            choreographed: wire.choreographed.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<v1::Choreographed> for Choreographed {
    type Error = Malformed;

    fn try_from(wire: v1::Choreographed) -> Result<Self, Malformed> {
        let v1::Choreographed { standing, awaited, why } = wire;
        Ok(Choreographed { standing, awaited: all(awaited)?, why: unless_empty(why) })
    }
}

impl TryFrom<v1::Awaited> for Awaited {
    type Error = Malformed;

    fn try_from(wire: v1::Awaited) -> Result<Self, Malformed> {
        let v1::Awaited { participant, reaction, event, since_us, detail } = wire;
        let participant = name("choreographed.awaited.participant", &participant)?;
        Ok(Awaited { participant, reaction, event, since: Timestamp(since_us), detail })
    }
}

impl TryFrom<v1::BranchView> for BranchView {
    type Error = Malformed;

    fn try_from(wire: v1::BranchView) -> Result<Self, Malformed> {
        Ok(BranchView {
            participant: name("branches.participant", &wire.participant)?,
            step: if wire.step.is_empty() { None } else { Some(name("branches.step", &wire.step)?) },
            state: PartState::of_number(wire.state),
            outcome: optional_outcome("branches.outcome", wire.outcome)?,
            detail: unless_empty(wire.detail),
        })
    }
}

impl TryFrom<v1::HistoryEvent> for HistoryEvent {
    type Error = Malformed;

    fn try_from(wire: v1::HistoryEvent) -> Result<Self, Malformed> {
        let participant = match wire.participant.as_str() {
            "" => None,
            participant => Some(name("history.participant", participant)?),
        };
        let at = Timestamp(wire.at_us);
        Ok(HistoryEvent {
            at,
            kind: EventKind::of_number(wire.kind),
            participant,
            detail: wire.detail,
            count: wire.count.max(1),
        })
    }
}

/// The deadline of a coordinator for transactions that name none.
pub(crate) struct DefaultTimeout(pub(crate) Option<Duration>);

fn default_timeout(ms: u64) -> Option<Duration> {
    Some(ms).filter(|ms| *ms > 0).map(Duration::from_millis)
}

impl TryFrom<v1::DescribeResponse> for DefaultTimeout {
    type Error = Malformed;

    fn try_from(wire: v1::DescribeResponse) -> Result<Self, Malformed> {
        Ok(DefaultTimeout(default_timeout(wire.default_timeout_ms)))
    }
}

impl TryFrom<v1::DescribeResponse> for CoordinatorView {
    type Error = Malformed;

    fn try_from(wire: v1::DescribeResponse) -> Result<Self, Malformed> {
        Ok(CoordinatorView {
            name: wire.name,
            id: (!wire.coordinator_id.is_empty()).then(|| coordinator_id(&wire.coordinator_id)).transpose()?,
            epoch: Epoch(wire.epoch),
            phase: CoordinatorPhase::of_number(wire.phase),
            open: wire.open,
            unacknowledged: wire.unacknowledged,
            damaged: wire.damaged,
            max_open: wire.max_open,
            participants: all(wire.participants)?,
            refusing_work_because: unless_empty(wire.refusing_work_because),
            held_because: wire.held_because,
            losses: all(wire.losses)?,
            default_timeout: default_timeout(wire.default_timeout_ms),
            figures: wire.figures.map(Into::into),
        })
    }
}

impl TryFrom<v1::ParticipantView> for ParticipantView {
    type Error = Malformed;

    fn try_from(wire: v1::ParticipantView) -> Result<Self, Malformed> {
        Ok(ParticipantView {
            name: name("participants.name", &wire.name)?,
            address: wire.address,
            connected: wire.connected,
            since: Timestamp(wire.since_us),
            resource: wire.resource,
            last_error: unless_empty(wire.last_error),
            connection_attempts: wire.connection_attempts,
            queued: wire.queued,
            open: wire.open,
            unnumbered: wire.unnumbered,
            leaving: wire.leaving,
            spared: wire.spared,
        })
    }
}

impl TryFrom<v1::CoordinatorLoss> for Loss {
    type Error = Malformed;

    fn try_from(wire: v1::CoordinatorLoss) -> Result<Self, Malformed> {
        let participant = unless_empty(wire.participant).map(|of| name("losses.participant", &of)).transpose()?;
        let loss = Loss::from(wire.loss.unwrap_or_default());
        Ok(Loss { participant, listed: wire.listed, more: wire.more, ..loss })
    }
}

impl From<v1::AcceptedLoss> for Loss {
    fn from(wire: v1::AcceptedLoss) -> Self {
        let v1::AcceptedLoss { at_us, who, reason, put_back, kept: _ } = wire;
        Loss { at: Timestamp(at_us), who, reason, put_back, participant: None, listed: 0, more: true }
    }
}

pub(crate) fn all<W, V: TryFrom<W, Error = Malformed>>(wire: Vec<W>) -> Result<Vec<V>, Malformed> {
    wire.into_iter().map(TryInto::try_into).collect()
}

pub(crate) fn tx(bytes: bytes::Bytes) -> Result<TxId, Malformed> {
    TxId::new(bytes).map_err(|cause| Malformed::Id { field: "tx", cause })
}

fn name<N: FromStr<Err = InvalidId>>(field: &'static str, name: &str) -> Result<N, Malformed> {
    name.parse().map_err(|cause: InvalidId| Malformed::Id { field, cause })
}

fn coordinator_id(bytes: &[u8]) -> Result<CoordinatorId, Malformed> {
    bytes.try_into().map_err(|cause| Malformed::Id { field: "coordinator_id", cause })
}

fn optional_outcome(field: &'static str, wire: i32) -> Result<Option<BranchOutcome>, Malformed> {
    if wire == v1::BranchOutcome::Unspecified as i32 { Ok(None) } else { branch_outcome(field, wire).map(Some) }
}

fn unless_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
