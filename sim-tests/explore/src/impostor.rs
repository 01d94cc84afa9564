//! An impostor beside a coordinator and a participant: who is taken for the coordinator (R14).
//!
//! A world of its own, for no transaction matters here: the participant's core as it ships, its storage, one coordinator that starts
//! anew and replaces its key, and somebody who wants its sessions. That one hears all that is said, knows all that is public, and plays
//! another participant to which the coordinator connects: it has it sign any challenge there. It has a key of its own, and gets the
//! coordinator's former key once that was replaced. It is on no connection between the two: who is has the session itself, against
//! which only TLS helps. It knows the coordinator's id once that was welcomed: who comes first is the one, as with every pin.
//!
//! Signatures are symbols: what was signed, and by which key. The statements are those that ship.

use crate::part::{ByFingerprint, fingerprint};
use std::collections::BTreeMap;
use std::fmt;
use undoubt_participant_core::{
    Effect, Hello, Input, Limits, Participant, Pin, Proof, Recovered, Session, SessionRefused, Trust,
};
use undoubt_vocabulary::{Challenge, CoordinatorId, Epoch, LowWaterMark, PublicKey, Statement};

const COORDINATOR: CoordinatorId = CoordinatorId([1; 16]);
/// The coordinator's keys, the former first.
const KEYS: [PublicKey; 2] = [PublicKey([1; 32]), PublicKey([2; 32])];
const FOREIGN_KEY: PublicKey = PublicKey([9; 32]);
const PARTICIPANT: &str = "a";
const PLAYED: &str = "b";

/// A bug that is planted in the way in which sessions begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The participant takes any answer to its challenge for a proof.
    ProofUnread,
    /// It gives the same challenge to everybody.
    ChallengeRepeated,
    /// The participant's name is not signed.
    NameUnsigned,
    /// The epoch is stored, and the key beside it is not.
    PinUnstored,
    /// Whoever proves any key is taken for the one with the pinned key.
    PinUncompared,
    /// The word of a former key for its successor is not verified.
    SuccessionUnread,
    /// A key that was replaced is taken as well.
    FormerKeyTaken,
}

/// The number of times that each thing may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Measure {
    /// Sessions that the coordinator opens, and that the impostor opens.
    pub dials: u8,
    pub attempts: u8,
    /// Sessions that the coordinator opens to the participant that the impostor plays.
    pub decoys: u8,
    pub restarts: u8,
    pub rotations: u8,
    /// Crashes of the participant.
    pub crashes: u8,
}

/// The findings of an exploration with an impostor.
#[derive(Clone, Debug)]
pub struct Findings {
    pub states: usize,
    /// What happened, and the rule that it broke.
    pub violation: Option<(Vec<String>, String)>,
    /// The coordinator was welcomed with each of its keys, after an attempt of the impostor.
    pub welcomed_with: [bool; 2],
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Signed {
    by: PublicKey,
    statement: Vec<u8>,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes signed by {:?}", self.statement.len(), self.by)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    Coordinator,
    Impostor,
}

/// A session that was challenged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Challenged {
    session: u64,
    by: Peer,
    epoch: Epoch,
    key: PublicKey,
    successions: Vec<(PublicKey, Signed)>,
    challenge: Challenge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// `None`: it is down.
    core: Option<Participant>,
    stored: Option<(Epoch, Option<(Epoch, Pin)>)>,
    recording: Vec<(Session, Epoch, Option<Pin>)>,
    challenged: Vec<Challenged>,
    owners: BTreeMap<u64, Peer>,
    sessions: u64,
    challenges: u8,
    epoch: u32,
    /// The coordinator's key, among [`KEYS`].
    key: usize,
    /// The keys with which the coordinator was welcomed.
    welcomed: [bool; 2],
    attempted: bool,
    heard: Vec<Signed>,
    left: Measure,
}

#[derive(Clone, Debug)]
enum Action {
    Dial,
    Prove(usize),
    Restart,
    Rotate,
    Decoy(Challenge),
    Attempt(Epoch, Option<PublicKey>),
    Answer(usize, Signed),
    Recorded(usize),
    Crash,
    Start,
}

