//! The bytes a disk holds, and the truth about them that no reader is told.
//!
//! The reader at opening has the bytes alone. How far they are stable, and where frames end, is what the simulation
//! knows: it needs that to take away in a power loss what was not stable, and to say afterwards what was lost.

use std::collections::BTreeSet;

use bytes::Bytes;
use undoubt_platform::store::Contents;
use undoubt_platform::{Batch, Family, Operation};

use super::frame::{self, Flaw, Reader};

#[derive(Clone, Debug, Default)]
pub(super) struct Platter {
    /// The families ever created here.
    pub(super) families: BTreeSet<Family>,
    /// The bytes on the platter and, behind them, those in the page cache.
    log: Vec<u8>,
    /// The ends of all complete frames.
    ends: Vec<usize>,
    /// Numbers of the bits that read as their opposite.
    flipped: BTreeSet<usize>,
    /// Frames that a power loss leaves.
    pub(super) stable: usize,
    /// Frames of which somebody was told that they are stable.
    pub(super) acknowledged: usize,
    /// A sync failed, so the page cache has dropped what was not stable: it still reads, and never reaches the platter.
    pub(super) unsynced_dropped: bool,
}

/// A key's values are gone, or others.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) was_acknowledged: bool,
}

impl Platter {
    pub(super) fn frames(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.log.len()
    }

    /// Frames that opening finds.
    pub(super) fn reopened(&self) -> usize {
        if self.unsynced_dropped { self.stable } else { self.frames() }
    }

    /// Returns the end of the first `frames` frames.
    pub(super) fn end_of(&self, frames: usize) -> usize {
        frames.checked_sub(1).map_or(0, |last| self.ends[last])
    }

    /// Frames that lie completely within the first `bytes` bytes.
    pub(super) fn frames_within(&self, bytes: usize) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }

    /// Returns a copy of the first `frames` frames, all of it stable. Flipped bits are not copied.
    pub(super) fn copy(&self, frames: usize) -> Platter {
        let mut copy = Platter { flipped: BTreeSet::new(), unsynced_dropped: false, ..self.clone() };
        copy.truncate(self.end_of(frames));
        copy.stable = frames;
        copy
    }

    /// Returns the number of frames with which both begin.
    pub(super) fn frames_in_common(&self, other: &Platter) -> usize {
        let bytes = self.log.iter().zip(&other.log).take_while(|(one, other)| one == other).count();
        self.frames_within(bytes).min(other.frames_within(bytes))
    }

    /// The length of the new frame.
    pub(super) fn append<'a>(&mut self, operations: impl IntoIterator<Item = Operation<'a>>) -> usize {
        let start = self.log.len();
        frame::append(&mut self.log, self.ends.len(), operations);
        self.ends.push(self.log.len());
        self.log.len() - start
    }

    pub(super) fn truncate(&mut self, bytes: usize) {
        let frames = self.frames_within(bytes);
        self.log.truncate(bytes);
        self.ends.truncate(frames);
        self.flipped.retain(|bit| bit / 8 < bytes);
        self.stable = self.stable.min(frames);
        self.acknowledged = self.acknowledged.min(frames);
    }

    pub(super) fn flip(&mut self, bit: usize) {
        if !self.flipped.remove(&bit) {
            self.flipped.insert(bit);
        }
    }

    /// The number of bits that were wrong.
    pub(super) fn unflip(&mut self) -> usize {
        std::mem::take(&mut self.flipped).len()
    }

    /// Returns what a reader makes of the bytes, and where the last complete frame ends.
    pub(super) fn read(&self) -> Result<(Contents, usize), Flaw> {
        let mut log = self.log.clone();
        for bit in &self.flipped {
            log[bit / 8] ^= 1 << (bit % 8);
        }
        let mut reader = Reader::new(log.into(), &self.families);
        let mut contents = Contents::of(&self.families);
        for batch in &mut reader {
            contents.apply(batch?.iter());
        }
        Ok((contents, reader.offset()))
    }

    /// Returns what the first `frames` frames come to, whether or not bits are flipped.
    pub(super) fn contents(&self, frames: usize) -> Contents {
        let mut contents = Contents::of(&self.families);
        self.batches().take(frames).for_each(|batch| contents.apply(batch.iter()));
        contents
    }

    /// The keys that acknowledged frames touched, from frame number `first` on.
    pub(super) fn acknowledged_from(&self, first: usize) -> BTreeSet<(Family, Bytes)> {
        let mut touched = BTreeSet::new();
        if first >= self.acknowledged {
            return touched;
        }
        let mut contents = Contents::of(&self.families);
        for (number, batch) in self.batches().take(self.acknowledged).enumerate() {
            if number < first {
                contents.apply(batch.iter());
                continue;
            }
            for operation in batch.iter() {
                let family = operation.family();
                touched.extend(contents.touched_by(&operation).into_iter().map(|key| (family, key)));
                contents.apply([operation]);
            }
        }
        touched
    }

    /// Rewrites the log with another value for each that was put under this key, or without any; every frame keeps its
    /// number. `None` if there is no value.
    pub(super) fn rewrite(&mut self, family: Family, key: &[u8], value: Option<&[u8]>) -> Option<Rewritten> {
        let puts = |operation: &Operation<'_>| matches!(operation, Operation::Put { family: of, key: other, .. } if *of == family && *other == key);
        let batches: Vec<Batch> = self.batches().collect();
        let first = batches.iter().position(|batch| batch.iter().any(|operation| puts(&operation)))?;
        let torn = self.log.split_off(self.end_of(self.frames()));
        self.log.clear();
        self.ends.clear();
        for batch in batches {
            self.append(batch.iter().filter_map(|operation| match (puts(&operation), value) {
                (false, _) => Some(operation),
                (true, Some(value)) => Some(Operation::Put { family, key, value }),
                (true, None) => None,
            }));
        }
        self.log.extend(torn);
        self.flipped.retain(|bit| bit / 8 < self.log.len());
        Some(Rewritten { was_acknowledged: first < self.acknowledged })
    }

    fn batches(&self) -> impl Iterator<Item = Batch> {
        let complete = Bytes::copy_from_slice(&self.log[..self.end_of(self.frames())]);
        Reader::new(complete, &self.families).map(|batch| batch.expect("a frame reads back as it was written"))
    }
}
