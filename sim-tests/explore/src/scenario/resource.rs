//! The scenarios of what resources elsewhere do: they lose locks, are ended by other hands, keep silent, owe something.

use super::list::{CRASH, NONE, insist, submit, then};
use super::{Budget, Deadlines, Scenario};

impl Scenario {
    pub(super) fn resources() -> Vec<Scenario> {
        vec![
            Scenario::reader_without_locks(),
            Scenario::reads_without_locks(),
            Scenario::other_hand(),
            Scenario::other_hand_and_crashes(),
            Scenario::other_hand_and_operator(),
            Scenario::other_hand_and_submitted_again(),
            Scenario::other_hand_and_evidence(),
            Scenario::evidence_and_dropped_records(),
            Scenario::unclear(),
            Scenario::unclear_alone(),
            Scenario::owed(),
            Scenario::settling(),
            Scenario::late(),
            Scenario::late_beside_another(),
        ]
    }

    pub fn reader_without_locks() -> Scenario {
        let requests =
            vec![submit("T1", &[(0, "get x"), (1, "get y put z")]), submit("T2", &[(0, "put x"), (1, "put y")])];
        let about = "a resource loses the locks of a branch that reads, beside a transaction that writes there";
        let budget = Budget { lost_locks: 1, ..NONE };
        Scenario::new("locks-lost", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .only_participants_crash()
            .explored_with(budget, Budget { crashes: 1, ..budget })
    }

    pub fn reads_without_locks() -> Scenario {
        let requests =
            vec![insist(submit("T1", &[(0, "get x"), (1, "get x")])), submit("T2", &[(0, "put x"), (1, "put x")])];
        let about = "the same, of a transaction that reads only";
        let budget = Budget { lost_locks: 1, ..NONE };
        Scenario::new("reads-lost", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .only_participants_crash()
            .explored_with(budget, Budget { lost_locks: 2, crashes: 1, ..budget })
    }

    pub fn other_hand() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")])];
        let budget = Budget { other_hands: 2, ..CRASH };
        Scenario::new("other-hand", "somebody else ends prepared branches in the resource itself", 2, requests)
            .that_keep_evidence_alone()
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    /// What a participant says of a branch that is gone is lost with the coordinator that heard it, and is asked for again. The other
    /// transaction brings the participant a higher low-water mark in between.
    pub fn other_hand_and_crashes() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "get x")]), then(0, submit("T2", &[(0, "put y")]))];
        let about = "somebody else ends a branch, its participant crashes, and then the coordinator that was told so";
        let budget = Budget { other_hands: 1, crashes: 2, ..NONE };
        Scenario::new("hand-crashes", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .that_keep_evidence_alone()
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn other_hand_and_operator() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")])];
        let about = "the same, and an operator decides it too";
        let budget = Budget { other_hands: 1, heuristics: 1, ..NONE };
        Scenario::new("hand-and-word", about, 2, requests)
            .that_keep_evidence_alone()
            .explored_with(budget, Budget { crashes: 1, ..budget })
    }

    pub fn other_hand_and_submitted_again() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let about = "somebody else ends a branch of an id that is submitted again";
        let budget = Budget { other_hands: 1, ..CRASH };
        Scenario::new("hand-again", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn other_hand_and_evidence() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let about = "the same, and after a crash a resource knows no more than that its branch has committed";
        let budget = Budget { other_hands: 1, ..CRASH };
        Scenario::new("hand-evidence", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .that_keep_evidence_alone()
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn evidence_and_dropped_records() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")]), submit("T2", &[(0, "put y")])];
        let about = "a log drops the record of what has ended, beside evidence of branches that have committed";
        let budget = Budget { other_hands: 1, drops: 1, ..CRASH };
        Scenario::new("evidence-old", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .that_keep_evidence_alone()
            .only_participants_crash()
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn unclear() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "get x")])];
        let about = "it is unclear what became of a prepare, and somebody else may end it before that is known";
        let budget = Budget { unclear: 1, other_hands: 1, ..CRASH };
        Scenario::new("unclear", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .that_keep_evidence_alone()
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn unclear_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), insist(submit("T2", &[(0, "get x put x")]))];
        let about = "it is unclear what became of a branch that is alone in its transaction";
        let budget = Budget { unclear: 1, ..CRASH };
        Scenario::new("unclear-1", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn late() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let about = "a prepare lands though nobody waits for it any more, and the id is submitted again";
        let budget = Budget { unclear: 1, late: 1, ..CRASH };
        Scenario::new("late", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn late_beside_another() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")]), submit("T2", &[(0, "get x put x")])];
        let about = "the same, beside a transaction that wants its locks";
        let budget = Budget { unclear: 1, late: 1, ..NONE };
        Scenario::new("late-beside", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(budget, Budget { crashes: 1, ..budget })
    }

    pub fn owed() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let about = "aborts owe something, which crashes interrupt, and the id is submitted again";
        let budget = Budget { crashes: 2, ..NONE };
        Scenario::new("owed", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .that_calls_services()
            .explored_with(budget, Budget { losses: 1, ..budget })
    }

    pub fn settling() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")]))];
        let about = "a crash interrupts the end of a branch that is alone, which another hand may let go meanwhile";
        let budget = Budget { crashes: 2, other_hands: 1, ..NONE };
        Scenario::new("settling", about, 1, requests)
            .that_calls_services()
            .explored_with(budget, Budget { losses: 1, ..budget })
    }
}
