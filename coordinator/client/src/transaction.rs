//! A transaction as an application builds it.

use crate::error::InvalidTransaction;
use crate::saga::{self, Step};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_proto::v1;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_TRANSACTION_BYTES, MAX_WORK_BYTES};
use undoubt_vocabulary::{InvalidId, ParticipantName, TxId};
use undoubt_work::kv::KvWork;
use undoubt_work::{NotMergeable, Work};
use uuid::Uuid;

/// What is to be done, all or nothing, under one id: branches for two-phase commit, or steps for a saga.
///
/// A participant has one branch, whatever order its work is given in: several pieces of work are merged, raw work cannot
/// be. What is wrong with a transaction is said when it is submitted.
#[derive(Clone, Debug)]
pub struct Transaction {
    id: TxId,
    branches: BTreeMap<ParticipantName, Work>,
    steps: Vec<Step>,
    auto: Option<Auto>,
    timeout: Option<Duration>,
    callback: Option<String>,
    /// The first thing that went wrong while building.
    problem: Option<InvalidTransaction>,
}

/// The coordinator chooses between two-phase commit and the saga.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Auto {
    two_phase_only: bool,
    value: u64,
}

impl Transaction {
    /// A new transaction under a new id, the text of a UUID of version 7.
    #[allow(clippy::new_without_default, reason = "every one is another: a default should be always the same")]
    pub fn new() -> Self {
        let id = TxId::new(Uuid::now_v7().to_string()).expect("a UUID's text has 36 bytes, and an id may have 64");
        Transaction::with_id(id)
    }

    /// A transaction under an id of the application's own. Draw it once for each thing to be done, and keep it: the
    /// same id with the same content is the same transaction, with other content it is refused.
    pub fn with_id(id: TxId) -> Self {
        let (branches, steps) = (BTreeMap::new(), Vec::new());
        Transaction { id, branches, steps, auto: None, timeout: None, callback: None, problem: None }
    }

    /// Adds work for a participant, of whatever kind.
    #[must_use]
    pub fn on(mut self, participant: &str, work: impl Into<Work>) -> Self {
        if let Err(problem) = self.try_enlist(participant, work.into()) {
            self.problem.get_or_insert(problem);
        }
        self
    }

    /// Adds work in a participant's own format.
    #[must_use]
    pub fn branch(self, participant: &str, work: impl Into<Bytes>) -> Self {
        self.on(participant, Work::raw(work))
    }

    /// Adds work for a key-value participant.
    #[must_use]
    pub fn kv(self, participant: &str, work: KvWork) -> Self {
        self.on(participant, work)
    }

    /// A step of a saga; see [`Step`] for their order.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Lets the coordinator choose: two-phase commit of the steps' actions where that can be, else the saga.
    #[must_use]
    pub fn auto(self) -> Self {
        let auto = self.auto.or(Some(Auto::default()));
        Transaction { auto, ..self }
    }

    /// Like [`auto`](Self::auto), but two-phase commit or not at all.
    #[must_use]
    pub fn two_phase_only(self) -> Self {
        let auto = Some(Auto { two_phase_only: true, ..self.auto.unwrap_or_default() });
        Transaction { auto, ..self }
    }

    /// Like [`auto`](Self::auto), and says what it is worth: the coordinator may be configured to let transactions of a
    /// high value go through two-phase commit only.
    #[must_use]
    pub fn value(self, value: u64) -> Self {
        let auto = Some(Auto { value, ..self.auto.unwrap_or_default() });
        Transaction { auto, ..self }
    }

