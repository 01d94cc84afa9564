//! The faults of the catalogue, each by itself as a sentence.

mod databases;
mod events;
mod restored_disks;
mod sagas;
mod services;

use crate::plan::{Code, Direction, Fault, Host, Message, Plan, Shape, Tampering, What, When};
use crate::run::Run;
use crate::trace::Event;

/// A run whose trouble has a name.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// The sentence: what happens, and what has to hold all the same.
    pub about: &'static str,
    pub codes: &'static [Code],
    pub plan: Plan,
    /// The notes of the coordinator by which the scenario's event shows: notes of the coordinator, in this order.
    pub shows: &'static [Shown],
}

/// A note about a transaction whose id begins so, of a text that begins so.
pub type Shown = (&'static str, &'static str);

impl Scenario {
    /// The first of what it should show that did not come about.
    pub fn misses(&self, run: &Run) -> Option<&'static Shown> {
        let mut notes = run.trace.iter().filter_map(|entry| {
            let Event::Noted { tx, note, .. } = &entry.event else { return None };
            Some((tx, note))
        });
        self.shows.iter().find(|(id, text)| !notes.any(|(tx, note)| tx.starts_with(id) && note.starts_with(text)))
    }
}

const COORDINATOR: Host = Host::Coordinator;
const P1: Host = Host::Participant(1);
const P2: Host = Host::Participant(2);

/// Returns all scenarios, in the order of the catalogue.
pub fn all() -> Vec<Scenario> {
    [
        storage(),
        restored_disks::restored(),
        databases::databases(),
        services::services(),
        events::events(),
        processes(),
        network(),
        people(),
        sagas::sagas(),
    ]
    .concat()
}

pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

fn scenario(name: &'static str, about: &'static str, codes: &'static [Code], faults: Vec<Fault>) -> Scenario {
    let shape = Shape { participants: 3, clients: 3, heal_at_ms: 6_000, think_ms: 100, ..Shape::default() };
    Scenario { name, about, codes, plan: Plan { seed: 7, shape, faults, mutant: None }, shows: &[] }
}

fn at(ms: u64, what: What) -> Fault {
    Fault { when: When::At { ms }, what }
}

fn when(host: Host, point: &str, count: u32, what: What) -> Fault {
    Fault { when: When::Point { host, point: point.to_owned(), count, during: None }, what }
}

fn crash(host: Host, down_ms: u64) -> What {
    What::Crash { host, power: false, down_ms }
}

fn power(host: Host, down_ms: u64) -> What {
    What::Crash { host, power: true, down_ms }
}

/// What is sent to a participant, and by it.
const TO_IT: Direction = Direction::ToParticipant;
const FROM_IT: Direction = Direction::ToCoordinator;

fn tamper(participant: u8, direction: Direction, message: Message, count: u32, tampering: Tampering) -> What {
    What::Tamper { participant, direction, message, count, tampering }
}

fn again(after_ms: u64) -> Tampering {
    Tampering::Duplicate { after_ms }
}

fn late(by_ms: u64) -> Tampering {
    Tampering::Delay { by_ms }
}

