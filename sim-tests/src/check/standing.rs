//! A server whose log was put back neither speaks nor serves before that is seen to, and no other is taken for one.
//!
//! The simulation knows by what has reached a server what that has to know of another's log (`world/witness.rs`).
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
//! * `went-on`: a coordinator that a session shows what its log lacks says nothing in it, unless an operator has accepted that.
//! * `false-alarm`: nobody is held, and nobody refuses, while no disk has lost anything that was stable.
//!
//! Nothing excuses any of them: they are about what one process knows.

use super::Violation;
use super::facts::retention_passed;
use crate::plan::Host;
use crate::run::{FinalOutcome, Run};
use crate::trace::{Entry, Event, Standing};
use std::collections::{BTreeMap, BTreeSet};

/// The default of `witness_wait_ms`.
const WAIT_US: u64 = 500_000;

pub fn check(run: &Run) -> Vec<Violation> {
    let mut watch = Watch {
        run,
        lives: BTreeMap::new(),
        signed: BTreeSet::new(),
        accepted: BTreeSet::new(),
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
    /// The lack of its log, as it was told.
    lacks: Option<String>,
    accepts: bool,
    serves: bool,
    /// Transactions that participants say they have committed.
    remembered: BTreeSet<String>,
    /// Sessions that have shown it what its log lacks.
    stale: BTreeMap<Host, String>,
}

struct Watch<'a> {
    run: &'a Run,
    lives: BTreeMap<Host, Life>,
    /// Hosts whose folders showed that they are copies, until that is seen to.
    signed: BTreeSet<Host>,
    /// Participants whose loss an operator has accepted since their disk was put back.
    accepted: BTreeSet<Host>,
    /// Transactions that committed, as a coordinator has heard before its loss was accepted; and when it began to serve.
    taken_back: BTreeMap<String, u64>,
    has_lost: bool,
    broken: Vec<Violation>,
}

