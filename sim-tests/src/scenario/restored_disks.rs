//! Disks that are put back.

use super::{COORDINATOR, P1, P2, Scenario, at, crash, scenario};
use crate::plan::{Code, Copied, Host, What};

fn put_back(host: Host, copy: Copied, after_ms: u64) -> What {
    What::PutBack { host, copy, after_ms }
}

pub(super) fn restored() -> Vec<Scenario> {
    let s11 = |name, about, faults| scenario(name, about, &[Code::S11], faults);
    vec![
        s11(
            "the-coordinators-hot-copy-comes-back",
            "a copy of the coordinator's running folder is put back: it is held, and no outcome changes until an operator accepts",
            vec![at(1_000, put_back(COORDINATOR, Copied::Hot, 1_200))],
        ),
        s11(
            "the-coordinators-cold-copy-comes-back",
            "a copy from between two starts of the coordinator is put back: it is held until an operator accepts",
            vec![at(1_000, put_back(COORDINATOR, Copied::Cold, 1_500))],
        ),
        s11(
            "the-coordinators-snapshot-comes-back",
            "an earlier state of the coordinator's device shows no sign: participants show it what its log lacks",
            vec![at(1_000, put_back(COORDINATOR, Copied::Snapshot, 1_200))],
        ),
        s11(
            "the-coordinators-disk-is-emptied",
            "the coordinator's folder is emptied: its name is known with another log, and it is held",
            vec![at(2_000, put_back(COORDINATOR, Copied::Emptied, 100))],
        ),
        scenario(
            "a-standby-takes-over-whoever-is-held",
            "the coordinator's folder is emptied, and a standby takes over while it is held: it ends once the standby is accepted",
            &[Code::S11, Code::P9],
            vec![
                at(2_000, put_back(COORDINATOR, Copied::Emptied, 100)),
                at(2_700, What::Takeover { zombie_after_ms: 300 }),
            ],
        ),
        s11(
            "a-participants-hot-copy-comes-back",
            "a copy of a participant's running folder is put back: it refuses all until an operator accepts, and what it lost is listed",
            vec![at(1_000, put_back(P1, Copied::Hot, 1_200))],
        ),
        s11(
            "a-participants-cold-copy-comes-back",
            "a copy from between two starts of a participant is put back: it refuses all until an operator accepts",
            vec![at(1_000, put_back(P1, Copied::Cold, 1_500))],
        ),
        s11(
            "a-participants-snapshot-comes-back",
            "an earlier state of a participant's device shows no sign: the coordinator shows it what its log lacks",
            vec![at(1_000, put_back(P1, Copied::Snapshot, 1_200))],
        ),
        s11(
            "a-participants-disk-is-emptied",
            "a participant's folder is emptied: its name is known with another log, and it refuses all",
            vec![at(2_000, put_back(P1, Copied::Emptied, 100))],
        ),
        s11(
            "disks-come-back-twice",
            "a participant's disk is put back, then the coordinator's while another participant is away",
            vec![
                at(800, put_back(P1, Copied::Snapshot, 700)),
                at(2_000, put_back(COORDINATOR, Copied::Snapshot, 1_000)),
                at(2_900, crash(P2, 1_500)),
            ],
        ),
    ]
}
