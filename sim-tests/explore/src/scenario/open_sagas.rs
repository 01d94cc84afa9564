//! The scenarios of open sagas.

use super::list::{CRASH, CRASH_AND_LOSS, NONE, ONE_OF_EACH, TWO_CRASHES, ask, insist, submit, then};
use super::{Budget, Deadlines, OpenStep, Request, RequestKind, Scenario};
use undoubt_coordinator_core::{Completions, StepResolution};

const ANY: &[StepResolution] = &[StepResolution::Retry, StepResolution::Skip, StepResolution::Done];
const EITHER: &[StepResolution] = &[StepResolution::Skip, StepResolution::Done];

impl Scenario {
    pub(super) fn open_sagas() -> Vec<Scenario> {
        vec![
            Scenario::open_saga(),
            Scenario::open_and_refused(),
            Scenario::open_and_unanswered(),
            Scenario::open_and_silent_again(),
            Scenario::open_and_asked_again(),
            Scenario::open_and_completed_elsewhere(),
            Scenario::open_and_undone_elsewhere(),
            Scenario::open_and_cancelled(),
            Scenario::open_among_joins(),
            Scenario::open_to_two_clients(),
            Scenario::open_and_carried_on(),
            Scenario::open_and_completed_in_order(),
            Scenario::open_and_completed_in_reverse(),
            Scenario::open_and_stuck(),
            Scenario::open_and_stuck_on_the_way_back(),
            Scenario::open_and_late(),
            Scenario::open_and_passed(),
            Scenario::open_and_passed_on_the_way_back(),
            Scenario::open_with_marks(),
            Scenario::open_over_sessions(),
            Scenario::open_and_operated(),
            Scenario::open_and_interfered_with(),
            Scenario::open_and_interfered_with_elsewhere(),
            Scenario::open_and_ended_on_the_way(),
            Scenario::open_and_forgotten(),
            Scenario::open_and_refused_records(),
            Scenario::open_and_spoiled(),
            Scenario::open_two_phase(),
            Scenario::open_two_phase_to_many(),
            Scenario::open_two_phase_alone(),
            Scenario::open_two_phase_and_refused(),
            Scenario::open_and_found_done(),
            Scenario::open_and_found_failed(),
            Scenario::open_and_found_later(),
            Scenario::open_and_found_too_late(),
        ]
    }

