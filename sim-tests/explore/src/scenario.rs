//! The scenarios: which transactions meet which participants, and how much may go wrong.

mod auto;
mod enlisted;
mod held_transactions;
mod list;
mod marks;
mod nested_sagas;
mod open_saga;
mod open_sagas;
mod operator_ends;
mod resource;
mod restored_folders;
mod saga;
mod sagas;
mod stuck_sagas;

use crate::mutant::Mutant;
use crate::restoration::Machine;
use crate::work;
use bytes::Bytes;
pub use open_saga::OpenStep;
pub use saga::SagaStep;
pub(crate) use saga::{saga_steps, step_name, step_number};
use std::fmt;
use std::time::Duration;
use undoubt_coordinator_core::{Client, Completions, Content, StepResolution, Submission};
use undoubt_vocabulary::{Direction, ParticipantName, StepIndex, TxId};

/// The number of times that each fault may strike in one history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Crashes of whoever may crash in the scenario.
    pub crashes: u8,
    pub losses: u8,
    pub duplicates: u8,
    pub disconnections: u8,
    /// An operator decides a branch in doubt alone.
    pub heuristics: u8,
    /// An operator pauses a recovery, has it start paused, or drains.
    pub operations: u8,
    /// The store refuses a record for good.
    pub refusals: u8,
    /// A record of the log can be read after a restart, and not carried out.
    pub spoils: u8,
    /// The log drops the record of a transaction that has ended, as after its retention.
    pub drops: u8,
    /// A folder is put back.
    pub restores: u8,
    /// A resource loses the locks of a branch that has voted read-only.
    pub lost_locks: u8,
    /// The number of times that somebody else ends a prepared branch in the resource itself.
    pub other_hands: u8,
    /// The number of times that it is unclear what became of an execution.
    pub unclear: u8,
    /// The number of prepares that land late.
    pub late: u8,
    /// The number of times that a coordinator is asked about what an application has prepared by itself, while something goes on.
    pub inquiries: u8,
}

impl Budget {
    /// The budget by which no fault strikes.
    pub const NONE: Budget = Budget {
        crashes: 0,
        losses: 0,
        duplicates: 0,
        disconnections: 0,
        heuristics: 0,
        operations: 0,
        refusals: 0,
        spoils: 0,
        drops: 0,
        restores: 0,
        lost_locks: 0,
        other_hands: 0,
        unclear: 0,
        late: 0,
        inquiries: 0,
    };
}

/// A small world to be explored to its end.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub participants: usize,
    pub requests: Vec<Request>,
    pub deadlines: Deadlines,
    pub sessions: Sessions,
    pub crashing: Crashing,
    /// The resolutions that an operator may give of a stuck step, at any time. If there are none, it is tried again
    /// when nothing else can happen.
    pub resolutions: &'static [StepResolution],
    /// The resolutions that an operator may give of a step that is neither stuck nor settled: at any time, or with
    /// several transactions when nothing else can happen.
    pub interferes: &'static [StepResolution],
    /// An operator may release the semantic locks of a saga, at any time.
    pub releases_marks: bool,
    /// Participants that take part in no two-phase commit.
    pub unable: &'static [usize],
    /// Resources call services: the abort of a prepared branch owes a call, which is made later than its locks are freed, and a branch that
    /// is alone is stored as ending before it is called to an end. Until then another hand may let go what the service holds.
    pub calls_services: bool,
    /// After a crash, a resource knows of a branch that another hand has committed only that it has committed, and nothing of one that it
    /// has aborted.
    pub keeps_evidence_alone: bool,
    /// One silence opens a participant's breaker, for a pause that may be over at any time, once in a process' life.
    pub breakers: bool,
    /// The attempts that are given out after one of an open saga, before low-water marks pass that.
    pub old_after_attempts: u64,
    /// Writes are numbered, and the folder of this machine may be copied and put back.
    pub restored: Option<Machine>,
    /// The budget of the tests.
    pub budget: Budget,
    /// The budget of `undoubt-sim explore`.
    pub thorough: Budget,
    pub mutant: Option<Mutant>,
}

/// The moments when a transaction's deadline may pass, and a lock wait may end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadlines {
    /// Deadlines never pass: only progress ends a wait, so a deadlock shows.
    Never,
    /// Deadlines pass when nothing else can happen. With two transactions anything more is more than can be explored.
    WhenStuck,
    Always,
    /// Deadlines pass always for two-phase commit, for a saga when nothing else can happen: both ways of one
    /// transaction, any time, are more than can be explored.
    OfTwoPhase,
}

/// The processes that may crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crashing {
    Anybody,
    Participants,
}

/// The way in which a session begins, and a process comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Sessions are restored at once. What happens between a crash and the first session after it, or between hello and
    /// welcome, might as well have happened before or after, for nobody hears of the others meanwhile. What goes
    /// missing is that such a beginning breaks off half way.
    AtOnce,
    /// Step by step: down, started, dialing, hello, epoch recorded, welcome.
    StepByStep,
}

