//! What applications ask for: submitting transactions and following them.

mod answers;
pub(crate) mod listing;
mod many;
pub(crate) mod requests;
mod views;
mod watching;

use crate::callback::Callbacks;
use crate::config::Config;
use crate::engine::{Command, Following, Handle, Replied, View};
use crate::log::{Log, WeakLog};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_stream::Stream;
use tonic::{Extensions, Request, Response, Status, Streaming};
use undoubt_coordinator_core::{Answer, Rejection};
use undoubt_platform::Clock;
use undoubt_platform::Reason;
use undoubt_platform::access::{Caller, Role};
use undoubt_platform::audit::{Audit, Call, Origin, audited};
use undoubt_platform::server::{AnswerRoom, parse_tx};
use undoubt_proto::convert::Applied;
use undoubt_proto::v1;
use undoubt_proto::v1::coordinator_server::Coordinator;
use undoubt_vocabulary::limits::MAX_TX_ID_BYTES;
use undoubt_vocabulary::{Timestamp, TxId};

pub(crate) use answers::outcome_of;

/// Reads a submission, for the fuzzers.
pub(crate) fn parse_submission(request: v1::SubmitRequest, config: &Config) -> Result<(), Status> {
    requests::parse(request, config, &undoubt_platform::audit::Origin::default())?;
    Ok(())
}

/// Reads the beginning of an open saga, for the fuzzers.
pub(crate) fn parse_opening(request: v1::BeginRequest, who: Option<&str>, config: &Config) -> Result<(), Status> {
    let origin = Origin { who: who.map(Arc::from), ..Origin::default() };
    requests::parse_opening(request, config, &origin)?;
    Ok(())
}

/// Reads a step that is to join one, for the fuzzers.
pub(crate) fn parse_joining(request: v1::JoinRequest) -> Result<(), Status> {
    requests::parse_joining(request, &Origin::default())?;
    Ok(())
}

/// Reads a question for a list, for the fuzzers, and returns its cursor as it is written again.
pub(crate) fn parse_list(request: v1::ListRequest, now: Timestamp) -> Result<Option<Bytes>, Status> {
    Ok(listing::Query::parse(request, now)?.cursor())
}

/// How long an await waits if it does not say.
pub(crate) const DEFAULT_AWAIT_MS: u32 = 30_000;

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) engine: Handle,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<dyn Clock>,
    /// To read what has ended, beside the engine.
    pub(crate) log: WeakLog,
    /// Belongs to whoever runs the coordinator.
    pub(crate) callbacks: Weak<Callbacks>,
    pub(crate) audit: Weak<Audit>,
}

impl Service {
    fn callbacks(&self) -> Result<Arc<Callbacks>, Status> {
        self.callbacks.upgrade().ok_or_else(|| self.engine.gone().into())
    }

    fn submitter(&self, extensions: &Extensions) -> Submitter {
        Submitter { origin: Origin::of(extensions), audit: self.audit.clone() }
    }

    fn follow(&self, tx: &TxId, within: Option<Duration>) -> Option<(Following, Duration)> {
        within.map(|within| (self.engine.followed().follow(tx), within))
    }

    /// Returns an outcome with how far it is applied, once it is, if that was asked for.
    async fn applied(&self, outcome: v1::Outcome, followed: Option<(Following, Duration)>) -> v1::Outcome {
        let Some((following, within)) = followed else { return outcome };
        let applied = if outcome.state == i32::from(v1::State::Committed) {
            following.applied(within, self.engine.stopped()).await
        } else if outcome.closed || outcome.state == i32::from(v1::State::Aborted) {
            // The steps of a nested saga are completed; what was aborted owes nothing that could be waited for.
            Applied { everywhere: outcome.closed, tokens: following.tokens() }
        } else {
            return outcome;
        };
        v1::Outcome { applied: Some(applied.into()), ..outcome }
    }

    fn log(&self) -> Result<Log, Status> {
        self.log.log().ok_or_else(|| self.engine.gone().into())
    }

    /// The outcome that was replied, asked for again until there is room for it.
    async fn told(
        &self,
        (mut replied, mut room): (Replied, AnswerRoom),
        tx: TxId,
    ) -> Result<(v1::Outcome, AnswerRoom), Status> {
        while let Replied::Again(_) = replied {
            room.grow().await.map_err(|no_room| answers::decided_but(&no_room))?;
            let again = self.engine.ask_in(room, |reply| Command::Await { tx: tx.clone(), reply });
            (replied, room) = again.await?;
            if let Replied::Core(Answer::Rejected(Rejection::NotFound)) = replied {
                return Err(answers::collected());
            }
        }
        Ok((outcome_of(replied)?, room))
    }
}

