//! The memory of what this log lacks, as some start was shown it: later starts have to know it too, whoever answers them then.

use bytes::Bytes;
use prost::Message as _;
use undoubt_coordinator_core::standing::{Sign, foreign_start, lack};
use undoubt_platform::{NumberedStore, StoreError};
use undoubt_proto::v1::LogNumber;
use undoubt_vocabulary::{Epoch, Starts, WriteNumber};

/// The key under which it is remembered.
const KEY: &[u8] = b"own";

/// Remembers for later starts what this log lacks.
pub(crate) async fn note(log: &NumberedStore, seen: &WriteNumber) -> Result<(), StoreError> {
    log.remember(KEY, Bytes::from(LogNumber::from(*seen).encode_to_vec()));
    log.store_remembered().await
}

/// Returns what an earlier start was shown, if this log still lacks it. `met`: the start that participants had met, as a folder
/// of an earlier format has it.
pub(crate) async fn noted(
    log: &NumberedStore,
    starts: &Starts,
    is_new: bool,
    met: Option<u32>,
) -> Result<Option<Sign>, StoreError> {
    let noted = log.remembered(KEY).and_then(|noted| WriteNumber::try_from(LogNumber::decode(noted).ok()?).ok());
    let seen = match (noted, met.filter(|met| *met >= starts.now.count && starts.now.losses == 0)) {
        (None, Some(met)) => {
            let own = WriteNumber { log: starts.log, start: starts.now, writes: 0 };
            let seen = foreign_start(&own, Epoch(met));
            note(log, &seen).await?;
            Some(seen)
        }
        (noted, Some(_) | None) => noted,
    };
    let sign = |seen: WriteNumber| {
        let lack = lack(starts, is_new, &seen)?;
        Some(Sign::Noted(format!("an earlier start was shown its {seen}, and {lack}")))
    };
    Ok(seen.and_then(sign))
}
