//! Breadth first through everything that can happen.

use super::check::check;
use super::liveness::Ends;
use super::part::ByFingerprint;
use super::report::{Limits, Report, Trace};
use super::scenario::{Budget, Scenario};
use super::world::{Pools, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Explores every history of the scenario within the budget, up to the first that breaks a rule: the shortest one.
///
/// `progress` hears of every layer: its depth, and how many worlds were found so far.
pub fn explore(scenario: &Scenario, budget: Budget, limits: Limits, progress: &mut dyn FnMut(usize, usize)) -> Report {
    #[allow(clippy::disallowed_methods, reason = "for the report only")]
    let started = std::time::Instant::now();
    let mut search = Search::new(scenario, budget, limits);
    let violation = search.run(progress);
    Report {
        scenario: scenario.name,
        budget,
        states: search.nodes.len(),
        transitions: search.transitions,
        depth: search.depth,
        complete: search.complete,
        elapsed: started.elapsed(),
        violation,
    }
}

/// How a world was first reached: from which, and by which of the actions possible there.
#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    action: u16,
}

struct Search<'a> {
    scenario: &'a Scenario,
    budget: Budget,
    limits: Limits,
    seen: ByFingerprint<u32>,
    pools: Pools,
    nodes: Vec<Node>,
    ends: Ends,
    transitions: usize,
    depth: usize,
    complete: bool,
}

/// What is left of one history.
struct Found {
    at: u32,
    action: Option<u16>,
    rule: String,
}

impl<'a> Search<'a> {
    fn new(scenario: &'a Scenario, budget: Budget, limits: Limits) -> Search<'a> {
        Search {
            scenario,
            budget,
            limits,
            seen: ByFingerprint::default(),
            pools: Pools::default(),
            nodes: Vec::new(),
            ends: Ends::default(),
            transitions: 0,
            depth: 0,
            complete: true,
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Option<Trace> {
        let first = World::new(self.scenario, self.budget);
        self.seen.insert(first.fingerprint(), 0);
        self.nodes.push(Node { parent: 0, action: 0 });
        let mut layer = vec![first];
        while !layer.is_empty() {
            progress(self.depth, self.nodes.len());
            let from = (self.nodes.len() - layer.len()) as u32;
            let mut next = Vec::new();
            for (at, world) in (from..).zip(layer) {
                if let Err(found) = self.expand(at, &world, &mut next) {
                    return Some(self.trace(found));
                }
            }
            self.depth += usize::from(!next.is_empty());
            layer = next;
        }
        let stuck = self.ends.first_without_end()?;
        let rule = "termination: from here on nothing but another fault can bring it to its end".to_owned();
        Some(self.trace(Found { at: stuck, action: None, rule }))
    }

    fn expand(&mut self, at: u32, world: &World, next: &mut Vec<World>) -> Result<(), Found> {
        let broken = |action: u16| move |rule| Found { at, action: Some(action), rule };
        self.ends.begin(world.is_over());
        for (ordinal, action) in (0..).zip(world.actions(self.scenario)) {
            self.transitions += 1;
            let mut after = self.after(world, &action).map_err(broken(ordinal))?;
            let found = match self.seen.get(&after.fingerprint()) {
                Some(found) => *found,
                None if self.nodes.len() >= self.limits.max_states => {
                    self.complete = false;
                    self.ends.assume_over();
                    continue;
                }
                None => {
                    check(&after, self.scenario).map_err(broken(ordinal))?;
                    let found = self.nodes.len() as u32;
                    self.seen.insert(after.fingerprint(), found);
                    self.nodes.push(Node { parent: at, action: ordinal });
                    after.share(&mut self.pools);
                    next.push(after);
                    found
                }
            };
            if !action.is_fault() && found != at {
                self.ends.leads_to(found);
            }
        }
        Ok(())
    }

    /// A core that panics has broken a rule too.
    fn after(&self, world: &World, action: &super::action::Action) -> Result<World, String> {
        let mut after = world.clone();
        let step = catch_unwind(AssertUnwindSafe(|| after.step(action, self.scenario)));
        match step {
            Ok(step) => step.map(|()| after),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
                Err(format!("panic: {}", said.unwrap_or_default()))
            }
        }
    }

    /// Walks the history again to tell it.
    fn trace(&self, found: Found) -> Trace {
        let mut path: Vec<u16> = found.action.into_iter().collect();
        let mut at = found.at;
        while at != 0 {
            let node = self.nodes[at as usize];
            path.push(node.action);
            at = node.parent;
        }
        let mut world = World::new(self.scenario, self.budget);
        let mut steps = Vec::new();
        for ordinal in path.into_iter().rev() {
            let action = world.actions(self.scenario).swap_remove(usize::from(ordinal));
            steps.push(action.describe(&world, self.scenario));
            if let Ok(after) = self.after(&world, &action) {
                world = after;
            }
        }
        Trace { steps, broken: found.rule }
    }
}

/// Elapsed time as the reports write it.
pub(crate) fn seconds(elapsed: Duration) -> String {
    format!("{:.2}", elapsed.as_secs_f64())
}
