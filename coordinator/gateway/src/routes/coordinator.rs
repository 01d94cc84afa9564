//! The coordinator itself: how it does, its participants, what was done to it, and what operators have it do.

use super::asked::{Asked, Given, invalid};
use super::json;
use super::transactions::{Order, limit};
use crate::gate::Asker;
use crate::json::{Audit, Coordinator, Participant};
use crate::problem::Problem;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use undoubt_client::{AuditQuery, ParticipantName};

pub(super) async fn describe(Asker(client): Asker) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &Coordinator::from(&client.describe().await?)))
}

/// The participants of a coordinator.
#[derive(Debug, Serialize)]
struct Participants {
    participants: Vec<Participant>,
}

pub(super) async fn participants(Asker(client): Asker) -> Result<Response, Problem> {
    let participants = client.describe().await?.participants.iter().map(Into::into).collect();
    Ok(json(StatusCode::OK, &Participants { participants }))
}

pub(super) async fn pause(Asker(client): Asker) -> Result<StatusCode, Problem> {
    client.pause_recovery().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume(Asker(client): Asker) -> Result<StatusCode, Problem> {
    client.resume_recovery().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn drain(Asker(client): Asker) -> Result<StatusCode, Problem> {
    client.drain().await?;
    Ok(StatusCode::ACCEPTED)
}

/// The folder of a backup, by its whole path on the coordinator's machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folder {
    folder: String,
}

pub(super) async fn backup(Asker(client): Asker, Given(to): Given<Folder>) -> Result<StatusCode, Problem> {
    client.backup(&to.folder).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An operator's word that what the coordinator's log has lost is lost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    #[serde(flatten)]
    order: Order,
    /// Participants that are not waited for.
    #[serde(default)]
    without: Vec<String>,
}

/// The coordinator after it.
#[derive(Debug, Serialize)]
struct Accepted {
    epoch: u32,
    committed: u32,
    held: u32,
}

pub(super) async fn accept_loss(Asker(client): Asker, Given(accept): Given<Accept>) -> Result<Response, Problem> {
    let without: Vec<ParticipantName> = accept
        .without
        .iter()
        .map(|name| name.parse().map_err(|bad| invalid(format!("without: {bad}"))))
        .collect::<Result<_, _>>()?;
    let accepted = client.accept_loss(&accept.order.who, &accept.order.reason, &without).await?;
    let (committed, held) = (accepted.committed, accepted.held);
    Ok(json(StatusCode::OK, &Accepted { epoch: accepted.epoch.0, committed, held }))
}

/// The query of the audit record.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    tx: Option<String>,
    who: Option<String>,
    refused: bool,
    limit: Option<u32>,
    after: Option<String>,
}

pub(super) async fn audit(Asker(client): Asker, Asked(wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let mut query = AuditQuery::new().limit(limit(wanted.limit)?);
    query.tx = wanted.tx.map(|tx| tx.parse()).transpose().map_err(|bad| invalid(format!("tx: {bad}")))?;
    query.who = wanted.who;
    query.refused = wanted.refused;
    query.after = wanted.after.map(|text| text.parse()).transpose().map_err(|bad| invalid(format!("after: {bad}")))?;
    Ok(json(StatusCode::OK, &Audit::from(&client.audit(&query).await?)))
}
