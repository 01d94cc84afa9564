//! Sessions with coordinators, their epochs, and what each side has seen of the other's log.

use super::{Known, Participant, message_about};
use crate::branch::{Branch, Finished, State};
use crate::effect::{Answer, Effect, Rejection, SessionRefused};
use crate::input::{Hello, Operator, Session};
use crate::pin::{Pin, Proof, Unproven, check_epoch, judge};
use crate::standing::{Loss, Recall, Recalled, Seen};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, Execution, KnownAttempt, KnownState, PublicKey, Starts, Timestamp, TxId,
    WriteNumber,
};

impl Participant {
    pub(super) fn handle_hello(&mut self, session: Session, hello: Hello, effects: &mut Vec<Effect>) {
        let Hello { coordinator, proof, name, epoch, number, shown } = hello;
        let pin = match check_epoch(epoch, &proof).and_then(|()| self.judge(coordinator, &proof)) {
            Ok(pin) => pin,
            Err(why) => return effects.push(Effect::Close { session, why: why.into() }),
        };
        self.handle_shown(shown.as_ref(), effects);
        if let Some(why) = self.standing.put_back.clone() {
            return effects.push(Effect::Close { session, why: SessionRefused::PutBack { why } });
        }
        let former = self.former(&name, coordinator);
        let known = self.coordinators.entry(coordinator).or_default();
        let highest = known.joining.map_or(known.epoch, |(_, joining)| joining.max(known.epoch));
        if epoch < highest {
            let why = SessionRefused::LowerEpoch { offered: epoch.0, known: highest.0 };
            return effects.push(Effect::Close { session, why });
        }
        if number.is_some_and(|number| known.seen.is_another(&number)) {
            return effects.push(Effect::Close { session, why: SessionRefused::OtherStart { epoch: epoch.0 } });
        }
        if known.pin != pin {
            (known.pin, known.is_pin_stored) = (pin, false);
        }
        let replaced = known.session.take().into_iter().chain(known.joining.take().map(|(session, _)| session));
        effects.extend(replaced.map(|session| Effect::Close { session, why: SessionRefused::Replaced }));
        known.joining = Some((session, epoch));
        known.number = number;
        if number.is_some() && known.seen == Seen::default() {
            // Shown to it until it goes on all the same.
            known.seen.number = former;
        }
        let met = number.map(|number| number.start);
        // Before the epoch is recorded, so that they are stored together.
        if met.is_some() && met != known.seen.met {
            known.seen.met = met;
            effects.push(Effect::RememberSeen { coordinator, seen: known.seen });
        }
        let is_new = epoch > known.epoch || known.pin.is_some() && !known.is_pin_stored;
        if !name.is_empty() && self.names.insert(name.clone(), coordinator) != Some(coordinator) {
            effects.push(Effect::RememberName { name, coordinator });
        }
        if is_new {
            effects.push(Effect::RecordEpoch { session, coordinator, epoch, pin });
        } else {
            self.handle_epoch_recorded(session, effects);
        }
    }

    fn judge(&self, coordinator: CoordinatorId, proof: &Proof) -> Result<Option<Pin>, Unproven> {
        // What was only seen of its log was stored by the way, and says nothing of who it is.
        let is_known = |known: &&Known| known.epoch > Epoch::default() || known.pin.is_some();
        let known = self.coordinators.get(&coordinator).filter(is_known).map(|known| known.pin);
        let others = self.coordinators.iter().filter(|(id, _)| **id != coordinator);
        let unvouched = others.filter(|(_, known)| known.pin.is_some_and(|pin| !pin.vouched)).count();
        judge(self.limits.trust, coordinator, known, proof, unvouched)
    }

    /// Returns why whoever asks may not learn what is known of this coordinator.
    pub fn may_ask(&self, recall: &Recall) -> Result<(), Unproven> {
        self.judge(recall.coordinator, &recall.proof).map(drop)
    }

    pub(super) fn handle_pin(
        &self,
        coordinator: CoordinatorId,
        key: PublicKey,
        operator: Operator,
        effects: &mut Vec<Effect>,
    ) {
        let epoch = self.coordinators.get(&coordinator).map_or(Epoch::default(), |known| known.epoch);
        effects.push(Effect::RecordPin { coordinator, epoch, pin: Pin { key, vouched: true }, operator });
    }

