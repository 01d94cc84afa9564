//! Carrying out what the core wants.

use super::writes::{Done, Item};
use super::{Engine, attention};
use crate::log::{Log, LogError};
use crate::metrics;
use crate::points;
use crate::queue::Outgoing;
use std::borrow::Cow;
use tokio::time::Instant;
use undoubt_coordinator_core::{Answer, Effect, Input, Note, Record, Request, Stage, Timer};
use undoubt_platform::Batch;
use undoubt_vocabulary::{AttemptNumber, Backoff, Timestamp, ToCoordinator, TxId};

impl Engine {
    pub(super) fn carry_out(&mut self, now: Timestamp, effect: Effect) -> Result<(), LogError> {
        match effect {
            Effect::Append { mut record, forced } => {
                let has_lost = self.lose(&mut record);
                attention::ended(&record);
                if let Record::Ended(ended) = &record {
                    self.followed.ended(ended);
                }
                // A heuristic outcome writes the record of one that has ended again.
                if let Record::Ended(ended) = &record
                    && self.core.holds(&ended.tx)
                {
                    self.figures.ended(ended, now);
                }
                let item = Item::Record(record.tx().clone(), record.attempt_number(), record.stage());
                if let Record::Ended(ended) = &record
                    && self.apart.may_be_stored(ended)
                    && !self.core.holds(&ended.tx)
                {
                    self.log.recall(ended, &mut self.apart)?;
                }
                let traced = self.traced.stored(record.tx());
                if forced {
                    self.traced.write_begins(now, record.tx(), record.stage());
                }
                let history = self.histories.stored(record.tx());
                let beside = traced.map_or(Cow::Borrowed(history), |traced| [history, &traced].concat().into());
                let stored_before = self.apart.stored(record.attempt_number());
                let apart = &mut self.apart;
                let put = |batch: &mut Batch| {
                    Log::put(batch, &record, now, &beside, apart);
                    if has_lost {
                        Log::delete_lost(batch, record.tx());
                    }
                };
                let added = self.writes.add(item, forced, put);
                if let Err(too_large) = added {
                    self.apart.restore(record.attempt_number(), stored_before);
                    let (tx, attempt_number, stage) = (record.tx().clone(), record.attempt_number(), record.stage());
                    self.not_appended.push(Input::NotAppended {
                        tx,
                        attempt_number,
                        stage,
                        cause: too_large.to_string(),
                    });
                }
            }
            Effect::Send { to, message } => {
                if let Some(link) = self.links.get_mut(&to) {
                    match link.refusal_of(&message) {
                        None => {
                            let trace = self.traced.sent(now, &to, &message);
                            link.outgoing.push(Outgoing { message, trace });
                        }
                        Some(message) => {
                            self.answers_for_others.push(Input::Request(Request::Message { from: to, message }));
                        }
                    }
                }
            }
            Effect::Answer { client, answer, .. } => {
                if let Answer::Rejected(rejection) = &answer {
                    self.figures.rejected(metrics::label(rejection));
                }
                self.crash.reach("before-answer");
                if let Some((tx, reply)) = self.clients.remove(&client) {
                    reply.send(tx, answer);
                }
                self.crash.reach("after-answer");
            }
            Effect::Arm { tx, attempt_number, timer } => {
                let pause = match timer {
                    Timer::Deadline { after } => after,
                    Timer::Retry { attempt } => self.random.pause(self.config.retries(), attempt),
                    Timer::Attempt { after, .. } => after,
                    Timer::StepRetry { attempt, first_pause, max_pause, .. } => {
                        self.random.pause(Backoff::between(first_pause, max_pause), attempt.saturating_sub(1))
                    }
                };
                self.timers.arm(Instant::now() + pause, tx, attempt_number, timer);
            }
            Effect::LookUp(request) => {
                let ended = if self.is_for_the_outcome_alone(&request) {
                    self.log.ended_without_large_results(request.tx())?
                } else {
                    self.log.ended(request.tx())?
                };
                let ended = ended.map(|ended| ended.record);
                ended.iter().for_each(|ended| self.followed.ended(ended));
                // The effects of the answer come after those that are still to be carried out of this input; a look-up
                // is always the last, or alone.
                self.handle_input(Input::LookedUp { request, ended })?;
            }
            Effect::Note { tx, note } => {
                tracing::debug!(target: "undoubt::note", %tx, event = note.kind().as_str(), participant = note.participant().map(tracing::field::display), detail = %note);
                if let Note::Begun { .. } | Note::SagaBegun { .. } | Note::Opened = &note {
                    self.figures.begun(!matches!(note, Note::Begun { .. }));
                }
                self.note_who_asked(&tx, &note);
                attention::noted(&tx, &note);
                self.traced.noted(now, &tx, &note);
                if matches!(note, Note::Resolved { .. } | Note::Forgotten)
                    && let Some(doing) = self.operator_is_doing.take()
                {
                    tracing::warn!(%tx, "an operator ends what waits: {doing}");
                    self.histories.add(now, &tx, doing);
                }
                if let Err(note @ Note::Finished { .. }) = self.histories.note(now, &tx, note) {
                    // A heuristic outcome of one that has ended: its record is about to be written again.
                    let ended = self.log.ended(&tx)?;
                    let history = ended.map(|ended| ended.history).unwrap_or_default();
                    self.histories.reopen(now, tx, &history, note);
                }
            }
            Effect::Retired { tx } => {
                tracing::debug!(target: "undoubt::note", %tx, event = "retired");
                self.histories.forget(&tx);
                self.traced.retired(now, &tx);
                // Who began to follow it while its end was being written has not heard of that.
                if self.followed.waits_for(&tx)
                    && let Some(ended) = self.log.ended_without_large_results(&tx)?
                {
                    self.followed.ended(&ended.record);
                }
                self.carried_on.remove(&tx);
                self.holders.ended(&tx);
            }
        }
        Ok(())
    }

