//! Breadth first through everything that can happen.

use crate::action::Action;
use crate::cells::{Cells, phases};
use crate::check::check;
use crate::liveness::Ends;
use crate::machines::Machines;
use crate::part::{ByFingerprint, fingerprint};
use crate::report::{Limits, Report, Trace};
use crate::scenario::{Budget, Scenario};
use crate::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

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
        orbits: if limits.symmetry { search.nodes.len() } else { search.orbits.len() },
        renamings: search.machines.symmetry.renamings.len(),
        transitions: search.transitions,
        depth: search.depth,
        complete: search.complete,
        elapsed: started.elapsed(),
        cells: search.cells,
        violation,
    }
}

/// The way in which a world was first reached: from which, and by which of the actions possible there.
#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    action: u16,
}

struct Search<'a> {
    budget: Budget,
    limits: Limits,
    machines: Machines<'a>,
    seen: ByFingerprint<u32>,
    /// The worlds up to renaming; only counted where the search does not go by it anyway.
    orbits: ByFingerprint<()>,
    nodes: Vec<Node>,
    ends: Ends,
    transitions: usize,
    depth: usize,
    complete: bool,
    cells: Cells,
    phases: ByFingerprint<Arc<[&'static str]>>,
}

/// The rest of one history.
struct Found {
    at: u32,
    action: Option<u16>,
    rule: String,
}

impl<'a> Search<'a> {
    fn new(scenario: &'a Scenario, budget: Budget, limits: Limits) -> Search<'a> {
        Search {
            budget,
            limits,
            machines: Machines::new(scenario),
            seen: ByFingerprint::default(),
            orbits: ByFingerprint::default(),
            nodes: Vec::new(),
            ends: Ends::default(),
            transitions: 0,
            depth: 0,
            complete: true,
            cells: Cells::default(),
            phases: ByFingerprint::default(),
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Option<Trace> {
        let first = World::new(self.budget, &mut self.machines);
        let id = self.id(&first);
        self.found(id, Node { parent: 0, action: 0 });
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
        let scenario = self.machines.scenario;
        let phases = self.phases(world);
        self.ends.begin(world.is_over(scenario));
        for (ordinal, action) in (0..).zip(world.actions(scenario)) {
            self.transitions += 1;
            self.cells.struck(world, &action, &phases);
            let after = self.after(world, &action).map_err(broken(ordinal))?;
            let id = self.id(&after);
            let found = match self.seen.get(&id) {
                Some(found) => *found,
                None if self.nodes.len() >= self.limits.max_states => {
                    self.complete = false;
                    self.ends.assume_over();
                    continue;
                }
                None => {
                    check(&after, scenario).map_err(broken(ordinal))?;
                    next.push(after);
                    self.found(id, Node { parent: at, action: ordinal })
                }
            };
            if !action.is_fault() && found != at {
                self.ends.leads_to(found);
            }
        }
        Ok(())
    }

    /// Returns what tells a world from others.
    fn id(&mut self, world: &World) -> u128 {
        if self.limits.symmetry {
            return self.machines.symmetry.fingerprint(world);
        }
        let id = fingerprint(world);
        if !self.seen.contains_key(&id) {
            self.orbits.insert(self.machines.symmetry.fingerprint(world), ());
        }
        id
    }

    fn found(&mut self, id: u128, node: Node) -> u32 {
        let found = self.nodes.len() as u32;
        self.seen.insert(id, found);
        self.nodes.push(node);
        found
    }

    fn phases(&mut self, world: &World) -> Arc<[&'static str]> {
        let host = &world.coordinator;
        let known = self.phases.entry(host.fingerprint());
        Arc::clone(known.or_insert_with(|| phases(host).into_iter().collect::<Vec<_>>().into()))
    }

    /// A core that panics has broken a rule too.
    fn after(&mut self, world: &World, action: &Action) -> Result<World, String> {
        let mut after = world.clone();
        let machines = &mut self.machines;
        let step = catch_unwind(AssertUnwindSafe(|| after.step(action, machines)));
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
    fn trace(&mut self, found: Found) -> Trace {
        let mut path: Vec<u16> = found.action.into_iter().collect();
        let mut at = found.at;
        while at != 0 {
            let node = self.nodes[at as usize];
            path.push(node.action);
            at = node.parent;
        }
        let scenario = self.machines.scenario;
        let mut world = World::new(self.budget, &mut self.machines);
        let mut steps = Vec::new();
        for ordinal in path.into_iter().rev() {
            let action = world.actions(scenario).swap_remove(usize::from(ordinal));
            let after = self.after(&world, &action).ok();
            steps.push(action.tell(&world, after.as_ref(), scenario));
            if let Some(after) = after {
                world = after;
            }
        }
        Trace { steps, broken: found.rule }
    }
}