    pub(super) fn handle_pinned(
        &mut self,
        coordinator: CoordinatorId,
        key: PublicKey,
        operator: Operator,
        effects: &mut Vec<Effect>,
    ) {
        let known = self.coordinators.entry(coordinator).or_default();
        if known.pin.is_none_or(|pin| pin.key != key) {
            let ended = known.session.take().into_iter().chain(known.joining.take().map(|(session, _)| session));
            effects.extend(ended.map(|session| Effect::Close { session, why: SessionRefused::Replaced }));
        }
        (known.pin, known.is_pin_stored) = (Some(Pin { key, vouched: true }), true);
        effects.push(Effect::Answer { operator, answer: Answer::Pinned });
    }

    /// Looks at what somebody has seen of this participant's log. If that lacks it, nobody is served any more.
    pub(super) fn handle_shown(&mut self, shown: Option<&WriteNumber>, effects: &mut Vec<Effect>) {
        let Some(why) = self.standing.shown(shown) else { return };
        effects.push(Effect::StorePutBack { why: why.clone() });
        for known in self.coordinators.values_mut() {
            let ended = known.session.take().into_iter().chain(known.joining.take().map(|(session, _)| session));
            let close = |session| Effect::Close { session, why: SessionRefused::PutBack { why: why.clone() } };
            effects.extend(ended.map(close));
        }
    }

    pub(super) fn handle_seen(&mut self, session: Session, writes: u64, effects: &mut Vec<Effect>) {
        // The hello's own batch tells nothing: what was seen before is still to be shown to whoever said it.
        let Some((coordinator, known)) = self.of_session(session).filter(|_| writes > 0) else { return };
        let Some(number) = known.number.map(|number| WriteNumber { writes, ..number }) else { return };
        if known.seen.number.is_none_or(|seen| seen.log != number.log || seen.is_before(&number)) {
            known.seen.number = Some(number);
            effects.push(Effect::RememberSeen { coordinator, seen: known.seen });
        }
    }

    pub(super) fn handle_accept_loss(
        &self,
        (at, who, reason): (Timestamp, String, String),
        operator: Operator,
        effects: &mut Vec<Effect>,
    ) {
        let Some(put_back) = self.standing.put_back.clone() else {
            return effects.push(Effect::Answer { operator, answer: Answer::Rejected(Rejection::NotPutBack) });
        };
        let loss = Loss { at, who, reason, put_back, above: self.standing.latest() };
        effects.push(Effect::AcceptLoss { loss, operator });
    }

    pub(super) fn handle_loss_accepted(&mut self, starts: Starts, operator: Operator, effects: &mut Vec<Effect>) {
        let put_back = self.standing.put_back.clone().unwrap_or_default();
        self.standing.accepted(starts);
        effects.push(Effect::Answer { operator, answer: Answer::LossAccepted { put_back } });
    }

    /// Returns why this log is believed to be an older copy, if it is.
    pub fn put_back(&self) -> Option<&str> {
        self.standing.put_back.as_deref()
    }

    /// Returns what was seen of the log that had a coordinator's name last, if that is another one.
    fn former(&self, name: &str, coordinator: CoordinatorId) -> Option<WriteNumber> {
        let other = self.names.get(name).filter(|other| **other != coordinator)?;
        let Seen { met, number } = self.coordinators.get(other)?.seen;
        let met = met.map(|start| WriteNumber { log: other.0, start, writes: 0 });
        met.into_iter().chain(number).max_by_key(|seen| (seen.start, seen.writes))
    }

    /// Returns what is known of a coordinator. What it has shown has to be put in first.
    pub fn recalled(&self, recall: &Recall) -> Recalled {
        let known = self.coordinators.get(&recall.coordinator).cloned().unwrap_or_default();
        let former = || Seen { met: None, number: self.former(&recall.name, recall.coordinator) };
        Recalled {
            seen: if known.seen == Seen::default() { former() } else { known.seen },
            epoch: known.epoch,
            low_water_mark: known.low_water_mark,
            connected: known.session.is_some(),
            put_back: self.standing.put_back.clone(),
            other: self.names.get(&recall.name).copied().filter(|other| *other != recall.coordinator),
        }
    }

