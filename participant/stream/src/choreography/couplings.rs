//! Who has to know whom.

use super::Choreography;
use crate::declarations::Heard;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_vocabulary::{EventType, ParticipantName};

/// What a participant has to know of others: if one of these is renamed, its declarations change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coupling {
    /// The types of events that it knows, by the participants that publish them. Its own are left out.
    pub knows: BTreeMap<ParticipantName, BTreeSet<EventType>>,
    /// The participants that know it.
    pub known_by: BTreeSet<ParticipantName>,
}

impl Choreography {
    /// Returns for each participant what it has to know of others.
    pub fn couplings(&self) -> BTreeMap<ParticipantName, Coupling> {
        let names = self.participants().map(|(name, _)| (name.clone(), Coupling::default()));
        let mut couplings: BTreeMap<ParticipantName, Coupling> = names.collect();
        for (name, declarations) in self.participants() {
            for Heard { from, topic: _, kind } in declarations.heard().filter(|heard| heard.from != *name) {
                let knows = couplings.entry(name.clone()).or_default();
                knows.knows.entry(from.clone()).or_default().insert(kind.clone());
                couplings.entry(from.clone()).or_default().known_by.insert(name.clone());
            }
        }
        couplings
    }
}
