//! The scenarios of what befalls sagas.

use super::{COORDINATOR, FROM_IT, P1, P2, Scenario, TO_IT, again, at, crash, late, scenario, tamper, when};
use crate::plan::{Breaker, Code, HowEnded, HowResolved, Message, Shape, What};

/// Half of the transactions are sagas, and of the rest half leave the choice to the coordinator.
fn of_sagas(scenario: Scenario) -> Scenario {
    let mut scenario = scenario;
    scenario.plan.shape.sagas_percent = 45;
    scenario
}

pub(super) fn sagas() -> Vec<Scenario> {
    let all = [common(), operators(), ended(), choices()].concat();
    all.into_iter().map(of_sagas).collect()
}

/// Returns the scenario in a world of another shape.
fn peculiar(scenario: Scenario, shape: fn(&mut Shape)) -> Scenario {
    let mut scenario = scenario;
    shape(&mut scenario.plan.shape);
    scenario
}

fn common() -> Vec<Scenario> {
    use Code::{G1, G2, G3, N3, N5, P1 as CRASHES, P7, P9};
    let fenced = scenario(
        "a-zombie-that-writes-nothing",
        "a paused coordinator goes on and tries a step for ever: it ends once a participant tells it of the standby",
        &[P9, CRASHES],
        vec![at(1_300, crash(P1, 2_500)), at(2_000, What::Takeover { zombie_after_ms: 10 })],
    );
    vec![
        fenced,
        scenario(
            "a-compensation-before-its-action",
            "actions arrive after their compensations: the compensation is empty, and the late action does nothing",
            &[N5],
            vec![
                at(0, tamper(1, TO_IT, Message::Act, 3, late(4_000))),
                at(0, tamper(2, TO_IT, Message::Act, 4, late(4_000))),
                at(0, tamper(3, TO_IT, Message::Act, 5, late(4_000))),
            ],
        ),
        scenario(
            "steps-arrive-twice",
            "actions, compensations and answers about them arrive twice, some long after all is over",
            &[N3],
            vec![
                at(0, tamper(1, TO_IT, Message::Act, 2, again(5))),
                at(0, tamper(1, TO_IT, Message::Act, 5, again(1_500))),
                at(0, tamper(2, TO_IT, Message::Compensate, 1, again(5))),
                at(0, tamper(1, TO_IT, Message::Compensate, 1, again(1_500))),
                at(0, tamper(2, FROM_IT, Message::Acted, 3, again(900))),
                at(0, tamper(1, FROM_IT, Message::Compensated, 1, again(900))),
            ],
        ),
        scenario(
            "a-compensation-fails",
            "a participant refuses to compensate for longer than sagas try: they are stuck, and an operator lets them go on",
            &[G1],
            vec![at(300, What::CompensationsRefused { participant: 1, for_ms: 5_500 })],
        ),
        scenario(
            "others-read-and-write-mid-saga",
            "nothing fails; sagas and two-phase commits work side by side, and each keeps what it promises",
            &[G2],
            Vec::new(),
        ),
        scenario(
            "the-coordinator-dies-mid-saga",
            "the coordinator dies between two steps, and again when a saga has just begun to compensate",
            &[CRASHES],
            vec![
                when(COORDINATOR, "before-append-stepped", 5, crash(COORDINATOR, 600)),
                when(COORDINATOR, "after-append-compensation", 2, crash(COORDINATOR, 600)),
                when(COORDINATOR, "before-send-compensate", 2, crash(COORDINATOR, 600)),
            ],
        ),
        scenario(
            "a-participant-dies-mid-step",
            "participants die before and after a step is in effect, and after it has been undone",
            &[P7, G3],
            vec![
                when(P1, "before-act", 3, crash(P1, 500)),
                when(P2, "after-act", 4, crash(P2, 500)),
                // So that something is undone at p1.
                at(1_500, What::ActionsRefused { participant: 3, for_ms: 2_000 }),
                when(P1, "after-compensate", 1, crash(P1, 500)),
            ],
        ),
    ]
}

