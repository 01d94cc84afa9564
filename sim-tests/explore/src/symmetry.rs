//! Participants that have the same work in every request are interchangeable: worlds that differ only in which of them is
//! which have equal futures, so one of them is explored for all.
//!
//! Sound, because two worlds are taken for one only if one is the other with its participants renamed. A participant, its
//! link and its packets do not know their own name, so they just change places. A coordinator does know names, so its
//! counterpart is found by doing it: for each renaming a second coordinator, the real core again, is driven along with
//! everything that happens to the first, renamed. It has to say the same, renamed; if it doesn't, that is a broken rule.
//!
//! Of all renamings of a world the one with the least fingerprint stands for it.

use crate::coordinator::{Act, CoordinatorHost, Sent};
use crate::machines::Stepped;
use crate::mutant::Mutant;
use crate::part::{ByFingerprint, Part, fingerprint};
use crate::renaming::Renaming;
use crate::scenario::Scenario;
use crate::world::{Clients, World};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Symmetry {
    pub(crate) renamings: Vec<Renaming>,
    /// Each coordinator under each renaming.
    coordinators: ByFingerprint<Arc<[Part<CoordinatorHost>]>>,
    /// Each state of the clients under each renaming, by fingerprint.
    clients: ByFingerprint<Arc<[u128]>>,
}

/// The order of the renamings of a world.
type Rank<'a> = (&'a [u128], u128, u128);

impl Symmetry {
    pub(crate) fn of(scenario: &Scenario) -> Symmetry {
        let renamings = Renaming::all(&classes(scenario));
        Symmetry { renamings, coordinators: ByFingerprint::default(), clients: ByFingerprint::default() }
    }

    /// The first coordinator, to whom all participants are alike.
    pub(crate) fn begin(&mut self, first: &Part<CoordinatorHost>) {
        self.coordinators.insert(first.fingerprint(), vec![first.clone(); self.renamings.len()].into());
    }

    /// Drives the counterparts of a coordinator along.
    pub(crate) fn follow(
        &mut self,
        host: &Part<CoordinatorHost>,
        act: &Act,
        stepped: &Stepped<CoordinatorHost, Sent>,
        mut step: impl FnMut(&Part<CoordinatorHost>, &Act) -> Stepped<CoordinatorHost, Sent>,
    ) -> Result<(), String> {
        if self.renamings.len() == 1 || self.coordinators.contains_key(&stepped.after.fingerprint()) {
            return Ok(());
        }
        let mut after = vec![stepped.after.clone()];
        for (renaming, counterpart) in self.renamings.iter().zip(self.counterparts(host)).skip(1) {
            let other = step(counterpart, &act.renamed(renaming));
            if other.broken.is_some() || said(&other.sent, &self.renamings[0]) != said(&stepped.sent, renaming) {
                return Err("symmetry: under other names the coordinator does something else".to_owned());
            }
            after.push(other.after);
        }
        self.coordinators.insert(stepped.after.fingerprint(), after.into());
        Ok(())
    }

    /// Returns a coordinator that was met under each renaming.
    pub(crate) fn counterparts(&self, host: &Part<CoordinatorHost>) -> &[Part<CoordinatorHost>] {
        &self.coordinators[&host.fingerprint()]
    }

    /// The same for all renamings of a world, and for no other world.
    pub(crate) fn fingerprint(&mut self, world: &World) -> u128 {
        if self.renamings.len() == 1 {
            return fingerprint(world);
        }
        let clients = self.clients(&world.clients);
        let coordinators = self.counterparts(&world.coordinator);
        let seats: Vec<u128> = world.seats.iter().map(fingerprint).collect();
        let (mut best, mut renamed) = (vec![u128::MAX; seats.len()], seats.clone());
        let mut rest = (u128::MAX, u128::MAX);
        for (at, renaming) in self.renamings.iter().enumerate() {
            seats.iter().enumerate().for_each(|(from, seat)| renamed[renaming.number(from)] = *seat);
            let candidate: Rank<'_> = (&renamed, coordinators[at].fingerprint(), clients[at]);
            if candidate < (best.as_slice(), rest.0, rest.1) {
                rest = (candidate.1, candidate.2);
                best.copy_from_slice(&renamed);
            }
        }
        fingerprint(&(best, rest, world.budget))
    }

    fn clients(&mut self, clients: &Part<Clients>) -> Arc<[u128]> {
        let renamings = &self.renamings;
        let known = self.clients.entry(clients.fingerprint()).or_insert_with(|| {
            renamings.iter().map(|renaming| fingerprint(&renaming.clients(clients))).collect::<Vec<_>>().into()
        });
        Arc::clone(known)
    }
}

impl Act {
    fn renamed(&self, renaming: &Renaming) -> Act {
        match self {
            Act::Message { from, body } => Act::Message { from: renaming.number(*from), body: body.clone() },
            Act::Connected { participant } => Act::Connected { participant: renaming.number(*participant) },
            Act::Disconnected { participant } => Act::Disconnected { participant: renaming.number(*participant) },
            // Requests name all members of a class with the same work, so they are what they were.
            Act::Request { .. }
            | Act::BecomeStable
            | Act::Refuse { .. }
            | Act::ForgetHeld { .. }
            | Act::Spoil { .. }
            | Act::Drop { .. }
            | Act::Fire { .. }
            | Act::ResolveStep(_)
            | Act::EndPause
            | Act::Pause
            | Act::Resume
            | Act::Drain
            | Act::Crash { .. }
            | Act::Stop
            | Act::Restart
            | Act::PutBack { .. }
            | Act::TimeIsOver
            | Act::FencedByEpoch { .. }
            | Act::Recover { .. } => self.clone(),
            // Where writes are numbered, each participant has a log of its own.
            Act::Recalled { .. } | Act::Welcomed { .. } | Act::AcceptLoss { .. } => self.clone(),
        }
    }
}

/// Returns what was sent, renamed. The order means nothing.
fn said(sent: &[Sent], renaming: &Renaming) -> Vec<u128> {
    let mut said: Vec<u128> = sent.iter().map(|sent| fingerprint(&renaming.sent(sent))).collect();
    said.sort_unstable();
    said
}

/// Participants that have the same work in every request.
fn classes(scenario: &Scenario) -> Vec<Vec<usize>> {
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for participant in 0..scenario.participants {
        let alike = |class: &&mut Vec<usize>| {
            scenario.mutant != Some(Mutant::AgesDiffer)
                && scenario.restored.is_none()
                && scenario.are_alike(class[0], participant)
        };
        match classes.iter_mut().find(alike) {
            Some(class) => class.push(participant),
            None => classes.push(vec![participant]),
        }
    }
    classes
}

#[cfg(test)]
mod tests;
