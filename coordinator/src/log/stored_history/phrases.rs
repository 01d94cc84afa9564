//! Words of histories that come again and again, and the numbers that stand for them in records.
//!
//! A number means its word for good: new ones are added at the end, and none is ever taken away. The most frequent come
//! first, for they are looked for in this order.

const PHRASES: [&str; 23] = [
    "prepare",
    "commit",
    "prepared",
    "committed",
    "begun",
    "2 branches",
    "ended",
    "stepped",
    "abort",
    "refused",
    "aborted",
    "1 branches",
    "3 branches",
    "read-only",
    "confirm",
    "settle",
    "close",
    "undecided",
    "noted",
    "delegated",
    "compensation",
    "read locks held",
    "refused: lock-conflict",
];

pub(super) fn number_of(text: &str) -> Option<u32> {
    let place = PHRASES.iter().position(|phrase| *phrase == text)?;
    u32::try_from(place).ok()
}

pub(super) fn text_of(number: u32) -> Option<&'static str> {
    PHRASES.get(usize::try_from(number).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_meaning() {
        for (number, text) in [(0, "prepare"), (3, "committed"), (22, "refused: lock-conflict")] {
            assert_eq!((text_of(number), number_of(text)), (Some(text), Some(number)));
        }
        // All that have been stored so far, in their order.
        let told = PHRASES[..23].join("\n");
        let sum = told.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        assert_eq!(sum, 5_825_148_704_271_580_243, "a number in stored histories would mean another word");
        assert_eq!((text_of(23), number_of("something else")), (None, None));
    }
}
