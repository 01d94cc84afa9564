//! The service for operators.

use crate::Config;
use crate::engine::{Command, Handle, Link, LinkState, View};
use crate::log::{LogError, WeakLog};
use crate::service::outcome_of;
use crate::standing::{Accept, Accepted};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status};
use undoubt_coordinator_core::StepResolution;
use undoubt_platform::Reason;
use undoubt_platform::access::{Caller, Signed};
use undoubt_platform::audit::{self, Audit, Call, Origin, audited};
use undoubt_platform::server::parse_tx;
use undoubt_proto::v1::operator_server::Operator;
use undoubt_proto::{record, v1};
use undoubt_vocabulary::{CoordinatorId, CoordinatorPhase, InvalidId, ParticipantName};

/// The error of a participant that was taken out of the settings too early.
pub(crate) const NOT_CONFIGURED: &str =
    "it is not configured, and its open transactions wait for it; add it again until they have ended";

/// Damaged transactions that a description counts; beyond it says "at least".
const MAX_DAMAGED_COUNTED: usize = 10_000;

#[derive(Clone)]
pub(crate) struct OperatorService {
    pub(crate) engine: Handle,
    pub(crate) config: Arc<Config>,
    /// The log, to copy it beside the engine.
    pub(crate) log: WeakLog,
    pub(crate) id: CoordinatorId,
    /// The one in which it serves, or would.
    pub(crate) epoch: Arc<AtomicU32>,
    pub(crate) drain: watch::Sender<bool>,
    pub(crate) accept: mpsc::Sender<Accept>,
    pub(crate) held_because: watch::Receiver<Vec<String>>,
    pub(crate) audit: Weak<Audit>,
}

