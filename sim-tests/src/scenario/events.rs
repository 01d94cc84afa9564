//! Participants that publish events, and those who read them.

use super::{P1, P2, Scenario, at, power, scenario, when};
use crate::plan::points::BEFORE_STORE;
use crate::plan::{Backward, Code, Copied, Fault, Host, Trips, What};

const READER: Host = Host::Reader(1);

pub(super) fn events() -> Vec<Scenario> {
    use Code::{C1, E1, E4, E5, E8, E10, E12, E13, S3, S11};
    let cut_off = |for_ms| What::Partition { from: READER, to: P1, one_way: false, for_ms };
    vec![
        published(
            "a-reader-is-cut-off",
            "a reader of events is cut off from a participant twice, which goes on without it: in the end it has read all",
            &[E1],
            vec![at(1_000, cut_off(1_500)), at(4_000, cut_off(800))],
        ),
        published(
            "a-reader-is-slow",
            "a reader takes its time over each batch of events: nobody waits for it, and in the end it has read all",
            &[E8],
            vec![at(500, What::SlowReader { reader: 1, by_ms: 700, for_ms: 5_000 })],
        ),
        published(
            "power-fails-amid-what-is-published",
            "a participant loses power around its writes: what took effect is published, and nobody has read what did not",
            &[S3],
            [12, 30, 55, 90].into_iter().map(|count| when(P1, BEFORE_STORE, count, power(P1, 200))).collect(),
        ),
        published(
            "a-log-that-was-read-is-put-back",
            "a participant's disk is put back, and a reader has read more than it holds: it is told so, and takes no other event for a repetition",
            &[E13, S11],
            vec![at(1_500, What::PutBack { host: P1, copy: Copied::Snapshot, after_ms: 1_500 })],
        ),
        travelled(
            "sources-overtake-each-other",
            "what a participant reads of one source comes late: what undoes its reactions comes first, and they never act",
            &[E4],
            vec![
                at(600, What::LateSource { participant: 2, from: 1, by_ms: 900, for_ms: 2_500 }),
                at(2_500, What::LateSource { participant: 3, from: 2, by_ms: 900, for_ms: 2_500 }),
            ],
        ),
        travelled(
            "participants-are-cut-off-from-each-other",
            "participants cannot read each other's logs for a while: each goes on from its place, and trips that took too long are undone",
            &[E1],
            vec![
                at(800, What::Partition { from: P2, to: P1, one_way: false, for_ms: 1_500 }),
                at(2_500, What::Clog { from: Host::Participant(3), to: P2, for_ms: 1_200 }),
            ],
        ),
        travelled(
            "a-source-is-put-back",
            "a participant's disk is put back, and others have reacted to more than it holds: their subscriptions stop, and say so",
            &[E13, S11],
            vec![at(1_500, What::PutBack { host: P2, copy: Copied::Snapshot, after_ms: 1_500 })],
        ),
        travelled(
            "reactions-are-refused",
            "a participant refuses the work of its reactions: trips are refused, a view parks its keys, and operators see to them",
            &[E5],
            vec![at(1_000, What::ReactionsRefused { participant: 2, for_ms: 2_500 })],
        ),
        travelled(
            "reactions-are-slow",
            "a participant takes its time over each event that it reacts to: nobody waits for it but its trips, some of which expire",
            &[E8],
            vec![at(800, What::SlowReactions { participant: 2, by_ms: 300, for_ms: 3_500 })],
        ),
        travelled(
            "an-event-in-an-unknown-form",
            "an event has a form that nobody knows: its key is parked, others go on, and an operator gives it up",
            &[E10],
            vec![at(700, What::UnknownSchema), at(2_500, What::UnknownSchema)],
        ),
        travelled(
            "a-time-limit-is-over-amid-the-last-step",
            "a clock jumps over the time limits of all trips that are under way, while sources are late: each is done everywhere or nowhere",
            &[C1, E12],
            vec![
                at(800, What::LateSource { participant: 1, from: 3, by_ms: 300, for_ms: 4_000 }),
                at(1_500, What::Clock { host: P1, by_ms: 1_400 }),
                at(2_500, What::Clock { host: P1, by_ms: 1_400 }),
                at(3_500, What::Clock { host: P1, by_ms: 1_400 }),
            ],
        ),
    ]
}

/// Trips over three participants, who keep views of each other's changes too.
fn travelled(name: &'static str, about: &'static str, codes: &'static [Code], faults: Vec<Fault>) -> Scenario {
    let mut scenario = published(name, about, codes, faults);
    scenario.plan.shape.views = true;
    scenario.plan.shape.trips = Some(Trips {
        steps: 3,
        backward: Backward::Chain,
        expire_ms: Some(1_500),
        seats: 20,
        percent: 60,
        alone: None,
    });
    scenario
}

fn published(name: &'static str, about: &'static str, codes: &'static [Code], faults: Vec<Fault>) -> Scenario {
    let mut scenario = scenario(name, about, codes, faults);
    scenario.plan.shape.readers = 1;
    scenario.plan.shape.sagas_percent = 25;
    scenario
}
