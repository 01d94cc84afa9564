//! Connections to a coordinator, as many as what is under way takes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use undoubt_client::Client;

/// Requests and streams of one connection to the coordinator, which takes no more than 256.
const MAX_USES_PER_LINK: usize = 240;

/// The connections to one coordinator.
pub(crate) struct Links {
    connect: Box<dyn Fn() -> Client + Send + Sync>,
    links: Mutex<Vec<Link>>,
}

/// A connection to the coordinator. Each clone is a use of it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    client: Client,
    uses: Arc<()>,
}

impl Link {
    /// Returns the client that asks in the gateway's own name.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

impl Links {
    pub(crate) fn new(connect: impl Fn() -> Client + Send + Sync + 'static) -> Links {
        Links { connect: Box::new(connect), links: Mutex::default() }
    }

    /// Returns the first connection that has room for one more use. Callers have so many connections at most, and each asks for one
    /// thing at a time, so these are bounded too.
    pub(crate) fn link(&self) -> Link {
        // Nothing panics while it is locked.
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.iter().find(|link| Arc::strong_count(&link.uses) <= MAX_USES_PER_LINK) {
            return link.clone();
        }
        let link = Link { client: (self.connect)(), uses: Arc::default() };
        links.push(link.clone());
        link
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}
