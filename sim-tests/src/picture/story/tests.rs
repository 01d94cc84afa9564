use super::*;
use crate::plan::{Direction, Plan, Shape};
use crate::run::{Finals, OpenBranch, ParticipantFinal};
use crate::trace::{BranchState, Entry};
use std::collections::BTreeMap;

const P1: Host = Host::Participant(1);

fn run(trace: Vec<(u64, Host, Event)>, finals: Finals) -> Run {
    let plan = Plan { seed: 1, shape: Shape::default(), faults: Vec::new(), mutant: None };
    let trace = trace.into_iter().map(|(at_us, host, event)| Entry { at_us, host: Some(host), event }).collect();
    Run {
        plan,
        hash: 0,
        simulated_us: 100_000,
        trace,
        calls: Vec::new(),
        finals,
        hits: Vec::new(),
        reached: BTreeMap::new(),
    }
}

fn branch(state: BranchState) -> Event {
    Event::Branch { tx: "t".to_owned(), state }
}

fn crash() -> Event {
    Event::Crashed { point: None, power: false }
}

fn sent(number: u64) -> Event {
    let (direction, message, tx) = (Direction::ToParticipant, "commit".to_owned(), "t".to_owned());
    Event::Sent { to: P1, direction, message, tx, attempt_number: 1, number }
}

fn received(of: u64) -> Event {
    let (message, tx) = ("commit".to_owned(), "t".to_owned());
    Event::Received { from: Host::Coordinator, message, tx, attempt_number: 1, of: Some(of) }
}

fn finals(open: bool) -> Finals {
    let branch = OpenBranch { tx: "t".to_owned(), state: "prepared".to_owned(), orphaned_by_design: false };
    let open = if open { vec![branch] } else { Vec::new() };
    let participants = [(1, ParticipantFinal { open, ..Default::default() })].into();
    Finals { participants, ..Default::default() }
}

fn ends(trace: Vec<(u64, Host, Event)>, finals: Finals) -> Vec<(u64, End)> {
    let run = run(trace, finals);
    let story = Story::of(&run);
    story.txs.iter().flat_map(|tx| tx.holds.iter().map(|hold| (hold.to_us, hold.end))).collect()
}

#[test]
fn locks_in_memory_end_with_the_process_and_a_prepared_vote_outlives_it() {
    use BranchState::{Executing, Over, Prepared, ReadOnly};
    for state in [Executing, ReadOnly] {
        assert_eq!(ends(vec![(1, P1, branch(state)), (5, P1, crash())], finals(false)), [(5, End::Lost)]);
    }
    let survives = vec![(1, P1, branch(Prepared)), (5, P1, crash()), (9, P1, branch(Over))];
    assert_eq!(ends(survives, finals(false)), [(9, End::Over)]);
}

#[test]
fn what_was_found_in_the_end_says_whether_a_branch_without_end_is_still_open() {
    let trace = || vec![(1, P1, branch(BranchState::Prepared)), (5, P1, crash())];
    let never = End::Never { by_design: false };
    assert_eq!(ends(trace(), finals(true)), [(100_000, never)]);
    assert_eq!(ends(trace(), finals(false)), [(5, End::Lost)]);
    assert_eq!(ends(trace(), Finals::default()), [(100_000, never)]);
    assert_eq!(ends(Vec::new(), finals(true)), [(100_000, never)], "nothing was ever heard of it");
    let taken_for_lost = vec![(1, P1, branch(BranchState::Executing)), (5, P1, crash())];
    assert_eq!(ends(taken_for_lost, finals(true)), [(100_000, never)]);
}

#[test]
fn messages_are_matched_by_number() {
    let c = Host::Coordinator;
    let trace = vec![
        (1, c, sent(1)),
        (2, c, sent(2)),
        (3, c, sent(3)),
        (4, P1, received(2)),
        (5, P1, received(1)),
        (6, P1, received(2)),
        (7, P1, received(9)),
    ];
    let run = run(trace, Finals::default());
    let story = Story::of(&run);
    let found: Vec<_> =
        story.txs[0].messages.iter().map(|it| (it.number, it.sent_us, it.arrived_us, it.copy, it.overtaken)).collect();
    assert_eq!(
        found,
        [
            (Some(1), Some(1), Some(5), false, true),
            (Some(2), Some(2), Some(4), false, false),
            (Some(2), Some(2), Some(6), true, false),
            (Some(3), Some(3), None, false, false),
            (Some(9), None, Some(7), false, false),
        ]
    );
}

#[test]
fn what_was_sent_too_late_to_arrive_is_not_lost_but_on_its_way() {
    let trace = vec![(1, Host::Coordinator, sent(1)), (95_000, Host::Coordinator, sent(2))];
    let run = run(trace, Finals::default());
    let under_way: Vec<bool> = Story::of(&run).txs[0].messages.iter().map(|message| message.under_way).collect();
    assert_eq!(under_way, [false, true]);
}

#[test]
fn a_host_is_down_from_its_crash_to_its_start_and_before_its_first_start() {
    let trace = vec![(3, P1, Event::Started), (5, P1, crash()), (8, P1, Event::Started), (9, P1, Event::Paused)];
    let run = run(trace, Finals::default());
    let story = Story::of(&run);
    let gaps: Vec<_> = story.lives[&P1].gaps.iter().map(|gap| (gap.from_us, gap.to_us, gap.paused)).collect();
    assert_eq!(gaps, [(0, Some(3), false), (5, Some(8), false), (9, None, true)]);
}

#[test]
fn a_decision_is_told_from_other_notes() {
    let note = |text| Note { host: Host::Coordinator, at_us: 0, text, phase: None }.decision();
    assert_eq!(note("decided: committed"), Some((true, false)));
    assert_eq!(note("logged committed"), Some((true, true)));
    assert_eq!(note("decided aborted: refused by p1"), Some((false, false)));
    assert_eq!(note("logged delegated"), None);
    assert_eq!(note("begun: 2 branches"), None);
}
