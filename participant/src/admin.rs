//! The service for operators of a participant.

pub(crate) mod listing;

use crate::config::Config;
use crate::engine::{Command, Handle, View};
use crate::resource::{Heuristic, Loss, Mark, Release};
use bytes::Bytes;
use listing::Query;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tonic::{Request, Response, Status};
use undoubt_participant_core::{Answer, Rejection};
use undoubt_platform::Clock;
use undoubt_platform::Reason;
use undoubt_platform::access::{Caller, Signed};
use undoubt_platform::audit::{self, Audit, Call, Origin, audited};
use undoubt_platform::server::{AnswerRoom, parse_tx};
use undoubt_proto::v1;
use undoubt_proto::v1::participant_admin_server::ParticipantAdmin;
use undoubt_vocabulary::{CoordinatorId, PublicKey, WriteNumber};

/// Semantic locks in one answer, and the most that one takes: a key of 1 KiB, and whose it is.
pub(crate) const MAX_MARKS_LISTED: usize = 1_000;
const BYTES_PER_MARK: usize = 1_280;

/// Reads a question for a list, for the fuzzers.
pub(crate) fn parse_list(request: v1::ListBranchesRequest) -> Result<(), Status> {
    Query::parse(request).map(drop)
}

/// Bytes of an id or a key that the audit record names.
const MAX_NAMED_BYTES: usize = 32;

#[derive(Clone)]
pub(crate) struct AdminService {
    pub(crate) engine: Handle,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) audit: Weak<Audit>,
}

#[tonic::async_trait]
impl ParticipantAdmin for AdminService {
    async fn describe(
        &self,
        request: Request<v1::DescribeParticipantRequest>,
    ) -> Result<Response<v1::DescribeParticipantResponse>, Status> {
        let may_know_ids = Caller::of(request.extensions()).may_know_ids();
        let name = self.config.name.clone();
        let mut described = self.engine.inspect(move |view| describe(view, name)).await?;
        if !may_know_ids {
            described.coordinators.clear();
        }
        Ok(Response::new(described))
    }

    async fn list_branches(
        &self,
        request: Request<v1::ListBranchesRequest>,
    ) -> Result<Response<v1::ListBranchesResponse>, Status> {
        let mut room = AnswerRoom::of(request.extensions());
        let query = Query::parse(request.into_inner())?;
        room.expect(query.most_bytes()).await?;
        let page = self.engine.inspect(move |view| query.page(view.core.views(), view.core.step_views())).await?;
        Ok(room.respond(page))
    }

