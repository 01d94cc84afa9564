//! Puts a load on a coordinator, and keeps the books.
//!
//! Accounts are opened first. Then as many operations as asked are kept under way, all through one stream, until time or
//! count is up; those under way are finished. Whatever has no answer when a connection breaks is submitted again under
//! its id, until [`Load::patience`] ends; so crashes of the coordinator and of participants only cost time.

use crate::workload::bank::Bank;
use crate::workload::batches::{carry_out, chunks};
use crate::workload::ledger::{Entry, Ledger, Reply, unanswered};
use crate::workload::report::{Counts, End, Report, per_second};
use crate::workload::smallbank::FollowUp;
use crate::workload::step::{Account, Operation, Step};
use crate::workload::{Length, Load, Script};
use anyhow::Context;
use futures::{Stream, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use undoubt_client::{Client, Completion, Submission};

/// A run ends early here: its ledger would not fit into memory.
pub const MAX_TRANSACTIONS_PER_RUN: usize = 20_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Opening,
    Running,
    /// The run begins nothing new.
    Finishing,
    Over,
}

/// The progress of a run. Counts are of operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub phase: Phase,
    /// The time since the first operation.
    pub elapsed: Duration,
    pub committed: u64,
    pub refused: u64,
    pub aborted: u64,
    pub unknown: u64,
    pub in_flight: usize,
}

impl Progress {
    /// Operations that were begun.
    pub fn begun(&self) -> u64 {
        self.committed + self.refused + self.aborted + self.unknown + self.in_flight as u64
    }
}

#[derive(Debug)]
pub struct Outcome {
    pub report: Report,
    pub ledger: Ledger,
}

/// Runs the load to its end, or until `stop`, which lets what is under way be finished.
pub async fn run(
    load: &Load,
    stop: impl Future<Output = ()>,
    progress: &watch::Sender<Progress>,
) -> anyhow::Result<Outcome> {
    let bank = load.check()?;
    let script = Script::new(load);
    tokio::pin!(stop);
    progress.send_replace(Progress::default());
    let opened = script.opening();
    tokio::select! {
        biased;
        () = &mut stop => anyhow::bail!("stopped before all accounts were open"),
        done = open(load, &bank, &opened) => done.context("cannot open the accounts")?,
    }
    let ledger = Ledger { bank, opened, entries: Vec::new() };
    let (give, given) = mpsc::channel(load.in_flight);
    let submitted = load.client(load.in_flight)?.submit_many(ReceiverStream::new(given));
    Driver::new(load, script, ledger, give, progress)?.drive(submitted, stop).await
}

async fn open(load: &Load, bank: &Bank, opened: &BTreeMap<Account, i64>) -> anyhow::Result<()> {
    let mut at_home = vec![Vec::new(); bank.participants().len()];
    for (account, balance) in opened {
        at_home[bank.home(*account)].push((*account, *balance));
    }
    let chunks = chunks(&at_home, |home| bank.max_batch_accesses(home));
    let batch = |place: usize| {
        let (home, accounts): (usize, &[(Account, i64)]) = chunks[place];
        let puts =
            accounts.iter().fold(bank.work(home), |work, (account, balance)| work.open(bank.key(*account), *balance));
        (bank.participants()[home].to_string(), puts)
    };
    carry_out(&load.client(BATCHES_IN_FLIGHT)?, chunks.len(), batch, load.patience, |_, _| {}).await
}

/// Large as they are, more at a time would gain nothing.
pub const BATCHES_IN_FLIGHT: usize = 16;

impl Load {
    pub(super) fn client(&self, in_flight: usize) -> anyhow::Result<Client> {
        let options = self.options.clone().deadline(self.patience).max_in_flight_transactions(in_flight);
        Ok(Client::connect_lazy(&self.coordinator, options)?)
    }
}

struct Driver<'a> {
    load: &'a Load,
    script: Script,
    ledger: Ledger,
    counts: Counts,
    /// The operations under way, by the number of the transaction that each waits for. The client counts its
    /// transactions in the order they are given, as the ledger does, so its sequence is that number.
    under_way: BTreeMap<u64, UnderWay>,
    /// The way to the client, which has room for all that may be under way.
    give: mpsc::Sender<Submission>,
    began: Instant,
    /// Operations.
    begun: u64,
    progress: &'a watch::Sender<Progress>,
}

struct UnderWay {
    name: &'static str,
    then: Option<FollowUp>,
    /// The time that its first transaction took.
    before: Duration,
}

impl<'a> Driver<'a> {
    fn new(
        load: &'a Load,
        script: Script,
        ledger: Ledger,
        give: mpsc::Sender<Submission>,
        progress: &'a watch::Sender<Progress>,
    ) -> anyhow::Result<Self> {
        let (counts, under_way, began) = (Counts::new()?, BTreeMap::new(), Instant::now());
        Ok(Driver { load, script, ledger, counts, under_way, give, began, begun: 0, progress })
    }

