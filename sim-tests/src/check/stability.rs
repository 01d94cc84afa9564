//! Decided once, for ever, whoever says it and in whatever epoch.
//!
//! An attempt is known by its attempt number. What counts as decided: a commit or an abort that was sent, a record that
//! is stable, an answer that a client has. That a coordinator has *decided* to commit does not count before it is
//! logged (R1).
//!
//! * `both`, `twice`, `again`, `aborted-again`, `told`: excused for a transaction whose decision a lying disk
//!   destroyed: its coordinator has to presume an abort, and lets the id begin anew. Where the retention has passed, an
//!   id is as good as new.
//! * `noted`: nothing excuses a coordinator that contradicts itself within one attempt, without a restart.

use super::Violation;
use super::facts::{Transaction, retention_passed, transactions};
use crate::plan::Host;
use crate::run::Run;
use crate::trace::{Event, Phase};
use std::collections::BTreeMap;
use undoubt_vocabulary::AttemptNumber;

pub fn check(run: &Run) -> Vec<Violation> {
    let attempts = attempts(run);
    let none = Attempts::new();
    let submitted = transactions(run).into_values().filter(|transaction| !transaction.is_excused());
    let sent = submitted.flat_map(|transaction| {
        let attempts = attempts.get(transaction.tx).unwrap_or(&none);
        let mut broken = decisions(run, transaction.tx, attempts);
        broken.extend(acknowledged(run, &transaction, attempts));
        broken
    });
    sent.chain(noted(run)).collect()
}

/// The times at which an attempt's messages were sent first.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    prepared_us: Option<u64>,
    committed_us: Option<u64>,
    aborted_us: Option<u64>,
}

type Attempts = BTreeMap<AttemptNumber, Attempt>;

fn attempts(run: &Run) -> BTreeMap<&str, Attempts> {
    let mut all: BTreeMap<&str, Attempts> = BTreeMap::new();
    for entry in &run.trace {
        let Event::Sent { message, tx, attempt_number, .. } = &entry.event else { continue };
        let attempt = all.entry(tx).or_default().entry(AttemptNumber(*attempt_number)).or_default();
        let first = match message.as_str() {
            "prepare" => &mut attempt.prepared_us,
            "commit" => &mut attempt.committed_us,
            "abort" => &mut attempt.aborted_us,
            _ => continue,
        };
        first.get_or_insert(entry.at_us);
    }
    all
}

fn decisions(run: &Run, tx: &str, attempts: &Attempts) -> Vec<Violation> {
    let mut broken = Vec::new();
    for (attempt_number, attempt) in attempts {
        if let (Some(committed_us), Some(aborted_us)) = (attempt.committed_us, attempt.aborted_us) {
            let (first, second) = (committed_us.min(aborted_us), committed_us.max(aborted_us));
            if !retention_passed(run, first, second) {
                let what = format!("attempt {attempt_number} of {tx} was told to commit and told to abort");
                broken.push(Violation::of("stability.both", tx, what).at(second));
            }
        }
    }
    let committed =
        attempts.iter().filter_map(|(attempt_number, attempt)| Some((*attempt_number, attempt.committed_us?)));
    let Some((first, first_us)) = committed.clone().min_by_key(|(_, us)| *us) else { return broken };
    for (attempt_number, us) in
        committed.filter(|(attempt_number, us)| *attempt_number != first && !retention_passed(run, first_us, *us))
    {
        let what = format!("{tx} was committed twice: as attempt {first} and as attempt {attempt_number}");
        broken.push(Violation::of("stability.twice", tx, what).at(us));
    }
    let later = attempts
        .range(first.next()..)
        .filter_map(|(attempt_number, attempt)| Some((attempt_number, attempt.prepared_us?)));
    for (attempt_number, us) in later.filter(|(_, us)| *us >= first_us && !retention_passed(run, first_us, *us)) {
        let what = format!("{tx} was committed as attempt {first}, and begun again as attempt {attempt_number}");
        broken.push(Violation::of("stability.again", tx, what).at(us));
    }
    broken
}

