//! Talking to a coordinator as any gRPC client would.

use super::until;
use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use undoubt::cluster::{Cluster, Who};
use undoubt_client::Results;
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_proto::v1::coordinator_client::CoordinatorClient;
use undoubt_proto::v1::operator_client::OperatorClient;
use undoubt_proto::v1::participant_admin_client::ParticipantAdminClient;
use undoubt_vocabulary::limits::MAX_RESPONSE_BYTES;
use undoubt_vocabulary::{AbortReason, Outcome};
use undoubt_vocabulary::{CoordinatorPhase, TransactionPhase};

pub async fn channel(cluster: &Cluster, who: Who) -> Channel {
    let url = cluster.url(who).unwrap();
    Endpoint::from_shared(url).unwrap().connect().await.unwrap()
}

pub async fn coordinator(cluster: &Cluster) -> CoordinatorClient<Channel> {
    CoordinatorClient::new(channel(cluster, Who::Coordinator).await).max_decoding_message_size(MAX_RESPONSE_BYTES)
}

pub async fn operator(cluster: &Cluster) -> OperatorClient<Channel> {
    OperatorClient::new(channel(cluster, Who::Coordinator).await)
}

pub async fn describe(cluster: &Cluster) -> v1::DescribeResponse {
    operator(cluster).await.describe(v1::DescribeRequest {}).await.unwrap().into_inner()
}

/// What health says of the whole process; `None` if nobody answers.
pub async fn health(cluster: &Cluster, who: Who) -> Option<ServingStatus> {
    let endpoint = Endpoint::from_shared(cluster.url(who).unwrap()).unwrap();
    let channel = endpoint.connect().await.ok()?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.ok()?;
    Some(answer.into_inner().status())
}

/// Accepts what each of them has lost, and returns once all are connected again.
pub async fn accept_what_was_lost(cluster: &Cluster, participants: &[Who]) {
    let (who, reason) = ("ada".to_owned(), "there is no newer one".to_owned());
    for participant in participants {
        let mut admin = ParticipantAdminClient::new(channel(cluster, *participant).await);
        let accept = v1::AcceptParticipantLossRequest { who: who.clone(), reason: reason.clone() };
        // One that nobody has shown anything yet has nothing to accept.
        let _ = admin.accept_loss(accept).await;
    }
    until("the coordinator serves, with all its participants", async || {
        let described = operator(cluster).await.describe(v1::DescribeRequest {}).await.ok()?.into_inner();
        if described.phase == CoordinatorPhase::Held.number() {
            let accept = v1::AcceptLossRequest { who: who.clone(), reason: reason.clone(), without: Vec::new() };
            // It may not have heard of all of them yet.
            let _ = operator(cluster).await.accept_loss(accept).await;
        }
        described.participants.iter().all(|participant| participant.connected).then_some(())
    })
    .await;
}

pub fn branch(participant: &str, work: KvWork) -> v1::BranchWork {
    v1::BranchWork { participant: participant.to_owned(), work: work.encode().unwrap() }
}

pub fn request(tx: &str, branches: impl IntoIterator<Item = v1::BranchWork>) -> v1::SubmitRequest {
    let tx = Bytes::copy_from_slice(tx.as_bytes());
    v1::SubmitRequest { tx, branches: branches.into_iter().collect(), ..v1::SubmitRequest::default() }
}

/// Moves money from `alice` at bank-a to `bob` at bank-b, and reads both.
pub fn transfer(tx: &str, amount: i64) -> v1::SubmitRequest {
    let from = branch("bank-a", KvWork::new().add("alice", -amount).get("alice"));
    request(tx, [from, branch("bank-b", KvWork::new().add("bob", amount))])
}

pub fn no_wait(request: v1::SubmitRequest) -> v1::SubmitRequest {
    v1::SubmitRequest { no_wait: true, ..request }
}

pub fn within_ms(timeout_ms: u32, request: v1::SubmitRequest) -> v1::SubmitRequest {
    v1::SubmitRequest { timeout_ms, ..request }
}