/// Explores all that can happen within the measure, up to the first that breaks a rule: the shortest.
pub fn explore_impostor(measure: Measure, flaw: Option<Flaw>) -> Findings {
    let first = World::new(measure);
    let mut seen = ByFingerprint::<()>::default();
    seen.insert(fingerprint(&first), ());
    // How each world was first reached: from which, and by what.
    let mut nodes = vec![(0, String::new())];
    let (mut layer, mut welcomed_with) = (vec![(first, 0)], [false; 2]);
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (world, at) in layer {
            for action in world.actions() {
                let told = format!("{action:?}");
                let mut after = world.clone();
                if let Err(rule) = after.step(action, flaw).and_then(|()| after.check()) {
                    nodes.push((at, told));
                    let path = path(&nodes);
                    return Findings { states: nodes.len() - 1, violation: Some((path, rule)), welcomed_with };
                }
                if seen.insert(fingerprint(&after), ()).is_none() {
                    for (found, welcomed) in welcomed_with.iter_mut().zip(after.welcomed) {
                        *found |= welcomed && after.attempted;
                    }
                    next.push((after, nodes.len()));
                    nodes.push((at, told));
                }
            }
        }
        layer = next;
    }
    Findings { states: nodes.len(), violation: None, welcomed_with }
}

/// Returns what led to the last of these.
fn path(nodes: &[(usize, String)]) -> Vec<String> {
    let mut path = Vec::new();
    let mut at = nodes.len() - 1;
    while at != 0 {
        let (parent, told) = &nodes[at];
        path.push(told.clone());
        at = *parent;
    }
    path.reverse();
    path
}

fn participant() -> Participant {
    let trust = Trust { max_unvouched_pins: 4, unproven: false };
    Participant::new(Limits { max_open_branches: 1, largest_kept_bytes: 0, trust })
}

fn succession(former: PublicKey, next: PublicKey) -> Vec<u8> {
    Statement::Succession { former: &former, next: &next }.to_bytes()
}

fn statement(challenge: Challenge, epoch: Epoch, key: PublicKey, participant: &str, flaw: Option<Flaw>) -> Vec<u8> {
    let participant = if flaw == Some(Flaw::NameUnsigned) { "" } else { participant };
    let (challenge, key) = (&challenge, &key);
    Statement::Session { challenge, coordinator: COORDINATOR, epoch, key, participant }.to_bytes()
}

impl World {
    fn new(left: Measure) -> World {
        World {
            core: Some(participant()),
            stored: None,
            recording: Vec::new(),
            challenged: Vec::new(),
            owners: BTreeMap::new(),
            sessions: 0,
            challenges: 0,
            epoch: 1,
            key: 0,
            welcomed: [false; 2],
            attempted: false,
            heard: Vec::new(),
            left,
        }
    }

    /// Returns true once the former key is nobody's secret any more.
    fn is_former_key_known(&self) -> bool {
        self.welcomed[1]
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let Measure { dials, attempts, decoys, restarts, rotations, crashes } = self.left;
        let mut add = |possible: bool, action: Action| {
            if possible {
                actions.push(action);
            }
        };
        let is_up = self.core.is_some();
        add(is_up && dials > 0, Action::Dial);
        add(restarts > 0, Action::Restart);
        add(rotations > 0 && self.welcomed[0], Action::Rotate);
        add(is_up && crashes > 0, Action::Crash);
        add(!is_up, Action::Start);
        for at in 0..self.recording.len() {
            add(true, Action::Recorded(at));
        }
        let knows_id = self.welcomed.contains(&true);
        for epoch in [Epoch(self.epoch), Epoch::LAST] {
            for key in [None, Some(FOREIGN_KEY), Some(KEYS[0]), Some(KEYS[1])] {
                add(is_up && knows_id && attempts > 0, Action::Attempt(epoch, key));
            }
        }
        for (at, challenged) in self.challenged.iter().enumerate() {
            // Everybody hears a challenge.
            add(decoys > 0, Action::Decoy(challenged.challenge));
            match challenged.by {
                Peer::Coordinator => add(true, Action::Prove(at)),
                Peer::Impostor => {
                    let own = [FOREIGN_KEY].into_iter().chain(self.is_former_key_known().then_some(KEYS[0]));
                    let Challenged { challenge, epoch, key, .. } = *challenged;
                    let made =
                        own.map(|by| Signed { by, statement: statement(challenge, epoch, key, PARTICIPANT, None) });
                    for signed in made.chain(self.heard.iter().cloned()) {
                        add(true, Action::Answer(at, signed));
                    }
                }
            }
        }
        actions
    }

