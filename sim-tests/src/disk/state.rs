//! A disk's condition, and what it does with writes, syncs and openings.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use undoubt_platform::store::Contents;
use undoubt_platform::{Batch, Durability, Family, Fenced, Random, StoreError};

use super::event::{DiskEvent, Observer};
use super::platter::Platter;

const SYNC_BASE: Duration = Duration::from_millis(1);
const SYNC_JITTER: Duration = Duration::from_millis(1);

const TAKEN_AWAY: &str = "the disk was taken away before the write was stable";

/// Names the opening that a store came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opening(u64);

#[derive(Debug)]
pub(super) struct State {
    pub(super) platter: Platter,
    /// The last one: a store of an earlier one is shut out.
    opening: Opening,
    /// True if somebody has opened it since whoever is shut out had it.
    taken_over: bool,
    pub(super) destroyed: BTreeSet<(Family, Bytes)>,
    pub(super) lies_about_syncs: bool,
    pub(super) fails_next_sync: bool,
    pub(super) is_read_only: bool,
    /// Writes are refused for now.
    pub(super) is_away: bool,
    /// The most that one write may bring, where that is less than stores take otherwise.
    pub(super) max_write_bytes: Option<usize>,
    /// The bytes that still fit; `None` where nothing bounds them.
    pub(super) room: Option<u64>,
    pub(super) sync_base: Duration,
    pub(super) sync_jitter: Duration,
    pub(super) observer: Observer,
    /// Events of which the observer has yet to hear.
    pub(super) events: Vec<DiskEvent>,
}

impl Default for State {
    fn default() -> State {
        State {
            platter: Platter::default(),
            opening: Opening::default(),
            taken_over: false,
            destroyed: BTreeSet::new(),
            lies_about_syncs: false,
            fails_next_sync: false,
            is_read_only: false,
            is_away: false,
            max_write_bytes: None,
            room: None,
            sync_base: SYNC_BASE,
            sync_jitter: SYNC_JITTER,
            observer: Observer::default(),
            events: Vec::new(),
        }
    }
}

impl State {
    pub(super) fn open(&mut self, name: &str, families: &[Family]) -> Result<(Opening, Contents), StoreError> {
        self.shut_out();
        self.taken_over = true;
        let opened = self.replay(name, families);
        self.events.push(match &opened {
            Ok(_) => DiskEvent::Opened { frames: self.platter.frames() },
            Err(error) => DiskEvent::Refused { cause: error.to_string() },
        });
        opened.map(|contents| (self.opening, contents))
    }

    fn replay(&mut self, name: &str, families: &[Family]) -> Result<Contents, StoreError> {
        if self.is_read_only {
            return Err(StoreError::Io { detail: format!("{name} is read-only") });
        }
        if self.room == Some(0) {
            return Err(StoreError::DiskFull { detail: name.to_owned() });
        }
        let unknown = self.platter.families.iter().filter(|family| !families.contains(family));
        let unknown: Vec<String> = unknown.map(|family| family.0.to_owned()).collect();
        if !unknown.is_empty() {
            return Err(StoreError::UnknownFamilies { families: unknown });
        }
        self.drop_what_failed_to_sync();
        self.platter.families.extend(families);
        let (contents, end) = self.platter.read().map_err(|flaw| StoreError::Damaged {
            place: name.to_owned(),
            detail: format!("frame {} at offset {}: {}", flaw.frame, flaw.offset, flaw.detail),
        })?;
        self.cut(end);
        let frames = self.platter.frames();
        if frames > self.platter.stable
            && let Err(error) = self.sync(frames, frames)
        {
            self.drop_what_failed_to_sync();
            return Err(error);
        }
        Ok(contents)
    }

