//! Talking to a participant as a coordinator would, message by message.

use super::PATIENCE;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};
use undoubt_client::kv::KvWork;
use undoubt_platform::{SecretKey, SeededRandom};
use undoubt_proto::v1;
use undoubt_proto::v1::participant_client::ParticipantClient;
use undoubt_vocabulary::{Challenge, CoordinatorId, Epoch, PublicKey, Statement};
use v1::to_participant::Body;

/// A coordinator's side of a session.
#[derive(Debug)]
pub struct Session {
    out: mpsc::UnboundedSender<v1::CoordinatorBatch>,
    incoming: Streaming<v1::ParticipantBatch>,
    heard: Vec<v1::ToCoordinator>,
}

pub const COORDINATOR_ID: [u8; 16] = *b"a coordinator 16";

/// The key of the coordinator that the tests play.
pub fn key() -> SecretKey {
    SecretKey::draw(&SeededRandom::new(1))
}

/// The answer of whoever has this key to the challenge that a participant gave to its hello.
pub fn proof(key: &SecretKey, hello: &v1::Hello, challenge: &[u8]) -> v1::CoordinatorBatch {
    let signature = key.sign(&Statement::Session {
        challenge: &Challenge(challenge.try_into().unwrap()),
        coordinator: CoordinatorId::try_from(&hello.coordinator_id[..]).unwrap(),
        epoch: Epoch(hello.epoch),
        key: &PublicKey(hello.public_key[..].try_into().unwrap()),
        participant: &hello.participant_name,
    });
    let proof = Some(v1::Proof { signature: Bytes::copy_from_slice(&signature.0) });
    v1::CoordinatorBatch { proof, ..v1::CoordinatorBatch::default() }
}

pub fn hello(participant: &str, epoch: u32) -> v1::Hello {
    v1::Hello {
        protocol_version: 1,
        coordinator_id: Bytes::from_static(&COORDINATOR_ID),
        coordinator_name: "test".to_owned(),
        epoch,
        participant_name: participant.to_owned(),
        newest_protocol_version: 2,
        public_key: Bytes::copy_from_slice(&key().public().0),
        ..v1::Hello::default()
    }
}

pub fn first(hello: v1::Hello) -> v1::CoordinatorBatch {
    v1::CoordinatorBatch { hello: Some(hello), ..Default::default() }
}

impl Session {
    /// Opens a session with this first batch, and proves what that says with the tests' key. The answer is the first one of the
    /// participant that is no challenge.
    pub async fn open(url: &str, first: v1::CoordinatorBatch) -> Result<(Session, v1::ParticipantBatch), Status> {
        Session::open_by(&key(), url, first).await
    }

    pub async fn open_by(
        key: &SecretKey,
        url: &str,
        first: v1::CoordinatorBatch,
    ) -> Result<(Session, v1::ParticipantBatch), Status> {
        let hello = first.hello.clone().unwrap_or_default();
        let mut client = ParticipantClient::connect(url.to_owned()).await.unwrap();
        let (out, batches) = mpsc::unbounded_channel();
        out.send(first).unwrap();
        let opening = async {
            let mut incoming = client.session(UnboundedReceiverStream::new(batches)).await?.into_inner();
            let mut first = incoming.message().await?.expect("the participant ended the session without a word");
            if !first.challenge.is_empty() {
                out.send(proof(key, &hello, &first.challenge)).unwrap();
                first = incoming.message().await?.expect("the participant ended the session without a word");
            }
            Ok::<_, Status>((incoming, first))
        };
        let (incoming, first) = timeout(PATIENCE, opening).await.expect("the participant does not answer")?;
        let heard = first.messages.clone();
        Ok((Session { out, incoming, heard }, first))
    }

    /// Opens a session that has to be welcomed.
    pub async fn welcomed(url: &str, participant: &str, epoch: u32) -> Session {
        let (session, batch) = Session::open(url, first(hello(participant, epoch))).await.unwrap();
        let welcome = batch.welcome.expect("no welcome");
        assert_eq!((welcome.protocol_version, welcome.participant_name.as_str()), (2, participant));
        session
    }