fn storage() -> Vec<Scenario> {
    use Code::{S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S12, S13, S14, S15, S16};
    vec![
        scenario(
            "the-coordinators-disk-lies",
            "the coordinator's disk lies about syncs, then the power fails: only what it destroyed may be missing",
            &[S1],
            vec![at(1_500, What::LyingSyncs { host: COORDINATOR, for_ms: 400 })],
        ),
        scenario(
            "a-participants-disk-lies",
            "a participant's disk lies about syncs, then the power fails: only what it destroyed may be missing",
            &[S1],
            vec![at(1_500, What::LyingSyncs { host: P1, for_ms: 400 })],
        ),
        scenario(
            "the-coordinators-sync-fails",
            "a sync of the log fails: the coordinator stops, recovers, and nothing acknowledged is lost",
            &[S2],
            vec![at(1_500, What::SyncFails { host: COORDINATOR })],
        ),
        scenario(
            "a-participants-sync-fails",
            "a sync of a participant fails: it stops, recovers, and keeps every vote it gave",
            &[S2],
            vec![at(1_500, What::SyncFails { host: P1 })],
        ),
        scenario(
            "the-log-ends-torn",
            "the power fails while a decision is written: a torn end that nobody was told of is cut",
            &[S3],
            vec![
                when(COORDINATOR, "before-append-committed", 5, power(COORDINATOR, 300)),
                when(P1, "after-execute", 12, power(P1, 300)),
            ],
        ),
        scenario(
            "an-old-snapshot-comes-back",
            "a participant comes back with an older state of its disk: what that destroyed is all that may be missing",
            &[S4],
            vec![at(2_000, What::RolledBack { host: P1, frames: 3 })],
        ),
        scenario(
            "the-log-loses-its-end",
            "the coordinator comes back without its last stable writes: what that destroyed is all that may be missing",
            &[S4],
            vec![at(2_000, What::RolledBack { host: COORDINATOR, frames: 2 })],
        ),
        scenario(
            "a-bit-flips-in-the-log",
            "a bit flips in the coordinator's log: it refuses to start until the folder is restored, then all goes on",
            &[S5],
            vec![at(2_000, What::BitFlip { host: COORDINATOR, at_permille: 500, repaired_after_ms: 1_500 })],
        ),
        scenario(
            "a-bit-flips-at-a-participant",
            "a bit flips on a participant's disk: it refuses to start until the folder is restored, then all goes on",
            &[S5],
            vec![at(2_000, What::BitFlip { host: P1, at_permille: 700, repaired_after_ms: 1_500 })],
        ),
        scenario(
            "the-disks-are-full",
            "first the coordinator's disk is full, then a participant's: work is refused, nothing is lost",
            &[S6],
            vec![
                at(1_000, What::DiskFull { host: COORDINATOR, for_ms: 1_000 }),
                at(3_000, What::DiskFull { host: P1, for_ms: 1_000 }),
            ],
        ),
        scenario(
            "a-disk-turns-read-only",
            "a participant's disk turns read-only: it stops, and goes on once it can write",
            &[S6],
            vec![at(1_500, What::ReadOnlyDisk { host: P1, for_ms: 1_500 })],
        ),
        scenario(
            "the-disks-are-away",
            "first the coordinator's disk takes no writes for a while, then a participant's: nothing ends, and all goes on from there",
            &[S12],
            vec![
                at(1_000, What::DiskAway { host: COORDINATOR, for_ms: 1_500 }),
                at(3_500, What::DiskAway { host: P1, for_ms: 1_500 }),
            ],
        ),
        scenario(
            "answers-of-the-resource-are-lost",
            "a resource loses some of its answers: what became of each call is found out before anybody is told",
            &[S13],
            vec![at(1_000, What::Unclear { participant: 1, for_ms: 4_000 })],
        ),
        scenario(
            "locks-of-readers-are-lost",
            "a resource loses the locks of branches that have voted read-only: none of them is confirmed, and all is serializable",
            &[S14],
            vec![at(1_000, What::ReadersForgotten { participant: 1, for_ms: 2_000 })],
        ),
        Scenario {
            shows: &[("", "finished p1 heuristically-aborted")],
            ..scenario(
                "another-hand-ends-branches",
                "somebody else commits and aborts prepared branches in the resource itself: what came out otherwise is reported",
                &[S15],
                vec![
                    at(1_000, What::OtherHand { participant: 1, commit: false }),
                    at(2_000, What::OtherHand { participant: 1, commit: true }),
                    at(3_000, What::OtherHand { participant: 2, commit: false }),
                    when(P2, "after-send-vote", 20, What::OtherHand { participant: 2, commit: true }),
                ],
            )
        },
        scenario(
            "an-impostor-knocks",
            "a stranger says that it is the coordinator, also after crashes of both: it takes no epoch, and nobody ends for it",
            &[S16],
            vec![
                at(800, What::Impostor { participant: 1 }),
                at(1_000, What::Crash { host: P1, power: true, down_ms: 200 }),
                at(1_500, What::Impostor { participant: 1 }),
                at(1_700, What::Crash { host: COORDINATOR, power: false, down_ms: 300 }),
                at(1_800, What::Impostor { participant: 2 }),
                when(P2, "after-send-vote", 20, What::Impostor { participant: 2 }),
            ],
        ),
        scenario(
            "the-disks-are-slow",
            "syncs take half a second: everything is late, and nothing wrong",
            &[S7],
            vec![
                at(1_000, What::SlowDisk { host: COORDINATOR, sync_ms: 500, for_ms: 2_000 }),
                at(3_000, What::SlowDisk { host: P1, sync_ms: 500, for_ms: 2_000 }),
            ],
        ),
        scenario(
            "the-log-is-wiped",
            "the coordinator finds an empty disk: it is another one from then on, and what is in doubt waits for people",
            &[S8],
            vec![at(2_000, What::Wiped { host: COORDINATOR })],
        ),
        scenario(
            "a-participant-is-wiped",
            "a participant finds an empty disk: its votes are gone, and whoever committed with it is told of the damage",
            &[S8],
            vec![at(2_000, What::Wiped { host: P1 })],
        ),
        scenario(
            "disks-are-swapped",
            "coordinator and participant find each other's disks: both refuse to start until they are put right",
            &[S8],
            vec![at(2_000, What::Swapped { host: COORDINATOR, with: P1, repaired_after_ms: 1_500 })],
        ),
        scenario(
            "a-record-cannot-be-carried-out",
            "a record can be read and not carried out: that transaction is held until an operator ends it, and all others go on",
            &[S10],
            vec![
                when(COORDINATOR, "after-append-committed", 6, What::Poisoned),
                when(COORDINATOR, "after-append-committed", 16, What::Poisoned),
            ],
        ),
        scenario(
            "a-vote-is-lost",
            "a participant has lost a vote it gave: the transaction is reported as damaged, never as whole",
            &[S9],
            vec![
                when(COORDINATOR, "after-append-committed", 8, What::VoteLost { participant: 1 }),
                when(COORDINATOR, "after-append-committed", 16, What::VoteLost { participant: 2 }),
            ],
        ),
    ]
}

