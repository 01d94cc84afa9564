//! What a reader makes of bytes that are not as they were written.

use std::collections::BTreeSet;

use super::*;
use crate::disk::frame::{Flaw, Reader, append};

const FRAMES: usize = 4;

#[test]
fn what_is_written_reads_back() {
    let (log, batches, ends) = log();
    assert_eq!(read(&log), (batches, None, ends[FRAMES - 1]));
}

#[test]
fn a_log_cut_anywhere_reads_to_its_last_complete_frame() {
    let (log, batches, ends) = log();
    for bytes in 0..=log.len() {
        let complete = ends.partition_point(|end| *end <= bytes);
        let end = complete.checked_sub(1).map_or(0, |last| ends[last]);
        assert_eq!(read(&log[..bytes]), (batches[..complete].to_vec(), None, end), "cut at {bytes}");
    }
}

/// Also in a length, whose frame would then seem to reach beyond the end, as a torn one does.
#[test]
fn any_flipped_bit_is_found_in_its_frame() {
    let (log, batches, ends) = log();
    for bit in 0..log.len() * 8 {
        let mut flipped = log.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let frame = ends.partition_point(|end| *end <= bit / 8);
        let (before, flaw, offset) = read(&flipped);
        assert_eq!(before, batches[..frame], "bit {bit}");
        let flaw = flaw.unwrap_or_else(|| panic!("bit {bit} was flipped unnoticed"));
        assert_eq!((flaw.frame, flaw.offset), (frame, offset), "bit {bit}");
    }
}

#[test]
fn a_frame_that_is_missing_doubled_or_in_another_place_is_found() {
    let (log, _, ends) = log();
    let frame = |number: usize| &log[number.checked_sub(1).map_or(0, |before| ends[before])..ends[number]];
    for (places, bad) in [(vec![0, 2, 3], 1), (vec![0, 1, 1, 2], 2), (vec![1, 0, 2], 0)] {
        let moved: Vec<u8> = places.iter().flat_map(|number| frame(*number)).copied().collect();
        assert_eq!(read(&moved).1.map(|flaw| flaw.frame), Some(bad), "{places:?}");
    }
}

fn log() -> (Vec<u8>, Vec<Batch>, Vec<usize>) {
    let batches: Vec<Batch> = (0..FRAMES).map(batch).collect();
    let (mut log, mut ends) = (Vec::new(), Vec::new());
    for (number, batch) in batches.iter().enumerate() {
        append(&mut log, number, batch.iter());
        ends.push(log.len());
    }
    (log, batches, ends)
}

fn batch(number: usize) -> Batch {
    let mut batch = put(&number.to_string(), "value");
    batch.delete(FAMILIES[1], "deleted");
    batch.delete_range(DATA, "", "end");
    batch.put(DATA, "", "");
    // The last frame is empty.
    if number + 1 < FRAMES { batch } else { Batch::default() }
}

/// The batches before the first flaw, the flaw, and where the complete frames end.
fn read(log: &[u8]) -> (Vec<Batch>, Option<Flaw>, usize) {
    let families = BTreeSet::from(FAMILIES);
    let mut reader = Reader::new(Bytes::copy_from_slice(log), &families);
    let (mut batches, mut flaw) = (Vec::new(), None);
    for read in &mut reader {
        match read {
            Ok(batch) => batches.push(batch),
            Err(found) => assert_eq!(flaw.replace(found), None, "nothing follows a flaw"),
        }
    }
    (batches, flaw, reader.offset())
}
