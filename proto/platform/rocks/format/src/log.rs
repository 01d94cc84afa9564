//! RocksDB's log format, read without forgiveness.
//!
//! A log is a row of blocks of [`BLOCK_BYTES`]. A record is one fragment, or several where it does not fit into what is
//! left of a block; a fragment never crosses blocks, and what is too short for a header at the end of a block is
//! padding. A fragment is
//!
//! ```text
//! crc32c of kind and payload, masked: u32 | payload length: u16 | kind: u8 | payload        (little endian)
//! ```
//!
//! A crash may leave the last record cut short, or followed or ended by zeros: a **torn tail**. Its end was never
//! acknowledged as durable, for the forced write had not returned. Everything else that cannot be read is **damage**.
//! The two are told apart so:
//!
//! * a fragment cut short by the end of the log is torn, unless it is whole under another length (then the length is
//!   damaged), or any fragment can be read behind it;
//! * a fragment that fails its checksum is torn only if it runs into zeros that begin at a sector's boundary and reach
//!   to the end of the log, because a sector is written as a whole.
//!
//! Two things nobody can tell by the bytes alone: a log that ends between two records, or in the middle of one, because
//! a durable end was taken away; and a flipped bit in a *last* record whose payload itself ends in zeros from a sector's
//! boundary on. Both read as a log that simply ended there.
//!
//! The recycled form (kinds 5 to 8, 11 and 131) is refused like any unknown kind: logs are never recycled here.

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
/// The unit that a device writes as a whole.
const SECTOR_BYTES: usize = 512;
const KIND_AT: usize = 6;
/// RocksDB stores a checksum rotated and shifted by this, so that a checksum of checksums is no special case.
const CHECKSUM_MASK_DELTA: u32 = 0xa282_ead8;

/// The state of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Intact,
    /// The first `keep_bytes` are whole records; `record` (counted from 1) is torn.
    Torn {
        keep_bytes: usize,
        record: u64,
    },
    /// `record` (counted from 1) cannot be trusted from byte `offset` of the log on.
    Damaged {
        offset: usize,
        record: u64,
        detail: &'static str,
    },
}

#[derive(Clone, Copy)]
enum Kind {
    Full,
    First,
    Middle,
    Last,
    /// About the log itself: compression, timestamp sizes, the preceding log.
    Metadata,
}

struct Fragment {
    kind: Kind,
    end: usize,
}

enum Flaw {
    CutShort,
    /// The checksum does not match the payload, which would end at `end`.
    Unreadable {
        end: usize,
    },
    Impossible(&'static str),
}

/// Reads a whole log.
pub fn inspect(log: &[u8]) -> Verdict {
    let mut at = 0;
    let mut record = 1;
    let mut unfinished_from = None;
    while at < log.len() {
        let left_in_block = BLOCK_BYTES - at % BLOCK_BYTES;
        if left_in_block < HEADER_BYTES && at + left_in_block <= log.len() {
            at += left_in_block;
            continue;
        }
        let damaged = |detail| Verdict::Damaged { offset: at, record, detail };
        let fragment = match read_fragment(log, at) {
            Ok(fragment) => fragment,
            Err(flaw) => {
                return match damage(log, at, &flaw) {
                    Some(detail) => damaged(detail),
                    None => Verdict::Torn { keep_bytes: unfinished_from.unwrap_or(at), record },
                };
            }
        };
        match (fragment.kind, unfinished_from) {
            (Kind::Full | Kind::Metadata, None) => record += 1,
            (Kind::First, None) => unfinished_from = Some(at),
            (Kind::Middle, Some(_)) => {}
            (Kind::Last, Some(_)) => {
                unfinished_from = None;
                record += 1;
            }
            (Kind::Middle | Kind::Last, None) => return damaged("the start of the record is missing"),
            (Kind::Full | Kind::Metadata | Kind::First, Some(_)) => return damaged("the end of the record is missing"),
        }
        at = fragment.end;
    }
    match unfinished_from {
        Some(keep_bytes) => Verdict::Torn { keep_bytes, record },
        None => Verdict::Intact,
    }
}

/// Returns the reason why `flaw` at `at` is damage; `None` where it is a torn tail.
fn damage(log: &[u8], at: usize, flaw: &Flaw) -> Option<&'static str> {
    let looks_torn = match flaw {
        Flaw::Impossible(detail) => return Some(detail),
        Flaw::CutShort if is_whole_under_another_length(log, at) => {
            return Some("its length is wrong: it says that the log was cut short, but the record is whole");
        }
        Flaw::CutShort => true,
        Flaw::Unreadable { end } => runs_into_zeros(log, at, *end),
    };
    if !looks_torn {
        return Some("its checksum does not match");
    }
    // The kind is looked at first because checksums at every byte would take minutes.
    let follows = (at + 1..log.len().saturating_sub(KIND_AT))
        .any(|later| kind_of(log[later + KIND_AT]).is_some() && read_fragment(log, later).is_ok());
    follows.then_some("it cannot be read, but what follows it can")
}

