//! Sagas: steps that commit one by one, each with what undoes it (Garcia-Molina and Salem, "Sagas", 1987).

use crate::id::{AttemptNumber, ParticipantName, StepName, TxId};
use crate::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_TRANSACTION_BYTES};
use crate::outcome::Refusal;
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// A step by its place in its saga's definition, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepIndex(pub u16);

/// The direction in which a step runs: forward, by its action; compensating, by its compensation; completing, by its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The step runs its action.
    Forward,
    /// The step runs its compensation.
    Compensating,
    /// The step runs its completion, once its saga was closed.
    Completing,
}

impl Direction {
    /// Returns what runs in this direction, for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Forward => "action",
            Direction::Compensating => "compensation",
            Direction::Completing => "completion",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A step that waits for an operator: what it was to run was refused for good, and the saga has no other way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StuckStep {
    /// The step's name.
    pub step: StepName,
    /// The step's participant.
    pub participant: ParticipantName,
    /// The direction in which it was refused: its action, its compensation or its completion.
    pub direction: Direction,
    /// The last refusal by its participant.
    pub refusal: Refusal,
}

impl fmt::Display for StuckStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StuckStep { step, participant, direction, refusal } = self;
        write!(f, "the {direction} of step {step} was refused for good by {participant} ({refusal})")
    }
}

/// The action, the compensation or the completion of one step, to be run as a local transaction. What makes it idempotent, its barrier,
/// is stored in that same local transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunStep {
    pub tx: TxId,
    pub attempt_number: AttemptNumber,
    pub step: StepIndex,
    pub direction: Direction,
    /// Its caller has done the action himself, so that it may be in effect though its participant knows nothing of it.
    pub acted_elsewhere: bool,
    /// It asks whether the transaction of which it is the check-back has been done: done, a refusal by
    /// [`RefusalCode::Condition`](crate::RefusalCode::Condition) for failed, and anything else for not known yet.
    pub check_back: bool,
    /// The number of the attempt at this step in this direction, from 1. A higher one may be run again after a refusal;
    /// the same one, or a lower one, is a repetition.
    pub attempt: u32,
    /// The time at which the saga began: its age in wait-die (R12).
    pub begun_at: Timestamp,
    /// The time for which it may wait for locks, counted from receipt.
    pub timeout: Duration,
    /// Opaque to all but the resource manager.
    pub work: Bytes,
    /// Results of the steps that this one [`uses`](SagaStep::uses), in that order. A compensation or a completion is given that of
    /// its action besides, at the end: by its participant, or by the coordinator where that was completed before as another step.
    pub inputs: Vec<Bytes>,
}

impl RunStep {
    /// Returns the bytes of its work and inputs.
    pub fn payload_bytes(&self) -> usize {
        self.work.len() + self.inputs.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The outcome of running a step's action, compensation or completion.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepOutcome {
    /// The step is in effect, durably. `pending`: it left semantic locks, which end with the saga.
    Done { result: Bytes, pending: bool },
    /// Empty compensation: its action never ran, and never will.
    Empty,
    /// The step was refused and left nothing behind.
    Refused(Refusal),
}

/// The policy of repeating a step: how often and how fast it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RetryPolicy {
    /// The most attempts; at least 1. After as many that were not answered, or refused for now, a step before the pivot
    /// has the saga compensated; a refusal for good has it compensated at once. Where there is no way but on, it is
    /// stuck once it was refused for good so often.
    pub max_attempts: u32,
    /// Doubles with each attempt, up to `max_pause`; spread over its upper half.
    pub first_pause: Duration,
    /// No pause is longer.
    pub max_pause: Duration,
    /// An attempt that is not answered for so long counts as failed.
    pub attempt_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 5,
            first_pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(3),
        }
    }
}

/// A step as it was submitted, or as it joined an open saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SagaStep {
    pub name: StepName,
    pub participant: ParticipantName,
    /// The work that the coordinator has the participant do. `None`: the caller does it himself once the step has joined, which
    /// only steps of an open saga may leave to him.
    pub action: Option<Bytes>,
    /// Undoes the action. A step that was submitted needs one unless it is the pivot or comes after it.
    pub compensation: Option<Bytes>,
    /// The work that follows once an open saga is closed.
    pub completion: Option<Bytes>,
    /// Steps that have to be done before this one begins. Steps without an order between them run side by side.
    pub after: Vec<StepIndex>,
    /// Steps before this one whose results its action and its compensation are given.
    pub uses: Vec<StepIndex>,
    /// The point of no return: once it is done the saga goes forward only.
    pub pivot: bool,
    pub retry: RetryPolicy,
}