/// Submits on a connection of its own.
pub async fn submit(cluster: &Cluster, request: v1::SubmitRequest) -> Result<v1::Outcome, Status> {
    Ok(coordinator(cluster).await.submit(request).await?.into_inner().outcome.unwrap())
}

/// Submits what has to commit, and answers what each participant read, once all locks are free: the outcome is told
/// before the participants have heard of it.
pub async fn commit(cluster: &Cluster, request: v1::SubmitRequest) -> Vec<(String, Vec<Option<Bytes>>)> {
    let tx = request.tx.clone();
    let outcome = submit(cluster, request).await.unwrap();
    assert_eq!(outcome.state(), v1::State::Committed, "{outcome:?}");
    until("the transaction has ended", async || {
        let get = v1::GetRequest { tx: tx.clone() };
        let seen = coordinator(cluster).await.get(get).await.unwrap().into_inner();
        (seen.phase == TransactionPhase::Ended.number()).then_some(())
    })
    .await;
    values(&outcome)
}

pub fn values(outcome: &v1::Outcome) -> Vec<(String, Vec<Option<Bytes>>)> {
    let name = |read: &v1::BranchResult| match read.part.clone().expect("every result says whose it is") {
        v1::branch_result::Part::Participant(name) | v1::branch_result::Part::Step(name) => name,
    };
    let read = |read: &v1::BranchResult| (name(read), Results::read(&read.result).into_bytes().unwrap());
    outcome.results.iter().map(read).collect()
}

/// The value of a key, read in a transaction of its own, as soon as nobody has locked it.
pub async fn value(cluster: &Cluster, participant: &str, key: &str) -> Option<String> {
    let read = KvWork::new().get(Bytes::copy_from_slice(key.as_bytes()));
    let read = until("the key can be read", async || {
        let outcome = submit(cluster, request(&fresh_id(), [branch(participant, read.clone())])).await.unwrap();
        (outcome.state() == v1::State::Committed).then(|| values(&outcome))
    });
    read.await[0].1[0].as_ref().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn fresh_id() -> String {
    undoubt_client::Transaction::new().id().to_string()
}

/// Why the transaction aborted.
pub fn abort_reason(outcome: v1::Outcome) -> AbortReason {
    let known: undoubt_client::KnownOutcome = outcome.try_into().unwrap();
    match known.decided {
        Some(Outcome::Aborted(reason)) => reason,
        Some(Outcome::Committed) | None => panic!("not aborted: {known:?}"),
    }
}

pub async fn get(cluster: &Cluster, tx: &str) -> Result<v1::Transaction, Status> {
    let tx = Bytes::copy_from_slice(tx.as_bytes());
    coordinator(cluster).await.get(v1::GetRequest { tx }).await.map(tonic::Response::into_inner)
}

/// The transactions of a list, by id.
pub async fn list(cluster: &Cluster, filter: v1::list_request::Filter) -> Vec<String> {
    let request = v1::ListRequest { filter: filter.into(), ..Default::default() };
    let listed = coordinator(cluster).await.list(request).await.unwrap().into_inner();
    listed.transactions.iter().map(|found| String::from_utf8_lossy(&found.tx).into_owned()).collect()
}

/// The code and message of what has to be refused.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

/// Sends bytes as they are to a method, whatever they mean.
pub async fn send_bytes(cluster: &Cluster, who: Who, method: &'static str, message: Bytes) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel(cluster, who).await);
    client.ready().await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(method);
    client.unary(tonic::Request::new(message), path, AsTheyAre).await.map(tonic::Response::into_inner)
}

#[derive(Clone, Copy, Debug)]
struct AsTheyAre;

impl Codec for AsTheyAre {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = AsTheyAre;
    type Decoder = AsTheyAre;

    fn encoder(&mut self) -> AsTheyAre {
        AsTheyAre
    }

    fn decoder(&mut self) -> AsTheyAre {
        AsTheyAre
    }
}

impl Encoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
