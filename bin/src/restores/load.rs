//! Clients that work on, whatever happens, and write down what they were told.
//!
//! Each transaction adds 1 to a key of its own at two participants, by two-phase commit or as a saga. So it can be told of every
//! one, at each of its places, whether it is in effect, and whether it ran twice.

use super::round::PATIENCE;
use crate::workload::ledger::unanswered;
use anyhow::Context;
use futures::{StreamExt, stream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{Client, ClientOptions, Saga, Step, Submission, Transaction};
use undoubt_vocabulary::{Outcome, TxId};

const CLIENTS: usize = 16;

/// A client leaves a transaction for later after so many calls without an answer.
const CALLS_PER_TRANSACTION: usize = 2;

/// The deadline of a transaction.
const TIMEOUT: Duration = Duration::from_millis(500);

const POLL: Duration = Duration::from_millis(5);

/// The part of a round that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The phase in which nothing is amiss.
    Before,
    /// A folder was put back, and nobody has accepted it.
    PutBack,
    Accepted,
}

/// One transaction, and what its client was told.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// The places, in the list of participants, that it writes at.
    pub(super) places: [usize; 2],
    pub(super) saga: bool,
    /// The part of the round in which it was submitted first.
    pub(super) submitted: Phase,
    pub(super) answered: Option<(Reply, Phase)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Committed,
    Aborted,
}

impl From<&Outcome> for Reply {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Committed => Reply::Committed,
            Outcome::Aborted(_) => Reply::Aborted,
        }
    }
}

impl Entry {
    fn new(number: u64, participants: usize, submitted: Phase) -> Entry {
        let first = number as usize % participants;
        let (places, saga) = ([first, (first + 1) % participants], number.is_multiple_of(4));
        Entry { number, places, saga, submitted, answered: None }
    }

    pub(super) fn tx(&self) -> anyhow::Result<TxId> {
        self.key().parse().context("an id")
    }

    /// Returns the key that it adds to.
    pub(super) fn key(&self) -> String {
        format!("t{}", self.number)
    }

    pub(super) fn submission(&self, names: &[String]) -> anyhow::Result<Submission> {
        let id = self.tx()?;
        let add = |delta| KvWork::new().add(self.key(), Add::of(delta));
        let [first, second] = self.places.map(|place| names[place].as_str());
        let submission: Submission = if self.saga {
            let step = |name, at| Step::new(name, at, add(1)).undo(add(-1));
            Saga::with_id(id).step(step("first", first)).step(step("second", second)).into()
        } else {
            Transaction::with_id(id).on(first, add(1)).on(second, add(1)).into()
        };
        Ok(submission.timeout(TIMEOUT))
    }

    pub(super) fn told(&self) -> Option<Reply> {
        self.answered.map(|(told, _)| told)
    }
}

/// The record of all transactions, and of what clients were told of them.
#[derive(Debug)]
pub(super) struct Ledger {
    names: Vec<String>,
    state: Mutex<State>,
    refused: AtomicUsize,
    stopped: AtomicBool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    entries: Vec<Entry>,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// Returns how many calls were refused or not answered until now.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns how many transactions like this were answered until now.
    pub(super) fn count(&self, is_counted: impl Fn(&Entry) -> bool) -> usize {
        self.state().entries.iter().filter(|entry| is_counted(entry)).count()
    }

    /// Returns once so much has happened, or an error if it does not within the patience of a round.
    pub(super) async fn wait_until(&self, what: &str, has_happened: impl Fn(&Ledger) -> bool) -> anyhow::Result<()> {
        let happens = async {
            while !has_happened(self) {
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, happens).await.with_context(|| format!("{what}: not within {PATIENCE:?}"))
    }

    fn begin(&self) -> Entry {
        let mut state = self.state();
        let entry = Entry::new(state.entries.len() as u64, self.names.len(), state.phase);
        state.entries.push(entry.clone());
        entry
    }

    fn answered(&self, number: u64, told: Reply) {
        let mut state = self.state();
        let phase = state.phase;
        if let Some(entry) = state.entries.get_mut(number as usize) {
            entry.answered = Some((told, phase));
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.state().entries.clone()
    }
}

/// Clients at work.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) ledger: Arc<Ledger>,
    clients: JoinSet<anyhow::Result<()>>,
}

impl Load {
    pub(super) fn start(coordinator: &str, names: &[String]) -> anyhow::Result<Load> {
        let ledger = Arc::new(Ledger {
            names: names.to_vec(),
            state: Mutex::new(State { phase: Phase::Before, entries: Vec::new() }),
            refused: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let options = ClientOptions::default().deadline(TIMEOUT).attempt_timeout(TIMEOUT);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = Client::connect_lazy(coordinator, options.clone())?;
            clients.spawn(work(client, ledger.clone()));
        }
        Ok(Load { ledger, clients })
    }

    /// Ends the clients' work, and asks for what they do not know yet: by submitting it again.
    pub(super) async fn finish(
        mut self,
        coordinator: &str,
        is_asked: impl Fn(&Entry) -> bool,
    ) -> anyhow::Result<Vec<Entry>> {
        self.ledger.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.context("a client ended")??;
        }
        let client = Client::connect_lazy(coordinator, ClientOptions::default().deadline(PATIENCE))?;
        let unknown = self.ledger.entries().into_iter().filter(|entry| entry.told().is_none() && is_asked(entry));
        let asked = stream::iter(unknown).map(|entry| ask(&client, &self.ledger, entry)).buffer_unordered(CLIENTS);
        asked.for_each(|()| async {}).await;
        Ok(self.ledger.entries())
    }
}

async fn work(client: Client, ledger: Arc<Ledger>) -> anyhow::Result<()> {
    while !ledger.stopped.load(Ordering::Relaxed) {
        let entry = ledger.begin();
        let submission = entry.submission(&ledger.names)?;
        for _ in 0..CALLS_PER_TRANSACTION {
            match client.submit(&submission).await {
                Ok(answer) => {
                    ledger.answered(entry.number, Reply::from(&answer.outcome));
                    break;
                }
                Err(error) => {
                    unanswered(error)?;
                    ledger.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    Ok(())
}

/// Asks for a transaction until it is answered, or patience ends: then the audit names it.
async fn ask(client: &Client, ledger: &Ledger, entry: Entry) {
    let Ok(submission) = entry.submission(&ledger.names) else { return };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(answer) = client.submit(&submission).await {
            return ledger.answered(entry.number, Reply::from(&answer.outcome));
        }
        sleep(POLL).await;
    }
}
