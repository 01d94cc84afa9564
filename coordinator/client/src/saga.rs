//! A saga, as an application builds it.

pub(crate) mod definition;

use crate::auto::Auto;
use crate::error::InvalidSubmission;
use crate::step::Step;
use crate::submission::Terms;
use bytes::Bytes;
use std::time::Duration;
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;

/// Steps that are committed one by one, and undone in reverse if one fails, under one id.
///
/// Nobody waits for anybody, but others may see and use what is half done. What is wrong with a saga is said when it is
/// submitted.
#[derive(Clone, Debug)]
pub struct Saga {
    pub(crate) terms: Terms,
    steps: Vec<Step>,
    /// The first thing that went wrong while building.
    problem: Option<InvalidSubmission>,
}

impl Saga {
    /// Returns a new saga under a new id, the text of a UUID of version 7.
    #[allow(clippy::new_without_default, reason = "every one is another: a default should be always the same")]
    pub fn new() -> Self {
        Saga::of(Terms::drawn())
    }

    /// Returns a saga under an id of the application's own. Draw it once for each thing to be done, and keep it: the same
    /// id with the same content is the same saga, with other content it is refused.
    pub fn with_id(id: TxId) -> Self {
        Saga::of(Terms::under(id))
    }

    fn of(terms: Terms) -> Self {
        Saga { terms, steps: Vec::new(), problem: None }
    }

    /// Adds a step; see [`Step`] for their order.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Sets the time for which the coordinator tries to come past the pivot, from receipt on; then the saga compensates.
    /// Without, the coordinator's own default holds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// Sets `http://host:port/path`, which hears the outcome by a POST, at least once, also after restarts. For
    /// [`Client::submit_no_wait`](crate::Client::submit_no_wait).
    #[must_use]
    pub fn callback(mut self, url: &str) -> Self {
        self.terms.callback = Some(url.to_owned());
        self
    }

    /// Sets the W3C trace context in which the coordinator and the participants record what they do: the texts of the headers
    /// `traceparent` and `tracestate` (which may be empty). What cannot be read is ignored, and the transaction is carried out without.
    #[must_use]
    pub fn trace_context(mut self, traceparent: &str, tracestate: &str) -> Self {
        self.terms.trace(traceparent, tracestate);
        self
    }

    /// Keeps what becomes of it in a participant's own store, under this key, for whoever reads there instead of asking the
    /// coordinator. Give it after the steps: all that the participant has been given until then write the key too, in the
    /// same local transactions.
    ///
    /// | value | means |
    /// | --- | --- |
    /// | `committed ID` | It is past its pivot: nothing undoes it any more. |
    /// | `acted ID` | A step is in effect there, and may yet be undone. Not where auto went by two-phase commit. |
    /// | `compensated ID` | It compensates, and that step is undone. |
    ///
    /// A saga that was compensated before it came there leaves no trace. Only the pivot and steps after it leave `committed`:
    /// without any there, `acted` is the last word of a saga that succeeds.
    #[must_use]
    pub fn outcome_at(mut self, participant: &str, key: impl Into<Bytes>) -> Self {
        let (key, mut kept) = (key.into(), false);
        for step in self.steps.iter_mut().filter(|step| step.participant() == participant) {
            kept |= step.keep_outcome(&key, &self.terms.id);
        }
        if !kept {
            let participant = participant.to_owned();
            self.problem.get_or_insert(InvalidSubmission::NoWorkForOutcome { participant });
        }
        self
    }

    /// Lets the coordinator choose: two-phase commit of the steps' actions where that can be, else the saga. Say it last.
    #[must_use]
    pub fn auto(self) -> Auto {
        Auto::new(self)
    }

    /// Returns the id under which it is submitted.
    pub fn id(&self) -> &TxId {
        &self.terms.id
    }

    /// Returns the steps in the order given.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the steps, unless building them went wrong.
    pub(crate) fn checked_steps(&self) -> Result<&[Step], InvalidSubmission> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None if self.steps.is_empty() => Err(InvalidSubmission::NoSteps),
            None => Ok(&self.steps),
        }
    }

    pub(crate) fn request(&self) -> Result<v1::SubmitRequest, InvalidSubmission> {
        let steps = definition::to_wire(self.checked_steps()?, true)?;
        Ok(v1::SubmitRequest { steps, ..self.terms.request(v1::Mode::Saga) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::Submission;
    use prost::Message;
    use undoubt_proto::work as wire;
    use undoubt_work::Work;
    use undoubt_work::kv::KvWork;

    fn step(name: &str, at: &str) -> Step {
        Step::new(name, at, KvWork::new().get("x"))
    }

    #[test]
    fn the_outcome_is_kept_with_every_step_of_the_participant() {
        let undone = step("take", "a").undo(KvWork::new().get("z"));
        let saga = Saga::with_id("t".parse().unwrap()).step(undone).step(step("give", "a").pivot());
        let saga = saga.outcome_at("a", "order");
        let acted = KvWork::new().get("x").put("order", "acted t").value_in_branch("committed t");
        let take = Step::new("take", "a", acted);
        let give = Step::new("give", "a", KvWork::new().get("x").put("order", "committed t")).pivot();
        let back = KvWork::new().get("z").put("order", "compensated t");
        assert_eq!(saga.steps(), [take.undo(back), give]);
        let taken = |submission: Submission| {
            let action = submission.request().unwrap().steps[0].action.clone().unwrap();
            let Some(wire::operation::Kind::Put(put)) = wire::Work::decode(action).unwrap().operations[1].kind.clone()
            else {
                panic!("the key is put last");
            };
            (put.value, put.value_in_branch)
        };
        assert_eq!(taken((&saga).into()), ("acted t".into(), None));
        let either = taken(saga.auto().into());
        assert_eq!(either, ("acted t".into(), Some("committed t".into())), "it may go either way");
    }

    #[test]
    fn an_outcome_that_no_step_could_keep_is_refused() {
        let raw = Step::new("pay", "raw", Work::raw("w")).pivot();
        for nowhere in ["b", "raw", "a b"] {
            let saga = Saga::new().step(raw.clone()).outcome_at(nowhere, "order");
            let error = saga.request().unwrap_err().to_string();
            assert!(error.contains(nowhere) && error.contains("give that first"), "{error}");
        }
    }

    #[test]
    fn a_saga_without_steps_is_refused() {
        assert_eq!(Saga::new().request(), Err(InvalidSubmission::NoSteps));
    }
}
