//! The machines, each of whose steps is worked out once.
//!
//! Worlds are many, the states of one machine are few, and what a machine does depends on its own state and on what
//! happens to it. So each such step is taken by the real core once and remembered.

use crate::coordinator::{self, CoordinatorHost};
use crate::mutant::Mutant;
use crate::part::{ByFingerprint, Part, Pool, fingerprint};
use crate::participant::{self, Manner, ParticipantHost};
use crate::scenario::Scenario;
use crate::symmetry::Symmetry;
use std::sync::Arc;

/// A step of a machine: what became of it, what it sent, and the rule that was broken, if any was.
#[derive(Debug)]
pub(crate) struct Stepped<T, S> {
    pub(crate) after: Part<T>,
    pub(crate) sent: Arc<[S]>,
    pub(crate) broken: Option<Arc<str>>,
}

impl<T, S> Clone for Stepped<T, S> {
    fn clone(&self) -> Self {
        Stepped { after: self.after.clone(), sent: Arc::clone(&self.sent), broken: self.broken.clone() }
    }
}

/// The machines of all worlds of one exploration.
#[derive(Debug)]
pub(crate) struct Machines<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) symmetry: Symmetry,
    coordinators: Pool<CoordinatorHost>,
    participants: Pool<ParticipantHost>,
    coordinator_steps: ByFingerprint<Stepped<CoordinatorHost, coordinator::Sent>>,
    participant_steps: ByFingerprint<Stepped<ParticipantHost, participant::Sent>>,
}

impl<'a> Machines<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Machines<'a> {
        Machines {
            scenario,
            symmetry: Symmetry::of(scenario),
            coordinators: Pool::default(),
            participants: Pool::default(),
            coordinator_steps: ByFingerprint::default(),
            participant_steps: ByFingerprint::default(),
        }
    }

    pub(crate) fn coordinator(
        &mut self,
        host: &Part<CoordinatorHost>,
        act: &coordinator::Act,
    ) -> Stepped<CoordinatorHost, coordinator::Sent> {
        let key = fingerprint(&(host, act));
        if let Some(known) = self.coordinator_steps.get(&key) {
            return known.clone();
        }
        let mut stepped = step_coordinator(host, act, self.scenario, &mut self.coordinators);
        if stepped.broken.is_none() {
            let step = |host: &_, act: &_| step_coordinator(host, act, self.scenario, &mut self.coordinators);
            stepped.broken = self.symmetry.follow(host, act, &stepped, step).err().map(Into::into);
        }
        self.coordinator_steps.insert(key, stepped.clone());
        stepped
    }

    pub(crate) fn participant(
        &mut self,
        number: usize,
        host: &Part<ParticipantHost>,
        act: &participant::Act,
    ) -> Stepped<ParticipantHost, participant::Sent> {
        let mutant = self.scenario.mutant;
        let manner = Manner {
            mutant,
            sees_ages_upside_down: mutant == Some(Mutant::AgesDiffer) && number % 2 == 1,
            commits_at_once: !self.scenario.has_several_transactions(),
            calls_services: self.scenario.calls_services,
            keeps_evidence_alone: self.scenario.keeps_evidence_alone,
        };
        let key = fingerprint(&(host, act, manner));
        if let Some(known) = self.participant_steps.get(&key) {
            return known.clone();
        }
        let (mut after, mut sent) = (ParticipantHost::clone(host), Vec::new());
        let broken = after.act(act, manner, &mut sent).err().map(Into::into);
        let stepped = Stepped { after: self.participants.part(after), sent: sent.into(), broken };
        self.participant_steps.insert(key, stepped.clone());
        stepped
    }
}

fn step_coordinator(
    host: &Part<CoordinatorHost>,
    act: &coordinator::Act,
    scenario: &Scenario,
    pool: &mut Pool<CoordinatorHost>,
) -> Stepped<CoordinatorHost, coordinator::Sent> {
    let (mut after, mut sent) = (CoordinatorHost::clone(host), Vec::new());
    let broken = after.act(act, scenario, &mut sent).err().map(Into::into);
    Stepped { after: pool.part(after), sent: sent.into(), broken }
}