    pub fn send_batch(&self, batch: v1::CoordinatorBatch) {
        // A participant that has ended the session does not read; what comes of it is seen by listening.
        let _ = self.out.send(batch);
    }

    pub fn send(&self, tx: &str, attempt_number: u64, body: Body) {
        let tx = Bytes::copy_from_slice(tx.as_bytes());
        let message = v1::ToParticipant { tx, attempt_number, body: Some(body), trace_context: None };
        self.send_batch(v1::CoordinatorBatch { messages: vec![message], ..Default::default() });
    }

    pub fn low_water_mark(&self, low_water_mark: u64) {
        self.send_batch(v1::CoordinatorBatch { low_water_mark, ..Default::default() });
    }

    /// The next message about this attempt.
    pub async fn hear(&mut self, tx: &str, attempt_number: u64) -> v1::to_coordinator::Body {
        let fits =
            |message: &v1::ToCoordinator| message.tx == tx.as_bytes() && message.attempt_number == attempt_number;
        loop {
            if let Some(at) = self.heard.iter().position(fits) {
                return self.heard.remove(at).body.expect("a message without a body");
            }
            let next = timeout(PATIENCE, self.incoming.message()).await;
            let next = next.unwrap_or_else(|_| panic!("nothing came about {tx}; came: {:?}", self.heard));
            self.heard.extend(next.unwrap().expect("the participant ended the session").messages);
        }
    }

    /// Asks for a vote.
    pub async fn prepare(&mut self, tx: &str, attempt_number: u64, prepare: v1::Prepare) -> v1::vote::Vote {
        self.send(tx, attempt_number, Body::Prepare(prepare));
        self.vote(tx, attempt_number).await
    }

    /// The next message about this attempt, which has to be a vote.
    pub async fn vote(&mut self, tx: &str, attempt_number: u64) -> v1::vote::Vote {
        let body = self.hear(tx, attempt_number).await;
        if let v1::to_coordinator::Body::Vote(v1::Vote { vote: Some(vote) }) = body {
            return vote;
        }
        panic!("no vote but {body:?}")
    }

    /// The next message about this attempt, which has to say how the branch finished.
    pub async fn finished(&mut self, tx: &str, attempt_number: u64) -> v1::BranchOutcome {
        let body = self.hear(tx, attempt_number).await;
        if let v1::to_coordinator::Body::Finished(finished) = body {
            return finished.outcome();
        }
        panic!("not finished but {body:?}")
    }

    /// The next message about this attempt, which has to confirm or not.
    pub async fn confirmed(&mut self, tx: &str, attempt_number: u64) -> bool {
        let body = self.hear(tx, attempt_number).await;
        if let v1::to_coordinator::Body::Confirmed(confirmed) = body {
            return confirmed.held;
        }
        panic!("no confirmation but {body:?}")
    }

    /// How the participant ended the session.
    pub async fn end(mut self) -> Status {
        loop {
            match timeout(PATIENCE, self.incoming.message()).await.expect("the session does not end") {
                Ok(Some(batch)) => self.heard.extend(batch.messages),
                Ok(None) => panic!("the session ended without an error"),
                Err(status) => return status,
            }
        }
    }
}

/// Work of a transaction that began at this time, and waits for locks up to a minute.
pub fn prepare(begun_at_us: u64, work: KvWork) -> v1::Prepare {
    v1::Prepare { begun_at_us, timeout_ms: 60_000, one_phase: false, work: work.encode().unwrap() }
}

pub fn one_phase(begun_at_us: u64, work: KvWork) -> v1::Prepare {
    v1::Prepare { one_phase: true, ..prepare(begun_at_us, work) }
}

#[track_caller]
pub fn is_prepared(vote: v1::vote::Vote) -> Bytes {
    if let v1::vote::Vote::Prepared(result) = vote {
        return result;
    }
    panic!("not prepared but {vote:?}")
}

#[track_caller]
pub fn is_refused(vote: v1::vote::Vote) -> (v1::RefusalCode, String) {
    if let v1::vote::Vote::Refused(refusal) = vote {
        return (refusal.code(), refusal.detail);
    }
    panic!("not refused but {vote:?}")
}
