//! The story of a run, put together from the trace: a sent message with its arrival, a branch's states with their end.

mod holds;
mod lives;
mod messages;

pub(super) use holds::{End, Hold};
pub(super) use lives::{Life, Moment, Sort};
pub(super) use messages::Message;

use super::words;
use crate::plan::{Host, What};
use crate::run::Run;
use crate::trace::{Event, Phase};
use holds::Holds;
use messages::Messages;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Story<'a> {
    pub run: &'a Run,
    /// The transactions in the order in which they began.
    pub txs: Vec<Tx<'a>>,
    pub lives: BTreeMap<Host, Life>,
    pub bands: Vec<Band<'a>>,
    pub healed_us: Option<u64>,
    pub end_us: u64,
}

/// The story of one transaction.
#[derive(Clone, Debug)]
pub(super) struct Tx<'a> {
    pub id: &'a str,
    pub first_us: u64,
    pub last_us: u64,
    pub messages: Vec<Message<'a>>,
    pub holds: Vec<Hold>,
    pub notes: Vec<Note<'a>>,
    pub asks: Vec<Ask<'a>>,
}

/// A note of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note<'a> {
    pub host: Host,
    pub at_us: u64,
    pub text: &'a str,
    pub phase: Option<Phase>,
}

/// A request of a client, and what it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask<'a> {
    pub host: Host,
    pub at_us: u64,
    pub what: &'a str,
    pub told: Option<(u64, &'a str)>,
}

/// A fault, for as long as it lasts.
#[derive(Debug)]
pub(super) struct Band<'a> {
    pub index: usize,
    pub what: &'a str,
    pub from_us: u64,
    pub to_us: Option<u64>,
    pub hosts: Vec<Host>,
}

impl<'a> Story<'a> {
    pub fn of(run: &'a Run) -> Story<'a> {
        let last_us = run.trace.last().map_or(0, |entry| entry.at_us);
        let mut story = Story {
            run,
            txs: Vec::new(),
            lives: BTreeMap::new(),
            bands: Vec::new(),
            healed_us: None,
            end_us: run.simulated_us.max(last_us),
        };
        let mut numbers = BTreeMap::new();
        let mut messages = Messages::default();
        let mut holds = Holds::default();
        for entry in &run.trace {
            let at_us = entry.at_us;
            if let Some(id) = words::tx_of(&entry.event) {
                story.seen(&mut numbers, id, at_us);
            }
            match (&entry.event, entry.host) {
                (Event::Fault { index, what, ends_at_us }, host) => {
                    let planned = run.plan.faults.get(*index);
                    let hosts = planned.map_or_else(|| host.into_iter().collect(), |fault| concerned(&fault.what));
                    story.bands.push(Band { index: *index, what, from_us: at_us, to_us: *ends_at_us, hosts });
                }
                (Event::Healed, _) => story.healed_us = Some(at_us),
                (Event::Sent { to, message, tx, attempt_number, number, direction: _ }, Some(from)) => {
                    let sent = Message {
                        name: message,
                        from,
                        to: *to,
                        attempt_number: *attempt_number,
                        ..Message::sent(at_us, *number)
                    };
                    messages.sent(tx, sent);
                }
                (Event::Received { from, message, tx, attempt_number, of }, Some(to)) => {
                    let stray = Message {
                        name: message,
                        from: *from,
                        to,
                        attempt_number: *attempt_number,
                        ..Message::stray(at_us, *of)
                    };
                    messages.received(tx, stray);
                }
                (Event::Noted { tx, phase, note }, Some(host)) => {
                    story.tx(&numbers, tx).notes.push(Note { host, at_us, text: note, phase: *phase });
                }
                (Event::Branch { tx, state }, Some(host)) => holds.changed(host, tx, *state, at_us),
                (Event::Requested { tx, what }, Some(host)) => {
                    story.tx(&numbers, tx).asks.push(Ask { host, at_us, what, told: None });
                }
                (Event::Answered { tx, answer }, Some(host)) => story.tx(&numbers, tx).told(host, at_us, answer),
                (
                    event @ (Event::Started
                    | Event::Serving
                    | Event::SessionStands { .. }
                    | Event::Stopped { .. }
                    | Event::Crashed { .. }
                    | Event::Paused
                    | Event::Resumed
                    | Event::Standing { .. }
                    | Event::Disk { .. }
                    | Event::Read { .. }
                    | Event::Reacted { .. }),
                    Some(host),
                ) => {
                    story.lives.entry(host).or_default().heard(at_us, event);
                    if let Event::Crashed { .. } | Event::Stopped { .. } = event {
                        holds.process_ended(host, at_us);
                    }
                }
                // The world itself does none of these.
                (
                    Event::Started
                    | Event::Serving
                    | Event::SessionStands { .. }
                    | Event::Stopped { .. }
                    | Event::Crashed { .. }
                    | Event::Paused
                    | Event::Resumed
                    | Event::Sent { .. }
                    | Event::Received { .. }
                    | Event::Noted { .. }
                    | Event::Branch { .. }
                    | Event::Requested { .. }
                    | Event::Answered { .. }
                    | Event::Standing { .. }
                    | Event::Disk { .. }
                    | Event::Read { .. }
                    | Event::Reacted { .. },
                    None,
                ) => {}
            }
        }
        let latency_us = run.plan.shape.latency_ms.1.saturating_mul(1_000);
        for (id, message) in messages.finish(story.end_us.saturating_sub(latency_us)) {
            story.tx(&numbers, id).messages.push(message);
        }
        for (id, hold) in holds.finish(&run.finals, story.end_us) {
            let at = story.seen(&mut numbers, id, story.end_us.min(hold.first_us()));
            story.txs[at].holds.push(hold);
        }
        story
    }

    /// Returns the place of a transaction by its id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.txs.iter().position(|tx| tx.id == id)
    }

