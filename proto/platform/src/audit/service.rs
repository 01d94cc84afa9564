//! The answer to a question about the record.

use super::{Audit, AuditQuery};
use crate::reason::Reason;
use crate::server::AnswerRoom;
use bytes::Bytes;
use std::sync::Weak;
use tonic::{Request, Response, Status};
use undoubt_proto::v1::{AuditRequest, AuditResponse};
use undoubt_vocabulary::TxId;

const DEFAULT_PAGE_ENTRIES: u32 = 100;
const MAX_PAGE_ENTRIES: u32 = 1_000;

/// The most that the entries of a page take.
pub const MAX_PAGE_BYTES: usize = 512 << 10;

/// Answers a question about the record. What was noted and not stored yet is stored first.
pub async fn answer(audit: &Weak<Audit>, request: Request<AuditRequest>) -> Result<Response<AuditResponse>, Status> {
    let mut room = AnswerRoom::of(request.extensions());
    let query = parse(request.into_inner())?;
    let Some(audit) = audit.upgrade() else {
        return Err(Reason::NotOffered.refuse("there is no audit record here, or the server is stopping"));
    };
    room.expect(2 * MAX_PAGE_BYTES).await?;
    let internal = |error: crate::store::StoreError| Reason::Internal.refuse(error.to_string());
    audit.flush().await.map_err(internal)?;
    let page = audit.page(&query).map_err(internal)?;
    let cursor = page.rest_below.map(|below| Bytes::copy_from_slice(&below.to_be_bytes())).unwrap_or_default();
    Ok(room.respond(AuditResponse { entries: page.entries, more: page.rest_below.is_some(), cursor }))
}

fn parse(request: AuditRequest) -> Result<AuditQuery, Status> {
    let AuditRequest { tx, who, since_us, until_us, refused, limit, after } = request;
    let wrong = |field: &str, why: String| Reason::InvalidRequest.refuse_field(field, why);
    let tx = (!tx.is_empty()).then(|| TxId::new(tx)).transpose().map_err(|bad| wrong("tx", bad.to_string()))?;
    let before = match after.as_ref() {
        [] => None,
        bytes => Some(bytes.try_into().map(u64::from_be_bytes).map_err(|_| {
            let why = "after: this is no cursor of the audit record; leave it out to begin with the latest";
            wrong("after", why.to_owned())
        })?),
    };
    let limit = if limit == 0 { DEFAULT_PAGE_ENTRIES } else { limit.min(MAX_PAGE_ENTRIES) } as usize;
    let who = Some(who).filter(|who| !who.is_empty());
    Ok(AuditQuery { tx, who, since_us, until_us, refused, before, limit, max_bytes: MAX_PAGE_BYTES })
}
