//! What operators ask of an observer: how it is. It has nothing to be told.

use super::refused;
use crate::config::Config;
use crate::metrics::Figures;
use crate::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::{Request, Response, Status};
use undoubt_proto::v1;
use undoubt_proto::v1::operator_server::Operator;
use undoubt_stream::observer::{Contact, Standing};
use undoubt_vocabulary::{CoordinatorPhase, ParticipantName};

#[derive(Clone, Debug)]
pub(crate) struct OperatorService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Arc<Config>,
    pub(crate) figures: Arc<Figures>,
}

impl OperatorService {
    fn participant(
        &self,
        name: &ParticipantName,
        contact: Option<&Contact<'_>>,
        missed: Option<&str>,
    ) -> v1::ParticipantView {
        let address = self.config.participants.iter().find(|observed| observed.name == name.as_str());
        let away = contact.and_then(|contact| contact.away);
        let since = away.map(|(since, _)| since).or(contact.and_then(|contact| contact.caught_up_at));
        let last_error = away.map(|(_, why)| why).or(missed).unwrap_or_default();
        v1::ParticipantView {
            name: name.to_string(),
            address: address.map(|observed| observed.address.clone()).unwrap_or_default(),
            connected: away.is_none() && contact.is_some_and(|contact| contact.caught_up_at.is_some()),
            since_us: since.map_or(0, |since| since.0),
            resource: "observed".to_owned(),
            last_error: last_error.to_owned(),
            queued: self.figures.of(name.as_str()).map_or(0, |own| own.behind.load(Ordering::Relaxed)),
            ..Default::default()
        }
    }
}

#[tonic::async_trait]
impl Operator for OperatorService {
    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let now = self.shared.clock.now();
        let state = self.shared.state();
        let observer = &state.observer;
        let mut participants = Vec::new();
        for (name, _) in observer.sources() {
            let missed = state.gaps.iter().rev().find(|gap| gap.participant == *name).map(|gap| gap.why.as_str());
            participants.push(self.participant(name, observer.contact(name).as_ref(), missed));
        }
        let oldest = observer.running().map(|saga| saga.begun_at()).min();
        let asking = |saga: &&undoubt_stream::observer::Saga| {
            matches!(observer.judge(saga, now).standing, Standing::Parked | Standing::Quiet | Standing::Unknown)
        };
        let asks: Vec<_> = observer.running().filter(asking).collect();
        let oldest_asking = asks.iter().map(|saga| saga.begun_at()).min();
        let age = |begun: Option<undoubt_vocabulary::Timestamp>| {
            begun.map_or(0, |begun| u64::try_from(now.since(begun).as_micros()).unwrap_or(u64::MAX))
        };
        let open = observer.counts().0 as u64;
        let (committed, aborted) = self.figures.totals();
        let figures = v1::CoordinatorFigures {
            begun: open + committed + aborted,
            committed,
            aborted,
            stuck: asks.len() as u64,
            oldest_open_us: age(oldest),
            oldest_stuck_us: age(oldest_asking),
            ..Default::default()
        };
        Ok(Response::new(v1::DescribeResponse {
            name: self.config.name.clone(),
            epoch: self.shared.epoch,
            phase: CoordinatorPhase::Serving.number(),
            open,
            max_open: self.config.max_running_sagas as u64,
            participants,
            refusing_work_because: "it is an observer: it takes no transactions".to_owned(),
            figures: Some(figures),
            ..Default::default()
        }))
    }

    async fn forget(&self, _: Request<v1::ForgetRequest>) -> Result<Response<v1::ForgetResponse>, Status> {
        refused("give anything up")
    }

    async fn resolve_step(
        &self,
        _: Request<v1::ResolveStepRequest>,
    ) -> Result<Response<v1::ResolveStepResponse>, Status> {
        refused("decide about steps")
    }

    async fn pause_recovery(
        &self,
        _: Request<v1::PauseRecoveryRequest>,
    ) -> Result<Response<v1::PauseRecoveryResponse>, Status> {
        refused("recover anything")
    }

    async fn resume_recovery(
        &self,
        _: Request<v1::ResumeRecoveryRequest>,
    ) -> Result<Response<v1::ResumeRecoveryResponse>, Status> {
        refused("recover anything")
    }

    async fn drain(&self, _: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        refused("drain: nothing is open in it, so end its process")
    }

    async fn accept_loss(&self, _: Request<v1::AcceptLossRequest>) -> Result<Response<v1::AcceptLossResponse>, Status> {
        refused("lose anything that others do not have")
    }

    async fn backup(&self, _: Request<v1::BackupRequest>) -> Result<Response<v1::BackupResponse>, Status> {
        refused("make backups: what it keeps is read again from the participants' logs")
    }

    async fn audit(&self, _: Request<v1::AuditRequest>) -> Result<Response<v1::AuditResponse>, Status> {
        refused("keep an audit record")
    }
}
