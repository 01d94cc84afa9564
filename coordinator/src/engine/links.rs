//! The links of the engine to its participants, as far as it knows them.

use crate::queue::{Outgoing, Queue};
use tokio::sync::watch;
use undoubt_vocabulary::{
    Abilities, Ability, Direction, LowWaterMark, Refusal, RefusalCode, RunStep, StepOutcome, Timestamp, ToCoordinator,
    ToParticipant,
};

/// The attempts after which a participant that stays away is told of again: once an hour, with the pauses of the
/// default settings.
const TOLD_EVERY_ATTEMPTS: u64 = 2_048;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: LinkState,
    pub(crate) since: Timestamp,
    /// The address at which it is called. The session is told when that is another, and ends with this.
    pub(super) address: watch::Sender<String>,
    /// True if it was taken out of the settings: it goes when nothing is open with it any more.
    pub(crate) leaving: bool,
    /// Failed attempts to connect since it was last connected, or since the start.
    pub(crate) attempts: u64,
    /// Sessions that were begun, and attempts that failed, since the start.
    pub(crate) sessions: u64,
    pub(crate) failures: u64,
    /// True if the participant does not number its writes.
    pub(crate) unnumbered: bool,
    /// The abilities with which it was welcomed last; `None`: it has not been since the start.
    pub(crate) abilities: Option<Abilities>,
    pub(super) outgoing: Vec<Outgoing>,
}

#[derive(Debug)]
pub(crate) enum LinkState {
    /// `session` tells this stream's end from that of an earlier one.
    Connected {
        session: u64,
        queue: Queue,
        resource: String,
    },
    Disconnected {
        last_error: String,
    },
}

impl Link {
    pub(super) fn new(address: String, now: Timestamp) -> Link {
        let last_error = "not tried yet".to_owned();
        Link {
            state: LinkState::Disconnected { last_error },
            since: now,
            address: watch::Sender::new(address),
            leaving: false,
            attempts: 0,
            sessions: 0,
            failures: 0,
            unnumbered: false,
            abilities: None,
            outgoing: Vec::new(),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.borrow().clone()
    }

    /// Calls it at this address from now on. Returns true if that is another.
    pub(super) fn move_to(&self, address: &str) -> bool {
        self.address.send_if_modified(|before| {
            let is_other = before != address;
            if is_other {
                address.clone_into(before);
            }
            is_other
        })
    }

    /// Returns false if it is known not to run the steps of sagas.
    fn runs_steps(&self) -> bool {
        self.abilities.is_none_or(|abilities| abilities.saga_steps)
    }

    /// Returns what the participant would answer to a message that needs an ability which it lacks; `None`: the message may be
    /// sent. Whoever was accepted before that was known must not wait for ever.
    pub(super) fn refusal_of(&self, message: &ToParticipant) -> Option<ToCoordinator> {
        if self.runs_steps() {
            return None;
        }
        match message {
            ToParticipant::Run(run) => {
                let detail = format!(
                    "this participant lacks the ability {}; update it, or leave it out of sagas",
                    Ability::SagaSteps
                );
                let outcome = match run.direction {
                    Direction::Forward => StepOutcome::Refused(Refusal::new(RefusalCode::InvalidWork, detail)),
                    // It has run nothing that could be undone.
                    Direction::Compensating if !run.acted_elsewhere => StepOutcome::Empty,
                    Direction::Compensating | Direction::Completing => {
                        StepOutcome::Refused(Refusal::new(RefusalCode::InvalidWork, detail))
                    }
                };
                let RunStep { tx, attempt_number, step, direction, attempt, .. } = run.clone();
                Some(ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome })
            }
            ToParticipant::Close { tx, attempt_number } => {
                Some(ToCoordinator::Closed { tx: tx.clone(), attempt_number: *attempt_number })
            }
            ToParticipant::Prepare(_)
            | ToParticipant::Confirm { .. }
            | ToParticipant::Commit { .. }
            | ToParticipant::Abort { .. }
            | ToParticipant::Settle { .. }
            | ToParticipant::Undecided { .. }
            | ToParticipant::Noted { .. } => None,
        }
    }

