//! The records that a coordinator writes to its log.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Outcome, PartName, ParticipantName, Refusal, SagaStep, StepIndex,
    StepName, Timestamp, TxId, saga,
};

/// The stage of a transaction that a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Delegated,
    Committed,
    Ended,
    /// A saga has begun.
    Begun,
    /// A step of a saga has made progress.
    Stepped,
    /// A saga compensates.
    Compensating,
    /// An open saga has begun.
    Opened,
    /// A step has joined an open saga.
    Joined,
    /// An open saga was closed.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    Open(OpenRecord),
    Saga(SagaRecord),
    Opened(OpenedRecord),
    Joined(JoinedRecord),
    Ended(EndedRecord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenKind {
    /// The only branch may have committed by itself (R7).
    Delegated,
    /// Decided to commit (R1).
    Committed,
}

/// A transaction that recovery must carry on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenRecord {
    pub kind: OpenKind,
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    /// The participants that have to acknowledge (committed) or to be asked (delegated).
    pub participants: Vec<ParticipantName>,
    /// Read-only branches that have left already.
    pub read_only: Vec<ParticipantName>,
    pub results: Vec<(PartName, Bytes)>,
}

/// A saga that recovery must carry on. Written anew with all its progress each time it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SagaRecord {
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    /// The time at which it compensates, unless it is past its pivot.
    pub deadline: Timestamp,
    pub steps: Vec<Arc<SagaStep>>,
    /// The reason for which the saga compensates, if it does.
    pub compensating: Option<AbortReason>,
    /// One for each step.
    pub progress: Vec<Progress>,
}

/// An open saga that recovery must carry on, without its steps: each has a [record of its own](JoinedRecord), for what is written
/// again at every joining grows with the square of the steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenedRecord {
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    /// The time at which it compensates, or is asked about, unless it was closed.
    pub deadline: Timestamp,
    pub terms: Terms,
    /// The question that is asked at that time, if there is one.
    pub check_back: Option<Arc<SagaStep>>,
    /// The open saga that it is a part of.
    pub parent: Option<ParentRecord>,
    /// As in [`Beginning::owner`](crate::Beginning::owner).
    pub owner: Option<Arc<str>>,
    pub state: OpenedState,
}

/// The place of a nested saga in its parent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParentRecord {
    pub tx: TxId,
    /// The number of steps that had joined the parent when the child began: it is undone before these, and after those that came later.
    pub after: StepIndex,
}

/// The terms on which an open transaction was begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    pub completions: Completions,
}

impl Terms {
    /// Returns true if its steps are completed by one two-phase commit: it is no saga then, for nothing of it is done before.
    pub fn are_two_phase(self) -> bool {
        self.completions == Completions::TwoPhase
    }
}

/// The way in which the steps of an open transaction are completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Completions {
    /// All at once: none waits for another.
    #[default]
    Together,
    /// One by one, in the order in which they joined.
    AsJoined,
    /// One by one, the last that joined first.
    Reversed,
    /// All or none, by two-phase commit. Steps have nothing but completions then, one at each participant.
    TwoPhase,
}

/// The state of an open saga: the first of a close, a cancellation and its deadline that is on record counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpenedState {
    Open,
    Closed,
    Compensating(AbortReason),
    /// It was closed and its steps completed, and as its parent turned back, so does it: what was completed is undone.
    Reverting(AbortReason),
}

/// A step of an open saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JoinedRecord {
    pub tx: TxId,
    /// The saga's.
    pub attempt_number: AttemptNumber,
    /// Its place, in the order in which steps joined.
    pub index: StepIndex,
    pub step: Arc<SagaStep>,
    /// Collision-free hash of what joined: other content under the same name is refused.
    pub digest: [u8; 32],
    /// The attempt number under which its participant knows the saga. A participant that is joined late may have seen its
    /// low-water mark pass that of the saga.
    pub at_participant: AttemptNumber,
    pub progress: Progress,
}

