//! What befalls sagas.

use super::{COORDINATOR, FROM_IT, P1, P2, Scenario, TO_IT, again, at, crash, late, scenario, tamper, when};
use crate::plan::{Code, Message, What};

/// Half of the transactions are sagas, and of the rest half leave the choice to the coordinator.
fn of_sagas(scenario: Scenario) -> Scenario {
    let mut scenario = scenario;
    scenario.plan.shape.sagas_percent = 45;
    scenario
}

pub(super) fn sagas() -> Vec<Scenario> {
    use Code::{G1, G2, N3, N5, P1 as CRASHES, P7};
    let all = vec![
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
            "the coordinator dies between two steps, and again when a saga has just turned back",
            &[CRASHES],
            vec![
                when(COORDINATOR, "before-append-stepped", 5, crash(COORDINATOR, 600)),
                when(COORDINATOR, "after-append-turned", 2, crash(COORDINATOR, 600)),
                when(COORDINATOR, "before-send-compensate", 2, crash(COORDINATOR, 600)),
            ],
        ),
        scenario(
            "a-participant-dies-mid-step",
            "participants die before and after a step is in effect, and after it has been undone",
            &[P7],
            vec![
                when(P1, "before-act", 3, crash(P1, 500)),
                when(P2, "after-act", 4, crash(P2, 500)),
                when(P1, "after-compensate", 1, crash(P1, 500)),
            ],
        ),
    ];
    all.into_iter().map(of_sagas).collect()
}