fn processes() -> Vec<Scenario> {
    use Code::{P1 as CP1, P2 as CP2, P3, P4, P5, P6, P7, P8, P9, P10};
    let coordinator_at = |name, about, codes, points: [&str; 2]| {
        let faults = vec![
            when(COORDINATOR, points[0], 3, crash(COORDINATOR, 700)),
            when(COORDINATOR, points[1], 9, crash(COORDINATOR, 700)),
        ];
        scenario(name, about, codes, faults)
    };
    vec![
        coordinator_at(
            "dies-around-prepare",
            "the coordinator dies before and after it sends a prepare: nothing was decided, so it aborts",
            &[CP1],
            ["before-send-prepare", "after-send-prepare"],
        ),
        scenario(
            "dies-with-the-votes-in",
            "the coordinator dies when all votes are in and nothing is logged: it aborts, and nobody keeps a lock",
            &[CP2],
            vec![
                when(COORDINATOR, "before-append-committed", 4, crash(COORDINATOR, 700)),
                when(COORDINATOR, "before-send-confirm", 3, crash(COORDINATOR, 700)),
            ],
        ),
        coordinator_at(
            "dies-with-the-decision-logged",
            "the coordinator dies around the write of its decision: what is on stable storage holds",
            &[P3],
            ["before-append-committed", "after-append-committed"],
        ),
        coordinator_at(
            "dies-around-the-first-commit",
            "the coordinator dies before and after it sends a commit: the others hear of it after its recovery",
            &[P4],
            ["before-send-commit", "after-send-commit"],
        ),
        coordinator_at(
            "dies-around-the-answer",
            "the coordinator dies before and after it answers: the client asks again and hears the same",
            &[P5],
            ["before-answer", "after-answer"],
        ),
        coordinator_at(
            "dies-around-the-end",
            "the coordinator dies before and after it logs the end: everything acknowledges once more",
            &[P6],
            ["before-append-ended", "after-append-ended"],
        ),
        scenario(
            "a-participant-dies-around-its-vote",
            "a participant dies before and after its vote is durable, and after it is sent",
            &[P7],
            vec![
                when(P1, "before-execute", 3, crash(P1, 300)),
                when(P1, "after-execute", 8, crash(P1, 300)),
                when(P2, "before-send-vote", 5, crash(P2, 300)),
                when(P2, "after-send-vote", 12, crash(P2, 300)),
            ],
        ),
        scenario(
            "a-participant-dies-around-its-commit",
            "a participant dies before and after a commit is applied, and before and after it says so",
            &[P7],
            vec![
                when(P1, "before-commit", 2, crash(P1, 300)),
                when(P1, "after-commit", 5, crash(P1, 300)),
                when(P2, "before-send-finished", 3, crash(P2, 300)),
                when(P2, "after-send-finished", 6, crash(P2, 300)),
            ],
        ),
        scenario(
            "the-coordinator-is-gone-for-good",
            "the coordinator dies after the votes and never returns: whoever is in doubt waits, and holds locks, for ever",
            &[P8],
            vec![when(COORDINATOR, "before-append-committed", 8, What::Gone { host: COORDINATOR })],
        ),
        scenario(
            "the-coordinator-is-paused",
            "the coordinator stands still for three seconds and goes on as if nothing had been",
            &[P9],
            vec![at(1_500, What::Pause { host: COORDINATOR, for_ms: 3_000 })],
        ),
        scenario(
            "a-zombie-comes-back",
            "the standby takes over from a paused coordinator, which then goes on: nobody listens to it",
            &[P9],
            vec![at(1_500, What::Takeover { zombie_after_ms: 1_500 })],
        ),
        scenario(
            "recovery-crashes-again-and-again",
            "both sides crash while they recover, several times: each recovery starts from the same state",
            &[P10],
            vec![
                when(COORDINATOR, "after-append-committed", 6, crash(COORDINATOR, 300)),
                when(COORDINATOR, "opened", 2, power(COORDINATOR, 200)),
                when(COORDINATOR, "opened", 3, crash(COORDINATOR, 200)),
                when(P1, "after-execute", 10, power(P1, 300)),
                when(P1, "opened", 2, crash(P1, 200)),
                when(P1, "opened", 3, power(P1, 200)),
            ],
        ),
    ]
}

