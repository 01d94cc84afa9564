//! The promise that after the healing nothing is left over: no branch in doubt, no lock.
//!
//! * `branch`: excused where its coordinator has lost its disk or is gone for good, which each branch says by itself:
//!   it has to wait for an operator. What an operator has resolved is kept as a record and holds nothing.
//! * `lock`: the probe touches everything, so it cannot commit while such an orphan keeps its locks, nor without a
//!   coordinator.
//! * Both are excused if a lying disk destroyed an epoch or an identity: participants refuse a coordinator whose epoch
//!   has gone back (R5), and nothing is decided until it has caught up. A lost record of one transaction excuses
//!   nothing: its abort is presumed.

use super::Violation;
use super::facts;
use crate::run::{OpenBranch, Participant, Reply, Run};

pub fn check(run: &Run) -> Vec<Violation> {
    if run.finals.excused_epochs {
        return Vec::new();
    }
    let left = open(run).filter(|(_, branch)| !branch.orphaned_by_design);
    let mut broken: Vec<Violation> = left
        .map(|(participant, OpenBranch { tx, state, .. })| {
            Violation::of("orphans.branch", tx, format!("{tx} is still {state} at p{participant}"))
        })
        .collect();
    broken.extend(probe(run));
    broken
}

fn open(run: &Run) -> impl Iterator<Item = (Participant, &OpenBranch)> {
    let all = run.finals.participants.iter().flat_map(|(name, found)| found.open.iter().map(|branch| (*name, branch)));
    all.filter(|(_, branch)| !facts::is_resolved(&branch.state))
}

/// Returns true if somebody waits for ever because nobody is left who could decide.
pub(super) fn is_blocked_by_design(run: &Run) -> bool {
    facts::coordinator_is_gone(run) || open(run).any(|(_, branch)| branch.orphaned_by_design)
}

fn probe(run: &Run) -> Option<Violation> {
    let came_to = match &run.finals.probe {
        Some(Reply::Committed(_)) => return None,
        Some(Reply::Aborted(reason)) => format!("aborted ({reason})"),
        Some(Reply::Nested { .. }) => "is nested".to_owned(),
        Some(Reply::Refused(reason)) => format!("was refused ({reason})"),
        Some(Reply::Unknown(reason)) => format!("is unknown ({reason})"),
        None => "was never made".to_owned(),
    };
    let what = format!("after the healing a transaction that touches everything {came_to}: a lock was left behind");
    (!is_blocked_by_design(run)).then(|| Violation::new("orphans.lock", what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{healthy, rules};
    use crate::plan::Host;

    fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = healthy();
        change(&mut run);
        rules(check, &run)
    }

    fn leave(state: &str, orphaned_by_design: bool) -> impl Fn(&mut Run) {
        let branch = OpenBranch { tx: "t1".into(), state: state.into(), orphaned_by_design };
        move |run| run.finals.participants.get_mut(&1).unwrap().open.push(branch.clone())
    }

    fn fail_the_probe(run: &mut Run) {
        run.finals.probe = Some(Reply::Aborted("lock-conflict".into()));
    }

    #[test]
    fn a_branch_left_in_doubt_is_found_unless_nobody_is_left_to_decide_it() {
        assert_eq!(broken(leave("prepared", false)), ["orphans.branch"]);
        assert_eq!(broken(leave("read-only", false)), ["orphans.branch"]);
        assert_eq!(broken(leave("prepared", true)), [""; 0]);
        assert_eq!(broken(leave("heuristically-committed", false)), [""; 0]);
    }

    #[test]
    fn a_lock_left_behind_is_found_by_the_probe_unless_an_orphan_has_it() {
        assert_eq!(broken(fail_the_probe), ["orphans.lock"]);
        assert_eq!(broken(|run| run.finals.probe = None), ["orphans.lock"]);
        let orphan = broken(|run| {
            fail_the_probe(run);
            leave("prepared", true)(run);
        });
        assert_eq!(orphan, [""; 0]);
        let gone = broken(|run| {
            fail_the_probe(run);
            run.finals.gone.insert(Host::Coordinator);
        });
        assert_eq!(gone, [""; 0]);
    }

    #[test]
    fn a_lost_epoch_excuses_who_still_waits_and_a_lost_record_does_not() {
        let lost = |altogether: bool| {
            broken(|run| {
                leave("prepared", false)(run);
                run.finals.excused_epochs = altogether;
                run.finals.excused.insert("t1".into());
            })
        };
        assert_eq!(lost(true), [""; 0]);
        assert_eq!(lost(false), ["orphans.branch"]);
    }
}
