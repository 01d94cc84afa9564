//! HTTP/2 and gRPC: real servers in memory, each with one connection, and a client that is answered.

use crate::network::{PIPE_BYTES, Says, converse, said, tap};
use crate::{Target, says_why};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint, Uri};
use undoubt_client::{Client, ClientOptions, Filter, ListQuery, Transaction};
use undoubt_coordinator::connect::ConnectError;
use undoubt_coordinator::{Connect, log};
use undoubt_kv::{FAMILIES, KeyValue, KeyValueOptions};
use undoubt_platform::dial::{self, Dial};
use undoubt_platform::pulse::Pulse;
use undoubt_platform::server::boxed;
use undoubt_platform::store::memory::Memory;
use undoubt_platform::{
    Access, Connection, CrashPoints, Incoming, Metrics, SecretKey, SeededRandom, SystemClock, Traces,
};
use undoubt_proto::v1;
use undoubt_proto::v1::participant_admin_client::ParticipantAdminClient;
use undoubt_proto::v1::participant_client::ParticipantClient;
use undoubt_work::kv::KvWork;

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "coordinator-connection", decode: coordinator_connection, growth: 4_096, seeds: of_clients },
    Target { name: "participant-connection", decode: participant_connection, growth: 4_096, seeds: of_coordinators },
    Target { name: "client-connection", decode: client_connection, growth: 4_096, seeds: answers },
];

/// Nobody is reached.
struct Nobody;

impl Connect for Nobody {
    fn open(
        &self,
        _address: &str,
        _outgoing: mpsc::Receiver<v1::CoordinatorBatch>,
    ) -> BoxFuture<'static, Result<undoubt_coordinator::connect::Incoming, ConnectError>> {
        Box::pin(pending())
    }

    fn recall(
        &self,
        _address: &str,
        _request: v1::RecallRequest,
    ) -> BoxFuture<'static, Result<v1::RecallResponse, ConnectError>> {
        Box::pin(pending())
    }
}

/// Serves one connection until it has ended.
async fn coordinate(connection: DuplexStream, ended: BoxFuture<'static, ()>) {
    let participant = undoubt_coordinator::ParticipantAddress {
        name: "bank-a".to_owned(),
        address: "http://127.0.0.1:7501".to_owned(),
    };
    let config = undoubt_coordinator::Config {
        participants: vec![participant],
        drain_timeout_ms: 1,
        ..undoubt_coordinator::Config::default()
    };
    let environment = undoubt_coordinator::Environment {
        store: Arc::new(Memory::default().open(log::FAMILIES).expect("it is new")),
        folder_sign: None,
        clock: Arc::new(SystemClock),
        random: Arc::new(SeededRandom::new(1)),
        key: Arc::new(SecretKey::draw(&SeededRandom::new(2))),
        connect: Arc::new(Nobody),
        dial: Arc::new(Says(Vec::new())),
        callback_secret: None,
        incoming: one(connection),
        crash: CrashPoints::default(),
        metrics: Metrics::default(),
        access: Access::open(),
        changes: undoubt_coordinator::Changes::none(),
        pulse: Pulse::default(),
        traces: Traces::default(),
    };
    undoubt_coordinator::run(config, environment, ended).await.expect("a client ends no server");
}

async fn participate(connection: DuplexStream, ended: BoxFuture<'static, ()>) {
    let config = undoubt_participant::Config { name: "bank-a".to_owned(), ..undoubt_participant::Config::default() };
    let environment = undoubt_participant::Environment {
        subscribing: None,
        clock: Arc::new(SystemClock),
        random: Arc::new(SeededRandom::new(1)),
        dial: Arc::new(Says(Vec::new())),
        incoming: one(connection),
        crash: CrashPoints::default(),
        metrics: Metrics::default(),
        access: Access::open(),
        pulse: Pulse::default(),
        traces: Traces::default(),
    };
    let store = Arc::new(Memory::default().open(&FAMILIES).expect("it is new"));
    let resource = Arc::new(KeyValue::new(store, KeyValueOptions::default()));
    undoubt_participant::run(config, resource, environment, ended).await.expect("a client ends no server");
}

