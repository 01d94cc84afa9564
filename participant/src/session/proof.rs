//! The proof that somebody is the coordinator that it says (promise 10 of `session.proto`): challenges, and signatures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;
use undoubt_participant_core::{Proof, Unproven};
use undoubt_platform::key::{followed, is_signed};
use undoubt_platform::{Random, Reason};
use undoubt_proto::v1;
use undoubt_vocabulary::proof::MAX_SUCCESSIONS;
use undoubt_vocabulary::{Challenge, PublicKey, Signature, Statement, Succession};

/// The time for which a challenge of questions is given out; it is good for as long again.
const QUESTIONS_EVERY: Duration = Duration::from_secs(60);

/// Challenges as they are drawn: one for each session, and one for all questions of a minute, so that who asks costs no memory.
#[derive(Clone)]
pub(super) struct Challenges {
    random: Arc<dyn Random>,
    questions: Arc<Mutex<Questions>>,
}

struct Questions {
    now: Challenge,
    before: Challenge,
    drawn_at: Instant,
}

impl Challenges {
    pub(super) fn new(random: Arc<dyn Random>) -> Challenges {
        let questions = Questions { now: draw(&*random), before: draw(&*random), drawn_at: Instant::now() };
        Challenges { random, questions: Arc::new(Mutex::new(questions)) }
    }

    pub(super) fn draw(&self) -> Challenge {
        draw(&*self.random)
    }

    /// Returns the challenge that questions are given now, and the one that was given before and is good yet.
    pub(super) fn of_questions(&self) -> [Challenge; 2] {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let age = now.duration_since(questions.drawn_at);
        if age >= QUESTIONS_EVERY {
            let fresh = self.draw();
            let former = std::mem::replace(&mut questions.now, fresh);
            questions.before = if age >= 2 * QUESTIONS_EVERY { self.draw() } else { former };
            questions.drawn_at = now;
        }
        [questions.now, questions.before]
    }
}

fn draw(random: &dyn Random) -> Challenge {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    Challenge(bytes)
}

/// The keys that somebody says to have, and has not proven.
pub(super) struct Claim {
    pub(super) key: PublicKey,
    successions: Vec<Succession>,
}

impl Claim {
    /// Reads a claim; `None` of somebody who has no key.
    pub(super) fn read(public_key: &[u8], successions: &[v1::Succession]) -> Result<Option<Claim>, Status> {
        if public_key.is_empty() {
            return Ok(None);
        }
        if successions.len() > MAX_SUCCESSIONS {
            let why = format!("successions: there may be {MAX_SUCCESSIONS} at most; send the latest");
            return Err(Reason::InvalidRequest.refuse_field("successions", why));
        }
        let read = |succession: &v1::Succession| {
            let former = PublicKey(fixed("former_public_key", &succession.former_public_key)?);
            Ok(Succession { former, signature: signature(&succession.signature)? })
        };
        let successions = successions.iter().map(read).collect::<Result<_, Status>>()?;
        Ok(Some(Claim { key: PublicKey(fixed("public_key", public_key)?), successions }))
    }

    /// Returns the proof, if the claimed key has signed this.
    pub(super) fn prove(&self, statement: &Statement<'_>, signature: &Signature) -> Option<Proof> {
        let proven = is_signed(&self.key, statement, signature);
        proven.then(|| Proof { key: Some(self.key), former: followed(&self.key, &self.successions) })
    }
}

pub(super) fn signature(bytes: &[u8]) -> Result<Signature, Status> {
    fixed("signature", bytes).map(Signature)
}

fn fixed<const BYTES: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; BYTES], Status> {
    let wrong = || format!("{field} has {} bytes; send {BYTES}", bytes.len());
    bytes.try_into().map_err(|_| Reason::InvalidRequest.refuse_field(field, wrong()))
}

pub(super) fn not_signed() -> Status {
    Reason::Unproven
        .refuse("the signature is not that of the public key for this challenge; look at promise 10 of session.proto")
}

/// Returns the status that tells somebody why it is not taken for its coordinator.
pub(super) fn status_of(why: &Unproven) -> Status {
    let reason = match why {
        Unproven::NoProof { .. } => Reason::Unproven,
        Unproven::OtherKey { .. } | Unproven::NoPin { .. } => Reason::OtherKey,
        Unproven::TooManyPins { .. } => Reason::TooManyPins,
        Unproven::EpochOutOfRange { .. } => Reason::EpochOutOfRange,
    };
    reason.refuse(why.to_string())
}