impl SagaStep {
    /// Returns the bytes of its action, its compensation and its completion.
    pub fn work_bytes(&self) -> usize {
        [&self.action, &self.compensation, &self.completion].into_iter().flatten().map(Bytes::len).sum()
    }

    /// Returns what runs in this direction.
    pub fn work(&self, direction: Direction) -> Option<&Bytes> {
        match direction {
            Direction::Forward => self.action.as_ref(),
            Direction::Compensating => self.compensation.as_ref(),
            Direction::Completing => self.completion.as_ref(),
        }
    }
}

/// The reason why a definition is no saga, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{path}: {what}")]
pub struct InvalidSaga {
    /// `steps[2].uses[0]`
    pub path: String,
    /// What is wrong there, and what to do.
    pub what: String,
}

/// Refuses a definition that could not be carried out, or not be undone, or is larger than it needs to be.
pub fn check(steps: &[SagaStep]) -> Result<(), InvalidSaga> {
    let fault = |path: String, what: String| Err(InvalidSaga { path, what });
    let bytes: usize = steps.iter().map(SagaStep::work_bytes).sum();
    if bytes > MAX_TRANSACTION_BYTES {
        let what = format!("the work of all steps has {bytes} bytes, more than the {MAX_TRANSACTION_BYTES} allowed");
        return fault("steps".into(), what);
    }
    for (index, step) in steps.iter().enumerate() {
        for (field, named) in [("after", &step.after), ("uses", &step.uses)] {
            if let Some(place) = (0..named.len()).find(|place| named[..*place].contains(&named[*place])) {
                let what = format!("step {} is named already; name it once", named[place].0);
                return fault(format!("steps[{index}].{field}[{place}]"), what);
            }
        }
    }
    check_sound(steps)
}

/// Refuses a definition that could not be carried out, or not be undone. So much holds of those that earlier versions have
/// let in, too.
pub fn check_sound(steps: &[SagaStep]) -> Result<(), InvalidSaga> {
    let fault = |path: String, what: String| Err(InvalidSaga { path, what });
    if steps.is_empty() {
        return fault("steps".into(), "a saga needs at least one step; give it one".into());
    }
    let (count, max) = (steps.len(), MAX_BRANCHES_PER_TRANSACTION);
    if count > max {
        return fault("steps".into(), format!("{count} steps are more than the {max} a saga may have; split it"));
    }
    let mut names = BTreeSet::new();
    for (index, step) in steps.iter().enumerate() {
        let at = |field: &str| format!("steps[{index}].{field}");
        if !names.insert(&step.name) {
            return fault(at("name"), format!("another step is called {} as well; give it its own name", step.name));
        }
        if step.action.is_none() {
            return fault(at("action"), "only a step that joins an open saga can do without; give it one".into());
        }
        if step.completion.is_some() {
            return fault(at("completion"), "only a step that joins an open saga is completed; leave it out".into());
        }
        for (place, other) in step.after.iter().enumerate() {
            let path = at(&format!("after[{place}]"));
            if usize::from(other.0) >= steps.len() {
                return fault(path, format!("there is no step {}; the last one is {}", other.0, steps.len() - 1));
            }
        }
        check_policy(step, &at)?;
    }
    if let Some(index) = (0..steps.len()).find(|index| ancestors(steps, *index).contains(index)) {
        let what =
            format!("step {} waits for itself, over the steps it comes after; break the cycle", steps[index].name);
        return fault(format!("steps[{index}].after"), what);
    }
    for (index, step) in steps.iter().enumerate() {
        let before = ancestors(steps, index);
        for (place, used) in step.uses.iter().enumerate() {
            if !before.contains(&usize::from(used.0)) {
                let what =
                    format!("step {} does not come before this one; only results of earlier steps can be used", used.0);
                return fault(format!("steps[{index}].uses[{place}]"), what);
            }
        }
    }
    check_pivot(steps)
}

