//! The audit record of a server: who did what to which transaction.

use crate::client::Client;
use crate::connection::Connection;
use crate::error::OperatorError;
use crate::listing::Cursor;
use crate::participant::ParticipantClient;
use bytes::Bytes;
use std::future::Future;
use tokio::time::Instant;
use tonic::{Response, Status};
use undoubt_proto::convert::Malformed;
use undoubt_proto::v1;
use undoubt_vocabulary::{Timestamp, TxId};

/// As many as are told if the query does not say.
const DEFAULT_LIMIT: u32 = 100;

/// The entries of an audit record that are asked for, the latest first; each method sets one condition.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuditQuery {
    /// Only those about this transaction.
    pub tx: Option<TxId>,
    /// Only those of this identity, or of callers on whose behalf it asked.
    pub who: Option<String>,
    /// Only those from this time on, by the server's clock.
    pub since: Option<Timestamp>,
    /// Only those before this time, by the server's clock.
    pub until: Option<Timestamp>,
    /// Only calls that were refused.
    pub refused: bool,
    /// At most this many; 0: 100.
    pub limit: u32,
    /// The place at which an earlier answer to the same query ended.
    pub after: Option<Cursor>,
}

impl AuditQuery {
    /// Returns the question for all entries, with the default limit.
    pub fn new() -> AuditQuery {
        AuditQuery::default()
    }

    /// Asks only for entries about this transaction.
    #[must_use]
    pub fn tx(self, tx: TxId) -> AuditQuery {
        AuditQuery { tx: Some(tx), ..self }
    }

    /// Asks only for entries of this identity, or of callers on whose behalf it asked.
    #[must_use]
    pub fn who(self, who: impl Into<String>) -> AuditQuery {
        AuditQuery { who: Some(who.into()), ..self }
    }

    /// Asks only for entries from this time on, by the server's clock.
    #[must_use]
    pub fn since(self, since: Timestamp) -> AuditQuery {
        AuditQuery { since: Some(since), ..self }
    }

    /// Asks only for entries before this time, by the server's clock.
    #[must_use]
    pub fn until(self, until: Timestamp) -> AuditQuery {
        AuditQuery { until: Some(until), ..self }
    }

    /// Asks only for calls that were refused.
    #[must_use]
    pub fn refused(self) -> AuditQuery {
        AuditQuery { refused: true, ..self }
    }

    /// Sets how many are told at most; 0: 100.
    #[must_use]
    pub fn limit(self, limit: u32) -> AuditQuery {
        AuditQuery { limit, ..self }
    }

    /// Goes on where an earlier answer to the same query ended.
    #[must_use]
    pub fn after(self, after: Cursor) -> AuditQuery {
        AuditQuery { after: Some(after), ..self }
    }

    fn request(&self, limit: u32, after: Option<&Cursor>) -> v1::AuditRequest {
        let microseconds = |at: Option<Timestamp>| at.map_or(0, |at| at.0);
        v1::AuditRequest {
            tx: self.tx.as_ref().map(TxId::to_bytes).unwrap_or_default(),
            who: self.who.clone().unwrap_or_default(),
            since_us: microseconds(self.since),
            until_us: microseconds(self.until),
            refused: self.refused,
            limit,
            after: after.map(|Cursor(bytes)| bytes.clone()).unwrap_or_default(),
        }
    }
}

/// An entry of an audit record: a call that changed something, or was to change something and was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Grows from entry to entry; numbers may be missing.
    pub number: u64,
    /// The moment of the first call that it stands for, by the server's clock.
    pub at: Timestamp,
    /// The identity of the caller, if it has one.
    pub who: Option<String>,
    /// The gateway that asked on its behalf.
    pub through: Option<String>,
    /// The IP address that the call came from, where the transport has one.
    pub address: Option<String>,
    /// submit, cancel, forget, resolve-step ...; empty where it stands for several.
    pub action: String,
    /// The transactions that it was about.
    pub txs: Vec<TxId>,
    /// The other thing that it was about: a participant, a step, a folder.
    pub about: String,
    /// The caller's own words: a name and a reason.
    pub note: String,
    /// The reason of the refusal, a word of the catalogue; `None`: it was done.
    pub refused: Option<String>,
    /// The calls that it stands for.
    pub count: u64,
}

/// Entries of an audit record.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuditRecord {
    /// The latest first.
    pub entries: Vec<AuditEntry>,
    /// Leads to the rest, if there may be more.
    pub cursor: Option<Cursor>,
}

impl TryFrom<v1::AuditResponse> for AuditRecord {
    type Error = Malformed;

    fn try_from(wire: v1::AuditResponse) -> Result<Self, Malformed> {
        let entries = wire.entries.into_iter().map(AuditEntry::try_from).collect::<Result<_, _>>()?;
        Ok(AuditRecord { entries, cursor: wire.more.then_some(Cursor(wire.cursor)) })
    }
}

impl TryFrom<v1::AuditEntry> for AuditEntry {
    type Error = Malformed;

    fn try_from(wire: v1::AuditEntry) -> Result<Self, Malformed> {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let tx = |tx: Bytes| TxId::new(tx).map_err(|cause| Malformed::Id { field: "entries.txs", cause });
        Ok(AuditEntry {
            number: wire.number,
            at: Timestamp(wire.at_us),
            who: given(wire.who),
            through: given(wire.through),
            address: given(wire.address),
            action: wire.action,
            txs: wire.txs.into_iter().map(tx).collect::<Result<_, _>>()?,
            about: wire.about,
            note: wire.note,
            refused: given(wire.refused),
            count: wire.count,
        })
    }
}

impl Client {
    /// Returns the entries of the coordinator's audit record that fit. Asks for page after page, until there are as many as wanted or
    /// no more, or until the deadline: what was found by then is the answer.
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditRecord, OperatorError> {
        let audit = |request| {
            let mut operator = self.operator();
            async move { operator.audit(request).await }
        };
        read(&self.connection, query, audit).await
    }
}

impl ParticipantClient {
    /// Returns the entries of the participant's audit record that fit, as [`Client::audit`] does.
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditRecord, OperatorError> {
        let audit = |request| {
            let mut admin = self.admin();
            async move { admin.audit(request).await }
        };
        read(&self.connection, query, audit).await
    }
}

async fn read<F>(
    connection: &Connection,
    query: &AuditQuery,
    mut ask: impl FnMut(v1::AuditRequest) -> F,
) -> Result<AuditRecord, OperatorError>
where
    F: Future<Output = Result<Response<v1::AuditResponse>, Status>>,
{
    let deadline = connection.deadline();
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit } as usize;
    let mut record = AuditRecord { entries: Vec::new(), cursor: query.after.clone() };
    loop {
        let left = u32::try_from(limit.saturating_sub(record.entries.len())).unwrap_or(u32::MAX);
        let request = query.request(left, record.cursor.as_ref());
        let page: AuditRecord = connection.ask("audit", request, &mut ask).await?;
        record.entries.extend(page.entries);
        record.cursor = page.cursor;
        if record.cursor.is_none() || record.entries.len() >= limit || Instant::now() >= deadline {
            return Ok(record);
        }
    }
}
