//! The decoders of what comes from outside and is read in private modules: for the fuzzers (`sim-tests/fuzz`), which stand outside.

use crate::address;
use crate::callback;
use crate::config::Config;
use crate::log::stored_history::{self, StoredHistory, UnreadableLine};
use crate::log::{Apart, Ended, Found, Log, LogError};
use crate::service;
use bytes::Bytes;
use tonic::Status;
use tonic::transport::Uri;
use undoubt_coordinator_core::{Record, Unfinished};
use undoubt_platform::Batch;
use undoubt_platform::dial::Dial;
use undoubt_proto::v1::{BeginRequest, HistoryEvent, JoinRequest, ListRequest, SubmitRequest};
use undoubt_vocabulary::Timestamp;

/// Reads a submission as the service does.
pub fn submission(request: SubmitRequest, config: &Config) -> Result<(), Status> {
    service::parse_submission(request, config)
}

/// Reads the beginning of an open saga as the service does, of a caller of this name if it has one.
pub fn opening(request: BeginRequest, who: Option<&str>, config: &Config) -> Result<(), Status> {
    service::parse_opening(request, who, config)
}

/// Reads a step that is to join an open saga as the service does.
pub fn joining(request: JoinRequest) -> Result<(), Status> {
    service::parse_joining(request)
}

/// Reads a question for a list, and returns its cursor as it is written again.
pub fn list(request: ListRequest, now: Timestamp) -> Result<Option<Bytes>, Status> {
    service::parse_list(request, now)
}

/// Returns whether this is an address of a participant.
pub fn is_address(text: &str) -> bool {
    address::check(text).is_ok()
}

/// Reads the URL of a callback, and says why it may not be called.
pub fn callback_url(url: &str, config: &Config) -> Result<Uri, String> {
    callback::admit(url, config).map_err(|bad| bad.to_string())
}

/// Makes one callback, and says what its answer means if it is not heard.
pub async fn callback_answer(dial: &dyn Dial, url: &Uri) -> Result<(), String> {
    callback::call_once(dial, url).await
}

/// Reads the lines of a history.
pub fn history(lines: &[u8]) -> Result<Vec<HistoryEvent>, UnreadableLine> {
    stored_history::read(lines)
}

/// Returns the lines of a history.
pub fn history_lines(events: &[HistoryEvent]) -> Vec<u8> {
    StoredHistory::of(events).as_bytes().to_vec()
}

/// Reads what a start reads beside the open transactions: losses, what participants have lost, and promised callbacks.
pub fn read_beside(log: &Log) -> Result<(), LogError> {
    log.losses()?;
    log.lost()?;
    log.callbacks()?;
    log.oldest_end()?;
    Ok(())
}

/// Returns a batch that writes an unfinished transaction again, or holds it.
pub fn rewrite_open(found: &Found, now: Timestamp) -> Batch {
    let mut batch = Batch::default();
    let history = StoredHistory::of(&found.history);
    let mut apart = Apart::default();
    let mut put = |record: Record| Log::put(&mut batch, &record, now, history.as_bytes(), &mut apart);
    match found.unfinished.clone() {
        Unfinished::TwoPhase(open) => put(Record::Open(open)),
        Unfinished::Saga(saga) => put(Record::Saga(saga)),
        Unfinished::Opened(opened, steps) => {
            put(Record::Opened(opened));
            steps.into_iter().for_each(|step| put(Record::Joined(step)));
        }
        Unfinished::Unusable(held) => Log::put_held(&mut batch, &held),
    }
    batch
}

/// Returns a batch that writes an ended transaction again.
pub fn rewrite_ended(ended: &Ended) -> Batch {
    let mut batch = Batch::default();
    let history = StoredHistory::of(&ended.history);
    let record = Record::Ended(ended.record.clone());
    Log::put(&mut batch, &record, ended.ended_at, history.as_bytes(), &mut Apart::default());
    batch
}

/// Collects what has ended before `horizon`, and returns the changes.
pub fn collect(log: &Log, horizon: Timestamp) -> Result<Batch, LogError> {
    Ok(log.collect(&[], horizon, 64, usize::MAX)?.batch)
}