    /// Notes that there is no session, and why. Whether that is to be told: when it begins, when the cause is another, and
    /// with growing pauses while it lasts.
    pub(super) fn failed(&mut self, error: String) -> bool {
        let other = match &self.state {
            LinkState::Connected { .. } => true,
            LinkState::Disconnected { last_error } => *last_error != error,
        };
        self.attempts += 1;
        self.failures += 1;
        self.state = LinkState::Disconnected { last_error: error };
        other || self.attempts.is_power_of_two() || self.attempts.is_multiple_of(TOLD_EVERY_ATTEMPTS)
    }

    /// Hands what has gathered to the session. Without one it is dropped: the core repeats what matters on the next.
    pub(super) fn send(&mut self, low_water_mark: LowWaterMark) {
        let messages = std::mem::take(&mut self.outgoing);
        match &self.state {
            LinkState::Connected { queue, .. } => queue.push(messages, low_water_mark),
            LinkState::Disconnected { .. } => {}
        }
    }

    pub(super) fn nudge(&self, low_water_mark: LowWaterMark) {
        match &self.state {
            LinkState::Connected { queue, .. } => queue.nudge(low_water_mark),
            LinkState::Disconnected { .. } => {}
        }
    }

    pub(crate) fn queued(&self) -> usize {
        match &self.state {
            LinkState::Connected { queue, .. } => queue.len(),
            LinkState::Disconnected { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use undoubt_vocabulary::{AttemptNumber, StepIndex, TxId};

    #[test]
    fn whoever_lacks_an_ability_is_not_asked_for_it_and_is_answered_for() {
        let (tx, attempt_number): (TxId, _) = ("t".parse().unwrap(), AttemptNumber(1));
        let run = |direction| {
            ToParticipant::Run(RunStep {
                tx: tx.clone(),
                attempt_number,
                step: StepIndex(0),
                direction,
                acted_elsewhere: false,
                check_back: false,
                attempt: 1,
                begun_at: Timestamp(1),
                timeout: Duration::from_secs(1),
                work: Bytes::new(),
                inputs: Vec::new(),
            })
        };
        let mut link = Link::new(String::new(), Timestamp::default());
        assert_eq!(link.refusal_of(&run(Direction::Forward)), None, "who was not met yet may be able");
        link.abilities = Some(Abilities::ALL);
        assert_eq!(link.refusal_of(&run(Direction::Forward)), None);
        link.abilities = Some(Abilities { saga_steps: false, ..Abilities::ALL });
        let Some(ToCoordinator::Ran { outcome: StepOutcome::Refused(refusal), .. }) =
            link.refusal_of(&run(Direction::Forward))
        else {
            panic!("an action is refused for it")
        };
        assert!(!refusal.code.is_transient() && refusal.detail.contains("saga-steps"), "{refusal}");
        let undone = link.refusal_of(&run(Direction::Compensating));
        assert!(matches!(undone, Some(ToCoordinator::Ran { outcome: StepOutcome::Empty, .. })), "{undone:?}");
        let closed = link.refusal_of(&ToParticipant::Close { tx: tx.clone(), attempt_number });
        assert_eq!(closed, Some(ToCoordinator::Closed { tx: tx.clone(), attempt_number }));
        assert_eq!(link.refusal_of(&ToParticipant::Commit { tx, attempt_number }), None);
    }

    #[test]
    fn one_that_stays_away_is_told_of_with_growing_pauses_and_when_the_cause_changes() {
        let mut link = Link::new(String::new(), Timestamp::default());
        let told: Vec<u64> =
            (1..=4_096).filter(|_| link.failed("refused".into())).map(|attempt| attempt as u64).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096]);
        assert!(link.failed("it is another's".into()));
        assert!(!link.failed("it is another's".into()));
    }
}
