//! The forms in which participants tell of themselves, and of what they hold.

use super::AcceptedLoss;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use undoubt_client::work::text;
use undoubt_client::{Held, HeldBranch, HeldStep, Heuristic, Mark, ParticipantState};

#[derive(Debug, JsonSchema, Serialize)]
pub struct ParticipantSelf {
    pub name: String,
    pub resource: String,
    pub branches_open: u64,
    pub branches_in_doubt: u64,
    pub refusing_work_because: Option<String>,
    pub put_back: Option<String>,
    pub losses: Vec<AcceptedLoss>,
    pub warnings: Vec<String>,
    /// The counts of its resource, by names that tell the unit.
    pub numbers: BTreeMap<String, u64>,
    pub coordinators: Vec<KnownCoordinator>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct KnownCoordinator {
    pub id: String,
    pub epoch: u32,
    pub low_water_mark: String,
    /// The number of attempts below the low-water mark that are still open.
    pub still_open: u32,
    pub connected: bool,
    /// The public key by which it is known, in hexadecimal digits.
    pub key: Option<String>,
    /// An operator has vouched for the key.
    pub vouched: bool,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct HeldBranches {
    pub branches: Vec<BranchHeld>,
    /// Steps of sagas that are being worked on.
    pub steps: Vec<StepUnderWay>,
    /// Semantic locks.
    pub marks: Vec<SemanticLock>,
    pub more: bool,
    /// The place at which the rest begins, if there is more.
    pub cursor: Option<String>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct StepUnderWay {
    pub tx: String,
    pub attempt_number: String,
    pub coordinator_id: String,
    /// Its place in the saga, from 0.
    pub step: u16,
    pub state: String,
    pub begun_at: String,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct SemanticLock {
    pub key: String,
    /// The saga whose lock it is.
    pub tx: String,
    pub attempt_number: String,
    pub coordinator_id: String,
    /// The step's place in the saga, from 0.
    pub step: u16,
    /// The time at which the saga began.
    pub begun_at: Option<String>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct BranchHeld {
    pub tx: String,
    pub attempt_number: String,
    pub coordinator_id: String,
    pub state: String,
    pub begun_at: String,
    pub heuristic: Option<HeuristicOutcome>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct HeuristicOutcome {
    pub outcome: &'static str,
    pub at: String,
    pub who: String,
    pub reason: String,
    pub decision: Option<&'static str>,
    pub damage: Option<bool>,
}

impl From<&ParticipantState> for ParticipantSelf {
    fn from(state: &ParticipantState) -> Self {
        let known = |coordinator: &undoubt_client::KnownCoordinator| KnownCoordinator {
            id: coordinator.id.to_string(),
            epoch: coordinator.epoch.0,
            low_water_mark: coordinator.low_water_mark.to_string(),
            still_open: coordinator.still_open,
            connected: coordinator.connected,
            key: coordinator.key.map(|key| key.to_string()),
            vouched: coordinator.vouched,
        };
        ParticipantSelf {
            name: state.name.to_string(),
            resource: state.resource.clone(),
            branches_open: state.branches_open,
            branches_in_doubt: state.branches_in_doubt,
            refusing_work_because: state.refusing_work_because.clone(),
            put_back: state.put_back.clone(),
            losses: state.losses.iter().map(Into::into).collect(),
            warnings: state.warnings.clone(),
            numbers: state.numbers.clone(),
            coordinators: state.coordinators.iter().map(known).collect(),
        }
    }
}

impl From<&Held> for HeldBranches {
    fn from(held: &Held) -> Self {
        HeldBranches {
            branches: held.branches.iter().map(Into::into).collect(),
            steps: held.steps.iter().map(Into::into).collect(),
            marks: held.marks.iter().map(Into::into).collect(),
            more: held.cursor.is_some(),
            cursor: held.cursor.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&HeldStep> for StepUnderWay {
    fn from(step: &HeldStep) -> Self {
        StepUnderWay {
            tx: step.tx.to_string(),
            attempt_number: step.attempt_number.to_string(),
            coordinator_id: step.coordinator.to_string(),
            step: step.step,
            state: step.state.clone(),
            begun_at: step.begun_at.to_string(),
        }
    }
}

impl From<&Mark> for SemanticLock {
    fn from(mark: &Mark) -> Self {
        SemanticLock {
            key: text::to_string(&mark.key),
            tx: mark.tx.to_string(),
            attempt_number: mark.attempt_number.to_string(),
            coordinator_id: mark.coordinator.to_string(),
            step: mark.step,
            begun_at: mark.begun_at.map(|at| at.to_string()),
        }
    }
}

impl From<&HeldBranch> for BranchHeld {
    fn from(branch: &HeldBranch) -> Self {
        BranchHeld {
            tx: branch.tx.to_string(),
            attempt_number: branch.attempt_number.to_string(),
            coordinator_id: branch.coordinator.to_string(),
            state: branch.state.clone(),
            begun_at: branch.begun_at.to_string(),
            heuristic: branch.heuristic.as_ref().map(Into::into),
        }
    }
}

impl From<&Heuristic> for HeuristicOutcome {
    fn from(heuristic: &Heuristic) -> Self {
        HeuristicOutcome {
            outcome: heuristic.outcome.as_str(),
            at: heuristic.at.to_string(),
            who: heuristic.who.clone(),
            reason: heuristic.reason.clone(),
            decision: heuristic.decision.map(|decision| decision.as_str()),
            damage: heuristic.is_damage(),
        }
    }
}