fn network() -> Vec<Scenario> {
    use Code::{N1, N2, N3, N4, N6, N7, N8};
    let cut = |from, to, for_ms| What::Partition { from, to, one_way: false, for_ms };
    let cut_one_way = |from, to, for_ms| What::Partition { from, to, one_way: true, for_ms };
    vec![
        scenario(
            "cut-off-at-each-phase",
            "a participant is cut off before its vote, with its vote in, and before it hears the decision",
            &[N1],
            vec![
                when(P1, "before-execute", 4, cut(COORDINATOR, P1, 600)),
                when(COORDINATOR, "before-append-committed", 10, cut(COORDINATOR, P1, 600)),
                when(COORDINATOR, "before-send-commit", 22, cut(COORDINATOR, P2, 600)),
            ],
        ),
        scenario(
            "heard-but-not-hearing",
            "messages pass in one direction only, first in the one, then in the other",
            &[N2],
            vec![at(1_000, cut_one_way(COORDINATOR, P1, 1_500)), at(3_500, cut_one_way(P2, COORDINATOR, 1_500))],
        ),
        scenario(
            "everything-arrives-twice",
            "prepares, commits, votes and acknowledgements arrive twice, some long after all is over",
            &[N3],
            vec![
                at(0, tamper(1, TO_IT, Message::Prepare, 3, again(5))),
                at(0, tamper(1, TO_IT, Message::Prepare, 6, again(1_500))),
                at(0, tamper(2, TO_IT, Message::Commit, 2, again(5))),
                at(0, tamper(2, TO_IT, Message::Commit, 4, again(1_500))),
                at(0, tamper(1, FROM_IT, Message::Vote, 5, again(1_000))),
                at(0, tamper(2, FROM_IT, Message::Finished, 3, again(1_000))),
            ],
        ),
        scenario(
            "a-prepare-after-its-abort",
            "a prepare comes after the abort of its transaction, when the deadline has passed: it leaves no lock behind",
            &[N4],
            vec![
                at(0, tamper(1, TO_IT, Message::Prepare, 4, late(2_500))),
                at(0, tamper(2, TO_IT, Message::Prepare, 7, late(2_500))),
            ],
        ),
        scenario(
            "an-answer-is-lost-with-its-connection",
            "votes, a commit's acknowledgement and a decision are lost together with their connection: the next one brings them",
            &[N8],
            vec![
                at(0, tamper(1, FROM_IT, Message::Vote, 3, Tampering::Lost)),
                at(0, tamper(2, FROM_IT, Message::Vote, 6, Tampering::Lost)),
                at(0, tamper(1, FROM_IT, Message::Finished, 8, Tampering::Lost)),
                at(0, tamper(2, TO_IT, Message::Commit, 9, Tampering::Lost)),
            ],
        ),
        scenario(
            "answers-are-lost",
            "clients are cut off while their transactions run: they ask again and hear what became of them",
            &[N6],
            vec![
                when(COORDINATOR, "before-answer", 4, cut(Host::Client(1), COORDINATOR, 800)),
                when(COORDINATOR, "before-answer", 15, cut_one_way(COORDINATOR, Host::Client(2), 800)),
            ],
        ),
        scenario(
            "links-clog-and-clear",
            "links are held and released one after the other: everything arrives in the end, late and in bursts",
            &[N7],
            vec![
                at(1_000, What::Clog { from: COORDINATOR, to: P1, for_ms: 900 }),
                at(1_400, What::Clog { from: COORDINATOR, to: P2, for_ms: 300 }),
                at(2_000, What::Clog { from: COORDINATOR, to: Host::Participant(3), for_ms: 1_200 }),
                at(2_500, What::Clog { from: COORDINATOR, to: P1, for_ms: 400 }),
            ],
        ),
    ]
}

