//! The world around a transaction, as far as it may know it, and the list that its effects go to.

use crate::breaker::Breakers;
use crate::effect::{Effect, Note, Timer};
use crate::low_water_mark::LowWaterMarks;
use crate::room::Room;
use crate::saga::Kin;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use undoubt_vocabulary::{Abilities, Ability, AttemptNumber, ParticipantName, Timestamp, TxId};

/// The coordinator's knowledge of its participants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peers {
    pub(crate) connected: BTreeSet<ParticipantName>,
    /// The abilities of those that lacked some when they connected last. Mostly there are none, and looking costs nothing.
    pub(crate) limited: BTreeMap<ParticipantName, Abilities>,
    pub(crate) low_water_marks: LowWaterMarks,
    pub(crate) breakers: Breakers,
}

impl Peers {
    /// Returns true if the participant is known to lack this; of whom nobody has met it may be hoped for.
    pub(crate) fn lacks(&self, participant: &ParticipantName, ability: Ability) -> bool {
        self.limited.get(participant).is_some_and(|abilities| !abilities.has(ability))
    }
}

pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) peers: &'a mut Peers,
    pub(crate) room: &'a mut Room,
    /// The words of sagas to their parents and children, which are handed on before the next input.
    pub(crate) kin: &'a mut VecDeque<(TxId, Kin)>,
}

impl Context<'_> {
    pub(crate) fn note(&mut self, tx: &TxId, note: Note) {
        self.effects.push(Effect::Note { tx: tx.clone(), note });
    }

    pub(crate) fn tell(&mut self, tx: &TxId, kin: Kin) {
        self.kin.push_back((tx.clone(), kin));
    }

    pub(crate) fn arm(&mut self, tx: &TxId, attempt_number: AttemptNumber, timer: Timer) {
        self.effects.push(Effect::Arm { tx: tx.clone(), attempt_number, timer });
    }
}
