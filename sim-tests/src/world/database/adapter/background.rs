//! The participant's own work: signs of life, and the end of broken sessions.

use super::Inner;
use super::sessions::Absent;
use crate::world::database::wire::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::ResourceError;

/// The time between two signs of life.
const PING: Duration = Duration::from_millis(500);

pub(super) async fn run(inner: &Arc<Inner>, stop: CancellationToken) -> Result<(), ResourceError> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = sleep(PING) => {}
        }
        match inner.sessions.control().await {
            // A session that broke shows the next time.
            Ok(mut control) => drop(control.session().ask(Request::Leaseholders).await),
            Err(Absent::Away(_)) => {}
            Err(fenced @ Absent::Fenced(_)) => return Err(fenced.into()),
        }
        // They are tried again, here and by whoever needs their end.
        let _ = inner.sessions.end_suspects().await;
    }
}
