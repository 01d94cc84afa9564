//! Disks that are put back, and who knows better.

use super::{Shared, lock, now_us, own_disk};
use crate::disk::DiskCopy;
use crate::plan::{Copied, Host, Mutant, What};
use crate::run::PutBack;
use crate::trace::Standing;
use crate::world::finals;
use crate::world::witness::{self, Life, Witness};
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use undoubt_platform::numbered_store::FolderSign;
use undoubt_proto::record::SeenOfCoordinator;
use undoubt_vocabulary::WriteNumber;

/// An earlier state of a disk.
#[derive(Debug)]
pub(super) struct Copy {
    of: Host,
    state: DiskCopy,
    signed: bool,
}

impl Shared {
    /// Keeps what the host's disk holds, for the fault that is to put it back. The first copy counts.
    pub(in crate::world) fn copy(&self, fault: usize, host: Host, what: &What) {
        let What::PutBack { copy, .. } = what else { return };
        let (of, mut copies) = (self.inside(host), lock(&self.copies));
        copies.entry(fault).or_insert_with(|| {
            let signed = lock(&self.signs).contains(&of);
            let disk = &self.disks[&of];
            match copy {
                Copied::Hot | Copied::Cold => Copy { of, state: disk.copy(true), signed: true },
                Copied::Snapshot => Copy { of, state: disk.copy(false), signed },
                Copied::Emptied => Copy { of, state: DiskCopy::default(), signed: false },
            }
        });
    }

    /// Puts a disk back, which nobody may have open. It is left alone while it is in another's machine.
    pub(in crate::world) fn put_back(&self, fault: usize, host: Host, copied: Copied, at_us: u64) {
        let Some(Copy { of, state, signed }) = lock(&self.copies).remove(&fault) else { return };
        if self.inside(host) != of || of != own_disk(host) {
            return;
        }
        let keys = self.disks[&of].put_back(&state);
        if let Host::Participant(number) = of {
            self.finals().lost_events.extend(finals::events::positions(number, &keys));
        }
        let mut lost = finals::transactions_of(&keys);
        if of == Host::Coordinator && copied == Copied::Emptied {
            // Whoever comes next is another coordinator, and knows of none that were under way either.
            lost.extend(self.calls().into_iter().map(|call| call.tx));
        }
        let mut signs = lock(&self.signs);
        if signed {
            signs.insert(of)
        } else {
            signs.remove(&of)
        };
        self.recorder.record_at(at_us, Some(of), Standing::PutBack { copy: copied, lost: lost.len() }.into());
        self.finals().put_back.push(PutBack { host: of, at_us, copy: copied, signed, lost });
    }

    /// Returns the sign that the folder of the host shows by itself.
    pub(in crate::world) fn folder_sign(self: &Arc<Self>, host: Host) -> Option<FolderSign> {
        let of = self.inside(host);
        if !lock(&self.signs).contains(&of) {
            return None;
        }
        self.recorder.record(host, Standing::Signed.into());
        if self.mutates(Mutant::FolderSignIgnored) {
            return None;
        }
        let shared = self.clone();
        let settle = move || {
            lock(&shared.signs).remove(&of);
            Ok(())
        };
        Some(FolderSign { why: "the folder is a copy".to_owned(), settle: Box::new(settle) })
    }

    /// Returns the process of the host, if it lives.
    pub(super) fn life(&self, host: Host) -> Option<Life> {
        let machines = lock(&self.machines);
        let machine = machines.get(&host)?;
        (!machine.process.is_dead()).then_some((host, machine.starts))
    }

    /// A participant has heard of the coordinator's log.
    pub(in crate::world) fn participant_learns(&self, host: Host, key: &[u8], value: &Bytes) {
        let Some(id) = key.strip_prefix(b"coordinator/") else { return };
        let (Some(life), Ok(seen)) = (self.life(host), SeenOfCoordinator::decode(value.clone())) else { return };
        // Who has only said hello has told nothing yet.
        let number = seen.number.and_then(|number| WriteNumber::try_from(number).ok());
        let Some(mut number) = number.filter(|number| number.log == id) else { return };
        if number.start.mark == 0 {
            // For mutants: its own mark is known here all the same.
            let own = witness::starts(&self.disks[&Host::Coordinator]).map(|starts| starts.now);
            number.start = own.filter(|own| own.count == number.start.count).unwrap_or(number.start);
        }
        let witness = Witness { by: host, of: Host::Coordinator };
        lock(&self.witnesses).told(witness, number, life, now_us());
    }

    /// A coordinator has heard of a participant's log.
    pub(in crate::world) fn coordinator_learns(&self, host: Host, participant: u8, number: WriteNumber) {
        let Some(life) = self.life(host) else { return };
        let witness = Witness { by: Host::Coordinator, of: Host::Participant(participant) };
        lock(&self.witnesses).told(witness, number, life, now_us());
    }

    /// The number with which the coordinator's log begins its present start.
    pub(in crate::world) fn own_number(&self) -> Option<WriteNumber> {
        let starts = witness::starts(&self.disks[&Host::Coordinator])?;
        Some(WriteNumber { log: starts.log, start: starts.now, writes: 0 })
    }

    /// Returns what the log of the one lacks that the other has known since before that moment, and knows still. Nothing if its disk has
    /// lost something since: then what it has said, and is just heard, may be from before that.
    pub(in crate::world) fn lack(&self, of: Host, by: Host, before_us: u64) -> Option<String> {
        let witness = Witness { by: own_disk(by), of: own_disk(of) };
        let life = self.life(by);
        if lock(&self.witnesses).has_lost_since(witness.of, before_us) {
            return None;
        }
        let known = lock(&self.witnesses).known(witness, life, before_us)?;
        let lack = witness::starts(&self.disks[&witness.of])?.lack(&known)?;
        Some(format!("{by} has to know its {known}, and {lack}"))
    }

    /// Returns the number that `by` has known of the log of `of` since before that moment, if it does not show it: it shows this
    /// number, and this epoch.
    pub(in crate::world) fn forgotten(
        &self,
        of: Host,
        by: Host,
        before_us: u64,
        shown: Option<WriteNumber>,
        epoch: u32,
    ) -> Option<WriteNumber> {
        let witness = Witness { by: own_disk(by), of: own_disk(of) };
        let known = lock(&self.witnesses).known(witness, self.life(by), before_us)?;
        let is_own = witness::starts(&self.disks[&witness.of])?.log == known.log;
        let is_shown = shown.is_some_and(|shown| shown.log != known.log || !shown.is_before(&known));
        let is_met = known.writes == 0 && epoch >= known.start.count;
        (is_own && !is_shown && !is_met).then_some(known)
    }
}
