//! What operators ask of a participant.

use crate::adapter::heuristic::to_wire;
use crate::config::Config;
use crate::engine::{Command, Handle, View};
use crate::resource::Heuristic;
use crate::session::gone;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use undoubt_participant_core::{Answer, BranchView, Rejection};
use undoubt_platform::Clock;
use undoubt_proto::v1;
use undoubt_proto::v1::participant_admin_server::ParticipantAdmin;
use undoubt_vocabulary::TxId;

const DEFAULT_LIST_LIMIT: u32 = 1_000;

/// Of a name or a reason.
const MAX_REASON_BYTES: usize = 256;

#[derive(Clone)]
pub(crate) struct AdminService {
    pub(crate) engine: Handle,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl ParticipantAdmin for AdminService {
    async fn describe(
        &self,
        _: Request<v1::DescribeParticipantRequest>,
    ) -> Result<Response<v1::DescribeParticipantResponse>, Status> {
        let name = self.config.name.clone();
        self.engine.inspect(move |view| describe(view, name)).await.map(Response::new).map_err(gone)
    }

    async fn list_branches(
        &self,
        request: Request<v1::ListBranchesRequest>,
    ) -> Result<Response<v1::ListBranchesResponse>, Status> {
        let v1::ListBranchesRequest { in_doubt_only, limit } = request.into_inner();
        let limit = if limit == 0 { DEFAULT_LIST_LIMIT } else { limit } as usize;
        let listed = self.engine.inspect(move |view| list(view, in_doubt_only, limit)).await;
        listed.map(Response::new).map_err(gone)
    }

    async fn resolve_branch(
        &self,
        request: Request<v1::ResolveBranchRequest>,
    ) -> Result<Response<v1::ResolveBranchResponse>, Status> {
        let v1::ResolveBranchRequest { tx, commit, who, reason } = request.into_inner();
        let tx = parse_tx(tx)?;
        check_reason("who", &who)?;
        check_reason("reason", &reason)?;
        tracing::warn!(%tx, commit, who, reason, "an operator decides a branch in doubt");
        let heuristic = Heuristic { commit, at: self.clock.now(), who, reason, decision: None };
        let answer = self.engine.ask(|reply| Command::Resolve { tx, heuristic, reply }).await.map_err(gone)?;
        match answer {
            Answer::Resolved(outcome) => {
                let outcome = v1::BranchOutcome::from(outcome).into();
                Ok(Response::new(v1::ResolveBranchResponse { outcome }))
            }
            Answer::Rejected(rejection) => Err(status_of(&rejection)),
            Answer::Forgotten => Err(Status::internal("the answer does not fit the question")),
        }
    }

    async fn forget_branch(
        &self,
        request: Request<v1::ForgetBranchRequest>,
    ) -> Result<Response<v1::ForgetBranchResponse>, Status> {
        let tx = parse_tx(request.into_inner().tx)?;
        let answer = self.engine.ask(|reply| Command::Forget { tx, reply }).await.map_err(gone)?;
        match answer {
            Answer::Forgotten => Ok(Response::new(v1::ForgetBranchResponse {})),
            Answer::Rejected(rejection) => Err(status_of(&rejection)),
            Answer::Resolved(_) => Err(Status::internal("the answer does not fit the question")),
        }
    }
}

fn parse_tx(tx: bytes::Bytes) -> Result<TxId, Status> {
    TxId::new(tx).map_err(|bad| Status::invalid_argument(bad.to_string()))
}

fn check_reason(what: &str, text: &str) -> Result<(), Status> {
    match text.len() {
        0 => Err(Status::invalid_argument(format!("{what} is missing; it is recorded for good"))),
        1..=MAX_REASON_BYTES => Ok(()),
        given => Err(Status::invalid_argument(format!("{what} has {given} bytes, more than {MAX_REASON_BYTES}"))),
    }
}

fn status_of(rejection: &Rejection) -> Status {
    match rejection {
        Rejection::NoSuchBranch => Status::not_found(rejection.to_string()),
        Rejection::NotInDoubt { .. } | Rejection::NotHeuristic { .. } => {
            Status::failed_precondition(rejection.to_string())
        }
    }
}

fn describe(view: &View<'_>, name: String) -> v1::DescribeParticipantResponse {
    let coordinators = view.core.coordinators().map(|known| v1::KnownCoordinator {
        coordinator_id: known.id.0.to_vec().into(),
        epoch: known.epoch.0,
        fence: known.fence.0,
        connected: known.connected,
    });
    v1::DescribeParticipantResponse {
        name,
        resource: view.resource.to_owned(),
        branches_open: view.core.open_branches() as u64,
        branches_in_doubt: view.core.branches_in_doubt() as u64,
        coordinators: coordinators.collect(),
        refusing_work_because: view.refusing_work_because.clone().unwrap_or_default(),
    }
}

fn list(view: &View<'_>, in_doubt_only: bool, limit: usize) -> v1::ListBranchesResponse {
    let mut branches: Vec<BranchView> = view.core.views().filter(|branch| branch.in_doubt || !in_doubt_only).collect();
    branches.sort_by_key(|branch| branch.begun_at);
    let more = branches.len() > limit;
    v1::ListBranchesResponse { branches: branches.into_iter().take(limit).map(branch).collect(), more }
}

fn branch(view: BranchView) -> v1::Branch {
    let heuristic = view.heuristic.map(to_wire);
    v1::Branch {
        tx: view.id.tx.to_bytes(),
        ticket: view.id.ticket.0,
        coordinator_id: view.id.coordinator.0.to_vec().into(),
        state: view.state.to_owned(),
        begun_at_us: view.begun_at.0,
        heuristic,
    }
}