/// The progress of a step, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// The step has not begun, or is under way: its action may be in effect or not.
    Pending,
    /// Its action is in effect.
    Done { result: Bytes, pending: bool },
    /// Its action was refused, and the saga, which is an open one, heeds it no more.
    Refused(Refusal),
    /// It is completed, or there was nothing to complete.
    Completed { result: Bytes, pending: bool },
    /// Its action is not in effect, and never will be.
    Undone,
    /// An operator did without it: nobody vouches for its effect.
    Skipped,
}

/// A transaction that has not ended, as recovery finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unfinished {
    TwoPhase(OpenRecord),
    Saga(SagaRecord),
    /// An open saga, with the steps that have joined it, in their order.
    Opened(OpenedRecord, Vec<JoinedRecord>),
    /// A record that can be read, and not carried out.
    Unusable(UnusableRecord),
}

/// A transaction that cannot be carried out, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnusableRecord {
    pub saga: bool,
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    /// The participants that may hold something of it, as far as is known; each once.
    pub participants: Vec<ParticipantName>,
    /// The decision, if it is on record: whoever was told it is not to hear of another.
    pub decided: Option<Outcome>,
    /// The reason, for people.
    pub cause: String,
}

impl Unfinished {
    pub fn tx(&self) -> &TxId {
        match self {
            Unfinished::TwoPhase(open) => &open.tx,
            Unfinished::Saga(saga) => &saga.tx,
            Unfinished::Opened(opened, _) => &opened.tx,
            Unfinished::Unusable(unusable) => &unusable.tx,
        }
    }

    pub fn attempt_number(&self) -> AttemptNumber {
        match self {
            Unfinished::TwoPhase(open) => open.attempt_number,
            Unfinished::Saga(saga) => saga.attempt_number,
            Unfinished::Opened(opened, _) => opened.attempt_number,
            Unfinished::Unusable(unusable) => unusable.attempt_number,
        }
    }

    pub fn begun_at(&self) -> Timestamp {
        match self {
            Unfinished::TwoPhase(open) => open.begun_at,
            Unfinished::Saga(saga) => saga.begun_at,
            Unfinished::Opened(opened, _) => opened.begun_at,
            Unfinished::Unusable(unusable) => unusable.begun_at,
        }
    }

    /// Returns the highest attempt number that it has anywhere.
    pub(crate) fn last_attempt_number(&self) -> AttemptNumber {
        match self {
            Unfinished::Opened(opened, steps) => {
                let of_steps = steps.iter().map(|step| step.at_participant);
                of_steps.fold(opened.attempt_number, AttemptNumber::max)
            }
            Unfinished::TwoPhase(_) | Unfinished::Saga(_) | Unfinished::Unusable(_) => self.attempt_number(),
        }
    }

    /// Returns the participants that it names.
    pub fn participants(&self) -> Vec<ParticipantName> {
        self.clone().unusable(String::new()).participants
    }

    /// Returns the record by which it is held instead of carried out.
    pub fn unusable(self, cause: String) -> UnusableRecord {
        match self {
            Unfinished::TwoPhase(record) => {
                let OpenRecord { kind, tx, attempt_number, begun_at, digest, participants, read_only, .. } = record;
                let participants = once(participants.into_iter().chain(read_only));
                let decided = (kind == OpenKind::Committed).then_some(Outcome::Committed);
                UnusableRecord { saga: false, tx, attempt_number, begun_at, digest, participants, decided, cause }
            }
            Unfinished::Saga(record) => {
                let SagaRecord { tx, attempt_number, begun_at, digest, steps, compensating, progress, .. } = record;
                let decided = decided(compensating.as_ref(), &progress).filter(|_| steps.len() == progress.len());
                let participants = once(steps.iter().map(|step| step.participant.clone()));
                UnusableRecord { saga: true, tx, attempt_number, begun_at, digest, participants, decided, cause }
            }
            Unfinished::Opened(record, steps) => {
                let OpenedRecord { tx, attempt_number, begun_at, digest, state, terms, parent, .. } = record;
                let saga = !terms.are_two_phase();
                let decided = match state {
                    OpenedState::Open => None,
                    // That of a nested saga is decided with its parent's.
                    OpenedState::Closed => parent.is_none().then_some(Outcome::Committed),
                    OpenedState::Compensating(reason) | OpenedState::Reverting(reason) => {
                        Some(Outcome::Aborted(reason))
                    }
                };
                let participants = once(steps.iter().map(|step| step.step.participant.clone()));
                UnusableRecord { saga, tx, attempt_number, begun_at, digest, participants, decided, cause }
            }
            Unfinished::Unusable(record) => record,
        }
    }

