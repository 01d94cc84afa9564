//! The common parts of steps and branches: room, and writes.

use crate::HttpServices;
use undoubt_participant::resource::ResourceError;
use undoubt_platform::{Batch, Durability};

/// Returns the reason why nothing new is begun, if there is too little room for what it leaves (R9).
pub(crate) fn lack_of_room(http: &HttpServices) -> Result<Option<String>, ResourceError> {
    Ok(http.store.room()?.lack(http.settings.min_free_bytes))
}

pub(crate) async fn write(http: &HttpServices, batch: Batch, durability: Durability) -> Result<(), ResourceError> {
    Ok(http.store.write(batch, durability).await?)
}
