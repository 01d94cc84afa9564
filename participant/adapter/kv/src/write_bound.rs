//! The bound of what is handed to the store at a time.
//!
//! The store refuses what its queue has no room for. Large writes wait here instead, so that storage that is slower than its
//! callers slows them down. Small ones, such as aborts and low-water marks, are few bytes and do not wait.

use super::{KeyValue, publish};
use futures::FutureExt as _;
use futures::future::Either;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use undoubt_participant::resource::ResourceError;
use undoubt_platform::Batch;
use undoubt_proto::record::StoredEvent;
use undoubt_vocabulary::EventId;

/// Bytes of keys and values handed to the store and not written yet; below what a store's queue takes. A write that exceeds
/// it by itself comes when there is nothing else.
const MAX_WRITING_BYTES: usize = 24 << 20;

#[derive(Debug)]
pub(super) struct Writing(Arc<Semaphore>);

impl Default for Writing {
    fn default() -> Self {
        Writing(Arc::new(Semaphore::new(MAX_WRITING_BYTES)))
    }
}

/// Room for one write, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Writing {
    /// Returns room for so many bytes, if there is any now.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Permit> {
        let permit = self.0.clone().try_acquire_many_owned(permits(bytes)).ok()?;
        Some(Permit { _permit: permit })
    }

    /// Waits for room; in the order of those who do.
    pub(super) fn take(&self, bytes: usize) -> impl Future<Output = Permit> + use<> {
        let permit = self.0.clone().acquire_many_owned(permits(bytes));
        async move { Permit { _permit: permit.await.expect("the semaphore is never closed") } }
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.min(MAX_WRITING_BYTES)).expect("the bound is below 4 GiB")
}

impl KeyValue {
    /// Forces a batch with the events that it publishes, and returns these. It is queued before this returns if there is room for it, and otherwise once
    /// there is. For whoever holds the locks of what is written, since later writes may come before it.
    pub(super) fn publish_in_turn(
        &self,
        batch: Batch,
        events: Vec<StoredEvent>,
    ) -> impl Future<Output = Result<Vec<EventId>, ResourceError>> + use<> {
        let bytes = batch.payload_bytes() + publish::bytes_of(&events);
        match self.writing.try_take(bytes) {
            Some(permit) => {
                let stable = self.publish(batch, &events).stable();
                Either::Left(stable.map(move |published| {
                    drop(permit);
                    published
                }))
            }
            None => {
                let (permit, publisher) = (self.writing.take(bytes), self.publisher());
                // Only those who wait take room for it.
                Either::Right(Box::pin(async move {
                    let _permit = permit.await;
                    publisher.publish(batch, &events).stable().await
                }))
            }
        }
    }
}
