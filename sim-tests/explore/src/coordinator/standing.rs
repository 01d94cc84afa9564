//! A coordinator whose writes are numbered: whether it may speak, and what it makes of what it is shown.
//!
//! A question to participants while it stands is one step with its answer, and all that it takes back is one write.

use super::{CoordinatorHost, Log, Process, Sent};
use crate::mutant::Mutant;
use crate::scenario::{Scenario, participant_name};
use undoubt_coordinator_core::standing::{RecallAnswer, Sign, Standing, Verdict, foreign_start, late_sign};
use undoubt_coordinator_core::{Input, Recollection, StillKnown, TakenBack, Unfinished, held_after_loss};
use undoubt_vocabulary::{Abilities, Epoch, KnownAttempt, LowWaterMark, ParticipantName, Timestamp, WriteNumber};

/// The words by which a participant lets a session in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Welcome {
    /// The number of its own log.
    pub(crate) number: Option<WriteNumber>,
    /// The highest that it has seen of the coordinator's.
    pub(crate) seen: Option<WriteNumber>,
    /// The attempts that it still knows, should it be asked.
    pub(crate) known: Vec<KnownAttempt>,
    pub(crate) low_water_mark: LowWaterMark,
}

impl Log {
    pub(crate) fn number(&self) -> Option<WriteNumber> {
        self.numbers.as_ref().map(|numbers| numbers.number())
    }
}

impl Process {
    pub(crate) fn is_held(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.verdict() == Verdict::Held)
    }
}

impl CoordinatorHost {
    /// Begins another start. The log is read, and nobody is spoken to yet.
    pub(super) fn start_numbered(&mut self, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        let Some(numbers) = &mut self.log.numbers else { return Ok(()) };
        numbers.begin(if scenario.mutant == Some(Mutant::StartsUnmarked) { 0 } else { self.mark });
        let starts = numbers.starts.clone();
        let mut standing = Standing::new(starts.clone(), (0..scenario.participants).map(participant_name));
        if let Some(why) = &numbers.put_back {
            standing.sign(Sign::Local(why.clone()));
        }
        if scenario.mutant == Some(Mutant::SignUnstored) {
            numbers.put_back = None;
        }
        if let Some(seen) = self.log.own
            && let Some(lack) = starts.lack(&seen)
        {
            standing.sign(Sign::Noted(format!("an earlier start was shown its {seen}, and {lack}")));
        }
        self.log.epoch = starts.now.count - 1;
        let mut process = Process::start(&mut self.log, scenario);
        process.standing = Some(standing);
        self.process = Some(process);
        let unfinished: Vec<Unfinished> = self.log.unfinished().collect();
        for open in unfinished {
            self.handle_input(Input::Recovered(open), scenario, sent)?;
        }
        // Not at the first start, with which all worlds begin.
        if scenario.mutant == Some(Mutant::RecoversWhileAsking) && self.log.epoch > 1 {
            return self.handle_input(Input::RecoveryDone { paused: false }, scenario, sent);
        }
        if scenario.mutant == Some(Mutant::SpeaksUnasked) {
            return self.speak(Vec::new(), scenario, sent);
        }
        Ok(())
    }

    pub(super) fn handle_recall_answer(
        &mut self,
        participant: usize,
        answer: &RecallAnswer,
        scenario: &Scenario,
        sent: &mut Vec<Sent>,
    ) -> Result<(), String> {
        let standing = self.process.as_ref().and_then(|process| process.standing.as_ref());
        let lacking = standing.and_then(|standing| standing.lacking(answer));
        self.log.own = lacking.filter(|_| scenario.mutant != Some(Mutant::OwnSignForgotten)).or(self.log.own);
        self.stand(scenario, sent, |standing| standing.handle_answer(participant_name(participant), answer.clone()))
    }

    pub(super) fn time_is_over(&mut self, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        self.stand(scenario, sent, Standing::time_is_over)
    }

    fn stand(
        &mut self,
        scenario: &Scenario,
        sent: &mut Vec<Sent>,
        change: impl FnOnce(&mut Standing),
    ) -> Result<(), String> {
        let Some(standing) = self.process.as_mut().and_then(|process| process.standing.as_mut()) else {
            return Ok(());
        };
        change(standing);
        match standing.verdict() {
            Verdict::Asking | Verdict::Held => Ok(()),
            Verdict::Clear => {
                if standing.is_cleared() {
                    self.log.numbers.iter_mut().for_each(|numbers| numbers.put_back = None);
                }
                self.speak(Vec::new(), scenario, sent)
            }
        }
    }

    fn speak(&mut self, held: Vec<Unfinished>, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        let epoch = Epoch(self.log.epoch);
        self.process.iter_mut().for_each(|process| process.standing = None);
        self.handle_input(Input::EpochTaken(epoch), scenario, sent)?;
        for held in held {
            self.handle_input(Input::Recovered(held), scenario, sent)?;
        }
        self.handle_input(Input::RecoveryDone { paused: false }, scenario, sent)
    }

