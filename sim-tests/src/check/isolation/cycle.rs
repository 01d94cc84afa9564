//! Circles in a graph of dependencies, the simplest ones first.

use super::AnomalyKind;
use crate::run::Participant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A register of a participant.
pub(super) type Item = (Participant, u8);

/// The reason why one transaction comes before another; the simpler reasons first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Its version was replaced by the other's.
    WriteWrite,
    /// Its version was read by the other.
    WriteRead,
    /// The other is the end of the run, after everybody.
    Last,
    /// The one read the version that the other replaced.
    ReadWrite,
    /// The one was answered before the other was asked for.
    RealTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: Kind,
    /// The register; `None` if it is about none.
    pub(super) item: Option<Item>,
}

/// Edges that lead back to where they begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cycle(pub(super) Vec<Edge>);

use Kind::{Last, ReadWrite, RealTime, WriteRead, WriteWrite};

/// The edges that close a circle, and those that may lead back: Adya's classes from the simplest on.
const CLASSES: [(Kind, &[Kind]); 5] = [
    (WriteWrite, &[WriteWrite]),
    (WriteRead, &[WriteWrite, WriteRead]),
    (ReadWrite, &[WriteWrite, WriteRead, Last]),
    (ReadWrite, &[WriteWrite, WriteRead, Last, ReadWrite]),
    (RealTime, &[WriteWrite, WriteRead, ReadWrite, RealTime]),
];

/// Returns in each class and for each edge the shortest circle that it closes; none of the same transactions twice.
pub(super) fn find(edges: &[Edge]) -> Vec<Cycle> {
    let edges = on_circles(edges);
    let mut seen: BTreeSet<BTreeSet<usize>> = BTreeSet::new();
    let mut found = Vec::new();
    for (closing, ways) in CLASSES {
        let ways = by_start(edges.iter().filter(|edge| ways.contains(&edge.kind)));
        for edge in edges.iter().filter(|edge| edge.kind == closing) {
            let Some(mut circle) = shortest(&ways, edge.to, edge.from) else { continue };
            circle.insert(0, *edge);
            if seen.insert(circle.iter().map(|edge| edge.from).collect()) {
                found.push(Cycle(circle));
            }
        }
    }
    found
}

fn by_start<'a>(edges: impl Iterator<Item = &'a Edge>) -> BTreeMap<usize, Vec<Edge>> {
    let mut from: BTreeMap<usize, Vec<Edge>> = BTreeMap::new();
    edges.for_each(|edge| from.entry(edge.from).or_default().push(*edge));
    from.values_mut().for_each(|edges| edges.sort_by_key(|edge| edge.kind));
    from
}

fn shortest(ways: &BTreeMap<usize, Vec<Edge>>, from: usize, to: usize) -> Option<Vec<Edge>> {
    let mut came_by: BTreeMap<usize, Edge> = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        if at == to {
            let mut path: Vec<Edge> =
                std::iter::successors(came_by.get(&to), |edge| came_by.get(&edge.from)).copied().collect();
            path.reverse();
            return Some(path);
        }
        for edge in ways.get(&at).into_iter().flatten() {
            if edge.to != from && !came_by.contains_key(&edge.to) {
                came_by.insert(edge.to, *edge);
                open.push_back(edge.to);
            }
        }
    }
    None
}

/// Returns all edges that lie on a circle, and those between circles: nothing, in a healthy history.
fn on_circles(edges: &[Edge]) -> Vec<Edge> {
    let downstream = downstream_of_circles(edges.to_vec(), |edge| edge.from, |edge| edge.to);
    downstream_of_circles(downstream, |edge| edge.to, |edge| edge.from)
}

