//! Which transactions meet which participants, and how much may go wrong.

use super::mutant::Mutant;
use super::work;
use bytes::Bytes;
use std::time::Duration;
use undoubt_coordinator_core::{Client, Submission};
use undoubt_vocabulary::{ParticipantName, TxId};

/// How often each fault may strike in one history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Of whoever may crash in the scenario.
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
    pub crashing: Crashing,
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

/// Who may crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crashing {
    Anybody,
    Participants,
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
            Scenario::other_content(),
        ]
    }

    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::all().into_iter().find(|scenario| scenario.name == name)
    }

    fn new(name: &'static str, about: &'static str, participants: usize, requests: Vec<Request>) -> Scenario {
        let budget = Budget { crashes: 1, losses: 1, ..Budget::default() };
        Scenario {
            name,
            about,
            participants,
            requests,
            deadlines: Deadlines::Always,
            sessions: Sessions::AtOnce,
            crashing: Crashing::Anybody,
            budget,
            mutant: None,
        }
    }

    pub fn with_mutant(self, mutant: Mutant) -> Scenario {
        Scenario { mutant: Some(mutant), ..self }
    }

    pub fn two_participants() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x"), (1, "put x")]).once()];
        let mut scenario = Scenario::new("two", "two branches that write", 2, requests);
        scenario.budget.duplicates = 1;
        scenario
    }

    pub fn three_participants() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x"), (1, "put x"), (2, "put x")]).once()];
        let mut scenario = Scenario::new("three", "three branches that write", 3, requests);
        scenario.deadlines = Deadlines::WhenStuck;
        scenario
    }

    pub fn one_phase() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x")]), Request::submit("T2", &[(0, "get x put x")])];
        let about = "two transactions with a single branch each, on one participant";
        let mut scenario = Scenario::new("one-phase", about, 1, requests);
        scenario.budget.duplicates = 1;
        scenario
    }

    pub fn read_only() -> Scenario {
        let requests = vec![
            Request::submit("T1", &[(0, "get x"), (1, "get y put z")]).once(),
            Request::submit("T2", &[(0, "put x"), (1, "put y")]).once(),
        ];
        let about = "a transaction that reads at one participant, and one that writes there";
        let mut scenario = Scenario::new("read-only", about, 2, requests);
        scenario.deadlines = Deadlines::WhenStuck;
        scenario.crashing = Crashing::Participants;
        scenario.budget.losses = 0;
        scenario
    }

    pub fn submitted_twice() -> Scenario {
        let branches = [(0, "put x"), (1, "get x put x")];
        let requests = vec![Request::submit("T1", &branches), Request::submit("T1", &branches)];
        let mut scenario =
            Scenario::new("twice", "the same transaction, submitted by two clients who both insist", 2, requests);
        scenario.deadlines = Deadlines::WhenStuck;
        scenario
    }

    pub fn wait_die() -> Scenario {
        let requests = vec![
            Request::submit("T1", &[(0, "put x"), (1, "put x")]).once(),
            Request::submit("T2", &[(0, "get x put x"), (1, "get x put x")]).once(),
        ];
        let mut scenario =
            Scenario::new("wait-die", "two transactions want the same locks at two participants", 2, requests);
        scenario.deadlines = Deadlines::Never;
        scenario.crashing = Crashing::Participants;
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
        let mut scenario = Scenario::new("heuristic", "operators decide branches in doubt alone", 2, requests);
        scenario.budget = Budget { heuristics: 2, ..Budget::default() };
        scenario
    }

    pub fn other_content() -> Scenario {
        let first = Request::submit("T1", &[(0, "put x"), (1, "put x")]).once();
        let second = Request::submit("T1", &[(0, "put x")]).once();
        let about = "an id that a crash made forgotten, submitted again with other content";
        let mut scenario = Scenario::new("other", about, 2, vec![first, second]);
        scenario.budget.losses = 0;
        scenario
    }

    pub fn sessions() -> Scenario {
        let requests = vec![Request::submit("T1", &[(0, "put x")])];
        let about = "one participant, and sessions that begin step by step and break at any of them";
        let mut scenario = Scenario::new("sessions", about, 1, requests);
        scenario.sessions = Sessions::StepByStep;
        scenario.budget = Budget { crashes: 2, losses: 1, disconnections: 1, ..Budget::default() };
        scenario
    }

    /// Whether the transaction's branch at this participant writes.
    pub(crate) fn writes(&self, tx: &TxId, participant: usize) -> bool {
        self.requests.iter().filter(|request| request.tx.as_bytes() == tx.as_bytes()).any(|request| {
            match &request.kind {
                RequestKind::Submit(branches) => {
                    branches.iter().any(|(name, work)| *name == participant && work::writes(work))
                }
                RequestKind::Cancel => false,
            }
        })
    }

    pub(crate) fn has_several_transactions(&self) -> bool {
        self.requests.iter().any(|request| request.tx != self.requests[0].tx)
    }

    pub(crate) fn submission(&self, request: usize, branches: &[(usize, &'static str)]) -> Submission {
        let work = |(participant, work): &(usize, &'static str)| {
            (participant_name(*participant), Bytes::from_static(work.as_bytes()))
        };
        Submission {
            tx: self.requests[request].tx(),
            // Contents that differ, differ in their branches here.
            digest: [branches.len() as u8; 32],
            branches: branches.iter().map(work).collect(),
            timeout: Duration::from_secs(1),
            client: Client(request as u64),
            wait: true,
        }
    }
}
