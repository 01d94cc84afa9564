//! A participant over a key-value store.

use super::participant::Frame;
use super::stored;
use crate::process::{Failed, Failure};
use std::sync::Arc;
use undoubt_kv::{FAMILIES, KeyValue, KeyValueOptions};
use undoubt_participant::event_log::OpenError;
use undoubt_platform::{OsRandom, Random as _, SystemClock};
use undoubt_stream::declarations::Declarations;
use undoubt_vocabulary::Incarnation;

/// Serves until it is asked to end. `declarations`: the topics to which it publishes, and its reactions.
pub async fn serve(frame: &Frame, declarations: &Declarations) -> Result<(), Failed> {
    let min_free_bytes = frame.config.min_free_bytes;
    let resource = |store, known| {
        let mut incarnation = [0; 16];
        OsRandom::new().fill(&mut incarnation);
        let resource = KeyValue::numbered(store, known, KeyValueOptions { min_free_bytes });
        let publishing = resource.publishing(declarations, Incarnation(incarnation), Arc::new(SystemClock));
        publishing.map_err(|error| {
            let failure = match &error {
                OpenError::Resource(_) => Failure::Storage,
                OpenError::Twice { .. } | OpenError::TooMany { .. } | OpenError::OtherPartitions { .. } => {
                    Failure::Configuration
                }
            };
            Failed::new(failure, error)
        })
    };
    stored::serve(frame, &FAMILIES, resource).await
}
