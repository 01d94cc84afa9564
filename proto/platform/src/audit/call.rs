//! A call that is to be recorded, and whoever makes it.

use super::Audit;
use super::pending::word;
use super::section::Section;
use crate::access::Caller;
use crate::reason::Reason;
use crate::server::Peer;
use crate::store::StoreError;
use bytes::Bytes;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use tonic::{Extensions, Status};
use undoubt_proto::v1::AuditEntry;
use undoubt_vocabulary::TxId;

/// The longest text of each kind in an entry, in bytes; what is longer is cut off.
const MAX_TEXT_BYTES: usize = 600;

/// The maker of a call, as the record has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The identity, if the caller has one.
    pub who: Option<Arc<str>>,
    /// The gateway that asked on its behalf.
    pub through: Option<Arc<str>>,
    pub address: Option<IpAddr>,
}

impl Origin {
    /// Returns the origin of a request.
    pub fn of(extensions: &Extensions) -> Origin {
        Caller::of(extensions).into()
    }

    /// Returns the origin of a request whose caller is not known.
    pub fn stranger(peer: &Peer) -> Origin {
        Origin { address: peer.address.map(|address| address.ip()), ..Origin::default() }
    }
}

impl From<Caller> for Origin {
    fn from(Caller { name, through, address, roles: _ }: Caller) -> Self {
        Origin { who: name, through, address: address.map(|address| address.ip()) }
    }
}

/// A call that is recorded.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) origin: Origin,
    pub(super) action: &'static str,
    pub(super) txs: Vec<TxId>,
    about: String,
    note: String,
}

impl Call {
    /// Returns a call about nothing in particular. `action`: its word in the table of methods, [`crate::access::action`].
    pub fn new(origin: Origin, action: &'static str) -> Call {
        Call { origin, action, txs: Vec::new(), about: String::new(), note: String::new() }
    }

    /// Names the transaction that it is about, if that is an id at all.
    #[must_use]
    pub fn tx(mut self, tx: &Bytes) -> Call {
        self.txs.extend(TxId::new(tx.clone()));
        self
    }

    /// Says what else it is about.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Call {
        Call { about: cut(about.into()), ..self }
    }

    /// Adds what the caller wrote about who he is and why.
    #[must_use]
    pub fn note(self, who: &str, reason: &str) -> Call {
        let written: Vec<&str> = [who, reason].into_iter().filter(|text| !text.is_empty()).collect();
        Call { note: cut(written.join(": ")), ..self }
    }

    pub(super) fn section(&self) -> Section {
        // Whoever may submit may cancel: it must not push out what operators do.
        if matches!(self.action, "submit" | "cancel") { Section::Clients } else { Section::Operations }
    }

    pub(super) fn into_entry(self) -> AuditEntry {
        let Call { origin: Origin { who, through, address }, action, txs, about, note } = self;
        let name = |name: Option<Arc<str>>| name.as_deref().unwrap_or_default().to_owned();
        AuditEntry {
            who: name(who),
            through: name(through),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            action: action.to_owned(),
            txs: txs.iter().map(TxId::to_bytes).collect(),
            about,
            note,
            ..AuditEntry::default()
        }
    }
}

/// Carries out a call, and has it recorded with what came of it before that is told. Without a record it is carried out all the same.
pub async fn audited<T>(
    audit: &Weak<Audit>,
    call: Call,
    doing: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let done = doing.await;
    // A server that is stopping tells of nothing any more.
    let Some(audit) = audit.upgrade() else { return done };
    let refused = done.as_ref().err().map_or_else(String::new, |status| word(Reason::of(status)));
    let recorded = audit.record(call, refused).await;
    let not_recorded = |error: StoreError| {
        Reason::Internal.refuse(format!("what became of this could not be recorded, so look at how it stands: {error}"))
    };
    recorded.map_err(not_recorded).and(done)
}

fn cut(mut text: String) -> String {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
    text
}