    pub(super) fn accept_loss(
        &mut self,
        known: &[(usize, Vec<KnownAttempt>)],
        scenario: &Scenario,
        sent: &mut Vec<Sent>,
    ) -> Result<(), String> {
        let standing = self.process.as_ref().and_then(|process| process.standing.clone());
        let Some(mut standing) = standing.filter(|standing| standing.verdict() == Verdict::Held) else {
            return Err("contract: an operator accepts a loss, and nothing is held".to_owned());
        };
        let absent: Vec<ParticipantName> = standing.missing().cloned().collect();
        if let Err(missing) = standing.accept(absent) {
            return Err(format!("contract: an operator goes on without {missing:?}, and it is waited for"));
        }
        let above = standing.highest();
        let mut recollection = Recollection::default();
        for (participant, attempts) in known {
            for attempt in attempts.iter().filter(|attempt| !self.log.has(&attempt.tx)) {
                recollection.add(&participant_name(*participant), attempt.clone());
            }
        }
        let mut held = Vec::new();
        for record in recollection.into_records(Timestamp(0)) {
            match record {
                TakenBack::Committed(_) if scenario.mutant == Some(Mutant::CommitsNotTakenBack) => {}
                TakenBack::Committed(record) => drop(self.log.ended.insert(record.tx.clone(), record)),
                TakenBack::Held(record) => {
                    self.log.held.insert(record.tx.clone(), record.clone());
                    held.push(Unfinished::Unusable(record));
                }
            }
        }
        let open: Vec<Unfinished> = self.log.unfinished().collect();
        for record in open.into_iter().filter_map(held_after_loss) {
            if scenario.mutant != Some(Mutant::SagasGoOnAfterLoss) {
                self.log.sagas.remove(&record.tx);
                self.log.held.insert(record.tx.clone(), record.clone());
                held.push(Unfinished::Unusable(record));
            }
        }
        if let Some(numbers) = &mut self.log.numbers {
            numbers.accept_loss(above, self.mark, scenario.mutant);
            self.log.epoch = numbers.starts.now.count;
        }
        self.speak(held, scenario, sent)
    }

    /// A session stands, unless its beginning shows that this log, or the participant's, was put back.
    pub(super) fn welcomed(
        &mut self,
        participant: usize,
        welcome: &Welcome,
        scenario: &Scenario,
        sent: &mut Vec<Sent>,
    ) -> Result<(), String> {
        let name = participant_name(participant);
        let Welcome { number, seen, known, low_water_mark } = welcome;
        let Some(numbers) = &self.log.numbers else { return Ok(()) };
        let seen = seen.filter(|_| scenario.mutant != Some(Mutant::LateSignIgnored));
        if let Some(seen) = seen.filter(|seen| late_sign(&name, &numbers.starts, false, seen).is_some()) {
            self.log.own = Some(seen);
            self.process = None;
            return Ok(());
        }
        let before = self.process.as_ref().and_then(|process| process.seen.get(&name).copied());
        if let (Some(number), Some(before)) = (number, before)
            && number.is_after_loss_of(&before)
            && scenario.mutant != Some(Mutant::LossUnlisted)
        {
            let attempt = |known: &KnownAttempt| {
                ((known.attempt_number, known.tx.clone()), known.in_effect.iter().copied().collect())
            };
            let known =
                StillKnown { low_water_mark: low_water_mark.clone(), attempts: known.iter().map(attempt).collect() };
            self.note_loss(&name, &known, scenario, sent)?;
            self.remember(&name, Some(*number));
            self.log.seen.insert(name.clone(), *number);
            self.log.witnessed.insert(name.clone(), *number);
        }
        self.remember(&name, *number);
        let abilities = Abilities { two_phase: !scenario.unable.contains(&participant), ..Abilities::ALL };
        self.handle_input(Input::Connected { participant: name, abilities }, scenario, sent)
    }

    /// Lists what a participant has lost, once everything is on stable storage that has ended until now.
    fn note_loss(
        &mut self,
        participant: &ParticipantName,
        known: &StillKnown,
        scenario: &Scenario,
        sent: &mut Vec<Sent>,
    ) -> Result<(), String> {
        if let Some(process) = self.process.as_ref().filter(|_| scenario.mutant != Some(Mutant::OpenLossUnlisted)) {
            for (tx, parts) in process.core.lost_at(participant, known) {
                self.log.lost.entry(tx).or_default().extend(parts);
            }
        }
        while self.process.as_ref().is_some_and(|process| !process.unstable.is_empty()) {
            self.become_stable(scenario, sent)?;
        }
        for ended in self.log.ended.values_mut() {
            let lost = ended.lost_at(participant, known);
            ended.lose(&lost);
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, participant: &ParticipantName, number: Option<WriteNumber>) {
        let (Some(process), Some(number)) = (&mut self.process, number) else { return };
        if number.replaces(process.seen.get(participant)) {
            process.seen.insert(participant.clone(), number);
        }
    }

    pub(super) fn fenced_by_epoch(&mut self, known: Epoch, scenario: &Scenario) {
        self.process = None;
        let Some(own) = self.log.number() else { return };
        if scenario.mutant != Some(Mutant::OwnSignForgotten) {
            self.log.own = Some(foreign_start(&own, known));
        }
    }
}
