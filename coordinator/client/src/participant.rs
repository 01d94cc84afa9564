//! The calls of operators to a participant directly, past the coordinator.

use crate::connection::{Authorized, Connection, MAX_RESPONSE_BYTES, Repeat};
use crate::credentials::{InvalidCredentials, OnBehalfOf};
use crate::error::{InvalidAddress, OperatorError};
use crate::options::ClientOptions;
use crate::view::ParticipantState;
use std::sync::Arc;
use tonic::transport::Channel;
use undoubt_proto::convert::branch_outcome;
use undoubt_proto::v1;
use undoubt_proto::v1::participant_admin_client::ParticipantAdminClient;
use undoubt_vocabulary::{BranchOutcome, CoordinatorId, PublicKey, TxId};

/// Talks to one participant. Cheap to clone. A participant need not offer any of this.
#[derive(Clone, Debug)]
pub struct ParticipantClient {
    pub(crate) connection: Connection,
}

/// A decision of an operator alone (R3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchResolution {
    /// Its work takes effect.
    Commit,
    /// Nothing of it takes effect.
    Abort,
}

impl ParticipantClient {
    /// Returns a client that connects with its first call. `http://` may be left out.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect_lazy(address: &str, options: ClientOptions) -> Result<Self, InvalidAddress> {
        Ok(ParticipantClient { connection: Connection::open(address, options)? })
    }

    /// Returns a client that talks over a channel made elsewhere, whose own connecting and keep-alive then hold.
    pub fn with_channel(channel: Channel, options: ClientOptions) -> Self {
        ParticipantClient { connection: Connection::over("the participant", channel, options) }
    }

    /// Returns a client over the same connection that asks on somebody's behalf: the server then takes that one for the caller.
    pub fn on_behalf_of(&self, who: &OnBehalfOf) -> Result<Self, InvalidCredentials> {
        let asker = Arc::new(self.connection.asker.on_behalf_of(who)?);
        Ok(ParticipantClient { connection: Connection { asker, ..self.connection.clone() } })
    }

    pub(crate) fn admin(&self) -> ParticipantAdminClient<Authorized> {
        ParticipantAdminClient::new(self.connection.authorized()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    /// Returns what the participant says of itself: how it does, what is open, and its coordinators.
    pub async fn describe(&self) -> Result<ParticipantState, OperatorError> {
        let describe = |question| {
            let mut admin = self.admin();
            async move { admin.describe(question).await }
        };
        self.connection.ask("describe", v1::DescribeParticipantRequest {}, describe).await
    }

    /// Decides a branch in doubt without its coordinator. If the coordinator decided or will decide otherwise, the
    /// transaction is neither committed nor aborted as a whole, and is reported as damaged for good.
    pub async fn resolve(
        &self,
        tx: &TxId,
        resolution: BranchResolution,
        who: &str,
        reason: &str,
    ) -> Result<BranchOutcome, OperatorError> {
        let request = v1::ResolveBranchRequest {
            tx: tx.to_bytes(),
            commit: resolution == BranchResolution::Commit,
            who: who.to_owned(),
            reason: reason.to_owned(),
        };
        let resolve = |request| {
            let mut admin = self.admin();
            async move { admin.resolve_branch(request).await }
        };
        let v1::ResolveBranchResponse { outcome } = self.connection.act_on(tx, request, resolve).await?;
        branch_outcome("outcome", outcome).map_err(|cause| OperatorError::malformed(&self.connection.address, cause))
    }

    /// Accepts that the participant was put back from an older copy and has lost what came after it. Returns what it was taken
    /// from.
    pub async fn accept_loss(&self, who: &str, reason: &str) -> Result<String, OperatorError> {
        let request = v1::AcceptParticipantLossRequest { who: who.to_owned(), reason: reason.to_owned() };
        let accept = |request| {
            let mut admin = self.admin();
            async move { admin.accept_loss(request).await }
        };
        let accepted = self.connection.act("accept-loss", Repeat::OnlyIfNotReceived, request, accept).await?;
        let v1::AcceptParticipantLossResponse { put_back } = accepted;
        Ok(put_back)
    }

    /// Pins a coordinator's public key, in place of the one that is pinned: whoever proves it is taken for that coordinator.
    pub async fn pin_coordinator(
        &self,
        coordinator: CoordinatorId,
        key: PublicKey,
        who: &str,
        reason: &str,
    ) -> Result<(), OperatorError> {
        let request = v1::PinCoordinatorRequest {
            coordinator_id: coordinator.0.to_vec().into(),
            public_key: key.0.to_vec().into(),
            who: who.to_owned(),
            reason: reason.to_owned(),
        };
        let pin = |request| {
            let mut admin = self.admin();
            async move { admin.pin_coordinator(request).await }
        };
        let v1::PinCoordinatorResponse {} =
            self.connection.act("pin-coordinator", Repeat::OnlyIfNotReceived, request, pin).await?;
        Ok(())
    }

    /// Drops the semantic locks of a saga before it is over: it is isolated no more.
    pub async fn release_marks(
        &self,
        coordinator: CoordinatorId,
        tx: &TxId,
        who: &str,
        reason: &str,
    ) -> Result<(), OperatorError> {
        let request = v1::ReleaseMarksRequest {
            coordinator_id: coordinator.0.to_vec().into(),
            tx: tx.to_bytes(),
            who: who.to_owned(),
            reason: reason.to_owned(),
        };
        let release = |request| {
            let mut admin = self.admin();
            async move { admin.release_marks(request).await }
        };
        let v1::ReleaseMarksResponse {} = self.connection.act_on(tx, request, release).await?;
        Ok(())
    }

    /// Copies all that the participant keeps into a folder on its machine, given by its whole path. Waits for as long as that
    /// takes, once the participant has heard of it.
    pub async fn backup(&self, folder: &str) -> Result<(), OperatorError> {
        let backup = |request| {
            let mut admin = self.admin();
            async move { admin.backup(request).await }
        };
        let request = v1::BackupRequest { folder: folder.to_owned() };
        let v1::BackupResponse {} = self.connection.act_at_length(folder, request, backup).await?;
        Ok(())
    }

    /// Drops the record of a heuristic outcome.
    pub async fn forget(&self, tx: &TxId) -> Result<(), OperatorError> {
        let forget = |request| {
            let mut admin = self.admin();
            async move { admin.forget_branch(request).await }
        };
        let request = v1::ForgetBranchRequest { tx: tx.to_bytes() };
        let v1::ForgetBranchResponse {} = self.connection.act_on(tx, request, forget).await?;
        Ok(())
    }
}