/// Takes away, again and again, whoever nobody comes before.
fn downstream_of_circles(mut edges: Vec<Edge>, from: fn(&Edge) -> usize, to: fn(&Edge) -> usize) -> Vec<Edge> {
    let mut following: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut preceding: BTreeMap<usize, usize> = BTreeMap::new();
    for edge in &edges {
        following.entry(from(edge)).or_default().push(to(edge));
        *preceding.entry(to(edge)).or_default() += 1;
    }
    let mut first: Vec<usize> = following.keys().filter(|node| !preceding.contains_key(node)).copied().collect();
    let mut taken = BTreeSet::new();
    while let Some(node) = first.pop() {
        taken.insert(node);
        for next in following.get(&node).into_iter().flatten() {
            let left = preceding.entry(*next).or_default();
            *left -= 1;
            if *left == 0 {
                first.push(*next);
            }
        }
    }
    edges.retain(|edge| !taken.contains(&from(edge)));
    edges
}

impl Cycle {
    pub(super) fn kind(&self) -> AnomalyKind {
        let count = |kind: Kind| self.0.iter().filter(|edge| edge.kind == kind).count();
        let mut items: Vec<Item> = self.0.iter().filter_map(|edge| edge.item).collect();
        items.sort_unstable();
        items.dedup();
        match (count(ReadWrite), count(WriteRead)) {
            _ if count(RealTime) > 0 => AnomalyKind::Stale,
            (0, 0) => AnomalyKind::DirtyWrite,
            (0, _) => AnomalyKind::CircularFlow,
            (1, 1..) if items.len() == 1 && count(WriteWrite) == 0 => AnomalyKind::FuzzyRead,
            _ if items.len() == 1 => AnomalyKind::LostUpdate,
            (1, _) => AnomalyKind::ReadSkew,
            _ => AnomalyKind::WriteSkew,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: usize, to: usize, kind: Kind, register: u8) -> Edge {
        Edge { from, to, kind, item: Some((1, register)) }
    }

    fn kinds(edges: &[Edge]) -> Vec<AnomalyKind> {
        find(edges).iter().map(Cycle::kind).collect()
    }

    #[test]
    fn what_only_leads_to_a_circle_or_away_from_it_is_no_part_of_it() {
        let edges = [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)].map(|(from, to)| edge(from, to, WriteWrite, from as u8));
        let found = find(&edges);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0.iter().map(|edge| edge.from).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(find(&edges[..3]), []);
    }

    #[test]
    fn the_shortest_circle_is_reported() {
        let long = [(0, 1), (1, 2), (2, 3), (3, 0)].map(|(from, to)| edge(from, to, WriteWrite, from as u8));
        let edges = [&long[..], &[edge(1, 0, WriteWrite, 9)]].concat();
        assert_eq!(find(&edges)[0].0.len(), 2);
    }

    #[test]
    fn circles_are_classified_by_their_simplest_reading() {
        assert_eq!(kinds(&[edge(0, 1, WriteWrite, 0), edge(1, 0, WriteWrite, 1)]), [AnomalyKind::DirtyWrite]);
        assert_eq!(kinds(&[edge(0, 1, WriteRead, 0), edge(1, 0, WriteWrite, 1)]), [AnomalyKind::CircularFlow]);
        assert_eq!(kinds(&[edge(0, 1, ReadWrite, 0), edge(1, 0, WriteRead, 1)]), [AnomalyKind::ReadSkew]);
        assert_eq!(kinds(&[edge(0, 1, ReadWrite, 0), edge(1, 0, WriteRead, 0)]), [AnomalyKind::FuzzyRead]);
        assert_eq!(kinds(&[edge(0, 1, ReadWrite, 0), edge(1, 0, ReadWrite, 0)]), [AnomalyKind::LostUpdate]);
        assert_eq!(kinds(&[edge(0, 1, ReadWrite, 0), edge(1, 0, ReadWrite, 1)]), [AnomalyKind::WriteSkew]);
        let both = [edge(0, 1, ReadWrite, 0), edge(1, 0, ReadWrite, 1), edge(1, 0, WriteRead, 1)];
        assert_eq!(kinds(&both), [AnomalyKind::ReadSkew]);
    }
}
