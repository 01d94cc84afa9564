//! The fence: for each participant the lowest ticket that is still open between the two (R11).
//!
//! Tickets are given out in rising order, so once every attempt below a ticket is over, any prepare below it that still
//! arrives is late, whatever delayed it. This needs no clock and no guess how long a message may live.

use std::collections::{BTreeMap, BTreeSet};
use undoubt_vocabulary::{ParticipantName, Ticket};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Fences {
    open: BTreeMap<ParticipantName, BTreeSet<Ticket>>,
}

impl Fences {
    pub(crate) fn open(&mut self, participant: &ParticipantName, ticket: Ticket) {
        match self.open.get_mut(participant) {
            Some(tickets) => {
                tickets.insert(ticket);
            }
            None => {
                self.open.insert(participant.clone(), BTreeSet::from([ticket]));
            }
        }
    }

    pub(crate) fn close(&mut self, participant: &ParticipantName, ticket: Ticket) {
        if let Some(tickets) = self.open.get_mut(participant) {
            tickets.remove(&ticket);
        }
    }

    /// The lowest open ticket, or `next` (the ticket that will be given out next) if none is open.
    pub(crate) fn of(&self, participant: &ParticipantName, next: Ticket) -> Ticket {
        self.open.get(participant).and_then(BTreeSet::first).copied().unwrap_or(next)
    }

    /// All that something is open with.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ParticipantName> {
        self.open.iter().filter(|(_, tickets)| !tickets.is_empty()).map(|(name, _)| name)
    }

    pub(crate) fn count(&self, participant: &ParticipantName) -> usize {
        self.open.get(participant).map_or(0, BTreeSet::len)
    }
}
