//! The settings that may change while a coordinator runs: its participants, the limits per identity, the secret of its callbacks.

use crate::callback::CallbackSecret;
use crate::config::{Config, ParticipantAddress};
use std::future::pending;
use std::sync::Arc;
use tokio::sync::watch;
use undoubt_platform::access::LimitsConfig;

/// The settings that may change, as they are to be from now on. Whoever makes it has checked them ([`Config::check`]).
#[derive(Clone, Debug)]
pub struct Changeable {
    pub participants: Vec<ParticipantAddress>,
    pub limits: LimitsConfig,
    pub callback_secret: Option<CallbackSecret>,
}

impl Changeable {
    pub fn of(config: &Config, callback_secret: Option<CallbackSecret>) -> Changeable {
        Changeable { participants: config.participants.clone(), limits: config.limits.clone(), callback_secret }
    }
}

/// The way that changes come to a coordinator that runs. It carries each out once it serves; of several that come at once, the last.
#[derive(Clone, Debug)]
pub struct Changes(watch::Receiver<Option<Arc<Changeable>>>);

/// The other end, for whoever reads settings again.
#[derive(Debug)]
pub struct Changing(watch::Sender<Option<Arc<Changeable>>>);

impl Changing {
    pub fn new() -> Changing {
        Changing(watch::Sender::new(None))
    }

    pub fn change(&self, to: Changeable) {
        self.0.send_replace(Some(Arc::new(to)));
    }

    /// Returns the changes that come from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

impl Default for Changing {
    fn default() -> Self {
        Changing::new()
    }
}

impl Changes {
    /// Returns the way of a coordinator whose settings stay.
    pub fn none() -> Changes {
        Changing::new().changes()
    }

    pub(crate) async fn next(&mut self) -> Arc<Changeable> {
        loop {
            if self.0.changed().await.is_err() {
                // Nobody is there who could change anything.
                return pending().await;
            }
            if let Some(changed) = self.0.borrow_and_update().clone() {
                return changed;
            }
        }
    }
}