fn read_fragment(log: &[u8], at: usize) -> Result<Fragment, Flaw> {
    let left_in_block = BLOCK_BYTES - at % BLOCK_BYTES;
    let rest = &log[at..log.len().min(at + left_in_block)];
    let Some(header) = rest.first_chunk::<HEADER_BYTES>() else {
        return Err(Flaw::CutShort);
    };
    let length = HEADER_BYTES + usize::from(u16::from_le_bytes([header[4], header[5]]));
    if length > left_in_block {
        return Err(Flaw::Impossible("its length reaches beyond its block"));
    }
    let Some(fragment) = rest.get(..length) else {
        return Err(Flaw::CutShort);
    };
    let end = at + length;
    if crc32c::crc32c(&fragment[KIND_AT..]) != stored_checksum(header) {
        return Err(Flaw::Unreadable { end });
    }
    let unknown = Flaw::Impossible("its kind is unknown: a newer version may have written it");
    Ok(Fragment { kind: kind_of(header[KIND_AT]).ok_or(unknown)?, end })
}

fn kind_of(byte: u8) -> Option<Kind> {
    match byte {
        1 => Some(Kind::Full),
        2 => Some(Kind::First),
        3 => Some(Kind::Middle),
        4 => Some(Kind::Last),
        9 | 10 | 130 => Some(Kind::Metadata),
        _ => None,
    }
}

fn stored_checksum(header: &[u8; HEADER_BYTES]) -> u32 {
    let masked = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    masked.wrapping_sub(CHECKSUM_MASK_DELTA).rotate_left(15)
}

/// Returns a fragment as RocksDB writes it, for tests.
///
/// # Panics
/// If the payload is longer than a fragment's may be.
pub fn fragment(kind: u8, payload: &[u8]) -> Vec<u8> {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
    let masked = checksum.rotate_right(15).wrapping_add(CHECKSUM_MASK_DELTA);
    let length = u16::try_from(payload.len()).expect("a payload is within its block");
    [&masked.to_le_bytes()[..], &length.to_le_bytes(), &[kind], payload].concat()
}

/// Returns true if the fragment is whole but for its length. The checksum leaves that out, so it still matches at its
/// true end.
fn is_whole_under_another_length(log: &[u8], at: usize) -> bool {
    let Some(header) = log[at..].first_chunk::<HEADER_BYTES>() else {
        return false;
    };
    let stored = stored_checksum(header);
    let mut checksum = 0;
    log[at + KIND_AT..].iter().any(|byte| {
        checksum = crc32c::crc32c_append(checksum, std::slice::from_ref(byte));
        checksum == stored
    })
}

fn runs_into_zeros(log: &[u8], at: usize, end: usize) -> bool {
    let written_end = log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    written_end <= at || written_end.next_multiple_of(SECTOR_BYTES) < end
}

#[cfg(test)]
mod tests;
