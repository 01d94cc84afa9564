//! Folders of real processes put back, emptied and started twice, under load, again and again, and then the audit.
//!
//! Each round starts a cluster of its own. While clients work, somebody does what people do with folders ([`Case`]). It must be
//! noticed before anything is answered that is not so. Then an operator does what the product tells him to do, the load goes
//! on, and every transaction is looked at: whatever is not as its client was told must be listed as lost.

mod audit;
mod case;
mod load;
mod operator;
mod round;

pub use case::{Case, Copied, Of};

use crate::cluster::Programs;
use anyhow::Context;
use serde::Serialize;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct Restores {
    pub rounds: usize,
    pub seed: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct RestoresReport {
    pub seed: u64,
    pub elapsed_s: f64,
    pub rounds: Vec<RoundReport>,
}

/// One folder that was put back, and what came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoundReport {
    pub case: String,
    /// Transactions that were answered.
    pub committed: usize,
    pub aborted: usize,
    /// The time from its start until it said that something was wrong.
    pub noticed_after_ms: f64,
    /// The reason that it gave.
    pub said: String,
    /// Transactions that others carried out until the loss was accepted.
    pub committed_meanwhile: usize,
    /// Calls that were refused, or not answered, until then.
    pub refused_meanwhile: usize,
    /// Transactions that are not as their clients were told, and are listed as damaged.
    pub listed: usize,
    /// Transactions that are listed as damaged, and are as their clients were told.
    pub listed_though_whole: usize,
    /// Transactions that are not as their clients were told, and are only within what was accepted as lost.
    pub within_the_loss: usize,
    /// Transactions that committed, and that nobody has a record of any more. They are in effect.
    pub forgotten: usize,
    /// The promises that were broken.
    pub violations: Vec<String>,
}

impl RestoresReport {
    /// Returns true if each was noticed in time, and nothing was lost in silence.
    pub fn is_clean(&self) -> bool {
        self.rounds.iter().all(|round| round.violations.is_empty())
    }
}

/// Puts folders back, every case in its turn. `told` hears of each round.
pub async fn restores(
    programs: &Programs,
    restores: &Restores,
    mut told: impl FnMut(usize, &str),
) -> anyhow::Result<RestoresReport> {
    let began = Instant::now();
    let mut rounds = Vec::new();
    for (number, case) in Case::all().cycle().take(restores.rounds).enumerate() {
        told(number, &case.to_string());
        let seed = restores.seed.wrapping_add(number as u64);
        let round = round::round(programs, case, seed).await;
        rounds.push(round.with_context(|| format!("round {number}: {case}"))?);
    }
    Ok(RestoresReport { seed: restores.seed, elapsed_s: began.elapsed().as_secs_f64(), rounds })
}
