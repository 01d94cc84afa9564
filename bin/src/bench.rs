//! The benchmark of what transactions cost: measured beside the floors under them and the peers beside them, in one
//! run.

mod by_hand;
mod choreography;
mod collector;
mod databases;
mod delays;
pub mod echo;
mod endurance;
mod events;
mod finding;
mod floor;
mod gateway;
mod headline;
mod json_http;
mod load;
mod lone_transaction;
mod open_loop;
pub mod page;
mod peer;
pub mod readers;
pub mod reading;
mod secured;
pub mod service;
mod services;
mod stage;
mod stand_in;
mod strangers;
mod sweep;
pub mod usage;

pub use finding::{Finding, Goal};

use crate::cluster::Programs;
use stage::Stage;
use std::path::PathBuf;
use std::time::Duration;

/// The effort of a benchmark: how long and how often is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub measured: Duration,
    pub rounds: usize,
    /// Transactions of the long run.
    pub endurance: u64,
    /// Clients that read large answers at once.
    pub readers: usize,
}

/// The figures that were found so far; a listener hears each as it comes.
pub struct Report<'a> {
    found: Found,
    say: &'a mut dyn FnMut(&Progress<'_>),
}

/// The result of a benchmark.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub findings: Vec<Finding>,
    /// The parts that could not be measured here, and why.
    pub skipped: Vec<(String, String)>,
}

/// The progress that a listener hears of.
#[derive(Debug)]
pub enum Progress<'a> {
    Found(&'a Finding),
    Skipped { what: &'a str, why: &'a str },
}

impl std::fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Report<'_> {
    fn add(&mut self, finding: Finding) {
        (self.say)(&Progress::Found(&finding));
        self.found.findings.push(finding);
    }

    fn skip(&mut self, what: &str, why: String) {
        (self.say)(&Progress::Skipped { what, why: &why });
        self.found.skipped.push((what.to_owned(), why));
    }
}

/// A part of the benchmark, which can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    Floors,
    Headline,
    Lone,
    Secured,
    Strangers,
    Participants,
    Modes,
    InFlight,
    Contention,
    Databases,
    Services,
    Events,
    Choreography,
    Payloads,
    OpenLoop,
    Slow,
    Memory,
    Readers,
    Recovery,
    Peers,
    Endurance,
}

/// Runs parts of the benchmark. `helper` is the program that does what has to be done in another process; see `Stage`.
pub async fn bench(
    programs: Programs,
    helper: PathBuf,
    parts: &[Part],
    effort: Effort,
    say: &mut dyn FnMut(&Progress<'_>),
) -> anyhow::Result<Found> {
    let stage = Stage::new(programs, helper).await?;
    let mut report = Report { found: Found::default(), say };
    for part in parts {
        let report = &mut report;
        match part {
            Part::Floors => floor::floors(&stage, effort, report).await?,
            Part::Headline => headline::headline(&stage, effort, report).await?,
            Part::Lone => lone_transaction::lone(&stage, effort, report).await?,
            Part::Secured => secured::secured(&stage, effort, report).await?,
            Part::Strangers => strangers::strangers(&stage, effort, report).await?,
            Part::Participants => sweep::participants(&stage, effort, report).await?,
            Part::Modes => sweep::modes(&stage, effort, report).await?,
            Part::InFlight => sweep::in_flight(&stage, effort, report).await?,
            Part::Contention => sweep::contention(&stage, effort, report).await?,
            Part::Databases => databases::databases(&stage, effort, report).await?,
            Part::Services => services::services(&stage, effort, report).await?,
            Part::Events => events::events(&stage, effort, report).await?,
            Part::Choreography => choreography::choreography(&stage, effort, report).await?,
            Part::Payloads => sweep::payloads(&stage, effort, report).await?,
            Part::OpenLoop => open_loop::open_loop(&stage, effort, report).await?,
            Part::Slow => delays::slow(&stage, effort, report).await?,
            Part::Memory => delays::memory(&stage, report).await?,
            Part::Readers => readers::readers(&stage, effort, report).await?,
            Part::Recovery => delays::recovery(&stage, report).await?,
            Part::Peers => peer::peers(&stage, effort, report).await?,
            Part::Endurance => endurance::endurance(&stage, effort, effort.endurance, report).await?,
        }
    }
    Ok(report.found)
}
