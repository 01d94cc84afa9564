//! The plan of a run: a seed expands to a plan, and the run consumes only the plan.
//!
//! So a failing plan can be kept as JSON, shrunk (fewer faults, clients, transactions, shorter times) and replayed after
//! the code has changed. `seed` still feeds the random streams, one per concern, so that leaving one thing out changes
//! nothing about the others.

mod fault;
mod host;
mod mode;
mod mutant;
pub mod points;
mod seed;
mod soundness;
mod states;
mod trips;
mod words;
mod world;

pub use fault::{Code, Copied, Direction, Fault, HowEnded, HowResolved, Message, Tampering, What, When};
pub use host::Host;
pub use mode::Mode;
pub use mutant::Mutant;
pub use soundness::Unsound;
pub use states::{BRANCHES, IDLE, OVER, PHASES};
pub use trips::{Backward, MovedBy, Trips};
pub use world::{World, plan_of};

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed of all random streams: latencies, jitter, ids, workloads.
    pub seed: u64,
    pub shape: Shape,
    pub faults: Vec<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<Mutant>,
}

/// The size of a world, and the time in which faults may strike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub participants: u8,
    pub clients: u8,
    /// Each client submits them one after the other; later ones are not begun once the faults are over.
    pub transactions_per_client: u16,
    /// Keys of each kind and participant. Few keys meet often.
    pub keys: u8,
    /// The time from the client's submission to the decision.
    pub timeout_ms: u64,
    /// A client's longest pause between two transactions.
    pub think_ms: u64,
    /// Latency of a message on the network.
    pub latency_ms: (u64, u64),
    /// The time for which the coordinator keeps what has ended.
    pub retention_s: u64,
    /// The moment when everything is healed and has to come to an end.
    pub heal_at_ms: u64,
    /// Transactions that are sagas, and as many that leave the choice to the coordinator; the rest is two-phase commit.
    #[serde(default)]
    pub sagas_percent: u8,
    /// Transactions that are open sagas, of those that are two-phase commit otherwise. Only where nobody stands in front of a database.
    #[serde(default, skip_serializing_if = "is_default")]
    pub open_sagas_percent: u8,
    /// Open sagas that others are nested in, of all open sagas.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nested_sagas_percent: u8,
    /// The mode of all transactions, whatever they do. Sagas then touch what others audit, and anomalies show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Mode>,
    /// This participant's resource manager cannot prepare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_prepare: Option<u8>,
    /// These participants stand in front of a database each, in place of a store of their own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub databases: BTreeSet<u8>,
    /// These participants call an HTTP service each, and keep what they have asked of it in a store of their own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub services: BTreeSet<u8>,
    /// The transactions that each database keeps prepared at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared_slots: Option<u16>,
    /// The conditions under which auto spares a participant; by default as coordinators come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Values of registers and marks are padded to this, so that work, results and records are large. 0: values are as
    /// short as they come.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value_bytes: u32,
    /// The coordinator's store takes no larger write, so that some records cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_write_bytes: Option<u32>,
    /// The bytes that the branches of all transactions may have handed back at the coordinator, so that it turns some away. Large
    /// reads read at every participant then, and all others write there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_gathered_bytes: Option<u32>,
    /// The share of the transactions by two-phase commit, in percent, that read as much as a branch may answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub large_reads_percent: u8,
    /// Hosts that read the events of participants. Without any, participants publish none; with them, those with a key-value store
    /// publish one of each change.
    #[serde(default, skip_serializing_if = "is_default")]
    pub readers: u8,
    /// Each participant that publishes keeps a view of what the next one changes, by its events.
    #[serde(default, skip_serializing_if = "is_default")]
    pub views: bool,
    /// Choreographed sagas, which some of the work of clients begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trips: Option<Trips>,
}

impl Shape {
    /// Returns true if this participant publishes events.
    pub fn publishes(&self, participant: u8) -> bool {
        (self.readers > 0 || self.reacts())
            && !self.databases.contains(&participant)
            && !self.services.contains(&participant)
    }

    /// Returns the participant of whose changes this one keeps a view.
    pub fn viewed_by(&self, participant: u8) -> Option<u8> {
        let publishing = || (1..=self.participants).filter(|at| self.publishes(*at));
        let next = publishing().find(|at| *at > participant).or_else(|| publishing().next());
        next.filter(|next| self.views && self.publishes(participant) && *next != participant)
    }

    /// Returns true if some participants react to events.
    pub fn reacts(&self) -> bool {
        self.views || self.choreographed().is_some()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Plan {
    /// Returns true if some disk may be put back.
    pub fn puts_disks_back(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.what, What::PutBack { .. }))
    }

    /// Returns true if this host takes part.
    pub fn has(&self, host: Host) -> bool {
        match host {
            Host::Coordinator => true,
            Host::Standby => self.faults.iter().any(|fault| matches!(fault.what, What::Takeover { .. })),
            Host::Participant(number) => (1..=self.shape.participants).contains(&number),
            Host::Database(number) => self.shape.databases.contains(&number),
            Host::Service(number) => self.shape.services.contains(&number),
            Host::Client(number) => (1..=self.shape.clients).contains(&number),
            Host::Reader(number) => (1..=self.shape.readers).contains(&number),
        }
    }
}

/// The circuit breakers of a coordinator; see its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    pub threshold: u32,
    pub pause_ms: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            participants: 3,
            clients: 3,
            transactions_per_client: 30,
            keys: 4,
            timeout_ms: 2_000,
            think_ms: 200,
            latency_ms: (1, 10),
            retention_s: 3_600,
            heal_at_ms: 10_000,
            sagas_percent: 0,
            open_sagas_percent: 0,
            nested_sagas_percent: 0,
            only: None,
            cannot_prepare: None,
            databases: BTreeSet::new(),
            services: BTreeSet::new(),
            prepared_slots: None,
            breaker: None,
            value_bytes: 0,
            max_write_bytes: None,
            max_gathered_bytes: None,
            large_reads_percent: 0,
            readers: 0,
            views: false,
            trips: None,
        }
    }
}
