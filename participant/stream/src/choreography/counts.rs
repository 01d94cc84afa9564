//! How many events one saga has, and how often each reaction is moved in it.
//!
//! Counted for each way in which a saga may go: all is well, one reaction is refused, or its time is over.

use super::{Choreography, Finding, MAX_EVENTS_OF_SAGA, Node, Path, StepId};
use crate::declarations::Heard;
use std::collections::BTreeMap;

/// The one thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Refused(StepId),
    Expired,
}

/// The counts of one way that a saga goes. There are no circles.
struct Counts<'a> {
    choreography: &'a Choreography,
    begun: &'a Heard,
    wrong: &'a Wrong,
    known: BTreeMap<Node, u64>,
}

impl Choreography {
    pub(super) fn too_many(&self) -> Vec<Finding> {
        let refused = self.steps().filter(|step| step.reaction.refused.is_some()).map(|step| Wrong::Refused(step.id()));
        let ways: Vec<Wrong> = [Wrong::Nothing, Wrong::Expired].into_iter().chain(refused).collect();
        let origins = self.origins();
        let (mut twice, mut most) = (BTreeMap::<StepId, (u64, Heard)>::new(), Vec::new());
        for (begun, _) in self.beginnings() {
            let mut events = 0;
            for wrong in &ways {
                let mut counts = Counts { choreography: self, begun: &begun, wrong, known: BTreeMap::new() };
                let all = origins.keys().map(|event| counts.of_event(event));
                events = all.fold(0_u64, u64::saturating_add).max(events);
                for step in self.steps().filter(|step| step.reaction.has_barrier()) {
                    let times = counts.of_event(&step.reaction.on);
                    let known = twice.entry(step.id()).or_insert((1, begun.clone()));
                    if times > known.0 {
                        *known = (times, begun.clone());
                    }
                }
            }
            if events > MAX_EVENTS_OF_SAGA {
                most.push(Finding::FanOut { begun, events });
            }
        }
        let twice = twice.into_iter().filter(|(_, (times, _))| *times > 1).map(|(step, (times, begun))| {
            let goal = Node::Act(step.clone());
            let way = self.shortest([Node::Event(begun)], |_| true, |node| *node == goal);
            Finding::Twice { step, times, path: way.unwrap_or(Path(vec![goal])) }
        });
        twice.chain(most).collect()
    }
}

impl Counts<'_> {
    fn of_event(&mut self, event: &Heard) -> u64 {
        let node = Node::Event(event.clone());
        if let Some(known) = self.known.get(&node) {
            return *known;
        }
        let mut count = u64::from(event == self.begun);
        let expires = |(expired, begun, _): &(Heard, Heard, _)| expired == event && begun == self.begun;
        if *self.wrong == Wrong::Expired && self.choreography.expiries().any(|expiry| expires(&expiry)) {
            count += 1;
        }
        for step in self.choreography.steps() {
            let is_refused = *self.wrong == Wrong::Refused(step.id());
            let published = if is_refused {
                step.refused().is_some_and(|refused| refused == *event).into()
            } else {
                step.emits().filter(|emitted| emitted == event).count()
            };
            if published > 0 {
                let acts = self.of_event(&step.reaction.on);
                let acts = if step.reaction.has_barrier() { acts.min(1) } else { acts };
                count = count.saturating_add(acts.saturating_mul(published as u64));
            }
            if step.undone().is_some_and(|undone| undone == *event) && !is_refused {
                let undone = step.reaction.undo_on.iter().map(|event| self.of_event(event)).max();
                count = count.saturating_add(undone.unwrap_or(0).min(1));
            }
        }
        self.known.insert(node, count);
        count
    }
}
