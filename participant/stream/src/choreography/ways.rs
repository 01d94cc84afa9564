//! Ways through a choreography.

use super::{Choreography, Node, Path};
use crate::declarations::Heard;
use std::collections::{BTreeMap, VecDeque};

impl Choreography {
    /// Returns all that may follow directly.
    pub(super) fn after(&self, node: &Node) -> Vec<Node> {
        match node {
            Node::Event(event) => {
                let acts = self.acting_on(event).map(|step| Node::Act(step.id()));
                let undone = self.undone_by(event).map(|step| Node::Undo(step.id()));
                let expired = self.expiries().filter(|(_, begun, _)| begun == event);
                acts.chain(undone).chain(expired.map(|(expired, ..)| Node::Event(expired))).collect()
            }
            Node::Act(id) => {
                let steps = self.steps().filter(|step| step.id() == *id);
                steps.flat_map(|step| step.emits().chain(step.refused()).collect::<Vec<_>>()).map(Node::Event).collect()
            }
            Node::Undo(id) => {
                let steps = self.steps().filter(|step| step.id() == *id);
                steps.filter_map(|step| step.undone()).map(Node::Event).collect()
            }
        }
    }

    /// Returns a shortest way from any of these nodes to a goal, over nodes that may be used.
    pub(super) fn shortest(
        &self,
        from: impl IntoIterator<Item = Node>,
        may_use: impl Fn(&Node) -> bool,
        is_goal: impl Fn(&Node) -> bool,
    ) -> Option<Path> {
        let mut before: BTreeMap<Node, Option<Node>> = BTreeMap::new();
        let mut waiting = VecDeque::new();
        for node in from.into_iter().filter(&may_use) {
            if before.insert(node.clone(), None).is_none() {
                waiting.push_back(node);
            }
        }
        while let Some(node) = waiting.pop_front() {
            if is_goal(&node) {
                let mut way = vec![node];
                while let Some(Some(earlier)) = way.last().and_then(|last| before.get(last)) {
                    way.push(earlier.clone());
                }
                way.reverse();
                return Some(Path(way));
            }
            for next in self.after(&node).into_iter().filter(&may_use) {
                if !before.contains_key(&next) {
                    before.insert(next.clone(), Some(node.clone()));
                    waiting.push_back(next);
                }
            }
        }
        None
    }

    /// Returns a shortest way from a beginning to an event; the event alone if none leads there.
    pub(super) fn way_to(&self, event: &Heard) -> Path {
        let goal = Node::Event(event.clone());
        let begins = self.beginnings().map(|(begun, _)| Node::Event(begun));
        self.shortest(begins, |_| true, |node| *node == goal).unwrap_or(Path(vec![goal.clone()]))
    }
}
