//! The participants whose events are handed on.

use crate::problem::Problem;
use std::collections::BTreeMap;
use undoubt_client::{Channel, ClientOptions, ParticipantClient};
use undoubt_platform::Reason;

/// A participant whose events are handed on.
pub struct Source {
    pub name: String,
    /// What opens a connection to it. Each stream has one of its own, so that a reader that does not read holds up no other.
    pub connect: Box<dyn Fn() -> Channel + Send + Sync>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Sources {
    by_name: BTreeMap<String, Source>,
    options: ClientOptions,
}

impl Sources {
    pub(crate) fn new(sources: Vec<Source>, options: ClientOptions) -> Sources {
        Sources { by_name: sources.into_iter().map(|source| (source.name.clone(), source)).collect(), options }
    }

    /// Returns a client of the participant of this name, over a connection of its own.
    pub(crate) fn client(&self, named: &str) -> Result<ParticipantClient, Problem> {
        let source = self.by_name.get(named).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "of none".to_owned() } else { format!("those of {}", known.join(", ")) };
            let why = format!("this gateway hands on no events of {named:?}, but {known}; add it to gateway.sources");
            Problem::new(Reason::UnknownParticipant, why)
        })?;
        Ok(ParticipantClient::with_channel((source.connect)(), self.options.clone()))
    }
}
