//! Work that waits for room.
//!
//! Work that comes to a result is put off while the [`Room`](crate::room::Room) for it is full: large work, that is,
//! what has been tried and came to too much, waits longer than what may be small. Each waits no longer than it may wait
//! for locks. Older work goes first, so that participants tend to take up the same transactions.

use super::Engine;
use super::calls::Done;
use crate::resource::{Branches, Voted};
use crate::room::SMALL_BYTES;
use futures::FutureExt as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_participant_core::{BranchId, KnownCoordinator, StepId};
use undoubt_vocabulary::{Prepare, Refusal, RefusalCode, RunStep, StepOutcome, Timestamp, Vote};

/// Work that waits. Past it sessions are not read, if room comes back by itself; else newcomers are refused.
pub(crate) const MAX_WAITING_BYTES: usize = 64 << 20;

/// Large work that is handed on in one round: so that what is small gets its turn in between.
const LARGE_AT_A_TIME: usize = 8;

/// The pause between two searches through the work that waits for what has waited long enough.
pub(super) const LOOK_THROUGH_EVERY: Duration = Duration::from_millis(100);

const LARGE_WORK_WAITS: &str =
    "large results wait here, as those before them are not sent or not over yet (max_kept_result_bytes)";

#[derive(Debug)]
pub(super) enum Work {
    Prepare(BranchId, Prepare),
    Action(StepId, RunStep),
}

#[derive(Debug)]
struct Entry {
    work: Work,
    until: Instant,
}

/// The work that waits, by age, and among those of one age as they came.
type Queue = BTreeMap<(Timestamp, u64), Entry>;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    untried: Queue,
    large: Queue,
    came: u64,
    bytes: usize,
}

impl Work {
    /// Returns the bytes of the work itself, and a little for what is kept with it.
    fn bytes(&self) -> usize {
        let payload = match self {
            Work::Prepare(_, prepare) => prepare.work.len(),
            Work::Action(_, run) => run.payload_bytes(),
        };
        payload + size_of::<Entry>()
    }

    fn begun_at(&self) -> Timestamp {
        match self {
            Work::Prepare(_, prepare) => prepare.begun_at,
            Work::Action(_, run) => run.begun_at,
        }
    }

    fn timeout(&mut self) -> &mut Duration {
        match self {
            Work::Prepare(_, prepare) => &mut prepare.timeout,
            Work::Action(_, run) => &mut run.timeout,
        }
    }

    pub(super) fn is_large(&self) -> bool {
        self.bytes() > SMALL_BYTES
    }
}

impl Waiting {
    /// Returns how many wait, and their bytes.
    pub(super) fn len_and_bytes(&self) -> (usize, usize) {
        (self.untried.len() + self.large.len(), self.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.untried.is_empty() && self.large.is_empty()
    }

    fn put(&mut self, mut work: Work, large: bool) {
        self.bytes += work.bytes();
        self.came += 1;
        let (at, until) = ((work.begun_at(), self.came), Instant::now() + *work.timeout());
        let queue = if large { &mut self.large } else { &mut self.untried };
        queue.insert(at, Entry { work, until });
    }

    fn take_untried(&mut self) -> impl Iterator<Item = Work> {
        let taken = std::mem::take(&mut self.untried);
        self.bytes -= taken.values().map(|entry| entry.work.bytes()).sum::<usize>();
        taken.into_values().map(Entry::resumed)
    }

    fn take_large(&mut self) -> Option<Work> {
        let (_, entry) = self.large.pop_first()?;
        self.bytes -= entry.work.bytes();
        Some(entry.resumed())
    }

    fn take_those_who(&mut self, mut leave: impl FnMut(&Work, Instant) -> bool) -> Vec<Work> {
        let mut taken = Vec::new();
        for queue in [&mut self.untried, &mut self.large] {
            taken.extend(queue.extract_if(.., |_, entry| leave(&entry.work, entry.until)).map(|(_, entry)| entry.work));
        }
        self.bytes -= taken.iter().map(Work::bytes).sum::<usize>();
        taken
    }
}

impl Entry {
    /// Returns the work with the time that is left.
    fn resumed(mut self) -> Work {
        let left = self.until.saturating_duration_since(Instant::now());
        *self.work.timeout() = left;
        self.work
    }
}

impl<R: Branches> Engine<R> {
    /// Lets work wait, or refuses it because too much waits already. `large`: it was tried, or is large itself.
    pub(super) fn wait_for_room(&mut self, work: Work, large: bool) {
        let is_too_much = self.waiting.bytes + work.bytes() > MAX_WAITING_BYTES;
        // While sessions are not read, only what had been read before comes on top.
        if is_too_much && self.room.keeps_too_much() {
            return self.refuse(work, RefusalCode::Unavailable, &no_room(self.room.why_full()));
        }
        self.waiting.put(work, large);
    }

