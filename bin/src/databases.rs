//! A bank over databases that users have, in front of which participants stand, and a key-value store: money moves between
//! them by two-phase commit, by sagas and by auto, while coordinator, participants and database servers are killed. Then each
//! database's own client counts.

mod front;
mod load;
mod sql_bank;

use crate::cluster::{Cluster, Plan, Programs, Who};
use crate::torture::settle;
use anyhow::Context as _;
pub use front::front;
use load::{Fate, Load};
use serde::Serialize;
use sql_bank::SqlBank;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, Transaction};

/// Accounts at each bank, each with this much at first.
const ACCOUNTS: u64 = 50;
const OPENING_BALANCE: i64 = 1_000;

/// The store's name; those of databases are theirs.
const STORE: &str = "store";

/// The time for which the killed stay dead.
const DEAD_FOR: Duration = Duration::from_millis(300);

/// The time in which transfers that were under way have to end.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
pub struct Databases {
    /// The same seed asks for the same transfers.
    pub seed: u64,
    /// Kills, spread over coordinator, participants and database servers in turn.
    pub kills: u64,
    /// Load before, between and after the kills.
    pub stretch: Duration,
    /// Transfers that are under way at a time.
    pub in_flight: usize,
}

impl Default for Databases {
    fn default() -> Self {
        Databases { seed: 1, kills: 8, stretch: Duration::from_secs(1), in_flight: 16 }
    }
}

/// The report of a run. All from `torn` on must be 0, but the money at each bank.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DatabasesReport {
    /// Transfers by their mode and what became of them.
    pub transfers: BTreeMap<String, u64>,
    pub kills: BTreeMap<String, u64>,
    /// Money at each bank at the end, as its own client counts it.
    pub money: BTreeMap<String, i64>,
    /// Transfers that are in effect at one bank only, or were answered otherwise than they are.
    pub torn: u64,
    /// Money that was lost (below 0) or made.
    pub money_off: i64,
    /// Transactions that are prepared in a database.
    pub prepared: u64,
    /// Sessions that are in a transaction.
    pub in_transaction: u64,
    /// Keys that sagas have marked.
    pub pending: u64,
    pub open_transactions: u64,
    pub open_branches: u64,
    pub damaged_transactions: u64,
}

impl DatabasesReport {
    pub fn is_clean(&self) -> bool {
        let left = self.torn + self.prepared + self.in_transaction + self.pending;
        self.money_off == 0 && left + self.open_transactions + self.open_branches + self.damaged_transactions == 0
    }
}

/// Runs it. `say` hears what happens.
pub async fn databases(
    programs: &Programs,
    setting: Databases,
    mut say: impl FnMut(&str),
) -> anyhow::Result<DatabasesReport> {
    say(
        "starting private database servers, a participant in front of each, a store and a coordinator in a temporary place",
    );
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let (place, mut banks) = (folder.path(), Vec::new());
    banks.push(SqlBank::postgresql(programs, place).await?);
    banks.push(SqlBank::mariadb(programs, place).await?);
    let names: Vec<String> = banks.iter().map(|bank| bank.name.to_owned()).chain([STORE.to_owned()]).collect();
    let configs = banks.iter().map(|bank| (bank.name.to_owned(), bank.config.clone())).collect();
    let mut cluster = Cluster::start(programs, Plan { configs, ..Plan::impatient(names.clone()) }).await?;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, cluster.options()?)?;
    open_accounts(&client).await?;

    let load = Load::begin(&client, &names, setting.seed, setting.in_flight);
    let mut report = DatabasesReport::default();
    for kill in 0..setting.kills {
        sleep(setting.stretch).await;
        // The coordinator, each participant, each database server.
        let victims = 1 + names.len() as u64 + banks.len() as u64;
        let (victim, coordinator_and_participants) = (kill % victims, 1 + names.len() as u64);
        let killed = match victim {
            0 => kill_process(&mut cluster, Who::Coordinator).await.map(|()| "coordinator".to_owned())?,
            victim if victim < coordinator_and_participants => {
                let index = victim as usize - 1;
                kill_process(&mut cluster, Who::Participant(index)).await?;
                format!("participant {}", names[index])
            }
            victim => {
                let bank = &mut banks[(victim - coordinator_and_participants) as usize];
                bank.kill_9();
                sleep(DEAD_FOR).await;
                bank.restart().await?;
                bank.server_name().to_owned()
            }
        };
        say(&format!("kill -9 {killed}"));
        *report.kills.entry(killed).or_default() += 1;
    }
    sleep(setting.stretch).await;
    let fates = load.end(PATIENCE).await?;
    let (open_transactions, open_branches, damaged_transactions) = settle(&cluster).await?;
    report = DatabasesReport { open_transactions, open_branches, damaged_transactions, ..report };
    count(&fates, &mut report.transfers);
    audit(&mut report, &client, &banks, &fates).await?;
    Ok(report)
}

async fn kill_process(cluster: &mut Cluster, who: Who) -> anyhow::Result<()> {
    cluster.kill(who).await?;
    sleep(DEAD_FOR).await;
    cluster.restart(who, None).await
}

async fn open_accounts(client: &Client) -> anyhow::Result<()> {
    let balance = OPENING_BALANCE.to_string();
    let open = |work: KvWork, at| work.put(load::account(at), balance.clone());
    let opening = Transaction::new().on(STORE, (0..ACCOUNTS).fold(KvWork::new(), open));
    client.submit(opening).await.context("opening the accounts at the store")?;
    Ok(())
}

fn count(fates: &[Fate], transfers: &mut BTreeMap<String, u64>) {
    for fate in fates {
        let became = if fate.is_committed { "committed" } else { "aborted" };
        *transfers.entry(format!("{} {became}", fate.mode)).or_default() += 1;
    }
}

/// Compares what each bank has with what was answered.
async fn audit(report: &mut DatabasesReport, client: &Client, banks: &[SqlBank], fates: &[Fate]) -> anyhow::Result<()> {
    let mut transfers = BTreeMap::new();
    for bank in banks {
        report.money.insert(bank.name.to_owned(), bank.money().await?);
        transfers.insert(bank.name, bank.transfers().await?);
        let left = bank.left().await?;
        report.prepared += left.prepared;
        report.in_transaction += left.in_transaction;
        report.pending += left.pending;
    }
    let (money, of_store) = load::read_store(client, fates).await?;
    report.money.insert(STORE.to_owned(), money);
    transfers.insert(STORE, of_store);
    let expected = ACCOUNTS as i64 * OPENING_BALANCE * report.money.len() as i64;
    report.money_off = report.money.values().sum::<i64>() - expected;
    let is_torn = |fate: &&Fate| {
        let is_at = |bank: &String| transfers.get(bank.as_str()).is_some_and(|known| known.contains(&fate.id));
        [&fate.from, &fate.to].into_iter().any(|bank| is_at(bank) != fate.is_committed)
    };
    report.torn = fates.iter().filter(is_torn).count() as u64;
    Ok(())
}