/// Compares what clients were told with what the participants were told.
fn acknowledged(run: &Run, transaction: &Transaction<'_>, attempts: &Attempts) -> Vec<Violation> {
    let tx = transaction.tx;
    let mut broken = Vec::new();
    if let Some(told_us) = transaction.told_aborted_us() {
        let begun_again = begun_after(attempts, told_us).filter(|(_, us)| !retention_passed(run, told_us, *us));
        broken.extend(begun_again.map(|(attempt_number, us)| {
            let what =
                format!("a client was told that {tx} aborted, and it was begun again as attempt {attempt_number}");
            Violation::of("stability.aborted-again", tx, what).at(us)
        }));
        let committed =
            attempts.iter().filter_map(|(attempt_number, attempt)| Some((attempt_number, attempt.committed_us?)));
        broken.extend(committed.filter(|(_, us)| !retention_passed(run, told_us, *us)).map(|(attempt_number, us)| {
            let what = format!("a client was told that {tx} aborted, and attempt {attempt_number} was told to commit");
            Violation::of("stability.told", tx, what).at(us)
        }));
    }
    if let Some(told_us) = transaction.told_committed_us() {
        if !attempts.is_empty() && attempts.values().all(|attempt| attempt.aborted_us.is_some()) {
            let what = format!("a client was told that {tx} committed, and each of its attempts was told to abort");
            broken.push(Violation::of("stability.told", tx, what).at(told_us));
        }
        // Who was told to commit is compared by its attempt number already; a branch that commits alone is told
        // nothing.
        if attempts.values().all(|attempt| attempt.committed_us.is_none()) {
            let begun_again = begun_after(attempts, told_us).filter(|(_, us)| !retention_passed(run, told_us, *us));
            broken.extend(begun_again.map(|(attempt_number, us)| {
                let what = format!(
                    "a client was told that {tx} committed, and it was begun again as attempt {attempt_number}"
                );
                Violation::of("stability.again", tx, what).at(us)
            }));
        }
    }
    broken
}

/// Attempts that were sent for the first time after an answer, above all that had been sent before it. A lower attempt
/// number is that of a coordinator which has been replaced: nobody listens to it.
fn begun_after(attempts: &Attempts, told_us: u64) -> impl Iterator<Item = (&AttemptNumber, u64)> {
    let begun = attempts.iter().filter_map(|(attempt_number, attempt)| Some((attempt_number, attempt.prepared_us?)));
    let known = begun.clone().filter(|(_, us)| *us <= told_us).map(|(attempt_number, _)| *attempt_number).max();
    begun.filter(move |(attempt_number, us)| *us > told_us && known.is_none_or(|known| **attempt_number > known))
}

/// A coordinator's own notes, from where an attempt began, or was read from the log, until it begins again.
fn noted(run: &Run) -> Vec<Violation> {
    let mut broken = Vec::new();
    let mut decided: BTreeMap<(Host, &str), bool> = BTreeMap::new();
    for entry in &run.trace {
        let Some(host) = entry.host else { continue };
        if entry.event == Event::Started {
            decided.retain(|(of, _), _| *of != host);
        }
        let Event::Noted { tx, phase, note } = &entry.event else { continue };
        let begins = note.starts_with("begun") || note.starts_with("recovered");
        if begins {
            decided.remove(&(host, tx));
        }
        let Some(committed) = decision(note, *phase) else { continue };
        if *decided.entry((host, tx)).or_insert(committed) != committed {
            let what = format!("{host} has decided {tx} one way and then notes: {note}");
            broken.push(Violation::of("stability.noted", tx, what).at(entry.at_us));
        }
    }
    broken
}