    /// Hands on what waited and has room now.
    pub(super) fn take_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut works = Vec::new();
        if self.room.why_full().is_none() {
            works.extend(self.waiting.take_untried());
        }
        if self.room.takes_large() {
            works.extend((0..LARGE_AT_A_TIME).map_while(|_| self.waiting.take_large()));
        }
        let mut prepares = Vec::new();
        for work in works {
            match work {
                Work::Prepare(branch, prepare) => prepares.push((branch, prepare)),
                Work::Action(step, run) => self.act(step, run),
            }
        }
        self.prepare(prepares);
    }

    /// Refuses what was called off, or has waited as long as it may.
    pub(super) fn look_through_waiting(&mut self, now: Instant) {
        let (cancellations, actions) = (&self.cancellations, &self.actions);
        let called_off = |work: &Work| match work {
            Work::Prepare(branch, _) => cancellations.is_cancelled(branch),
            Work::Action(step, _) => actions.get(step).is_some_and(|token| token.is_cancelled()),
        };
        let mut over = Vec::new();
        for work in self.waiting.take_those_who(|work, until| until <= now || called_off(work)) {
            over.push((called_off(&work), work));
        }
        for (called_off, work) in over {
            if called_off {
                self.refuse(work, RefusalCode::Late, "the transaction was over before its work began");
            } else {
                self.refuse(work, RefusalCode::Unavailable, &no_room(self.room.why_full()));
            }
        }
    }

    /// Lets sessions read on, or not.
    pub(super) fn open_or_close_intake(&mut self) {
        let waits = self.waiting.bytes > MAX_WAITING_BYTES && !self.room.keeps_too_much();
        let too_much = waits || self.room.is_overrun();
        self.takes_work.send_if_modified(|takes| std::mem::replace(takes, !too_much) == too_much);
    }

    /// Returns why work waits here, if it does, and whose end it waits for; for people.
    pub(super) fn why_work_waits(&self) -> Option<String> {
        if self.room.takes_large() {
            return None;
        }
        let why = self.room.why_full().unwrap_or_else(|| LARGE_WORK_WAITS.to_owned());
        let most = self.core.keeps_most_of().filter(|_| self.room.keeps_too_much());
        let whose = most.map(|(KnownCoordinator { id, low_water_mark, .. }, bytes)| {
            format!(
                "; {bytes} bytes are kept for coordinator {id}, whose transactions are over below attempt {low_water_mark} only"
            )
        });
        Some(why + &whose.unwrap_or_default())
    }

    fn refuse(&mut self, work: Work, code: RefusalCode, detail: &str) {
        let refusal = Refusal::new(code, detail);
        let done = match work {
            Work::Prepare(branch, _) => {
                Done::Executed(Voted { votes: vec![(branch, Vote::Refused(refusal))], ..Voted::default() })
            }
            Work::Action(step, _) => Done::Acted { step, outcome: StepOutcome::Refused(refusal) },
        };
        // Not at once: the core may be in the middle of what asks for it.
        self.calls.push(std::future::ready(Ok(done)).boxed());
    }
}

fn no_room(full: Option<String>) -> String {
    let why = full.unwrap_or_else(|| LARGE_WORK_WAITS.to_owned());
    format!("there was no room for the result: {why}; try again later, or ask for less at once")
}