/// Returns a copy of an id, which does not keep the whole request. What is too long stays too long, and is no id.
fn id_as_sent(tx: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&tx[..tx.len().min(MAX_TX_ID_BYTES + 1)])
}

/// A caller that submits, and the record of its refusals.
#[derive(Clone)]
struct Submitter {
    origin: Origin,
    audit: Weak<Audit>,
}

impl Submitter {
    /// Has the audit record count a submission that is refused, and returns what is told of it.
    fn refused(&self, tx: &Bytes, status: Status) -> Status {
        if let Some(audit) = self.audit.upgrade() {
            audit.note_refusal(&Call::new(self.origin.clone(), "submit").tx(tx), Reason::of(&status));
        }
        status
    }
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Coordinator for Service {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let room = AnswerRoom::of(request.extensions());
        let by = self.submitter(request.extensions());
        let request = requests::with_metadata(request);
        let id = id_as_sent(&request.tx);
        let refused = |status: Status| by.refused(&id, status);
        let within = requests::applied_within(request.applied_within_ms, request.no_wait);
        let within = within.map_err(|bad| refused(Status::from(bad)))?;
        let (request, callback) =
            requests::parse(request, &self.config, &by.origin).map_err(|bad| refused(Status::from(bad)))?;
        let tx = request.tx.clone();
        let followed = self.follow(&tx, within);
        let replied = match callback {
            Some(url) => {
                let submitted = self.callbacks()?.submit(request, url, room).await;
                submitted.map_err(|why| refused(answers::not_submitted(why)))?
            }
            None => self.engine.ask_in(room, |reply| Command::Submit { request, reply }).await?,
        };
        let is_refusal = replied.0.is_refusal();
        let told = self.told(replied, tx).await;
        let (outcome, room) = told.map_err(|status| if is_refusal { refused(status) } else { status })?;
        let outcome = self.applied(outcome, followed).await;
        Ok(room.respond(v1::SubmitResponse { outcome: Some(outcome) }))
    }

    type SubmitManyStream = Replies<v1::SubmitResponseBatch>;

