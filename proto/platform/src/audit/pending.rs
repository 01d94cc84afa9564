//! Entries that wait to be stored: submissions for the next batch that takes them along, and counts of refused calls.

use super::call::{Call, Origin};
use crate::reason::Reason;
use undoubt_proto::v1::AuditEntry;
use undoubt_vocabulary::TxId;
use undoubt_vocabulary::limits::MAX_TX_ID_BYTES;

/// The bytes of submissions that one batch takes along.
pub(super) const MAX_BATCH_BYTES: usize = 256 << 10;

/// Transactions in one entry.
const MAX_TXS_PER_ENTRY: usize = 64;

/// The most that an entry about submissions takes beside the ids: who, through whom, from where, and what the store keeps with it.
const BESIDE_TXS_BYTES: usize = 1 << 10;
/// The most that an id takes, with its length.
const BYTES_PER_TX: usize = MAX_TX_ID_BYTES + 2;

/// The latest groups among which one of the same caller is looked for.
const GROUPS_LOOKED_AT: usize = 16;

/// Refused calls that differ in caller, action or reason: in one period in all, and of one address.
const MAX_KINDS: usize = 32;
const MAX_KINDS_OF_ONE: usize = 4;

/// Transactions that an entry about refused calls names.
const MAX_TXS_OF_REFUSED: usize = 8;

/// The reason of the entry that counts what has none of its own.
const LEFT_OUT: &str = "LEFT_OUT";

/// Submissions that were let in, and what was asked of open sagas. There are no more than transactions that are open, for the record of each takes it along.
#[derive(Debug, Default)]
pub(super) struct Submissions(Vec<Group>);

#[derive(Debug)]
struct Group {
    origin: Origin,
    action: &'static str,
    at_us: u64,
    txs: Vec<TxId>,
}

impl Submissions {
    pub(super) fn note(&mut self, origin: &Origin, action: &'static str, tx: &TxId, now_us: u64) {
        let fits = |group: &&mut Group| {
            group.txs.len() < MAX_TXS_PER_ENTRY && group.action == action && group.origin == *origin
        };
        match self.0.iter_mut().rev().take(GROUPS_LOOKED_AT).find(fits) {
            Some(group) => group.txs.push(tx.clone()),
            None => self.0.push(Group { origin: origin.clone(), action, at_us: now_us, txs: vec![tx.clone()] }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes an entry that has no more than so many bytes, if one can be that small.
    pub(super) fn take(&mut self, max_bytes: usize) -> Option<AuditEntry> {
        let fit = max_bytes.checked_sub(BESIDE_TXS_BYTES)? / BYTES_PER_TX;
        let group = self.0.last_mut().filter(|_| fit > 0)?;
        let rest = group.txs.len().saturating_sub(fit);
        let txs = group.txs.split_off(rest);
        let (count, at_us) = (txs.len() as u64, group.at_us);
        let mut call = Call::new(group.origin.clone(), group.action);
        call.txs = txs;
        if rest == 0 {
            self.0.pop();
        }
        Some(AuditEntry { at_us, count, ..call.into_entry() })
    }
}

/// Calls that were refused, counted by caller, action and reason.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    kinds: Vec<Kind>,
    /// Calls beyond the bounds, and when the first of them came.
    left_out: u64,
    left_out_since_us: u64,
}

#[derive(Debug)]
struct Kind {
    call: Call,
    reason: Option<Reason>,
    at_us: u64,
    count: u64,
}

impl Refusals {
    pub(super) fn note(&mut self, call: &Call, reason: Option<Reason>, now_us: u64) {
        let (origin, action) = (&call.origin, call.action);
        let same =
            |kind: &&mut Kind| kind.call.action == action && kind.reason == reason && kind.call.origin == *origin;
        if let Some(kind) = self.kinds.iter_mut().find(same) {
            kind.count += 1;
            let room = MAX_TXS_OF_REFUSED.saturating_sub(kind.call.txs.len());
            kind.call.txs.extend(call.txs.iter().take(room).cloned());
            return;
        }
        let of_one = self.kinds.iter().filter(|kind| kind.call.origin.address == origin.address).count();
        if self.kinds.len() < MAX_KINDS && of_one < MAX_KINDS_OF_ONE {
            self.kinds.push(Kind { call: call.clone(), reason, at_us: now_us, count: 1 });
            return;
        }
        if self.left_out == 0 {
            self.left_out_since_us = now_us;
        }
        self.left_out += 1;
    }

    /// Takes all entries.
    pub(super) fn take(&mut self) -> Vec<AuditEntry> {
        let Refusals { kinds, left_out, left_out_since_us } = std::mem::take(self);
        let entry = |Kind { call, reason, at_us, count }| {
            let refused = word(reason);
            AuditEntry { at_us, count, refused, ..call.into_entry() }
        };
        let mut entries: Vec<AuditEntry> = kinds.into_iter().map(entry).collect();
        if left_out > 0 {
            let refused = LEFT_OUT.to_owned();
            entries.push(AuditEntry { at_us: left_out_since_us, count: left_out, refused, ..AuditEntry::default() });
        }
        entries
    }
}

/// Returns the word of a reason, as entries have it.
pub(super) fn word(reason: Option<Reason>) -> String {
    reason.map_or("UNKNOWN", Reason::as_str).to_owned()
}
