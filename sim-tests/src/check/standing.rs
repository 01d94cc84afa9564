//! A server whose log was put back neither speaks nor serves before that is seen to, and no other is taken for one.
//!
//! What a server has to know of another's log is known to the simulation by what has reached it (`world/witness.rs`).
//!
//! * `spoke`: a coordinator serves only after an operator has accepted the loss, if a participant that it has asked in this start
//!   knew what its log lacks.
//! * `unasked`: a coordinator serves only after each participant has answered, or after the time for that.
//! * `signed`: a coordinator with a folder that was copied serves only after all have answered, or an operator has accepted; a
//!   participant with one welcomes nobody before an operator has accepted.
//! * `served`: a participant welcomes no coordinator that has to know what its log lacks.
//! * `forgot`: a participant that is asked shows the highest number that it has to know.
//! * `unheeded`: nor does it hide from one that asks that it was put back.
//! * `claimed`: a coordinator says hello to nobody before it serves.
//! * `run-again`: an id that committed is not begun again by a coordinator that has heard so before an operator accepted its loss;
//!   nor has it aborted in the end. Excused if the disk has lost that again.
//! * `went-on`: a coordinator that a session shows what its log lacks says nothing in it.
//! * `false-alarm`: nobody is held, and nobody refuses, while no disk has lost anything that was stable.
//!
//! Nothing excuses any of them: they are about what one process knows.

use super::Violation;
use super::facts::retention_passed;
use crate::plan::Host;
use crate::run::{FinalOutcome, Run};
use crate::trace::{Entry, Event, Standing};
use std::collections::{BTreeMap, BTreeSet};

/// As `witness_wait_ms` of a coordinator comes.
const WAIT_US: u64 = 500_000;

pub fn check(run: &Run) -> Vec<Violation> {
    let mut watch = Watch {
        run,
        lives: BTreeMap::new(),
        signed: BTreeSet::new(),
        taken_back: BTreeMap::new(),
        has_lost: false,
        broken: Vec::new(),
    };
    run.trace.iter().for_each(|entry| watch.heed(entry));
    watch.end();
    watch.broken
}

/// A process since its start.
#[derive(Debug, Default)]
struct Life {
    started_us: u64,
    /// Participants that have answered.
    asked: BTreeSet<Host>,
    /// What it was told that its log lacks.
    lacks: Option<String>,
    accepts: bool,
    serves: bool,
    /// What participants say that they have committed.
    remembered: BTreeSet<String>,
    /// Sessions that have shown it what its log lacks.
    stale: BTreeMap<Host, String>,
}

struct Watch<'a> {
    run: &'a Run,
    lives: BTreeMap<Host, Life>,
    /// Whose folders showed that they are copies, until that is seen to.
    signed: BTreeSet<Host>,
    /// What committed, as a coordinator has heard before its loss was accepted; and when it began to serve.
    taken_back: BTreeMap<String, u64>,
    has_lost: bool,
    broken: Vec<Violation>,
}

/// By the disk.
fn own(host: Host) -> Host {
    if host == Host::Standby { Host::Coordinator } else { host }
}

