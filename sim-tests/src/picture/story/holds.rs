//! Branches: from when to when each holds its locks.

use crate::plan::Host;
use crate::run::Finals;
use crate::trace::BranchState;
use std::collections::BTreeMap;

/// A branch that holds locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::picture) struct Hold {
    pub host: Host,
    /// The states it went through, each with its beginning. Never empty.
    pub states: Vec<(BranchState, u64)>,
    pub to_us: u64,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::picture) enum End {
    Over,
    /// The vote was in memory only, or the disk lost it.
    Lost,
    /// The branch still holds its locks when all is over. `by_design`: its coordinator is gone, nobody can decide it.
    Never {
        by_design: bool,
    },
}

impl Hold {
    pub fn first_us(&self) -> u64 {
        self.states.first().map_or(self.to_us, |(_, at_us)| *at_us)
    }

    /// Its states with beginning and end.
    pub fn segments(&self) -> impl Iterator<Item = (BranchState, u64, u64)> {
        let ends = self.states.iter().skip(1).map(|(_, at_us)| *at_us).chain([self.to_us]);
        self.states.iter().zip(ends).map(|((state, from_us), to_us)| (*state, *from_us, to_us))
    }
}

/// The holds in the making.
#[derive(Debug, Default)]
pub(super) struct Holds<'a> {
    open: BTreeMap<(Host, &'a str), Hold>,
    done: Vec<(&'a str, Hold)>,
    process_ended: BTreeMap<Host, u64>,
}

impl<'a> Holds<'a> {
    pub fn changed(&mut self, host: Host, tx: &'a str, state: BranchState, at_us: u64) {
        if state == BranchState::Over {
            self.end((host, tx), at_us, End::Over);
            return;
        }
        let new = || Hold { host, states: Vec::new(), to_us: at_us, end: End::Over };
        let hold = self.open.entry((host, tx)).or_insert_with(new);
        if hold.states.last().is_none_or(|(last, _)| *last != state) {
            hold.states.push((state, at_us));
        }
    }

    /// Ends what was in the process' memory only. A vote of prepared isn't: it is on the disk.
    pub fn process_ended(&mut self, host: Host, at_us: u64) {
        self.process_ended.insert(host, at_us);
        let in_memory = |hold: &Hold| hold.states.last().is_none_or(|(state, _)| !state.is_stable());
        let lost: Vec<_> =
            self.open.iter().filter(|((at, _), hold)| *at == host && in_memory(hold)).map(|(key, _)| *key).collect();
        for key in lost {
            self.end(key, at_us, End::Lost);
        }
    }

    /// Returns the holds. What has no end in the trace is judged by what was found when all was over.
    pub fn finish(mut self, finals: &'a Finals, end_us: u64) -> Vec<(&'a str, Hold)> {
        let found = finals.participants.iter().flat_map(|(number, participant)| {
            participant
                .open
                .iter()
                .map(|open| ((Host::Participant(*number), open.tx.as_str()), open.orphaned_by_design))
        });
        let mut found: BTreeMap<_, _> = found.collect();
        for (key, hold) in std::mem::take(&mut self.open) {
            let (host, tx) = key;
            let began = hold.states.last().map_or(0, |(_, at_us)| *at_us);
            let known = match host {
                Host::Participant(number) => finals.participants.contains_key(&number),
                Host::Coordinator
                | Host::Standby
                | Host::Database(_)
                | Host::Service(_)
                | Host::Client(_)
                | Host::Reader(_) => false,
            };
            let (to_us, end) = match (found.remove(&key), known) {
                (Some(by_design), _) => (end_us, End::Never { by_design }),
                (None, false) => (end_us, End::Never { by_design: false }),
                (None, true) => {
                    let lost_us = self.process_ended.get(&host).copied().filter(|lost_us| *lost_us >= began);
                    (lost_us.unwrap_or(end_us), End::Lost)
                }
            };
            self.done.push((tx, Hold { to_us, end, ..hold }));
        }
        for ((host, tx), by_design) in found {
            // It was taken for lost, or nothing was ever heard of it.
            let end = End::Never { by_design };
            let last = self.done.iter_mut().rev().find(|(id, hold)| hold.host == host && *id == tx);
            match last.filter(|(_, hold)| hold.end == End::Lost) {
                Some((_, hold)) => (hold.to_us, hold.end) = (end_us, end),
                None => {
                    let states = vec![(BranchState::Prepared, end_us)];
                    self.done.push((tx, Hold { host, states, to_us: end_us, end }));
                }
            }
        }
        self.done.sort_by_key(|(_, hold)| (hold.first_us(), hold.host));
        self.done
    }

    fn end(&mut self, key: (Host, &'a str), at_us: u64, end: End) {
        if let Some(hold) = self.open.remove(&key) {
            self.done.push((key.1, Hold { to_us: at_us, end, ..hold }));
        }
    }
}