    /// Adds a batch, and returns how many frames there are then. An empty batch adds none.
    pub(super) fn append(
        &mut self,
        opening: Opening,
        batch: &Batch,
        durability: Durability,
        random: &dyn Random,
    ) -> Result<usize, StoreError> {
        if self.opening != opening {
            return Err(self.shut_out_by().unwrap_or(StoreError::Stopped { cause: TAKEN_AWAY.into() }));
        }
        if self.is_read_only {
            return Err(self.write_failed(StoreError::Io { detail: "the file system is read-only".into() }, 0));
        }
        if batch.is_empty() {
            return Ok(self.platter.frames());
        }
        let (frame, start) = (self.platter.frames(), self.platter.bytes());
        let bytes = self.platter.append(batch.iter());
        match self.room.map(|room| room.checked_sub(bytes as u64)) {
            None => {}
            Some(Some(rest)) => self.room = Some(rest),
            Some(None) => {
                // All of it can land, and yet the write fails: what lacked room was what comes with it.
                let landed = random.below(bytes as u64 + 1) as usize;
                self.platter.truncate(start + landed);
                let detail = format!("{landed} of {bytes} bytes landed");
                return Err(self.write_failed(StoreError::DiskFull { detail }, landed));
            }
        }
        self.events.push(DiskEvent::Written { frame, bytes, durability });
        Ok(self.platter.frames())
    }

    fn write_failed(&mut self, error: StoreError, landed: usize) -> StoreError {
        self.events.push(DiskEvent::WriteFailed { landed, cause: error.to_string() });
        error
    }

    /// The frames that a sync which begins now covers, and how long it takes.
    pub(super) fn begin_sync(&self, random: &dyn Random) -> (usize, Duration) {
        let jitter = u64::try_from(self.sync_jitter.as_nanos()).unwrap_or(u64::MAX);
        let drawn = Duration::from_nanos(random.below(jitter.saturating_add(1)));
        (self.platter.frames(), self.sync_base + drawn)
    }

    /// Makes the first `frames` frames stable, of which the first `promised` are about to be acknowledged.
    pub(super) fn end_sync(&mut self, opening: Opening, frames: usize, promised: usize) -> Result<(), StoreError> {
        if self.opening != opening {
            return Err(self.shut_out_by().unwrap_or(StoreError::Io { detail: TAKEN_AWAY.into() }));
        }
        self.sync(frames, promised)
    }

    fn sync(&mut self, frames: usize, promised: usize) -> Result<(), StoreError> {
        if self.platter.unsynced_dropped {
            // The system forgets that it failed and would say yes now. Whoever asks has heard of the failure.
            return Err(StoreError::Stopped { cause: "an earlier sync failed".into() });
        }
        if std::mem::take(&mut self.fails_next_sync) || self.is_read_only {
            self.platter.unsynced_dropped = true;
            self.events.push(DiskEvent::SyncFailed);
            return Err(StoreError::Io { detail: "the sync failed".into() });
        }
        self.platter.acknowledged = self.platter.acknowledged.max(promised);
        if self.lies_about_syncs {
            self.events.push(DiskEvent::LiedAboutSync { frames });
        } else {
            self.platter.stable = self.platter.stable.max(frames);
            self.events.push(DiskEvent::Synced { frames });
        }
        Ok(())
    }

    /// Replaces the platter: everything that was acknowledged here is destroyed, and `platter` in its place.
    pub(super) fn replace_platter(&mut self, platter: Platter) -> Platter {
        self.shut_out();
        self.destroyed.extend(self.platter.acknowledged_from(0));
        std::mem::replace(&mut self.platter, platter)
    }

    /// Shuts out whoever has it open.
    pub(super) fn shut_out(&mut self) {
        self.opening.0 += 1;
        self.taken_over = false;
    }

    /// Returns what somebody hears who is shut out because another has it.
    fn shut_out_by(&self) -> Option<StoreError> {
        self.taken_over.then(|| Fenced { detail: "the disk was opened again".into() }.into())
    }

    pub(super) fn drop_what_failed_to_sync(&mut self) {
        if std::mem::take(&mut self.platter.unsynced_dropped) {
            self.cut_to_frames(self.platter.stable);
        }
    }

    pub(super) fn cut_to_frames(&mut self, frames: usize) {
        self.cut(self.platter.end_of(frames));
    }

    /// Keeps the first `bytes` bytes. The way everything goes that is lost, so that the book is kept.
    pub(super) fn cut(&mut self, bytes: usize) {
        let lost = self.platter.acknowledged_from(self.platter.frames_within(bytes));
        self.destroyed.extend(lost);
        self.platter.truncate(bytes);
    }
}
