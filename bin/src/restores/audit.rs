//! The audit of a round: every transaction has to be as its client was told, or listed as lost.

use super::RoundReport;
use super::load::{Entry, Phase, Reply};
use super::round::PATIENCE;
use crate::cluster::Who;
use crate::workload::account_work::{AccountWork, Language};
use crate::workload::batches::{carry_out, chunks};
use std::collections::{BTreeMap, BTreeSet};
use undoubt_client::{Client, QueryError};
use undoubt_vocabulary::{Outcome, TxId};

/// The language of all participants here.
const STORE: Language = Language::Operations;

/// The facts that are known once all has settled.
#[derive(Debug)]
pub(super) struct Facts {
    /// The process whose folder it was.
    pub(super) of: Who,
    /// The original ran on, or had run on.
    pub(super) is_twin: bool,
    /// The coordinator is another one, by an operator's word.
    pub(super) is_new: bool,
    pub(super) entries: Vec<Entry>,
    /// The number of times that each is in effect at its two places.
    pub(super) values: Vec<[i64; 2]>,
    /// The transactions that are listed as damaged.
    pub(super) listed: BTreeSet<TxId>,
    /// The transactions that an operator has decided alone.
    pub(super) decided: BTreeSet<TxId>,
    /// True if not everything that was accepted as lost is listed.
    pub(super) more: bool,
    /// The answers that the coordinator gives now for those that it had answered before it was put back; `None`: it has no record.
    pub(super) known: BTreeMap<u64, Option<Reply>>,
}

/// Compares.
pub(super) fn findings(facts: &Facts) -> anyhow::Result<RoundReport> {
    let mut report = RoundReport::default();
    for (entry, values) in facts.entries.iter().zip(&facts.values) {
        let tx = entry.tx()?;
        match entry.told() {
            Some(Reply::Committed) => report.committed += 1,
            Some(Reply::Aborted) => report.aborted += 1,
            None => {}
        }
        if facts.is_answered_by_whom_nobody_had_accepted(entry) {
            report.violations.push(format!("{tx} was answered by a server that was put back: {entry:?}"));
        }
        if entry.submitted == Phase::PutBack && entry.answered == Some((Reply::Committed, Phase::PutBack)) {
            report.committed_meanwhile += 1;
        }
        let (is_listed, is_decided) = (facts.listed.contains(&tx), facts.decided.contains(&tx));
        if is_whole(entry, *values) {
            report.listed_though_whole += usize::from(is_listed && !is_decided);
        } else if is_listed || is_decided {
            report.listed += 1;
        } else if facts.may_be_within_the_loss(entry, *values) {
            report.within_the_loss += 1;
        } else {
            report.violations.push(format!("{tx} is in effect {values:?} times, and is not listed: {entry:?}"));
        }
        match (facts.known.get(&entry.number), entry.told()) {
            (Some(None), Some(Reply::Committed)) => report.forgotten += 1,
            (Some(Some(now)), Some(told)) if *now != told && !is_listed => {
                report.violations.push(format!("{tx} was told to be {told:?}, and now {now:?}"));
            }
            (Some(_) | None, _) => {}
        }
    }
    Ok(report)
}

/// Returns true if a transaction is in effect at both places, or at none, as its client was told.
fn is_whole(entry: &Entry, values: [i64; 2]) -> bool {
    match entry.told() {
        Some(Reply::Committed) => values == [1, 1],
        Some(Reply::Aborted) => values == [0, 0],
        None => values == [1, 1] || values == [0, 0],
    }
}

impl Facts {
    /// Returns true if an answer shows that a server worked that should not have: of a transaction that was submitted, and was
    /// answered, after its folder was put back and before that was accepted.
    fn is_answered_by_whom_nobody_had_accepted(&self, entry: &Entry) -> bool {
        let meanwhile = |phase| phase == Phase::PutBack;
        match (self.of, entry.answered) {
            (Who::Coordinator, Some((_, answered))) => {
                !self.is_twin && meanwhile(entry.submitted) && meanwhile(answered)
            }
            (Who::Participant(place), Some((Reply::Committed, answered))) => {
                entry.places.contains(&place) && meanwhile(entry.submitted) && meanwhile(answered)
            }
            (Who::Participant(_), Some((Reply::Aborted, _))) | (_, None) => false,
        }
    }

    /// Returns true if only what was accepted as lost explains it: of a coordinator, that an id ran again that nobody had a record
    /// of; of a participant, that its part is gone.
    fn may_be_within_the_loss(&self, entry: &Entry, values: [i64; 2]) -> bool {
        match self.of {
            // To a coordinator that is new every id is.
            Who::Coordinator if self.is_new => {
                entry.submitted != Phase::Accepted && entry.answered.is_none_or(|(_, phase)| phase == Phase::Accepted)
            }
            Who::Coordinator => self.more && !self.is_twin && entry.submitted != Phase::Accepted && values == [2, 2],
            Who::Participant(place) => {
                self.more
                    && entry.submitted == Phase::Before
                    && entry.places.iter().zip(values).all(|(at, value)| *at == place || value == 1)
            }
        }
    }
}

