//! Following events as they happen.

use crate::client::Client;
use crate::connection::Repeat;
use crate::error::QueryError;
use crate::listing::Cursor;
use crate::retry::{Pauses, Verdict, explain, judge};
use crate::view::{HistoryEvent, tx};
use futures::{Stream, stream};
use std::collections::VecDeque;
use tokio::time::sleep;
use tonic::Streaming;
use undoubt_proto::convert::Malformed;
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;

/// What a watch tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Watched {
    /// Something happened to a transaction.
    Event {
        /// The transaction.
        tx: TxId,
        /// What happened.
        event: HistoryEvent,
        /// The place behind this event, for a watch that goes on there.
        cursor: Cursor,
    },
    /// Events were lost here, because they were not read fast enough or the watch was interrupted for too long. Of whichever
    /// transaction, so perhaps of others only.
    Lost {
        /// The number of events.
        events: u64,
    },
    /// The coordinator was started anew since the last event. What happened until it stopped, and was not told, is lost with its
    /// memory; the history of each transaction has it.
    Restarted,
    /// The connection broke and is made anew. What happens meanwhile is told then, or how much of it is lost.
    Interrupted {
        /// The reason, for people.
        cause: String,
    },
}

impl Client {
    /// Returns the events of one transaction, or of all, from now on. It goes on until the coordinator ends it for one
    /// transaction, or until it cannot be reached within [`crate::ClientOptions::deadline`]; an error is its last item. A
    /// connection that breaks is made anew, and the watch goes on where it was.
    pub fn watch(&self, tx: Option<TxId>) -> impl Stream<Item = Result<Watched, QueryError>> + Send + 'static {
        self.watch_after(tx, None)
    }

    /// Returns the events behind a cursor that an earlier watch of the same coordinator gave, as [`Client::watch`] does.
    pub fn watch_after(
        &self,
        tx: Option<TxId>,
        cursor: Option<Cursor>,
    ) -> impl Stream<Item = Result<Watched, QueryError>> + Send + 'static {
        Watcher::new(self, tx, cursor, None).told()
    }

    /// Returns the events as [`Client::watch_after`] does, once the coordinator has taken the watch: else the error.
    pub async fn open_watch(
        &self,
        tx: Option<TxId>,
        cursor: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<Watched, QueryError>> + Send + use<>, QueryError> {
        let events = open(self, tx.as_ref(), cursor.as_ref()).await?;
        Ok(Watcher::new(self, tx, cursor, Some(events)).told())
    }
}

struct Watcher {
    client: Client,
    tx: Option<TxId>,
    /// Where the watch goes on if it has to be opened anew.
    cursor: Option<Cursor>,
    events: Option<Streaming<v1::WatchResponse>>,
    /// What the last response said, as far as it is not told yet.
    told: VecDeque<Watched>,
    fresh: Pauses,
    pauses: Pauses,
}

impl Watcher {
    fn new(
        client: &Client,
        tx: Option<TxId>,
        cursor: Option<Cursor>,
        events: Option<Streaming<v1::WatchResponse>>,
    ) -> Watcher {
        let pauses = Pauses::new(&client.connection.options, &tx);
        Watcher { client: client.clone(), tx, cursor, events, told: VecDeque::new(), fresh: pauses.clone(), pauses }
    }

