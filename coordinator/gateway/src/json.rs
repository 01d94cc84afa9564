//! What `--output json` prints. These names are stable: fields may be added, none is renamed or removed.
//!
//! Times are RFC 3339 in UTC. Values are text, or `0x` and hexadecimal digits where they are no UTF-8; so are ids, and also
//! where they hold what cannot be seen. The command line reads back what it prints. Absent things are `null`.

mod audit;
mod event;
mod participant;
pub(crate) mod schema;

pub use audit::{Audit, AuditLine};
pub use event::PublishedEvent;
pub use participant::{
    BranchHeld, HeldBranches, HeuristicOutcome, KnownCoordinator, ParticipantSelf, SemanticLock, StepUnderWay,
};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use undoubt_client::{
    Answer, Awaited as AwaitedView, BranchView, Choreographed as ChoreographedView, CoordinatorView, HistoryEvent,
    Joined, KnownOutcome, Listing, Loss, ParticipantView, Results, StuckStep, TransactionView, Watched,
};
use undoubt_vocabulary::{
    CoordinatorPhase, EventKind, Outcome as Decided, OutcomeForm, PartName, PartState, TransactionPhase, TxId,
};

/// How a transaction stands.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Outcome {
    pub tx: String,
    #[serde(flatten)]
    #[schemars(with = "schema::OutcomeForm")]
    pub form: OutcomeForm,
    /// What each participant, or each step of a saga, told: `{"values": [...]}`, one for each piece of work, or
    /// `{"raw": "0x…"}` of one that speaks a language of its own.
    #[schemars(with = "BTreeMap<String, schema::Results>")]
    pub results: BTreeMap<String, Results>,
    /// While it is pending: the step that an operator has to end before it goes on.
    pub stuck: Option<Stuck>,
    /// How far it is applied; for whoever has waited for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Box<Applied>>,
}

/// How far a transaction is applied at its participants.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Applied {
    /// It is in effect at every participant.
    pub everywhere: bool,
    /// The last event that it has published, by participants: what a reader of that one's events has to have seen to have seen all of them.
    /// Of one that is missing, its events have the transaction's id as their correlation.
    pub tokens: BTreeMap<String, String>,
}

impl From<&undoubt_client::Applied> for Applied {
    fn from(applied: &undoubt_client::Applied) -> Self {
        let token = |(participant, last): (&_, &_)| (ToString::to_string(participant), ToString::to_string(last));
        Applied { everywhere: applied.everywhere, tokens: applied.tokens.iter().map(token).collect() }
    }
}

/// The standing of a step that has joined an open saga.
#[derive(Debug, JsonSchema, Serialize)]
pub struct StepStanding {
    pub tx: String,
    pub step: String,
    /// joined (its action is the caller's to do), running, done, skipped (by an operator)
    pub state: &'static str,
    /// The results that its action handed back, once that is done.
    #[schemars(with = "Option<schema::Results>")]
    pub results: Option<Results>,
}

impl StepStanding {
    pub fn joined(tx: &TxId, step: &str, joined: &Joined) -> Self {
        let (state, results) = match joined {
            Joined::Joined => ("joined", None),
            Joined::Running => ("running", None),
            Joined::Done(result) => ("done", Some(Results::read(result))),
            Joined::Skipped => ("skipped", None),
            _ => ("unknown", None),
        };
        StepStanding { tx: tx.to_string(), step: step.to_owned(), state, results }
    }

    pub fn done(tx: &TxId, step: &str, results: Results) -> Self {
        StepStanding { tx: tx.to_string(), step: step.to_owned(), state: "done", results: Some(results) }
    }
}

/// A step of a saga that was refused for good as often as its policy allows, with no other way.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Stuck {
    pub step: String,
    pub participant: String,
    /// action, compensation
    pub direction: String,
    /// What the participant said last.
    pub refusal: String,
}

