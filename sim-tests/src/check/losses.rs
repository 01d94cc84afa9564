//! The losses of disks that were put back, and how much of them excuses anybody.
//!
//! A loss is accounted for if an operator has accepted it; or if it could not be noticed: then the folder shows no sign, and nobody
//! who was reached knew of what the disk lacks (`Recalled`, `Welcomed` in the trace). A coordinator's folder that shows a sign is
//! cleared where no participant keeps or has seen anything that it lacks; then it may lack only what has changed nothing, which is
//! presumed aborted. Nothing else excuses a loss, and what a participant has lost has to be listed besides; see
//! [`super::atomicity`].

use super::facts;
use crate::plan::Host;
use crate::run::{Call, CallKind, Participant, PutBack, Reply, Run};
use crate::trace::{Entry, Event, Standing};
use std::collections::BTreeSet;

/// Returns the losses that are accounted for: the transactions, and where they were lost.
pub(super) fn accounted(run: &Run) -> impl Iterator<Item = (Host, &str)> {
    run.finals.put_back.iter().flat_map(move |put_back| {
        let all = is_accepted(run, put_back) || could_not_be_noticed(run, put_back);
        let cleared = put_back.host == Host::Coordinator && !all && !was_shown(run, put_back);
        let lost = put_back.lost.iter().filter(move |tx| all || cleared && changed_nothing(run, tx));
        lost.map(|tx| (put_back.host, tx.as_str()))
    })
}

/// Returns true if it aborted, or only read.
fn changed_nothing(run: &Run, tx: &str) -> bool {
    let writes = |call: &Call| match &call.kind {
        CallKind::Submit(work) | CallKind::SubmitOther(work) => facts::writers(work).next().is_some(),
        CallKind::Cancel | CallKind::Ask => false,
    };
    let calls = || run.calls.iter().filter(|call| call.tx == tx);
    let was_told = calls().any(|call| matches!(call.reply, Reply::Committed(_)));
    let in_effect = run.finals.participants.values().any(|found| found.marks.contains(tx));
    !(in_effect || was_told && calls().any(writes))
}

/// Returns true if an operator has accepted the loss.
pub fn is_accepted(run: &Run, put_back: &PutBack) -> bool {
    run.finals.accepted.iter().any(|(host, asked_us)| own(*host) == put_back.host && *asked_us >= put_back.at_us)
}

/// Returns true if nothing has shown that the disk was put back, until it was put back again.
pub fn could_not_be_noticed(run: &Run, put_back: &PutBack) -> bool {
    !put_back.signed && !was_shown(run, put_back)
}

fn was_shown(run: &Run, put_back: &PutBack) -> bool {
    let again = run.finals.put_back.iter().find(|next| next.host == put_back.host && next.at_us > put_back.at_us);
    let during = put_back.at_us..again.map_or(u64::MAX, |again| again.at_us);
    let is_shown = |entry: &Entry| {
        let Event::Standing {
            what: Standing::Recalled { by, lacks, it_lacks, .. } | Standing::Welcomed { by, lacks, it_lacks },
        } = &entry.event
        else {
            return false;
        };
        match put_back.host {
            Host::Coordinator => lacks.is_some(),
            host @ (Host::Participant(_)
            | Host::Database(_)
            | Host::Service(_)
            | Host::Standby
            | Host::Client(_)
            | Host::Reader(_)) => *by == host && it_lacks.is_some(),
        }
    };
    run.trace.iter().filter(|entry| during.contains(&entry.at_us)).any(is_shown)
}

fn own(host: Host) -> Host {
    if host.is_coordinator() { Host::Coordinator } else { host }
}

/// Returns the participants that have lost something.
pub(super) fn losers(run: &Run) -> BTreeSet<Participant> {
    let losers = run.finals.put_back.iter().filter(|put_back| !put_back.lost.is_empty());
    let participants = losers.filter_map(|put_back| match put_back.host {
        Host::Participant(number) => Some(number),
        Host::Coordinator
        | Host::Standby
        | Host::Database(_)
        | Host::Service(_)
        | Host::Client(_)
        | Host::Reader(_) => None,
    });
    participants.collect()
}

/// Returns true if an operator has accepted what the participant's disk has lost, by being put back or by itself (S4), whether or
/// not that was anything.
pub(super) fn may_have_lost(run: &Run, participant: Participant) -> bool {
    run.finals.accepted.iter().any(|(host, _)| *host == Host::Participant(participant))
}

/// Returns the transactions that the coordinator has lost its records of.
pub(super) fn lost_by_coordinator(run: &Run) -> impl Iterator<Item = &str> {
    accounted(run).filter(|(host, _)| *host == Host::Coordinator).map(|(_, tx)| tx)
}

