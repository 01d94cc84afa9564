//! The floor of a source: where a subscription begins behind what was dropped, or goes on at an operator's word.

use super::super::reading::From;
use super::super::store::{Carried, LocalTransaction, Place};
use super::{LOCK_TIMEOUT, Runner, moved};
use crate::resource::ResourceError;
use std::time::Duration;
use tokio::time::timeout;
use undoubt_proto::v1;
use undoubt_stream::barrier::Written;
use undoubt_stream::inbox::Watermark;
use undoubt_vocabulary::{ParticipantName, Position};

/// The time in which a source answers whether it has what is read next.
const RESUME_TIMEOUT: Duration = Duration::from_secs(10);

impl Runner {
    /// Goes on from another position of a source that is not read. Returns that position; `Err` says why not.
    pub(super) async fn resume(
        &mut self,
        from: &ParticipantName,
        after: Option<Position>,
    ) -> Result<Result<Position, String>, ResourceError> {
        let Some(reading) = self.sources.get(from).cloned() else {
            let known = self.sources.keys().map(ParticipantName::as_str).collect::<Vec<_>>().join(", ");
            return Ok(Err(format!("{from} is no source of this subscription; its sources are: {known}")));
        };
        if !self.stopped.contains(from) {
            let why = "only where it has stopped may events be passed over";
            return Ok(Err(format!("the subscription has not stopped reading {from}; {why}")));
        }
        let reader = reading.reader.as_str().to_owned();
        let asked = after.map_or(0, |after| after.0);
        let request = v1::KeepEventsRequest { reader, after: asked, incarnation: bytes::Bytes::new(), anew: true };
        let kept = timeout(RESUME_TIMEOUT, reading.sources.keep(from, request)).await;
        let floor = match kept {
            Ok(Ok(v1::KeepEventsResponse { trimmed })) => after.unwrap_or(Position(trimmed)).max(Position(trimmed)),
            Ok(Err(status)) => {
                return Ok(Err(format!("{from} does not have what is to be read: {}", status.message())));
            }
            Err(_) => return Ok(Err(format!("{from} does not answer within {RESUME_TIMEOUT:?}; try again"))),
        };
        if !self.set_floor(from, floor).await? {
            return Ok(Err("it cannot be written now where the subscription goes on; try again".to_owned()));
        }
        self.stopped.remove(from);
        self.told.push(reading.after(From { place: Watermark(None), floor }));
        Ok(Ok(floor))
    }

    /// Stores that everything up to a position of a source counts as dealt with, and what its watermarks say for nothing. Returns false if
    /// that cannot be written now.
    pub(super) async fn set_floor(&mut self, from: &ParticipantName, floor: Position) -> Result<bool, ResourceError> {
        let given_up = self.state.given_up(from);
        let advances = given_up.iter().map(|(source, advance)| (self.inbox(source), *advance)).collect();
        let (subscription, watermark) = (self.subscription.clone(), Watermark(None));
        let transaction = LocalTransaction {
            id: "floor".parse().expect("it is an id"),
            correlation: "floor".parse().expect("it is an id"),
            begun_at: self.surroundings.clock.now(),
            timeout: LOCK_TIMEOUT,
            work: None,
            advances,
            place: Some(Place { subscription, from: from.clone(), watermark, floor }),
            timer: None,
            barrier: None,
            parked: Vec::new(),
            then: Box::new(|_| Ok(Written::default())),
        };
        let store = self.surroundings.store.clone();
        match self.waiting(Box::pin(async move { store.carry_out(transaction).await })).await {
            Ok(Carried::Done { written, .. }) => {
                self.waiting(written).await?;
                given_up.iter().for_each(|(source, advance)| self.state.advanced(source, *advance));
                self.state.set_floor(from.clone(), floor);
                self.places.remove(from);
                Ok(true)
            }
            Ok(Carried::Refused(_)) | Err(ResourceError::Unavailable { .. } | ResourceError::NoRoom) => Ok(false),
            Ok(Carried::Moved { inbox, stored }) => Err(moved(&inbox, stored)),
            Err(
                error @ (ResourceError::Unclear { .. }
                | ResourceError::Foreign { .. }
                | ResourceError::Stopped { .. }
                | ResourceError::Fenced { .. }),
            ) => Err(error),
        }
    }
}
