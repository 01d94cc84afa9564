//! The errors of a [`Store`](undoubt_platform::Store) as those of a resource that keeps its data in one.

use crate::resource::ResourceError;
use undoubt_platform::StoreError;

impl From<StoreError> for ResourceError {
    fn from(error: StoreError) -> Self {
        let cause = error.to_string();
        match error {
            StoreError::Fenced(_) => ResourceError::Fenced { cause },
            StoreError::Unavailable { .. } | StoreError::BatchTooLarge { .. } => ResourceError::Unavailable { cause },
            StoreError::Damaged { .. }
            | StoreError::DiskFull { .. }
            | StoreError::Io { .. }
            | StoreError::Stopped { .. }
            | StoreError::UnknownFamilies { .. }
            | StoreError::NoSuchFamily { .. } => ResourceError::Stopped { cause },
        }
    }
}
