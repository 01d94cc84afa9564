//! Steps of a saga, as an application builds them.

use crate::error::InvalidTransaction;
use crate::kv::KvWork;
use bytes::Bytes;
use std::collections::BTreeSet;
use undoubt_proto::v1;
use undoubt_vocabulary::limits::MAX_WORK_BYTES;
use undoubt_vocabulary::{InvalidId, ParticipantName, RetryPolicy, SagaStep, StepIndex, StepName, TxId, saga};

/// One step: a local transaction at one participant, and what undoes it.
///
/// Steps run one after the other in the order they are given, unless [`after`](Step::after) says otherwise. What is wrong
/// with a step is said when its transaction is submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    name: String,
    participant: String,
    action: Work,
    compensation: Option<Work>,
    after: Option<Vec<String>>,
    uses: Vec<String>,
    pivot: bool,
    retry: RetryPolicy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    Raw(Bytes),
    Kv(KvWork),
}

impl Step {
    /// A step for a key-value participant.
    pub fn kv(name: &str, participant: &str, action: KvWork) -> Self {
        Step::new(name, participant, Work::Kv(action))
    }

    /// A step in a participant's own format.
    pub fn raw(name: &str, participant: &str, action: impl Into<Bytes>) -> Self {
        Step::new(name, participant, Work::Raw(action.into()))
    }

    fn new(name: &str, participant: &str, action: Work) -> Self {
        Step {
            name: name.to_owned(),
            participant: participant.to_owned(),
            action,
            compensation: None,
            after: None,
            uses: Vec::new(),
            pivot: false,
            retry: RetryPolicy::default(),
        }
    }

    /// What undoes the action. Needed before the pivot.
    #[must_use]
    pub fn undo_kv(self, compensation: KvWork) -> Self {
        Step { compensation: Some(Work::Kv(compensation)), ..self }
    }

    /// The same in the participant's own format.
    #[must_use]
    pub fn undo_raw(self, compensation: impl Into<Bytes>) -> Self {
        Step { compensation: Some(Work::Raw(compensation.into())), ..self }
    }

    /// Steps that have to be done before this one begins; with none at all it begins at once.
    #[must_use]
    pub fn after(self, steps: &[&str]) -> Self {
        Step { after: Some(steps.iter().map(|&step| step.to_owned()).collect()), ..self }
    }

    /// Hands the results of these steps to the participant. Key-value work that [refers](crate::kv::Reference) to steps
    /// needs not say so.
    #[must_use]
    pub fn uses(mut self, steps: &[&str]) -> Self {
        self.uses.extend(steps.iter().map(|&step| step.to_owned()));
        self
    }

