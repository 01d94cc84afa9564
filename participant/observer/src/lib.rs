//! The observer of choreographed sagas: a projection, never an authority.
//!
//! It reads the logs of all participants of a choreography, asks them how their subscriptions stand, and says of each saga where it is, since
//! when, and what it waits for. What that is the pure machine of `undoubt-stream` says; what is here feeds it and shows it:
//!
//! * `engine` is one task that takes what is read and what is asked, and stores what comes of it; `asking` asks; `store` are the rows.
//! * `shared` is what the engine knows, for those who ask; `hub` is what happens, for those who watch.
//! * `service` answers as a coordinator does what can be asked of one, and refuses the rest.
//!
//! [`run`] takes its storage, listener, sources, clock and randomness from outside.

mod asking;
mod config;
mod engine;
mod hub;
mod metrics;
mod run;
mod service;
mod shared;
mod store;

use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

pub use asking::{Ask, DialAsk};
pub use config::{Config, ConfigError, Observed};
pub use metrics::METRICS;
pub use run::{Environment, RunError, run};
pub use store::{FAMILIES, META};

use asking::{ASK_TIMEOUT, MAX_ASKED_AT_ONCE};
use hub::MAX_TOLD_KEPT;
use service::MAX_PAGE_ROWS;

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Count MAX_PAGE_ROWS, "Sagas of one page of an observer's list.", "The page has a cursor to the next."),
    limit!(Count MAX_TOLD_KEPT, "Events that an observer keeps for those who watch.", "A watch that is slower is told how many were lost; histories have all."),
    limit!(Count MAX_ASKED_AT_ONCE, "Participants that an observer asks at a time how their subscriptions stand.", "The others wait for their turn."),
    limit!(ms ASK_TIMEOUT, "One call by which an observer asks a participant.", "The participant is told as away, and asked again."),
];
