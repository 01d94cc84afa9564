//! The names under which applications prepare what a participant adopts. The attempt is not known yet, so it is in none.

use crate::prepared_name::{Identity, NotOurs};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use undoubt_vocabulary::{CoordinatorId, TxId};

/// They begin so; the digit is the version of what follows.
const PREFIX: &str = "undoubt1e_";

/// The parts of such a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnlistedName {
    pub identity: Identity,
    /// The only coordinator that may have it adopted.
    pub coordinator: CoordinatorId,
    pub tx: TxId,
}

impl EnlistedName {
    /// Returns it as one text of at most 128 characters, of which none needs to be escaped.
    pub fn to_gid(&self) -> String {
        let EnlistedName { identity, coordinator, tx } = self;
        let bytes = [&identity.0[..], &coordinator.0, tx.as_bytes()].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads [`to_gid`](Self::to_gid) back.
    pub fn from_gid(gid: &str) -> Result<EnlistedName, NotOurs> {
        let bytes = URL_SAFE_NO_PAD.decode(gid.strip_prefix(PREFIX).ok_or(NotOurs)?).map_err(|_| NotOurs)?;
        let (identity, rest) = bytes.split_first_chunk().ok_or(NotOurs)?;
        let (coordinator, tx) = rest.split_first_chunk().ok_or(NotOurs)?;
        let tx = TxId::new(tx).map_err(|_| NotOurs)?;
        Ok(EnlistedName { identity: Identity(*identity), coordinator: CoordinatorId(*coordinator), tx })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PreparedName;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_survive_being_listed_and_are_no_names_of_the_participants_own(
            identity: [u8; 8], coordinator: [u8; 16], tx in proptest::collection::vec(any::<u8>(), 1..=64),
        ) {
            let tx = TxId::new(tx).unwrap();
            let name = EnlistedName { identity: Identity(identity), coordinator: CoordinatorId(coordinator), tx };
            let gid = name.to_gid();
            prop_assert!(gid.len() <= 128 && gid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
            prop_assert_eq!(EnlistedName::from_gid(&gid), Ok(name));
            prop_assert_eq!(PreparedName::from_gid(&gid), Err(NotOurs));
        }

        #[test]
        fn nothing_else_is_taken_for_one(gid in "(undoubt1e_)?[ -~]{0,150}") {
            if let Ok(name) = EnlistedName::from_gid(&gid) {
                prop_assert_eq!(name.to_gid(), gid);
            }
        }
    }
}