    /// The point of no return: once this is done the saga goes forward only.
    #[must_use]
    pub fn pivot(self) -> Self {
        Step { pivot: true, ..self }
    }

    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Step { retry, ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn participant(&self) -> &str {
        &self.participant
    }

    /// The action, if it is for a key-value participant.
    pub fn kv_action(&self) -> Option<&KvWork> {
        match &self.action {
            Work::Kv(work) => Some(work),
            Work::Raw(_) => None,
        }
    }

    /// Keeps what becomes of it in the participant's store. Answers whether its work can.
    pub(crate) fn keep_outcome(&mut self, key: &Bytes, tx: &TxId) -> bool {
        match (&mut self.action, &mut self.compensation) {
            (Work::Kv(action), None) => action.keep_outcome(key, "committed", tx),
            (Work::Kv(action), Some(Work::Kv(compensation))) => {
                action.keep_outcome(key, "acted", tx);
                compensation.keep_outcome(key, "compensated", tx);
            }
            (Work::Raw(_), _) | (_, Some(Work::Raw(_))) => return false,
        }
        true
    }

    /// What is used, each step once, in the order in which it is first named.
    fn all_used(&self) -> Vec<&str> {
        let works = [Some(&self.action), self.compensation.as_ref()].into_iter().flatten();
        let referred = works.flat_map(|work| match work {
            Work::Kv(work) => work.referred_steps(),
            Work::Raw(_) => Vec::new(),
        });
        let mut seen = BTreeSet::from([self.name.as_str()]);
        self.uses.iter().map(String::as_str).chain(referred).filter(|name| seen.insert(name)).collect()
    }
}

/// All steps in their wire form, checked as the coordinator will check them.
pub(crate) fn to_wire(steps: &[Step], check_whole: bool) -> Result<Vec<v1::SagaStep>, InvalidTransaction> {
    let resolved: Vec<SagaStep> =
        steps.iter().enumerate().map(|(index, step)| resolve(steps, index, step)).collect::<Result<_, _>>()?;
    if check_whole {
        saga::check(&resolved).map_err(InvalidTransaction::Saga)?;
    }
    Ok(resolved.iter().map(v1::SagaStep::from).collect())
}

fn resolve(steps: &[Step], index: usize, step: &Step) -> Result<SagaStep, InvalidTransaction> {
    let name =
        |text: &str| text.parse::<ParticipantName>().map_err(|bad: InvalidId| InvalidTransaction::Participant(bad));
    let place = |wanted: &str| {
        let at = steps.iter().position(|other| other.name == wanted);
        let at = at.and_then(|at| u16::try_from(at).ok()).map(StepIndex);
        at.ok_or_else(|| InvalidTransaction::NoSuchStep { step: step.name.clone(), named: wanted.to_owned() })
    };
    let uses = step.all_used();
    let after = match &step.after {
        Some(after) => after.iter().map(|name| place(name)).collect::<Result<_, _>>()?,
        None => index.checked_sub(1).and_then(|before| u16::try_from(before).ok()).map(StepIndex).into_iter().collect(),
    };
    let encode = |work: &Work, own: Option<&str>| {
        let inputs: Vec<&str> = uses.iter().copied().chain(own).collect();
        let participant = name(&step.participant)?;
        let work = match work {
            Work::Raw(work) => work.clone(),
            Work::Kv(work) => work
                .encode_with(&inputs)
                .map_err(|cause| InvalidTransaction::Kv { participant: participant.clone(), cause })?,
        };
        let (length, max) = (work.len(), MAX_WORK_BYTES);
        if length > max { Err(InvalidTransaction::WorkTooLarge { participant, length, max }) } else { Ok(work) }
    };
    Ok(SagaStep {
        name: name(&step.name)? as StepName,
        participant: name(&step.participant)?,
        action: encode(&step.action, None)?,
        compensation: step.compensation.as_ref().map(|work| encode(work, Some(&step.name))).transpose()?,
        after,
        uses: uses.iter().map(|name| place(name)).collect::<Result<_, _>>()?,
        pivot: step.pivot,
        retry: step.retry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Reference;

    fn step(name: &str) -> Step {
        Step::kv(name, "bank", KvWork::new().add("x", 1)).undo_kv(KvWork::new().add("x", -1))
    }

    #[test]
    fn steps_are_a_sequence_unless_they_say_otherwise() {
        let wire = to_wire(&[step("a"), step("b"), step("c").after(&["a"])], true).unwrap();
        assert_eq!(wire.iter().map(|step| step.after.clone()).collect::<Vec<_>>(), [vec![], vec![0], vec![0]]);
    }

    #[test]
    fn what_work_refers_to_is_used_once_in_the_order_of_its_names() {
        let book = KvWork::new()
            .put("seat", "")
            .value_from(Reference::to("b", 0))
            .get("x")
            .key_suffix_from(Reference::to("a", 0));
        let undo = KvWork::new().delete("seat/").key_suffix_from(Reference::to("c", 1));
        let wire = to_wire(&[step("a"), step("b"), Step::kv("c", "bank", book).undo_kv(undo)], true).unwrap();
        assert_eq!(wire[2].uses, [1, 0]);
    }

    #[test]
    fn what_cannot_be_is_refused_before_it_is_sent() {
        let error = |steps: &[Step]| to_wire(steps, true).unwrap_err().to_string();
        assert!(error(&[Step::kv("a", "bank", KvWork::new().get("x"))]).contains("steps[0].compensation"));
        assert!(error(&[step("a").after(&["z"])]).contains("z"));
        let unknown = KvWork::new().get("x").key_suffix_from(Reference::to("z", 0));
        assert!(error(&[Step::kv("a", "bank", unknown).pivot()]).contains("z"));
        let own = KvWork::new().get("x").key_suffix_from(Reference::to("a", 0));
        assert!(error(&[Step::kv("a", "bank", own).pivot()]).contains("a"));
        assert!(error(&[step("a b")]).contains("a b"));
    }
}
