//! The coordinator itself: how it does, its participants, what was done to it, and what operators have it do.

use super::asked::{Asked, Given, invalid};
use super::json;
use super::transactions::limit;
use crate::gate::Asker;
use crate::json::{Audit, Coordinator, Participant};
use crate::operation::{Content, Operation};
use crate::problem::Problem;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use undoubt_client::{AuditQuery, ParticipantName};

pub(super) fn operations() -> Vec<Operation> {
    let order = |path, name, summary, asks, handler| Operation::new(("POST", path), (name, summary), asks, handler);
    let order = move |path, name, summary, asks, handler| order(path, name, summary, asks, handler).query::<At>();
    let done = |operation: Operation| operation.answer(204, "It is done.", Content::Nothing);
    vec![
        Operation::new(
            ("GET", "/v1/coordinator"),
            ("coordinator", "How the coordinator does."),
            "/undoubt.v1.Operator/Describe",
            get(coordinator),
        )
        .query::<At>()
        .json::<Coordinator>(200, "How it does."),
        Operation::new(
            ("GET", "/v1/participants"),
            ("participants", "The participants, as the coordinator sees them."),
            "/undoubt.v1.Operator/Describe",
            get(participants),
        )
        .query::<At>()
        .json::<Participants>(200, "The participants."),
        done(order(
            "/v1/coordinator/pause",
            "pause",
            "Stops driving the transactions that the coordinator recovered from its log.",
            "/undoubt.v1.Operator/PauseRecovery",
            post(pause),
        )),
        done(order(
            "/v1/coordinator/resume",
            "resume",
            "Drives them on again.",
            "/undoubt.v1.Operator/ResumeRecovery",
            post(resume),
        )),
        order(
            "/v1/coordinator/drain",
            "drain",
            "Takes no new transactions, finishes those that are open, and ends.",
            "/undoubt.v1.Operator/Drain",
            post(drain),
        )
        .answer(202, "It drains.", Content::Nothing),
        done(
            order(
                "/v1/coordinator/backup",
                "backup",
                "Copies all that the coordinator keeps into a folder on its machine.",
                "/undoubt.v1.Operator/Backup",
                post(backup),
            )
            .body::<Folder>(),
        ),
        order(
            "/v1/coordinator/accept-loss",
            "acceptLoss",
            "Lets a coordinator that is held serve, though its log has lost what others have seen.",
            "/undoubt.v1.Operator/AcceptLoss",
            post(accept_loss),
        )
        .body::<Accept>()
        .json::<Accepted>(200, "How it serves."),
        Operation::new(
            ("GET", "/v1/audit"),
            ("audit", "Who did what, the latest first."),
            "/undoubt.v1.Operator/Audit",
            get(audit),
        )
        .query::<Wanted>()
        .json::<Audit>(200, "Entries of the audit record."),
    ]
}

/// The query of what is about one coordinator.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct At {
    /// The coordinator, by its id; it may be left out where there is one behind this gateway.
    coordinator: Option<String>,
}

async fn coordinator(asker: Asker, Asked(at): Asked<At>) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &Coordinator::from(&asker.of(at.coordinator.as_deref())?.describe().await?)))
}

/// The participants of a coordinator.
#[derive(Debug, JsonSchema, Serialize)]
struct Participants {
    participants: Vec<Participant>,
}

async fn participants(asker: Asker, Asked(at): Asked<At>) -> Result<Response, Problem> {
    let participants =
        asker.of(at.coordinator.as_deref())?.describe().await?.participants.iter().map(Into::into).collect();
    Ok(json(StatusCode::OK, &Participants { participants }))
}

async fn pause(asker: Asker, Asked(at): Asked<At>) -> Result<StatusCode, Problem> {
    asker.of(at.coordinator.as_deref())?.pause_recovery().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(asker: Asker, Asked(at): Asked<At>) -> Result<StatusCode, Problem> {
    asker.of(at.coordinator.as_deref())?.resume_recovery().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn drain(asker: Asker, Asked(at): Asked<At>) -> Result<StatusCode, Problem> {
    asker.of(at.coordinator.as_deref())?.drain().await?;
    Ok(StatusCode::ACCEPTED)
}

/// The folder of a backup, by its whole path on the coordinator's machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Folder {
    folder: String,
}

async fn backup(asker: Asker, Asked(at): Asked<At>, Given(to): Given<Folder>) -> Result<StatusCode, Problem> {
    asker.of(at.coordinator.as_deref())?.backup(&to.folder).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An operator's word that what the coordinator's log has lost is lost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    /// The name of a caller that has no identity.
    #[serde(default)]
    who: String,
    #[schemars(length(min = 1))]
    reason: String,
    /// Participants that are not waited for.
    #[serde(default)]
    without: Vec<String>,
}

/// The coordinator after it.
#[derive(Debug, JsonSchema, Serialize)]
struct Accepted {
    epoch: u32,
    committed: u32,
    held: u32,
}

async fn accept_loss(asker: Asker, Asked(at): Asked<At>, Given(accept): Given<Accept>) -> Result<Response, Problem> {
    let without: Vec<ParticipantName> = accept
        .without
        .iter()
        .map(|name| name.parse().map_err(|bad| invalid(format!("without: {bad}"))))
        .collect::<Result<_, _>>()?;
    let accepted = asker.of(at.coordinator.as_deref())?.accept_loss(&accept.who, &accept.reason, &without).await?;
    let (committed, held) = (accepted.committed, accepted.held);
    Ok(json(StatusCode::OK, &Accepted { epoch: accepted.epoch.0, committed, held }))
}

/// The query of the audit record.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// The transaction that the entries are about; else any.
    tx: Option<String>,
    /// The identity whose entries are listed; else any.
    who: Option<String>,
    /// True for refused calls alone.
    refused: bool,
    /// The most entries to list, up to 1,000; else 100.
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<u32>,
    /// The cursor with which an earlier answer ended.
    after: Option<String>,
    /// The coordinator whose record it is, by its id; it may be left out where there is one behind this gateway.
    coordinator: Option<String>,
}

async fn audit(asker: Asker, Asked(wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let client = asker.of(wanted.coordinator.as_deref())?;
    let mut query = AuditQuery::new().limit(limit(wanted.limit)?);
    query.tx = wanted.tx.map(|tx| tx.parse()).transpose().map_err(|bad| invalid(format!("tx: {bad}")))?;
    query.who = wanted.who;
    query.refused = wanted.refused;
    query.after = wanted.after.map(|text| text.parse()).transpose().map_err(|bad| invalid(format!("after: {bad}")))?;
    Ok(json(StatusCode::OK, &Audit::from(&client.audit(&query).await?)))
}
