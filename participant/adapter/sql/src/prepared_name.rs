//! The names under which databases list what is prepared. A database keeps nothing else of it, so the name tells all that has to
//! be known again after a crash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use std::fmt;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Timestamp, TxId};

/// The names of this project's prepared transactions begin so; the digit is the version of what follows.
const PREFIX: &str = "undoubt1_";

const IDENTITY_BYTES: usize = 8;
const COORDINATOR_BYTES: usize = 16;

/// The bytes before the transaction's id: identity, coordinator, attempt number, begin.
const HEAD_BYTES: usize = IDENTITY_BYTES + COORDINATOR_BYTES + 8 + 8;

/// The identity of a participant's schema in a database, drawn when it is made. One name space of prepared transactions is often
/// shared by all databases of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(pub [u8; IDENTITY_BYTES]);

impl Identity {
    /// Returns the id of the log of its participant's writes.
    pub fn as_log(self) -> [u8; 16] {
        let mut log = [0; 16];
        log[..IDENTITY_BYTES].copy_from_slice(&self.0);
        log
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The parts of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedName {
    pub identity: Identity,
    pub coordinator: CoordinatorId,
    pub attempt_number: AttemptNumber,
    /// The time when its transaction began.
    pub begun_at: Timestamp,
    pub tx: TxId,
}

/// The reason why a name is none of these: somebody else's, which nobody here touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a name that this project gives")]
pub struct NotOurs;

/// The parts of a name as XA has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xid {
    pub format_id: u32,
    pub gtrid: Bytes,
    pub bqual: Bytes,
}

impl Xid {
    /// The format of this project's names: "UND" and a version.
    pub const FORMAT_ID: u32 = 0x554E_4401;
}

impl PreparedName {
    /// Returns the beginning of all names of this participant, as far as whole characters tell it.
    pub fn prefix() -> &'static str {
        PREFIX
    }

    /// Returns it as one text of at most 148 characters, of which none needs to be escaped.
    pub fn to_gid(&self) -> String {
        let mut bytes = self.head();
        bytes.extend(self.tx.as_bytes());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads [`to_gid`](Self::to_gid) back.
    pub fn from_gid(gid: &str) -> Result<PreparedName, NotOurs> {
        let bytes = URL_SAFE_NO_PAD.decode(gid.strip_prefix(PREFIX).ok_or(NotOurs)?).map_err(|_| NotOurs)?;
        let (head, tx) = bytes.split_at_checked(HEAD_BYTES).ok_or(NotOurs)?;
        Self::from_parts(head, tx)
    }

    /// Returns it as a name of XA.
    pub fn to_xid(&self) -> Xid {
        Xid { format_id: Xid::FORMAT_ID, gtrid: self.tx.to_bytes(), bqual: self.head().into() }
    }

    /// Reads [`to_xid`](Self::to_xid) back.
    pub fn from_xid(xid: &Xid) -> Result<PreparedName, NotOurs> {
        if xid.format_id != Xid::FORMAT_ID || xid.bqual.len() != HEAD_BYTES {
            return Err(NotOurs);
        }
        Self::from_parts(&xid.bqual, &xid.gtrid)
    }

    fn head(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend(self.identity.0);
        bytes.extend(self.coordinator.0);
        bytes.extend(self.attempt_number.0.to_be_bytes());
        bytes.extend(self.begun_at.0.to_be_bytes());
        bytes
    }

    fn from_parts(head: &[u8], tx: &[u8]) -> Result<PreparedName, NotOurs> {
        let (identity, rest) = head.split_first_chunk().ok_or(NotOurs)?;
        let (coordinator, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        let (attempt, rest) = rest.split_first_chunk().ok_or(NotOurs)?;
        let begun_at = rest.try_into().map_err(|_| NotOurs)?;
        Ok(PreparedName {
            identity: Identity(*identity),
            coordinator: CoordinatorId(*coordinator),
            attempt_number: AttemptNumber(u64::from_be_bytes(*attempt)),
            begun_at: Timestamp(u64::from_be_bytes(begun_at)),
            tx: TxId::new(tx).map_err(|_| NotOurs)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(identity: [u8; 8], coordinator: [u8; 16], attempt: u64, begun_at: u64, tx: Vec<u8>) -> PreparedName {
        PreparedName {
            identity: Identity(identity),
            coordinator: CoordinatorId(coordinator),
            attempt_number: AttemptNumber(attempt),
            begun_at: Timestamp(begun_at),
            tx: TxId::new(tx).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn names_survive_being_listed(
            identity: [u8; 8], coordinator: [u8; 16], attempt: u64, begun_at: u64,
            tx in proptest::collection::vec(any::<u8>(), 1..=64),
        ) {
            let name = name(identity, coordinator, attempt, begun_at, tx);
            let gid = name.to_gid();
            prop_assert!(gid.len() <= 148 && gid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
            prop_assert_eq!(PreparedName::from_gid(&gid), Ok(name.clone()));
            let xid = name.to_xid();
            prop_assert!(xid.gtrid.len() <= 64 && xid.bqual.len() <= 64);
            prop_assert_eq!(PreparedName::from_xid(&xid), Ok(name));
        }

        #[test]
        fn nothing_else_is_taken_for_one(gid in "[ -~]{0,199}") {
            if let Ok(name) = PreparedName::from_gid(&gid) {
                prop_assert_eq!(name.to_gid(), gid);
            }
        }
    }

    #[test]
    fn names_of_others_are_not_ours() {
        let ours = name([1; 8], [2; 16], 3, 4, b"tx".to_vec());
        let gid = ours.to_gid();
        for other in ["", "undoubt1_", "undoubt2_AAAA", "someones", &gid[..60], &gid[1..], &format!("{gid}=")] {
            assert_eq!(PreparedName::from_gid(other), Err(NotOurs), "{other}");
        }
        let other = Xid { format_id: 1, ..ours.to_xid() };
        assert_eq!(PreparedName::from_xid(&other), Err(NotOurs));
        let short = Xid { bqual: Bytes::from_static(b"short"), ..ours.to_xid() };
        assert_eq!(PreparedName::from_xid(&short), Err(NotOurs));
    }
}