/// Reads how often each transaction is in effect, at both of its places.
pub(super) async fn read(client: &Client, names: &[String], entries: &[Entry]) -> anyhow::Result<Vec<[i64; 2]>> {
    let mut values = vec![[0; 2]; entries.len()];
    let mut at_home: Vec<Vec<(usize, usize)>> = vec![Vec::new(); names.len()];
    for (index, entry) in entries.iter().enumerate() {
        for (side, place) in entry.places.into_iter().enumerate() {
            at_home[place].push((index, side));
        }
    }
    let pieces = chunks(&at_home, |_| STORE.max_batch_accesses());
    let batch = |number: usize| {
        let (place, piece) = &pieces[number];
        let read = |work: AccountWork, (index, _): &(usize, usize)| work.read(entries[*index].key());
        (names[*place].clone(), piece.iter().fold(STORE.work(), read))
    };
    let done = |number: usize, found: Vec<Option<i64>>| {
        for ((index, side), value) in pieces[number].1.iter().zip(found) {
            values[*index][*side] = value.unwrap_or(0);
        }
    };
    carry_out(client, pieces.len(), batch, PATIENCE, done).await?;
    Ok(values)
}

/// Asks a coordinator that was put back for what it had answered before.
pub(super) async fn ask(client: &Client, entries: &[Entry], of: Who) -> anyhow::Result<BTreeMap<u64, Option<Reply>>> {
    let mut known = BTreeMap::new();
    let answered_before = |entry: &&Entry| entry.answered.is_some_and(|(_, phase)| phase == Phase::Before);
    for entry in entries.iter().filter(answered_before).filter(|_| of == Who::Coordinator) {
        match client.get(&entry.tx()?).await {
            Ok(view) => {
                let told = view.known.decided.as_ref().map(|outcome: &Outcome| Reply::from(outcome));
                known.extend(told.map(|told| (entry.number, Some(told))));
            }
            Err(QueryError::NotFound { .. }) => drop(known.insert(entry.number, None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: Option<(Reply, Phase)> = Some((Reply::Committed, Phase::Before));

    fn entry(submitted: Phase, answered: Option<(Reply, Phase)>) -> Entry {
        Entry { number: 0, places: [0, 1], saga: false, submitted, answered }
    }

    fn facts(of: Who, entry: Entry, values: [i64; 2]) -> Facts {
        Facts {
            of,
            is_twin: false,
            is_new: false,
            entries: vec![entry],
            values: vec![values],
            listed: BTreeSet::new(),
            decided: BTreeSet::new(),
            more: false,
            known: BTreeMap::new(),
        }
    }

    fn violations(facts: &Facts) -> usize {
        findings(facts).unwrap().violations.len()
    }

    #[test]
    fn what_is_gone_and_not_listed_is_found() {
        let gone = facts(Who::Participant(0), entry(Phase::Before, COMMITTED), [0, 1]);
        assert_eq!(violations(&gone), 1);
        let listed = Facts { listed: BTreeSet::from(["t0".parse().unwrap()]), ..gone };
        assert_eq!((violations(&listed), findings(&listed).unwrap().listed), (0, 1));
    }

    #[test]
    fn a_loss_explains_what_is_gone_where_the_folder_was_and_nowhere_else() {
        let more = |values| Facts { more: true, ..facts(Who::Participant(0), entry(Phase::Before, COMMITTED), values) };
        assert_eq!(violations(&more([0, 1])), 0);
        assert_eq!(violations(&more([1, 0])), 1);
    }

    #[test]
    fn what_ran_twice_is_found_unless_it_was_submitted_again_after_its_record_was_accepted_as_lost() {
        let again = |submitted| facts(Who::Coordinator, entry(submitted, COMMITTED), [2, 2]);
        assert_eq!(violations(&again(Phase::Before)), 1);
        assert_eq!(violations(&Facts { more: true, ..again(Phase::Before) }), 0);
        assert_eq!(violations(&Facts { more: true, ..again(Phase::Accepted) }), 1);
        assert_eq!(violations(&Facts { more: true, is_twin: true, ..again(Phase::Before) }), 1);
    }

    #[test]
    fn an_answer_by_a_server_whose_loss_nobody_had_accepted_is_found() {
        let meanwhile = entry(Phase::PutBack, Some((Reply::Committed, Phase::PutBack)));
        for (of, is_twin, expected) in [
            (Who::Coordinator, false, 1),
            (Who::Coordinator, true, 0),
            (Who::Participant(1), false, 1),
            (Who::Participant(2), false, 0),
        ] {
            let facts = Facts { is_twin, ..facts(of, meanwhile.clone(), [1, 1]) };
            assert_eq!(violations(&facts), expected, "{of:?}");
        }
    }

    #[test]
    fn another_outcome_than_was_told_is_found() {
        let known = BTreeMap::from([(0, Some(Reply::Aborted))]);
        let otherwise = Facts { known, ..facts(Who::Coordinator, entry(Phase::Before, COMMITTED), [1, 1]) };
        assert_eq!(violations(&otherwise), 1);
        let forgotten = Facts { known: BTreeMap::from([(0, None)]), ..otherwise };
        assert_eq!((violations(&forgotten), findings(&forgotten).unwrap().forgotten), (0, 1));
    }
}