/// Returns the owner of a host's disk.
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
            Event::Serving
            | Event::Stopped { .. }
            | Event::Crashed { .. }
            | Event::Paused
            | Event::Resumed
            | Event::SessionStands { .. }
            | Event::Sent { .. }
            | Event::Received { .. }
            | Event::Noted { .. }
            | Event::Branch { .. }
            | Event::Requested { .. }
            | Event::Answered { .. }
            | Event::Read { .. }
            | Event::Reacted { .. }
            | Event::Fault { .. }
            | Event::Healed => {}
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
            Standing::Accepts => {
                life.accepts = true;
                self.accepted.insert(host);
            }
            Standing::Rejected { .. } => {
                life.accepts = false;
                self.accepted.remove(&host);
            }
        }
    }

    fn breaks(&mut self, rule: &'static str, at_us: u64, what: String) {
        self.broken.push(Violation::new(rule, what).at(at_us));
    }

    /// Minds that a disk may lose what it held, also that it was a copy.
    fn disk(&mut self, host: Host, what: &str) {
        let destroys = ["RolledBack", "Wiped", "Swapped", "Rewritten", "Scrubbed", "LiedAboutSync"];
        if destroys.iter().any(|event| what.starts_with(event)) {
            self.loses(host);
        }
    }

    fn loses(&mut self, host: Host) {
        self.has_lost = true;
        self.signed.remove(&own(host));
        self.accepted.remove(&host);
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
            Some(lack) if !life.accepts => drop(life.stale.insert(by, lack.clone())),
            Some(_) | None => drop(life.stale.remove(&by)),
        }
        let accepted = self.accepted.contains(&by);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{healthy, rules, sent};
    use crate::plan::Copied;

    const C: Host = Host::Coordinator;
    const P1: Host = Host::Participant(1);

    fn put(run: &mut Run, after_us: u64, host: Host, event: impl Into<Event>) {
        let at_us = run.simulated_us + after_us;
        run.trace.push(Entry { at_us, host: Some(host), event: event.into() });
    }

    fn put_back() -> Standing {
        Standing::PutBack { copy: Copied::Snapshot, lost: 1 }
    }

    fn recalled(number: u8, lacks: Option<&str>) -> Standing {
        let by = Host::Participant(number);
        Standing::Recalled { by, lacks: lacks.map(str::to_owned), it_lacks: None, it_says_so: false, forgot: None }
    }

    fn welcomed(lacks: Option<&str>, it_lacks: Option<&str>) -> Standing {
        Standing::Welcomed { by: P1, lacks: lacks.map(str::to_owned), it_lacks: it_lacks.map(str::to_owned) }
    }

    /// A coordinator whose disk was put back has started, and has asked everybody.
    fn asked(lacks: Option<&str>) -> Run {
        let mut run = healthy();
        put(&mut run, 1, C, put_back());
        put(&mut run, 2, C, Event::Started);
        for number in 1..=run.plan.shape.participants {
            put(&mut run, 3, C, recalled(number, lacks));
        }
        run
    }

    #[test]
    fn a_coordinator_that_serves_though_its_log_lacks_something_is_found_unless_an_operator_has_accepted_that() {
        let mut run = asked(Some("it holds fewer writes"));
        let mut accepted = run.clone();
        put(&mut run, 9, C, Event::Serving);
        assert_eq!(rules(check, &run), ["standing.spoke"]);
        put(&mut accepted, 5, C, Standing::Accepts);
        let mut refused = accepted.clone();
        put(&mut accepted, 9, C, Event::Serving);
        assert_eq!(rules(check, &accepted), [""; 0]);
        put(&mut refused, 6, C, Standing::Rejected { why: "somebody is missing".into() });
        put(&mut refused, 9, C, Event::Serving);
        assert_eq!(rules(check, &refused), ["standing.spoke"]);
    }

    #[test]
    fn a_coordinator_that_serves_or_says_hello_too_early_is_found() {
        let mut run = healthy();
        put(&mut run, 1, C, Event::Started);
        put(&mut run, 2, C, Standing::Greets { whom: P1 });
        put(&mut run, 3, C, recalled(1, None));
        let mut late = run.clone();
        put(&mut run, 9, C, Event::Serving);
        assert_eq!(rules(check, &run), ["standing.claimed", "standing.unasked"]);
        put(&mut late, WAIT_US + 1, C, Event::Serving);
        put(&mut late, WAIT_US + 2, C, Standing::Greets { whom: P1 });
        assert_eq!(rules(check, &late), ["standing.claimed"]);
    }

    #[test]
    fn whoever_goes_on_with_a_copied_folder_is_found() {
        let mut run = healthy();
        put(&mut run, 1, C, Event::Started);
        put(&mut run, 2, C, Standing::Signed);
        put(&mut run, WAIT_US + 2, C, Event::Serving);
        assert_eq!(rules(check, &run), ["standing.signed"]);
        let mut run = healthy();
        put(&mut run, 1, P1, Standing::Signed);
        let mut accepted = run.clone();
        put(&mut run, 2, C, welcomed(None, None));
        assert_eq!(rules(check, &run), ["standing.signed"]);
        put(&mut accepted, 2, P1, Standing::Accepts);
        put(&mut accepted, 3, C, welcomed(None, None));
        assert_eq!(rules(check, &accepted), [""; 0]);
    }

    #[test]
    fn a_participant_that_overlooks_what_its_log_lacks_or_forgets_what_it_has_seen_is_found() {
        let mut run = healthy();
        put(&mut run, 1, C, welcomed(None, Some("it holds fewer writes")));
        assert_eq!(rules(check, &run), ["standing.served"]);
        let told = |it_lacks: Option<&str>, it_says_so, forgot: Option<&str>| {
            let mut run = healthy();
            let (it_lacks, forgot) = (it_lacks.map(str::to_owned), forgot.map(str::to_owned));
            put(&mut run, 1, C, Standing::Recalled { by: P1, lacks: None, it_lacks, it_says_so, forgot });
            rules(check, &run)
        };
        assert_eq!(told(Some("it holds fewer writes"), false, None), ["standing.unheeded"]);
        assert_eq!(told(Some("it holds fewer writes"), true, None), [""; 0]);
        assert_eq!(told(None, false, Some("write 7")), ["standing.forgot"]);
    }

    #[test]
    fn a_coordinator_that_goes_on_in_a_session_that_has_shown_what_its_log_lacks_is_found() {
        let mut run = healthy();
        put(&mut run, 1, C, welcomed(Some("it holds fewer writes"), None));
        let mut ended = run.clone();
        run.trace.push(sent(run.simulated_us + 2, "t1", 1, "commit", 1));
        assert_eq!(rules(check, &run), ["standing.went-on"]);
        put(&mut ended, 2, C, Event::Started);
        ended.trace.push(sent(ended.simulated_us + 3, "t1", 1, "commit", 1));
        assert_eq!(rules(check, &ended), [""; 0]);
    }

    #[test]
    fn what_was_heard_to_have_committed_is_not_run_again_unless_it_is_lost_again() {
        let mut run = asked(Some("it holds fewer writes"));
        put(&mut run, 4, C, Standing::Accepts);
        put(&mut run, 5, C, Standing::Remembers { by: P1, committed: vec!["t1".into()] });
        put(&mut run, 6, C, Event::Serving);
        assert_eq!(rules(check, &run), [""; 0]);
        let mut again = run.clone();
        put(&mut again, 7, C, Event::Noted { tx: "t1".into(), phase: None, note: "begun 2 branches".into() });
        assert_eq!(rules(check, &again), ["standing.run-again"]);
        run.finals.outcomes.insert("t1".into(), FinalOutcome::Aborted { damaged: false });
        assert_eq!(rules(check, &run), ["standing.run-again"]);
        put(&mut run, 8, C, put_back());
        assert_eq!(rules(check, &run), [""; 0]);
    }

    #[test]
    fn a_server_that_is_taken_for_an_old_copy_is_found_unless_some_disk_has_lost_something() {
        for (host, alarm) in [(C, Standing::Held), (P1, Standing::Refuses)] {
            let mut run = healthy();
            put(&mut run, 2, host, alarm);
            assert_eq!(rules(check, &run), ["standing.false-alarm"]);
            let lost = Entry { at_us: 0, host: Some(P1), event: put_back().into() };
            run.trace.insert(0, lost);
            assert_eq!(rules(check, &run), [""; 0]);
        }
    }
}
