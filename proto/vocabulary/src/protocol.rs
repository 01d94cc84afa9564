//! The versions of the conversation between a coordinator and a participant, and what its sides can do.

use std::fmt;

/// The lowest version that is spoken here.
pub const OLDEST_VERSION: u32 = 1;

/// The highest version that is spoken here.
pub const NEWEST_VERSION: u32 = 2;

/// The version from which on a coordinator proves that it is the one that it says.
pub const PROVEN_VERSION: u32 = 2;

/// Returns the highest version that both sides speak; `None` if there is none. `newest` is 0 of a side that speaks one only.
pub fn common_version(oldest: u32, newest: u32) -> Option<u32> {
    let common = newest.max(oldest).min(NEWEST_VERSION);
    (common >= oldest.max(OLDEST_VERSION)).then_some(common)
}

/// An ability of a participant that a transaction may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ability {
    /// Runs the steps of sagas, and closes sagas.
    SagaSteps,
    /// Takes a branch that is alone in its transaction, and commits it at once.
    OnePhase,
    /// Takes a branch beside others: votes prepared, and ends it as it is told.
    TwoPhase,
    /// Runs the steps of open sagas: completions, and compensations of what was done elsewhere.
    OpenSagas,
    /// Keeps what is still open below a low-water mark.
    StillOpen,
}

impl Ability {
    const ALL: [Ability; 5] =
        [Ability::SagaSteps, Ability::OnePhase, Ability::TwoPhase, Ability::OpenSagas, Ability::StillOpen];

    /// Returns its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Ability::SagaSteps => "saga-steps",
            Ability::OnePhase => "one-phase",
            Ability::TwoPhase => "two-phase",
            Ability::OpenSagas => "open-sagas",
            Ability::StillOpen => "still-open",
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The abilities of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Abilities {
    pub saga_steps: bool,
    pub one_phase: bool,
    pub two_phase: bool,
    pub open_sagas: bool,
    pub still_open: bool,
}

impl Abilities {
    pub const ALL: Abilities =
        Abilities { saga_steps: true, one_phase: true, two_phase: true, open_sagas: true, still_open: true };

    /// Can do nothing.
    pub const NONE: Abilities =
        Abilities { saga_steps: false, one_phase: false, two_phase: false, open_sagas: false, still_open: false };

    /// Returns what a participant that speaks this version can do. From version 2 on it can do what it names, and nothing else.
    /// Before, abilities had no names and everybody could do all that there was then, save whoever said that it `cannot_prepare`.
    pub fn of<'a>(version: u32, cannot_prepare: bool, named: impl Iterator<Item = &'a str>) -> Abilities {
        if version < 2 {
            let two_phase = !cannot_prepare;
            return Abilities { saga_steps: true, one_phase: true, two_phase, ..Abilities::NONE };
        }
        let mut abilities = Abilities::NONE;
        for name in named {
            match Ability::ALL.into_iter().find(|ability| ability.name() == name) {
                Some(Ability::SagaSteps) => abilities.saga_steps = true,
                Some(Ability::OnePhase) => abilities.one_phase = true,
                Some(Ability::TwoPhase) => abilities.two_phase = true,
                Some(Ability::OpenSagas) => abilities.open_sagas = true,
                Some(Ability::StillOpen) => abilities.still_open = true,
                // An ability of a later version, which is not asked for here.
                None => {}
            }
        }
        abilities
    }

    pub fn has(self, ability: Ability) -> bool {
        match ability {
            Ability::SagaSteps => self.saga_steps,
            Ability::OnePhase => self.one_phase,
            Ability::TwoPhase => self.two_phase,
            Ability::OpenSagas => self.open_sagas,
            Ability::StillOpen => self.still_open,
        }
    }

    /// Returns the names of what it can do, as they are told on the wire.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Ability::ALL.into_iter().filter(move |ability| self.has(*ability)).map(Ability::name)
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
        let none = Abilities::NONE;
        assert_eq!(Abilities::of(2, false, ["saga-steps-of-the-future"].into_iter()), none);
        let steps = Abilities { saga_steps: true, ..none };
        assert_eq!(Abilities::of(2, false, ["of the future", "saga-steps"].into_iter()), steps);
        for abilities in [none, steps, Abilities { one_phase: true, ..none }, Abilities::ALL] {
            assert_eq!(Abilities::of(2, true, abilities.names()), abilities);
        }
    }

    #[test]
    fn before_abilities_had_names_everybody_could_do_all_save_to_prepare_who_denied_it() {
        let all = Abilities { open_sagas: false, still_open: false, ..Abilities::ALL };
        assert_eq!(Abilities::of(1, false, std::iter::empty()), all);
        assert_eq!(Abilities::of(1, true, ["two-phase"].into_iter()), Abilities { two_phase: false, ..all });
    }
}