fn check_policy(step: &SagaStep, at: &dyn Fn(&str) -> String) -> Result<(), InvalidSaga> {
    let fault = |field: &str, what: &str| Err(InvalidSaga { path: at(field), what: what.into() });
    if step.retry.max_attempts == 0 {
        return fault("retry.max_attempts", "0 attempts would never run it; give at least 1");
    }
    if step.retry.attempt_timeout.is_zero() {
        return fault("retry.attempt_timeout", "0 leaves no time for an answer; give at least 1 ms");
    }
    Ok(())
}

/// The name of the step that is the check-back of an open saga.
pub const CHECK_BACK: &str = "check-back";

/// The distance between the number of a step and that of what undoes it after its completion, when a nested saga is turned back with
/// its parent: to its participant that is a step of its own. No saga has as many steps.
pub const UNDONE_ANEW: u16 = 128;

/// Returns the number under which a participant knows what undoes the step with this number after its completion; `None` if the
/// number is of what undoes already.
pub fn undone_anew(step: StepIndex) -> Option<StepIndex> {
    (step.0 < UNDONE_ANEW).then(|| StepIndex(step.0 + UNDONE_ANEW))
}

/// Returns the number of the step that a participant knows under this one.
pub fn place_of(step: StepIndex) -> StepIndex {
    StepIndex(step.0 % UNDONE_ANEW)
}

/// Refuses a check-back that cannot be asked: it has an action, which asks, and nothing else.
pub fn check_check_back(step: &SagaStep) -> Result<(), InvalidSaga> {
    let at = |field: &str| format!("check_back.{field}");
    let fault = |field: &str, what: &str| Err(InvalidSaga { path: at(field), what: what.into() });
    if step.name.as_str() != CHECK_BACK {
        return fault("name", "it is called check-back; leave the name out");
    }
    if step.action.is_none() {
        return fault("action", "it has nothing to ask; give it an action");
    }
    if step.compensation.is_some() || step.completion.is_some() {
        return fault("compensation", "to ask changes nothing, so nothing follows it; leave it out");
    }
    if !step.after.is_empty() || !step.uses.is_empty() || step.pivot {
        return fault("after", "it is asked when the time is over; leave its order out");
    }
    check_policy(step, &at)
}

/// Refuses a step that cannot join an open saga, in which steps have no order of their own: they go back in the reverse of the
/// order in which they joined.
pub fn check_joining(step: &SagaStep) -> Result<(), InvalidSaga> {
    let at = |field: &str| format!("step.{field}");
    let fault = |field: &str, what: &str| Err(InvalidSaga { path: at(field), what: what.into() });
    if !step.after.is_empty() || !step.uses.is_empty() {
        return fault("after", "a step of an open saga runs when it joins; put into its work what it needs of others");
    }
    if step.name.as_str() == CHECK_BACK {
        return fault("name", "this name is the check-back's; give it another");
    }
    if step.pivot {
        return fault("pivot", "the closing of an open saga is its pivot; leave it out");
    }
    match (&step.action, &step.compensation, &step.completion) {
        (Some(_), None, _) => {
            return fault("compensation", "its action may have to be undone when the saga is cancelled; give it one");
        }
        (None, None, None) => {
            return fault("action", "it has nothing to do; give it an action, a compensation or a completion");
        }
        (Some(_), Some(_), _) | (None, Some(_), _) | (None, None, Some(_)) => {}
    }
    check_policy(step, &at)
}

fn check_pivot(steps: &[SagaStep]) -> Result<(), InvalidSaga> {
    let mut pivots = (0..steps.len()).filter(|index| steps[*index].pivot);
    let pivot = pivots.next();
    if let (Some(pivot), Some(second)) = (pivot, pivots.next()) {
        let what = format!("step {} is the pivot already; a saga has one point of no return", steps[pivot].name);
        return Err(InvalidSaga { path: format!("steps[{second}].pivot"), what });
    }
    for (index, step) in steps.iter().enumerate() {
        let is_after = pivot.is_some_and(|pivot| ancestors(steps, index).contains(&pivot));
        let is_before = pivot.is_none_or(|pivot| ancestors(steps, pivot).contains(&index));
        let fault =
            |field: &str, what: &str| Err(InvalidSaga { path: format!("steps[{index}].{field}"), what: what.into() });
        match (step.pivot || is_after, &step.compensation) {
            (true, Some(_)) => {
                return fault("compensation", "nothing is undone from the pivot on; leave the compensation out");
            }
            (false, None) => {
                return fault(
                    "compensation",
                    "it may have to be undone: give it a compensation, or make it the pivot or a step after it",
                );
            }
            (true, None) | (false, Some(_)) => {}
        }
        if !step.pivot && !is_after && !is_before {
            return fault("after", "it has no order with the pivot: put it before the pivot, or after it");
        }
    }
    Ok(())
}

