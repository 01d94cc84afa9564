//! Sessions over the simulated network, with somebody in between who repeats and delays messages.
//!
//! TCP hides duplicates, late arrivals and changes of order, so they are made above it: where messages enter a session's
//! stream, and where they leave it. Repeated and late messages reach their receiver only within the same session, as
//! nothing of a broken connection can arrive in the next one.

mod fate;

use super::cells::states_hit;
use super::net::{self, Network};
use super::server::key;
use super::shared_state::{Order, Shared, now_us};
use crate::plan::{Direction, Host, Message, Mutant, Tampering, What};
use crate::run::Oversized;
use crate::trace::Standing;
use fate::{Fate, send_later, to_branch, to_coordinator};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use undoubt_coordinator::connect::{ConnectError, Incoming, converse, recall};
use undoubt_coordinator::{Connect, TcpConnect};
use undoubt_proto::v1;
use undoubt_vocabulary::limits::{USUAL_COORDINATOR_BATCH_BYTES, USUAL_PARTICIPANT_BATCH_BYTES};
use undoubt_vocabulary::{Challenge, CoordinatorId, Epoch, Statement, WriteNumber};
use v1::known_attempt::State;
use v1::to_coordinator::Body as FromBranch;
use v1::to_participant::Body as ToBranch;

/// Batches on their way through.
const MAX_BATCHES_UNDER_WAY: usize = 64;

/// A batch that comes within this was waiting with the one before.
const RIGHT_BEHIND: Duration = Duration::from_millis(50);

pub(super) struct Sessions {
    between: Arc<Between>,
    network: Network,
}

/// The one who stands in between, for as long as the coordinator lives.
struct Between {
    shared: Arc<Shared>,
    /// The coordinator that has these sessions.
    host: Host,
    /// The number of times that each message has passed.
    passed: Mutex<BTreeMap<(u8, Direction, Message), u32>>,
    /// The messages that are said once only, and were; for mutants. what is said once only, and was.
    said: Mutex<BTreeSet<(u8, u64)>>,
}

impl Sessions {
    pub(super) fn new(shared: Arc<Shared>, host: Host, network: Network) -> Sessions {
        let between = Between { shared, host, passed: Mutex::default(), said: Mutex::default() };
        Sessions { between: Arc::new(between), network }
    }
}

impl Connect for Sessions {
    fn open(
        &self,
        address: &str,
        outgoing: mpsc::Receiver<v1::CoordinatorBatch>,
    ) -> BoxFuture<'static, Result<Incoming, ConnectError>> {
        let opened_us = now_us();
        let (endpoint, between, network) = (tcp().endpoint(address), self.between.clone(), self.network.clone());
        let participant = participant_at(address);
        Box::pin(async move {
            let channel = net::connect(endpoint?, network).await?;
            let (sender, tampered) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
            tokio::spawn(between.clone().outwards(participant, outgoing, sender));
            let incoming = converse(channel, tampered).await?;
            let (sender, tampered) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
            tokio::spawn(between.clone().inwards(participant, incoming, sender));
            let mut hears = between.hears(participant, opened_us);
            Ok(ReceiverStream::new(tampered).inspect(move |batch| hears(batch)).boxed())
        })
    }

    fn recall(
        &self,
        address: &str,
        request: v1::RecallRequest,
    ) -> BoxFuture<'static, Result<v1::RecallResponse, ConnectError>> {
        let (endpoint, between, network) = (tcp().endpoint(address), self.between.clone(), self.network.clone());
        let (participant, asked_us) = (participant_at(address), now_us());
        Box::pin(async move {
            let (endpoint, request) = (endpoint?, between.asked(request));
            if between.shared.mutates(Mutant::EpochTakenUnasked) {
                between.claims(participant, &request, net::connect(endpoint.clone(), network.clone()).await?).await?;
            }
            if between.shared.mutates(Mutant::SpeaksUnasked) && !request.attempts {
                return Ok(v1::RecallResponse::default());
            }
            let mut answer = recall(net::connect(endpoint, network).await?, request).await?;
            between.recalled(participant, asked_us, &mut answer);
            Ok(answer)
        })
    }
}

fn tcp() -> TcpConnect {
    TcpConnect { connect_timeout: Duration::from_millis(500), keep_alive: Duration::from_millis(2_000) }
}

