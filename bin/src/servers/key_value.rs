//! A participant over a key-value store.

use super::participant::Frame;
use super::stored::{self, drawn, not_opened};
use crate::process::Failed;
use std::sync::Arc;
use undoubt_kv::{FAMILIES, KeyValue, KeyValueOptions};
use undoubt_platform::SystemClock;
use undoubt_stream::declarations::Declarations;

/// Serves until it is asked to end. `declarations`: the topics to which it publishes, and its reactions.
pub async fn serve(frame: &Frame, declarations: &Declarations) -> Result<(), Failed> {
    let min_free_bytes = frame.config.min_free_bytes;
    let resource = |store, known| {
        let resource = KeyValue::numbered(store, known, KeyValueOptions { min_free_bytes });
        resource.publishing(declarations, drawn(), Arc::new(SystemClock)).map_err(not_opened)
    };
    stored::serve(frame, &FAMILIES, resource).await
}