    /// How long the coordinator tries to reach a commit, from receipt until the decision; then it aborts. Without, its
    /// own default holds.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Transaction { timeout: Some(timeout), ..self }
    }

    /// For [`Client::accept`](crate::Client::accept): `http://host:port/path`, which hears the outcome by a POST, at least
    /// once, also after restarts.
    #[must_use]
    pub fn callback(self, url: &str) -> Self {
        Transaction { callback: Some(url.to_owned()), ..self }
    }

    /// Keeps what becomes of the transaction in a participant's own store, under this key, for whoever reads
    /// there instead of asking the coordinator. Give it after the work: all that the participant has been given until
    /// then writes the key too, in the same local transaction.
    ///
    /// | value | means |
    /// | --- | --- |
    /// | `committed ID` | It is committed, or is a saga that is past its pivot: nothing undoes it any more. |
    /// | `acted ID` | A saga's step is in effect there, and may yet be undone. Not where auto went by two-phase commit. |
    /// | `compensated ID` | The saga compensates, and that step is undone. |
    ///
    /// Neither an abort of two-phase commit nor a saga that was compensated before it came there leaves a trace. Only
    /// the pivot and steps after it leave `committed`: without any there, `acted` is the last word of a saga that
    /// succeeds.
    #[must_use]
    pub fn outcome_at(mut self, participant: &str, key: impl Into<Bytes>) -> Self {
        let key = key.into();
        let mut kept = false;
        for (_, work) in self.branches.iter_mut().filter(|(name, _)| name.as_str() == participant) {
            kept |= work.can_keep();
            work.keep(&key, saga::word("committed", &self.id), None);
        }
        for step in self.steps.iter_mut().filter(|step| step.participant() == participant) {
            kept |= step.keep_outcome(&key, &self.id);
        }
        if !kept {
            let participant = participant.to_owned();
            self.problem.get_or_insert(InvalidTransaction::NoWorkForOutcome { participant });
        }
        self
    }

    pub fn id(&self) -> &TxId {
        &self.id
    }

    /// Returns the time for which the coordinator tries to reach a commit, if that was given.
    pub fn own_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// In the order given; none in two-phase commit.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the work of a participant's branch as it was given so far.
    pub fn work(&self, participant: &str) -> Option<&Work> {
        self.branches.iter().find(|(name, _)| name.as_str() == participant).map(|(_, work)| work)
    }

    fn try_enlist(&mut self, participant: &str, work: Work) -> Result<(), InvalidTransaction> {
        let participant: ParticipantName =
            participant.parse().map_err(|e: InvalidId| InvalidTransaction::Participant(e))?;
        let merged = match self.branches.remove(&participant) {
            None => work,
            Some(first) => first
                .then(work)
                .map_err(|NotMergeable| InvalidTransaction::NotMergeable { participant: participant.clone() })?,
        };
        self.branches.insert(participant, merged);
        Ok(())
    }

    pub(crate) fn request(&self, no_wait: bool) -> Result<v1::SubmitRequest, InvalidTransaction> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let timeout_ms = self.timeout.map_or(0, milliseconds);
        let callback = self.callback.clone().unwrap_or_default();
        if !self.steps.is_empty() {
            if !self.branches.is_empty() {
                return Err(InvalidTransaction::Mixed);
            }
            let mode = if self.auto.is_some() { v1::Mode::Auto } else { v1::Mode::Saga };
            let Auto { two_phase_only, value } = self.auto.unwrap_or_default();
            return Ok(v1::SubmitRequest {
                tx: self.id.to_bytes(),
                timeout_ms,
                no_wait,
                mode: mode.into(),
                steps: saga::to_wire(&self.steps, self.auto.is_none())?,
                two_phase_only,
                value,
                callback,
                ..v1::SubmitRequest::default()
            });
        }
        if self.auto.is_some() {
            return Err(InvalidTransaction::AutoWithoutSteps);
        }
        let (count, max) = (self.branches.len(), MAX_BRANCHES_PER_TRANSACTION);
        match count {
            0 => return Err(InvalidTransaction::NoBranches),
            1..=MAX_BRANCHES_PER_TRANSACTION => {}
            _ => return Err(InvalidTransaction::TooManyBranches { count, max }),
        }
        let branches: Vec<_> = self.branches.iter().map(branch).collect::<Result<_, _>>()?;
        let length = branches.iter().map(|branch| branch.work.len()).sum();
        if length > MAX_TRANSACTION_BYTES {
            return Err(InvalidTransaction::TooLarge { length, max: MAX_TRANSACTION_BYTES });
        }
        let tx = self.id.to_bytes();
        Ok(v1::SubmitRequest { tx, branches, timeout_ms, no_wait, callback, ..v1::SubmitRequest::default() })
    }
}

fn branch((participant, work): (&ParticipantName, &Work)) -> Result<v1::BranchWork, InvalidTransaction> {
    let invalid = |cause| InvalidTransaction::Work { participant: participant.clone(), cause };
    let work = work.encode(&[]).map_err(invalid)?;
    let (length, max) = (work.len(), MAX_WORK_BYTES);
    if length > max {
        return Err(InvalidTransaction::WorkTooLarge { participant: participant.clone(), length, max });
    }
    Ok(v1::BranchWork { participant: participant.to_string(), work })
}

