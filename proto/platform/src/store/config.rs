//! Which kind of store a server keeps its data in.

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