    fn told(self) -> impl Stream<Item = Result<Watched, QueryError>> + Send + 'static {
        stream::unfold(Some(self), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(Some(watched)) => Some((Ok(watched), Some(watcher))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Watched>, QueryError> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(Some(told));
            }
            let events = match &mut self.events {
                Some(events) => events,
                None => {
                    let events = open(&self.client, self.tx.as_ref(), self.cursor.as_ref()).await?;
                    self.events.insert(events)
                }
            };
            let cause = match events.message().await {
                Ok(Some(response)) => {
                    self.pauses = self.fresh.clone();
                    self.take(response)?;
                    continue;
                }
                Ok(None) if self.tx.is_some() => return Ok(None),
                Ok(None) => "the coordinator ended the stream".to_owned(),
                Err(status) => match judge(&status) {
                    Verdict::Final => return Err(status.into()),
                    Verdict::Again { .. } => explain(&status),
                },
            };
            self.events = None;
            sleep(self.pauses.next(None)).await;
            return Ok(Some(Watched::Interrupted { cause }));
        }
    }

    /// Takes what a response says, in its order: a restart, events lost, an event.
    fn take(&mut self, response: v1::WatchResponse) -> Result<(), Malformed> {
        let v1::WatchResponse { tx: about, event, lost, cursor, restarted } = response;
        if cursor.is_empty() {
            return Err(Malformed::Missing { field: "cursor" });
        }
        self.told.extend(restarted.then_some(Watched::Restarted));
        self.told.extend((lost > 0).then_some(Watched::Lost { events: lost }));
        let cursor = Cursor(cursor);
        if let Some(event) = event {
            self.told.push_back(Watched::Event { tx: tx(about)?, event: event.try_into()?, cursor: cursor.clone() });
        }
        self.cursor = Some(cursor);
        Ok(())
    }
}

async fn open(
    client: &Client,
    tx: Option<&TxId>,
    after: Option<&Cursor>,
) -> Result<Streaming<v1::WatchResponse>, QueryError> {
    let request = v1::WatchRequest {
        tx: tx.map(TxId::to_bytes).unwrap_or_default(),
        after: after.map(|cursor| cursor.0.clone()).unwrap_or_default(),
    };
    let attempt = || {
        let (mut coordinator, request) = (client.coordinator(), request.clone());
        async move { coordinator.watch(request).await }
    };
    let connection = &client.connection;
    let events = connection.call(connection.deadline(), Repeat::Always, tx, attempt).await;
    events.map_err(|failure| match tx {
        Some(tx) => QueryError::about(tx, failure),
        None => failure.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{Reply, TestServer, quick};
    use futures::StreamExt;
    use tonic::Status;

    #[tokio::test(start_paused = true)]
    async fn a_broken_watch_says_so_and_goes_on_behind_its_last_event_until_its_transaction_ends() {
        let server = TestServer::one(|call| match call {
            0 => Reply::Break(Status::unavailable("stopping")),
            _ => Reply::Commit,
        });
        let watched: Vec<_> = server.client(quick()).watch(Some("tx".parse().unwrap())).collect().await;
        let [Ok(Watched::Event { .. }), Ok(Watched::Interrupted { cause }), Ok(Watched::Event { event, .. })] =
            watched.as_slice()
        else {
            panic!("{watched:?}");
        };
        assert!(cause.contains("stopping"));
        assert_eq!((event.at.0, event.detail.as_str()), (1, "behind b\"call 0\""));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_lost_events_is_told_how_many_and_goes_on() {
        let event = v1::HistoryEvent { kind: v1::EventKind::Begun.into(), ..v1::HistoryEvent::default() };
        let server = TestServer::watched(vec![
            v1::WatchResponse { cursor: "1".into(), ..v1::WatchResponse::default() },
            v1::WatchResponse { lost: 7, cursor: "2".into(), restarted: true, ..v1::WatchResponse::default() },
            v1::WatchResponse { tx: "tx".into(), event: Some(event), lost: 2, cursor: "3".into(), restarted: false },
        ]);
        let watched: Vec<_> = server.client(quick()).watch(Some("tx".parse().unwrap())).collect().await;
        let [
            Ok(Watched::Restarted),
            Ok(Watched::Lost { events: 7 }),
            Ok(Watched::Lost { events: 2 }),
            Ok(Watched::Event { cursor, .. }),
        ] = watched.as_slice()
        else {
            panic!("{watched:?}");
        };
        assert_eq!(cursor.to_string(), "33", "in hexadecimal digits");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_cannot_be_opened_ends_with_an_error() {
        let watched: Vec<_> = TestServer::unreachable().client(quick()).watch(None).collect().await;
        assert!(matches!(watched.as_slice(), [Err(QueryError::Unanswered(_))]), "{watched:?}");
    }
}
