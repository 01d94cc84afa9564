//! A breadth-first search through all that can happen.

use crate::world::{Action, Setting, State};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// States of one search.
const MAX_STATES: usize = 2_000_000;

/// What a search has come to.
pub struct Searched {
    pub states: usize,
    /// The first thing that went wrong, and how.
    pub violation: Option<Violation>,
}

#[derive(Debug)]
pub struct Violation {
    pub rule: &'static str,
    pub path: Vec<Action>,
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Goes through all states. Each keeps the rules, and from each there is a way to the end.
pub fn search(setting: &Setting) -> Searched {
    let first = State::new(setting);
    let mut seen = BTreeMap::from([(fingerprint(&first), 0_usize)]);
    let mut from: Vec<Option<(usize, Action)>> = vec![None];
    let mut into: Vec<Vec<usize>> = vec![Vec::new()];
    let (mut ends, mut layer) = (Vec::new(), vec![(0, first)]);
    let path = |from: &[Option<(usize, Action)>], mut at: usize| {
        let mut path = Vec::new();
        while let Some((before, action)) = &from[at] {
            path.push(action.clone());
            at = *before;
        }
        path.reverse();
        path
    };
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (at, state) in layer {
            if state.is_over(setting) {
                ends.push(at);
            }
            for action in state.actions(setting) {
                let mut after = state.clone();
                let result = after.step(setting, &action).and_then(|()| after.check(setting));
                if let Err(rule) = result {
                    let mut path = path(&from, at);
                    path.push(action);
                    return Searched { states: from.len(), violation: Some(Violation { rule, path }) };
                }
                let new = *seen.entry(fingerprint(&after)).or_insert(from.len());
                if new == from.len() {
                    assert!(new < MAX_STATES, "there are more than {MAX_STATES} states");
                    from.push(Some((at, action)));
                    into.push(Vec::new());
                    next.push((new, after));
                }
                into[new].push(at);
            }
        }
        layer = next;
    }
    let mut reaches = vec![false; from.len()];
    while let Some(at) = ends.pop() {
        if !std::mem::replace(&mut reaches[at], true) {
            ends.extend(&into[at]);
        }
    }
    let stuck = reaches.iter().position(|reaches| !reaches);
    let violation = stuck.map(|at| Violation { rule: "there is no way to the end", path: path(&from, at) });
    Searched { states: from.len(), violation }
}