    fn step(&mut self, action: Action, flaw: Option<Flaw>) -> Result<(), String> {
        match action {
            Action::Dial => {
                self.left.dials -= 1;
                let key = KEYS[self.key];
                let word = |former: PublicKey| (former, Signed { by: former, statement: succession(former, key) });
                let successions = KEYS[..self.key].iter().map(|former| word(*former)).collect();
                self.challenge(Peer::Coordinator, Epoch(self.epoch), key, successions, flaw);
                Ok(())
            }
            Action::Prove(at) => {
                let Challenged { challenge, epoch, key, .. } = self.challenged[at];
                let signed = Signed { by: key, statement: statement(challenge, epoch, key, PARTICIPANT, flaw) };
                self.hear(signed.clone());
                self.answer(at, &signed, flaw)
            }
            Action::Restart => {
                self.left.restarts -= 1;
                self.start_coordinator()
            }
            Action::Rotate => {
                self.left.rotations -= 1;
                self.key = 1;
                self.start_coordinator()
            }
            Action::Decoy(challenge) => {
                self.left.decoys -= 1;
                let key = KEYS[self.key];
                let signed = statement(challenge, Epoch(self.epoch), key, PLAYED, flaw);
                self.hear(Signed { by: key, statement: signed });
                Ok(())
            }
            Action::Attempt(epoch, key) => {
                self.left.attempts -= 1;
                self.attempted = true;
                let Some(key) = key else {
                    self.sessions += 1;
                    return self.greet(Peer::Impostor, self.sessions, epoch, Proof::default());
                };
                // It claims to follow both, with such words as it can make.
                let word = |former: PublicKey| {
                    let is_known = former == KEYS[0] && self.is_former_key_known();
                    let by = if is_known { former } else { FOREIGN_KEY };
                    (former, Signed { by, statement: succession(former, key) })
                };
                let successions = KEYS.into_iter().map(word).collect();
                self.challenge(Peer::Impostor, epoch, key, successions, flaw);
                Ok(())
            }
            Action::Answer(at, signed) => self.answer(at, &signed, flaw),
            Action::Recorded(at) => {
                let (session, epoch, pin) = self.recording.remove(at);
                let pin = pin.filter(|_| flaw != Some(Flaw::PinUnstored));
                let (known, pinned) = self.stored.unwrap_or_default();
                // The writes that are under way end in any order.
                let replaces = |pin: &Pin| pinned.as_ref().is_none_or(|before| pin.replaces(epoch, before));
                let pinned = pin.filter(replaces).map(|pin| (epoch, pin)).or(pinned);
                self.stored = Some((epoch.max(known), pinned));
                self.tell(Input::EpochRecorded { session })
            }
            Action::Crash => {
                self.left.crashes -= 1;
                self.core = None;
                self.recording.clear();
                self.challenged.clear();
                self.owners.clear();
                Ok(())
            }
            Action::Start => {
                let mut core = participant();
                if let Some((epoch, pin)) = self.stored {
                    let low_water_mark = LowWaterMark::default();
                    let recovered =
                        Recovered::Coordinator { id: COORDINATOR, epoch, low_water_mark, pin: pin.map(|(_, pin)| pin) };
                    core.handle_input(Input::Recovered(recovered), &mut Vec::new());
                }
                self.core = Some(core);
                Ok(())
            }
        }
    }

    /// Starts the coordinator anew: its connections break.
    fn start_coordinator(&mut self) -> Result<(), String> {
        self.epoch += 1;
        self.challenged.retain(|challenged| challenged.by == Peer::Impostor);
        let owned = self.owners.iter().filter(|(_, by)| **by == Peer::Coordinator);
        let owned: Vec<u64> = owned.map(|(session, _)| *session).collect();
        for session in owned {
            self.owners.remove(&session);
            self.tell(Input::SessionClosed { session: Session(session) })?;
        }
        Ok(())
    }

