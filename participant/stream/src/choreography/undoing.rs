//! What is not undone when a saga fails.
//!
//! For each reaction that something has to undo, and each event that says that its saga has failed: the least that has acted by then are the
//! reactions on the way to either. If the reaction is undone with that, it is with more.

use super::{Choreography, Finding, MAX_WAYS, Node, Path, Step, StepId};
use crate::declarations::Heard;
use std::collections::{BTreeMap, BTreeSet};

/// The ways from the beginning of a saga to each of its reactions, if all goes well.
type Ways = BTreeMap<StepId, Vec<Vec<Node>>>;

/// An event that says that a saga has failed.
struct Failure {
    event: Heard,
    /// The reaction that was refused.
    refused: Option<StepId>,
    ways: Vec<Vec<Node>>,
}

impl Choreography {
    pub(super) fn not_undone(&self) -> Vec<Finding> {
        let mut found = BTreeSet::new();
        for (begun, _) in self.beginnings() {
            let mut ways = Ways::new();
            self.follow(&mut vec![Node::Event(begun.clone())], &begun, &mut ways);
            let failures = self.failures(&begun, &ways);
            for step in self.steps().filter(needs_undoing) {
                let acted = ways.get(&step.id()).map_or(&[][..], Vec::as_slice);
                let remains = |failure: &Failure| self.remains(&step.id(), acted, failure);
                found.extend(failures.iter().filter_map(remains));
            }
        }
        let mut known = BTreeSet::new();
        let is_new = |finding: &Finding| match finding {
            Finding::NotUndone { step, failure, .. } => known.insert((step.clone(), failure.clone())),
            Finding::Unheard { .. }
            | Finding::Untriggered { .. }
            | Finding::UndoneFirst { .. }
            | Finding::Circle { .. }
            | Finding::Twice { .. }
            | Finding::FanOut { .. } => true,
        };
        found.into_iter().filter(is_new).collect()
    }

    /// Notes all ways on from an event.
    fn follow(&self, way: &mut Vec<Node>, event: &Heard, ways: &mut Ways) {
        for step in self.acting_on(event) {
            let node = Node::Act(step.id());
            let known = ways.entry(step.id()).or_default();
            if way.contains(&node) || known.len() >= MAX_WAYS {
                continue;
            }
            way.push(node);
            known.push(way.clone());
            for event in step.emits().collect::<BTreeSet<_>>() {
                way.push(Node::Event(event.clone()));
                self.follow(way, &event, ways);
                way.pop();
            }
            way.pop();
        }
    }

    fn failures(&self, begun: &Heard, ways: &Ways) -> Vec<Failure> {
        let steps = self.steps().filter_map(|step| Some((step, ways.get(&step.id())?)));
        let refused = steps.filter_map(|(step, ways)| {
            let event = step.refused()?;
            let end = Node::Event(event.clone());
            let ways = ways.iter().map(|way| way.iter().cloned().chain([end.clone()]).collect()).collect();
            Some(Failure { event, refused: Some(step.id()), ways })
        });
        let expired = self.expiries().filter(|(_, of, _)| of == begun).map(|(event, of, _)| {
            let ways = vec![vec![Node::Event(of), Node::Event(event.clone())]];
            Failure { event, refused: None, ways }
        });
        // What transactions publish, and what only undoes, calls a saga off.
        let called_off = self.beginnings().map(|(event, _)| event).filter(|event| {
            self.acting_on(event).next().is_none() && self.undone_by(event).any(|step| ways.contains_key(&step.id()))
        });
        let called_off = called_off.map(|event| {
            let ways = vec![vec![Node::Event(event.clone())]];
            Failure { event, refused: None, ways }
        });
        refused.chain(expired).chain(called_off).collect()
    }

    /// Returns the finding if a reaction that has acted may remain in effect.
    fn remains(&self, step: &StepId, acted: &[Vec<Node>], failure: &Failure) -> Option<Finding> {
        for way in acted {
            // Behind what was refused nothing has acted.
            if failure.refused.as_ref().is_some_and(|refused| way.contains(&Node::Act(refused.clone()))) {
                continue;
            }
            for failed in &failure.ways {
                let acts = way.iter().chain(failed).filter_map(|node| match node {
                    Node::Act(id) => Some(id.clone()),
                    Node::Event(_) | Node::Undo(_) => None,
                });
                let acts: BTreeSet<StepId> = acts.filter(|id| Some(id) != failure.refused.as_ref()).collect();
                if !self.undone_after(&failure.event, &acts).contains(step) {
                    let (acted, failed) = (Path(way.clone()), Path(failed.clone()));
                    return Some(Finding::NotUndone {
                        step: step.clone(),
                        failure: failure.event.clone(),
                        acted,
                        failed,
                    });
                }
            }
        }
        None
    }

    /// Returns which of these reactions are undone by an event and what follows from it.
    fn undone_after(&self, failure: &Heard, acted: &BTreeSet<StepId>) -> BTreeSet<StepId> {
        let (mut undone, mut seen) = (BTreeSet::new(), BTreeSet::from([failure.clone()]));
        let mut waiting = vec![failure.clone()];
        while let Some(event) = waiting.pop() {
            let mut follows = Vec::new();
            for step in self.undone_by(&event).filter(|step| acted.contains(&step.id())) {
                if undone.insert(step.id()) {
                    follows.extend(step.undone());
                }
            }
            for step in self.acting_on(&event).filter(|step| !acted.contains(&step.id())) {
                follows.extend(step.emits());
            }
            waiting.extend(follows.into_iter().filter(|event| seen.insert(event.clone())));
        }
        undone
    }
}

/// Returns true if it does something, and nothing says that this need not be undone.
fn needs_undoing(step: &Step<'_>) -> bool {
    let nothing_to_undo = step.reaction.undo.as_ref().is_some_and(|undo| undo.is_nothing());
    !step.reaction.work.is_nothing() && !nothing_to_undo
}
