//! The promise that after the healing everything ends; and how long it had to wait before.
//!
//! * `settled`, `open`, `outcome`: excused if the coordinator is gone (P8), which owned it all, or if a lying disk
//!   destroyed an epoch or an identity (see [`super::orphans`]). Orphans of a lost coordinator never settle; what the
//!   present one holds has to end all the same.
//! * `answered`, `patience`: a client gives up at its own deadline and asks again until it hears an outcome. Excused for
//!   sagas where a lost coordinator's branch keeps its locks: past its pivot a saga tries its steps for ever.

use super::Violation;
use super::facts::{self, transactions};
use super::orphans::is_blocked_by_design;
use crate::plan::{Host, Mode};
use crate::run::{Call, FinalOutcome, Participant, Reply, Run};
use crate::trace::{BranchState, Event};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(run: &Run) -> Vec<Violation> {
    let mut broken = unanswered(run);
    if run.finals.out_of_patience && !waits_by_design(run) {
        broken.push(Violation::new("termination.patience", "clients were still asking when all patience was gone"));
    }
    if run.finals.excused_epochs {
        return broken;
    }
    if run.finals.settled_after_us.is_none() && !is_blocked_by_design(run) {
        broken.push(Violation::new("termination.settled", "not everything had come to its end when patience did"));
    }
    if !facts::coordinator_is_gone(run) {
        broken.extend(run.finals.open.iter().map(|(tx, phase)| {
            Violation::of("termination.open", tx, format!("{tx} is still {phase} at the coordinator"))
        }));
        let unknown = transactions(run).into_values().filter(|found| *found.outcome() == FinalOutcome::Unknown);
        broken.extend(unknown.map(|transaction| {
            let tx = transaction.tx;
            Violation::of("termination.outcome", tx, format!("the coordinator cannot say what became of {tx}"))
        }));
    }
    broken
}

fn unanswered(run: &Run) -> Vec<Violation> {
    let blocked = is_blocked_by_design(run);
    let left = run.calls.iter().filter(|call| call.told_us.is_none());
    let left = left.filter(|call| !blocked || Mode::of(&call.tx).is_two_phase());
    left.map(|call| {
        let what = format!("client{} never heard anything about {}", call.client, call.tx);
        Violation::of("termination.answered", &call.tx, what).at(call.asked_us)
    })
    .collect()
}

/// Returns true if whoever still asks, asks about a saga that an orphan's lock may be in the way of.
fn waits_by_design(run: &Run) -> bool {
    let unknown = |call: &&Call| call.told_us.is_none() || matches!(call.reply, Reply::Unknown(_));
    let last: BTreeMap<u8, &Call> = run.calls.iter().map(|call| (call.client, call)).collect();
    let mut asking = last.values().copied().filter(unknown);
    is_blocked_by_design(run) && asking.all(|call| !Mode::of(&call.tx).is_two_phase())
}

/// The time for which a branch kept its locks after its vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubt {
    pub tx: String,
    pub participant: Participant,
    pub from_us: u64,
    /// `None`: it still was when the run ended.
    pub until_us: Option<u64>,
}

impl InDoubt {
    /// Returns how long it lasted, until the end of the run if it was not over before.
    pub fn lasted_us(&self, run: &Run) -> u64 {
        self.until_us.unwrap_or(run.simulated_us).saturating_sub(self.from_us)
    }

    fn covers(&self, us: u64) -> bool {
        self.from_us < us && self.until_us.is_none_or(|until_us| until_us > us)
    }
}

