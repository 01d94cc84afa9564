//! Sagas of scenarios, in short.

use super::participant_name;
use bytes::Bytes;
use std::time::Duration;
use undoubt_vocabulary::saga::CHECK_BACK;
use undoubt_vocabulary::{RetryPolicy, StepIndex, StepName};

/// A step, its action and its compensation; see [`crate::work`] for what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SagaStep {
    pub participant: usize,
    pub action: &'static str,
    /// The compensation; without one the step is the pivot, or comes after it.
    pub compensation: Option<&'static str>,
    /// The steps that it comes after, by their places, as in `uses`.
    pub after: &'static [u16],
    pub uses: &'static [u16],
    pub pivot: bool,
    pub max_attempts: u32,
}

/// Returns the steps, named by their places, so that no name tells of a participant.
pub(crate) fn saga_steps(steps: &[SagaStep]) -> Vec<undoubt_vocabulary::SagaStep> {
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let places = |places: &[u16]| places.iter().copied().map(StepIndex).collect();
    let step = |(place, step): (u16, &SagaStep)| undoubt_vocabulary::SagaStep {
        name: step_name(StepIndex(place)),
        participant: participant_name(step.participant),
        action: Some(text(step.action)),
        compensation: step.compensation.map(text),
        completion: None,
        after: places(step.after),
        uses: places(step.uses),
        pivot: step.pivot,
        // How long anything takes is for the search to try.
        retry: RetryPolicy {
            max_attempts: step.max_attempts,
            first_pause: Duration::ZERO,
            max_pause: Duration::ZERO,
            attempt_timeout: Duration::from_secs(1),
        },
    };
    (0..).zip(steps).map(step).collect()
}

/// The number of the step that is an open saga's check-back.
pub(crate) const CHECK_BACK_NUMBER: u16 = u16::MAX;

/// Returns the number that is a step's name.
pub(crate) fn step_number(name: &StepName) -> Option<StepIndex> {
    if name.as_str() == CHECK_BACK {
        return Some(StepIndex(CHECK_BACK_NUMBER));
    }
    name.as_str().strip_prefix('s').and_then(|number| number.parse().ok()).map(StepIndex)
}

pub(crate) fn step_name(step: StepIndex) -> StepName {
    let name = if step.0 == CHECK_BACK_NUMBER { CHECK_BACK.to_owned() } else { format!("s{}", step.0) };
    name.parse().expect("a valid name")
}
