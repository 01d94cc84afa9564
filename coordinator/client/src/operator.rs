//! What an operator asks of a coordinator.

use crate::client::Client;
use crate::connection::{Failure, Repeat};
use crate::error::OperatorError;
use crate::retry::explain;
use crate::submit::known;
use crate::view::CoordinatorView;
use std::sync::Arc;
use tonic::Code;
use undoubt_proto::convert::{KnownOutcome, Malformed};
use undoubt_proto::v1;
use undoubt_vocabulary::{Epoch, ParticipantName, TxId};

/// An operator's decision about a step of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResolution {
    /// Try it again, with all its attempts. Only of a step that is stuck.
    Retry,
    /// Go on without it: nobody vouches for its effect, and the saga is reported as damaged.
    Skip,
    /// It has been done by other means.
    Done,
}

/// What came of it when an operator accepted what a coordinator's log had lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossAccepted {
    pub epoch: Epoch,
    /// Transactions that participants know to have committed.
    pub committed: u32,
    /// Transactions that are held until an operator ends each.
    pub held: u32,
}

impl Client {
    pub async fn describe(&self) -> Result<CoordinatorView, OperatorError> {
        let attempt = || {
            let mut operator = self.operator();
            async move { operator.describe(v1::DescribeRequest {}).await }
        };
        let response = self.connection.call(self.connection.deadline(), Repeat::Always, "describe", attempt).await;
        let address = &self.connection.address;
        response
            .map_err(|failure| OperatorError::asking(address, failure))?
            .try_into()
            .map_err(|cause| OperatorError::malformed(address, cause))
    }

    /// Learns what deadline the coordinator gives to transactions that name none. From then on their outcomes are waited for
    /// as long.
    pub async fn learn_default_timeout(&mut self) -> Result<(), OperatorError> {
        let default_timeout = self.describe().await?.default_timeout;
        Arc::make_mut(&mut self.connection.options).default_timeout = default_timeout;
        Ok(())
    }

    /// Gives a transaction up: what is not known of its branches or steps is recorded as such, for good. Of an ended one
    /// that is damaged, says that somebody has seen to it.
    pub async fn forget(&self, tx: &TxId, who: &str, reason: &str) -> Result<(), OperatorError> {
        let request = v1::ForgetRequest { tx: tx.to_bytes(), who: who.to_owned(), reason: reason.to_owned() };
        let attempt = || {
            let (mut operator, request) = (self.operator(), request.clone());
            async move { operator.forget(request).await }
        };
        let repeat = Repeat::OnlyIfNotReceived;
        let response = self.connection.call(self.connection.deadline(), repeat, tx, attempt).await;
        let done: Result<v1::ForgetResponse, _> =
            response.map_err(|failure| OperatorError::new(&self.connection.address, Some(tx), failure));
        done.map(drop)
    }

    /// Ends a saga's step that is not settled, and tells how the saga stands then. What was sent before may still take effect.
    pub async fn resolve_step(
        &self,
        tx: &TxId,
        step: &str,
        resolution: StepResolution,
        who: &str,
        reason: &str,
    ) -> Result<KnownOutcome, OperatorError> {
        let resolution = match resolution {
            StepResolution::Retry => v1::StepResolution::Retry,
            StepResolution::Skip => v1::StepResolution::Skip,
            StepResolution::Done => v1::StepResolution::Done,
        };
        let request = v1::ResolveStepRequest {
            tx: tx.to_bytes(),
            step: step.to_owned(),
            resolution: resolution.into(),
            who: who.to_owned(),
            reason: reason.to_owned(),
        };
        let attempt = || {
            let (mut operator, request) = (self.operator(), request.clone());
            async move { operator.resolve_step(request).await }
        };
        let repeat = Repeat::OnlyIfNotReceived;
        let address = &self.connection.address;
        let response = self.connection.call(self.connection.deadline(), repeat, tx, attempt).await;
        let response: v1::ResolveStepResponse =
            response.map_err(|failure| OperatorError::new(address, Some(tx), failure))?;
        known(response.outcome).map_err(|cause| OperatorError::malformed(address, cause))
    }

