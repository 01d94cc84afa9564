//! Following events as they happen.

use crate::client::Client;
use crate::connection::Repeat;
use crate::error::QueryError;
use crate::retry::{Pauses, Verdict, explain, judge};
use crate::view::{HistoryEvent, tx};
use futures::{Stream, stream};
use tokio::time::sleep;
use tonic::Streaming;
use undoubt_proto::convert::Malformed;
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;

#[derive(Clone, Debug)]
pub enum Watched {
    Event {
        tx: TxId,
        event: HistoryEvent,
    },
    /// Events were lost here, because they were not read fast enough. Of whichever transaction, so perhaps of others only.
    Lost {
        events: u64,
    },
    /// The connection broke and will be made anew. Events may be missing.
    Interrupted {
        cause: String,
    },
}

impl Client {
    /// Events of one transaction, or of all, from now on. It goes on until the coordinator ends it for one transaction,
    /// or until it cannot be reached within [`crate::ClientOptions::deadline`]; an error is its last item.
    pub fn watch(&self, tx: Option<TxId>) -> impl Stream<Item = Result<Watched, QueryError>> + Send + 'static {
        let pauses = Pauses::new(&self.connection.options, &tx);
        let watcher = Watcher { client: self.clone(), tx, events: None, next: None, fresh: pauses.clone(), pauses };
        stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(Some(watched)) => Some((Ok(watched), Some(watcher))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

struct Watcher {
    client: Client,
    tx: Option<TxId>,
    events: Option<Streaming<v1::WatchResponse>>,
    /// Came with what was told last.
    next: Option<Watched>,
    fresh: Pauses,
    pauses: Pauses,
}

impl Watcher {
    async fn next(&mut self) -> Result<Option<Watched>, QueryError> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        let events = match &mut self.events {
            Some(events) => events,
            None => {
                let events = open(&self.client, self.tx.as_ref()).await?;
                self.events.insert(events)
            }
        };
        let cause = match events.message().await {
            Ok(Some(response)) => {
                self.pauses = self.fresh.clone();
                return Ok(Some(self.told(response)?));
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
        Ok(Some(Watched::Interrupted { cause }))
    }

    /// Returns what a response says: events lost, an event, or first the one and then, at the next call, the other.
    fn told(&mut self, response: v1::WatchResponse) -> Result<Watched, Malformed> {
        let v1::WatchResponse { tx: about, event, lost } = response;
        let event = event.map(|event| Ok(Watched::Event { tx: tx(about)?, event: event.try_into()? })).transpose()?;
        match (event, lost) {
            (None, 0) => Err(Malformed::Missing { field: "event" }),
            (Some(event), 0) => Ok(event),
            (event, events) => {
                self.next = event;
                Ok(Watched::Lost { events })
            }
        }
    }
}

async fn open(client: &Client, tx: Option<&TxId>) -> Result<Streaming<v1::WatchResponse>, QueryError> {
    let request = v1::WatchRequest { tx: tx.map(TxId::to_bytes).unwrap_or_default() };
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
    async fn a_broken_watch_says_so_and_goes_on_until_its_transaction_ends() {
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
        assert_eq!(event.at.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_lost_events_is_told_how_many_and_goes_on() {
        let event = v1::HistoryEvent { event: "begun".to_owned(), ..v1::HistoryEvent::default() };
        let server = TestServer::watched(vec![
            v1::WatchResponse { lost: 7, ..v1::WatchResponse::default() },
            v1::WatchResponse { tx: "tx".into(), event: Some(event), lost: 2 },
        ]);
        let watched: Vec<_> = server.client(quick()).watch(Some("tx".parse().unwrap())).collect().await;
        let [Ok(Watched::Lost { events: 7 }), Ok(Watched::Lost { events: 2 }), Ok(Watched::Event { .. })] =
            watched.as_slice()
        else {
            panic!("{watched:?}");
        };
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_cannot_be_opened_ends_with_an_error() {
        let watched: Vec<_> = TestServer::unreachable().client(quick()).watch(None).collect().await;
        assert!(matches!(watched.as_slice(), [Err(QueryError::Unanswered(_))]), "{watched:?}");
    }
}
