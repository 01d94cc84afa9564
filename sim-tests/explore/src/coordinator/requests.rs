//! The requests of a scenario's clients, as the core is asked them.

use crate::scenario::{OpenStep, RequestKind, Scenario, participant_name, saga_steps, tx_id};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use undoubt_coordinator_core::{Beginning, Client, Content, Joining, Request, Terms};
use undoubt_vocabulary::TxId;

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
        RequestKind::Begin(completions, check_back) => Request::Begin(Beginning {
            tx,
            digest: [0xbe; 32],
            terms: Terms { completions: *completions },
            owner: None,
            check_back: check_back.map(|step| Arc::new(step.definition())),
            parent: None,
            timeout: Duration::from_secs(1),
            client,
        }),
        RequestKind::Nest(parent) => Request::Begin(Beginning {
            tx,
            digest: [0xbf; 32],
            terms: Terms::default(),
            check_back: None,
            parent: Some(tx_id(parent)),
            owner: None,
            timeout: Duration::from_secs(1),
            client,
        }),
        RequestKind::Run(step) => join(tx, step, client, true),
        RequestKind::Join(step) => join(tx, step, client, false),
        RequestKind::Enlist(_) => unreachable!("what an application prepares by itself, no coordinator is asked for"),
        RequestKind::Close => Request::Close { tx, client, wait: true },
        RequestKind::Cancel => Request::Cancel { tx, client },
        RequestKind::Forget => Request::Forget { tx, client },
    }
}

fn join(tx: TxId, step: &OpenStep, client: Client, wait: bool) -> Request {
    let (digest, step) = (step.digest(), step.definition());
    Request::Join(Box::new(Joining { tx, step, digest, client, wait }))
}
