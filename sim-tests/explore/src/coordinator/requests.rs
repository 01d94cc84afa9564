//! The requests of a scenario's clients, as the core is asked them.

use crate::scenario::{RequestKind, Scenario, participant_name, saga_steps};
use bytes::Bytes;
use undoubt_coordinator_core::{Client, Content, Request};

pub(super) fn request(number: usize, scenario: &Scenario) -> Request {
    let (tx, client) = (scenario.requests[number].tx(), Client(number as u64));
    match &scenario.requests[number].kind {
        RequestKind::Submit(branches) => {
            let work = |(participant, work): &(usize, &'static str)| {
                (participant_name(*participant), Bytes::from_static(work.as_bytes()))
            };
            let content = Content::TwoPhase(branches.iter().map(work).collect());
            Request::Submit(scenario.submission(number, branches.len(), content))
        }
        RequestKind::Saga(steps) => {
            let content = Content::Saga(saga_steps(steps));
            Request::Submit(scenario.submission(number, steps.len(), content))
        }
        RequestKind::Auto(steps) => {
            let content = Content::Auto { steps: saga_steps(steps), two_phase_only: None };
            Request::Submit(scenario.submission(number, steps.len(), content))
        }
        RequestKind::Cancel => Request::Cancel { tx, client },
        RequestKind::Forget => Request::Forget { tx, client },
    }
}