    /// Returns what is kept of a coordinator's attempts from this attempt number on, in the order of attempt numbers:
    /// of about `limit` attempts, and where the rest begins.
    pub fn attempts(
        &self,
        coordinator: CoordinatorId,
        from: AttemptNumber,
        limit: usize,
    ) -> (Vec<KnownAttempt>, Option<AttemptNumber>) {
        let branches =
            self.by_attempt_number.range((coordinator, from)..).take_while(|((owner, _), _)| *owner == coordinator);
        let branches = branches.filter_map(|((_, attempt_number), tx)| {
            let state = known_state(&self.branches.get(tx)?.state)?;
            Some(KnownAttempt { attempt_number: *attempt_number, tx: tx.clone(), state, in_effect: Vec::new() })
        });
        let mut found: Vec<KnownAttempt> = branches.take(limit + 1).collect();
        found.extend(self.sagas.attempts(coordinator, from).take(limit + 1));
        found.sort();
        let next = found.get(limit).map(|first| first.attempt_number);
        if let Some(next) = next {
            // All of one attempt number is told together.
            found.retain(|attempt| attempt.attempt_number < next);
        }
        (found, next)
    }

    pub(super) fn handle_epoch_recorded(&mut self, session: Session, effects: &mut Vec<Effect>) {
        let joining = self.coordinators.iter_mut().find_map(|(id, known)| match known.joining {
            Some((joining, epoch)) if joining == session => Some((*id, known, epoch)),
            Some(_) | None => None,
        });
        let Some((coordinator, known, epoch)) = joining else { return };
        (known.epoch, known.session, known.joining) = (epoch, Some(session), None);
        known.is_pin_stored = known.pin.is_some();
        let seen = known.seen.number;
        self.sagas.count_attempts_anew(coordinator);
        self.report_heuristics_anew(coordinator);
        self.forget_lone_reads(coordinator);
        effects.push(Effect::Welcome { session, seen });
        for (_, branch) in self.branches.iter().filter(|(_, branch)| branch.id.coordinator == coordinator) {
            effects.extend(message_about(branch).map(|message| Effect::Send { session, message }));
        }
        self.ask_about_all_evidence(coordinator, effects);
    }

    /// Reports heuristic outcomes anew: the disk on which the coordinator noted them may have lied (S1), or be an old
    /// copy (S4).
    fn report_heuristics_anew(&mut self, coordinator: CoordinatorId) {
        for branch in self.branches.values_mut().filter(|branch| branch.id.coordinator == coordinator) {
            if let State::Heuristic { heuristic, noted } = &mut branch.state {
                *noted = heuristic.is_reported();
            }
        }
    }

    /// Forgets lone reads: their votes may be lost with the session before. Nothing is stored of them, so a restart
    /// forgets them as well.
    fn forget_lone_reads(&mut self, coordinator: CoordinatorId) {
        let is_lone_read = |branch: &Branch| {
            branch.id.coordinator == coordinator && matches!(branch.state, State::Finished(Finished::Read))
        };
        let read = self.branches.iter().filter(|(_, branch)| is_lone_read(branch));
        let read: Vec<TxId> = read.map(|(tx, _)| tx.clone()).collect();
        read.iter().for_each(|tx| self.remove(tx));
    }

    pub(super) fn handle_session_closed(&mut self, session: Session) {
        for known in self.coordinators.values_mut() {
            known.session = known.session.filter(|open| *open != session);
            known.joining = known.joining.filter(|(joining, _)| *joining != session);
        }
    }
}

/// Returns the state of a branch that a coordinator which has lost its own records may learn; `None`: nothing that
/// matters.
fn known_state(state: &State) -> Option<KnownState> {
    match state {
        // The single branch of its transaction may still commit by itself, also if it is to be undone.
        State::Prepared { .. } | State::Resolving { .. } | State::Executing { execution: Execution::OnePhase, .. } => {
            Some(KnownState::Prepared)
        }
        State::Committing
        | State::Finished(Finished::Committed | Finished::CommittedAlone { .. } | Finished::Unexplained { .. }) => {
            Some(KnownState::Committed)
        }
        State::Heuristic { .. } => Some(KnownState::Heuristic),
        State::Executing { execution: Execution::TwoPhase, .. }
        | State::ReadOnly { .. }
        | State::Confirming
        | State::Aborting { .. }
        | State::Finished(Finished::Left | Finished::Read | Finished::Refused(_) | Finished::Aborted) => None,
    }
}