    /// Lets a coordinator that is held serve, though its log has lost what others have seen. Participants named in `without` are
    /// not waited for.
    pub async fn accept_loss(
        &self,
        who: &str,
        reason: &str,
        without: &[ParticipantName],
    ) -> Result<LossAccepted, OperatorError> {
        let without = without.iter().map(ToString::to_string).collect();
        let request = v1::AcceptLossRequest { who: who.to_owned(), reason: reason.to_owned(), without };
        let attempt = || {
            let (mut operator, request) = (self.operator(), request.clone());
            async move { operator.accept_loss(request).await }
        };
        let repeat = Repeat::OnlyIfNotReceived;
        let response = self.connection.call(self.connection.deadline(), repeat, "accept-loss", attempt).await;
        let v1::AcceptLossResponse { epoch, committed, held } =
            response.map_err(|failure| OperatorError::new(&self.connection.address, None, failure))?;
        Ok(LossAccepted { epoch: Epoch(epoch), committed, held })
    }

    /// Stops driving transactions that were recovered from the log.
    pub async fn pause_recovery(&self) -> Result<(), OperatorError> {
        let attempt = || {
            let mut operator = self.operator();
            async move { operator.pause_recovery(v1::PauseRecoveryRequest {}).await }
        };
        let response = self.connection.call(self.connection.deadline(), Repeat::Always, "pause", attempt).await;
        response.map(drop).map_err(|failure| OperatorError::new(&self.connection.address, None, failure))
    }

    pub async fn resume_recovery(&self) -> Result<(), OperatorError> {
        let attempt = || {
            let mut operator = self.operator();
            async move { operator.resume_recovery(v1::ResumeRecoveryRequest {}).await }
        };
        let response = self.connection.call(self.connection.deadline(), Repeat::Always, "resume", attempt).await;
        response.map(drop).map_err(|failure| OperatorError::new(&self.connection.address, None, failure))
    }

    /// The coordinator takes no new transactions, finishes those in flight, then ends.
    pub async fn drain(&self) -> Result<(), OperatorError> {
        let attempt = || {
            let mut operator = self.operator();
            async move { operator.drain(v1::DrainRequest {}).await }
        };
        // Not repeated when unclear: a coordinator that has drained is gone, and would be waited for in vain.
        let repeat = Repeat::OnlyIfNotReceived;
        let response = self.connection.call(self.connection.deadline(), repeat, "drain", attempt).await;
        response.map(drop).map_err(|failure| OperatorError::new(&self.connection.address, None, failure))
    }

    /// Copies all that the coordinator keeps into a folder on its machine, given by its whole path. Waits for as long as that
    /// takes, once the coordinator has heard of it.
    pub async fn backup(&self, folder: &str) -> Result<(), OperatorError> {
        let attempt = || {
            let (mut operator, request) = (self.operator(), v1::BackupRequest { folder: folder.to_owned() });
            async move { operator.backup(request).await }
        };
        let response = self.connection.call_once_heard(folder, attempt).await;
        response.map(drop).map_err(|failure| OperatorError::new(&self.connection.address, None, failure))
    }
}

impl OperatorError {
    /// Returns the error of a call that only asks: whether it was heard or not, nothing was done.
    pub(crate) fn asking(address: &str, failure: Failure) -> Self {
        match failure {
            Failure::Unanswered(cause) => OperatorError::NotReached(cause),
            Failure::Answered(_) => OperatorError::new(address, None, failure),
        }
    }

    pub(crate) fn new(address: &str, tx: Option<&TxId>, failure: Failure) -> Self {
        let status = match failure {
            Failure::Answered(status) => status,
            Failure::Unanswered(cause) if cause.maybe_received => return OperatorError::Unclear(cause),
            Failure::Unanswered(cause) => return OperatorError::NotReached(cause),
        };
        let (address, message) = (address.to_owned(), explain(&status));
        match (status.code(), tx) {
            (Code::NotFound, Some(tx)) => OperatorError::NotFound { address, tx: tx.clone() },
            (Code::FailedPrecondition, _) => OperatorError::WrongState { address, message },
            (Code::InvalidArgument, _) => OperatorError::Refused { address, message },
            (Code::Unimplemented, _) => OperatorError::NotOffered { address, message },
            (code, _) => OperatorError::Unexpected { address, code, message },
        }
    }

    pub(crate) fn malformed(address: &str, cause: Malformed) -> Self {
        OperatorError::Malformed { address: address.to_owned(), cause }
    }
}
