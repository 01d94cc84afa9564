//! The scenarios of what applications prepare by themselves, and of whether anybody will have it.

use super::list::{CRASH, CRASH_AND_LOSS, NONE, ask, insist, then};
use super::open_sagas::{begin_two_phase, branch, cancel, close, in_order, join};
use super::{Budget, Deadlines, Enlisting, OpenStep, Request, RequestKind, Scenario};

const INQUIRY: Budget = Budget { inquiries: 1, ..NONE };

impl Scenario {
    pub(super) fn enlisted() -> Vec<Scenario> {
        vec![
            Scenario::enlisted_and_adopted(),
            Scenario::enlisted_among_others(),
            Scenario::enlisted_and_cancelled(),
            Scenario::enlisted_and_left(),
            Scenario::enlisted_for_nobody(),
            Scenario::enlisted_for_a_stranger(),
        ]
    }

    pub fn enlisted_and_adopted() -> Scenario {
        let requests =
            in_order(vec![begin_two_phase(), enlist(), join(adopted()), join(branch(1, 1)), insist(close())]);
        let about = "a branch that its application has prepared itself joins an open transaction, which is closed while its coordinator is asked about it";
        Scenario::new("enlisted", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { inquiries: 1, ..CRASH }, Budget { inquiries: 2, ..CRASH_AND_LOSS })
    }

    pub fn enlisted_among_others() -> Scenario {
        let requests =
            vec![begin_two_phase(), enlist(), then(0, join(adopted())), then(2, join(branch(1, 1))), then(3, close())];
        let about =
            "the same, prepared at any time: before the transaction begins, too late for its close, or when it is over";
        Scenario::new("enlisted-race", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(INQUIRY, Budget { inquiries: 1, ..CRASH })
    }

    pub fn enlisted_and_cancelled() -> Scenario {
        let last = |request| then(3, request);
        let requests = vec![
            begin_two_phase(),
            then(0, enlist()),
            then(1, join(adopted())),
            then(2, join(branch(1, 1))),
            last(close()),
            last(cancel()),
        ];
        let about = "the same, and somebody cancels it";
        Scenario::new("enlisted-cancel", about, 2, requests).explored_with(INQUIRY, Budget { inquiries: 1, ..CRASH })
    }

    pub fn enlisted_and_left() -> Scenario {
        let requests = in_order(vec![begin_two_phase(), enlist()]);
        let about = "what an application has prepared never joins, and is undone once the transaction's time is over";
        Scenario::new("enlisted-left", about, 1, requests).explored_with(
            Budget { inquiries: 1, crashes: 2, losses: 1, ..NONE },
            Budget { inquiries: 2, crashes: 2, losses: 2, duplicates: 1, ..NONE },
        )
    }

    pub fn enlisted_for_nobody() -> Scenario {
        let requests = vec![enlist(), begin_two_phase()];
        let about =
            "an application prepares something under an id that is begun later, or never was when that was asked";
        Scenario::new("enlisted-alone", about, 1, requests).explored_with(
            Budget { inquiries: 1, ..CRASH_AND_LOSS },
            Budget { inquiries: 2, crashes: 2, losses: 2, ..NONE },
        )
    }

    pub fn enlisted_for_a_stranger() -> Scenario {
        let enlisting = Enlisting { for_a_stranger: true, ..ENLISTING };
        let requests = vec![
            begin_two_phase(),
            ask("T1", RequestKind::Enlist(enlisting)),
            then(0, join(adopted())),
            then(2, join(branch(1, 1))),
            insist(then(3, close())),
        ];
        let about = "an application prepares something for a coordinator that was never there";
        Scenario::new("enlisted-stranger", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(INQUIRY, Budget { inquiries: 1, ..CRASH })
    }
}

const ENLISTING: Enlisting = Enlisting { participant: 0, work: "put x", for_a_stranger: false };

fn enlist() -> Request {
    ask("T1", RequestKind::Enlist(ENLISTING))
}

/// The branch that an application has prepared.
fn adopted() -> OpenStep {
    OpenStep { completion: Some("adopt x"), ..branch(0, 0) }
}