/// Returns one connection as it comes in.
fn one(connection: DuplexStream) -> Incoming {
    boxed(futures::stream::iter([Ok::<_, io::Error>(connection)]).chain(futures::stream::pending()))
}

fn coordinator_connection(input: &[u8]) {
    converse(async {
        let (connection, ended) = said(input);
        coordinate(connection, ended).await;
    });
}

fn participant_connection(input: &[u8]) {
    converse(async {
        let (connection, ended) = said(input);
        participate(connection, ended).await;
    });
}

fn options() -> ClientOptions {
    ClientOptions::default().deadline(Duration::from_millis(50))
}

fn client_connection(input: &[u8]) {
    converse(async {
        let channel = dial::connect_lazily(Endpoint::from_static("http://server:1"), Arc::new(Says(input.to_vec())));
        let client = Client::with_channel(channel, options());
        if let Err(why) = client.list(&ListQuery::of(Filter::All)).await {
            says_why(&why, input);
        }
    });
}

/// A dialler that gives its one connection.
struct Gives(Mutex<Option<DuplexStream>>);

impl Dial for Gives {
    fn dial(&self, _address: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        let given = self.0.lock().expect("nobody panics while it is locked").take();
        Box::pin(async move { given.map(Connection::over).ok_or(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// Returns what either side of a conversation says, the client's first.
fn recorded<S, C>(
    serve: impl FnOnce(DuplexStream, BoxFuture<'static, ()>) -> S,
    ask: impl FnOnce(Channel) -> C,
) -> (Vec<u8>, Vec<u8>)
where
    S: Future<Output = ()> + Send + 'static,
    C: Future<Output = ()>,
{
    let (mut up, mut down) = (Vec::new(), Vec::new());
    converse(async {
        let (client, tapped_client) = duplex(PIPE_BYTES);
        let (server, tapped_server) = duplex(PIPE_BYTES);
        let serving = tokio::spawn(serve(server, Box::pin(pending())));
        let gives = Arc::new(Gives(Mutex::new(Some(client))));
        let channel = dial::connect_lazily(Endpoint::from_static("http://server:1"), gives);
        let asking = async {
            ask(channel).await;
            // What is under way between the two is heard.
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        tokio::select! {
            () = asking => {}
            () = tap(tapped_client, tapped_server, &mut up, &mut down) => {}
        }
        serving.abort();
    });
    (up, down)
}

fn of_clients() -> Vec<Vec<u8>> {
    let submit = |client: Client| async move {
        let transaction = Transaction::with_id("order-17".parse().expect("it is an id"));
        let transaction = transaction.on("bank-a", KvWork::new().get("alice"));
        // The participant is not reached, so it has no outcome.
        let _ = client.submit_no_wait(transaction).await;
        let _ = client.describe().await;
    };
    let submitted = recorded(coordinate, |channel| submit(Client::with_channel(channel, options())));
    vec![submitted.0, listed().0]
}

fn listed() -> (Vec<u8>, Vec<u8>) {
    recorded(coordinate, |channel| async move {
        let client = Client::with_channel(channel, options());
        // Whatever is answered is what is wanted here.
        let _ = client.list(&ListQuery::of(Filter::All)).await;
    })
}

fn answers() -> Vec<Vec<u8>> {
    vec![listed().1]
}

fn of_coordinators() -> Vec<Vec<u8>> {
    let session = recorded(participate, |channel| async move {
        let hello = v1::Hello {
            protocol_version: 1,
            newest_protocol_version: 1,
            coordinator_id: vec![7; 16].into(),
            coordinator_name: "c".to_owned(),
            participant_name: "bank-a".to_owned(),
            epoch: 3,
            ..v1::Hello::default()
        };
        let batch = v1::CoordinatorBatch { hello: Some(hello), ..v1::CoordinatorBatch::default() };
        let mut client = ParticipantClient::new(channel);
        let session = client.session(futures::stream::iter([batch])).await;
        let _ = session.expect("it is a participant").into_inner().message().await;
    });
    let described = recorded(participate, |channel| async move {
        let mut client = ParticipantAdminClient::new(channel);
        let _ = client.describe(v1::DescribeParticipantRequest::default()).await;
        let _ = client.list_branches(v1::ListBranchesRequest::default()).await;
    });
    vec![session.0, described.0]
}
