//! A participant that holds nothing: it votes and acknowledges when it is told to, so that one thing can be measured
//! alone, or something be held up on purpose.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use undoubt_proto::v1::participant_server::{Participant, ParticipantServer};
use undoubt_proto::v1::{
    BranchOutcome, CoordinatorBatch, Finished, ParticipantBatch, RecallRequest, RecallResponse, ToCoordinator,
    ToParticipant, Vote, Welcome, to_coordinator, to_participant, vote,
};

/// Batches between it and the stream.
const MAX_BATCHES_UNDER_WAY: usize = 2;

/// The manner of a stand-in for now; it may change while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// The time before each batch is answered. Batches do not wait for each other.
    pub delay: Duration,
    pub votes: bool,
    pub acknowledges: bool,
}

#[derive(Debug)]
pub struct StandIn {
    pub name: String,
    pub url: String,
    manner: watch::Sender<Manner>,
    serving: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StandIn {
    pub async fn start(name: &str, manner: Manner) -> anyhow::Result<StandIn> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (manner, seen) = watch::channel(manner);
        let service = Service { name: name.into(), manner: seen };
        let server = Server::builder().add_service(ParticipantServer::new(service).max_decoding_message_size(64 << 20));
        let serving = tokio::spawn(async move {
            // Whoever measures sees that it is gone.
            let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Ok(StandIn { name: name.to_owned(), url, manner, serving })
    }

    /// Changes the manner. What was not answered before is not answered now, unless it is asked again.
    pub fn now(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }
}

struct Service {
    name: Arc<str>,
    manner: watch::Receiver<Manner>,
}

#[tonic::async_trait]
impl Participant for Service {
    type SessionStream = BoxStream<'static, Result<ParticipantBatch, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<CoordinatorBatch>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let welcome = Welcome {
            protocol_version: 1,
            participant_name: self.name.to_string(),
            resource: "stand-in".to_owned(),
            max_work_bytes: 1 << 20,
            ..Welcome::default()
        };
        let (answers, stream) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
        let first = ParticipantBatch { welcome: Some(welcome), ..ParticipantBatch::default() };
        // The channel was made just now and has room.
        let _ = answers.try_send(Ok(first));
        tokio::spawn(converse(request.into_inner(), answers, self.manner.clone()));
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn recall(&self, _: Request<RecallRequest>) -> Result<Response<RecallResponse>, Status> {
        Err(Status::unimplemented("a stand-in remembers nobody"))
    }
}

async fn converse(
    mut incoming: impl Stream<Item = Result<CoordinatorBatch, Status>> + Unpin,
    answers: mpsc::Sender<Result<ParticipantBatch, Status>>,
    manner: watch::Receiver<Manner>,
) {
    while let Some(Ok(batch)) = incoming.next().await {
        let manner = *manner.borrow();
        let messages: Vec<ToCoordinator> =
            batch.messages.into_iter().filter_map(|asked| answer(asked, manner)).collect();
        if messages.is_empty() {
            continue;
        }
        let answers = answers.clone();
        let answering = async move {
            tokio::time::sleep(manner.delay).await;
            // The session may have ended.
            let _ = answers.send(Ok(ParticipantBatch { messages, ..ParticipantBatch::default() })).await;
        };
        tokio::spawn(answering);
    }
}

fn answer(asked: ToParticipant, manner: Manner) -> Option<ToCoordinator> {
    use to_coordinator::Body as Answer;
    use to_participant::Body;
    let body = match asked.body? {
        Body::Prepare(_) if manner.votes => {
            Answer::Vote(Vote { vote: Some(vote::Vote::Prepared(bytes::Bytes::new())) })
        }
        Body::Commit(_) if manner.acknowledges => {
            Answer::Finished(Finished { outcome: BranchOutcome::Committed.into() })
        }
        Body::Prepare(_)
        | Body::Commit(_)
        | Body::Confirm(_)
        | Body::Abort(_)
        | Body::Settle(_)
        | Body::Undecided(_)
        | Body::Noted(_)
        | Body::Run(_)
        | Body::Close(_) => return None,
    };
    Some(ToCoordinator { tx: asked.tx, attempt_number: asked.attempt_number, body: Some(body), emitted: None })
}