/// Returns the run without the excuse for what could not be noticed; `None` if there was no use of it.
pub fn without_excuse(run: &Run) -> Option<Run> {
    let excused: Vec<bool> = run
        .finals
        .put_back
        .iter()
        .map(|put_back| !put_back.lost.is_empty() && !is_accepted(run, put_back) && could_not_be_noticed(run, put_back))
        .collect();
    if !excused.contains(&true) {
        return None;
    }
    let mut run = run.clone();
    for (put_back, excused) in run.finals.put_back.iter_mut().zip(excused) {
        if excused {
            put_back.lost.clear();
        }
    }
    Some(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::atomicity;
    use crate::check::durability;
    use crate::check::fixture::{Fixture, rules, transfer};
    use crate::plan::Copied;
    use crate::run::FinalOutcome;

    /// The coordinator has forgotten a commit that a client was told of.
    fn forgotten(signed: bool) -> Run {
        let mut run = Fixture::default().commit("t1", transfer(1, 2, 10)).run();
        run.finals.outcomes.insert("t1".into(), FinalOutcome::Aborted { damaged: false });
        put_back(&mut run, Host::Coordinator, signed);
        run
    }

    fn put_back(run: &mut Run, host: Host, signed: bool) {
        let (at_us, lost) = (run.simulated_us, BTreeSet::from(["t1".to_owned()]));
        run.finals.put_back.push(PutBack { host, at_us, copy: Copied::Snapshot, signed, lost });
    }

    fn shown(run: &mut Run, lacks: Option<&str>) {
        let lacks = lacks.map(str::to_owned);
        let what =
            Standing::Recalled { by: Host::Participant(1), lacks, it_lacks: None, it_says_so: false, forgot: None };
        let at_us = run.simulated_us + 1;
        run.trace.push(Entry { at_us, host: Some(Host::Coordinator), event: what.into() });
    }

    fn broken(run: &Run) -> Vec<&'static str> {
        [rules(atomicity::check, run), rules(durability::check, run)].concat()
    }

    #[test]
    fn a_silent_loss_is_found_unless_no_sign_was_there_and_nobody_who_was_reached_knew() {
        let mut run = forgotten(false);
        shown(&mut run, None);
        assert_eq!(broken(&run), [""; 0]);
        assert_eq!(broken(&without_excuse(&run).unwrap()), ["atomicity.outcome", "durability.outcome"]);
        shown(&mut run, Some("the log holds fewer writes"));
        assert_eq!(broken(&run), ["atomicity.outcome", "durability.outcome"]);
        assert_eq!(broken(&forgotten(true)), ["atomicity.outcome", "durability.outcome"]);
    }

    #[test]
    fn a_loss_that_an_operator_accepted_afterwards_is_none_in_silence() {
        let mut run = forgotten(true);
        run.finals.accepted.push((Host::Coordinator, run.simulated_us - 1));
        assert_eq!(broken(&run), ["atomicity.outcome", "durability.outcome"]);
        run.finals.accepted.push((Host::Standby, run.simulated_us + 1));
        assert_eq!(broken(&run), [""; 0]);
        assert!(without_excuse(&run).is_none());
    }

    #[test]
    fn a_copy_that_all_have_cleared_may_lack_what_never_committed() {
        let mut run = Fixture::default().abort("t1", transfer(1, 2, 10)).run();
        run.finals.outcomes.insert("t1".into(), FinalOutcome::NotFound);
        assert_eq!(broken(&run), ["durability.outcome"]);
        put_back(&mut run, Host::Coordinator, true);
        assert_eq!(broken(&run), [""; 0]);
    }

    #[test]
    fn only_what_the_put_back_disk_has_lost_is_excused() {
        let mut run = forgotten(false);
        run.finals.put_back[0].lost = BTreeSet::from(["t2".to_owned()]);
        assert_eq!(broken(&run), ["atomicity.outcome", "durability.outcome"]);
    }

    #[test]
    fn what_a_participant_has_lost_has_to_be_listed_though_an_operator_accepted_it() {
        let mut run = Fixture::default().commit("t1", transfer(1, 2, 10)).run();
        run.finals.participants.get_mut(&2).unwrap().marks.clear();
        put_back(&mut run, Host::Participant(2), true);
        assert_eq!(broken(&run), ["atomicity.partial", "durability.effect"]);
        run.finals.accepted.push((Host::Participant(2), run.simulated_us + 1));
        assert_eq!(broken(&run), ["atomicity.loss-unlisted"]);
        run.finals.outcomes.insert("t1".into(), FinalOutcome::Committed { reads: None, damaged: true });
        assert_eq!(broken(&run), [""; 0]);
    }
}
