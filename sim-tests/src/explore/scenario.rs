//! Which transactions meet which participants, and how much may go wrong.

use super::mutant::Mutant;
use undoubt_coordinator_core::{Client, Submission};
use undoubt_vocabulary::{ParticipantName, TxId};
use bytes::Bytes;
use std::time::Duration;

/// How often each fault may strike in one history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Of the coordinator or of any participant.
    pub crashes: u8,
    pub losses: u8,
    pub duplicates: u8,
    pub disconnections: u8,
    /// An operator decides a branch in doubt alone.
    pub heuristics: u8,
}

/// A small world to be explored to its end.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub participants: usize,
    pub requests: Vec<Request>,
    pub deadlines: Deadlines,
    pub sessions: Sessions,
    /// What it is explored with in the tests.
    pub budget: Budget,
    pub mutant: Option<Mutant>,
}

/// When a transaction's deadline may pass, and a lock wait may end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadlines {
    /// Only progress ends a wait, so a deadlock shows.
    Never,
    /// When nothing else can happen. With two transactions anything more is more than can be explored.
    WhenStuck,
    Always,
}

/// How a session begins, and how a process comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// At once. What happens between a crash and the first session after it, or between hello and welcome, might as well
    /// have happened before or after, for nobody hears of the others meanwhile. What goes missing is that such a
    /// beginning breaks off half way.
    AtOnce,
    /// Step by step: down, started, dialing, hello, epoch recorded, welcome.
    StepByStep,
}

/// Something a client asks, at any time.
#[derive(Clone, Debug)]
pub struct Request {
    pub tx: &'static str,
    pub kind: RequestKind,
    /// If the coordinator crashes before it answers, the client asks again.
    pub persistent: bool,
}

#[derive(Clone, Debug)]
pub enum RequestKind {
    /// Each branch's participant and its work, see [`super::work`].
    Submit(Vec<(usize, &'static str)>),
    Cancel,
}

pub(crate) fn participant_name(participant: usize) -> ParticipantName {
    format!("p{participant}").parse().expect("a valid name")
}

impl Request {
    pub(crate) fn submit(tx: &'static str, branches: &[(usize, &'static str)]) -> Request {
        Request { tx, kind: RequestKind::Submit(branches.to_vec()), persistent: true }
    }

    fn once(self) -> Request {
        Request { persistent: false, ..self }
    }

    pub(crate) fn tx(&self) -> TxId {
        self.tx.parse().expect("a valid id")
    }
}

impl Scenario {
    /// All that the tests explore.
    pub fn all() -> Vec<Scenario> {
        vec![
            Scenario::two_participants(),
            Scenario::three_participants(),
            Scenario::one_phase(),
            Scenario::read_only(),
            Scenario::submitted_twice(),
            Scenario::wait_die(),
            Scenario::cancelled(),
            Scenario::heuristic(),
            Scenario::sessions(),
        ]
    }

    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::all().into_iter().find(|scenario| scenario.name == name)
    }

    fn new(name: &'static str, about: &'static str, participants: usize, requests: Vec<Request>) -> Scenario {
        let budget = Budget { crashes: 1, losses: 1, duplicates: 1, disconnections: 0, heuristics: 0 };
        Scenario { name, about, participants, requests, deadlines: Deadlines::Always, sessions: Sessions::AtOnce, budget, mutant: None }
    }

    fn with_budget(mut self, change: impl FnOnce(&mut Budget)) -> Scenario {
        change(&mut self.budget);
        self
    }

    pub fn with_mutant(self, mutant: Mutant) -> Scenario {
        Scenario { mutant: Some(mutant), ..self }
    }

    pub fn two_participants() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x"), (1, "put x")]).once()];
        Scenario::new("two", "two branches that write", 2, requests).with_budget(|budget| budget.disconnections = 1)
    }

    pub fn three_participants() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x"), (1, "put x"), (2, "put x")]).once()];
        let mut scenario = Scenario::new("three", "three branches that write", 3, requests);
        scenario.deadlines = Deadlines::WhenStuck;
        scenario
    }

    pub fn one_phase() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x")]), Request::submit("T2", &[(0, "get x put x")])];
        Scenario::new("one-phase", "two transactions with a single branch each, on one participant", 1, requests)
    }

    pub fn read_only() -> Scenario {
        let requests = vec![
            Request::submit("T1", &[(0, "get x"), (1, "get y put z")]).once(),
            Request::submit("T2", &[(0, "put x"), (1, "put y")]).once(),
        ];
        let about = "a transaction that reads at one participant, and one that writes there";
        let mut scenario = Scenario::new("read-only", about, 2, requests);
        scenario.deadlines = Deadlines::WhenStuck;
        scenario
    }

    pub fn submitted_twice() -> Scenario {
        let branches = [(0, "put x"), (1, "get x put x")];
        let requests = vec![Request::submit("T1", &branches), Request::submit("T1", &branches)];
        let mut scenario = Scenario::new("twice", "the same transaction, submitted by two clients who both insist", 2, requests);
        scenario.deadlines = Deadlines::WhenStuck;
        scenario
    }

    pub fn wait_die() -> Scenario {
        let requests = vec![
            Request::submit("T1", &[(0, "put x"), (1, "put x")]).once(),
            Request::submit("T2", &[(0, "get x put x"), (1, "get x put x")]).once(),
        ];
        let mut scenario = Scenario::new("wait-die", "two transactions want the same locks at two participants", 2, requests);
        scenario.deadlines = Deadlines::Never;
        scenario.budget.losses = 0;
        scenario
    }

    pub fn cancelled() -> Scenario {
        let cancel = Request { tx: "T1", kind: RequestKind::Cancel, persistent: false };
        let requests = vec![Request::submit("T1", &[(0, "put x"), (1, "get x")]).once(), cancel];
        Scenario::new("cancel", "a transaction that somebody cancels", 2, requests)
    }

    pub fn heuristic() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x"), (1, "put x")]).once()];
        let budget = |budget: &mut Budget| *budget = Budget { crashes: 1, heuristics: 2, ..Budget::default() };
        Scenario::new("heuristic", "operators decide branches in doubt alone", 2, requests).with_budget(budget)
    }

    pub fn sessions() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x")])];
        let about = "one participant, and sessions that begin step by step and break at any of them";
        let mut scenario = Scenario::new("sessions", about, 1, requests);
        scenario.sessions = Sessions::StepByStep;
        scenario.budget = Budget { crashes: 2, disconnections: 1, ..Budget::default() };
        scenario
    }

    /// The branches of a transaction: participant and work.
    pub(crate) fn branches_of(&self, tx: &TxId) -> &[(usize, &'static str)] {
        let submitted = self.requests.iter().find_map(|request| match &request.kind {
            RequestKind::Submit(branches) if request.tx.as_bytes() == tx.as_bytes() => Some(branches.as_slice()),
            RequestKind::Submit(_) | RequestKind::Cancel => None,
        });
        submitted.unwrap_or(&[])
    }

    pub(crate) fn submission(&self, request: usize, branches: &[(usize, &'static str)]) -> Submission {
        let work = |(participant, work): &(usize, &'static str)| (participant_name(*participant), Bytes::from_static(work.as_bytes()));
        Submission {
            tx: self.requests[request].tx(),
            // One content for each id.
            digest: [1; 32],
            branches: branches.iter().map(work).collect(),
            timeout: Duration::from_secs(1),
            client: Client(request as u64),
            wait: true,
        }
    }
}