    pub fn open_saga() -> Scenario {
        let requests = in_order(vec![begin(), run(acting(0, 0)), run(acting(1, 1)), close()]);
        let about = "an open saga of two steps, each of which its caller waits for, is closed";
        Scenario::new("open", about, 2, requests).explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_refused() -> Scenario {
        let refused = || insist(run(OpenStep { action: Some("refuse x"), ..acting(1, 1) }));
        let requests = in_order(vec![begin(), run(acting(0, 0)), refused(), refused(), close()]);
        let about = "a step is refused, asked for once more, and then the saga is closed";
        Scenario::new("open-refused", about, 2, requests)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_unanswered() -> Scenario {
        let requests = in_order(vec![begin(), run(acting(0, 0)), close(), run(acting(0, 0)), close(), cancel()]);
        let about = "a step keeps silent: a close is refused, the step run once more, the saga closed or cancelled";
        Scenario::new("open-silent", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, losses: 2, ..ONE_OF_EACH })
    }

    /// One whose second run has attempts of its own.
    pub fn open_and_silent_again() -> Scenario {
        let patient = || run(OpenStep { max_attempts: 2, ..acting(0, 0) });
        let requests = in_order(vec![begin(), patient(), patient(), close()]);
        let about = "a step keeps silent in each of its attempts, is run once more, and is silent again";
        Scenario::new("open-silent-again", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { losses: 4, ..NONE }, Budget { losses: 4, ..CRASH_AND_LOSS })
    }

    /// One whose refusals of earlier attempts are still on their way when it is asked for anew.
    pub fn open_and_asked_again() -> Scenario {
        let balking = || run(OpenStep { action: Some("balk x"), max_attempts: 2, ..acting(0, 0) });
        let requests = in_order(vec![begin(), balking(), balking(), close()]);
        let about = "a step that is refused at first, and not later, is run twice";
        Scenario::new("open-again", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { duplicates: 3, ..NONE }, Budget { duplicates: 3, ..CRASH_AND_LOSS })
    }

    pub fn open_and_completed_elsewhere() -> Scenario {
        let requests = in_order(vec![begin(), join(elsewhere(0, 0)), join(elsewhere(1, 1)), close()]);
        let about = "steps whose callers act themselves are completed once the saga is closed";
        Scenario::new("open-confirm", about, 2, requests)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_undone_elsewhere() -> Scenario {
        let requests = in_order(vec![begin(), join(elsewhere(0, 0)), join(elsewhere(1, 1)), cancel()]);
        let about =
            "steps whose callers act themselves are undone once the saga is cancelled, though nobody saw an action";
        Scenario::new("open-undo", about, 2, requests)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_cancelled() -> Scenario {
        let completed = OpenStep { compensation: None, ..elsewhere(1, 1) };
        let requests = in_order(vec![begin(), run(acting(0, 0)), join(completed), run(acting(2, 1)), cancel()]);
        let about = "steps of all kinds are taken back in reverse order, one that has nothing to undo among them";
        Scenario::new("open-cancel", about, 2, requests)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_among_joins() -> Scenario {
        let at_once = |request| then(0, request);
        let requests = vec![
            begin(),
            at_once(join(elsewhere(0, 0))),
            at_once(run(acting(1, 1))),
            at_once(close()),
            at_once(cancel()),
        ];
        let about =
            "a step joins, another runs, somebody closes, somebody cancels, and the deadline passes, all at any time";
        Scenario::new("open-race", about, 2, requests).explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn open_to_two_clients() -> Scenario {
        let last = |request| insist(then(1, request));
        let requests = vec![insist(begin()), then(0, run(acting(0, 0))), last(close()), last(cancel())];
        let about = "one client closes, another cancels, and both insist";
        Scenario::new("open-both", about, 1, requests)
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, losses: 2, ..ONE_OF_EACH })
    }

    /// The first client dies with the coordinator; of what it asked the second cannot know what was heard.
    pub fn open_and_carried_on() -> Scenario {
        let requests =
            in_order(vec![begin(), run(acting(0, 0)), insist(begin()), insist(run(acting(0, 0))), insist(close())]);
        let about = "a second client repeats what the first has asked, and goes on";
        Scenario::new("open-on", about, 1, requests).explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_completed_in_order() -> Scenario {
        let about = "completions run one by one, in the order in which the steps joined";
        Scenario::ordered("open-order", about, Completions::AsJoined)
    }

    pub fn open_and_completed_in_reverse() -> Scenario {
        let about = "completions run one by one, the last step's first";
        Scenario::ordered("open-reverse", about, Completions::Reversed)
    }

    fn ordered(name: &'static str, about: &'static str, completions: Completions) -> Scenario {
        let begin = ask("T1", RequestKind::Begin(completions, None));
        let bare = OpenStep { completion: None, ..acting(1, 1) };
        let requests = in_order(vec![begin, run(acting(0, 0)), run(bare), join(elsewhere(2, 1)), close()]);
        Scenario::new(name, about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_stuck() -> Scenario {
        let balking = OpenStep { completion: Some("balk x"), ..acting(0, 0) };
        let refusing = OpenStep { completion: Some("balk x"), ..elsewhere(1, 1) };
        let requests = in_order(vec![begin(), run(balking), join(refusing), insist(close()), cancel()]);
        let about = "completions are refused for good, until an operator has a say; and somebody cancels all the same";
        Scenario::new("open-stuck", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(ANY)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn open_and_stuck_on_the_way_back() -> Scenario {
        let balking = OpenStep { compensation: Some("balk x"), ..acting(0, 0) };
        let refusing = OpenStep { compensation: Some("balk x"), ..elsewhere(1, 1) };
        let requests = in_order(vec![begin(), run(balking), join(refusing), insist(cancel()), close()]);
        let about = "compensations are refused for good, until an operator has a say; and somebody closes all the same";
        Scenario::new("open-stuck-back", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(ANY)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn open_and_late() -> Scenario {
        let other = submit("T2", &[(0, "put x")]);
        let requests = vec![
            begin(),
            then(0, other),
            then(1, run(acting(0, 0))),
            then(2, close()),
            then(2, submit("T3", &[(0, "put y")])),
        ];
        let about = "a step joins where the low-water mark has passed its saga, and a transaction ends there meanwhile";
        Scenario::new("open-late", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn open_and_passed() -> Scenario {
        let about = "low-water marks pass an open saga, of which another step runs after that, and which is closed";
        Scenario::passed("open-passed", about, close())
    }

    pub fn open_and_passed_on_the_way_back() -> Scenario {
        let about = "low-water marks pass an open saga, of which another step runs after that, and which is cancelled";
        Scenario::passed("open-passed-back", about, cancel())
    }

    fn passed(name: &'static str, about: &'static str, end: Request) -> Scenario {
        let other = submit("T2", &[(0, "put y")]);
        let requests =
            in_order(vec![begin(), run(acting(0, 0)), insist(other), insist(run(acting(1, 0))), insist(end)]);
        Scenario::new(name, about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .passed_soon()
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_with_marks() -> Scenario {
        let pending = |step| OpenStep { action: Some("pend x"), ..step };
        let left = OpenStep { completion: None, ..pending(acting(1, 1)) };
        let refused = OpenStep { action: Some("refuse y"), ..acting(2, 1) };
        let requests = in_order(vec![begin(), run(pending(acting(0, 0))), run(left), run(refused), insist(close())]);
        let about = "steps leave semantic locks, of which one goes with its completion, the other with the saga";
        Scenario::new("open-marks", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, TWO_CRASHES)
    }

    pub fn open_over_sessions() -> Scenario {
        let requests = in_order(vec![insist(begin()), run(acting(0, 0)), join(elsewhere(1, 0)), insist(close())]);
        let about = "sessions begin step by step and break at any of them";
        let budget = Budget { disconnections: 1, ..CRASH };
        Scenario::new("open-session", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .step_by_step()
            .explored_with(budget, Budget { crashes: 2, losses: 1, ..budget })
    }

    pub fn open_and_operated() -> Scenario {
        let requests =
            in_order(vec![insist(begin()), insist(run(acting(0, 0))), insist(join(elsewhere(1, 1))), insist(close())]);
        let about = "an operator pauses the recovery of an open saga, has it start paused, drains while it is idle";
        Scenario::new("open-ops", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { operations: 1, ..CRASH }, Budget { operations: 2, ..TWO_CRASHES })
    }

    pub fn open_and_interfered_with() -> Scenario {
        let requests = in_order(vec![begin(), run(acting(0, 0)), close()]);
        let about = "an operator skips the step of an open saga that is not stuck, or calls it done";
        Scenario::new("open-ended", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(EITHER)
            .interfered_with(EITHER)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    /// One of the steps has nothing to undo.
    pub fn open_and_interfered_with_elsewhere() -> Scenario {
        let completed = OpenStep { compensation: None, ..elsewhere(0, 0) };
        let requests = in_order(vec![begin(), join(completed), join(elsewhere(1, 0)), close()]);
        let about = "the same, of steps whose callers act themselves";
        Scenario::new("open-ended-join", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(EITHER)
            .interfered_with(EITHER)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn open_and_ended_on_the_way() -> Scenario {
        let requests = vec![begin(), then(0, run(acting(0, 0))), then(1, run(acting(1, 0))), then(2, close())];
        let about = "an operator skips completions and compensations, or calls them done";
        Scenario::new("open-ended-twice", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(EITHER)
            .interfered_with(EITHER)
            .explored_with(NONE, CRASH)
    }

    pub fn open_and_forgotten() -> Scenario {
        let forget = ask("T1", RequestKind::Forget);
        let last = |request| then(2, request);
        let requests = vec![
            begin(),
            then(0, run(acting(0, 0))),
            then(1, join(elsewhere(1, 1))),
            last(close()),
            last(cancel()),
            then(0, forget),
        ];
        let about = "an operator forgets an open saga, whatever it is at";
        Scenario::new("open-forget", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn open_and_refused_records() -> Scenario {
        let last = |request| then(2, request);
        let requests =
            vec![begin(), then(0, run(acting(0, 0))), then(1, join(elsewhere(1, 0))), last(close()), last(cancel())];
        let about = "a record of an open saga is refused for good: it is held until an operator forgets it";
        Scenario::new("open-no-record", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { refusals: 1, ..CRASH }, Budget { refusals: 1, ..CRASH_AND_LOSS })
    }

    pub fn open_two_phase() -> Scenario {
        let requests = in_order(vec![begin_two_phase(), join(branch(0, 0)), join(branch(1, 1)), insist(close())]);
        let about = "branches join an open transaction, and its close commits them all by two-phase commit";
        Scenario::new("open-2pc", about, 2, requests).explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn open_two_phase_to_many() -> Scenario {
        let at_once = |request| then(0, request);
        let requests = vec![
            begin_two_phase(),
            at_once(join(branch(0, 0))),
            at_once(join(branch(1, 1))),
            at_once(close()),
            at_once(cancel()),
        ];
        let about = "branches join, somebody closes, somebody cancels, and the deadline passes, all at any time";
        Scenario::new("open-2pc-race", about, 2, requests).deadlines(Deadlines::WhenStuck).explored_with(NONE, CRASH)
    }

    pub fn open_two_phase_alone() -> Scenario {
        let requests = in_order(vec![begin_two_phase(), join(branch(0, 0)), insist(close()), cancel()]);
        let about = "one branch joins, which commits by itself once the transaction is closed";
        Scenario::new("open-2pc-one", about, 1, requests)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_two_phase_and_refused() -> Scenario {
        let refusing = OpenStep { completion: Some("refuse x"), ..branch(1, 1) };
        let requests = in_order(vec![begin_two_phase(), join(branch(0, 0)), join(refusing), insist(close())]);
        let about = "a branch is refused when the transaction is closed, and nothing of it is done anywhere";
        Scenario::new("open-2pc-refused", about, 2, requests)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_found_done() -> Scenario {
        let requests = in_order(vec![begin_asking("put x"), join(elsewhere(1, 1))]);
        let about = "nobody ends a saga, which asks when its time is over, hears that all is done, and is closed";
        Scenario::new("open-asked-done", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_found_failed() -> Scenario {
        let requests = in_order(vec![begin_asking("refuse x"), join(elsewhere(1, 1))]);
        let about = "nobody ends a saga, which asks when its time is over, hears that it failed, and is turned back";
        Scenario::new("open-asked-failed", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn open_and_found_later() -> Scenario {
        let requests = in_order(vec![begin_asking("later x"), join(elsewhere(1, 1))]);
        let about = "a saga asks when its time is over, is told nothing yet, asks again, and is closed";
        Scenario::new("open-asked-later", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    /// The check-back's answer comes among those of clients. No message is lost: a step that nobody answers would have it asked
    /// without end.
    pub fn open_and_found_too_late() -> Scenario {
        let at_once = |request| then(0, request);
        let requests = vec![begin_asking("put x"), at_once(run(acting(0, 1))), at_once(close()), at_once(cancel())];
        let about = "a saga asks when its time is over, while a step runs, somebody closes, and somebody cancels";
        Scenario::new("open-asked-race", about, 2, requests).explored_with(CRASH, TWO_CRASHES)
    }

    pub fn open_and_spoiled() -> Scenario {
        let last = |request| insist(then(2, request));
        let requests =
            vec![begin(), then(0, run(acting(0, 0))), then(1, join(elsewhere(1, 0))), last(close()), last(cancel())];
        let about = "an open saga cannot be carried out after a restart";
        Scenario::new("open-spoiled", about, 1, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { spoils: 1, ..CRASH }, Budget { spoils: 1, losses: 1, ..TWO_CRASHES })
    }
}

/// A step whose action the coordinator runs, with all that it may have.
pub(super) fn acting(number: u16, participant: usize) -> OpenStep {
    let work = Some("put x");
    OpenStep { number, participant, action: work, compensation: work, completion: work, max_attempts: 1 }
}

/// A step whose caller acts himself.
pub(super) fn elsewhere(number: u16, participant: usize) -> OpenStep {
    OpenStep { action: None, ..acting(number, participant) }
}

fn begin() -> Request {
    ask("T1", RequestKind::Begin(Completions::default(), None))
}

/// Begins one whose steps are completed by two-phase commit.
pub(super) fn begin_two_phase() -> Request {
    ask("T1", RequestKind::Begin(Completions::TwoPhase, None))
}

/// A branch of it. No two have the same work, by which the rules tell them apart.
pub(super) fn branch(number: u16, participant: usize) -> OpenStep {
    let completion = Some(if number == 0 { "put x" } else { "put y" });
    OpenStep { compensation: None, completion, ..elsewhere(number, participant) }
}

/// Begins one that asks this of the first participant when its time is over.
fn begin_asking(question: &'static str) -> Request {
    let check_back = Some(OpenStep::check_back(0, question));
    ask("T1", RequestKind::Begin(Completions::default(), check_back))
}

fn run(step: OpenStep) -> Request {
    ask("T1", RequestKind::Run(step))
}

pub(super) fn join(step: OpenStep) -> Request {
    ask("T1", RequestKind::Join(step))
}

pub(super) fn close() -> Request {
    ask("T1", RequestKind::Close)
}

pub(super) fn cancel() -> Request {
    ask("T1", RequestKind::Cancel)
}

/// Requests of one client, each asked once the one before is over.
pub(super) fn in_order(requests: Vec<Request>) -> Vec<Request> {
    let after = |(place, request): (usize, Request)| if place == 0 { request } else { then(place - 1, request) };
    requests.into_iter().enumerate().map(after).collect()
}
