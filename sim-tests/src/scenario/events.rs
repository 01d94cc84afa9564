//! Participants that publish events, and those who read them.

use super::{P1, Scenario, at, power, scenario, when};
use crate::plan::points::BEFORE_STORE;
use crate::plan::{Code, Copied, Fault, Host, What};

const READER: Host = Host::Reader(1);

pub(super) fn events() -> Vec<Scenario> {
    use Code::{E1, E8, E13, S3, S11};
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
    ]
}

fn published(name: &'static str, about: &'static str, codes: &'static [Code], faults: Vec<Fault>) -> Scenario {
    let mut scenario = scenario(name, about, codes, faults);
    scenario.plan.shape.readers = 1;
    scenario.plan.shape.sagas_percent = 25;
    scenario
}
