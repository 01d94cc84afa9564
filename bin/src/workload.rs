//! Load for measuring and for finding faults: benchmarks over key-value participants, and over databases that declare the procedures
//! for it, driven through the client as any
//! application would, and an audit of what they left behind.
//!
//! ```no_run
//! use undoubt::workload::{Load, Progress, Workload, audit, run};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let load = Load::new("http://127.0.0.1:7400", vec!["a".into(), "b".into()], Workload::SmallBank);
//! let mut outcome = run(&load, std::future::pending(), &Progress::ignored()).await?;
//! let audit = audit(&load, &mut outcome.ledger).await?;
//! assert!(audit.is_clean(), "{:?}", audit.violations);
//! # Ok(()) }
//! ```
//!
//! * [`smallbank`], [`transfers`] and `trips` say what customers ask for: pure, and the same for the same seed.
//! * [`bank`] gives it keys and participants; [`driver`] submits it; [`ledger`] remembers it; [`report`] counts it.
//! * [`mod@audit`] compares the ledger with what the participants hold.

pub mod account_work;
pub mod audit;
pub mod bank;
pub mod batches;
pub mod driver;
pub mod hot_customers;
pub mod ledger;
pub mod report;
pub mod smallbank;
pub mod step;
pub mod transfers;
mod trips;

pub use audit::{Audit, audit};
pub use driver::{Outcome, Phase, Progress, run};
pub use hot_customers::Hot;
pub use ledger::Ledger;
pub use report::Report;

pub use account_work::{Language, Languages, PROCEDURES};
use anyhow::ensure;

use bank::Bank;
use hot_customers::Customers;
use smallbank::SmallBank;
use std::collections::BTreeMap;
use std::time::Duration;
use step::{Account, Operation};
use tokio::sync::watch;
use transfers::Transfers;
use trips::Trips;
use undoubt_client::{Client, ClientOptions, OperatorError};
use uuid::Uuid;

/// A coordinator takes no more over one stream unless configured to.
pub const MAX_IN_FLIGHT: usize = 4_096;
pub const MAX_CUSTOMERS: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    SmallBank,
    /// Each over so many participants.
    Transfers {
        branches: u32,
    },
    /// Bookings of a flight, a hotel and a car, some of which are sold out.
    Trips,
}

/// The way in which transactions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    TwoPhase,
    Saga,
    /// The coordinator chooses.
    Auto,
    /// A third each.
    Mixed,
}

