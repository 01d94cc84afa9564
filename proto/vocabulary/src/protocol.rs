//! The versions of the conversation between a coordinator and a participant, and what its sides can do.

/// The lowest version that is spoken here.
pub const OLDEST_VERSION: u32 = 1;

/// The highest version that is spoken here.
pub const NEWEST_VERSION: u32 = 2;

/// The ability to run the steps of sagas.
pub const SAGA_STEPS: &str = "saga-steps";

/// Returns the highest version that both sides speak; `None` if there is none. `newest` is 0 of a side that speaks one only.
pub fn common_version(oldest: u32, newest: u32) -> Option<u32> {
    let common = newest.max(oldest).min(NEWEST_VERSION);
    (common >= oldest.max(OLDEST_VERSION)).then_some(common)
}

/// The abilities of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    pub saga_steps: bool,
}

impl Abilities {
    /// Returns what a peer that speaks this version can do, as it names it. Before abilities had names, everybody could do all that
    /// there was.
    pub fn of<'a>(version: u32, mut named: impl Iterator<Item = &'a str>) -> Abilities {
        Abilities { saga_steps: version < 2 || named.any(|name| name == SAGA_STEPS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_speak_the_highest_version_that_both_know() {
        for (oldest, newest, common) in [
            (1, 0, Some(1)),
            (1, 1, Some(1)),
            (1, 2, Some(2)),
            (1, 9, Some(2)),
            (2, 9, Some(2)),
            (3, 9, None),
            (3, 0, None),
            (0, 0, None),
        ] {
            assert_eq!(common_version(oldest, newest), common, "from {oldest} to {newest}");
        }
    }

    #[test]
    fn whoever_names_its_abilities_has_no_others() {
        assert!(Abilities::of(1, std::iter::empty()).saga_steps);
        assert!(!Abilities::of(2, ["saga-steps-of-the-future"].into_iter()).saga_steps);
        assert!(Abilities::of(2, ["of the future", SAGA_STEPS].into_iter()).saga_steps);
    }
}