    fn seen(&mut self, numbers: &mut BTreeMap<&'a str, usize>, id: &'a str, at_us: u64) -> usize {
        let at = *numbers.entry(id).or_insert(self.txs.len());
        if at == self.txs.len() {
            self.txs.push(Tx::new(id, at_us));
        }
        self.txs[at].last_us = self.txs[at].last_us.max(at_us);
        at
    }

    fn tx(&mut self, numbers: &BTreeMap<&'a str, usize>, id: &str) -> &mut Tx<'a> {
        &mut self.txs[numbers[id]]
    }
}

impl<'a> Tx<'a> {
    fn new(id: &'a str, at_us: u64) -> Tx<'a> {
        let (messages, holds, notes, asks) = Default::default();
        Tx { id, first_us: at_us, last_us: at_us, messages, holds, notes, asks }
    }

    fn told(&mut self, host: Host, at_us: u64, answer: &'a str) {
        let open = self.asks.iter_mut().rev().find(|ask| ask.host == host && ask.told.is_none());
        match open {
            Some(ask) => ask.told = Some((at_us, answer)),
            None => self.asks.push(Ask { host, at_us, what: "?", told: Some((at_us, answer)) }),
        }
    }

    /// Returns how much there is to draw.
    pub fn items(&self) -> usize {
        self.messages.len() + self.holds.len() + self.notes.len() + self.asks.len()
    }
}

impl Note<'_> {
    /// Returns the decision that it tells of, if it does: to commit or not, and whether that is stable.
    pub fn decision(&self) -> Option<(bool, bool)> {
        let has = |word: &str| self.text.split(|c: char| !c.is_alphanumeric()).any(|it| it == word);
        let stable = has("logged");
        let aborts = self.text.contains("abort");
        let told = (stable || has("decided")) && (aborts || self.text.contains("commit"));
        told.then_some((!aborts, stable))
    }

    /// An arrow says the same.
    pub fn is_drawn_anyway(&self) -> bool {
        ["sent", "voted", "confirmed", "finished", "inquired"].iter().any(|word| self.text.starts_with(word))
    }
}

/// Returns the hosts in whose lanes a fault is drawn: where it strikes.
fn concerned(what: &What) -> Vec<Host> {
    if let What::Takeover { .. } = what {
        return vec![Host::Coordinator, Host::Standby];
    }
    if let What::Tamper { participant, .. } = what {
        return vec![Host::Participant(*participant)];
    }
    what.hosts()
}

#[cfg(test)]
mod tests;
