//! The time limits of sagas that began at this participant.

use super::super::store::{Carried, LocalTransaction};
use super::{LOCK_TIMEOUT, Runner, is_passing, moved};
use crate::resource::ResourceError;
use std::time::Duration;
use undoubt_vocabulary::TxId;

/// The period in which it is looked which timers are due.
pub(super) const TIMER_PERIOD: Duration = Duration::from_millis(100);

impl Runner {
    /// Publishes all that is due.
    pub(super) async fn fire_due(&mut self) -> Result<(), ResourceError> {
        loop {
            let now = self.surroundings.clock.now();
            let (store, subject) = (self.surroundings.store.clone(), self.subject.clone());
            let next = match self.waiting(Box::pin(async move { store.next_timer(subject.name()).await })).await {
                // It is looked for again in the next period.
                Err(not_now) if is_passing(&not_now) => return Ok(()),
                next => next?,
            };
            let Some((timer, key)) = next.filter(|(timer, _)| timer.due <= now) else { return Ok(()) };
            let id = timer.id.clone();
            let barrier = self.barrier(&id).await?;
            let transaction = LocalTransaction {
                id: TxId::new(&key).unwrap_or_else(|_| "timer".parse().expect("it is an id")),
                correlation: id.correlation.clone(),
                begun_at: now,
                timeout: LOCK_TIMEOUT,
                work: None,
                advances: Vec::new(),
                place: None,
                timer: Some(key),
                barrier: Some(id.clone()),
                parked: Vec::new(),
                asking: None,
                then: Box::new(move |_| Ok(timer.due(barrier.as_ref()))),
            };
            let store = self.surroundings.store.clone();
            match self.waiting(Box::pin(async move { store.carry_out(transaction).await })).await {
                // The next one is looked for once this one is gone.
                Ok(Carried::Done { written, .. }) => self.waiting(written).await?,
                Ok(Carried::Refused(refusal)) => {
                    tracing::error!(subscription = %self.subscription, correlation = %id.correlation, %refusal, "what is published when a time is over is refused; it is tried again");
                    return Ok(());
                }
                Ok(Carried::Moved { inbox, stored }) => return Err(moved(&inbox, stored)),
                Err(ResourceError::Unavailable { .. } | ResourceError::NoRoom) => return Ok(()),
                Err(
                    error @ (ResourceError::Unclear { .. }
                    | ResourceError::Foreign { .. }
                    | ResourceError::Stopped { .. }
                    | ResourceError::Fenced { .. }),
                ) => return Err(error),
            }
        }
    }
}
