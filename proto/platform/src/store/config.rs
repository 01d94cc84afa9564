//! The kind of store in which a server keeps its data.

use serde::{Deserialize, Serialize};

/// The settings `[store]` of a server. Whoever starts it knows the kinds that there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    pub kind: String,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig { kind: "rocksdb".into() }
    }
}
