//! The errors of a [`Store`](undoubt_platform::Store) as those of a resource that keeps its data in one.

use crate::resource::ResourceError;
use undoubt_platform::StoreError;

impl From<StoreError> for ResourceError {
    fn from(error: StoreError) -> Self {
        let cause = error.to_string();
        match error {
            StoreError::QueueFull { .. } | StoreError::BatchTooLarge { .. } => ResourceError::Unavailable { cause },
            StoreError::Damaged { .. }
            | StoreError::DiskFull { .. }
            | StoreError::Io { .. }
            | StoreError::Stopped { .. }
            | StoreError::AlreadyOpen { .. }
            | StoreError::Foreign { .. }
            | StoreError::UnknownFamilies { .. }
            | StoreError::OfAnother { .. }
            | StoreError::NoFolder { .. }
            | StoreError::NoSuchFamily { .. } => ResourceError::Stopped { cause },
        }
    }
}
