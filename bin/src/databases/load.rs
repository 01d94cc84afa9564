//! Transfers between banks, in every mode, until they are told to end.

use super::{ACCOUNTS, STORE};
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::work::call::Call;
use undoubt_client::{Client, Outcome, Saga, Step, Submission, SubmitError, Transaction, TxId, Work};
use undoubt_platform::{Random, SeededRandom};

/// The largest amount of a transfer.
const MAX_AMOUNT: u64 = 200;

/// The pause before a transfer of which nothing is known is asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// Keys that one transaction reads of the store.
const KEYS_PER_READ: usize = 500;

/// A transfer, and its outcome.
#[derive(Clone, Debug)]
pub struct Fate {
    pub id: String,
    pub mode: &'static str,
    pub from: String,
    pub to: String,
    pub is_committed: bool,
}

/// Transfers that go on.
pub struct Load {
    ends: Arc<AtomicBool>,
    workers: JoinSet<anyhow::Result<Vec<Fate>>>,
}

pub fn account(at: u64) -> String {
    format!("account-{at}")
}

impl Load {
    pub fn begin(client: &Client, banks: &[String], seed: u64, in_flight: usize) -> Load {
        let (ends, next, mut workers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), JoinSet::new());
        for worker in 0..in_flight {
            let (client, banks, ends, next) = (client.clone(), banks.to_vec(), ends.clone(), next.clone());
            let random = SeededRandom::new(seed.wrapping_add(worker as u64));
            workers.spawn(async move {
                let mut fates = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    let id = format!("transfer-{}", next.fetch_add(1, Ordering::Relaxed));
                    fates.push(carry_out(&client, &banks, id, &random).await?);
                }
                Ok(fates)
            });
        }
        Load { ends, workers }
    }

    /// Begins no more transfers, and returns what became of all, once it is known.
    pub async fn end(mut self, patience: Duration) -> anyhow::Result<Vec<Fate>> {
        self.ends.store(true, Ordering::Relaxed);
        let mut fates = Vec::new();
        let all = async {
            while let Some(done) = self.workers.join_next().await {
                fates.extend(done??);
            }
            anyhow::Ok(())
        };
        timeout(patience, all).await.context("transfers do not end")??;
        Ok(fates)
    }
}

async fn carry_out(client: &Client, banks: &[String], id: String, random: &SeededRandom) -> anyhow::Result<Fate> {
    let from = random.u64() as usize % banks.len();
    // Another bank.
    let to = (from + 1 + random.u64() as usize % (banks.len() - 1)) % banks.len();
    let (from, to) = (banks[from].clone(), banks[to].clone());
    let move_of = |bank: &str| Move { at_store: bank == STORE, account: account(random.u64() % ACCOUNTS), id: &id };
    let amount = (1 + random.u64() % MAX_AMOUNT) as i64;
    let (source, target) = (move_of(&from), move_of(&to));
    let tx: TxId = id.parse().context("an id")?;
    let saga = || {
        Saga::with_id(tx.clone())
            .step(Step::new("take", &from, source.work(-amount, "take")).undo(source.undo(amount, "take")))
            .step(Step::new("give", &to, target.work(amount, "give")).undo(target.undo(-amount, "give")))
    };
    let (mode, submission): (_, Submission) = match random.u64() % 3 {
        0 => {
            let transaction = Transaction::with_id(tx.clone());
            let transaction = transaction.on(&from, source.work(-amount, "take"));
            ("two-phase", transaction.on(&to, target.work(amount, "give")).into())
        }
        1 => ("saga", saga().into()),
        _ => ("auto", saga().auto().into()),
    };
    let is_committed = until_known(client, submission).await?;
    Ok(Fate { id, mode, from, to, is_committed })
}

/// Submits until the outcome is known: under the same id it is the same transfer.
async fn until_known(client: &Client, submission: Submission) -> anyhow::Result<bool> {
    let deadline = Instant::now() + super::PATIENCE;
    loop {
        let error = match client.submit(submission.clone()).await {
            Ok(answer) => return Ok(answer.outcome == Outcome::Committed),
            Err(
                error @ (SubmitError::OutcomeUnknown { .. }
                | SubmitError::NotAccepted { .. }
                | SubmitError::NotPossible { .. }
                | SubmitError::Unexpected { .. }),
            ) => error,
            Err(error) => return Err(error.into()),
        };
        if Instant::now() > deadline {
            return Err(error.into());
        }
        sleep(PAUSE).await;
    }
}

/// One side of a transfer.
struct Move<'a> {
    /// False at a database.
    at_store: bool,
    account: String,
    id: &'a str,
}

impl Move<'_> {
    /// Returns what moves the money. `amount`: below 0 it is taken.
    fn work(&self, amount: i64, procedure: &str) -> Work {
        if !self.at_store {
            return self.call(amount, procedure).into();
        }
        let add = if amount < 0 { Add::of(amount).floor(0) } else { Add::of(amount) };
        KvWork::new().add(self.account.clone(), add).put(self.id.to_owned(), "1").into()
    }

    /// Returns what undoes it. `amount`: that of the way back.
    fn undo(&self, amount: i64, procedure: &str) -> Work {
        if !self.at_store {
            return self.call(amount, procedure).undo().into();
        }
        KvWork::new().add(self.account.clone(), amount).delete(self.id.to_owned()).into()
    }

    fn call(&self, amount: i64, procedure: &str) -> Call {
        Call::new(procedure).arg("account", self.account.as_str()).arg("amount", amount.abs()).arg("transfer", self.id)
    }
}

/// Returns the money at the store, and the transfers that are in effect there.
pub async fn read_store(client: &Client, fates: &[Fate]) -> anyhow::Result<(i64, BTreeSet<String>)> {
    let accounts: Vec<String> = (0..ACCOUNTS).map(account).collect();
    let mut money = 0;
    for balance in read(client, &accounts).await? {
        let text = balance.context("an account is gone")?;
        money += text.parse::<i64>().with_context(|| format!("a balance is {text:?}"))?;
    }
    let mut known = BTreeSet::new();
    let ids: Vec<String> = fates.iter().map(|fate| fate.id.clone()).collect();
    for ids in ids.chunks(KEYS_PER_READ) {
        let values = read(client, ids).await?;
        known.extend(ids.iter().zip(values).filter(|(_, value)| value.is_some()).map(|(id, _)| id.clone()));
    }
    Ok((money, known))
}

async fn read(client: &Client, keys: &[String]) -> anyhow::Result<Vec<Option<String>>> {
    let work = keys.iter().fold(KvWork::new(), |work, key| work.get(key.clone()));
    let answer = client.submit(Transaction::new().on(STORE, work)).await?;
    let results = answer.result(STORE).context("no result of the store")?;
    let values = results.values().context("the store's results have no values")?;
    Ok(values.iter().map(|value| value.to_text()).collect())
}
