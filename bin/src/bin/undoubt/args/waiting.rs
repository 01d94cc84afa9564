//! Until when a command waits.

use clap::{Args, ValueEnum};
use std::time::Duration;

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Until when to wait. What is applied is in effect at every participant; the answer says which events it has published then.
    #[arg(long, value_enum, default_value_t = WaitUntil::Decided, conflicts_with = "no_wait")]
    wait: WaitUntil,
    /// With --wait applied: how long, once it is decided; a minute at most.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::duration, requires = "wait")]
    applied_within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitUntil {
    Decided,
    Applied,
}

impl WaitArgs {
    /// Returns for how long to wait until it is applied, if at all.
    pub fn applied_within(&self) -> Option<Duration> {
        (self.wait == WaitUntil::Applied).then_some(self.applied_within)
    }
}
