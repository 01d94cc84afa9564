//! The scenarios of sagas that are nested in others.

use super::list::{CRASH, CRASH_AND_LOSS, NONE, TWO_CRASHES, ask, insist, then};
use super::open_sagas::{acting, elsewhere, in_order};
use super::{Budget, Deadlines, OpenStep, Request, RequestKind, Scenario};
use undoubt_coordinator_core::Completions;

impl Scenario {
    pub(super) fn nested_sagas() -> Vec<Scenario> {
        vec![
            Scenario::nested_and_closed(),
            Scenario::nested_and_kept(),
            Scenario::nested_and_turned_back(),
            Scenario::nested_and_turned_back_with_results(),
            Scenario::nested_and_cancelled_alone(),
            Scenario::nested_among_all(),
            Scenario::nested_and_overdue(),
            Scenario::nested_deep(),
            Scenario::nested_in_order(),
            Scenario::nested_and_forgotten(),
            Scenario::nested_and_forgotten_in_the_midst(),
            Scenario::nested_and_refused_records(),
            Scenario::nested_and_spoiled(),
        ]
    }

    pub fn nested_and_closed() -> Scenario {
        let requests = in_order(vec![begin(), nest("T2", "T1"), join("T2", elsewhere(0, 0)), close("T1")]);
        let about = "a saga is closed, and what is nested in it and open with it";
        Scenario::new("nested", about, 1, requests).explored_with(CRASH_AND_LOSS, TWO_CRASHES)
    }

    pub fn nested_and_kept() -> Scenario {
        let requests = in_order(vec![
            begin(),
            nest("T2", "T1"),
            join("T2", elsewhere(0, 0)),
            insist(close("T2")),
            insist(close("T1")),
        ]);
        let about = "a nested saga is closed, and completed at once, and ends once its parent is closed";
        Scenario::new("nested-closed", about, 1, requests).explored_with(CRASH_AND_LOSS, TWO_CRASHES)
    }

    pub fn nested_and_turned_back() -> Scenario {
        let requests = in_order(vec![
            begin(),
            join("T1", elsewhere(0, 0)),
            nest("T2", "T1"),
            join("T2", elsewhere(1, 0)),
            insist(close("T2")),
            insist(cancel("T1")),
        ]);
        let about = "a nested saga is closed and completed, and undone as its parent is cancelled";
        Scenario::new("nested-undone", about, 1, requests).explored_with(CRASH_AND_LOSS, TWO_CRASHES)
    }

    pub fn nested_and_turned_back_with_results() -> Scenario {
        let uncompleted = OpenStep { completion: None, ..acting(1, 0) };
        let requests = in_order(vec![
            begin(),
            nest("T2", "T1"),
            run("T2", acting(0, 0)),
            run("T2", uncompleted),
            insist(close("T2")),
            insist(cancel("T1")),
        ]);
        let about = "steps that handed something back are completed, where there is a completion, and then undone";
        Scenario::new("nested-undone-acts", about, 1, requests).explored_with(CRASH_AND_LOSS, TWO_CRASHES)
    }

    pub fn nested_and_cancelled_alone() -> Scenario {
        let requests = in_order(vec![
            begin(),
            join("T1", elsewhere(0, 0)),
            nest("T2", "T1"),
            join("T2", elsewhere(1, 0)),
            insist(cancel("T2")),
            insist(close("T1")),
        ]);
        let about = "a nested saga is cancelled, and its parent closed all the same";
        Scenario::new("nested-cancelled", about, 1, requests).explored_with(CRASH_AND_LOSS, TWO_CRASHES)
    }

    pub fn nested_among_all() -> Scenario {
        let at_once = |request| then(2, request);
        let requests = vec![
            begin(),
            then(0, nest("T2", "T1")),
            then(1, join("T2", elsewhere(0, 0))),
            at_once(close("T2")),
            at_once(cancel("T2")),
            at_once(close("T1")),
            at_once(cancel("T1")),
        ];
        let about = "a nested saga and its parent are closed and cancelled by four clients at once";
        Scenario::new("nested-race", about, 1, requests).explored_with(NONE, CRASH)
    }