fn operators() -> Vec<Scenario> {
    use Code::{G1, G3, O4};
    let visit = |ms, how| at(ms, What::ResolveStuck { how });
    vec![
        Scenario {
            shows: &[
                ("", "stuck p"),
                ("", "resolved p3: retry"),
                ("", "stuck p3 action of p3"),
                ("", "resolved p3: skip"),
                ("", "stuck p3 action of p3"),
                ("", "resolved p3: done"),
            ],
            ..scenario(
                "a-step-after-the-pivot-is-refused",
                "there is no way but on, and no way on: operators try again in vain, skip, and say that it is done",
                &[G3, O4],
                vec![
                    at(200, What::ActionsRefused { participant: 3, for_ms: 5_700 }),
                    visit(1_800, HowResolved::Retry),
                    visit(3_200, HowResolved::Skip),
                    visit(5_900, HowResolved::Done),
                ],
            )
        },
        scenario(
            "a-step-is-tried-again-after-a-restart",
            "operators retry in vain, the coordinator restarts, and then one word is enough: no former refusal counts",
            &[G3, O4],
            vec![
                at(200, What::ActionsRefused { participant: 3, for_ms: 5_700 }),
                visit(1_800, HowResolved::Retry),
                visit(2_600, HowResolved::Retry),
                visit(3_400, HowResolved::Retry),
                visit(4_200, HowResolved::Retry),
                at(5_000, crash(COORDINATOR, 300)),
            ],
        ),
        peculiar(
            Scenario {
                shows: &[
                    ("", "stuck p3 compensation of p3"),
                    ("", "resolved p3: skip"),
                    ("", "stuck p3 compensation of p3"),
                    ("", "resolved p3: done"),
                ],
                ..scenario(
                    "a-compensation-is-passed-over",
                    "a compensation is refused for good: operators pass it over, what was done stays, and a skip is reported",
                    &[G1, G3, O4],
                    vec![
                        at(300, What::CompensationsRefused { participant: 3, for_ms: 5_500 }),
                        visit(2_500, HowResolved::Skip),
                        // So that more sagas compensate.
                        at(3_300, What::ActionsRefused { participant: 1, for_ms: 1_500 }),
                        visit(5_700, HowResolved::Done),
                    ],
                )
            },
            |shape| shape.transactions_per_client = 60,
        ),
    ]
}

/// Sagas that are not stuck, and wait for something that may never come.
fn ended() -> Vec<Scenario> {
    use Code::{N1, O5, O6};
    let end = |ms, how| at(ms, What::EndSaga { how });
    let away = |participant| What::Partition { from: COORDINATOR, to: participant, one_way: false, for_ms: 4_000 };
    vec![
        Scenario {
            shows: &[("", "resolved p"), ("", "forgotten")],
            ..scenario(
                "operators-end-what-is-not-stuck",
                "steps are not answered: operators skip them, call them done, and give a saga up; what comes late harms nothing",
                &[N1, O5],
                vec![
                    at(400, away(P1)),
                    end(900, HowEnded::Skip),
                    end(1_500, HowEnded::Done),
                    end(2_100, HowEnded::Forget),
                    end(2_700, HowEnded::Forget),
                ],
            )
        },
        scenario(
            "an-operator-releases-semantic-locks",
            "semantic locks of sagas that wait are released: others go on, and so do the sagas",
            &[N1, O6],
            vec![
                at(400, away(P1)),
                at(900, What::ReleaseMarks { participant: 2 }),
                at(1_500, What::ReleaseMarks { participant: 3 }),
                at(2_100, What::ReleaseMarks { participant: 2 }),
            ],
        ),
    ]
}

fn choices() -> Vec<Scenario> {
    use Code::{G2, G4, O1, P1 as CRASHES};
    let unable = Scenario {
        shows: &[
            ("a", "chosen saga: two-phase commit was aborted, p3 refused (unavailable: it cannot prepare)"),
            ("a", "chosen saga: participant p3 cannot prepare"),
            ("a", "logged ended"),
        ],
        ..scenario(
            "a-participant-cannot-prepare",
            "auto takes the saga where somebody cannot prepare, also after a restart; two-phase commits are refused at submit",
            &[G2, CRASHES],
            vec![at(2_500, crash(COORDINATOR, 500))],
        )
    };
    let spared = Scenario {
        shows: &[
            ("a", "chosen two-phase commit"),
            ("", "deadline-passed"),
            ("a", "chosen saga: participant p1 has let too many transactions wait"),
            ("a", "chosen two-phase commit"),
            ("a", "voted p1"),
        ],
        ..scenario(
            "auto-spares-whoever-lets-it-wait",
            "prepares at p1 run into their deadlines: auto takes the saga there, and returns once a probe is answered",
            &[G4],
            vec![at(300, What::SlowPrepares { participant: 1, by_ms: 1_500, for_ms: 3_000 })],
        )
    };
    let decided = scenario(
        "an-operator-commits-what-becomes-a-saga",
        "an operator commits a branch whose attempt then goes on as a saga: its work is not done twice",
        &[G4, O1],
        vec![
            at(500, What::SlowPrepares { participant: 3, by_ms: 1_800, for_ms: 3_000 }),
            at(1_200, What::Resolve { participant: 1, commit: true }),
            at(2_400, What::Resolve { participant: 2, commit: true }),
        ],
    );
    vec![
        decided,
        peculiar(unable, |shape| shape.cannot_prepare = Some(3)),
        peculiar(spared, |shape| {
            shape.timeout_ms = 600;
            shape.breaker = Some(Breaker { threshold: 2, pause_ms: 700 });
        }),
    ]
}
