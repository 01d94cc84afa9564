//! A transaction by two-phase commit, as an application builds it.

use crate::error::InvalidSubmission;
use crate::step;
use crate::submission::Terms;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_proto::v1;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_TRANSACTION_BYTES, MAX_WORK_BYTES};
use undoubt_vocabulary::{InvalidId, ParticipantName, TxId};
use undoubt_work::{NotMergeable, Work};

/// What is to be done all or nothing, by two-phase commit, under one id.
///
/// A participant has one branch, whatever order its work is given in: several pieces of work are merged, raw work cannot
/// be. What is wrong with a transaction is said when it is submitted.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub(crate) terms: Terms,
    branches: BTreeMap<ParticipantName, Work>,
    /// The first thing that went wrong while building.
    problem: Option<InvalidSubmission>,
}

impl Transaction {
    /// Returns a new transaction under a new id, the text of a UUID of version 7.
    #[allow(clippy::new_without_default, reason = "every one is another: a default should be always the same")]
    pub fn new() -> Self {
        Transaction::of(Terms::drawn())
    }

    /// Returns a transaction under an id of the application's own. Draw it once for each thing to be done, and keep it: the
    /// same id with the same content is the same transaction, with other content it is refused.
    pub fn with_id(id: TxId) -> Self {
        Transaction::of(Terms::under(id))
    }

    fn of(terms: Terms) -> Self {
        Transaction { terms, branches: BTreeMap::new(), problem: None }
    }

    /// Adds work for a participant.
    #[must_use]
    pub fn on(mut self, participant: &str, work: impl Into<Work>) -> Self {
        if let Err(problem) = self.try_enlist(participant, work.into()) {
            self.problem.get_or_insert(problem);
        }
        self
    }

    /// Sets the time for which the coordinator tries to reach a commit, from receipt until the decision; then it aborts.
    /// Without, its own default holds.
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

    /// Keeps the outcome in a participant's own store, under this key, for whoever reads there instead of asking the
    /// coordinator. Give it after the work: all that the participant has been given until then writes the key too, in the
    /// same local transaction. The value is `committed ID`; an abort leaves no trace.
    #[must_use]
    pub fn outcome_at(mut self, participant: &str, key: impl Into<Bytes>) -> Self {
        let branch = self.branches.iter_mut().find(|(name, _)| name.as_str() == participant);
        match branch.map(|(_, work)| work).filter(|work| work.can_keep()) {
            Some(work) => work.keep(&key.into(), step::word("committed", &self.terms.id), None),
            None => {
                let participant = participant.to_owned();
                self.problem.get_or_insert(InvalidSubmission::NoWorkForOutcome { participant });
            }
        }
        self
    }

    /// Returns the id under which it is submitted.
    pub fn id(&self) -> &TxId {
        &self.terms.id
    }

    /// Returns the work of a participant's branch as it was given so far.
    pub fn work(&self, participant: &str) -> Option<&Work> {
        self.branches.iter().find(|(name, _)| name.as_str() == participant).map(|(_, work)| work)
    }

    fn try_enlist(&mut self, participant: &str, work: Work) -> Result<(), InvalidSubmission> {
        let participant: ParticipantName =
            participant.parse().map_err(|bad: InvalidId| InvalidSubmission::Name(bad))?;
        let merged = match self.branches.remove(&participant) {
            None => work,
            Some(first) => first
                .then(work)
                .map_err(|NotMergeable| InvalidSubmission::NotMergeable { participant: participant.clone() })?,
        };
        self.branches.insert(participant, merged);
        Ok(())
    }

    pub(crate) fn request(&self) -> Result<v1::SubmitRequest, InvalidSubmission> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let (count, max) = (self.branches.len(), MAX_BRANCHES_PER_TRANSACTION);
        match count {
            0 => return Err(InvalidSubmission::NoBranches),
            1..=MAX_BRANCHES_PER_TRANSACTION => {}
            _ => return Err(InvalidSubmission::TooManyBranches { count, max }),
        }
        let branches: Vec<_> = self.branches.iter().map(branch).collect::<Result<_, _>>()?;
        let length = branches.iter().map(|branch| branch.work.len()).sum();
        if length > MAX_TRANSACTION_BYTES {
            return Err(InvalidSubmission::TooLarge { length, max: MAX_TRANSACTION_BYTES });
        }
        Ok(v1::SubmitRequest { branches, ..self.terms.request(v1::Mode::TwoPhase) })
    }
}

