//! What the engine does when it is known whose log is the newest.

use super::Engine;
use crate::log::{Log, LogError};
use tokio::sync::oneshot;
use undoubt_coordinator_core::{Input, Unfinished, UnusableRecord};
use undoubt_platform::Durability;
use undoubt_vocabulary::{BranchOutcome, Epoch, ParticipantName, TxId};

impl Engine {
    /// Begins to serve. What others know of attempts that the log lacks is held until an operator ends each.
    pub(super) fn cleared(&mut self, epoch: Epoch, held: Vec<UnusableRecord>) -> Result<(), LogError> {
        self.put(Input::EpochTaken(epoch))?;
        for record in held {
            self.put(Input::Recovered(Unfinished::Unusable(record)))?;
        }
        let (paused, open) = (self.config.start_paused, self.core.open_transactions());
        self.put(Input::RecoveryDone { paused })?;
        tracing::info!(target: "undoubt::life", recovered = open, epoch = epoch.0, paused, "recovery done: the whole log was read");
        Ok(())
    }

    /// Lists ended transactions as damaged. Answers once that is on stable storage.
    pub(super) fn lost(
        &mut self,
        participant: &ParticipantName,
        txs: Vec<TxId>,
        reply: oneshot::Sender<()>,
    ) -> Result<(), LogError> {
        let mut batch = undoubt_platform::Batch::default();
        for tx in txs {
            let Some(ended) = self.log.ended(&tx)? else { continue };
            tracing::error!(%tx, %participant, "damaged: the participant was put back, and has lost its part");
            Log::damage(&mut batch, &ended, participant, BranchOutcome::Unknown);
        }
        // Behind what is gathered, which it must not overtake.
        self.flush();
        let written = self.log.write(batch, Durability::Forced);
        tokio::spawn(async move {
            if written.await.is_ok() {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        });
        Ok(())
    }
}