    async fn resolve_branch(
        &self,
        request: Request<v1::ResolveBranchRequest>,
    ) -> Result<Response<v1::ResolveBranchResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::ResolveBranchRequest { tx, commit, who, reason } = request.into_inner();
        let decision = if commit { "commit" } else { "abort" };
        let call = Call::new(origin, "resolve").tx(&tx).about(decision).note(&who, &reason);
        audited(&self.audit, call, async {
            let tx = parse_tx(tx)?;
            let Signed { who, reason } = caller.sign(who, reason)?;
            let heuristic =
                Heuristic { commit, at: self.clock.now(), who: who.clone(), reason: reason.clone(), decision: None };
            let asked = self.engine.ask(|reply| Command::Resolve { tx: tx.clone(), heuristic, reply });
            match asked.await? {
                Answer::Resolved(outcome) => {
                    tracing::warn!(%tx, %outcome, who, reason, "an operator has decided a branch without its coordinator");
                    let outcome = v1::BranchOutcome::from(outcome).into();
                    Ok(Response::new(v1::ResolveBranchResponse { outcome }))
                }
                Answer::Rejected(rejection) => Err(status_of(&rejection)),
                Answer::Forgotten | Answer::Released | Answer::Pinned | Answer::LossAccepted { .. } => Err(misfit()),
            }
        })
        .await
    }

    async fn forget_branch(
        &self,
        request: Request<v1::ForgetBranchRequest>,
    ) -> Result<Response<v1::ForgetBranchResponse>, Status> {
        let origin = Origin::of(request.extensions());
        let v1::ForgetBranchRequest { tx } = request.into_inner();
        audited(&self.audit, Call::new(origin, "forget").tx(&tx), async {
            let tx = parse_tx(tx)?;
            match self.engine.ask(|reply| Command::Forget { tx, reply }).await? {
                Answer::Forgotten => Ok(Response::new(v1::ForgetBranchResponse {})),
                Answer::Rejected(rejection) => Err(status_of(&rejection)),
                Answer::Resolved(_) | Answer::Released | Answer::Pinned | Answer::LossAccepted { .. } => Err(misfit()),
            }
        })
        .await
    }

    async fn accept_loss(
        &self,
        request: Request<v1::AcceptParticipantLossRequest>,
    ) -> Result<Response<v1::AcceptParticipantLossResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::AcceptParticipantLossRequest { who, reason } = request.into_inner();
        let call = Call::new(origin, "accept-loss").note(&who, &reason);
        audited(&self.audit, call, async {
            let Signed { who, reason } = caller.sign(who, reason)?;
            let at = self.clock.now();
            let (by, why) = (who.clone(), reason.clone());
            let asked = self.engine.ask(|reply| Command::AcceptLoss { at, who, reason, reply });
            match asked.await? {
                Answer::LossAccepted { put_back } => {
                    tracing::warn!(
                        who = by,
                        reason = why,
                        put_back,
                        "an operator has accepted what this participant has lost"
                    );
                    Ok(Response::new(v1::AcceptParticipantLossResponse { put_back }))
                }
                Answer::Rejected(rejection) => Err(status_of(&rejection)),
                Answer::Resolved(_) | Answer::Forgotten | Answer::Released | Answer::Pinned => Err(misfit()),
            }
        })
        .await
    }

    async fn list_marks(
        &self,
        request: Request<v1::ListMarksRequest>,
    ) -> Result<Response<v1::ListMarksResponse>, Status> {
        let mut room = AnswerRoom::of(request.extensions());
        let v1::ListMarksRequest { after, limit } = request.into_inner();
        let limit = if limit == 0 { MAX_MARKS_LISTED } else { (limit as usize).min(MAX_MARKS_LISTED) };
        room.expect((limit + 1) * BYTES_PER_MARK).await?;
        let found = self.engine.marks(after, limit + 1).await?;
        let mut marks = found.map_err(|error| Reason::Internal.refuse(error.to_string()))?;
        let more = marks.len() > limit;
        marks.truncate(limit);
        let cursor = marks.last().filter(|_| more).map(|last| last.key.clone()).unwrap_or_default();
        Ok(room.respond(v1::ListMarksResponse { marks: marks.into_iter().map(mark).collect(), more, cursor }))
    }

    async fn release_marks(
        &self,
        request: Request<v1::ReleaseMarksRequest>,
    ) -> Result<Response<v1::ReleaseMarksResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::ReleaseMarksRequest { coordinator_id, tx, who, reason } = request.into_inner();
        let about = format!("coordinator {}", hexadecimal(&coordinator_id));
        let call = Call::new(origin, "release-marks").tx(&tx).about(about).note(&who, &reason);
        audited(&self.audit, call, async {
            let tx = parse_tx(tx)?;
            let coordinator = CoordinatorId::try_from(&coordinator_id[..]).map_err(|bad| {
                Reason::InvalidRequest.refuse_field("coordinator_id", format!("coordinator_id: {bad}"))
            })?;
            let Signed { who, reason } = caller.sign(who, reason)?;
            let release = Release { at: self.clock.now(), who: who.clone(), reason: reason.clone() };
            let asked = self.engine.ask(|reply| Command::ReleaseMarks { coordinator, tx: tx.clone(), release, reply });
            match asked.await? {
                Answer::Released => {
                    tracing::warn!(%tx, %coordinator, who, reason, "an operator has released a saga's semantic locks");
                    Ok(Response::new(v1::ReleaseMarksResponse {}))
                }
                Answer::Rejected(rejection) => Err(status_of(&rejection)),
                Answer::Resolved(_) | Answer::Forgotten | Answer::Pinned | Answer::LossAccepted { .. } => Err(misfit()),
            }
        })
        .await
    }

    async fn pin_coordinator(
        &self,
        request: Request<v1::PinCoordinatorRequest>,
    ) -> Result<Response<v1::PinCoordinatorResponse>, Status> {
        let (caller, origin) = (Caller::of(request.extensions()), Origin::of(request.extensions()));
        let v1::PinCoordinatorRequest { coordinator_id, public_key, who, reason } = request.into_inner();
        let about = format!("coordinator {}, key {}", hexadecimal(&coordinator_id), hexadecimal(&public_key));
        let call = Call::new(origin, "pin-coordinator").about(about).note(&who, &reason);
        audited(&self.audit, call, async {
            let coordinator = CoordinatorId::try_from(&coordinator_id[..]).map_err(|bad| {
                Reason::InvalidRequest.refuse_field("coordinator_id", format!("coordinator_id: {bad}"))
            })?;
            let bytes = public_key.len();
            let wrong = |_| {
                let why = format!("public_key has {bytes} bytes; send the 32 of an Ed25519 key");
                Reason::InvalidRequest.refuse_field("public_key", why)
            };
            let key = PublicKey(public_key[..].try_into().map_err(wrong)?);
            let Signed { who, reason } = caller.sign(who, reason)?;
            match self.engine.ask(|reply| Command::Pin { coordinator, key, reply }).await? {
                Answer::Pinned => {
                    tracing::warn!(%coordinator, %key, who, reason, "an operator has pinned a coordinator's key");
                    Ok(Response::new(v1::PinCoordinatorResponse {}))
                }
                Answer::Rejected(rejection) => Err(status_of(&rejection)),
                Answer::Resolved(_) | Answer::Forgotten | Answer::Released | Answer::LossAccepted { .. } => {
                    Err(misfit())
                }
            }
        })
        .await
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<v1::BackupResponse>, Status> {
        let origin = Origin::of(request.extensions());
        let v1::BackupRequest { folder } = request.into_inner();
        audited(&self.audit, Call::new(origin, "backup").about(&folder), async {
            let to = PathBuf::from(folder);
            tracing::info!(to = %to.display(), "a backup begins");
            self.engine.backup(to.clone()).await??;
            tracing::info!(to = %to.display(), "the backup is whole");
            Ok(Response::new(v1::BackupResponse {}))
        })
        .await
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Result<Response<v1::AuditResponse>, Status> {
        audit::answer(&self.audit, request).await
    }
}

/// Returns bytes that a request names as the audit record has them.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().take(MAX_NAMED_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn misfit() -> Status {
    Reason::Internal.refuse("the answer does not fit the question")
}

