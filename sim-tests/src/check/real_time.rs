//! Strict serializability: the order that explains a history is also the one in which clients saw it happen.
//!
//! If one transaction was answered before another was asked for, it comes before it. Two-phase commit keeps that, since
//! a branch lets go of its locks only once its transaction is decided, although reads come back with the vote.
//!
//! * `stale`: excused like all isolation, see [`super::isolation`]. A transaction without an answer comes before
//!   nobody. Circles that close without real time are `isolation`'s.

use super::Violation;
use super::isolation::found_in_real_time;
use crate::run::Run;

pub fn check(run: &Run) -> Vec<Violation> {
    if run.finals.excuses_data() {
        return Vec::new();
    }
    found_in_real_time(run).into_iter().map(Violation::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, read_write, rules};
    use crate::check::isolation;
    use crate::run::{FinalOutcome, Op, Reads, Reply, Work};

    /// t2 reads what was before t1, although t1 was answered before t2 was asked for.
    fn stale() -> Run {
        let work = Work::from([(1, vec![Op::ReadRegister { register: 0 }])]);
        let mut run = Fixture::default().commit("t1", read_write(&[1])).commit("t2", work).run();
        let reads = Some(Reads::from([(1, vec![None])]));
        run.calls[1].reply = Reply::Committed(reads.clone());
        run.finals.outcomes.insert("t2".into(), FinalOutcome::Committed { reads, damaged: false });
        run
    }

    #[test]
    fn a_read_of_the_past_is_serializable_and_found_all_the_same() {
        assert_eq!(rules(check, &stale()), ["real-time.stale"]);
        assert_eq!(rules(isolation::check, &stale()), [""; 0]);
        assert!(check(&stale())[0].what.contains("t1 was answered before t2 was asked for"));
    }

    #[test]
    fn who_asks_before_the_other_is_answered_may_come_first() {
        let mut run = stale();
        run.calls[1].asked_us = run.calls[0].told_us.unwrap();
        assert_eq!(rules(check, &run), [""; 0]);
        let mut run = stale();
        run.calls[0].reply = Reply::Unknown("silence".into());
        assert_eq!(rules(check, &run), [""; 0]);
    }

    #[test]
    fn a_third_transaction_that_overlaps_both_does_not_hide_a_stale_read() {
        let mut run = stale();
        let mut third = Fixture::default().commit("t3", read_write(&[2])).run();
        let mut call = third.calls.remove(0);
        call.asked_us = run.calls[0].told_us.unwrap();
        call.told_us = Some(run.calls[1].asked_us - 1);
        run.calls.push(call);
        run.finals.outcomes.append(&mut third.finals.outcomes);
        run.finals.participants.insert(2, third.finals.participants[&2].clone());
        assert_eq!(rules(check, &run), ["real-time.stale"]);
        assert_eq!(rules(isolation::check, &run), [""; 0]);
    }

    #[test]
    fn lost_records_and_operators_excuse_who_was_touched() {
        for tx in ["t1", "t2"] {
            let mut run = stale();
            run.finals.excused.insert(tx.into());
            assert_eq!(rules(check, &run), [""; 0]);
        }
        let mut run = stale();
        run.finals.participants.get_mut(&1).unwrap().heuristics.insert("t1".into(), true);
        assert_eq!(rules(check, &run), [""; 0]);
        let mut run = stale();
        run.finals.excused_data = true;
        assert_eq!(rules(check, &run), [""; 0]);
    }
}