impl Workload {
    pub fn as_str(self) -> &'static str {
        match self {
            Workload::SmallBank => "smallbank",
            Workload::Transfers { .. } => "transfers",
            Workload::Trips => "trips",
        }
    }

    pub fn branches(self) -> Option<u32> {
        match self {
            Workload::SmallBank | Workload::Trips => None,
            Workload::Transfers { branches } => Some(branches),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    For(Duration),
    /// A number of operations.
    Count(u64),
}

#[derive(Clone, Debug)]
pub struct Load {
    /// Its address.
    pub coordinator: String,
    /// The credentials that its clients show to the coordinator.
    pub options: ClientOptions,
    /// Names of participants, as the coordinator knows them.
    pub participants: Vec<String>,
    pub languages: Languages,
    pub workload: Workload,
    pub mode: Mode,
    pub customers: u32,
    /// Operations under way at the same time, at most.
    pub in_flight: usize,
    pub length: Length,
    pub hot: Hot,
    /// The same seed asks for the same, in the same order.
    pub seed: u64,
    /// Ids of transactions and keys of accounts begin with it. Every run needs another, or is answered what the first was.
    pub run: String,
    /// The time for which the coordinator may try to commit each transaction. `None`: as long as it does by itself.
    pub timeout: Option<Duration>,
    /// The time for which a transaction is submitted again before its outcome counts as unknown, which the opening of
    /// accounts may take, and for which an audit waits for outcomes and for balances.
    pub patience: Duration,
    /// True if transactions leave the markers that an audit looks for.
    pub marks: bool,
}

/// Sixteen digits: ids made of it are no longer than a UUID's text, and so are kept in place.
fn fresh_name() -> String {
    Uuid::now_v7().simple().to_string().split_off(16)
}

impl Load {
    /// Returns a load with defaults for all that is not named: 10,000 customers, 256 operations in flight, 10 seconds.
    pub fn new(coordinator: impl Into<String>, participants: Vec<String>, workload: Workload) -> Self {
        Load {
            coordinator: coordinator.into(),
            options: ClientOptions::default(),
            participants,
            languages: Languages::new(),
            workload,
            mode: Mode::default(),
            customers: 10_000,
            in_flight: 256,
            length: Length::For(Duration::from_secs(10)),
            hot: Hot::default(),
            seed: 0,
            run: fresh_name(),
            timeout: None,
            patience: Duration::from_secs(60),
            marks: true,
        }
    }

    /// Refuses what cannot be run, and says why.
    pub fn check(&self) -> anyhow::Result<Bank> {
        let bank = Bank::new(&self.run, &self.participants, self.marks, self.timeout)?;
        let bank = bank.speaking(&self.languages).in_mode(self.mode);
        let Load { customers, in_flight, hot, .. } = self;
        let participants = self.participants.len();
        ensure!(
            (2..=MAX_CUSTOMERS).contains(customers),
            "{customers} customers are not possible; give 2 to {MAX_CUSTOMERS}"
        );
        ensure!(
            (1..=MAX_IN_FLIGHT).contains(in_flight),
            "{in_flight} in flight are not possible; give 1 to {MAX_IN_FLIGHT}"
        );
        ensure!(hot.percent <= 100, "a share of {} percent is not possible; give 0 to 100", hot.percent);
        ensure!(
            hot.customers < *customers,
            "{} of {customers} customers cannot be hot; leave at least one that is not",
            hot.customers
        );
        let enough = *customers as usize >= 2 * participants;
        match self.workload {
            Workload::SmallBank => {}
            Workload::Transfers { branches } => {
                ensure!(
                    (1..=participants).contains(&(branches as usize)),
                    "{branches} branches are not possible with {participants} participants; give 1 to {participants}"
                );
                ensure!(
                    enough,
                    "{customers} customers are too few for transfers over {participants} participants; give two for each"
                );
            }
            Workload::Trips => {
                ensure!(enough, "{customers} offers are too few for {participants} participants; give two for each");
            }
        }
        Ok(bank)
    }
}

impl Progress {
    /// Returns a sender for those who do not want to see the progress.
    pub fn ignored() -> watch::Sender<Progress> {
        watch::Sender::new(Progress::default())
    }
}

/// Returns the participants that a coordinator is connected to and that these loads can speak to, with their languages.
pub async fn connected(client: &Client) -> Result<Languages, OperatorError> {
    let connected = client.describe().await?.participants.into_iter().filter(|participant| participant.connected);
    Ok(connected.filter_map(|one| Some((one.name.to_string(), Language::of(&one.resource)?))).collect())
}

enum Script {
    SmallBank(SmallBank),
    Transfers(Transfers),
    Trips(Trips),
}

impl Script {
    /// Returns the script of a load that was checked.
    fn new(load: &Load) -> Self {
        let customers = Customers::new(load.customers, load.hot);
        let participants = u32::try_from(load.participants.len()).unwrap_or(u32::MAX);
        match load.workload {
            Workload::Trips => Script::Trips(Trips::new(customers, participants, load.seed)),
            Workload::SmallBank => Script::SmallBank(SmallBank::new(customers, load.seed)),
            Workload::Transfers { branches } => {
                Script::Transfers(Transfers::new(customers, participants, branches, load.seed))
            }
        }
    }

    fn opening(&self) -> BTreeMap<Account, i64> {
        match self {
            Script::SmallBank(bank) => bank.opening(),
            Script::Trips(trips) => trips.opening(),
            Script::Transfers(transfers) => transfers.opening(),
        }
    }

    fn draw(&self) -> Operation {
        match self {
            Script::SmallBank(bank) => bank.draw(),
            Script::Trips(trips) => trips.draw(),
            Script::Transfers(transfers) => transfers.draw(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(workload: Workload) -> Load {
        Load::new("http://127.0.0.1:1", vec!["a".into(), "b".into()], workload)
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_what_is_possible() {
        let smallbank = load(Workload::SmallBank);
        assert!(smallbank.check().is_ok());
        let why = |load: Load| load.check().unwrap_err().to_string();
        assert!(why(Load { customers: 1, ..smallbank.clone() }).contains("2 to 1000000"));
        assert!(why(Load { in_flight: 0, ..smallbank.clone() }).contains("1 to 4096"));
        assert!(why(Load { hot: Hot { customers: 10_000, percent: 1 }, ..smallbank.clone() }).contains("hot"));
        assert!(why(Load { hot: Hot { customers: 1, percent: 101 }, ..smallbank }).contains("0 to 100"));
        assert!(why(load(Workload::Transfers { branches: 3 })).contains("1 to 2"));
        assert!(why(Load { customers: 3, ..load(Workload::Transfers { branches: 2 }) }).contains("two for each"));
    }
}