/// One line of `submit --lines`: what became of a line of the input, counted from 1.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Line {
    Known {
        line: u64,
        #[serde(flatten)]
        outcome: Outcome,
    },
    Failed {
        line: u64,
        tx: Option<String>,
        error: serde_json::Value,
    },
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Transaction {
    #[serde(flatten)]
    pub outcome: Outcome,
    pub attempt_number: String,
    #[schemars(with = "Option<schema::Phase>")]
    pub phase: Option<TransactionPhase>,
    /// An operator has paused recovery, and it waits.
    pub paused: bool,
    pub begun_at: String,
    pub ended_at: Option<String>,
    pub heuristic_damage: bool,
    /// Branches and results are named by its steps.
    pub saga: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable_because: Option<String>,
    /// The open saga that it is nested in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The sagas that are nested in it and have not ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// Set where an observer tells it: no coordinator carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choreographed: Option<Choreographed>,
    pub branches: Vec<Branch>,
    pub history: Vec<Event>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Choreographed {
    /// `running`, `undoing`, `done`, `undone`, `expired`, `mixed`, `parked`, `quiet` or `unknown`.
    pub standing: String,
    pub awaited: Vec<Awaited>,
    pub why: Option<String>,
}

/// A reaction, or the end of a time limit, that a choreographed saga waits for.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Awaited {
    pub participant: String,
    pub reaction: String,
    /// The type of the event that it has yet to deal with.
    pub event: String,
    pub since: String,
    pub detail: String,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Branch {
    pub participant: String,
    /// Of a saga.
    pub step: Option<String>,
    #[schemars(with = "Option<schema::BranchState>")]
    pub state: Option<PartState>,
    pub outcome: Option<&'static str>,
    /// The last refusal by its participant, while a step with no way but on is refused.
    pub detail: Option<String>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Event {
    pub at: String,
    #[schemars(with = "Option<schema::Kind>")]
    pub event: Option<EventKind>,
    pub participant: Option<String>,
    pub detail: String,
    pub count: u32,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Transactions {
    /// Their results are left out: `status` tells those of one.
    pub transactions: Vec<Transaction>,
    pub more: bool,
    /// For `--after`, if there is more.
    pub cursor: Option<String>,
}

/// One line of `watch`: an event, or a gap.
#[derive(Debug, Default, JsonSchema, Serialize)]
pub struct WatchLine {
    pub tx: Option<String>,
    #[serde(flatten)]
    pub event: Option<Event>,
    /// For `--after`: a watch that goes on behind this event.
    pub cursor: Option<String>,
    pub lost: u64,
    /// The coordinator was started anew, and what it had not told before is not known.
    pub restarted: bool,
    /// Why the connection broke. It is made anew.
    pub interrupted: Option<String>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Coordinator {
    pub name: String,
    /// None: it is not told to this caller.
    pub id: Option<String>,
    pub epoch: u32,
    #[schemars(with = "Option<schema::Stage>")]
    pub phase: Option<CoordinatorPhase>,
    pub open: u64,
    pub unacknowledged: u64,
    pub damaged: u64,
    pub max_open: u64,
    pub refusing_work_because: Option<String>,
    /// Why it serves nobody.
    pub held_because: Vec<String>,
    pub losses: Vec<AcceptedLoss>,
    pub participants: Vec<Participant>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct Participant {
    pub name: String,
    pub address: String,
    pub connected: bool,
    pub since: String,
    pub resource: String,
    pub last_error: Option<String>,
    pub connection_attempts: u64,
    pub queued: u64,
    pub open: u64,
    pub unnumbered: bool,
    pub leaving: bool,
}

/// A loss that an operator has accepted.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AcceptedLoss {
    pub at: String,
    pub who: String,
    pub reason: String,
    pub put_back: String,
    pub participant: Option<String>,
    pub listed: u32,
    pub more: bool,
}

impl Outcome {
    pub fn new(tx: &TxId, known: &KnownOutcome) -> Self {
        let stuck = known.stuck.as_ref().map(Into::into);
        Outcome { stuck, ..Outcome::of(tx, known.decided.as_ref(), &known.results) }.closed_if(known.closed)
    }

    /// Returns the outcome of what is not decided.
    pub fn pending(tx: &TxId) -> Self {
        Outcome::of(tx, None, &BTreeMap::new())
    }

    pub fn decided(tx: &TxId, answer: &Answer) -> Self {
        let applied = answer.applied.as_ref().map(|applied| Box::new(applied.into()));
        Outcome { applied, ..Outcome::of(tx, Some(&answer.outcome), &answer.results) }.closed_if(answer.provisional)
    }

    fn closed_if(self, closed: bool) -> Self {
        if closed { Outcome { form: OutcomeForm::closed(), ..self } } else { self }
    }

    fn of(tx: &TxId, outcome: Option<&Decided>, results: &BTreeMap<PartName, Bytes>) -> Self {
        let results = results.iter().map(|(name, result)| (name.to_string(), Results::read(result))).collect();
        Outcome { tx: tx.to_string(), form: OutcomeForm::new(outcome), results, stuck: None, applied: None }
    }
}

impl From<&StuckStep> for Stuck {
    fn from(stuck: &StuckStep) -> Self {
        Stuck {
            step: stuck.step.to_string(),
            participant: stuck.participant.to_string(),
            direction: stuck.direction.to_string(),
            refusal: stuck.refusal.to_string(),
        }
    }
}

impl From<&TransactionView> for Transaction {
    fn from(view: &TransactionView) -> Self {
        Transaction {
            outcome: Outcome::new(&view.tx, &view.known),
            attempt_number: view.attempt_number.to_string(),
            phase: view.phase,
            paused: view.paused,
            begun_at: view.begun_at.to_string(),
            ended_at: view.ended_at.map(|at| at.to_string()),
            heuristic_damage: view.heuristic_damage,
            saga: view.saga,
            unusable_because: view.unusable_because.clone(),
            parent: view.parent.as_ref().map(ToString::to_string),
            children: view.children.iter().map(ToString::to_string).collect(),
            choreographed: view.choreographed.as_ref().map(Into::into),
            branches: view.branches.iter().map(Into::into).collect(),
            history: view.history.iter().map(Into::into).collect(),
        }
    }
}

impl From<&ChoreographedView> for Choreographed {
    fn from(view: &ChoreographedView) -> Self {
        let awaited = |awaited: &AwaitedView| Awaited {
            participant: awaited.participant.to_string(),
            reaction: awaited.reaction.clone(),
            event: awaited.event.clone(),
            since: awaited.since.to_string(),
            detail: awaited.detail.clone(),
        };
        Choreographed {
            standing: view.standing.clone(),
            awaited: view.awaited.iter().map(awaited).collect(),
            why: view.why.clone(),
        }
    }
}

impl From<&BranchView> for Branch {
    fn from(view: &BranchView) -> Self {
        Branch {
            participant: view.participant.to_string(),
            step: view.step.as_ref().map(ToString::to_string),
            state: view.state,
            outcome: view.outcome.map(|outcome| outcome.as_str()),
            detail: view.detail.clone(),
        }
    }
}

impl From<&HistoryEvent> for Event {
    fn from(event: &HistoryEvent) -> Self {
        Event {
            at: event.at.to_string(),
            event: event.kind,
            participant: event.participant.as_ref().map(ToString::to_string),
            detail: event.detail.clone(),
            count: event.count,
        }
    }
}

impl From<&Listing> for Transactions {
    fn from(listing: &Listing) -> Self {
        Transactions {
            transactions: listing.transactions.iter().map(Into::into).collect(),
            more: listing.more,
            cursor: listing.cursor.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&Watched> for WatchLine {
    fn from(watched: &Watched) -> Self {
        let nothing = WatchLine::default();
        match watched {
            Watched::Event { tx, event, cursor } => WatchLine {
                tx: Some(tx.to_string()),
                event: Some(event.into()),
                cursor: Some(cursor.to_string()),
                ..nothing
            },
            Watched::Lost { events } => WatchLine { lost: *events, ..nothing },
            Watched::Restarted => WatchLine { restarted: true, ..nothing },
            Watched::Interrupted { cause } => WatchLine { interrupted: Some(cause.clone()), ..nothing },
            _ => nothing,
        }
    }
}

impl From<&CoordinatorView> for Coordinator {
    fn from(view: &CoordinatorView) -> Self {
        Coordinator {
            name: view.name.clone(),
            id: view.id.map(|id| id.to_string()),
            epoch: view.epoch.0,
            phase: view.phase,
            open: view.open,
            unacknowledged: view.unacknowledged,
            damaged: view.damaged,
            max_open: view.max_open,
            refusing_work_because: view.refusing_work_because.clone(),
            held_because: view.held_because.clone(),
            losses: view.losses.iter().map(Into::into).collect(),
            participants: view.participants.iter().map(Into::into).collect(),
        }
    }
}

impl From<&ParticipantView> for Participant {
    fn from(view: &ParticipantView) -> Self {
        Participant {
            name: view.name.to_string(),
            address: view.address.clone(),
            connected: view.connected,
            since: view.since.to_string(),
            resource: view.resource.clone(),
            last_error: view.last_error.clone(),
            connection_attempts: view.connection_attempts,
            queued: view.queued,
            open: view.open,
            unnumbered: view.unnumbered,
            leaving: view.leaving,
        }
    }
}

impl From<&Loss> for AcceptedLoss {
    fn from(loss: &Loss) -> Self {
        AcceptedLoss {
            at: loss.at.to_string(),
            who: loss.who.clone(),
            reason: loss.reason.clone(),
            put_back: loss.put_back.clone(),
            participant: loss.participant.as_ref().map(ToString::to_string),
            listed: loss.listed,
            more: loss.more,
        }
    }
}