    /// Returns the reason why it cannot be carried out, or `None`.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Unfinished::TwoPhase(record) => record.fault(),
            Unfinished::Saga(record) => record.fault(),
            Unfinished::Opened(record, steps) => record.fault(steps),
            Unfinished::Unusable(record) => Some(record.cause.clone()),
        }
    }
}

/// The end of a transaction. Kept for its retention time; replaces the open record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndedRecord {
    /// It ended as a saga, so an abort means that all was undone.
    pub saga: bool,
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    pub begun_at: Timestamp,
    pub digest: [u8; 32],
    pub outcome: Outcome,
    pub branches: Vec<EndedBranch>,
    /// Participants whose branches only read: they keep nothing of it.
    pub read_only: Vec<ParticipantName>,
    pub results: Vec<(PartName, Bytes)>,
}

/// What became of a branch, or of a saga's step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndedBranch {
    pub participant: ParticipantName,
    /// `None`: a branch. Beside the steps of a saga it belongs to an earlier attempt, by two-phase commit.
    pub step: Option<StepName>,
    pub outcome: BranchOutcome,
    pub barrier: Barrier,
}

/// The attempt number under which a participant keeps what it remembers of a branch or step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// Its transaction's.
    OfTransaction,
    /// This one, of a step that joined an open saga.
    Of(AttemptNumber),
    /// None: nothing is kept there of what was refused, nor of what was never asked for.
    Nowhere,
}

impl EndedBranch {
    /// Returns what became of a branch.
    pub fn new(participant: ParticipantName, outcome: BranchOutcome) -> EndedBranch {
        EndedBranch { participant, step: None, outcome, barrier: Barrier::OfTransaction }
    }

    /// Returns true if it is a step that was refused while its saga went on.
    fn was_refused(&self) -> bool {
        self.barrier == Barrier::Nowhere && self.outcome == BranchOutcome::Aborted
    }

    /// Returns the name of the step, or of the branch's participant.
    pub fn name(&self) -> &str {
        self.step.as_ref().map_or(self.participant.as_str(), StepName::as_str)
    }
}

/// The digest of a transaction whose content is not known.
pub(crate) const DIGEST_UNKNOWN: [u8; 32] = [0; 32];

/// Returns the outcome of a saga whose record says that every step is settled: that record is its decision.
pub fn decided(compensating: Option<&AbortReason>, progress: &[Progress]) -> Option<Outcome> {
    let is_settled = |step: &Progress| match step {
        Progress::Pending => false,
        Progress::Done { .. } | Progress::Completed { .. } => compensating.is_none(),
        Progress::Undone => compensating.is_some(),
        Progress::Skipped | Progress::Refused(_) => true,
    };
    let outcome = compensating.map_or(Outcome::Committed, |reason| Outcome::Aborted(reason.clone()));
    (!progress.is_empty() && progress.iter().all(is_settled)).then_some(outcome)
}

/// Returns each of them once, in their order.
pub(crate) fn once(names: impl Iterator<Item = ParticipantName>) -> Vec<ParticipantName> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(name.clone())).collect()
}

