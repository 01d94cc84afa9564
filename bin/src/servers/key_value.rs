//! A participant over a key-value store.

use super::participant::Frame;
use super::stored;
use crate::process::Failed;
use undoubt_kv::{FAMILIES, KeyValue, KeyValueOptions};

/// Serves until it is asked to end.
pub async fn serve(frame: &Frame) -> Result<(), Failed> {
    let min_free_bytes = frame.config.min_free_bytes;
    let resource = |store, known| Ok(KeyValue::numbered(store, known, KeyValueOptions { min_free_bytes }));
    stored::serve(frame, &FAMILIES, resource).await
}
