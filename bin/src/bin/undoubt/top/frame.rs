//! One frame of the view, which programs read too.

use serde::Serialize;

/// A look at a coordinator and its participants.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Frame {
    /// The moment at which it was taken, by this machine's clock.
    pub at: String,
    /// The address that was asked.
    pub address: String,
    /// None: it does not answer.
    pub coordinator: Option<Coordinator>,
    /// Why it does not answer. The participants are those that are remembered then.
    pub coordinator_is_away: Option<String>,
    /// The branches in doubt at all participants that answer.
    pub in_doubt: InDoubt,
    pub participants: Vec<Participant>,
    /// The oldest open transactions, as their coordinator tells; if it is away, the oldest in doubt.
    pub oldest: Vec<Transaction>,
    /// There are more than are told.
    pub more: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Coordinator {
    pub name: String,
    pub epoch: u32,
    pub phase: String,
    /// None in the first look, and after a restart.
    pub per_second: Option<Rates>,
    pub open: u64,
    pub max_open: u64,
    pub oldest_open_s: Option<f64>,
    pub unacknowledged: u64,
    pub oldest_unacknowledged_s: Option<f64>,
    pub stuck: u64,
    pub oldest_stuck_s: Option<f64>,
    pub damaged: u64,
    pub unusable: u64,
    /// Those that recovery has found, and that wait until an operator resumes it.
    pub paused: u64,
    /// The bytes that are free for its log; none where nothing bounds them.
    pub free_bytes: Option<u64>,
    /// With fewer free bytes it takes no new work.
    pub min_free_bytes: u64,
    pub refusing_work_because: Option<String>,
    pub held_because: Vec<String>,
}

/// Transactions per second, since the look before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub begun: f64,
    pub committed: f64,
    pub aborted: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct InDoubt {
    pub branches: u64,
    /// Participants that have some.
    pub participants: u64,
    pub oldest_s: Option<f64>,
    /// Participants that were not asked, and may have more.
    pub unknown: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Participant {
    pub name: String,
    /// connected or away, as the coordinator sees it; without one whether it answers here.
    pub state: String,
    /// For how long it is in that state.
    pub for_s: Option<f64>,
    pub open: Option<u64>,
    pub queued: Option<u64>,
    /// Branches that have voted and do not know the decision; none: it was not asked.
    pub in_doubt: Option<u64>,
    pub oldest_in_doubt_s: Option<f64>,
    /// Auto spares it two-phase commit, since it did not answer in time.
    pub spared: bool,
    /// The note for operators.
    pub note: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Transaction {
    pub tx: String,
    pub age_s: f64,
    pub phase: String,
    /// Its branches or steps that are not over, with their states; of one in doubt the participant.
    pub waits_at: String,
}

/// The order in which participants stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Name,
    InDoubt,
    Open,
}

impl Order {
    pub fn next(self) -> Order {
        match self {
            Order::Name => Order::InDoubt,
            Order::InDoubt => Order::Open,
            Order::Open => Order::Name,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Order::Name => "name",
            Order::InDoubt => "in doubt",
            Order::Open => "open",
        }
    }
}

impl Frame {
    /// Puts the participants in this order; those that are alike by their names.
    pub fn sort(&mut self, order: Order) {
        self.participants.sort_by(|one, other| {
            let more_first = match order {
                Order::Name => std::cmp::Ordering::Equal,
                Order::InDoubt => other.in_doubt.cmp(&one.in_doubt),
                Order::Open => other.open.cmp(&one.open),
            };
            more_first.then_with(|| one.name.cmp(&other.name))
        });
    }
}