fn status_of(rejection: &Rejection) -> Status {
    match rejection {
        Rejection::NoSuchBranch | Rejection::NoSuchMarks => Reason::NotFound.refuse(rejection.to_string()),
        Rejection::NotInDoubt { .. }
        | Rejection::NotHeuristic { .. }
        | Rejection::OnlyReads
        | Rejection::EndedByOthers { .. }
        | Rejection::StepUnderWay
        | Rejection::NotPutBack => Reason::WrongState.refuse(rejection.to_string()),
    }
}

fn describe(view: &View<'_>, name: String) -> v1::DescribeParticipantResponse {
    let coordinators = view.core.coordinators().map(|known| v1::KnownCoordinator {
        coordinator_id: known.id.0.to_vec().into(),
        epoch: known.epoch.0,
        low_water_mark: known.low_water_mark.below().0,
        still_open: u32::try_from(known.low_water_mark.still_open().len()).unwrap_or(u32::MAX),
        connected: known.connected,
        public_key: known.pin.map_or_else(Bytes::new, |pin| Bytes::copy_from_slice(&pin.key.0)),
        vouched: known.pin.is_some_and(|pin| pin.vouched),
    });
    v1::DescribeParticipantResponse {
        name,
        resource: view.resource.to_owned(),
        branches_open: view.core.open_branches() as u64,
        branches_in_doubt: view.core.branches_in_doubt() as u64,
        coordinators: coordinators.collect(),
        refusing_work_because: view.health.refuses_work.clone().unwrap_or_default(),
        put_back: view.core.put_back().unwrap_or_default().to_owned(),
        losses: view.losses.iter().map(|(loss, kept)| accepted(loss, *kept)).collect(),
        warnings: view.health.warnings.clone(),
        numbers: view.health.numbers.iter().map(|(name, value)| number(name, *value)).collect(),
    }
}

fn number(name: &str, value: u64) -> v1::NamedNumber {
    v1::NamedNumber { name: name.to_owned(), value }
}

fn accepted(loss: &Loss, kept: WriteNumber) -> v1::AcceptedLoss {
    v1::AcceptedLoss {
        at_us: loss.at.0,
        who: loss.who.clone(),
        reason: loss.reason.clone(),
        put_back: loss.put_back.clone(),
        kept: Some(kept.into()),
    }
}

fn mark(Mark { key, by, begun_at }: Mark) -> v1::Mark {
    v1::Mark {
        key,
        tx: by.tx.to_bytes(),
        attempt_number: by.attempt_number.0,
        coordinator_id: by.coordinator.0.to_vec().into(),
        step: by.step.0.into(),
        begun_at_us: begun_at.0,
    }
}
