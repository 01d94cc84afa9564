//! The numbers that each server has to know of the others' logs, by what has reached it. Against this is held what becomes of a log
//! that was put back: nobody here asks what a server says that it remembers.
//!
//! A server knows a number from the moment it hears of it, for as long as its process lives; and for as long as its disk keeps
//! the first forced write after that moment.

use crate::disk::{Disk, DiskEvent};
use crate::plan::Host;
use std::collections::BTreeMap;
use undoubt_platform::{Durability, Family};
use undoubt_vocabulary::{Start, Starts, WriteNumber};

const META: Family = Family("meta");

/// A process, by its host and how often that had been started.
pub(super) type Life = (Host, u32);

#[derive(Debug, Default)]
pub(super) struct Witnesses {
    told: BTreeMap<Witness, Vec<Shown>>,
    /// The process that writes to each disk.
    openers: BTreeMap<Host, Life>,
    /// When each disk has lost something last, whatever that was.
    lost_us: BTreeMap<Host, u64>,
}

/// A host whose disk remembers, and the one whose log was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Witness {
    pub(super) by: Host,
    pub(super) of: Host,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    number: WriteNumber,
    at_us: u64,
    to: Life,
    /// The frame of its disk that holds it for certain.
    stored_in: Option<usize>,
}

impl Witnesses {
    pub(super) fn told(&mut self, witness: Witness, number: WriteNumber, to: Life, at_us: u64) {
        let all = self.told.entry(witness).or_default();
        let is_known = |last: &Shown| last.number == number && (last.to == to || last.stored_in.is_some());
        if !all.last().is_some_and(is_known) {
            all.push(Shown { number, at_us, to, stored_in: None });
        }
    }

    pub(super) fn opened(&mut self, disk: Host, by: Life) {
        self.openers.insert(disk, by);
    }

    /// Minds what happened to a disk.
    pub(super) fn heed(&mut self, disk: Host, event: &DiskEvent, at_us: u64) {
        if let DiskEvent::PowerLost { .. }
        | DiskEvent::RolledBack { .. }
        | DiskEvent::PutBack { .. }
        | DiskEvent::Wiped
        | DiskEvent::Swapped { .. } = event
        {
            self.lost_us.insert(disk, at_us);
        }
        match event {
            DiskEvent::Written { frame, durability: Durability::Forced, .. } => self.stored(disk, *frame),
            DiskEvent::Opened { frames: kept }
            | DiskEvent::PowerLost { kept, .. }
            | DiskEvent::RolledBack { kept }
            | DiskEvent::PutBack { kept, .. } => self.cut(disk, *kept),
            DiskEvent::Wiped | DiskEvent::Swapped { .. } => self.cut(disk, 0),
            DiskEvent::Written { durability: Durability::Lazy, .. }
            | DiskEvent::Refused { .. }
            | DiskEvent::WriteFailed { .. }
            | DiskEvent::Synced { .. }
            | DiskEvent::LiedAboutSync { .. }
            | DiskEvent::SyncFailed
            | DiskEvent::BitFlipped { .. }
            | DiskEvent::Repaired { .. }
            | DiskEvent::Rewritten { .. }
            | DiskEvent::Scrubbed { .. } => {}
        }
    }

    /// A forced write is in this frame.
    fn stored(&mut self, disk: Host, frame: usize) {
        let Some(life) = self.openers.get(&disk).copied() else { return };
        for (_, all) in self.told.iter_mut().filter(|(witness, _)| witness.by == disk) {
            for told in all.iter_mut().rev().take_while(|told| told.stored_in.is_none()) {
                if told.to == life {
                    told.stored_in = Some(frame);
                }
            }
        }
    }

    /// The disk has lost all frames but the first `kept`.
    fn cut(&mut self, disk: Host, kept: usize) {
        for (_, all) in self.told.iter_mut().filter(|(witness, _)| witness.by == disk) {
            all.retain(|told| told.stored_in.is_none_or(|frame| frame < kept));
        }
    }

    /// Returns true if the disk has lost something since that moment: what its server has said since may be older than what it holds now.
    pub(super) fn has_lost_since(&self, disk: Host, us: u64) -> bool {
        self.lost_us.get(&disk).is_some_and(|lost| *lost >= us)
    }

    /// Returns the last number that a server heard of before that moment, and knows still. `life`: its process, if it lives.
    pub(super) fn known(&self, witness: Witness, life: Option<Life>, before_us: u64) -> Option<WriteNumber> {
        let all = self.told.get(&witness)?.iter().rev();
        let mut known = all.filter(|told| told.stored_in.is_some() || Some(told.to) == life);
        known.find(|told| told.at_us < before_us).map(|told| told.number)
    }
}

/// Returns what the log on a disk says of its owner's starts; `None` of one that has not been started.
pub(super) fn starts(disk: &Disk) -> Option<Starts> {
    let contents = disk.cached();
    let log = bytes(contents.value(META, b"id")?)?;
    let start: [u8; 16] = bytes(contents.value(META, b"start")?)?;
    let now = Start { losses: u32_at(&start, 0), count: u32_at(&start, 4), mark: u64_at(&start, 8) };
    let mut starts = Starts::new(log, now);
    for (place, value) in contents.pairs(META).filter_map(|(key, value)| Some((key.strip_prefix(b"start/")?, value))) {
        let (place, value): ([u8; 8], [u8; 16]) = (bytes(place)?, bytes(value)?);
        let start = Start { losses: u32_at(&place, 0), count: u32_at(&place, 4), mark: u64_at(&value, 0) };
        starts.add_past(start, u64_at(&value, 8));
    }
    Some(starts)
}

fn bytes<const N: usize>(stored: &[u8]) -> Option<[u8; N]> {
    stored.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_a_disk_was_put_back_is_not_held_against_what_it_holds_then() {
        let (p1, mut witnesses) = (Host::Participant(1), Witnesses::default());
        witnesses.heed(p1, &DiskEvent::Opened { frames: 3 }, 10);
        assert!(!witnesses.has_lost_since(p1, 5));
        witnesses.heed(p1, &DiskEvent::RolledBack { kept: 1 }, 20);
        assert!(witnesses.has_lost_since(p1, 15) && !witnesses.has_lost_since(p1, 21));
        assert!(!witnesses.has_lost_since(Host::Participant(2), 15));
    }
}
