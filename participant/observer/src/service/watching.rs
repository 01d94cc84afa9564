//! What happens, to whoever watches.

use super::{internal, not_found};
use crate::hub::Told;
use crate::service::views::event;
use crate::shared::Shared;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;
use undoubt_platform::Reason;
use undoubt_proto::v1;
use undoubt_vocabulary::CorrelationId;

/// The place behind something that happened: the start of the observer, and its number since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    epoch: u32,
    number: u64,
}

const CURSOR_BYTES: usize = 12;

/// Reads a cursor; empty bytes are none.
pub(super) fn position(cursor: &Bytes) -> Result<Option<Position>, Status> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let parts = cursor.split_first_chunk::<4>().and_then(|(epoch, number)| Some((epoch, number.first_chunk::<8>()?)));
    match parts {
        Some((epoch, number)) if cursor.len() == CURSOR_BYTES => {
            Ok(Some(Position { epoch: u32::from_be_bytes(*epoch), number: u64::from_be_bytes(*number) }))
        }
        Some(_) | None => Err(Reason::InvalidRequest
            .refuse_field("after", "this is no cursor of a watch; leave it out to begin with what happens next")),
    }
}

struct Watcher {
    shared: Arc<Shared>,
    tx: Option<CorrelationId>,
    last: watch::Receiver<u64>,
    number: u64,
    restarted: bool,
    is_begun: bool,
    is_over: bool,
}

/// Returns what happens to one saga or to all, from now on or from behind a cursor.
pub(super) fn watch(
    shared: Arc<Shared>,
    tx: Option<CorrelationId>,
    after: Option<Position>,
) -> Result<BoxStream<'static, Result<v1::WatchResponse, Status>>, Status> {
    let last = shared.hub.subscribe();
    let now = *last.borrow();
    let restarted = after.is_some_and(|after| after.epoch != shared.epoch);
    let number = match after {
        Some(after) if !restarted => after.number.min(now),
        Some(_) => 0,
        None => now,
    };
    let is_over = match &tx {
        Some(tx) => shared.find(tx).map_err(internal)?.ok_or_else(not_found)?.saga.end.is_some() && after.is_none(),
        None => false,
    };
    let watcher = Watcher { shared, tx, last, number, restarted, is_begun: false, is_over };
    let told = stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        match watcher.next().await {
            Some(Ok(told)) => Some((Ok(told), Some(watcher))),
            Some(Err(status)) => Some((Err(status), None)),
            None => None,
        }
    });
    Ok(told.boxed())
}

impl Watcher {
    fn cursor(&self) -> Bytes {
        [&self.shared.epoch.to_be_bytes()[..], &self.number.to_be_bytes()].concat().into()
    }

    async fn next(&mut self) -> Option<Result<v1::WatchResponse, Status>> {
        if !std::mem::replace(&mut self.is_begun, true) {
            let (cursor, restarted) = (self.cursor(), self.restarted);
            return Some(Ok(v1::WatchResponse { cursor, restarted, ..Default::default() }));
        }
        if self.is_over {
            return None;
        }
        let mut lost = 0;
        loop {
            self.last.borrow_and_update();
            while let Some((number, missed, Told { correlation, line, is_end })) = self.shared.hub.next(self.number) {
                self.number = number;
                lost += missed;
                let is_own = self.tx.as_ref().is_none_or(|tx| *tx == correlation);
                if is_own || lost > 0 {
                    self.is_over = is_own && is_end && self.tx.is_some();
                    return Some(Ok(v1::WatchResponse {
                        tx: if is_own { correlation.0.to_bytes() } else { Bytes::new() },
                        event: is_own.then(|| event(&line)),
                        lost,
                        cursor: self.cursor(),
                        restarted: false,
                    }));
                }
            }
            if let Some(tx) = &self.tx {
                // Its end may have been told before what is kept.
                match self.shared.find(tx) {
                    Ok(Some(found)) if found.saga.end.is_some() && self.shared.hub.next(self.number).is_none() => {
                        return None;
                    }
                    Ok(_) => {}
                    Err(error) => return Some(Err(internal(error))),
                }
            }
            if self.last.changed().await.is_err() {
                return Some(Err(Reason::Stopping.refuse("the observer is stopping; watch on at its next start")));
            }
        }
    }
}
