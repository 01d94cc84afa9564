//! The scenarios. Each is small enough for everything in it to be explored.

use super::{Budget, Crashing, Deadlines, Request, RequestKind, Scenario, Sessions};
use undoubt_coordinator_core::StepResolution;

pub(super) const NONE: Budget = Budget::NONE;
pub(super) const CRASH: Budget = Budget { crashes: 1, ..NONE };
pub(super) const LOSS: Budget = Budget { losses: 1, ..NONE };
pub(super) const TWO_CRASHES: Budget = Budget { crashes: 2, ..NONE };
pub(super) const CRASH_AND_LOSS: Budget = Budget { losses: 1, ..CRASH };
pub(super) const ONE_OF_EACH: Budget = Budget { duplicates: 1, ..CRASH_AND_LOSS };

impl Scenario {
    pub fn all() -> Vec<Scenario> {
        let mut all = vec![
            Scenario::two_participants(),
            Scenario::three_participants(),
            Scenario::four_participants(),
            Scenario::one_phase(),
            Scenario::lone_read(),
            Scenario::read_only(),
            Scenario::nothing_but_reads(),
            Scenario::submitted_twice(),
            Scenario::wait_die(),
            Scenario::conflict(),
            Scenario::cancelled(),
            Scenario::taken_back(),
            Scenario::heuristic(),
            Scenario::decided_and_submitted_again(),
            Scenario::sessions(),
            Scenario::sessions_of_two(),
            Scenario::other_content(),
            Scenario::operated(),
            Scenario::forgotten(),
            Scenario::forgotten_alone(),
            Scenario::unable(),
        ];
        all.extend(Scenario::resources());
        all.extend(Scenario::sagas());
        all.extend(Scenario::stuck_sagas());
        all.extend(Scenario::sagas_ended_by_an_operator());
        all.extend(Scenario::open_sagas());
        all.extend(Scenario::nested_sagas());
        all.extend(Scenario::enlisted());
        all.extend(Scenario::sagas_that_meet());
        all.extend(Scenario::autos());
        all.extend(Scenario::held());
        all.extend(Scenario::restored());
        all
    }

    pub(super) fn new(
        name: &'static str,
        about: &'static str,
        participants: usize,
        requests: Vec<Request>,
    ) -> Scenario {
        Scenario {
            name,
            about,
            participants,
            requests,
            deadlines: Deadlines::Always,
            sessions: Sessions::AtOnce,
            crashing: Crashing::Anybody,
            resolutions: &[],
            interferes: &[],
            releases_marks: false,
            unable: &[],
            calls_services: false,
            keeps_evidence_alone: false,
            breakers: false,
            old_after_attempts: 1_000,
            restored: None,
            budget: CRASH_AND_LOSS,
            thorough: CRASH_AND_LOSS,
            mutant: None,
        }
    }

    pub(super) fn explored_with(self, budget: Budget, thorough: Budget) -> Scenario {
        Scenario { budget, thorough, ..self }
    }

    pub(super) fn deadlines(self, deadlines: Deadlines) -> Scenario {
        Scenario { deadlines, ..self }
    }

    pub(super) fn only_participants_crash(self) -> Scenario {
        Scenario { crashing: Crashing::Participants, ..self }
    }

    pub(super) fn resolved_by(self, resolutions: &'static [StepResolution]) -> Scenario {
        Scenario { resolutions, ..self }
    }

    pub(super) fn interfered_with(self, interferes: &'static [StepResolution]) -> Scenario {
        Scenario { interferes, ..self }
    }

    pub(super) fn that_cannot_prepare(self, unable: &'static [usize]) -> Scenario {
        Scenario { unable, ..self }
    }

    pub(super) fn that_calls_services(self) -> Scenario {
        Scenario { calls_services: true, ..self }
    }

    pub(super) fn that_keep_evidence_alone(self) -> Scenario {
        Scenario { keeps_evidence_alone: true, ..self }
    }

    pub(super) fn with_breakers(self) -> Scenario {
        Scenario { breakers: true, ..self }
    }

    pub(super) fn passed_soon(self) -> Scenario {
        Scenario { old_after_attempts: 1, ..self }
    }

    pub(super) fn step_by_step(self) -> Scenario {
        Scenario { sessions: Sessions::StepByStep, ..self }
    }

