//! What was lost because an earlier state of a disk was put back, and how much of that excuses anybody.
//!
//! A loss is accounted for if an operator has accepted it; or if it could not be noticed: then nobody who was reached knew of what
//! the disk lacks (`Recalled`, `Welcomed` in the trace). Nothing else excuses it, and what is lost has to be listed besides; see
//! [`super::atomicity`].

use crate::plan::Host;
use crate::run::{Participant, PutBack, Run};
use crate::trace::{Event, Standing};
use std::collections::BTreeSet;

/// Losses that are accounted for.
pub(super) fn accounted(run: &Run) -> impl Iterator<Item = &PutBack> {
    run.finals.put_back.iter().filter(|put_back| is_accepted(run, put_back) || !was_noticeable(run, put_back))
}

fn is_accepted(run: &Run, put_back: &PutBack) -> bool {
    run.finals.accepted.iter().any(|(host, asked_us)| own(*host) == put_back.host && *asked_us >= put_back.at_us)
}

/// Somebody who was reached knew better.
fn was_noticeable(run: &Run, put_back: &PutBack) -> bool {
    run.trace.iter().filter(|entry| entry.at_us >= put_back.at_us).any(|entry| match &entry.event {
        Event::Standing {
            what: Standing::Recalled { by, lacks, it_lacks, .. } | Standing::Welcomed { by, lacks, it_lacks },
        } => match put_back.host {
            Host::Coordinator => lacks.is_some(),
            host @ (Host::Participant(_) | Host::Standby | Host::Client(_)) => *by == host && it_lacks.is_some(),
        },
        _ => false,
    })
}

fn own(host: Host) -> Host {
    if host.is_coordinator() { Host::Coordinator } else { host }
}

/// Participants that have lost something.
pub(super) fn losers(run: &Run) -> BTreeSet<Participant> {
    let losers = run.finals.put_back.iter().filter(|put_back| !put_back.lost.is_empty());
    let participants = losers.filter_map(|put_back| match put_back.host {
        Host::Participant(number) => Some(number),
        Host::Coordinator | Host::Standby | Host::Client(_) => None,
    });
    participants.collect()
}

/// Transactions that the coordinator has lost its records of.
pub(super) fn lost_by_coordinator(run: &Run) -> impl Iterator<Item = &str> {
    let own = accounted(run).filter(|put_back| put_back.host == Host::Coordinator);
    own.flat_map(|put_back| &put_back.lost).map(String::as_str)
}
