//! Writes that have to be made, whenever the store can.

use std::time::Duration;

use super::{Batch, Durability, Store, StoreError};

/// The pause before a write is repeated; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The pauses between repetitions of one write. They are not spread, for a store has one owner.
#[derive(Clone, Copy, Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Pauses(FIRST_PAUSE)
    }
}

impl Pauses {
    /// Returns the pause before the next repetition.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(MAX_PAUSE);
        pause
    }

    /// Returns once that is over.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }
}

/// Writes a batch, and writes it again after a pause for as long as the store cannot take it now. For what has to be written
/// before anything else goes on; whoever waits for this decides how long.
///
/// # Errors
/// Those of the store but [`StoreError::Unavailable`].
pub async fn write_until_taken(store: &dyn Store, batch: Batch, durability: Durability) -> Result<(), StoreError> {
    let mut pauses = Pauses::default();
    loop {
        let cause = match store.write(batch.clone(), durability).await {
            Err(StoreError::Unavailable { cause }) => cause,
            done => return done,
        };
        tracing::warn!(%cause, "the store cannot be written now; it is tried again");
        pauses.pause().await;
    }
}
