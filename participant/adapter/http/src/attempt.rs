//! The common parts of steps and branches: room, and writes.

use crate::HttpServices;
use std::time::Duration;
use undoubt_participant::resource::ResourceError;
use undoubt_platform::{Batch, Durability};

/// The longest that a call is waited for, whoever would wait longer.
pub(crate) const MAX_CALL_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns the reason why nothing new is begun, if there is too little room for what it leaves (R9).
pub(crate) fn lack_of_room(http: &HttpServices) -> Result<Option<String>, ResourceError> {
    Ok(http.store.room()?.lack(http.settings.min_free_bytes))
}

pub(crate) async fn write(http: &HttpServices, batch: Batch, durability: Durability) -> Result<(), ResourceError> {
    Ok(http.store.write(batch, durability).await?)
}
