//! A check whether a service, in whatever language, keeps the contract of `participant/HTTP.md`: it is called as a participant over HTTP calls
//! it, and as networks and crashes have it: twice, at once, in the wrong order, cut off in the middle, while its database is slow.
//!
//! Each case works on a thing of its own, whose name stands for `{n}` in the requests, so that none is in another's way. What a
//! service did is known by its answers, and by what it shows of the thing where there is a request that looks. `handlers` is what is asked,
//! `call` one request, `service` the other side, `effect` a thing and what happens to it, `cases` what is tried.

mod call;
mod cases;
mod effect;
mod handlers;
mod report;
mod service;
mod slow;

pub use handlers::{BadTemplate, Base, Handlers, Pattern, Template};
pub use report::{Case, Finding, Found, Report, Rule};
pub use slow::{BadForwarding, Forwarding};

use cases::Tester;
use std::time::Duration;

/// The calls that are made at once where a case is about that.
const AT_ONCE: usize = 8;

/// The way in which a service is checked.
#[derive(Debug)]
pub struct Plan {
    pub base: Base,
    pub handlers: Handlers,
    /// Names of things, where not any name will do. Each case takes one or two.
    pub things: Vec<String>,
    /// The way to the service's database, which can be made slow.
    pub database: Option<Forwarding>,
    /// The time that a call may take to come to a clear answer, repetitions included.
    pub patience: Duration,
    /// The number that names of things and ids of transactions begin with, different in each run.
    pub run: u32,
}

/// Tries all cases, one after the other; `tell` hears of each as it ends.
///
/// # Errors
/// If the way to the database cannot be opened.
pub async fn conformance(plan: Plan, tell: impl FnMut(&Finding)) -> anyhow::Result<Report> {
    Tester::new(plan).await?.try_all(tell).await
}