/// Its number, from `http://p3:7400`.
fn participant_at(address: &str) -> u8 {
    let host = address.trim_start_matches("http://").split(':').next().unwrap_or_default();
    match host.parse() {
        Ok(Host::Participant(number)) => number,
        Ok(
            Host::Coordinator
            | Host::Standby
            | Host::Database(_)
            | Host::Service(_)
            | Host::Client(_)
            | Host::Reader(_),
        )
        | Err(_) => 0,
    }
}

impl Between {
    async fn outwards(
        self: Arc<Self>,
        participant: u8,
        mut from: mpsc::Receiver<v1::CoordinatorBatch>,
        to: mpsc::Sender<v1::CoordinatorBatch>,
    ) {
        while let Some(mut batch) = from.recv().await {
            while self.takes_more(batch.encoded_len(), USUAL_COORDINATOR_BATCH_BYTES) {
                let Ok(Some(next)) = timeout(RIGHT_BEHIND, from.recv()).await else { break };
                batch.messages.extend(next.messages);
                batch.still_open = next.still_open.or(batch.still_open);
            }
            self.weigh(Direction::ToParticipant, participant, batch.messages.len(), batch.encoded_len());
            if let Some(hello) = &mut batch.hello {
                self.greets(participant, hello);
            }
            if self.shared.mutates(Mutant::LowWaterMarkRunsAhead) {
                batch.low_water_mark += 3;
            }
            let mut kept = Vec::with_capacity(batch.messages.len());
            let mut lost = false;
            for message in std::mem::take(&mut batch.messages) {
                if lost || self.swallows(participant, &message) {
                    continue;
                }
                let tampering = self.tampering(participant, Direction::ToParticipant, to_branch(&message));
                let fate = Fate::of(message, tampering);
                lost = fate.is_lost;
                kept.extend(fate.now);
                if let Some((message, ms)) = fate.later {
                    let late = v1::CoordinatorBatch {
                        low_water_mark: batch.low_water_mark,
                        messages: vec![message],
                        ..Default::default()
                    };
                    send_later(to.clone(), late, ms);
                }
            }
            batch.messages = kept;
            if to.send(batch).await.is_err() || lost {
                return;
            }
        }
    }

    async fn inwards(
        self: Arc<Self>,
        participant: u8,
        mut from: Incoming,
        to: mpsc::Sender<Result<v1::ParticipantBatch, Status>>,
    ) {
        let mut lost = false;
        while let Some(mut batch) = from.next().await {
            while let Ok(batch) = &mut batch
                && self.takes_more(batch.encoded_len(), USUAL_PARTICIPANT_BATCH_BYTES)
            {
                let Ok(Some(Ok(next))) = timeout(RIGHT_BEHIND, from.next()).await else { break };
                batch.messages.extend(next.messages);
            }
            let batch = batch.map(|mut batch| {
                self.weigh(Direction::ToCoordinator, participant, batch.messages.len(), batch.encoded_len());
                if let Some(welcome) = batch.welcome.as_mut().filter(|_| self.shared.mutates(Mutant::NumbersUnshown)) {
                    welcome.seen = None;
                }
                let mut kept = Vec::with_capacity(batch.messages.len());
                for message in batch.messages {
                    if lost {
                        break;
                    }
                    let Some(message) = self.misheard(participant, message) else { continue };
                    let tampering = self.tampering(participant, Direction::ToCoordinator, to_coordinator(&message));
                    let fate = Fate::of(message, tampering);
                    lost = fate.is_lost;
                    kept.extend(fate.now);
                    if let Some((message, ms)) = fate.later {
                        let late = v1::ParticipantBatch { messages: vec![message], ..Default::default() };
                        send_later(to.clone(), Ok(late), ms);
                    }
                }
                batch.messages = kept;
                batch
            });
            if to.send(batch).await.is_err() || lost {
                return;
            }
        }
    }

    /// A coordinator claims its epoch. Some mutants do not show, or not mind, what it says of numbers.
    fn greets(&self, participant: u8, hello: &mut v1::Hello) {
        self.shared.recorder.record(self.host, Standing::Greets { whom: Host::Participant(participant) }.into());
        if self.shared.mutates(Mutant::NumbersKept) {
            hello.seen = None;
        }
        if let Some(number) = hello.number.as_mut().filter(|_| self.shared.mutates(Mutant::MarksIgnored)) {
            number.mark = 0;
        }
    }

