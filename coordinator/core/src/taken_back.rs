//! What participants still know of attempts that the log has lost: once an operator has accepted the loss, the log gets it.

use crate::record::{DIGEST_UNKNOWN, EndedRecord, UnusableRecord};
use std::collections::BTreeMap;
use undoubt_vocabulary::{BranchOutcome, KnownAttempt, KnownState, Outcome, ParticipantName, Ticket, Timestamp, TxId};

/// What participants have told of attempts of which the log has nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recollection(BTreeMap<TxId, Latest>);

/// The latest attempt under one id, and what it is to each participant that knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Latest {
    ticket: Ticket,
    by: BTreeMap<ParticipantName, KnownState>,
}

/// What the log gets for one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TakenBack {
    /// A branch has committed, so the decision was to commit.
    Committed(EndedRecord),
    /// It may have come to either. Nobody presumes anything until an operator ends it.
    Held(UnusableRecord),
}

impl Recollection {
    /// Takes what a participant tells of an attempt. Of the same id the latest attempt counts.
    pub fn add(&mut self, by: &ParticipantName, attempt: KnownAttempt) {
        let KnownAttempt { ticket, tx, state, .. } = attempt;
        let latest = self.0.entry(tx).or_default();
        if latest.ticket < ticket {
            *latest = Latest { ticket, by: BTreeMap::new() };
        }
        if latest.ticket == ticket {
            latest.by.insert(by.clone(), state);
        }
    }

    pub fn into_records(self, now: Timestamp) -> impl Iterator<Item = TakenBack> {
        self.0.into_iter().map(move |(tx, latest)| latest.into_record(tx, now))
    }
}

impl Latest {
    fn into_record(self, tx: TxId, now: Timestamp) -> TakenBack {
        let Latest { ticket, by } = self;
        if by.values().any(|state| *state == KnownState::Committed) {
            return TakenBack::Committed(EndedRecord {
                saga: false,
                tx,
                ticket,
                begun_at: now,
                digest: DIGEST_UNKNOWN,
                outcome: Outcome::Committed,
                branches: by.into_keys().map(|name| (name, BranchOutcome::Committed)).collect(),
                read_only: Vec::new(),
                at: Vec::new(),
                results: Vec::new(),
            });
        }
        let known = by.iter().map(|(name, state)| format!("{name} {}", what(*state))).collect::<Vec<_>>().join(", ");
        TakenBack::Held(UnusableRecord {
            saga: by.values().any(|state| *state == KnownState::Steps),
            tx,
            ticket,
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
        KnownState::Prepared => "has prepared it",
        KnownState::Committed => "has committed it",
        KnownState::Heuristic => "has an operator's decision of it",
        KnownState::Steps => "has steps of it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_back(told: &[(&str, u64, KnownState)]) -> Vec<TakenBack> {
        let mut recollection = Recollection::default();
        for (by, ticket, state) in told {
            let attempt =
                KnownAttempt { ticket: Ticket(*ticket), tx: "t".parse().unwrap(), state: *state, in_effect: vec![] };
            recollection.add(&by.parse().unwrap(), attempt);
        }
        recollection.into_records(Timestamp(9)).collect()
    }

    #[test]
    fn what_one_participant_has_committed_is_ended_as_committed_at_all_that_know_it() {
        let taken = taken_back(&[("a", 5, KnownState::Prepared), ("b", 5, KnownState::Committed)]);
        let [TakenBack::Committed(record)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((record.ticket, &record.outcome), (Ticket(5), &Outcome::Committed));
        let names: Vec<&str> = record.branches.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_nobody_has_committed_is_held_and_of_two_attempts_the_later_counts() {
        for state in [KnownState::Prepared, KnownState::Heuristic, KnownState::Steps] {
            let taken = taken_back(&[("a", 7, state), ("b", 6, KnownState::Prepared)]);
            let [TakenBack::Held(record)] = &taken[..] else { panic!("{taken:?}") };
            assert_eq!((record.ticket, record.saga), (Ticket(7), state == KnownState::Steps));
            assert_eq!(record.participants, ["a".parse().unwrap()]);
        }
    }
}
