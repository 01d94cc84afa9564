//! A participant over a key-value store in its data folder.

use crate::{Frame, own_store};
use undoubt::process::Failed;
use undoubt_kv::{FAMILIES, KeyValue, KeyValueOptions};

/// Serves until it is asked to end.
pub async fn serve(frame: &Frame) -> Result<(), Failed> {
    let options = KeyValueOptions { min_free_bytes: frame.config.min_free_bytes };
    own_store::serve(frame, &FAMILIES, |numbered, known| Ok(KeyValue::numbered(numbered, known, options))).await
}