    pub fn two_participants() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")])];
        Scenario::new("two", "two branches that write", 2, requests)
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn three_participants() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x"), (2, "put x")])];
        Scenario::new("three", "three branches that write", 3, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, ..CRASH_AND_LOSS })
    }

    pub fn four_participants() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x"), (2, "put x"), (3, "put x")])];
        Scenario::new("four", "four branches that write", 4, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, ONE_OF_EACH)
    }

    pub fn one_phase() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), insist(submit("T2", &[(0, "get x put x")]))];
        let about = "two transactions with a single branch each, on one participant";
        Scenario::new("one-phase", about, 1, requests).explored_with(ONE_OF_EACH, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    /// The world in which a single branch only reads, and answers are lost with their session only. No deadline passes, so
    /// what would wait for one would wait for ever.
    pub fn lone_read() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "get x")])), insist(submit("T2", &[(0, "put x")]))];
        let about = "a single branch that only reads, beside one that writes, and sessions that break at any moment";
        let budget = Budget { disconnections: 1, ..CRASH };
        Scenario::new("lone-read", about, 1, requests)
            .deadlines(Deadlines::Never)
            .explored_with(budget, Budget { disconnections: 2, duplicates: 1, ..budget })
    }

    pub fn read_only() -> Scenario {
        let requests =
            vec![submit("T1", &[(0, "get x"), (1, "get y put z")]), submit("T2", &[(0, "put x"), (1, "put y")])];
        let about = "a transaction that reads at one participant, and one that writes there";
        Scenario::new("read-only", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .only_participants_crash()
            .explored_with(CRASH, TWO_CRASHES)
    }

    pub fn nothing_but_reads() -> Scenario {
        let requests =
            vec![insist(submit("T1", &[(0, "get x"), (1, "get x")])), submit("T2", &[(0, "put x"), (1, "put x")])];
        let about = "a transaction that reads only, and one that writes there";
        Scenario::new("reads", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .only_participants_crash()
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn submitted_twice() -> Scenario {
        let branches = [(0, "put x"), (1, "get x put x")];
        let requests = vec![insist(submit("T1", &branches)), insist(submit("T1", &branches))];
        let about = "the same transaction, submitted by two clients who both insist";
        Scenario::new("twice", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, ONE_OF_EACH)
    }

    pub fn wait_die() -> Scenario {
        Scenario::new("wait-die", "two transactions want the same locks at two participants", 2, conflicting())
            .deadlines(Deadlines::Never)
            .only_participants_crash()
            .explored_with(CRASH, TWO_CRASHES)
    }

    pub fn conflict() -> Scenario {
        Scenario::new("conflict", "the same, and the coordinator may crash too", 2, conflicting())
            .deadlines(Deadlines::WhenStuck)
            .explored_with(NONE, CRASH)
    }

    pub fn cancelled() -> Scenario {
        let requests = vec![submit("T1", &[(0, "get x"), (1, "put x")]), ask("T1", RequestKind::Cancel)];
        Scenario::new("cancel", "a transaction that somebody cancels", 2, requests)
            .explored_with(CRASH_AND_LOSS, ONE_OF_EACH)
    }

    pub fn taken_back() -> Scenario {
        let requests =
            vec![submit("T1", &[(0, "put x"), (1, "refuse x")]), submit("T2", &[(0, "get x"), (1, "put y")])];
        let about = "an abort that a crash takes back, and a transaction that reads where it was";
        Scenario::new("taken-back", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .only_participants_crash()
            .explored_with(CRASH, TWO_CRASHES)
    }

    pub fn heuristic() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")])];
        let heuristics = Budget { heuristics: 2, ..NONE };
        Scenario::new("heuristic", "operators decide branches in doubt alone", 2, requests)
            .explored_with(Budget { crashes: 1, ..heuristics }, Budget { heuristics: 2, ..CRASH_AND_LOSS })
    }

    pub fn decided_and_submitted_again() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let about = "an operator decides a branch of an id that is submitted again";
        let budget = Budget { heuristics: 1, ..CRASH };
        Scenario::new("decided", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn sessions() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")]))];
        let about = "one participant, and sessions that begin step by step and break at any of them";
        let budget = Budget { crashes: 2, disconnections: 1, ..CRASH_AND_LOSS };
        Scenario::new("sessions", about, 1, requests)
            .step_by_step()
            .explored_with(budget, Budget { disconnections: 2, ..budget })
    }

    pub fn sessions_of_two() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let budget = Budget { disconnections: 1, ..CRASH };
        Scenario::new("sessions-2", "the same with two participants", 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .step_by_step()
            .explored_with(CRASH, Budget { losses: 1, ..budget })
    }

    pub fn other_content() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")]), submit("T1", &[(0, "put x")])];
        let about = "an id that a crash made forgotten, submitted again with other content";
        Scenario::new("other", about, 2, requests).explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn operated() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let about = "an operator pauses the recovery, has it start paused, drains";
        let budget = Budget { operations: 1, ..CRASH };
        Scenario::new("operated", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(budget, Budget { operations: 2, ..budget })
    }

    pub fn forgotten() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")]), ask("T1", RequestKind::Forget)];
        Scenario::new("forgotten", "an operator forgets a commit that is not acknowledged", 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn forgotten_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), ask("T1", RequestKind::Forget)];
        let thorough = Budget { crashes: 2, losses: 2, duplicates: 2, ..NONE };
        Scenario::new("given-up", "an operator forgets a single branch that keeps silent", 1, requests)
            .explored_with(ONE_OF_EACH, thorough)
    }

    pub fn unable() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")])), submit("T2", &[(1, "put y")])];
        let about = "one of the participants takes a branch only if it is alone, and a coordinator that starts again does not know";
        Scenario::new("unable", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .that_cannot_prepare(&[1])
            .explored_with(CRASH, CRASH_AND_LOSS)
    }
}

fn conflicting() -> Vec<Request> {
    vec![submit("T1", &[(0, "put x"), (1, "put x")]), submit("T2", &[(0, "get x put x"), (1, "get x put x")])]
}

/// The client asks once.
pub(super) fn submit(tx: &'static str, branches: &[(usize, &'static str)]) -> Request {
    ask(tx, RequestKind::Submit(branches.to_vec()))
}

pub(super) fn ask(tx: &'static str, kind: RequestKind) -> Request {
    Request { tx, kind, persistent: false, after: None }
}

pub(super) fn then(after: usize, request: Request) -> Request {
    Request { after: Some(after), ..request }
}

pub(super) fn insist(request: Request) -> Request {
    Request { persistent: true, ..request }
}