    fn challenge(
        &mut self,
        by: Peer,
        epoch: Epoch,
        key: PublicKey,
        successions: Vec<(PublicKey, Signed)>,
        flaw: Option<Flaw>,
    ) {
        self.sessions += 1;
        if flaw != Some(Flaw::ChallengeRepeated) {
            self.challenges += 1;
        }
        let (session, challenge) = (self.sessions, Challenge([self.challenges; 32]));
        self.challenged.push(Challenged { session, by, epoch, key, successions, challenge });
    }

    fn hear(&mut self, signed: Signed) {
        if !self.heard.contains(&signed) {
            self.heard.push(signed);
        }
    }

    /// The participant's server looks at the answer to its challenge.
    fn answer(&mut self, at: usize, signed: &Signed, flaw: Option<Flaw>) -> Result<(), String> {
        let Challenged { session, by, epoch, key, successions, challenge } = self.challenged.remove(at);
        let expected = Signed { by: key, statement: statement(challenge, epoch, key, PARTICIPANT, flaw) };
        if *signed != expected && flaw != Some(Flaw::ProofUnread) {
            return Ok(());
        }
        let (mut next, mut former) = (key, Vec::new());
        for (key, word) in successions.iter().rev() {
            let proper = Signed { by: *key, statement: succession(*key, next) };
            if *word != proper && flaw != Some(Flaw::SuccessionUnread) {
                break;
            }
            next = *key;
            former.push(next);
        }
        if flaw == Some(Flaw::FormerKeyTaken) && key == KEYS[0] {
            former.push(KEYS[1]);
        }
        let pinned =
            self.stored.and_then(|(_, pin)| pin).map(|(_, pin)| pin).filter(|_| flaw == Some(Flaw::PinUncompared));
        let key = pinned.map_or(key, |pin| pin.key);
        self.greet(by, session, epoch, Proof { key: Some(key), former })
    }

    fn greet(&mut self, by: Peer, session: u64, epoch: Epoch, proof: Proof) -> Result<(), String> {
        self.owners.insert(session, by);
        let hello = Hello { coordinator: COORDINATOR, proof, name: String::new(), epoch, number: None, shown: None };
        self.tell(Input::Hello { session: Session(session), hello })
    }

    fn tell(&mut self, input: Input) -> Result<(), String> {
        let Some(core) = &mut self.core else { return Ok(()) };
        let mut effects = Vec::new();
        core.handle_input(input, &mut effects);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect))
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "there are no transactions here")]
    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::RecordEpoch { session, epoch, pin, .. } => self.recording.push((session, epoch, pin)),
            Effect::Welcome { session, .. } => match self.owners.get(&session.0) {
                Some(Peer::Impostor) => return Err("R14: an impostor is welcomed".to_owned()),
                Some(Peer::Coordinator) => {
                    self.welcomed[self.key] = true;
                    let pinned = self.stored.and_then(|(_, pin)| pin).map(|(_, pin)| pin);
                    if pinned.is_none_or(|pin| pin.key != KEYS[self.key]) {
                        return Err("R14: somebody is welcomed whose key is not stored".to_owned());
                    }
                }
                None => {}
            },
            Effect::Close { session, why } => match (self.owners.remove(&session.0), why) {
                (Some(Peer::Coordinator), why) if why != SessionRefused::Replaced => {
                    return Err(format!("R14: the coordinator is refused: {why}"));
                }
                (Some(Peer::Coordinator | Peer::Impostor) | None, _) => {}
            },
            Effect::RememberName { .. } => {}
            other => return Err(format!("nobody asked for {other:?}")),
        }
        Ok(())
    }

    /// Whatever the impostor does, the participant stores nothing of it.
    fn check(&self) -> Result<(), String> {
        match self.stored {
            Some((epoch, _)) if epoch.0 > self.epoch => {
                Err(format!("R14: epoch {} is stored by an impostor's word", epoch.0))
            }
            Some((_, Some((_, pin)))) if !KEYS.contains(&pin.key) => Err("R14: an impostor's key is pinned".to_owned()),
            Some(_) | None => Ok(()),
        }
    }
}
