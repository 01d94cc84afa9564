//! The incarnations of a log: what tells its events from those of an older copy of it.

use super::{After, ReadError};
use std::collections::BTreeMap;
use undoubt_vocabulary::{Incarnation, Position};

/// Incarnations, by the first position that each has published.
#[derive(Clone, Debug, Default)]
pub struct Incarnations(BTreeMap<Position, Incarnation>);

impl FromIterator<(Position, Incarnation)> for Incarnations {
    fn from_iter<I: IntoIterator<Item = (Position, Incarnation)>>(all: I) -> Self {
        Incarnations(all.into_iter().collect())
    }
}

impl Incarnations {
    /// Notes the first position of another incarnation.
    pub fn begin(&mut self, first: Position, incarnation: Incarnation) {
        self.0.insert(first, incarnation);
    }

    /// Returns the incarnation that has published what is at this position.
    pub fn at(&self, position: Position) -> Option<Incarnation> {
        self.0.range(..=position).next_back().map(|(_, incarnation)| *incarnation)
    }

    /// Returns the first position of the incarnation that has published what is at this position.
    pub fn first_of(&self, position: Position) -> Option<Position> {
        self.0.range(..=position).next_back().map(|(first, _)| *first)
    }

    /// Forgets the incarnations that begin before this position.
    pub fn forget_before(&mut self, first: Position) {
        self.0 = self.0.split_off(&first);
    }

    /// Refuses a reader that has taken what the log does not have. `stable`: the log's last position.
    pub fn admit(&self, After { position, incarnation }: After, stable: Position) -> Result<(), ReadError> {
        if position > stable {
            let why = format!("the log ends at {stable}");
            return Err(ReadError::PutBack { after: position, shared: stable, why });
        }
        let Some(had) = incarnation.filter(|_| position > Position::START) else { return Ok(()) };
        let has = self.at(position);
        if has == Some(had) {
            return Ok(());
        }
        let last_of = |first: &Position| {
            let next = self.0.range(first.next()..).next();
            next.map_or(stable, |(next, _)| Position(next.0 - 1))
        };
        let shared = self.0.iter().find(|(_, incarnation)| **incarnation == had);
        let shared = shared.map_or(Position::START, |(first, _)| last_of(first).min(position));
        let why = format!(
            "it was published by the incarnation {had}, and here by {}",
            has.map_or("none".into(), |has| has.to_string())
        );
        Err(ReadError::PutBack { after: position, shared, why })
    }
}
