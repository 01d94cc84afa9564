//! The engine's part once it is known whose log is the newest.

use super::Engine;
use super::writes::Item;
use crate::log::{Log, LogError};
use std::collections::BTreeSet;
use tokio::sync::oneshot;
use undoubt_coordinator_core::{Input, Part, Record, StillKnown, Unfinished, UnusableRecord};
use undoubt_platform::Batch;
use undoubt_platform::pulse::Life;
use undoubt_vocabulary::{AttemptNumber, Epoch, ParticipantName, TxId};

impl Engine {
    /// Begins to serve. What others know of attempts that the log lacks is held until an operator ends each.
    pub(super) fn handle_cleared(&mut self, epoch: Epoch, held: Vec<UnusableRecord>) -> Result<(), LogError> {
        self.trace_in(epoch);
        self.handle_input(Input::EpochTaken(epoch))?;
        self.tell_what_is_forgotten(epoch)?;
        for record in held {
            self.handle_input(Input::Recovered(Unfinished::Unusable(record)))?;
        }
        let (paused, open) = (self.config.start_paused, self.core.open_transactions());
        self.handle_input(Input::RecoveryDone { paused })?;
        tracing::info!(target: "undoubt::life", recovered = open, epoch = epoch.0, paused, "recovery done: the whole log was read");
        self.pulse.set_life(Life::Serving);
        Ok(())
    }

    /// Tells the core which records the log may lack. Where that was never noted, an older version may have dropped any of the starts
    /// before.
    fn tell_what_is_forgotten(&mut self, epoch: Epoch) -> Result<(), LogError> {
        let latest = match self.log.forgotten()? {
            Some(latest) => latest,
            None => {
                let latest = AttemptNumber::first_of(epoch).back(1);
                let mut batch = Batch::default();
                Log::put_forgotten(&mut batch, latest);
                self.writes.add_collected(batch);
                latest
            }
        };
        self.handle_input(Input::Forgotten { latest })
    }

    /// Remembers what a participant has lost of open transactions, for their ends. Answers how many, once everything is on
    /// stable storage that has ended until now.
    pub(super) fn handle_lost(
        &mut self,
        participant: &ParticipantName,
        known: &StillKnown,
        listed: oneshot::Sender<()>,
    ) -> usize {
        let lost = self.core.lost_at(participant, known);
        let found = lost.len();
        for (tx, parts) in lost {
            tracing::error!(%tx, %participant, lost = %names(&parts), "the participant was put back, and has lost its part of this open transaction: it will end as damaged");
            let all = self.lost.entry(tx.clone()).or_default();
            // It is asked again if its session ended before the loss was recorded.
            parts.into_iter().for_each(|part| {
                if !all.contains(&part) {
                    all.push(part)
                }
            });
            if let Err(error) = self.writes.add(None, true, |batch| Log::put_lost(batch, &tx, all)) {
                tracing::error!(%tx, %error, "what the participant has lost of it cannot be remembered across a restart");
            }
        }
        self.writes.add_forced(Log::barrier(), Some(Item::Listed(listed)));
        found
    }

    /// Lists ended transactions as damaged. Answers once that is on stable storage.
    pub(super) fn handle_damaged(
        &mut self,
        participant: &ParticipantName,
        lost: Vec<(TxId, Vec<Part>)>,
        listed: oneshot::Sender<()>,
    ) -> Result<(), LogError> {
        for (tx, parts) in lost {
            let Some(ended) = self.log.ended_without_large_results(&tx)? else { continue };
            tracing::error!(%tx, %participant, lost = %names(&parts), "damaged: the participant was put back, and has lost its part");
            if let Err(error) = self.writes.add(None, true, |batch| Log::put_damage(batch, ended, &parts)) {
                tracing::error!(%tx, %error, "it cannot be listed as damaged");
            }
        }
        self.writes.add_forced(Log::barrier(), Some(Item::Listed(listed)));
        Ok(())
    }

    /// Returns the participants that the configuration or an open transaction names. One that has no address has to be accepted as
    /// absent, should it matter.
    pub(crate) fn concerned(&self) -> BTreeSet<ParticipantName> {
        self.links.keys().chain(self.core.with_open()).cloned().collect()
    }

    /// Drops what was lost of transactions that are not open any more: they were not decided when this process ended.
    pub(super) fn forget_lost_of_what_is_over(&mut self) {
        for (tx, _) in self.lost.extract_if(.., |tx, _| self.core.view(tx).is_none()) {
            let mut over = Batch::default();
            Log::delete_lost(&mut over, &tx);
            self.writes.add_collected(over);
        }
    }

    /// Adds to the record of an end what participants have lost of it. Returns true if something was remembered as lost.
    pub(super) fn lose(&mut self, record: &mut Record) -> bool {
        let Record::Ended(ended) = record else { return false };
        let lost = self.lost.remove(&ended.tx);
        ended.lose(lost.as_deref().unwrap_or_default());
        lost.is_some()
    }
}

fn names(parts: &[Part]) -> String {
    parts.iter().map(|part| part.name().to_owned()).collect::<Vec<_>>().join(", ")
}