/// A request of a client, at any time.
#[derive(Clone, Debug)]
pub struct Request {
    pub tx: &'static str,
    pub kind: RequestKind,
    /// True if the client asks again should the coordinator crash before it answers.
    pub persistent: bool,
    /// Asked only once that one has its answer, or will have none.
    pub after: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum RequestKind {
    /// Each branch's participant and its work, see [`crate::work`]. In the order of the participants.
    Submit(Vec<(usize, &'static str)>),
    Saga(Vec<SagaStep>),
    /// Two-phase commit of the steps' actions, if that can be.
    Auto(Vec<SagaStep>),
    /// Begin an open saga. With a check-back, that is asked when its time is over.
    Begin(Completions, Option<OpenStep>),
    /// Begin an open saga as a part of this one.
    Nest(&'static str),
    /// Let a step join an open saga, and wait for its action.
    Run(OpenStep),
    /// The same, and wait until it is on record that it joined.
    Join(OpenStep),
    /// An application prepares this by itself in the participant's resource, under the transaction's id.
    Enlist(Enlisting),
    Close,
    Cancel,
    /// An operator gives up on branches that do not acknowledge, or on a saga.
    Forget,
}

/// What an application prepares by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enlisting {
    pub participant: usize,
    pub work: &'static str,
    /// It is prepared for a coordinator that was never there.
    pub for_a_stranger: bool,
}

impl RequestKind {
    fn steps(&self) -> &[SagaStep] {
        match self {
            RequestKind::Saga(steps) | RequestKind::Auto(steps) => steps,
            RequestKind::Submit(_)
            | RequestKind::Begin(..)
            | RequestKind::Nest(_)
            | RequestKind::Run(_)
            | RequestKind::Join(_)
            | RequestKind::Enlist(_)
            | RequestKind::Close
            | RequestKind::Cancel
            | RequestKind::Forget => &[],
        }
    }

    /// Returns the step that joins.
    pub(crate) fn joining(&self) -> Option<&OpenStep> {
        match self {
            RequestKind::Run(step) | RequestKind::Join(step) => Some(step),
            RequestKind::Submit(_)
            | RequestKind::Saga(_)
            | RequestKind::Auto(_)
            | RequestKind::Begin(..)
            | RequestKind::Nest(_)
            | RequestKind::Enlist(_)
            | RequestKind::Close
            | RequestKind::Cancel
            | RequestKind::Forget => None,
        }
    }
}

pub(crate) fn participant_name(participant: usize) -> ParticipantName {
    format!("p{participant}").parse().expect("a valid name")
}

pub(crate) fn participant_number(name: &ParticipantName) -> Option<usize> {
    name.as_str().strip_prefix('p').and_then(|number| number.parse().ok())
}

pub(crate) fn tx_id(tx: &'static str) -> TxId {
    TxId::new(Bytes::from_static(tx.as_bytes())).expect("a valid id")
}

impl Request {
    pub(crate) fn tx(&self) -> TxId {
        tx_id(self.tx)
    }

    /// The work at this participant.
    fn work(&self, participant: usize) -> Option<&'static str> {
        match &self.kind {
            RequestKind::Submit(branches) => {
                branches.iter().find(|(name, _)| *name == participant).map(|(_, work)| *work)
            }
            RequestKind::Run(step) | RequestKind::Join(step) | RequestKind::Begin(_, Some(step)) => {
                let any = step.action.or(step.compensation).or(step.completion);
                any.filter(|_| step.participant == participant)
            }
            RequestKind::Enlist(enlisting) => (enlisting.participant == participant).then_some(enlisting.work),
            RequestKind::Saga(_)
            | RequestKind::Auto(_)
            | RequestKind::Begin(..)
            | RequestKind::Nest(_)
            | RequestKind::Close
            | RequestKind::Cancel
            | RequestKind::Forget => {
                self.kind.steps().iter().find(|step| step.participant == participant).map(|step| step.action)
            }
        }
    }
}

impl Scenario {
    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::all().into_iter().find(|scenario| scenario.name == name)
    }

    pub fn with_mutant(self, mutant: Mutant) -> Scenario {
        Scenario { mutant: Some(mutant), ..self }
    }

    /// Returns true if the transaction's branch at this participant writes.
    pub(crate) fn writes(&self, tx: &TxId, participant: usize) -> bool {
        let of_tx = self.requests.iter().filter(|request| request.tx.as_bytes() == tx.as_bytes());
        of_tx.filter_map(|request| request.work(participant)).any(work::writes)
    }

    /// Returns the participant and the work of a step in one direction, as it was submitted or joined under this id. `number`:
    /// the one that is its name, which of a saga that was submitted is its place.
    pub(crate) fn step(&self, tx: &TxId, number: StepIndex, direction: Direction) -> Option<(usize, &'static str)> {
        if let Some(step) = self.joining(tx, number) {
            let work = match direction {
                Direction::Forward => step.action,
                Direction::Compensating => step.compensation,
                Direction::Completing => step.completion,
            };
            return Some((step.participant, work?));
        }
        let steps = self.requests.iter().filter(|request| request.tx.as_bytes() == tx.as_bytes());
        let step = steps.flat_map(|request| request.kind.steps().get(usize::from(number.0))).next()?;
        let work = match direction {
            Direction::Forward => step.action,
            Direction::Compensating => step.compensation?,
            Direction::Completing => return None,
        };
        Some((step.participant, work))
    }

    /// Returns the check-back of this open saga.
    pub(crate) fn check_back(&self, tx: &TxId) -> Option<&OpenStep> {
        self.requests.iter().filter(|request| request.tx() == *tx).find_map(|request| match &request.kind {
            RequestKind::Begin(_, check_back) => check_back.as_ref(),
            RequestKind::Submit(_)
            | RequestKind::Nest(_)
            | RequestKind::Saga(_)
            | RequestKind::Auto(_)
            | RequestKind::Run(_)
            | RequestKind::Join(_)
            | RequestKind::Enlist(_)
            | RequestKind::Close
            | RequestKind::Cancel
            | RequestKind::Forget => None,
        })
    }

    /// Returns the step that joins this open saga under this number, or is its check-back.
    pub(crate) fn joining(&self, tx: &TxId, number: StepIndex) -> Option<&OpenStep> {
        if let Some(check_back) = self.check_back(tx).filter(|step| step.number == number.0) {
            return Some(check_back);
        }
        let of_tx = self.requests.iter().filter(|request| request.tx.as_bytes() == tx.as_bytes());
        of_tx.filter_map(|request| request.kind.joining()).find(|step| step.number == number.0)
    }

    /// Returns the order of completions, if it is begun as an open saga.
    pub(crate) fn begun(&self, tx: &TxId) -> Option<Completions> {
        self.requests.iter().filter(|request| request.tx() == *tx).find_map(|request| match request.kind {
            RequestKind::Begin(completions, _) => Some(completions),
            RequestKind::Nest(_) => Some(Completions::default()),
            RequestKind::Submit(_)
            | RequestKind::Saga(_)
            | RequestKind::Auto(_)
            | RequestKind::Run(_)
            | RequestKind::Join(_)
            | RequestKind::Enlist(_)
            | RequestKind::Close
            | RequestKind::Cancel
            | RequestKind::Forget => None,
        })
    }

    /// Returns true if it is begun as a part of another.
    pub(crate) fn is_nested(&self, tx: &TxId) -> bool {
        self.requests.iter().any(|request| request.tx() == *tx && matches!(request.kind, RequestKind::Nest(_)))
    }

    /// Returns true if it is submitted as a saga.
    pub(crate) fn is_saga(&self, tx: &TxId) -> bool {
        self.steps(tx) > 0
    }

    /// Returns the number of its steps, if it is submitted as a saga.
    pub(crate) fn steps(&self, tx: &TxId) -> usize {
        let of_tx = self.requests.iter().filter(|request| request.tx() == *tx);
        of_tx.map(|request| request.kind.steps().len()).max().unwrap_or_default()
    }

    pub(crate) fn has_several_transactions(&self) -> bool {
        self.requests.iter().any(|request| request.tx != self.requests[0].tx)
    }

    /// Returns true if two participants have the same to do whatever is asked.
    pub(crate) fn are_alike(&self, one: usize, other: usize) -> bool {
        let able = |participant: usize| !self.unable.contains(&participant);
        let alike = |request: &Request| match (request.work(one), request.work(other)) {
            // Steps have numbers, and their participants know them.
            (Some(_), Some(_)) if !request.kind.steps().is_empty() => false,
            (one, other) => one == other,
        };
        able(one) == able(other) && self.requests.iter().all(alike)
    }

    pub(crate) fn submission(&self, request: usize, branches: usize, content: Content) -> Submission {
        Submission {
            tx: self.requests[request].tx(),
            // Contents that differ, differ in their branches here.
            digest: [branches as u8; 32],
            content,
            timeout: Duration::from_secs(1),
            client: Client(request as u64),
            wait: true,
        }
    }
}

impl fmt::Display for Budget {
    /// One letter a fault: crashes, losses, duplicates, disconnections, heuristic decisions, operations, refusals, spoils,
    /// records dropped, folders put back, locks lost, ends by other hands, unclear executions, late prepares, early inquiries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget {
            crashes,
            losses,
            duplicates,
            disconnections,
            heuristics,
            operations,
            refusals,
            spoils,
            drops,
            restores,
            lost_locks,
            other_hands,
            unclear,
            late,
            inquiries,
        } = self;
        let named = [
            ("c", crashes),
            ("l", losses),
            ("d", duplicates),
            ("n", disconnections),
            ("h", heuristics),
            ("o", operations),
            ("r", refusals),
            ("s", spoils),
            ("f", drops),
            ("b", restores),
            ("k", lost_locks),
            ("e", other_hands),
            ("u", unclear),
            ("p", late),
            ("q", inquiries),
        ];
        let shown: Vec<String> =
            named.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name}{count}")).collect();
        f.pad(&shown.join(" "))
    }
}
