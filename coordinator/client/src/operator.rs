//! The calls of operators to a coordinator.

use crate::client::Client;
use crate::connection::{Failure, Repeat};
use crate::error::OperatorError;
use crate::retry::{explain, reason};
use crate::submit::known;
use crate::view::CoordinatorView;
use crate::view::DefaultTimeout;
use std::sync::Arc;
use tonic::Code;
use undoubt_proto::convert::{KnownOutcome, Malformed};
use undoubt_proto::v1;
use undoubt_vocabulary::{Epoch, ParticipantName, TxId};

/// An operator's decision about a step of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepResolution {
    /// Try it again, with all its attempts. Only of a step that is stuck.
    Retry,
    /// Go on without it: nobody vouches for its effect, and the saga is reported as damaged.
    Skip,
    /// It has been done by other means.
    Done,
}

/// The state of a coordinator after an operator has accepted what its log had lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LossAccepted {
    /// The epoch that it serves with from then on.
    pub epoch: Epoch,
    /// Transactions that participants know to have committed.
    pub committed: u32,
    /// Transactions that are held until an operator ends each.
    pub held: u32,
}

impl Client {
    /// Returns what the coordinator says of itself: how it does, what is open, and its participants.
    pub async fn describe(&self) -> Result<CoordinatorView, OperatorError> {
        let describe = |question| {
            let mut operator = self.operator();
            async move { operator.describe(question).await }
        };
        self.connection.ask("describe", v1::DescribeRequest {}, describe).await
    }

    /// Learns what deadline the coordinator gives to transactions that name none. From then on their outcomes are waited for
    /// as long.
    pub async fn learn_default_timeout(&mut self) -> Result<(), OperatorError> {
        let describe = |question| {
            let mut operator = self.operator();
            async move { operator.describe(question).await }
        };
        // Of the rest, callers that may only submit are not told all.
        let DefaultTimeout(default_timeout) = self.connection.ask("describe", v1::DescribeRequest {}, describe).await?;
        Arc::make_mut(&mut self.connection.options).default_timeout = default_timeout;
        Ok(())
    }

    /// Gives a transaction up: what is not known of its branches or steps is recorded as such, for good. Of an ended one
    /// that is damaged, says that somebody has seen to it.
    pub async fn forget(&self, tx: &TxId, who: &str, reason: &str) -> Result<(), OperatorError> {
        let request = v1::ForgetRequest { tx: tx.to_bytes(), who: who.to_owned(), reason: reason.to_owned() };
        let forget = |request| {
            let mut operator = self.operator();
            async move { operator.forget(request).await }
        };
        let v1::ForgetResponse {} = self.connection.act_on(tx, request, forget).await?;
        Ok(())
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
        let resolve = |request| {
            let mut operator = self.operator();
            async move { operator.resolve_step(request).await }
        };
        let v1::ResolveStepResponse { outcome } = self.connection.act_on(tx, request, resolve).await?;
        known(outcome).map_err(|cause| OperatorError::malformed(&self.connection.address, cause))
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
        let accept = |request| {
            let mut operator = self.operator();
            async move { operator.accept_loss(request).await }
        };
        let accepted = self.connection.act("accept-loss", Repeat::OnlyIfNotReceived, request, accept).await?;
        let v1::AcceptLossResponse { epoch, committed, held } = accepted;
        Ok(LossAccepted { epoch: Epoch(epoch), committed, held })
    }

    /// Stops driving transactions that were recovered from the log.
    pub async fn pause_recovery(&self) -> Result<(), OperatorError> {
        let pause = |request| {
            let mut operator = self.operator();
            async move { operator.pause_recovery(request).await }
        };
        let request = v1::PauseRecoveryRequest {};
        let v1::PauseRecoveryResponse {} = self.connection.act("pause", Repeat::Always, request, pause).await?;
        Ok(())
    }

    /// Drives them on again.
    pub async fn resume_recovery(&self) -> Result<(), OperatorError> {
        let resume = |request| {
            let mut operator = self.operator();
            async move { operator.resume_recovery(request).await }
        };
        let request = v1::ResumeRecoveryRequest {};
        let v1::ResumeRecoveryResponse {} = self.connection.act("resume", Repeat::Always, request, resume).await?;
        Ok(())
    }

    /// The coordinator takes no new transactions, finishes those in flight, then ends.
    pub async fn drain(&self) -> Result<(), OperatorError> {
        let drain = |request| {
            let mut operator = self.operator();
            async move { operator.drain(request).await }
        };
        // Not repeated when unclear: a coordinator that has drained is gone, and would be waited for in vain.
        let (repeat, request) = (Repeat::OnlyIfNotReceived, v1::DrainRequest {});
        let v1::DrainResponse {} = self.connection.act("drain", repeat, request, drain).await?;
        Ok(())
    }

    /// Copies all that the coordinator keeps into a folder on its machine, given by its whole path. Waits for as long as that
    /// takes, once the coordinator has heard of it.
    pub async fn backup(&self, folder: &str) -> Result<(), OperatorError> {
        let backup = |request| {
            let mut operator = self.operator();
            async move { operator.backup(request).await }
        };
        let request = v1::BackupRequest { folder: folder.to_owned() };
        let v1::BackupResponse {} = self.connection.act_at_length(folder, request, backup).await?;
        Ok(())
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
        let (address, message, reason) = (address.to_owned(), explain(&status), reason(&status));
        match (status.code(), tx) {
            (Code::NotFound, Some(tx)) => OperatorError::NotFound { address, tx: tx.clone() },
            (Code::FailedPrecondition, _) => OperatorError::WrongState { address, message, reason },
            (Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated, _) => {
                OperatorError::Refused { address, message, reason }
            }
            (Code::Unimplemented, _) => OperatorError::NotOffered { address, message, reason },
            (code, _) => OperatorError::Unexpected { address, code, message, reason },
        }
    }

    pub(crate) fn malformed(address: &str, cause: Malformed) -> Self {
        OperatorError::Malformed { address: address.to_owned(), cause }
    }
}