/// Returns the time from the vote of each branch until it was over, across restarts.
pub fn in_doubt(run: &Run) -> Vec<InDoubt> {
    let mut since: BTreeMap<(&str, Participant), u64> = BTreeMap::new();
    let mut all = Vec::new();
    for entry in &run.trace {
        let (Event::Branch { tx, state }, Some(Host::Participant(participant))) = (&entry.event, entry.host) else {
            continue;
        };
        let branch = (tx.as_str(), participant);
        match state {
            BranchState::Prepared => {
                since.entry(branch).or_insert(entry.at_us);
            }
            BranchState::Over => all.extend(since.remove(&branch).map(|from_us| {
                let until_us = Some(entry.at_us);
                InDoubt { tx: tx.clone(), participant, from_us, until_us }
            })),
            BranchState::Executing
            | BranchState::ReadOnly
            | BranchState::Committing
            | BranchState::Aborting
            | BranchState::Resolving
            | BranchState::Acting
            | BranchState::Compensating => {}
        }
    }
    let left = since.into_iter();
    all.extend(left.map(|((tx, participant), from_us)| {
        let tx = tx.to_owned();
        InDoubt { tx, participant, from_us, until_us: None }
    }));
    all
}

pub fn longest_in_doubt(run: &Run) -> Option<InDoubt> {
    in_doubt(run).into_iter().max_by_key(|branch| branch.lasted_us(run))
}

/// Calls that ended with a definite answer, of all calls; 1 if nobody asked anything.
pub fn share_answered(run: &Run) -> f64 {
    let definite = run.calls.iter().filter(|call| call.told_us.is_some() && !matches!(call.reply, Reply::Unknown(_)));
    if run.calls.is_empty() { 1.0 } else { definite.count() as f64 / run.calls.len() as f64 }
}

/// The effect of a fault that lasts on those who had voted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The fault's place in the plan.
    pub fault: usize,
    pub from_us: u64,
    /// The end of the fault: by itself, or with the healing.
    pub until_us: u64,
    /// The transactions that were in doubt at some participant when it ended.
    pub transactions: BTreeSet<String>,
}

