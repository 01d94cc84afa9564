//! Operators on duty: they see to servers that were put back, and accept what those have lost.

use super::net;
use super::operator::options;
use super::shared_state::{Shared, now_us};
use crate::plan::Host;
use crate::trace::Standing;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use undoubt_client::{Client, CoordinatorPhase, OperatorError, ParticipantClient};

/// The time between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(400);

/// The time for which a server may clear itself, or its newer folder be found.
const PATIENCE_US: u64 = 800_000;

const REASON: &str = "there is no newer folder";

/// Looks until the world is healed.
pub(super) async fn watch(shared: Arc<Shared>) -> turmoil::Result {
    let mut duty = Duty::new(shared.clone());
    while !*shared.healed.borrow() {
        sleep(LOOK_PERIOD).await;
        duty.look().await;
    }
    Ok(())
}

pub(super) struct Duty {
    shared: Arc<Shared>,
    coordinator: Client,
    participants: BTreeMap<u8, ParticipantClient>,
    /// The moments since when each was seen to serve nobody.
    waiting: BTreeMap<Host, u64>,
}

impl Duty {
    pub(super) fn new(shared: Arc<Shared>) -> Duty {
        let towards = shared.clone();
        let coordinator = Client::with_channel(net::channel(move || net::address(towards.primary())), options());
        let participant = |number| {
            let channel = net::channel(move || net::address(Host::Participant(number)));
            (number, ParticipantClient::with_channel(channel, options()))
        };
        let participants = (1..=shared.plan.shape.participants).map(participant).collect();
        Duty { shared, coordinator, participants, waiting: BTreeMap::new() }
    }

    /// Accepts the loss of whoever has waited long enough. Returns false while somebody waits.
    pub(super) async fn look(&mut self) -> bool {
        for (number, participant) in self.participants.clone() {
            let host = Host::Participant(number);
            let Ok(state) = participant.describe().await else { continue };
            if self.is_due(host, state.put_back.is_some()) {
                self.shared.recorder.record(host, Standing::Accepts.into());
                let asked_us = now_us();
                self.heard(host, asked_us, participant.accept_loss("operator", REASON).await);
            }
        }
        let host = self.shared.primary();
        if self.shared.is_abandoned() {
            return self.waiting.is_empty();
        }
        let Ok(view) = self.coordinator.describe().await else { return self.waiting.is_empty() };
        if self.is_due(host, view.phase == Some(CoordinatorPhase::Held)) {
            self.shared.recorder.record(host, Standing::Accepts.into());
            let asked_us = now_us();
            self.heard(host, asked_us, self.coordinator.accept_loss("operator", REASON, &[]).await);
        }
        self.waiting.is_empty()
    }

    fn is_due(&mut self, host: Host, waits: bool) -> bool {
        if !waits {
            self.waiting.remove(&host);
            return false;
        }
        now_us() - *self.waiting.entry(host).or_insert_with(now_us) >= PATIENCE_US
    }

    /// Notes an answer; only a definite refusal did nothing.
    fn heard<T>(&mut self, host: Host, asked_us: u64, answer: Result<T, OperatorError>) {
        match answer {
            Err(
                refused @ (OperatorError::NotFound { .. }
                | OperatorError::WrongState { .. }
                | OperatorError::Refused { .. }
                | OperatorError::NotOffered { .. }
                | OperatorError::NotReached(_)),
            ) => self.shared.recorder.record(host, Standing::Rejected { why: refused.to_string() }.into()),
            Ok(_)
            | Err(OperatorError::Unclear(_) | OperatorError::Malformed { .. } | OperatorError::Unexpected { .. } | _) =>
            {
                self.waiting.remove(&host);
                self.shared.finals().accepted.push((host, asked_us));
            }
        }
    }
}
