//! The storage faults of the catalogue, by their codes.
//!
//! Fractions are between 0 and 1, so that a list of faults holds for any length of log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use undoubt_platform::Family;

use super::Disk;
use super::event::DiskEvent;
use super::platter::Platter;

/// The content of a disk at some moment; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct DiskCopy(Platter);

impl Disk {
    /// S1: from now on syncs are acknowledged without making anything stable; or no longer. The next honest sync makes up
    /// for it.
    pub fn lie_about_syncs(&self, lies: bool) {
        self.with(|state| state.lies_about_syncs = lies);
    }

    /// S2: the next sync to end fails, also one that is under way, or that of an opening. The store stops. What was not
    /// stable still reads, but never becomes stable: it is gone when the disk is opened again. With
    /// `false`, it no longer will.
    pub fn fail_next_sync(&self, fails: bool) {
        self.with(|state| state.fails_next_sync = fails);
    }

    /// S3: power fails. What is stable stays, and of the bytes behind it the share `keep`: some frames, and probably a torn
    /// part of the next. (A process that is merely killed loses nothing and needs no call.)
    pub fn lose_power(&self, keep: f64) {
        self.with(|state| {
            state.shut_out();
            state.drop_what_failed_to_sync();
            let platter = &state.platter;
            let stable = platter.end_of(platter.stable);
            state.cut(stable + share(platter.bytes() - stable, keep));
            let kept = state.platter.frames();
            let torn_bytes = state.platter.bytes() - state.platter.end_of(kept);
            state.platter.stable = kept;
            state.events.push(DiskEvent::PowerLost { kept, torn_bytes });
        });
    }

    /// S4: the last `frames` stable frames are lost, and all that is not stable: an old snapshot came back. No reader can
    /// tell.
    pub fn roll_back(&self, frames: usize) {
        self.with(|state| {
            state.shut_out();
            state.drop_what_failed_to_sync();
            let kept = state.platter.stable.saturating_sub(frames);
            state.cut_to_frames(kept);
            state.events.push(DiskEvent::RolledBack { kept });
        });
    }

    /// S5: the bit at this `position`, a share of the log, reads as its opposite. An open store does not notice; the next
    /// opening is refused, until [`Disk::repair`]. Tells whether there is a bit at all.
    pub fn flip_bit(&self, position: f64) -> bool {
        self.with(|state| {
            let bits = state.platter.bytes() * 8;
            let Some(last) = bits.checked_sub(1) else {
                return false;
            };
            let bit = share(bits, position).min(last);
            state.platter.flip(bit);
            state.events.push(DiskEvent::BitFlipped { bit });
            true
        })
    }

    /// The operator restored the bytes from a healthy replica: every flipped bit is right again.
    pub fn repair(&self) {
        self.with(|state| {
            let bits = state.platter.unflip();
            state.events.push(DiskEvent::Repaired { bits });
        });
    }

    /// S6: nothing fits any more; or anything again. See [`Disk::set_room`].
    pub fn set_full(&self, is_full: bool) {
        self.set_room(is_full.then_some(0));
    }

    /// S6: this many bytes still fit; `None` for as many as may come. The write that does not fit fails, and it is drawn
    /// how much of it lands; the store stops. A disk with no room at all cannot be opened.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.with(|state| state.room = bytes);
    }

    /// S10: whoever opens it from now on is refused writes that bring more than this.
    pub fn set_max_write_bytes(&self, bytes: Option<usize>) {
        self.with(|state| state.max_write_bytes = bytes);
    }

    /// S12: writes are refused for now, and may be made again later; or no longer. Reading goes on, and so do openings.
    pub fn set_away(&self, is_away: bool) {
        self.with(|state| state.is_away = is_away);
    }

    /// S6: writes, syncs and openings fail; or no longer.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.with(|state| state.is_read_only = is_read_only);
    }

    /// S7: a sync that begins from now on takes `base` and a share of `jitter`.
    pub fn set_sync_latency(&self, base: Duration, jitter: Duration) {
        self.with(|state| (state.sync_base, state.sync_jitter) = (base, jitter));
    }

    /// S8: an empty disk is in its place.
    pub fn wipe(&self) {
        self.with(|state| {
            state.replace_platter(Platter::default());
            state.events.push(DiskEvent::Wiped);
        });
    }

    /// S11: what the disk holds at the moment: with `unstable`, also what is only in the page cache, as whoever reads its files
    /// sees it.
    pub fn copy(&self, unstable: bool) -> DiskCopy {
        self.with(|state| {
            let Platter { stable, .. } = state.platter;
            DiskCopy(state.platter.copy(if unstable { state.platter.reopened() } else { stable }))
        })
    }

    /// S11: a copy is in the place of what the disk holds, and no reader can tell. Returns what had been acknowledged and is
    /// lost, which does not count as [destroyed](Disk::destroyed).
    pub fn put_back(&self, copy: &DiskCopy) -> BTreeSet<(Family, Bytes)> {
        self.with(|state| {
            state.shut_out();
            let kept = state.platter.frames_in_common(&copy.0);
            let lost = state.platter.acknowledged_from(kept);
            let families = std::mem::take(&mut state.platter.families);
            state.platter = copy.0.clone();
            state.platter.families.extend(families);
            state.events.push(DiskEvent::PutBack { kept, frames: state.platter.frames() });
            lost
        })
    }

    /// S8: each has what the other had, and counts its own as destroyed. Conditions such as full stay where they are.
    pub fn swap(&self, other: &Disk) {
        if Arc::ptr_eq(&self.0, &other.0) {
            return;
        }
        let ours = self.with(|state| state.replace_platter(Platter::default()));
        let theirs = other.with(|state| {
            let theirs = state.replace_platter(ours);
            state.events.push(DiskEvent::Swapped { with: self.0.name.clone() });
            theirs
        });
        self.with(|state| {
            state.replace_platter(theirs);
            state.events.push(DiskEvent::Swapped { with: other.0.name.clone() });
        });
    }

    /// S10: the log holds `value` under the key, wherever it held one, and no reader can tell. What was there counts as
    /// destroyed.
    pub fn rewrite(&self, family: Family, key: &[u8], value: &[u8]) {
        self.with(|state| {
            if let Some(rewritten) = state.platter.rewrite(family, key, Some(value)) {
                let key = Bytes::copy_from_slice(key);
                if rewritten.was_acknowledged {
                    state.destroyed.insert((family, key.clone()));
                }
                state.events.push(DiskEvent::Rewritten { family: family.0, key });
            }
        });
    }

    /// S9: the log holds the key's values no more, as if they had never been written, and no reader can tell. A store that
    /// is open goes on reading them from its memory. Tells whether there was one.
    pub fn scrub(&self, family: Family, key: &[u8]) -> bool {
        self.with(|state| {
            let Some(scrubbed) = state.platter.rewrite(family, key, None) else {
                return false;
            };
            let key = Bytes::copy_from_slice(key);
            if scrubbed.was_acknowledged {
                state.destroyed.insert((family, key.clone()));
            }
            state.events.push(DiskEvent::Scrubbed { family: family.0, key });
            true
        })
    }
}

/// `fraction` of `whole`, rounded down.
fn share(whole: usize, fraction: f64) -> usize {
    (whole as f64 * fraction.clamp(0.0, 1.0)) as usize
}