impl Watch<'_> {
    fn heed(&mut self, Entry { at_us, host, event }: &Entry) {
        let Some(host) = *host else { return };
        match event {
            Event::Started => drop(self.lives.insert(host, Life { started_us: *at_us, ..Life::default() })),
            Event::Disk { what } => self.disk(host, what),
            Event::Standing { what } => self.standing(*at_us, host, what),
            Event::Serving if host.is_coordinator() => self.serves(*at_us, host),
            Event::Sent { to, message, tx, .. } if host.is_coordinator() => {
                let stale = self.lives.get(&host).and_then(|life| life.stale.get(to)).cloned();
                if let Some(lack) = stale {
                    self.breaks("standing.went-on", *at_us, format!("{host} sends {to} a {message} of {tx}: {lack}"));
                }
            }
            Event::Noted { tx, note, .. } if host.is_coordinator() && note.starts_with("begun") => {
                let since = self.taken_back.get(tx).copied();
                if since.is_some_and(|since_us| !retention_passed(self.run, since_us, *at_us)) {
                    let what = format!("{host} begins {tx} again, of which it has heard that it committed");
                    self.breaks("standing.run-again", *at_us, what);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        let aborted = |tx: &String| match self.run.finals.outcomes.get(tx) {
            Some(FinalOutcome::Aborted { .. }) => true,
            Some(FinalOutcome::NotFound) => {
                let since_us = self.taken_back[tx];
                !retention_passed(self.run, since_us, self.run.simulated_us)
            }
            Some(FinalOutcome::Committed { .. } | FinalOutcome::GivenUp | FinalOutcome::Unknown) | None => false,
        };
        let aborted: Vec<String> = self.taken_back.keys().filter(|tx| aborted(tx)).cloned().collect();
        for tx in aborted {
            let what = format!("the coordinator has heard that {tx} committed, and in the end it has not");
            self.breaks("standing.run-again", self.run.simulated_us, what);
        }
    }

    fn standing(&mut self, at_us: u64, host: Host, what: &Standing) {
        let life = self.lives.entry(host).or_default();
        match what {
            Standing::Signed => drop(self.signed.insert(own(host))),
            Standing::PutBack { .. } => self.loses(host),
            Standing::Remembers { committed, .. } => life.remembered.extend(committed.iter().cloned()),
            Standing::Greets { whom } => {
                if !life.serves {
                    self.breaks("standing.claimed", at_us, format!("{host} says hello to {whom} before it may serve"));
                }
            }
            Standing::Held | Standing::Refuses => {
                if !self.has_lost {
                    let what =
                        format!("{host} is taken for an old copy though no disk has lost anything that was stable");
                    self.breaks("standing.false-alarm", at_us, what);
                }
            }
            Standing::Recalled { by, lacks, it_lacks, it_says_so, forgot } => {
                life.asked.insert(*by);
                if life.lacks.is_none() {
                    life.lacks.clone_from(lacks);
                }
                if let Some(number) = forgot {
                    self.breaks("standing.forgot", at_us, format!("{by} does not show {host} its {number}"));
                }
                if let Some(lack) = it_lacks.as_ref().filter(|_| !it_says_so) {
                    self.breaks("standing.unheeded", at_us, format!("{by} does not say that it was put back: {lack}"));
                }
            }
            Standing::Welcomed { by, lacks, it_lacks } => self.welcomed(at_us, host, *by, lacks, it_lacks),
            Standing::Accepts => life.accepts = true,
            Standing::Rejected { .. } => life.accepts = false,
        }
    }

    fn breaks(&mut self, rule: &'static str, at_us: u64, what: String) {
        self.broken.push(Violation::new(rule, what).at(at_us));
    }

    /// What happens to a disk may destroy what it held, also that it was a copy.
    fn disk(&mut self, host: Host, what: &str) {
        let destroys = ["RolledBack", "Wiped", "Swapped", "Rewritten", "Scrubbed", "LiedAboutSync"];
        if destroys.iter().any(|event| what.starts_with(event)) {
            self.loses(host);
        }
    }

    fn loses(&mut self, host: Host) {
        self.has_lost = true;
        self.signed.remove(&own(host));
        if own(host) == Host::Coordinator {
            self.taken_back.clear();
        }
    }

    fn serves(&mut self, at_us: u64, host: Host) {
        let Some(life) = self.lives.get_mut(&host) else { return };
        life.serves = true;
        if life.accepts {
            self.taken_back.extend(life.remembered.iter().map(|tx| (tx.clone(), at_us)));
        }
        let participants = usize::from(self.run.plan.shape.participants);
        let (accepted, all) = (life.accepts, life.asked.len() == participants);
        if let Some(lack) = life.lacks.clone().filter(|_| !accepted) {
            self.breaks("standing.spoke", at_us, format!("{host} serves: {lack}"));
        } else if !accepted && !all && at_us < life.started_us + WAIT_US {
            self.breaks("standing.unasked", at_us, format!("{host} serves before it has waited for all participants"));
        } else if !accepted && !all && self.signed.contains(&own(host)) {
            let what = format!("{host} serves from a copied folder, and not every participant has answered");
            self.breaks("standing.signed", at_us, what);
        }
        self.signed.remove(&own(host));
    }

    fn welcomed(&mut self, at_us: u64, host: Host, by: Host, lacks: &Option<String>, it_lacks: &Option<String>) {
        let life = self.lives.entry(host).or_default();
        match lacks {
            Some(lack) => drop(life.stale.insert(by, lack.clone())),
            None => drop(life.stale.remove(&by)),
        }
        let accepted = self.lives.get(&by).is_some_and(|life| life.accepts);
        if let Some(lack) = it_lacks {
            self.breaks("standing.served", at_us, format!("{by} welcomes {host}: {lack}"));
        } else if self.signed.contains(&by) && !accepted {
            self.breaks("standing.signed", at_us, format!("{by} welcomes {host} from a copied folder"));
        }
        if accepted {
            self.signed.remove(&by);
        }
    }
}