fn people() -> Vec<Scenario> {
    use Code::{C1, O1, O2, O3};
    vec![
        scenario(
            "clocks-jump",
            "clocks jump forwards and backwards on both sides: order and age may suffer, nothing else",
            &[C1],
            vec![
                at(1_000, What::Clock { host: COORDINATOR, by_ms: -8_000 }),
                at(2_000, What::Clock { host: P1, by_ms: 9_000 }),
                at(3_000, What::Clock { host: COORDINATOR, by_ms: 20_000 }),
            ],
        ),
        scenario(
            "an-operator-decides-alone",
            "the coordinator is away, and an operator aborts what is in doubt: as it turns out, rightly",
            &[O1],
            vec![
                when(COORDINATOR, "before-append-committed", 6, crash(COORDINATOR, 2_000)),
                at(1_800, What::Resolve { participant: 1, commit: false }),
                at(1_800, What::Resolve { participant: 2, commit: false }),
                at(1_800, What::Resolve { participant: 3, commit: false }),
            ],
        ),
        scenario(
            "an-operator-decides-wrongly",
            "the coordinator is away with a commit in its log, and an operator aborts: the damage is reported for good",
            &[O2],
            vec![
                when(COORDINATOR, "after-append-committed", 8, crash(COORDINATOR, 2_500)),
                at(2_200, What::Resolve { participant: 1, commit: false }),
                at(2_200, What::Resolve { participant: 2, commit: false }),
                at(2_200, What::Resolve { participant: 3, commit: false }),
            ],
        ),
        scenario(
            "an-operator-gives-up-too-early",
            "a participant is away, and an operator has the coordinator forget what it has not acknowledged",
            &[O3],
            vec![when(P1, "before-commit", 6, crash(P1, 3_000)), at(1_800, What::Forget), at(2_400, What::Forget)],
        ),
    ]
}

#[cfg(test)]
mod tests;