    pub fn nested_and_overdue() -> Scenario {
        let requests = vec![
            begin(),
            then(0, nest("T2", "T1")),
            then(1, run("T2", acting(0, 0))),
            then(2, close("T2")),
            then(2, close("T1")),
        ];
        let about = "the time of a nested saga and of its parent is over, while a step runs and both are closed";
        Scenario::new("nested-overdue", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { losses: 1, ..NONE }, CRASH_AND_LOSS)
    }

    pub fn nested_deep() -> Scenario {
        let last = |request| then(4, request);
        let requests = vec![
            begin(),
            then(0, nest("T2", "T1")),
            then(1, nest("T3", "T2")),
            then(2, join("T3", elsewhere(0, 0))),
            then(3, close("T2")),
            last(close("T1")),
            last(cancel("T1")),
        ];
        let about = "a saga within a saga within a saga: the one in the middle is closed, the outermost either way";
        Scenario::new("nested-deep", about, 1, requests).explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn nested_in_order() -> Scenario {
        let begin = ask("T1", RequestKind::Begin(Completions::Reversed, None));
        let requests = in_order(vec![
            begin,
            join("T1", elsewhere(0, 0)),
            nest("T2", "T1"),
            join("T2", elsewhere(1, 0)),
            insist(close("T1")),
        ]);
        let about = "a step and a nested saga are completed in the reverse of their order";
        Scenario::new("nested-reversed", about, 1, requests).explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn nested_and_forgotten() -> Scenario {
        let last = |request| then(3, request);
        let requests = vec![
            begin(),
            then(0, nest("T2", "T1")),
            then(1, join("T2", elsewhere(0, 0))),
            then(2, close("T2")),
            last(ask("T1", RequestKind::Forget)),
            last(cancel("T1")),
        ];
        let about = "an operator gives a saga up, and what is nested in it goes on without it";
        Scenario::new("nested-forgotten", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn nested_and_forgotten_in_the_midst() -> Scenario {
        let requests = vec![
            begin(),
            then(0, nest("T2", "T1")),
            then(1, nest("T3", "T2")),
            then(2, join("T3", elsewhere(0, 0))),
            then(3, close("T2")),
            then(3, ask("T1", RequestKind::Forget)),
        ];
        let about = "an operator gives the outermost of three sagas up, while the one in the middle is closed";
        Scenario::new("nested-orphans", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn nested_and_refused_records() -> Scenario {
        let last = |request| then(3, request);
        let requests = vec![
            begin(),
            then(0, nest("T2", "T1")),
            then(1, join("T2", elsewhere(0, 0))),
            then(2, join("T1", elsewhere(1, 0))),
            last(close("T2")),
            last(close("T1")),
        ];
        let about =
            "a record of a saga, or of one nested in it, is refused for good: it is held until an operator forgets it";
        Scenario::new("nested-no-record", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { refusals: 1, ..CRASH }, Budget { refusals: 1, ..CRASH_AND_LOSS })
    }

    pub fn nested_and_spoiled() -> Scenario {
        let requests = vec![
            begin(),
            then(0, nest("T2", "T1")),
            then(1, join("T2", elsewhere(0, 0))),
            insist(then(2, close("T2"))),
            insist(then(3, close("T1"))),
        ];
        let about = "a nested saga or its parent cannot be carried out after a restart";
        Scenario::new("nested-spoiled", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { spoils: 1, ..CRASH }, Budget { spoils: 1, losses: 1, ..TWO_CRASHES })
    }
}

fn begin() -> Request {
    ask("T1", RequestKind::Begin(Completions::default(), None))
}

fn nest(tx: &'static str, parent: &'static str) -> Request {
    ask(tx, RequestKind::Nest(parent))
}

fn join(tx: &'static str, step: OpenStep) -> Request {
    ask(tx, RequestKind::Join(step))
}

fn run(tx: &'static str, step: OpenStep) -> Request {
    ask(tx, RequestKind::Run(step))
}

fn close(tx: &'static str) -> Request {
    ask(tx, RequestKind::Close)
}

fn cancel(tx: &'static str) -> Request {
    ask(tx, RequestKind::Cancel)
}
