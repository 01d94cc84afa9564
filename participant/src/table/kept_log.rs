//! The store's log, as it tells of itself: its starts, what is remembered of others, and losses that were accepted.

use super::record::Unreadable;
use super::recovery::unreadable;
use super::schema::META;
use crate::resource::{Loss, RecoveredLog, ResourceError};
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use undoubt_platform::numbered_store::Known;
use undoubt_platform::{Batch, Direction, NumberedStore, Store as _};
use undoubt_proto::record;
use undoubt_vocabulary::{Start, Starts, Timestamp, WriteNumber};

const LOSS: &[u8] = b"loss/";
const AFTER_LOSSES: &[u8] = b"loss0";

pub(super) struct KeptLog {
    pub(super) store: Arc<NumberedStore>,
    pub(super) known: Known,
}

impl KeptLog {
    pub(super) fn recovered(&self) -> Result<RecoveredLog, ResourceError> {
        let Known { starts, seen, put_back } = self.known.clone();
        Ok(RecoveredLog { starts, put_back, remembered: seen, losses: self.losses()? })
    }

    fn losses(&self) -> Result<Vec<(Loss, WriteNumber)>, ResourceError> {
        let stored = self.store.scan(META, LOSS, Some(AFTER_LOSSES), Direction::Forward, usize::MAX)?;
        let read = |(key, value): (Bytes, Bytes)| read_loss(&value).map_err(|cause| unreadable(META, key, &cause));
        stored.into_iter().map(read).collect()
    }

    pub(super) async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        let kept = self.store.stable();
        let Loss { at, who, reason, put_back, above } = loss;
        let record =
            record::Loss { at_us: at.0, who, reason, put_back, kept: Some(kept.into()), ..record::Loss::default() };
        let mut batch = Batch::default();
        let number = u32::try_from(self.losses()?.len()).unwrap_or(u32::MAX);
        batch.put(META, [LOSS, &number.to_be_bytes()].concat(), record.encode_to_vec());
        Ok(self.store.accept_loss(above, mark, batch).await?)
    }
}

fn read_loss(value: &Bytes) -> Result<(Loss, WriteNumber), Unreadable> {
    let record::Loss { at_us, who, reason, put_back, kept, .. } = record::Loss::decode(value.clone())?;
    let kept = WriteNumber::try_from(kept.unwrap_or_default())?;
    Ok((Loss { at: Timestamp(at_us), who, reason, put_back, above: Start::default() }, kept))
}