fn branch((participant, work): (&ParticipantName, &Work)) -> Result<v1::BranchWork, InvalidSubmission> {
    let invalid = |cause| InvalidSubmission::Work { participant: participant.clone(), cause };
    let work = work.encode(&[]).map_err(invalid)?;
    let (length, max) = (work.len(), MAX_WORK_BYTES);
    if length > max {
        return Err(InvalidSubmission::WorkTooLarge { participant: participant.clone(), length, max });
    }
    Ok(v1::BranchWork { participant: participant.to_string(), work })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use undoubt_proto::work as wire;
    use undoubt_work::kv::KvWork;

    #[test]
    fn works_for_one_participant_become_one_branch_in_the_order_given() {
        let tx = Transaction::new()
            .on("b", KvWork::new().put("x", "1"))
            .on("a", KvWork::new().get("y"))
            .on("b", KvWork::new().get("x"));
        let request = tx.request().unwrap();
        assert_eq!(request.branches.iter().map(|b| b.participant.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let merged = KvWork::new().put("x", "1").get("x").encode().unwrap();
        assert_eq!(request.branches[1].work, merged);
        assert_eq!(wire::Work::decode(merged).unwrap().operations.len(), 2);
    }

    #[test]
    fn the_order_of_enlisting_does_not_make_it_another_transaction() {
        let id: TxId = "t".parse().unwrap();
        let work = || Work::raw("w");
        let tx = |first: &str, second: &str| Transaction::with_id(id.clone()).on(first, work()).on(second, work());
        assert_eq!(tx("a", "b").request(), tx("b", "a").request());
    }

    #[test]
    fn an_invalid_transaction_says_what_is_wrong() {
        let raw = |bytes: usize| Work::raw(vec![0; bytes]);
        let error = |tx: Transaction| tx.request().unwrap_err().to_string();
        assert!(error(Transaction::new()).contains("no branches"));
        assert!(error(Transaction::new().on("bank a", raw(1))).contains("bank a"));
        assert!(error(Transaction::new().on("a", raw(1)).on("a", raw(1))).contains("cannot be merged"));
        assert!(error(Transaction::new().on("a", raw(1)).on("a", KvWork::new().get("k"))).contains("cannot be merged"));
        assert!(error(Transaction::new().on("a", KvWork::new())).contains("no operations"));
        assert!(error(Transaction::new().on("a", raw((1 << 20) + 1))).contains("1048576"));
        let many = (0..65).fold(Transaction::new(), |tx, n| tx.on(&format!("p{n}"), raw(1)));
        assert!(error(many).contains("65 branches"));
        let large = (0..5).fold(Transaction::new(), |tx, n| tx.on(&format!("p{n}"), raw(1 << 20)));
        assert!(error(large).contains("4194304"));
    }

    #[test]
    fn the_outcome_is_kept_with_all_work_of_the_participant_and_only_where_there_is_some() {
        let id: TxId = "t".parse().unwrap();
        let branches = || Transaction::with_id(id.clone()).on("a", KvWork::new().get("x")).on("raw", Work::raw("w"));
        let kept = branches().on("b", KvWork::new().get("y")).outcome_at("a", "order");
        assert_eq!(kept.work("a"), Some(&KvWork::new().get("x").put("order", "committed t").into()));
        assert_eq!(kept.work("b"), Some(&KvWork::new().get("y").into()));
        for nowhere in ["b", "raw", "a b"] {
            let error = branches().outcome_at(nowhere, "order").request().unwrap_err().to_string();
            assert!(error.contains(nowhere) && error.contains("give that first"), "{error}");
        }
    }
}
