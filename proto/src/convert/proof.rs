//! The words of former keys for those that follow them.

use crate::v1;
use bytes::Bytes;
use undoubt_vocabulary::Succession;

impl From<Succession> for v1::Succession {
    fn from(Succession { former, signature }: Succession) -> Self {
        let (former, signature) = (Bytes::copy_from_slice(&former.0), Bytes::copy_from_slice(&signature.0));
        v1::Succession { former_public_key: former, signature }
    }
}