/// At least 1, because 0 asks for the coordinator's default.
fn milliseconds(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use undoubt_proto::work as wire;

    #[test]
    fn works_for_one_participant_become_one_branch_in_the_order_given() {
        let tx = Transaction::new()
            .kv("b", KvWork::new().put("x", "1"))
            .kv("a", KvWork::new().get("y"))
            .kv("b", KvWork::new().get("x"));
        let request = tx.request(false).unwrap();
        assert_eq!(request.branches.iter().map(|b| b.participant.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let merged = KvWork::new().put("x", "1").get("x").encode().unwrap();
        assert_eq!(request.branches[1].work, merged);
        assert_eq!(wire::Work::decode(merged).unwrap().operations.len(), 2);
    }

    #[test]
    fn the_order_of_enlisting_does_not_make_it_another_transaction() {
        let id: TxId = "t".parse().unwrap();
        let tx = |first: &str, second: &str| Transaction::with_id(id.clone()).branch(first, "w").branch(second, "w");
        assert_eq!(tx("a", "b").request(false), tx("b", "a").request(false));
    }

    #[test]
    fn every_new_transaction_has_an_id_of_its_own() {
        assert_ne!(Transaction::new().id(), Transaction::new().id());
    }

    #[test]
    fn an_invalid_transaction_says_what_is_wrong() {
        let error = |tx: Transaction| tx.request(false).unwrap_err().to_string();
        assert!(error(Transaction::new()).contains("no branches"));
        assert!(error(Transaction::new().branch("a", "w").auto()).contains("give steps"));
        assert!(error(Transaction::new().branch("bank a", "w")).contains("bank a"));
        assert!(error(Transaction::new().branch("a", "w").branch("a", "w")).contains("cannot be merged"));
        assert!(
            error(Transaction::new().branch("a", "w").kv("a", KvWork::new().get("k"))).contains("cannot be merged")
        );
        assert!(error(Transaction::new().kv("a", KvWork::new())).contains("no operations"));
        assert!(error(Transaction::new().branch("a", vec![0; (1 << 20) + 1])).contains("1048576"));
        let many = (0..65).fold(Transaction::new(), |tx, n| tx.branch(&format!("p{n}"), "w"));
        assert!(error(many).contains("65 branches"));
        let large = (0..5).fold(Transaction::new(), |tx, n| tx.branch(&format!("p{n}"), vec![0; 1 << 20]));
        assert!(error(large).contains("4194304"));
    }

    #[test]
    fn the_outcome_is_kept_with_all_work_of_the_participant_and_only_where_there_is_some() {
        let id: TxId = "t".parse().unwrap();
        let branches = || Transaction::with_id(id.clone()).kv("a", KvWork::new().get("x")).branch("raw", "w");
        let kept = branches().kv("b", KvWork::new().get("y")).outcome_at("a", "order");
        assert_eq!(kept.work("a"), Some(&KvWork::new().get("x").put("order", "committed t").into()));
        assert_eq!(kept.work("b"), Some(&KvWork::new().get("y").into()));
        for nowhere in ["b", "raw", "a b"] {
            let error = branches().outcome_at(nowhere, "order").request(false).unwrap_err().to_string();
            assert!(error.contains(nowhere) && error.contains("give that first"), "{error}");
        }

        let step = |name, at| Step::kv(name, at, KvWork::new().get("x"));
        let undone = step("take", "a").undo_kv(KvWork::new().get("z"));
        let saga = Transaction::with_id(id).step(undone).step(step("give", "a").pivot()).outcome_at("a", "order");
        let acted = KvWork::new().get("x").put("order", "acted t").value_in_branch("committed t");
        let take = Step::kv("take", "a", acted);
        let give = Step::kv("give", "a", KvWork::new().get("x").put("order", "committed t")).pivot();
        let back = KvWork::new().get("z").put("order", "compensated t");
        assert_eq!(saga.steps(), [take.undo_kv(back), give]);
        let taken = |tx: &Transaction| {
            let action = tx.request(false).unwrap().steps[0].action.clone();
            let Some(wire::operation::Kind::Put(put)) = wire::Work::decode(action).unwrap().operations[1].kind.clone()
            else {
                panic!("the key is put last");
            };
            (put.value, put.value_in_branch)
        };
        assert_eq!(taken(&saga), ("acted t".into(), None));
        assert_eq!(taken(&saga.auto()), ("acted t".into(), Some("committed t".into())), "it may go either way");
    }

    #[test]
    fn a_callback_is_asked_for_in_either_mode() {
        let called = |tx: Transaction| tx.callback("http://a/done").request(true).unwrap().callback;
        let step = Step::kv("pay", "a", KvWork::new().get("x")).pivot();
        assert_eq!(called(Transaction::new().branch("a", "w")), "http://a/done");
        assert_eq!(called(Transaction::new().step(step)), "http://a/done");
    }

    #[test]
    fn a_timeout_is_never_taken_for_the_default() {
        let timeout = |timeout| Transaction::new().branch("a", "w").timeout(timeout).request(false).unwrap().timeout_ms;
        assert_eq!(timeout(Duration::ZERO), 1);
        assert_eq!(timeout(Duration::from_millis(250)), 250);
        assert_eq!(timeout(Duration::MAX), u32::MAX);
    }
}