impl OpenRecord {
    fn fault(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.participants.iter().chain(&self.read_only).find(|name| !seen.insert(*name)) {
            return Some(format!("it names participant {twice} twice"));
        }
        match self.kind {
            OpenKind::Committed if self.participants.is_empty() => Some("it has nobody to tell its decision".into()),
            OpenKind::Delegated if self.participants.len() != 1 || !self.read_only.is_empty() => {
                Some(format!("it is delegated to {} participants instead of one", self.participants.len()))
            }
            OpenKind::Committed | OpenKind::Delegated => None,
        }
    }
}

impl SagaRecord {
    fn fault(&self) -> Option<String> {
        let steps: Vec<SagaStep> = self.steps.iter().map(|step| (**step).clone()).collect();
        if let Err(unsound) = saga::check_sound(&steps) {
            return Some(format!("its saga cannot be carried out, {unsound}"));
        }
        if steps.len() != self.progress.len() {
            return Some(format!("it has {} steps and the progress of {}", steps.len(), self.progress.len()));
        }
        let compensating = self.compensating.is_some();
        steps.iter().zip(&self.progress).find_map(|(SagaStep { name, compensation, .. }, progress)| match progress {
            Progress::Undone if !compensating => Some(format!("step {name} is undone, and the saga goes forward")),
            Progress::Pending | Progress::Done { .. } if compensating && compensation.is_none() => {
                Some(format!("step {name} is to be undone, and has no compensation"))
            }
            Progress::Refused(_) | Progress::Completed { .. } => {
                Some(format!("step {name} has come to what only a step of an open saga can"))
            }
            Progress::Pending | Progress::Done { .. } | Progress::Undone | Progress::Skipped => None,
        })
    }
}

impl JoinedRecord {
    fn is_check_back(&self) -> bool {
        self.step.name.as_str() == saga::CHECK_BACK
    }
}

impl OpenedRecord {
    fn fault(&self, steps: &[JoinedRecord]) -> Option<String> {
        let mut names = BTreeSet::new();
        steps.iter().enumerate().find_map(|(place, joined)| {
            let name = &joined.step.name;
            if usize::from(joined.index.0) != place || joined.attempt_number != self.attempt_number {
                return Some(format!("step {name} is not the one that joined as number {place}"));
            }
            if !names.insert(name) {
                return Some(format!("two steps are called {name}"));
            }
            let sound = match joined.is_check_back() {
                true => saga::check_check_back(&joined.step),
                false => saga::check_joining(&joined.step),
            };
            if let Err(unsound) = sound {
                return Some(format!("step {name} cannot be carried out, {unsound}"));
            }
            let fits = match (&joined.progress, &self.state) {
                (Progress::Completed { .. }, state) => matches!(state, OpenedState::Closed | OpenedState::Reverting(_)),
                (Progress::Undone, state) => {
                    matches!(state, OpenedState::Compensating(_) | OpenedState::Reverting(_))
                }
                (Progress::Pending, OpenedState::Closed | OpenedState::Reverting(_)) => {
                    joined.step.action.is_none() || joined.is_check_back()
                }
                (Progress::Pending | Progress::Done { .. } | Progress::Refused(_) | Progress::Skipped, _) => true,
            };
            (!fits).then(|| format!("step {name} is further than its saga, or less far"))
        })
    }
}

impl Record {
    pub fn stage(&self) -> Stage {
        match self {
            Record::Open(OpenRecord { kind: OpenKind::Delegated, .. }) => Stage::Delegated,
            Record::Open(OpenRecord { kind: OpenKind::Committed, .. }) => Stage::Committed,
            Record::Saga(SagaRecord { compensating: Some(_), .. }) => Stage::Compensating,
            Record::Saga(saga) if saga.progress.iter().all(|step| *step == Progress::Pending) => Stage::Begun,
            Record::Saga(_) => Stage::Stepped,
            Record::Opened(OpenedRecord { state: OpenedState::Open, .. }) => Stage::Opened,
            Record::Opened(OpenedRecord { state: OpenedState::Closed, .. }) => Stage::Closed,
            Record::Opened(OpenedRecord {
                state: OpenedState::Compensating(_) | OpenedState::Reverting(_), ..
            }) => Stage::Compensating,
            Record::Joined(JoinedRecord { progress: Progress::Pending, .. }) => Stage::Joined,
            Record::Joined(_) => Stage::Stepped,
            Record::Ended(_) => Stage::Ended,
        }
    }

