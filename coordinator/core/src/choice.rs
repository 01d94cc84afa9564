//! Auto: two-phase commit where that can be, else the saga.

use crate::context::Peers;
use std::collections::BTreeSet;
use undoubt_vocabulary::{Ability, SagaStep, Timestamp, saga};

/// The way that is chosen, and the reason, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    TwoPhase {
        why: String,
        /// The steps can be carried out as a saga, should nobody answer.
        may_fall_back: bool,
    },
    Saga {
        why: String,
    },
}

/// Returns the way that is chosen; `Err` says why neither way can be gone.
pub(crate) fn choose(
    steps: &[SagaStep],
    two_phase_only: Option<&'static str>,
    peers: &Peers,
    now: Timestamp,
) -> Result<Choice, String> {
    let impossible = why_not_two_phase(steps, peers);
    if let Some(reason) = two_phase_only {
        return match impossible {
            Some(why) => Err(format!("two-phase commit cannot be, {why}; nor a saga, {reason}")),
            None => Ok(Choice::TwoPhase { why: reason.to_owned(), may_fall_back: false }),
        };
    }
    let as_saga = check_saga(steps, peers);
    if let Some(why) = impossible {
        return match as_saga {
            Ok(()) => Ok(Choice::Saga { why }),
            Err(fault) => Err(format!("two-phase commit cannot be, {why}; nor a saga, {fault}")),
        };
    }
    Ok(match (why_rather_not(steps, peers, now), as_saga) {
        (None, as_saga) => {
            Choice::TwoPhase { why: "every participant can prepare".to_owned(), may_fall_back: as_saga.is_ok() }
        }
        (Some(why), Ok(())) => Choice::Saga { why },
        // To be spared is a convenience, and no reason to be refused.
        (Some(spared), Err(fault)) => {
            Choice::TwoPhase { why: format!("{spared}, but it cannot be a saga, {fault}"), may_fall_back: false }
        }
    })
}

/// `Err` says why it cannot be a saga.
fn check_saga(steps: &[SagaStep], peers: &Peers) -> Result<(), String> {
    saga::check(steps).map_err(|fault| fault.to_string())?;
    let ability = Ability::SagaSteps;
    match steps.iter().find(|step| peers.lacks(&step.participant, ability)) {
        Some(step) => Err(format!("participant {} lacks the ability {ability}", step.participant)),
        None => Ok(()),
    }
}

fn why_not_two_phase(steps: &[SagaStep], peers: &Peers) -> Option<String> {
    let mut seen = BTreeSet::new();
    steps.iter().find_map(|step| {
        let SagaStep { name, participant, uses, .. } = step;
        if !seen.insert(participant) {
            Some(format!("participant {participant} has two steps"))
        } else if !uses.is_empty() {
            Some(format!("step {name} uses results of others"))
        } else if peers.lacks(participant, Ability::TwoPhase) {
            Some(format!("participant {participant} cannot prepare"))
        } else {
            None
        }
    })
}

fn why_rather_not(steps: &[SagaStep], peers: &Peers, now: Timestamp) -> Option<String> {
    let open = steps.iter().find(|step| peers.breakers.is_open(&step.participant, now))?;
    Some(format!("participant {} has let too many transactions wait", open.participant))
}
