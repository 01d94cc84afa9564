//! The reconciliation of a log that has lost something, once an operator has accepted that: attempts that it has lost
//! get what participants still know, and what it holds open may have ended since.

use crate::record::{
    DIGEST_UNKNOWN, EndedBranch, EndedRecord, OpenedState, Progress, SagaRecord, Unfinished, UnusableRecord,
};
use std::collections::BTreeMap;
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, KnownAttempt, KnownState, Outcome, ParticipantName, Timestamp, TxId,
};

/// The attempts that participants have told of, and of which the log has nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recollection(BTreeMap<TxId, Latest>);

/// The latest attempt under one id, and what it is to each participant that knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Latest {
    attempt_number: AttemptNumber,
    by: BTreeMap<ParticipantName, KnownState>,
}

/// The record that the log gets for one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TakenBack {
    /// A branch has committed, so the decision was to commit.
    Committed(EndedRecord),
    /// The transaction may have come to either outcome. Nobody presumes anything until an operator ends it.
    Held(UnusableRecord),
}

/// Returns what is to be held instead of this open transaction: a saga that may have been done since, or undone, as clients
/// may have been told. `None`: it goes on, for that leads to what it may have come to.
pub fn held_after_loss(open: Unfinished) -> Option<UnusableRecord> {
    let can_compensate = match &open {
        Unfinished::Saga(SagaRecord { compensating, steps, progress, .. }) => {
            let is_done = |progress: &Progress| matches!(progress, Progress::Done { .. });
            let past_pivot = steps.iter().zip(progress).any(|(step, progress)| step.pivot && is_done(progress));
            compensating.is_none() && !past_pivot && progress.contains(&Progress::Pending)
        }
        Unfinished::Opened(opened, _) => opened.state == OpenedState::Open,
        // A decision stays, and of a single branch its participant tells.
        Unfinished::TwoPhase(_) | Unfinished::Unusable(_) => false,
    };
    let cause = "the log was put back, and has lost what became of it since";
    can_compensate.then(|| open.unusable(cause.to_owned()))
}

impl Recollection {
    /// Takes what a participant tells of an attempt. Of the same id the latest attempt counts.
    pub fn add(&mut self, by: &ParticipantName, attempt: KnownAttempt) {
        let KnownAttempt { attempt_number, tx, state, .. } = attempt;
        let latest = self.0.entry(tx).or_default();
        if latest.attempt_number < attempt_number {
            *latest = Latest { attempt_number, by: BTreeMap::new() };
        }
        if latest.attempt_number == attempt_number {
            latest.by.insert(by.clone(), state);
        }
    }

    pub fn into_records(self, now: Timestamp) -> impl Iterator<Item = TakenBack> {
        self.0.into_iter().map(move |(tx, latest)| latest.into_record(tx, now))
    }
}

impl Latest {
    fn into_record(self, tx: TxId, now: Timestamp) -> TakenBack {
        let Latest { attempt_number, by } = self;
        if by.values().any(|state| *state == KnownState::Committed) {
            return TakenBack::Committed(EndedRecord {
                saga: false,
                tx,
                attempt_number,
                begun_at: now,
                digest: DIGEST_UNKNOWN,
                outcome: Outcome::Committed,
                branches: by.into_keys().map(|name| EndedBranch::new(name, BranchOutcome::Committed)).collect(),
                read_only: Vec::new(),
                results: Vec::new(),
            });
        }
        let known = by.iter().map(|(name, state)| format!("{name} {}", what(*state))).collect::<Vec<_>>().join(", ");
        TakenBack::Held(UnusableRecord {
            saga: by.values().any(|state| *state == KnownState::Steps),
            tx,
            attempt_number,
            begun_at: now,
            digest: DIGEST_UNKNOWN,
            participants: by.into_keys().collect(),
            decided: None,
            cause: format!("the log was put back and had lost what became of it; {known}"),
        })
    }
}

fn what(state: KnownState) -> &'static str {
    match state {
        KnownState::Prepared => "has prepared it, or is at work on it",
        KnownState::Committed => "has committed it",
        KnownState::Heuristic => "has an operator's decision of it",
        KnownState::Steps => "has steps of it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;
    use undoubt_vocabulary::{AbortReason, RetryPolicy, SagaStep};

    fn taken_back(told: &[(&str, u64, KnownState)]) -> Vec<TakenBack> {
        let mut recollection = Recollection::default();
        for (by, attempt_number, state) in told {
            let attempt = KnownAttempt {
                attempt_number: AttemptNumber(*attempt_number),
                tx: "t".parse().unwrap(),
                state: *state,
                in_effect: vec![],
            };
            recollection.add(&by.parse().unwrap(), attempt);
        }
        recollection.into_records(Timestamp(9)).collect()
    }

    #[test]
    fn what_one_participant_has_committed_is_ended_as_committed_at_all_that_know_it() {
        let taken = taken_back(&[("a", 5, KnownState::Prepared), ("b", 5, KnownState::Committed)]);
        let [TakenBack::Committed(record)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((record.attempt_number, &record.outcome), (AttemptNumber(5), &Outcome::Committed));
        let names: Vec<&str> = record.branches.iter().map(|branch| branch.participant.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_saga_that_could_still_compensate_is_held_and_what_can_come_to_one_end_only_goes_on() {
        let step = |pivot| {
            Arc::new(SagaStep {
                name: "s".parse().unwrap(),
                participant: "a".parse().unwrap(),
                action: Some(Bytes::new()),
                compensation: None,
                completion: None,
                after: vec![],
                uses: vec![],
                pivot,
                retry: RetryPolicy::default(),
            })
        };
        let done = || Progress::Done { result: Bytes::new(), pending: false };
        let saga = |pivot, compensating: Option<AbortReason>, progress: [Progress; 2]| {
            Unfinished::Saga(SagaRecord {
                tx: "t".parse().unwrap(),
                attempt_number: AttemptNumber(1),
                begun_at: Timestamp(1),
                digest: DIGEST_UNKNOWN,
                deadline: Timestamp(2),
                steps: vec![step(pivot), step(false)],
                compensating,
                progress: progress.to_vec(),
            })
        };
        let held = held_after_loss(saga(false, None, [done(), Progress::Pending])).unwrap();
        assert_eq!((held.saga, held.decided, held.participants), (true, None, vec!["a".parse().unwrap()]));
        assert_eq!(held_after_loss(saga(true, None, [done(), Progress::Pending])), None, "it is past its pivot");
        assert_eq!(held_after_loss(saga(false, None, [done(), done()])), None, "it is done");
        let compensating = Some(AbortReason::Cancelled);
        assert_eq!(held_after_loss(saga(false, compensating, [done(), Progress::Pending])), None, "it compensates");
    }

    #[test]
    fn what_nobody_has_committed_is_held_and_of_two_attempts_the_later_counts() {
        for state in [KnownState::Prepared, KnownState::Heuristic, KnownState::Steps] {
            let taken = taken_back(&[("a", 7, state), ("b", 6, KnownState::Prepared)]);
            let [TakenBack::Held(record)] = &taken[..] else { panic!("{taken:?}") };
            assert_eq!((record.attempt_number, record.saga), (AttemptNumber(7), state == KnownState::Steps));
            assert_eq!(record.participants, ["a".parse().unwrap()]);
        }
    }
}