/// Returns all steps that have to be done before this one. Contains the step itself if it waits for itself.
pub fn ancestors(steps: &[SagaStep], index: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<usize> = steps[index].after.iter().map(|step| usize::from(step.0)).collect();
    while let Some(next) = waiting.pop() {
        if next < steps.len() && found.insert(next) {
            waiting.extend(steps[next].after.iter().map(|step| usize::from(step.0)));
        }
    }
    found
}

/// Returns the steps that a step [comes after](SagaStep::after), in their order and each once, without those that come
/// before another of them. Two definitions in which these are the same mean the same order.
pub fn directly_before(steps: &[SagaStep], index: usize) -> Vec<StepIndex> {
    let after: BTreeSet<StepIndex> = steps[index].after.iter().copied().collect();
    let before = |step: &StepIndex| {
        let place = usize::from(step.0);
        if place < steps.len() { ancestors(steps, place) } else { BTreeSet::new() }
    };
    let all_before: Vec<_> = after.iter().map(|step| (*step, before(step))).collect();
    let is_implied = |step: StepIndex| {
        all_before.iter().any(|(other, before)| *other != step && before.contains(&usize::from(step.0)))
    };
    after.into_iter().filter(|step| !is_implied(*step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, after: &[u16]) -> SagaStep {
        SagaStep {
            name: name.parse().unwrap(),
            participant: "bank".parse().unwrap(),
            action: Some(Bytes::from_static(b"do")),
            compensation: Some(Bytes::from_static(b"undo")),
            completion: None,
            after: after.iter().copied().map(StepIndex).collect(),
            uses: Vec::new(),
            pivot: false,
            retry: RetryPolicy::default(),
        }
    }

    fn pivot(name: &str, after: &[u16]) -> SagaStep {
        SagaStep { pivot: true, ..retriable(name, after) }
    }

    fn retriable(name: &str, after: &[u16]) -> SagaStep {
        SagaStep { compensation: None, ..step(name, after) }
    }

    fn path(steps: &[SagaStep]) -> String {
        check(steps).map_or_else(|fault| fault.path, |()| String::new())
    }

    #[test]
    fn sequences_graphs_and_pivots_are_fine() {
        assert_eq!(path(&[step("a", &[])]), "");
        assert_eq!(path(&[step("a", &[]), step("b", &[0]), pivot("c", &[1]), retriable("d", &[2])]), "");
        assert_eq!(path(&[step("a", &[]), step("b", &[]), pivot("c", &[0, 1]), retriable("d", &[2])]), "");
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        assert_eq!(path(&[]), "steps");
        assert_eq!(path(&[step("a", &[]), step("a", &[])]), "steps[1].name");
        assert_eq!(path(&[step("a", &[1])]), "steps[0].after[0]");
        assert_eq!(path(&[step("a", &[1]), step("b", &[0])]), "steps[0].after");
        assert_eq!(path(&[retriable("a", &[])]), "steps[0].compensation");
        assert_eq!(path(&[pivot("a", &[]), step("b", &[0])]), "steps[1].compensation");
        assert_eq!(path(&[pivot("a", &[]), pivot("b", &[0])]), "steps[1].pivot");
        assert_eq!(path(&[step("a", &[]), pivot("b", &[])]), "steps[0].after");
        let unknown = SagaStep { uses: vec![StepIndex(1)], ..step("a", &[]) };
        assert_eq!(path(&[unknown, step("b", &[])]), "steps[0].uses[0]");
        assert_eq!(path(&[step("a", &[]), step("b", &[0, 0])]), "steps[1].after[1]");
        let twice = SagaStep { uses: vec![StepIndex(0), StepIndex(0)], ..step("b", &[0]) };
        assert_eq!(path(&[step("a", &[]), twice]), "steps[1].uses[1]");
        let never = SagaStep { retry: RetryPolicy { max_attempts: 0, ..RetryPolicy::default() }, ..step("a", &[]) };
        assert_eq!(path(&[never]), "steps[0].retry.max_attempts");
    }
}