/// Returns the effects of each fault that struck, in the order of the trace.
pub fn blocked(run: &Run) -> Vec<Blocked> {
    let in_doubt = in_doubt(run);
    let healed = run.trace.iter().find(|entry| entry.event == Event::Healed).map(|entry| entry.at_us);
    let healed_us = healed.unwrap_or(run.simulated_us);
    let window = |entry: &crate::trace::Entry| {
        let Event::Fault { index, ends_at_us, .. } = entry.event else { return None };
        let until_us = ends_at_us.map_or(healed_us, |us| us.min(healed_us));
        let held = in_doubt.iter().filter(|branch| branch.covers(until_us)).map(|branch| branch.tx.clone());
        Some(Blocked { fault: index, from_us: entry.at_us, until_us, transactions: held.collect() })
    };
    run.trace.iter().filter_map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{healthy, rules};
    use crate::run::OpenBranch;
    use crate::trace::Entry;

    fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = healthy();
        change(&mut run);
        rules(check, &run)
    }

    fn branch(at_us: u64, participant: Participant, tx: &str, state: BranchState) -> Entry {
        Entry { at_us, host: Some(Host::Participant(participant)), event: Event::Branch { tx: tx.into(), state } }
    }

    /// t1 waits from 10 to 50 at p1, and t2 from 20 at p2 until the end at 100.
    fn waiting() -> Run {
        let fault = |at_us, ends_at_us| Entry {
            at_us,
            host: None,
            event: Event::Fault { index: 0, what: "partition".into(), ends_at_us },
        };
        let mut run = healthy();
        run.simulated_us = 100;
        run.trace = vec![
            branch(10, 1, "t1", BranchState::Prepared),
            fault(15, Some(30)),
            branch(20, 2, "t2", BranchState::Prepared),
            branch(35, 1, "t1", BranchState::Prepared),
            branch(40, 1, "t1", BranchState::Committing),
            branch(50, 1, "t1", BranchState::Over),
            fault(60, None),
            Entry { at_us: 80, host: None, event: Event::Healed },
        ];
        run
    }

    /// The last call of a client about `tx` came to nothing, and everybody went home.
    fn still_asked(tx: &'static str, orphan: bool) -> Vec<&'static str> {
        broken(|run| {
            let last = run.calls.last_mut().unwrap();
            (last.tx, last.told_us) = (tx.to_owned(), None);
            run.finals.out_of_patience = true;
            if orphan {
                let branch = OpenBranch { tx: "t0".into(), state: "prepared".into(), orphaned_by_design: true };
                run.finals.participants.get_mut(&1).unwrap().open.push(branch);
            }
        })
    }

    #[test]
    fn a_client_that_asks_in_vain_is_found_unless_an_orphan_may_be_in_the_way_of_its_saga() {
        for (tx, orphan) in [("t9", false), ("t9", true), ("s9", false)] {
            let found = still_asked(tx, orphan);
            assert!(found.contains(&"termination.answered") && found.contains(&"termination.patience"), "{found:?}");
        }
        let found = still_asked("s9", true);
        assert!(!found.contains(&"termination.answered") && !found.contains(&"termination.patience"), "{found:?}");
    }

    #[test]
    fn a_run_that_never_settles_is_found_unless_nobody_could_settle_it() {
        assert_eq!(broken(|run| run.finals.settled_after_us = None), ["termination.settled"]);
        let gone = broken(|run| {
            run.finals.settled_after_us = None;
            run.finals.gone.insert(Host::Coordinator);
        });
        assert_eq!(gone, [""; 0]);
        let lost = broken(|run| {
            run.finals.settled_after_us = None;
            run.finals.excused_epochs = true;
        });
        assert_eq!(lost, [""; 0]);
    }

    #[test]
    fn a_transaction_that_stays_open_is_found_unless_its_coordinator_is_gone() {
        let open = |run: &mut Run| run.finals.open.push(("t1".into(), "committing".into()));
        assert_eq!(broken(open), ["termination.open"]);
        let gone = broken(|run| {
            open(run);
            run.finals.gone.insert(Host::Coordinator);
        });
        assert_eq!(gone, [""; 0]);
    }

    #[test]
    fn every_outcome_is_known_in_the_end() {
        let unknown = |run: &mut Run| {
            run.finals.outcomes.insert("t1".into(), FinalOutcome::Unknown);
        };
        assert_eq!(broken(unknown), ["termination.outcome"]);
        assert_eq!(broken(|run| drop(run.finals.outcomes.remove("t1"))), ["termination.outcome"]);
        let gone = broken(|run| {
            unknown(run);
            run.finals.gone.insert(Host::Coordinator);
        });
        assert_eq!(gone, [""; 0]);
    }

    #[test]
    fn every_call_ends_even_if_the_coordinator_is_gone() {
        let found = broken(|run| {
            run.calls[0].told_us = None;
            run.finals.gone.insert(Host::Coordinator);
        });
        assert_eq!(found, ["termination.answered"]);
    }

    #[test]
    fn doubt_is_measured_from_the_vote_to_the_end_across_restarts() {
        let run = waiting();
        let (p1, p2) = ("t1".to_owned(), "t2".to_owned());
        let first = InDoubt { tx: p1, participant: 1, from_us: 10, until_us: Some(50) };
        let second = InDoubt { tx: p2, participant: 2, from_us: 20, until_us: None };
        assert_eq!(in_doubt(&run), [first, second.clone()]);
        assert_eq!(longest_in_doubt(&run), Some(second));
        assert_eq!(in_doubt(&run).iter().map(|branch| branch.lasted_us(&run)).collect::<Vec<_>>(), [40, 80]);
    }

    #[test]
    fn a_fault_blocks_who_is_in_doubt_when_it_ends() {
        let blocked = blocked(&waiting());
        let held: Vec<Vec<&str>> =
            blocked.iter().map(|fault| fault.transactions.iter().map(String::as_str).collect()).collect();
        assert_eq!(held, [vec!["t1", "t2"], vec!["t2"]]);
        assert_eq!(blocked.iter().map(|fault| fault.until_us).collect::<Vec<_>>(), [30, 80]);
    }

    #[test]
    fn only_definite_answers_count_as_answered() {
        let mut run = healthy();
        assert_eq!(share_answered(&run), 1.0);
        run.calls.truncate(4);
        run.calls[0].reply = Reply::Unknown("silence".into());
        assert_eq!(share_answered(&run), 0.75);
        run.calls.clear();
        assert_eq!(share_answered(&run), 1.0);
    }
}