    fn asked(&self, request: v1::RecallRequest) -> v1::RecallRequest {
        let seen = request.seen.clone().filter(|_| !self.shared.mutates(Mutant::NumbersKept));
        v1::RecallRequest { seen, ..request }
    }

    /// Says hello for a mutant, whatever is known of the log.
    async fn claims(&self, participant: u8, asked: &v1::RecallRequest, channel: Channel) -> Result<(), ConnectError> {
        let Some(number) = self.shared.own_number() else { return Ok(()) };
        let mut hello = v1::Hello {
            protocol_version: 1,
            newest_protocol_version: 2,
            public_key: asked.public_key.clone(),
            coordinator_id: asked.coordinator_id.clone(),
            coordinator_name: asked.coordinator_name.clone(),
            epoch: number.start.count,
            participant_name: asked.participant_name.clone(),
            number: Some(number.into()),
            ..v1::Hello::default()
        };
        self.greets(participant, &mut hello);
        let coordinator =
            CoordinatorId::try_from(&hello.coordinator_id[..]).map_err(|bad| Status::internal(bad.to_string()))?;
        let (epoch, name) = (Epoch(hello.epoch), hello.participant_name.clone());
        let (sender, hellos) = mpsc::channel(2);
        // There is room for both.
        let _ = sender.try_send(v1::CoordinatorBatch { hello: Some(hello), ..v1::CoordinatorBatch::default() });
        let mut incoming = converse(channel, hellos).await?;
        let Some(Ok(batch)) = incoming.next().await else { return Ok(()) };
        let Ok(challenge) = batch.challenge[..].try_into().map(Challenge) else { return Ok(()) };
        let (own, participant) = (key(), name.as_str());
        let key = own.public();
        let signed =
            own.sign(&Statement::Session { challenge: &challenge, coordinator, epoch, key: &key, participant });
        let proof = Some(v1::Proof { signature: signed.0.to_vec().into() });
        let _ = sender.try_send(v1::CoordinatorBatch { proof, ..v1::CoordinatorBatch::default() });
        incoming.next().await;
        Ok(())
    }

    /// A participant has answered what it knows of this coordinator, or with the challenge that comes first.
    fn recalled(&self, participant: u8, asked_us: u64, answer: &mut v1::RecallResponse) {
        if !answer.challenge.is_empty() {
            return;
        }
        let by = Host::Participant(participant);
        let lacks = self.shared.lack(self.host, by, asked_us);
        let it_lacks = self.shared.lack(by, self.host, asked_us);
        let it_says_so = !answer.put_back.is_empty();
        if self.shared.mutates(Mutant::NumbersUnshown) {
            answer.seen = None;
        }
        let seen = answer.seen.clone().and_then(|seen| seen.try_into().ok());
        let forgot = self.shared.forgotten(self.host, by, asked_us, seen, answer.epoch);
        let forgot = forgot.map(|number| number.to_string());
        self.shared.recorder.record(self.host, Standing::Recalled { by, lacks, it_lacks, it_says_so, forgot }.into());
        let committed = answer.attempts.iter().filter(|attempt| attempt.state() == State::Committed);
        let committed: Vec<String> =
            committed.map(|attempt| String::from_utf8_lossy(&attempt.tx).into_owned()).collect();
        if !committed.is_empty() {
            self.shared.recorder.record(self.host, Standing::Remembers { by, committed }.into());
        }
        if self.shared.mutates(Mutant::RecallIgnored) {
            let (low_water_mark, still_open) = (answer.low_water_mark, answer.still_open.take());
            *answer = v1::RecallResponse { low_water_mark, still_open, ..v1::RecallResponse::default() };
        }
    }