    async fn drive(
        mut self,
        mut submitted: impl Stream<Item = Completion> + Unpin,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> anyhow::Result<Outcome> {
        let mut stopped = false;
        let end = match self.load.length {
            // An `Instant` cannot hold any duration: a year stands for "for ever".
            Length::For(duration) => self.began + duration.min(Duration::from_secs(365 * 24 * 60 * 60)),
            Length::Count(_) => self.began,
        };
        loop {
            let over = stopped || self.is_over();
            while !over && self.under_way.len() < self.load.in_flight && !self.is_over() {
                let Operation { name, step, then } = self.script.draw();
                self.begun += 1;
                self.submit(step, UnderWay { name, then, before: Duration::ZERO }).await?;
            }
            self.tell(if over { Phase::Finishing } else { Phase::Running });
            if self.under_way.is_empty() {
                return Ok(self.finish());
            }
            tokio::select! {
                biased;
                // Before the answers, of which there may always be more.
                () = &mut stop, if !stopped => stopped = true,
                done = submitted.next() => self.done(done.context("the client ended before all was answered")?).await?,
                () = sleep_until(end), if !over && matches!(self.load.length, Length::For(_)) => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        let up = match self.load.length {
            Length::For(duration) => self.began.elapsed() >= duration,
            Length::Count(count) => self.begun >= count,
        };
        up || self.ledger.entries.len() >= MAX_TRANSACTIONS_PER_RUN
    }

    async fn submit(&mut self, step: Step, under_way: UnderWay) -> anyhow::Result<()> {
        let number = self.ledger.entries.len();
        self.ledger.entries.push(Entry { step, told: Reply::Unknown });
        self.under_way.insert(number as u64, under_way);
        self.give.send(self.ledger.submission(number)).await.context("the client ended too early")
    }

    async fn done(&mut self, Completion { sequence, result, took, .. }: Completion) -> anyhow::Result<()> {
        let UnderWay { name, then, before } =
            self.under_way.remove(&sequence).with_context(|| format!("transaction {sequence} was answered twice"))?;
        let number = usize::try_from(sequence).context("more transactions than can be counted")?;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                unanswered(error)?;
                self.counts.count(name, End::Unknown);
                return Ok(());
            }
        };
        let entry = &mut self.ledger.entries[number];
        entry.told = Reply::from(&answer.outcome);
        let took = before + took;
        let end = match entry.told {
            Reply::Committed => {
                self.counts.transactions_committed += 1;
                match (then, self.ledger.bank.balances(&entry.step, &answer).as_deref()) {
                    (None, _) => End::Committed { took },
                    (Some(then), Some(&[savings, checking])) => {
                        let step = then.step(savings, checking);
                        return self.submit(step, UnderWay { name, then: None, before: took }).await;
                    }
                    (Some(_), Some(_) | None) => End::Aborted("values-lost"),
                }
            }
            Reply::Aborted("condition") => End::Refused,
            Reply::Aborted(label) => End::Aborted(label),
            Reply::Unknown => End::Unknown,
        };
        self.counts.count(name, end);
        Ok(())
    }

    fn tell(&self, phase: Phase) {
        let tally = &self.counts.tally;
        self.progress.send_replace(Progress {
            phase,
            elapsed: self.began.elapsed(),
            committed: tally.committed,
            refused: tally.refused,
            aborted: tally.all_aborted(),
            unknown: tally.unknown,
            in_flight: self.under_way.len(),
        });
    }

    fn finish(self) -> Outcome {
        self.tell(Phase::Over);
        let (elapsed, load, counts) = (self.began.elapsed(), self.load, self.counts);
        let report = Report {
            workload: load.workload.as_str(),
            run: load.run.clone(),
            seed: load.seed,
            participants: load.participants.clone(),
            customers: load.customers,
            hot_customers: load.hot.customers,
            hot_share: load.hot.percent,
            branches: load.workload.branches(),
            in_flight: load.in_flight,
            elapsed_s: elapsed.as_secs_f64(),
            operations: counts.tally.all(),
            committed_per_s: per_second(counts.tally.committed, elapsed),
            transactions: self.ledger.entries.len() as u64,
            transactions_committed: counts.transactions_committed,
            transactions_committed_per_s: per_second(counts.transactions_committed, elapsed),
            latency_us: counts.latency(),
            tally: counts.tally,
            by_operation: counts.by_operation,
        };
        Outcome { report, ledger: self.ledger }
    }
}

#[cfg(test)]
mod tests;
