//! How we know: exhaustive exploration, worlds, faults, checkers.

pub mod explore;
