//! Participants in front of databases.

use super::{Scenario, at, crash, power, scenario, when};
use crate::plan::{Code, Fault, Host, What};
use std::collections::BTreeSet;

const P1: Host = Host::Participant(1);
const DB1: Host = Host::Database(1);

pub(super) fn databases() -> Vec<Scenario> {
    use Code::{D1, D2, D3, P7, S15};
    let cut_off = |for_ms| What::Partition { from: P1, to: DB1, one_way: false, for_ms };
    vec![
        in_front(
            "a-participant-dies-while-its-database-works",
            "a participant dies with branches on their way into its database: what lands there late is ended before it is looked for",
            &[P7],
            vec![when(P1, "executing", 8, crash(P1, 50)), when(P1, "executing", 30, crash(P1, 50))],
        ),
        in_front(
            "a-participant-dies-cut-off-from-its-database",
            "a participant dies while its database does not hear of it: the sessions it leaves are ended by who comes next",
            &[D2, P7],
            vec![when(P1, "executing", 10, cut_off(1_500)), when(P1, "executing", 11, crash(P1, 100))],
        ),
        in_front(
            "a-database-crashes-between-two-lines",
            "a database crashes before and after what it makes stable: what it was asked is looked for in what it kept",
            &[D1],
            vec![
                when(DB1, "before-prepare", 4, crash(DB1, 200)),
                when(DB1, "after-prepare", 6, crash(DB1, 200)),
                when(DB1, "before-end-prepared", 8, power(DB1, 200)),
                when(DB1, "after-end-prepared", 10, power(DB1, 200)),
                when(DB1, "after-commit", 3, power(DB1, 200)),
            ],
        ),
        in_front(
            "a-database-is-away",
            "a database is away for a while: nothing is said of what it was asked before that is known",
            &[D1, D2],
            vec![at(1_500, crash(DB1, 1_500)), at(4_000, cut_off(1_000))],
        ),
        in_front(
            "sessions-go-on-without-their-clients",
            "connections break before a request, after it, or on one side only: a session is ended before anything is said of it",
            &[D3],
            vec![at(500, What::SessionsCut { participant: 1, for_ms: 4_500 })],
        ),
        Scenario {
            shows: &[("", "finished p1 heuristically-aborted")],
            ..in_front(
                "another-hand-undoes-branches-in-a-database",
                "somebody else undoes prepared transactions in the database: what was to commit is reported",
                &[S15],
                [1_000, 1_600, 2_200, 2_800, 3_400]
                    .into_iter()
                    .map(|ms| at(ms, What::OtherHand { participant: 1, commit: false }))
                    .collect(),
            )
        },
        few_slots(),
    ]
}

fn few_slots() -> Scenario {
    let mut scenario = in_front(
        "a-database-has-one-slot",
        "a database keeps one prepared transaction at a time: others are refused, and go through later",
        &[Code::D1],
        vec![at(1_500, crash(DB1, 300))],
    );
    scenario.plan.shape.prepared_slots = Some(1);
    scenario
}

/// A world in which the first participant stands in front of a database.
fn in_front(name: &'static str, about: &'static str, codes: &'static [Code], faults: Vec<Fault>) -> Scenario {
    let mut scenario = scenario(name, about, codes, faults);
    scenario.plan.shape.databases = BTreeSet::from([1]);
    scenario
}
