//! The audit record, for programs.

use schemars::JsonSchema;
use serde::Serialize;
use undoubt_client::{AuditEntry, AuditRecord, TxId};

/// Entries of an audit record, the latest first.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Audit {
    pub entries: Vec<AuditLine>,
    pub more: bool,
    /// The place at which the rest begins, if there may be more.
    pub cursor: Option<String>,
}

/// One entry: the caller, the call, its transactions, the address it came from, and the reason if it was refused.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AuditLine {
    pub number: u64,
    pub at: String,
    /// The identity; absent of callers without one.
    pub who: Option<String>,
    /// The gateway that asked on its behalf.
    pub through: Option<String>,
    pub address: Option<String>,
    /// Empty where it counts refused calls of several kinds.
    pub action: String,
    pub txs: Vec<String>,
    pub about: String,
    pub note: String,
    /// The reason, a word of the catalogue; absent: it was done.
    pub refused: Option<String>,
    /// The calls that it stands for.
    pub count: u64,
}

impl From<&AuditRecord> for Audit {
    fn from(record: &AuditRecord) -> Self {
        Audit {
            entries: record.entries.iter().map(Into::into).collect(),
            more: record.cursor.is_some(),
            cursor: record.cursor.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&AuditEntry> for AuditLine {
    fn from(entry: &AuditEntry) -> Self {
        AuditLine {
            number: entry.number,
            at: entry.at.to_string(),
            who: entry.who.clone(),
            through: entry.through.clone(),
            address: entry.address.clone(),
            action: entry.action.clone(),
            txs: entry.txs.iter().map(TxId::to_string).collect(),
            about: entry.about.clone(),
            note: entry.note.clone(),
            refused: entry.refused.clone(),
            count: entry.count,
        }
    }
}