    /// Listens to what the coordinator hears in a session, at the moment when it does.
    fn hears(self: Arc<Self>, participant: u8, opened_us: u64) -> impl FnMut(&Result<v1::ParticipantBatch, Status>) {
        let mut number: Option<WriteNumber> = None;
        move |batch| {
            let Ok(batch) = batch else { return };
            if let Some(welcome) = &batch.welcome {
                let by = Host::Participant(participant);
                let lacks = self.shared.lack(self.host, by, opened_us);
                let it_lacks = self.shared.lack(by, self.host, opened_us);
                self.shared.recorder.record(self.host, Standing::Welcomed { by, lacks, it_lacks }.into());
                number = welcome.number.clone().and_then(|number| number.try_into().ok());
            } else if let Some(number) = number.filter(|_| batch.stable_writes > 0) {
                let number = WriteNumber { writes: batch.stable_writes, ..number };
                self.shared.coordinator_learns(self.host, participant, number);
            }
        }
    }

    fn tampering(&self, participant: u8, direction: Direction, message: Option<Message>) -> Option<Tampering> {
        let message = message?;
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passed.entry((participant, direction, message)).or_default();
        *count += 1;
        let now =
            What::Tamper { participant, direction, message, count: *count, tampering: Tampering::Delay { by_ms: 0 } };
        let healed = *self.shared.healed.borrow();
        let (index, tampering) = self.shared.plan.faults.iter().enumerate().find_map(|(index, fault)| {
            fault.what.tampering_like(&now).filter(|_| !healed).map(|tampering| (index, tampering))
        })?;
        let met = states_hit(&now, &self.shared.recorder);
        self.shared.order(Order::Strike { fault: index, met });
        Some(tampering)
    }

    /// For mutants: whether what comes right behind belongs to the batch. One that was closed for its bytes is more than
    /// half full, or more waited with it.
    fn takes_more(&self, bytes: usize, usual: usize) -> bool {
        self.shared.mutates(Mutant::BatchesOfAnySize) && bytes > usual / 2
    }

    /// Notes of a batch what a checker looks at.
    fn weigh(&self, direction: Direction, participant: u8, messages: usize, bytes: usize) {
        let usual = match direction {
            Direction::ToParticipant => USUAL_COORDINATOR_BATCH_BYTES,
            Direction::ToCoordinator => USUAL_PARTICIPANT_BATCH_BYTES,
        };
        if messages > 1 && bytes > usual {
            self.shared.finals().oversized.push(Oversized { participant, direction, messages, bytes, usual });
        }
    }

    /// For mutants: messages that a coordinator with a bug does not send.
    fn swallows(&self, participant: u8, message: &v1::ToParticipant) -> bool {
        let said_once = match &message.body {
            Some(ToBranch::Commit(_)) => self.shared.mutates(Mutant::CommitNotRepeated),
            Some(ToBranch::Run(run)) => {
                run.direction() == v1::Direction::Compensating && self.shared.mutates(Mutant::CompensationsNotRepeated)
            }
            Some(_) | None => false,
        };
        said_once
            && !self.said.lock().unwrap_or_else(PoisonError::into_inner).insert((participant, message.attempt_number))
    }

    /// For mutants: messages as a coordinator with a bug understands them.
    fn misheard(&self, participant: u8, mut message: v1::ToCoordinator) -> Option<v1::ToCoordinator> {
        match (&mut message.body, self.shared.plan.mutant) {
            (Some(FromBranch::Vote(vote)), Some(Mutant::ReadAnsweredOnce)) => {
                let said = || self.said.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(v1::vote::Vote::ReadOnly(_)) = vote.vote
                    && !said().insert((participant, message.attempt_number))
                {
                    return None;
                }
            }
            (Some(FromBranch::Inquiry(_)), Some(Mutant::InquiriesIgnored)) => return None,
            (Some(FromBranch::Vote(vote)), Some(Mutant::RefusalOverlooked)) => {
                if let Some(v1::vote::Vote::Refused(_)) = vote.vote {
                    vote.vote = Some(v1::vote::Vote::Prepared(bytes::Bytes::new()));
                }
            }
            (Some(FromBranch::Finished(finished)), Some(Mutant::HeuristicUnreported)) => {
                if let v1::BranchOutcome::HeuristicallyCommitted | v1::BranchOutcome::HeuristicallyAborted =
                    finished.outcome()
                {
                    finished.set_outcome(v1::BranchOutcome::Committed);
                }
            }
            _ => {}
        }
        Some(message)
    }
}
