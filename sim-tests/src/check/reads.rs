//! The promise that what a lone branch has read can be had again until it is heard.
//!
//! * `unheard`: a participant that has answered a read which was all that a transaction did, in a session that stands, does
//!   not say afterwards in that session that it had not executed it: the answer came first, and was heard. Excused if
//!   that participant was started anew since, or if its votes are delayed on purpose.

use super::Violation;
use super::facts::transactions;
use crate::plan::{Direction, Host, Message, Tampering, What};
use crate::run::{Op, Participant, Run, Work};
use crate::trace::Event;
use std::collections::{BTreeMap, BTreeSet};

pub fn check(run: &Run) -> Vec<Violation> {
    let reads = transactions(run).into_values().filter_map(|transaction| {
        let reader = lone_reader(transaction.work()?)?;
        (!votes_are_delayed(run, reader)).then_some((transaction.tx, reader))
    });
    let reads: BTreeMap<&str, Participant> = reads.collect();
    let reads_at = |tx: &str, host| reads.get(tx).is_some_and(|reader| Host::Participant(*reader) == host);
    let mut broken = Vec::new();
    // Reads that were answered in the session that stands.
    let mut answered: BTreeSet<&str> = BTreeSet::new();
    for entry in &run.trace {
        match (&entry.event, entry.host) {
            (Event::SessionStands { with }, _) => answered.retain(|tx| Host::Participant(reads[tx]) != *with),
            (Event::Started, Some(host)) => answered.retain(|tx| Host::Participant(reads[tx]) != host),
            (Event::Sent { message, tx, .. }, Some(host)) if message == "vote" && reads_at(tx, host) => {
                answered.insert(tx);
            }
            // A transaction that is begun anew has read nothing.
            (Event::Noted { tx, note, .. }, _) if note.starts_with("begun") => drop(answered.remove(tx.as_str())),
            (Event::Noted { tx, note, .. }, _)
                if note.ends_with("had not executed it") && answered.contains(tx.as_str()) =>
            {
                let reader = reads[tx.as_str()];
                let what = format!("p{reader} has answered what {tx} reads, and says that it had not executed it");
                broken.push(Violation::of("reads.unheard", tx, what).at(entry.at_us));
            }
            _ => {}
        }
    }
    broken
}

/// The participant of a transaction that does nothing but read there.
fn lone_reader(work: &Work) -> Option<Participant> {
    let (reader, ops) = work.iter().next().filter(|_| work.len() == 1)?;
    (!ops.iter().any(Op::writes)).then_some(*reader)
}

fn votes_are_delayed(run: &Run, reader: Participant) -> bool {
    run.plan.faults.iter().any(|fault| {
        let What::Tamper { participant, direction, message, tampering, .. } = &fault.what else { return false };
        let is_its_vote = (*participant, *direction, *message) == (reader, Direction::ToCoordinator, Message::Vote);
        is_its_vote && matches!(tampering, Tampering::Delay { .. })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, audit, rules, sent};
    use crate::plan::{Fault, When};
    use crate::trace::Entry;

    /// A lone read at p1: answered twice, with `between` the two, and then said not to have been executed.
    fn said_not_to_be_executed(answers: usize, between: Option<Event>) -> Run {
        let mut run = Fixture::default().abort("t1", audit(&[1])).run();
        let at_us = run.simulated_us;
        let vote = || Entry { host: Some(Host::Participant(1)), ..sent(at_us, "t1", 1, "vote", 1 << 40) };
        let by_coordinator = |event| Entry { at_us, host: Some(Host::Coordinator), event };
        run.trace.extend((0..answers).map(|_| vote()));
        run.trace.extend(between.map(by_coordinator));
        let note = "decided aborted: p1 had not executed it".to_owned();
        run.trace.push(by_coordinator(Event::Noted { tx: "t1".into(), phase: None, note }));
        run
    }

    #[test]
    fn a_read_that_was_answered_and_is_said_never_to_have_been_executed_is_found() {
        assert_eq!(rules(check, &said_not_to_be_executed(1, None)), ["reads.unheard"]);
    }

    #[test]
    fn a_read_that_was_not_answered_or_in_an_earlier_session_is_no_harm() {
        assert_eq!(rules(check, &said_not_to_be_executed(0, None)), [""; 0]);
        let with = |host| Some(Event::SessionStands { with: host });
        assert_eq!(rules(check, &said_not_to_be_executed(1, with(Host::Participant(1)))), [""; 0]);
        assert_eq!(rules(check, &said_not_to_be_executed(1, with(Host::Participant(2)))), ["reads.unheard"]);
    }

    #[test]
    fn an_answer_that_is_delayed_on_purpose_excuses_it() {
        let mut run = said_not_to_be_executed(1, None);
        let (direction, message) = (Direction::ToCoordinator, Message::Vote);
        let tampering = Tampering::Delay { by_ms: 9 };
        let what = What::Tamper { participant: 1, direction, message, count: 1, tampering };
        run.plan.faults.push(Fault { when: When::At { ms: 1 }, what });
        assert_eq!(rules(check, &run), [""; 0]);
    }
}