/// Notes begin with the name of what happened; its detail comes last.
fn decision(note: &str, phase: Option<Phase>) -> Option<bool> {
    let mut words = note.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (Some("decided" | "logged" | "recovered"), Some("committed")) => Some(true),
        (Some("decided"), Some("aborted")) => Some(false),
        _ => (phase == Some(Phase::Committing)).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, read_write, rules, sent, transfer};
    use crate::run::Reply;
    use crate::trace::Entry;

    const FIRST: u64 = (1 << 40) + 1;
    const NEXT: u64 = (1 << 40) + 2;

    fn committed() -> Run {
        Fixture::default().commit("t1", transfer(1, 2, 10)).run()
    }

    fn aborted() -> Run {
        Fixture::default().abort("t1", transfer(1, 2, 10)).run()
    }

    /// A branch that commits alone hears of no decision.
    fn alone() -> Run {
        let mut run = Fixture::default().commit("t1", read_write(&[1])).run();
        run.trace.retain(|entry| !matches!(&entry.event, Event::Sent { message, .. } if message == "commit"));
        run
    }

    fn with(mut run: Run, messages: &[(&str, u64)]) -> Run {
        for (message, attempt_number) in messages {
            run.trace.push(sent(run.simulated_us + 1, "t1", 1, message, *attempt_number));
        }
        run
    }

    fn note(run: &mut Run, phase: Phase, note: &str) {
        let event = Event::Noted { tx: "t1".into(), phase: Some(phase), note: note.into() };
        run.trace.push(Entry { at_us: run.simulated_us, host: Some(Host::Coordinator), event });
    }

    #[test]
    fn one_attempt_told_to_commit_and_to_abort_is_found_unless_the_decision_was_destroyed() {
        let mut run = with(committed(), &[("abort", FIRST)]);
        assert_eq!(rules(check, &run), ["stability.both", "stability.told"]);
        run.finals.excused.insert("t1".into());
        assert_eq!(rules(check, &run), [""; 0]);
    }

    #[test]
    fn a_committed_transaction_that_is_begun_again_is_found() {
        assert_eq!(rules(check, &with(committed(), &[("prepare", NEXT)])), ["stability.again"]);
        assert_eq!(rules(check, &with(alone(), &[("prepare", NEXT)])), ["stability.again"]);
        let twice = with(committed(), &[("prepare", NEXT), ("commit", NEXT)]);
        assert_eq!(rules(check, &twice), ["stability.twice", "stability.again"]);
    }

    #[test]
    fn repeating_an_attempt_changes_nothing_and_a_replaced_coordinators_attempt_is_futile() {
        assert_eq!(rules(check, &with(committed(), &[("prepare", FIRST), ("commit", FIRST)])), [""; 0]);
        assert_eq!(rules(check, &with(committed(), &[("prepare", FIRST - 1), ("abort", FIRST - 1)])), [""; 0]);
        assert_eq!(rules(check, &with(alone(), &[("prepare", FIRST - 1)])), [""; 0]);
    }

    #[test]
    fn after_the_retention_an_id_is_new() {
        let mut run = committed();
        run.simulated_us += 3_601_000_000;
        assert_eq!(rules(check, &with(run, &[("prepare", NEXT), ("commit", NEXT)])), [""; 0]);
    }

    #[test]
    fn an_abort_is_kept_once_a_client_knows_it() {
        assert_eq!(rules(check, &with(aborted(), &[("prepare", NEXT)])), ["stability.aborted-again"]);
        let committed = with(aborted(), &[("prepare", NEXT), ("commit", NEXT)]);
        assert_eq!(rules(check, &committed), ["stability.aborted-again", "stability.told"]);
        let mut unknown = with(aborted(), &[("prepare", NEXT), ("commit", NEXT)]);
        unknown.calls[0].reply = Reply::Unknown("silence".into());
        assert_eq!(rules(check, &unknown), [""; 0]);
    }

    #[test]
    fn a_client_that_was_told_committed_though_all_was_aborted_is_found() {
        let mut run = aborted();
        run.calls[0].reply = Reply::Committed(None);
        assert_eq!(rules(check, &run), ["stability.told"]);
    }

    #[test]
    fn a_coordinator_that_contradicts_its_notes_is_found() {
        let mut run = committed();
        note(&mut run, Phase::LoggingEnd, "decided aborted: cancelled");
        assert_eq!(rules(check, &run), ["stability.noted"]);
        let mut run = aborted();
        note(&mut run, Phase::Committing, "voted p1 prepared");
        assert_eq!(rules(check, &run), ["stability.noted"]);
    }

    #[test]
    fn a_decision_that_was_not_logged_binds_nobody_after_a_restart_and_an_attempt_not_the_next() {
        let mut run = committed();
        run.calls[0].reply = Reply::Unknown("silence".into());
        run.trace.retain(|entry| !matches!(&entry.event, Event::Sent { message, .. } if message == "commit"));
        let at_us = run.simulated_us;
        run.trace.push(Entry { at_us, host: Some(Host::Coordinator), event: Event::Started });
        note(&mut run, Phase::Preparing, "begun 2 branches");
        note(&mut run, Phase::LoggingEnd, "decided aborted: cancelled");
        note(&mut run, Phase::Preparing, "begun 2 branches");
        note(&mut run, Phase::LoggingCommit, "decided committed");
        assert_eq!(rules(check, &with(run, &[("abort", FIRST)])), [""; 0]);
    }
}
