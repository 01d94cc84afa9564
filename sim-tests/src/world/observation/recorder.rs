//! Keeps the trace, and a rolling hash over it: two runs of one plan have the same, or something leaked in.

use crate::plan::{Direction, Host};
use crate::trace::{BranchState, Entry, Event, Phase, Standing};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::Xxh3;

/// Clones share one trace.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hash: Xxh3,
    line: Vec<u8>,
    entries: Vec<Entry>,
    /// The events of every library, as text, where the caller wants them.
    details: Option<Vec<String>>,
    /// Simulated time between the steps.
    now_us: u64,
    /// Details do not count for now.
    muted: bool,
    next_message: u64,
    in_flight: BTreeMap<(u8, Direction), VecDeque<InFlight>>,
    phases: BTreeMap<String, Phase>,
    branches: BTreeMap<(u8, String), BranchState>,
}

/// Name, transaction, attempt number.
type MessageKey = (String, String, u64);

/// A message with its number, and whether it has arrived.
type InFlight = (MessageKey, u64, bool);

/// Messages of one direction of a link that are remembered to tell which one arrives.
const MAX_REMEMBERED_MESSAGES: usize = 256;

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// Libraries that tell of their insides also tell when, by the machine's clock, something was put aside; they act on it
/// after longer than any run takes.
fn without_real_time(text: &str) -> String {
    let mut parts = text.split("Instant {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| told + "Instant" + part.split_once('}').map_or("", |(_, after)| after))
}

/// Simulated time as the host that is running has it; `None` between the steps of the simulation.
fn host_time_us() -> Option<u64> {
    turmoil::sim_elapsed().map(|elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

impl Recorder {
    /// Also keeps the text of every event of every library.
    pub(crate) fn with_details() -> Recorder {
        let recorder = Recorder::default();
        recorder.state().details = Some(Vec::new());
        recorder
    }

    pub(crate) fn wants_details(&self) -> bool {
        self.state().details.is_some()
    }

    pub(crate) fn detail(&self, text: &str) {
        let text = without_real_time(text);
        let mut state = self.state();
        if state.muted {
            return;
        }
        state.hash.update(text.as_bytes());
        if let Some(details) = &mut state.details {
            details.push(text);
        }
    }

    /// Does something without keeping details. While a host's tasks are dropped, in no particular order, libraries may
    /// say what they like.
    pub(crate) fn without_details<T>(&self, what: impl FnOnce() -> T) -> T {
        self.state().muted = true;
        let result = what();
        self.state().muted = false;
        result
    }

    /// Records an event at the running host's time.
    pub fn record(&self, host: Host, event: Event) {
        let at_us = self.now_us();
        self.record_at(at_us, Some(host), event);
    }

    /// Returns the time as the running host has it, or between the steps.
    pub(crate) fn now_us(&self) -> u64 {
        host_time_us().unwrap_or_else(|| self.state().now_us)
    }

    /// A step of the simulation is over.
    pub(crate) fn set_now(&self, now_us: u64) {
        self.state().now_us = now_us;
    }

    pub fn record_at(&self, at_us: u64, host: Option<Host>, event: Event) {
        let mut state = self.state();
        let State { phases, branches, .. } = &mut *state;
        match (&event, host) {
            (Event::Noted { tx, phase: Some(Phase::Ended), .. }, _) => drop(phases.remove(tx)),
            (Event::Noted { tx, phase: Some(phase), .. }, _) => drop(phases.insert(tx.clone(), *phase)),
            (Event::Branch { tx, state: BranchState::Over }, Some(Host::Participant(at))) => {
                branches.remove(&(at, tx.clone()));
            }
            (Event::Standing { what: Standing::PutBack { .. } }, Some(Host::Participant(number))) => {
                branches.retain(|(at, _), _| *at != number)
            }
            (Event::Branch { tx, state }, Some(Host::Participant(at))) => {
                branches.insert((at, tx.clone()), *state);
            }
            (Event::Crashed { .. } | Event::Stopped { .. }, Some(host)) if host.is_coordinator() => phases.clear(),
            (Event::Crashed { .. } | Event::Stopped { .. }, Some(Host::Participant(number))) => {
                // What is prepared outlives the process.
                branches.retain(|(at, _), state| *at != number || *state == BranchState::Prepared);
            }
            _ => {}
        }
        state.push(Entry { at_us, host, event });
    }

    /// A message leaves a host.
    pub(crate) fn sent(&self, host: Host, link: (u8, Direction), key: MessageKey) {
        let mut state = self.state();
        state.next_message += 1;
        let number = state.next_message;
        let flight = state.in_flight.entry(link).or_default();
        flight.push_back((key.clone(), number, false));
        if flight.len() > MAX_REMEMBERED_MESSAGES {
            flight.pop_front();
        }
        drop(state);
        let (message, tx, attempt_number) = key;
        let to = match link.1 {
            Direction::ToParticipant => Host::Participant(link.0),
            Direction::ToCoordinator => Host::Coordinator,
        };
        self.record(host, Event::Sent { to, direction: link.1, message, tx, attempt_number, number });
    }

    pub(crate) fn received(&self, host: Host, link: (u8, Direction), key: MessageKey) {
        let mut state = self.state();
        let flight = state.in_flight.entry(link).or_default();
        let first = flight.iter().position(|(sent, _, arrived)| *sent == key && !arrived);
        let at = first.or_else(|| flight.iter().rposition(|(sent, _, _)| *sent == key));
        let of = at.and_then(|at| flight.get_mut(at)).map(|(_, number, arrived)| {
            *arrived = true;
            *number
        });
        drop(state);
        let (message, tx, attempt_number) = key;
        let from = match link.1 {
            Direction::ToParticipant => Host::Coordinator,
            Direction::ToCoordinator => Host::Participant(link.0),
        };
        self.record(host, Event::Received { from, message, tx, attempt_number, of });
    }

    /// A new session stands: what was on its way in the old one is lost.
    pub(crate) fn new_session(&self, host: Host, participant: u8) {
        let mut state = self.state();
        for direction in [Direction::ToParticipant, Direction::ToCoordinator] {
            state.in_flight.remove(&(participant, direction));
        }
        drop(state);
        self.record(host, Event::SessionStands { with: Host::Participant(participant) });
    }

    pub(crate) fn phase(&self, tx: &str) -> Option<Phase> {
        self.state().phases.get(tx).copied()
    }

    /// Returns how far everything is right now, for the table of what was hit.
    pub(crate) fn standing(&self) -> (Vec<Phase>, Vec<(u8, BranchState)>) {
        let state = self.state();
        let branches = state.branches.iter().map(|((at, _), branch)| (*at, *branch)).collect();
        (state.phases.values().copied().collect(), branches)
    }

    pub(crate) fn take(&self) -> (u64, Vec<Entry>, Option<Vec<String>>) {
        let mut state = self.state();
        (state.hash.digest(), std::mem::take(&mut state.entries), state.details.take())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, entry: Entry) {
        self.line.clear();
        // Writing into memory, and these types have string keys only.
        serde_json::to_writer(&mut self.line, &entry).expect("an entry is written as JSON");
        self.hash.update(&self.line);
        if let Some(details) = &mut self.details {
            details.push(String::from_utf8_lossy(&self.line).into_owned());
        }
        self.entries.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_the_machines_clock_are_left_out_and_all_else_stays() {
        let told = "at: Some(Instant { tv_sec: 20707, tv_nsec: 1 }), next: Some(Instant { tv_sec: 2 }) end";
        assert_eq!(without_real_time(told), "at: Some(Instant), next: Some(Instant) end");
        assert_eq!(without_real_time("nothing of it"), "nothing of it");
    }
}
