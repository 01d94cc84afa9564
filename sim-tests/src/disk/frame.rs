//! The bytes of one batch, and the reader that trusts nothing but them.
//!
//! A frame is a header and a payload, all numbers little endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the payload |
//! | 8 | XXH3-64 of the payload, seeded with the frame's number: a frame in another's place does not check out |
//! | 4 | low half of the XXH3-64 of the 12 bytes above, seeded alike |
//! | … | payload: the operations, one after the other |
//!
//! The header has a checksum of its own because a flipped bit in a length could otherwise make a frame reach beyond the
//! end of the log: it would pass for a torn tail, and everything from there on would be cut in silence.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, TryGetError};
use undoubt_platform::{Batch, Family, Operation};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const HEADER_BYTES: usize = 16;
const CHECKED_HEADER_BYTES: usize = 12;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// A place where the bytes of a log do not check out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) frame: usize,
    pub(super) offset: usize,
    pub(super) detail: &'static str,
}

/// Appends a frame of `operations` as the log's frame of that `number`.
pub(super) fn append<'a>(log: &mut Vec<u8>, number: usize, operations: impl IntoIterator<Item = Operation<'a>>) {
    let start = log.len();
    log.put_bytes(0, HEADER_BYTES);
    for operation in operations {
        append_operation(log, operation);
    }
    let (header, payload) = log[start..].split_at_mut(HEADER_BYTES);
    let (checked, mut own) = header.split_at_mut(CHECKED_HEADER_BYTES);
    let mut fields = &mut *checked;
    fields.put_u32_le(length(payload.len()));
    fields.put_u64_le(xxh3_64_with_seed(payload, number as u64));
    own.put_u32_le(header_checksum(checked, number));
}

fn append_operation(log: &mut Vec<u8>, operation: Operation<'_>) {
    let (tag, first, second) = match operation {
        Operation::Put { key, value, .. } => (PUT, key, Some(value)),
        Operation::Delete { key, .. } => (DELETE, key, None),
        Operation::DeleteRange { from, to, .. } => (DELETE_RANGE, from, Some(to)),
    };
    log.put_u8(tag);
    let name = operation.family().0.as_bytes();
    for field in [Some(name), Some(first), second].into_iter().flatten() {
        log.put_u32_le(length(field.len()));
        log.put_slice(field);
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("nothing a simulation stores has 4 GiB")
}

/// The low half: 32 bits are enough for 12 bytes.
fn header_checksum(checked: &[u8], number: usize) -> u32 {
    (xxh3_64_with_seed(checked, number as u64) & u64::from(u32::MAX)) as u32
}

/// Goes through the frames of a log. Ends at the end of the log, at a torn tail, which is an incomplete last frame, or
/// behind a flaw.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    log: Bytes,
    families: &'a BTreeSet<Family>,
    number: usize,
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(log: Bytes, families: &'a BTreeSet<Family>) -> Reader<'a> {
        Reader { log, families, number: 0, offset: 0 }
    }

    /// Returns the end of the frames read so far.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The next batch and the length of its frame; `None` at the end, or at a torn tail.
    fn read(&self) -> Result<Option<(Batch, usize)>, &'static str> {
        let rest = self.log.slice(self.offset..);
        if rest.len() < HEADER_BYTES {
            return Ok(None);
        }
        let mut header = &rest[..HEADER_BYTES];
        let (length, checksum, own) = (header.get_u32_le() as usize, header.get_u64_le(), header.get_u32_le());
        if header_checksum(&rest[..CHECKED_HEADER_BYTES], self.number) != own {
            return Err("its header does not match its checksum");
        }
        if rest.len() - HEADER_BYTES < length {
            return Ok(None);
        }
        let payload = rest.slice(HEADER_BYTES..HEADER_BYTES + length);
        if xxh3_64_with_seed(&payload, self.number as u64) != checksum {
            return Err("its payload does not match its checksum");
        }
        Ok(Some((self.batch(payload)?, HEADER_BYTES + length)))
    }

    fn batch(&self, mut payload: Bytes) -> Result<Batch, &'static str> {
        const SHORT: &str = "an operation is shorter than it says";
        let mut batch = Batch::default();
        while payload.has_remaining() {
            let tag = payload.get_u8();
            let name = field(&mut payload).map_err(|_| SHORT)?;
            let first = field(&mut payload).map_err(|_| SHORT)?;
            let known = self.families.iter().find(|family| family.0.as_bytes() == name);
            let family = *known.ok_or("an operation names a family that was never created")?;
            match tag {
                PUT => batch.put(family, first, field(&mut payload).map_err(|_| SHORT)?),
                DELETE => batch.delete(family, first),
                DELETE_RANGE => batch.delete_range(family, first, field(&mut payload).map_err(|_| SHORT)?),
                _ => return Err("an operation is of no known kind"),
            }
        }
        Ok(batch)
    }
}

fn field(payload: &mut Bytes) -> Result<Bytes, TryGetError> {
    let requested = payload.try_get_u32_le()? as usize;
    let available = payload.len();
    if available < requested {
        return Err(TryGetError { requested, available });
    }
    Ok(payload.split_to(requested))
}

impl Iterator for Reader<'_> {
    type Item = Result<Batch, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().transpose()?;
        let (frame, offset) = (self.number, self.offset);
        self.number += 1;
        Some(match read {
            Ok((batch, bytes)) => {
                self.offset += bytes;
                Ok(batch)
            }
            Err(detail) => {
                self.log.truncate(self.offset);
                Err(Flaw { frame, offset, detail })
            }
        })
    }
}