    async fn submit_many(
        &self,
        request: Request<Streaming<v1::SubmitBatch>>,
    ) -> Result<Response<Self::SubmitManyStream>, Status> {
        let (room, by) = (AnswerRoom::of(request.extensions()), self.submitter(request.extensions()));
        let answers = many::serve(self.engine.clone(), self.config.clone(), request.into_inner(), room, by);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn begin(&self, request: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        let room = AnswerRoom::of(request.extensions());
        let by = self.submitter(request.extensions());
        let request = request.into_inner();
        let id = id_as_sent(&request.tx);
        let refused = |status: Status| by.refused(&id, status);
        let request =
            requests::parse_opening(request, &self.config, &by.origin).map_err(|bad| refused(Status::from(bad)))?;
        let tx = request.tx.clone();
        let replied = self.engine.ask_in(room, |reply| Command::Begin { request, reply }).await?;
        let is_refusal = replied.0.is_refusal();
        let told = self.told(replied, tx).await;
        let (outcome, room) = told.map_err(|status| if is_refusal { refused(status) } else { status })?;
        Ok(room.respond(v1::BeginResponse { outcome: Some(outcome) }))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let mut room = AnswerRoom::of(request.extensions());
        let by = self.submitter(request.extensions());
        let request = request.into_inner();
        let id = id_as_sent(&request.tx);
        let refused = |status: Status| by.refused(&id, status);
        let request = requests::parse_joining(request, &by.origin).map_err(|bad| refused(Status::from(bad)))?;
        loop {
            let asked = request.clone();
            let (replied, back) = self.engine.ask_in(room, |reply| Command::Join { request: asked, reply }).await?;
            room = back;
            if let Replied::Again(_) = replied {
                room.grow().await.map_err(|no_room| answers::decided_but(&no_room))?;
                continue;
            }
            let is_refusal = replied.is_refusal();
            let told = answers::joined(replied);
            return Ok(room.respond(told.map_err(|status| if is_refusal { refused(status) } else { status })?));
        }
    }

    async fn close(&self, request: Request<v1::CloseRequest>) -> Result<Response<v1::CloseResponse>, Status> {
        let room = AnswerRoom::of(request.extensions());
        let by = self.submitter(request.extensions());
        let v1::CloseRequest { tx, no_wait, applied_within_ms } = request.into_inner();
        let id = id_as_sent(&tx);
        let tx = parse_tx(tx)?;
        let within = requests::applied_within(applied_within_ms, no_wait).map_err(|bad| by.refused(&id, bad.into()))?;
        let followed = self.follow(&tx, within);
        let (asked, origin, wait) = (tx.clone(), by.origin.clone(), !no_wait);
        let replied = self.engine.ask_in(room, |reply| Command::Close { tx: asked, wait, origin, reply }).await?;
        let is_refusal = replied.0.is_refusal();
        let told = self.told(replied, tx).await;
        let (outcome, room) = told.map_err(|status| if is_refusal { by.refused(&id, status) } else { status })?;
        let outcome = self.applied(outcome, followed).await;
        Ok(room.respond(v1::CloseResponse { outcome: Some(outcome) }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Transaction>, Status> {
        let mut room = AnswerRoom::of(request.extensions());
        let tx = parse_tx(request.into_inner().tx)?;
        loop {
            let (wanted, mut taken) = (tx.clone(), room);
            let look = move |view: &View<'_>| {
                let open = match views::find_open(view, &wanted) {
                    Some(open) => Ok(taken.fit(open)),
                    None => Err(view.histories.heard_since_its_end(&wanted)),
                };
                (open, taken)
            };
            let (open, back) = self.engine.inspect(look).await?;
            room = back;
            // A transaction that is open no more is in the log by now: it leaves the engine once its end is stable.
            let found = match open {
                Ok(open) => open,
                Err(heard_since) => {
                    let ended = views::find_ended(&self.log()?, &tx, heard_since).map_err(answers::internal)?;
                    room.fit(ended.ok_or_else(|| answers::not_found("transaction"))?)
                }
            };
            match found {
                Some(transaction) => return Ok(room.respond(transaction)),
                None => room.grow().await?,
            }
        }
    }

    async fn r#await(&self, request: Request<v1::AwaitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let room = AnswerRoom::of(request.extensions());
        let v1::AwaitRequest { tx, timeout_ms } = request.into_inner();
        let tx = parse_tx(tx)?;
        let patience = Duration::from_millis(if timeout_ms == 0 { DEFAULT_AWAIT_MS } else { timeout_ms }.into());
        let asked = self.engine.ask_in(room, |reply| Command::Await { tx: tx.clone(), reply });
        let replied = tokio::time::timeout(patience, asked)
            .await
            .map_err(|_| Reason::NotDecidedYet.refuse("the transaction is not decided yet; ask again"))??;
        let (outcome, room) = self.told(replied, tx).await?;
        Ok(room.respond(v1::SubmitResponse { outcome: Some(outcome) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let mut room = AnswerRoom::of(request.extensions());
        let query = listing::Query::parse(request.into_inner(), self.clock.now())?;
        loop {
            // While it is put together it takes room as it will in the end.
            room.expect(query.most_bytes()).await?;
            let wanted = query.clone();
            let page = self.engine.inspect(move |view| listing::Page::of_open(view, wanted)).await?;
            let list = page.finish(&self.log()?).await.map_err(answers::internal)?;
            match room.fit(list) {
                Some(list) => return Ok(room.respond(list)),
                None => room.grow().await?,
            }
        }
    }

    type WatchStream = Replies<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let v1::WatchRequest { tx, after } = request.into_inner();
        let tx = if tx.is_empty() { None } else { Some(parse_tx(tx)?) };
        let after = watching::position(&after)?;
        let told = watching::watch(self.engine.clone(), &self.log, tx, after).await?;
        Ok(Response::new(Box::pin(told)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        let (room, caller) = (AnswerRoom::of(request.extensions()), Caller::of(request.extensions()));
        let (by_operator, origin) = (caller.has_any(&[Role::Operate]), Origin::from(caller));
        let v1::CancelRequest { tx } = request.into_inner();
        let call = Call::new(origin.clone(), "cancel").tx(&tx);
        audited(&self.audit, call, async {
            let tx = parse_tx(tx)?;
            let command = |reply| Command::Cancel { tx: tx.clone(), by_operator, origin, reply };
            let asked = self.engine.ask_in(room, command);
            let (outcome, room) = self.told(asked.await?, tx).await?;
            if outcome.state == i32::from(v1::State::Committed) {
                return Err(Reason::TooLate.refuse("it is too late to cancel: the transaction has committed"));
            }
            if outcome.closed {
                let why = "it is too late to cancel: the saga is closed, and ends with its parent; cancel that";
                return Err(Reason::TooLate.refuse(why));
            }
            Ok(room.respond(v1::CancelResponse { outcome: Some(outcome) }))
        })
        .await
    }
}