    fn is_for_the_outcome_alone(&self, request: &Request) -> bool {
        match request {
            Request::Await { client, .. } => {
                self.clients.get(client).is_some_and(|(_, reply)| reply.is_outcome_alone())
            }
            // A participant's start brings many.
            Request::Message { message: ToCoordinator::Inquiry { .. }, .. } => true,
            Request::Submit(_)
            | Request::Begin(_)
            | Request::Join(_)
            | Request::Close { .. }
            | Request::Cancel { .. }
            | Request::Forget { .. }
            | Request::ResolveStep { .. }
            | Request::Message { .. } => false,
        }
    }

    /// Notes for the audit record who has asked for what a transaction begins, joins or ends with.
    fn note_who_asked(&mut self, tx: &TxId, note: &Note) {
        let action = if matches!(note, Note::Begun { .. } | Note::SagaBegun { .. }) {
            "submit"
        } else if matches!(note, Note::Opened) {
            "begin"
        } else if matches!(note, Note::Joined { .. }) {
            "join"
        } else if matches!(note, Note::CloseAsked) {
            "close"
        } else {
            return;
        };
        let Some((asked, origin)) = self.submitting.take_if(|(asked, _)| asked == tx) else { return };
        if matches!(note, Note::Begun { .. } | Note::SagaBegun { .. } | Note::Opened) {
            self.holders.begun(&asked, &origin.who);
        }
        self.audit.note_submission(&origin, action, &asked);
    }

    /// Hands on what has gathered: records to the log, messages to the sessions.
    pub(super) fn flush(&mut self) {
        for item in self.writes.ready() {
            match item {
                Item::Record(_, _, stage) => self.crash.reach(points::before_append(*stage)),
                Item::SeenTo(..) | Item::Listed(_) => {}
            }
        }
        self.writes.start(&self.log, &self.audit);
        for (name, link) in &mut self.links {
            if !link.outgoing.is_empty() {
                link.send(self.core.low_water_mark(name));
            }
        }
    }

    pub(super) fn handle_written(&mut self, done: Done) -> Result<(), LogError> {
        match done {
            Done::FlushDue | Done::AgainDue => {}
            Done::PutOff => self.look_after_room()?,
            Done::Stable(items) => {
                for item in items {
                    match item {
                        Item::Record(tx, attempt_number, stage) => self.handle_appended(tx, attempt_number, stage)?,
                        Item::SeenTo(tx, client) => {
                            // It may have ended long before what was collected last.
                            self.collection.look_again();
                            self.handle_input(Input::Request(Request::Forget { tx, client }))?;
                        }
                        Item::Listed(reply) => {
                            // Whoever asked may have gone.
                            let _ = reply.send(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn handle_appended(&mut self, tx: TxId, attempt_number: AttemptNumber, stage: Stage) -> Result<(), LogError> {
        self.crash.reach(points::after_append(stage));
        self.traced.is_written(&*self.clock, &tx, stage);
        self.handle_input(Input::Appended { tx: tx.clone(), attempt_number, stage })?;
        // Written again after its end: there is nothing more to wait for.
        if stage == Stage::Ended && self.histories.holds(&tx) && self.core.view(&tx).is_none() {
            self.histories.forget(&tx);
        }
        Ok(())
    }
}
