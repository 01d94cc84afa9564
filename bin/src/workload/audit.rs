//! The audit: whether all that was acknowledged happened, and nothing else.
//!
//! To be done once the load has ended. Outcomes that are still unknown are asked for first, by submitting the same again
//! under the same id. Then every account and every marker is read, in transactions, so nothing undecided is seen; and
//! some transactions are submitted once more, which must not change their outcome. [`findings`] compares, without I/O.

mod findings;
#[cfg(test)]
mod tests;

pub use findings::{Audit, Observed, findings, in_part};

use crate::workload::batches::{carry_out, chunks};
use crate::workload::driver::BATCHES_IN_FLIGHT;
use crate::workload::ledger::{Entry, Ledger, Reply, unanswered};
use crate::workload::step::Account;
use crate::workload::{Load, Script};
use anyhow::Context;
use futures::{StreamExt, stream};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_client::Completion;

/// Transactions that are submitted once more, evenly spread over the run.
const SAMPLE_TRANSACTIONS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Audits a run. Outcomes that become known are noted in the ledger. Each part takes [`Load::patience`] at most; an error
/// means that it could not be done, not that something is wrong.
pub async fn audit(load: &Load, ledger: &mut Ledger) -> anyhow::Result<Audit> {
    settle(load, ledger).await.context("cannot find out the outcomes that are unknown")?;
    let mut observed = read(load, ledger).await.context("cannot read the accounts back")?;
    observed.again = submit_again(load, ledger, &sample(ledger)).await.context("cannot submit again")?;
    Ok(findings(ledger, &observed))
}

/// Returns how many of a run's first `count` transactions are in effect at some of the participants that they write and
/// not at others, at this moment. For workloads of operations that take one transaction each.
pub async fn half_done(load: &Load, count: u64) -> anyhow::Result<u64> {
    let (bank, script) = (load.check()?, Script::new(load));
    let entries = (0..count).map(|_| Entry { step: script.draw().step, told: Reply::Unknown }).collect();
    let ledger = Ledger { bank, opened: script.opening(), entries };
    Ok(in_part(&ledger, &read(load, &ledger).await?))
}

async fn settle(load: &Load, ledger: &mut Ledger) -> anyhow::Result<()> {
    let deadline = Instant::now() + load.patience;
    loop {
        let unknown = ledger.unknown();
        for (number, told) in submit_again(load, ledger, &unknown).await? {
            ledger.entries[number].told = told;
        }
        if ledger.unknown().is_empty() || Instant::now() >= deadline {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// Submits transactions again, and returns their answers; those without a definite one are left out.
async fn submit_again(load: &Load, ledger: &Ledger, numbers: &[usize]) -> anyhow::Result<Vec<(usize, Reply)>> {
    let submissions: Vec<_> = numbers.iter().map(|number| ledger.submission(*number)).collect();
    let mut submitted = load.client(load.in_flight)?.submit_many(stream::iter(submissions));
    let mut told = Vec::new();
    while let Some(Completion { sequence, result, .. }) = submitted.next().await {
        match result {
            Ok(answer) => {
                let place = usize::try_from(sequence).context("more transactions than can be counted")?;
                told.push((numbers[place], Reply::from(&answer.outcome)));
            }
            Err(error) => unanswered(error)?,
        }
    }
    Ok(told)
}

fn sample(ledger: &Ledger) -> Vec<usize> {
    let known = |number: &usize| ledger.entries[*number].told != Reply::Unknown;
    let every = ledger.entries.len().div_ceil(SAMPLE_TRANSACTIONS).max(1);
    (0..ledger.entries.len()).step_by(every).filter(known).collect()
}

/// The keys to look for at a participant.
#[derive(Clone, Copy)]
enum Probe {
    Balance(Account),
    Marker(usize),
}

async fn read(load: &Load, ledger: &Ledger) -> anyhow::Result<Observed> {
    let bank = &ledger.bank;
    let mut probes: Vec<Vec<Probe>> = vec![Vec::new(); bank.participants().len()];
    for account in ledger.opened.keys() {
        probes[bank.home(*account)].push(Probe::Balance(*account));
    }
    if bank.marks() {
        for (number, entry) in ledger.entries.iter().enumerate() {
            bank.written(&entry.step).into_iter().for_each(|home| probes[home].push(Probe::Marker(number)));
        }
    }
    let mut observed = Observed::default();
    let (client, chunks) = (load.client(BATCHES_IN_FLIGHT)?, chunks(&probes, |home| bank.max_batch_accesses(home)));
    let batch = |place: usize| {
        let (home, probes): (usize, &[Probe]) = chunks[place];
        let reads = probes.iter().fold(bank.work(home), |work, probe| match *probe {
            Probe::Balance(account) => work.read(bank.key(account)),
            Probe::Marker(number) => work.marked(bank.marker(number as u64)),
        });
        (bank.participants()[home].to_string(), reads)
    };
    carry_out(&client, chunks.len(), batch, load.patience, |place, values| {
        let (home, probes) = chunks[place];
        for (probe, value) in probes.iter().zip(values) {
            match *probe {
                Probe::Balance(account) => {
                    observed.balances.insert(account, value);
                }
                Probe::Marker(number) if value.is_some() => {
                    observed.markers.insert((number, home));
                }
                Probe::Marker(_) => {}
            }
        }
    })
    .await?;
    Ok(observed)
}
