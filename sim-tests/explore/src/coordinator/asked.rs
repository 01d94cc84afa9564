//! The requests of a scenario's clients, as the core is asked them.

use crate::scenario::{RequestKind, Scenario, participant_name, saga_steps};
use bytes::Bytes;
use undoubt_coordinator_core::{Client, Content, Question};

pub(super) fn question(request: usize, scenario: &Scenario) -> Question {
    let (tx, client) = (scenario.requests[request].tx(), Client(request as u64));
    match &scenario.requests[request].kind {
        RequestKind::Submit(branches) => {
            let work = |(participant, work): &(usize, &'static str)| {
                (participant_name(*participant), Bytes::from_static(work.as_bytes()))
            };
            let content = Content::TwoPhase(branches.iter().map(work).collect());
            Question::Submit(scenario.submission(request, branches.len(), content))
        }
        RequestKind::Saga(steps) => {
            let content = Content::Saga(saga_steps(steps));
            Question::Submit(scenario.submission(request, steps.len(), content))
        }
        RequestKind::Auto(steps) => {
            let content = Content::Auto { steps: saga_steps(steps), two_phase_only: None };
            Question::Submit(scenario.submission(request, steps.len(), content))
        }
        RequestKind::Cancel => Question::Cancel { tx, client },
        RequestKind::Forget => Question::Forget { tx, client },
    }
}
