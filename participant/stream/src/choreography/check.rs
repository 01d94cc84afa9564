//! The check of a choreography.

use super::finding::Lack;
use super::{Choreography, Finding, Node};
use crate::declarations::Heard;

impl Choreography {
    /// Finds all that cannot end well, and hints; faults first.
    pub fn check(&self) -> Vec<Finding> {
        let circles = self.circles();
        // Without an end nothing can be counted.
        let counted = if circles.is_empty() { self.too_many() } else { Vec::new() };
        let found = [self.unheard(), self.untriggered(), self.not_undone(), circles, counted, self.undone_first()];
        let mut found: Vec<Finding> = found.into_iter().flatten().collect();
        found.sort_by_key(Finding::weight);
        found
    }

    fn unheard(&self) -> Vec<Finding> {
        let events = self.origins().into_keys().filter(|event| !self.is_heard(event));
        events.map(|event| Finding::Unheard { path: self.way_to(&event), event }).collect()
    }

    fn untriggered(&self) -> Vec<Finding> {
        let origins = self.origins();
        let reactions = self.steps().flat_map(|step| step.reaction.heard().map(move |heard| (step.id(), heard)));
        let expiries = self.expiries().flat_map(|(_, begun, expiry)| {
            let id = super::StepId { participant: begun.from, name: expiry.name.clone() };
            expiry.unless.iter().map(move |heard| (id.clone(), heard))
        });
        let missing = reactions.chain(expiries).filter(|(_, event)| !origins.contains_key(event));
        missing
            .map(|(step, event)| Finding::Untriggered { step, event: event.clone(), lack: self.lack(event) })
            .collect()
    }

    fn lack(&self, event: &Heard) -> Lack {
        match self.participants.get(&event.from) {
            None => Lack::Participant,
            Some(declarations) if declarations.topic(&event.topic).is_none() => Lack::Topic,
            Some(_) => Lack::Kind,
        }
    }

    /// Finds reactions that may be undone before they are moved: by an event that does not follow from them.
    fn undone_first(&self) -> Vec<Finding> {
        let found = self.steps().filter(|step| step.reaction.has_barrier()).filter_map(|step| {
            let (id, own) = (step.id(), Node::Act(step.id()));
            let undoes = |node: &Node| matches!(node, Node::Event(event) if step.reaction.undo_on.contains(event));
            let begins = self.beginnings().map(|(begun, _)| Node::Event(begun));
            let path = self.shortest(begins, |node| *node != own, undoes)?;
            Some(Finding::UndoneFirst { step: id, path })
        });
        found.collect()
    }
}