    pub fn tx(&self) -> &TxId {
        match self {
            Record::Open(open) => &open.tx,
            Record::Saga(saga) => &saga.tx,
            Record::Opened(opened) => &opened.tx,
            Record::Joined(joined) => &joined.tx,
            Record::Ended(ended) => &ended.tx,
        }
    }

    pub fn attempt_number(&self) -> AttemptNumber {
        match self {
            Record::Open(open) => open.attempt_number,
            Record::Saga(saga) => saga.attempt_number,
            Record::Opened(opened) => opened.attempt_number,
            Record::Joined(joined) => joined.attempt_number,
            Record::Ended(ended) => ended.attempt_number,
        }
    }
}

impl EndedRecord {
    /// Returns the record of a transaction that left no trace, and so was aborted. Any content submitted under its id gets
    /// that answer.
    pub fn presumed(tx: TxId, attempt_number: AttemptNumber, now: Timestamp) -> EndedRecord {
        EndedRecord {
            saga: false,
            tx,
            attempt_number,
            begun_at: now,
            digest: DIGEST_UNKNOWN,
            outcome: Outcome::Aborted(AbortReason::Presumed),
            branches: Vec::new(),
            read_only: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Returns true if some branch ended otherwise than was decided, or nobody knows how (R3).
    pub fn is_damaged(&self) -> bool {
        // A branch of an earlier attempt, by two-phase commit, that was committed all the same: its work is there twice.
        let twice = |branch: &EndedBranch| {
            self.saga && branch.step.is_none() && branch.outcome == BranchOutcome::HeuristicallyCommitted
        };
        let is_damage =
            |branch: &EndedBranch| twice(branch) || (!branch.was_refused() && damages(&self.outcome, branch.outcome));
        self.branches.iter().any(is_damage)
    }

    /// Adds a branch's heuristic outcome that became known after the end (R3). Branches keep their order; those of a
    /// transaction that was presumed aborted, whose record names none, come in the order of their names.
    pub fn with_branch(mut self, participant: ParticipantName, outcome: BranchOutcome) -> EndedRecord {
        let saga = self.saga;
        let may_be_it = |known: BranchOutcome| match known {
            BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted => true,
            // Of a saga that was given up, it is told of all that its steps did there.
            BranchOutcome::Committed | BranchOutcome::Aborted | BranchOutcome::Unknown => !saga,
        };
        let is_it = |known: &&mut EndedBranch| {
            known.step.is_none() && known.participant == participant && may_be_it(known.outcome)
        };
        match self.branches.iter_mut().find(is_it) {
            Some(known) => known.outcome = outcome,
            None if self.saga => self.branches.push(EndedBranch::new(participant, outcome)),
            None => {
                let at = self.branches.partition_point(|known| known.participant < participant);
                self.branches.insert(at, EndedBranch::new(participant, outcome));
            }
        }
        self
    }
}

fn damages(outcome: &Outcome, branch: BranchOutcome) -> bool {
    match (outcome, branch) {
        (_, BranchOutcome::Unknown) => true,
        (Outcome::Committed, BranchOutcome::Committed | BranchOutcome::HeuristicallyCommitted) => false,
        (Outcome::Committed, BranchOutcome::Aborted | BranchOutcome::HeuristicallyAborted) => true,
        (Outcome::Aborted(_), BranchOutcome::Aborted | BranchOutcome::HeuristicallyAborted) => false,
        (Outcome::Aborted(_), BranchOutcome::Committed | BranchOutcome::HeuristicallyCommitted) => true,
    }
}
