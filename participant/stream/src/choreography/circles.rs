//! Reactions that lead to themselves.
//!
//! Undoing alone cannot go round: what is undone is undone once.

use super::{Choreography, Finding, Node, Path};
use std::collections::BTreeSet;

impl Choreography {
    pub(super) fn circles(&self) -> Vec<Finding> {
        let (mut found, mut in_circles) = (Vec::new(), BTreeSet::new());
        for step in self.steps() {
            let node = Node::Act(step.id());
            if in_circles.contains(&node) {
                continue;
            }
            let Some(Path(way)) = self.shortest(self.after(&node), |_| true, |reached| *reached == node) else {
                continue;
            };
            let knot = self.knot(&node);
            let grows = knot.iter().any(|node| self.comes_back_twice(node, &knot));
            let path = Path(std::iter::once(node).chain(way).collect());
            found.push(Finding::Circle { path, grows });
            in_circles.extend(knot);
        }
        found
    }

    /// Returns all nodes that lie on circles with this one.
    fn knot(&self, node: &Node) -> BTreeSet<Node> {
        let reached = self.reached_from(node);
        reached.into_iter().filter(|other| self.reached_from(other).contains(node)).collect()
    }

    fn reached_from(&self, node: &Node) -> BTreeSet<Node> {
        let (mut reached, mut waiting) = (BTreeSet::new(), vec![node.clone()]);
        while let Some(node) = waiting.pop() {
            waiting.extend(self.after(&node).into_iter().filter(|next| reached.insert(next.clone())));
        }
        reached
    }

    /// Returns true if it leads back in more than one way at once: a refusal and what stands for success exclude each other.
    fn comes_back_twice(&self, node: &Node, knot: &BTreeSet<Node>) -> bool {
        let back = match node {
            Node::Event(_) => self.after(node).into_iter().filter(|next| knot.contains(next)).count(),
            Node::Act(id) => {
                let steps = self.steps().filter(|step| step.id() == *id);
                let emits = steps.flat_map(|step| step.emits().collect::<Vec<_>>());
                emits.filter(|event| knot.contains(&Node::Event(event.clone()))).count()
            }
            Node::Undo(_) => 1,
        };
        back > 1
    }
}
