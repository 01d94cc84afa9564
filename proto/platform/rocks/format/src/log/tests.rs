use super::*;

/// Appends a record as RocksDB's writer does.
fn append(log: &mut Vec<u8>, payload: &[u8]) {
    let mut rest = payload;
    let mut begun = false;
    loop {
        let mut left_in_block = BLOCK_BYTES - log.len() % BLOCK_BYTES;
        if left_in_block < HEADER_BYTES {
            log.extend(vec![0; left_in_block]);
            left_in_block = BLOCK_BYTES;
        }
        let (part, later) = rest.split_at(rest.len().min(left_in_block - HEADER_BYTES));
        let kind = match (begun, later.is_empty()) {
            (false, true) => 1,
            (false, false) => 2,
            (true, false) => 3,
            (true, true) => 4,
        };
        append_fragment(log, kind, part);
        if later.is_empty() {
            return;
        }
        begun = true;
        rest = later;
    }
}

fn append_fragment(log: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    log.extend(fragment(kind, payload));
}

/// Without zeros, so that only what a test zeroes is zero.
fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| u8::try_from(index * 7 % 251 + 1).unwrap()).collect()
}

/// A log of records of the given payload sizes, and where each record ends.
fn log_of(sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut log = Vec::new();
    let mut ends = Vec::new();
    for size in sizes {
        append(&mut log, &payload(*size));
        ends.push(log.len());
    }
    (log, ends)
}

fn flipped(log: &[u8], byte: usize, bit: usize) -> Vec<u8> {
    let mut log = log.to_vec();
    log[byte] ^= 1 << bit;
    log
}

#[test]
fn whole_records_are_intact_wherever_blocks_end() {
    assert_eq!(inspect(&[]), Verdict::Intact);
    for padding in 0..=2 * HEADER_BYTES {
        let (log, _) = log_of(&[40, BLOCK_BYTES - 47 - HEADER_BYTES - padding, 100, 3 * BLOCK_BYTES, 0, 12]);
        assert_eq!(inspect(&log), Verdict::Intact, "{padding} bytes left in the first block");
    }
}

#[test]
fn a_last_record_cut_at_any_byte_is_torn_and_the_rest_kept() {
    for (last, step) in [(20, 1), (2 * BLOCK_BYTES + 20, 97)] {
        let (log, ends) = log_of(&[30, 40, last]);
        for length in (ends[1] + 1..log.len()).step_by(step) {
            assert_eq!(inspect(&log[..length]), Verdict::Torn { keep_bytes: ends[1], record: 3 }, "cut to {length}");
        }
        assert_eq!(inspect(&log[..ends[1]]), Verdict::Intact);
    }
}

#[test]
fn a_log_cut_within_the_padding_of_a_block_keeps_its_records() {
    let (mut log, ends) = log_of(&[BLOCK_BYTES - HEADER_BYTES - 5]);
    log.extend([0, 0]);
    assert_eq!(inspect(&log), Verdict::Torn { keep_bytes: ends[0], record: 2 });
    log.extend([0, 0, 0]);
    assert_eq!(inspect(&log), Verdict::Intact);
}

#[test]
fn zeros_behind_the_last_record_are_torn_however_many_they_are() {
    let (log, ends) = log_of(&[30, 40]);
    for zeros in [1, HEADER_BYTES, SECTOR_BYTES, 3 * BLOCK_BYTES] {
        let mut log = log.clone();
        log.resize(log.len() + zeros, 0);
        assert_eq!(inspect(&log), Verdict::Torn { keep_bytes: ends[1], record: 3 }, "{zeros} zeros");
    }
}

#[test]
fn a_last_record_whose_later_sectors_were_never_written_is_torn() {
    let (log, ends) = log_of(&[30, 5 * SECTOR_BYTES]);
    for written_sectors in 1..=5 {
        let mut log = log.clone();
        log[written_sectors * SECTOR_BYTES..].fill(0);
        log.resize(log.len() + SECTOR_BYTES, 0);
        assert_eq!(
            inspect(&log),
            Verdict::Torn { keep_bytes: ends[0], record: 2 },
            "{written_sectors} sectors written"
        );
    }
}

#[test]
fn a_last_record_that_ends_in_zeros_within_its_sector_is_damaged() {
    let (mut log, ends) = log_of(&[30, 60]);
    log[ends[0] + 40..].fill(0);
    assert!(matches!(inspect(&log), Verdict::Damaged { record: 2, .. }));
}

#[test]
fn any_flipped_bit_is_damage_in_the_record_it_is_in_the_last_one_too() {
    let (log, ends) = log_of(&[12, 30, 300, 12, 25]);
    for byte in 0..log.len() {
        let hit = 1 + ends.iter().filter(|end| **end <= byte).count() as u64;
        for bit in 0..8 {
            let verdict = inspect(&flipped(&log, byte, bit));
            assert!(
                matches!(verdict, Verdict::Damaged { record, .. } if record == hit),
                "bit {bit} of byte {byte}, in record {hit}: {verdict:?}"
            );
        }
    }
}

#[test]
fn any_flipped_bit_is_damage_where_records_span_blocks() {
    let (log, ends) = log_of(&[100, BLOCK_BYTES, 50, BLOCK_BYTES + 40]);
    for byte in (0..log.len()).step_by(7) {
        let hit = 1 + ends.iter().filter(|end| **end <= byte).count() as u64;
        let verdict = inspect(&flipped(&log, byte, byte % 8));
        assert!(matches!(verdict, Verdict::Damaged { record, .. } if record == hit), "byte {byte}: {verdict:?}");
    }
}

#[test]
fn a_flipped_bit_before_a_torn_tail_is_damage_all_the_same() {
    let (log, ends) = log_of(&[12, 30, 25]);
    let torn = &log[..log.len() - 5];
    for byte in 0..ends[1] {
        for bit in 0..8 {
            let verdict = inspect(&flipped(torn, byte, bit));
            assert!(matches!(verdict, Verdict::Damaged { .. }), "bit {bit} of byte {byte}: {verdict:?}");
        }
    }
}

#[test]
fn a_hole_of_zeros_before_a_readable_record_is_damage() {
    let (log, ends) = log_of(&[30, 4 * SECTOR_BYTES, 40]);
    let mut lost_record = log.clone();
    lost_record[ends[0]..ends[1]].fill(0);
    assert!(matches!(inspect(&lost_record), Verdict::Damaged { record: 2, .. }));
    let mut lost_sector = log;
    lost_sector[SECTOR_BYTES..2 * SECTOR_BYTES].fill(0);
    assert!(matches!(inspect(&lost_sector), Verdict::Damaged { record: 2, .. }));
}

#[test]
fn a_fragment_out_of_place_is_damage() {
    for kinds in [[1, 3], [1, 4], [2, 1], [2, 2], [2, 9]] {
        let mut log = Vec::new();
        for kind in kinds {
            append_fragment(&mut log, kind, &payload(20));
        }
        assert!(matches!(inspect(&log), Verdict::Damaged { offset: 27, .. }), "{kinds:?}");
    }
}

#[test]
fn records_about_the_log_itself_pass_and_unknown_or_recycled_ones_are_damage() {
    for kind in 0..=u8::MAX {
        let mut log = Vec::new();
        append_fragment(&mut log, kind, &payload(20));
        append(&mut log, &payload(30));
        let verdict = inspect(&log);
        match kind {
            1 | 9 | 10 | 130 => assert_eq!(verdict, Verdict::Intact, "kind {kind}"),
            _ => assert!(matches!(verdict, Verdict::Damaged { .. }), "kind {kind}: {verdict:?}"),
        }
    }
}
