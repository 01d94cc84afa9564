//! The steps that join open sagas, in short.

use super::participant_name;
use super::saga::{CHECK_BACK_NUMBER, step_name};
use crate::part::fingerprint;
use crate::work;
use bytes::Bytes;
use std::time::Duration;
use undoubt_vocabulary::{RetryPolicy, StepIndex};

/// A step, and the work of each of its parts; see [`crate::work`] for what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenStep {
    /// The number that is its name, whichever place it gets.
    pub number: u16,
    pub participant: usize,
    /// `None`: its caller does it himself.
    pub action: Option<&'static str>,
    pub compensation: Option<&'static str>,
    pub completion: Option<&'static str>,
    pub max_attempts: u32,
}

impl OpenStep {
    /// Returns the check-back of an open saga, which asks this of the participant.
    pub(crate) fn check_back(participant: usize, question: &'static str) -> OpenStep {
        OpenStep {
            number: CHECK_BACK_NUMBER,
            participant,
            action: Some(question),
            compensation: None,
            completion: None,
            max_attempts: 1,
        }
    }

    /// Returns true if its action may be refused for good.
    pub(crate) fn may_be_refused(&self) -> bool {
        self.action.is_some_and(|work| !work::is_never_refused(work.as_bytes()))
    }

    pub(crate) fn is_check_back(&self) -> bool {
        self.number == CHECK_BACK_NUMBER
    }

    pub(crate) fn definition(&self) -> undoubt_vocabulary::SagaStep {
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        undoubt_vocabulary::SagaStep {
            name: step_name(StepIndex(self.number)),
            participant: participant_name(self.participant),
            action: self.action.map(text),
            compensation: self.compensation.map(text),
            completion: self.completion.map(text),
            after: Vec::new(),
            uses: Vec::new(),
            pivot: false,
            // How long anything takes is for the search to try.
            retry: RetryPolicy {
                max_attempts: self.max_attempts,
                first_pause: Duration::ZERO,
                max_pause: Duration::ZERO,
                attempt_timeout: Duration::from_secs(1),
            },
        }
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = [1; 32];
        digest[..16].copy_from_slice(&fingerprint(self).to_be_bytes());
        digest
    }
}