#[tonic::async_trait]
impl Operator for OperatorService {
    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let (config, id, epoch) = (self.config.clone(), self.id, self.epoch.load(Ordering::Relaxed));
        let held_because = self.held_because.borrow().clone();
        let may_know_ids = Caller::of(request.extensions()).may_know_ids();
        let described = self.engine.inspect(move |view| {
            let described = describe(view, &config, id, epoch)?;
            let losses = view.log.losses()?.into_iter().map(loss).collect();
            let phase = if held_because.is_empty() { described.phase } else { CoordinatorPhase::Held.number() };
            let coordinator_id = if may_know_ids { described.coordinator_id } else { Default::default() };
            Ok(v1::DescribeResponse { coordinator_id, held_because, losses, phase, ..described })
        });
        let described: Result<_, LogError> = described.await?;
        described.map(Response::new).map_err(|error| Reason::Internal.refuse(error.to_string()))
    }

    async fn accept_loss(
        &self,
        request: Request<v1::AcceptLossRequest>,
    ) -> Result<Response<v1::AcceptLossResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::AcceptLossRequest { who, reason, without } = request.into_inner();
        let about = if without.is_empty() { String::new() } else { format!("without {}", without.join(", ")) };
        let call = Call::new(origin, "accept-loss").about(about).note(&who, &reason);
        audited(&self.audit, call, async {
            let Signed { who, reason } = caller.sign(who, reason)?;
            let without = without.iter().map(|name| name.parse()).collect::<Result<_, InvalidId>>();
            let without =
                without.map_err(|bad| Reason::InvalidRequest.refuse_field("without", format!("without: {bad}")))?;
            let (reply, accepted) = oneshot::channel();
            let not_held = || Reason::WrongState.refuse("this coordinator is not held; there is no loss to accept");
            self.accept.send(Accept { who, reason, without, reply }).await.map_err(|_| not_held())?;
            let accepted = accepted.await.map_err(|_| not_held())?;
            let Accepted { epoch, committed, held } = accepted.map_err(|why| Reason::WrongState.refuse(why))?;
            Ok(Response::new(v1::AcceptLossResponse { epoch: epoch.0, committed, held }))
        })
        .await
    }

    async fn forget(&self, request: Request<v1::ForgetRequest>) -> Result<Response<v1::ForgetResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::ForgetRequest { tx, who, reason } = request.into_inner();
        let call = Call::new(origin, "forget").tx(&tx).note(&who, &reason);
        audited(&self.audit, call, async {
            let tx = parse_tx(tx)?;
            let Signed { who, reason } = caller.sign(who, reason)?;
            let replied = self.engine.ask(|reply| Command::Forget { tx, who, reason, reply }).await?;
            outcome_of(replied).map(|_| Response::new(v1::ForgetResponse {}))
        })
        .await
    }

    async fn resolve_step(
        &self,
        request: Request<v1::ResolveStepRequest>,
    ) -> Result<Response<v1::ResolveStepResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::ResolveStepRequest { tx, step, resolution, who, reason } = request.into_inner();
        let resolution = match v1::StepResolution::try_from(resolution) {
            Ok(v1::StepResolution::Retry) => Some(StepResolution::Retry),
            Ok(v1::StepResolution::Skip) => Some(StepResolution::Skip),
            Ok(v1::StepResolution::Done) => Some(StepResolution::Done),
            Ok(v1::StepResolution::Unspecified) | Err(_) => None,
        };
        let about = resolution.map_or_else(|| step.clone(), |resolution| format!("{resolution} {step}"));
        let call = Call::new(origin, "resolve-step").tx(&tx).about(about).note(&who, &reason);
        audited(&self.audit, call, async {
            let tx = parse_tx(tx)?;
            let step = step
                .parse()
                .map_err(|bad: InvalidId| Reason::InvalidRequest.refuse_field("step", format!("step: {bad}")))?;
            let resolution = resolution.ok_or_else(|| {
                Reason::InvalidRequest
                    .refuse_field("resolution", "resolution is missing or unknown; say retry, skip or done")
            })?;
            let Signed { who, reason } = caller.sign(who, reason)?;
            let asked = self.engine.ask(|reply| Command::ResolveStep { tx, step, resolution, who, reason, reply });
            let outcome = outcome_of(asked.await?)?;
            Ok(Response::new(v1::ResolveStepResponse { outcome: Some(outcome) }))
        })
        .await
    }

    async fn pause_recovery(
        &self,
        request: Request<v1::PauseRecoveryRequest>,
    ) -> Result<Response<v1::PauseRecoveryResponse>, Status> {
        audited(&self.audit, Call::new(Origin::of(request.extensions()), "pause-recovery"), async {
            self.engine.tell(Command::PauseRecovery).await?;
            Ok(Response::new(v1::PauseRecoveryResponse {}))
        })
        .await
    }

    async fn resume_recovery(
        &self,
        request: Request<v1::ResumeRecoveryRequest>,
    ) -> Result<Response<v1::ResumeRecoveryResponse>, Status> {
        audited(&self.audit, Call::new(Origin::of(request.extensions()), "resume-recovery"), async {
            self.engine.tell(Command::ResumeRecovery).await?;
            Ok(Response::new(v1::ResumeRecoveryResponse {}))
        })
        .await
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        // Recorded first, for the process ends soon after.
        audited(&self.audit, Call::new(Origin::of(request.extensions()), "drain"), async { Ok(()) }).await?;
        // Whoever hears the answer knows that nothing new is let in.
        self.engine.tell(Command::Drain).await?;
        self.drain.send_replace(true);
        Ok(Response::new(v1::DrainResponse {}))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<v1::BackupResponse>, Status> {
        let origin = Origin::of(request.extensions());
        let folder = request.into_inner().folder;
        audited(&self.audit, Call::new(origin, "backup").about(&folder), async {
            let to = PathBuf::from(folder);
            let stopping = || Status::from(self.engine.gone());
            tracing::info!(to = %to.display(), "a backup begins");
            // The log is let go before the copy is waited for: it must be free to close.
            let backing_up = self.log.log().ok_or_else(stopping)?.backup(&to);
            backing_up.await?;
            tracing::info!(to = %to.display(), "the backup is whole");
            Ok(Response::new(v1::BackupResponse {}))
        })
        .await
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Result<Response<v1::AuditResponse>, Status> {
        audit::answer(&self.audit, request).await
    }
}

fn describe(view: &View<'_>, config: &Config, id: CoordinatorId, epoch: u32) -> Result<v1::DescribeResponse, LogError> {
    let configured = view.links.iter().map(|(name, link)| participant(view, name, link));
    Ok(v1::DescribeResponse {
        name: config.name.clone(),
        coordinator_id: id.0.to_vec().into(),
        epoch,
        phase: view.phase().number(),
        open: view.core.open_transactions() as u64,
        unacknowledged: view.core.views().filter(|open| open.unacknowledged).count() as u64,
        damaged: view.log.damaged(None, MAX_DAMAGED_COUNTED)?.len() as u64,
        max_open: config.max_open_transactions as u64,
        participants: configured.chain(taken_out(view)).collect(),
        refusing_work_because: view.refusing.unwrap_or_default().to_owned(),
        default_timeout_ms: config.default_timeout_ms,
        held_because: Vec::new(),
        losses: Vec::new(),
    })
}

fn loss(loss: record::Loss) -> v1::CoordinatorLoss {
    let record::Loss { at_us, who, reason, put_back, kept, participant, listed, more } = loss;
    let loss = Some(v1::AcceptedLoss { at_us, who, reason, put_back, kept });
    v1::CoordinatorLoss { participant, loss, listed, more }
}

fn participant(view: &View<'_>, name: &ParticipantName, link: &Link) -> v1::ParticipantView {
    let (connected, resource, last_error) = match &link.state {
        LinkState::Connected { resource, .. } => (true, resource.clone(), String::new()),
        LinkState::Disconnected { last_error } => (false, String::new(), last_error.clone()),
    };
    v1::ParticipantView {
        name: name.to_string(),
        address: link.address(),
        connected,
        since_us: link.since.0,
        resource,
        last_error,
        connection_attempts: link.attempts,
        queued: link.queued() as u64,
        open: view.core.open_with(name) as u64,
        unnumbered: link.unnumbered,
        leaving: link.leaving,
    }
}

/// Returns participants that are not configured any more though transactions are open with them.
fn taken_out<'v>(view: &'v View<'_>) -> impl Iterator<Item = v1::ParticipantView> + 'v {
    view.core.with_open().filter(|name| !view.links.contains_key(*name)).map(|name| v1::ParticipantView {
        name: name.to_string(),
        last_error: NOT_CONFIGURED.to_owned(),
        open: view.core.open_with(name) as u64,
        ..v1::ParticipantView::default()
    })
}
