//! Participants that call HTTP services.

use super::{Scenario, at, crash, power, scenario, when};
use crate::plan::points::BEFORE_STORE;
use crate::plan::{Code, Fault, Host, What};
use std::collections::BTreeSet;

const P1: Host = Host::Participant(1);
const SVC1: Host = Host::Service(1);

pub(super) fn services() -> Vec<Scenario> {
    use Code::{H1, H2, H3, P7, S3, S15};
    let cut_off = |for_ms| What::Partition { from: P1, to: SVC1, one_way: false, for_ms };
    vec![
        calling(
            "a-participant-dies-around-its-calls",
            "a participant dies before it stores what it will ask, and once its service has done it: what may have been done is undone",
            &[P7, S3],
            vec![
                when(P1, BEFORE_STORE, 10, crash(P1, 50)),
                when(SVC1, "after-effect", 12, crash(P1, 100)),
                when(SVC1, "before-effect", 20, power(P1, 100)),
                when(P1, BEFORE_STORE, 60, power(P1, 50)),
            ],
        ),
        calling(
            "a-service-crashes-between-two-lines",
            "a service crashes before and after what it makes stable: it is asked again with the same key, and does it once",
            &[H1],
            vec![
                when(SVC1, "before-effect", 4, crash(SVC1, 200)),
                when(SVC1, "after-effect", 10, crash(SVC1, 200)),
                when(SVC1, "after-effect", 16, power(SVC1, 200)),
                when(SVC1, "asked", 40, power(SVC1, 200)),
            ],
        ),
        calling(
            "a-service-is-away",
            "a service is away for a while: what was tried is cancelled, and what was decided is asked for until it is answered",
            &[H1, H2],
            vec![at(1_500, crash(SVC1, 1_500)), at(4_000, cut_off(1_500))],
        ),
        calling(
            "a-service-answers-badly",
            "a service answers late, with errors, amid its answer, or not at all: what is unclear is asked again, or undone",
            &[H3],
            vec![at(500, What::ServiceTroubled { participant: 1, for_ms: 7_000 })],
        ),
        Scenario {
            shows: &[("", "finished p1 heuristically-aborted")],
            ..calling(
                "a-service-drops-what-it-holds",
                "a service drops what it holds, as none may: a confirm that is refused for good is reported as damage",
                &[S15],
                [1_000, 1_600, 2_200, 2_800, 3_400]
                    .into_iter()
                    .map(|ms| at(ms, What::OtherHand { participant: 1, commit: false }))
                    .collect(),
            )
        },
    ]
}

/// A world in which the first participant calls a service, and many transactions are open.
fn calling(name: &'static str, about: &'static str, codes: &'static [Code], faults: Vec<Fault>) -> Scenario {
    let mut scenario = scenario(name, about, codes, faults);
    scenario.plan.shape.services = BTreeSet::from([1]);
    scenario.plan.shape.open_sagas_percent = 30;
    scenario
}
