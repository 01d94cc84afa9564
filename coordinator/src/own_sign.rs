//! The memory of what this log lacks, as some start was shown it: later starts have to know it too, whoever answers them then.

use bytes::Bytes;
use prost::Message as _;
use undoubt_coordinator_core::standing::{Sign, lack};
use undoubt_platform::{NumberedStore, StoreError};
use undoubt_proto::v1::LogNumber;
use undoubt_vocabulary::{Starts, WriteNumber};

/// The key under which it is remembered.
const KEY: &[u8] = b"own";

/// Remembers for later starts what this log lacks.
pub(crate) async fn note(log: &NumberedStore, seen: &WriteNumber) -> Result<(), StoreError> {
    log.remember(KEY, Bytes::from(LogNumber::from(*seen).encode_to_vec()));
    log.store_remembered().await
}

/// Returns what an earlier start was shown, if this log still lacks it.
pub(crate) fn noted(log: &NumberedStore, starts: &Starts, is_new: bool) -> Option<Sign> {
    let noted = log.remembered(KEY)?;
    let seen = WriteNumber::try_from(LogNumber::decode(noted).ok()?).ok()?;
    let lack = lack(starts, is_new, &seen)?;
    Some(Sign::Noted(format!("an earlier start was shown its {seen}, and {lack}")))
}
