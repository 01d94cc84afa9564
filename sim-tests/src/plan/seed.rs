//! The way from a seed to a plan, swarm-style: each run draws first how large its world is and which kinds of faults
//! are on at all, then faults of those kinds. So some runs have one kind of trouble in depth, and others a bit of
//! everything.

mod databases;
mod events;
mod impostors;
mod large_values;
mod open_sagas;
mod ordinary_trouble;
mod remote_resources;
mod restored_disks;
mod sagas;
mod services;
mod unavailable_stores;

use super::points::{IN_CALLS, OPENED};
use super::{Direction, Fault, Host, HowEnded, IDLE, Message, Plan, Shape, Tampering, What, When};
use crate::random::random;
use undoubt_platform::{Random as _, SeededRandom};

/// Faults of one run, at most.
const MAX_FAULTS: u64 = 7;

/// The points where the coordinator decides, tells whom it concerns, and is done (P2-P6).
const POINTS_AROUND_THE_DECISION: [&str; 8] = [
    "before-append-committed",
    "after-append-committed",
    "before-send-commit",
    "after-send-commit",
    "before-answer",
    "after-answer",
    "before-append-ended",
    "after-append-ended",
];

/// Few transactions are in these at a time: what happens while one is has to be sought.
const RARE_PHASES: [&str; 8] = [
    "logging-delegation",
    "delegated",
    "settling",
    "logging-beginning",
    "logging-compensation",
    "compensating",
    "stuck",
    "closing",
];

/// A kind of fault, and how often a run has it on, in percent.
type Kind = (u64, fn(&Dice, &Shape) -> Fault);

const KINDS: [Kind; 26] = [
    (50, |dice, shape| dice.soon(shape, dice.crash(dice.server(shape)))),
    (50, Dice::crash_at_point),
    (40, Dice::crash_around_the_decision),
    (15, Dice::crash_in_recovery),
    (12, |dice, shape| dice.anywhen(shape, What::Pause { host: dice.server(shape), for_ms: dice.between(100, 4_000) })),
    (8, |dice, shape| dice.anywhen(shape, What::Takeover { zombie_after_ms: dice.between(200, 4_000) })),
    (25, |dice, shape| {
        let (from, to) = dice.link(shape);
        dice.anywhen(shape, What::Partition { from, to, one_way: false, for_ms: dice.between(50, 4_000) })
    }),
    (15, |dice, shape| {
        let (one, other) = dice.link(shape);
        let (from, to) = if dice.chance(50) { (one, other) } else { (other, one) };
        dice.anywhen(shape, What::Partition { from, to, one_way: true, for_ms: dice.between(50, 4_000) })
    }),
    (15, |dice, shape| {
        let (from, to) = dice.link(shape);
        dice.anywhen(shape, What::Clog { from, to, for_ms: dice.between(20, 3_000) })
    }),
    (30, |dice, shape| dice.anywhen(shape, dice.tamper(shape))),
    (25, |dice, shape| dice.soon(shape, dice.hold_up(shape))),
    (12, |dice, shape| dice.anywhen(shape, What::SyncFails { host: dice.server(shape) })),
    (10, |dice, shape| {
        let (host, sync_ms) = (dice.server(shape), dice.between(20, 600));
        dice.anywhen(shape, What::SlowDisk { host, sync_ms, for_ms: dice.between(500, 5_000) })
    }),
    (10, |dice, shape| {
        dice.anywhen(shape, What::DiskFull { host: dice.server(shape), for_ms: dice.between(200, 4_000) })
    }),
    (6, |dice, shape| {
        dice.anywhen(shape, What::ReadOnlyDisk { host: dice.server(shape), for_ms: dice.between(200, 3_000) })
    }),
    (8, |dice, shape| {
        let host = dice.server(shape);
        let repaired_after_ms = dice.between(1_000, 4_000);
        let at_permille = u16::try_from(dice.between(0, 999)).unwrap_or_default();
        dice.anywhen(shape, What::BitFlip { host, at_permille, repaired_after_ms })
    }),
    (4, |dice, shape| {
        let (host, with) = (Host::Coordinator, dice.participant(shape));
        let with = if dice.chance(50) { with } else { Host::Participant(1) };
        dice.anywhen(shape, What::Swapped { host, with, repaired_after_ms: dice.between(800, 3_000) })
    }),
    (15, |dice, shape| {
        let by_ms = i64::try_from(dice.between(0, 20_000)).unwrap_or_default() - 10_000;
        dice.anywhen(shape, What::Clock { host: dice.server(shape), by_ms })
    }),
    (8, |dice, shape| dice.anywhen(shape, dice.resolve(dice.number(shape)))),
    (5, |dice, shape| dice.anywhen(shape, What::Forget)),
    (6, |dice, shape| {
        let how = *dice.pick(&[HowEnded::Skip, HowEnded::Done, HowEnded::Forget]);
        dice.anywhen(shape, What::EndSaga { how })
    }),
    (4, |dice, shape| dice.anywhen(shape, What::ReleaseMarks { participant: dice.number(shape) })),
    (6, |dice, shape| {
        let (participant, for_ms) = (dice.number(shape), dice.between(500, 6_000));
        dice.anywhen(shape, What::CompensationsRefused { participant, for_ms })
    }),
    (3, |dice, shape| dice.anywhen(shape, What::Gone { host: Host::Coordinator })),
    (8, |dice, shape| {
        dice.anywhen(shape, What::LyingSyncs { host: dice.server(shape), for_ms: dice.between(200, 3_000) })
    }),
    (12, Dice::destroy),
];

impl Plan {
    /// Returns the plan that this seed stands for.
    pub fn of_seed(seed: u64) -> Plan {
        databases::behind_some(Plan::without_databases(seed))
    }

    fn without_databases(seed: u64) -> Plan {
        let dice = Dice(random(seed, "plan"));
        let shape = dice.shape();
        let mut on: Vec<&Kind> = KINDS.iter().filter(|(percent, _)| dice.chance(*percent)).collect();
        if on.is_empty() {
            on.push(&KINDS[1]);
        }
        let count = 1 + dice.0.below(MAX_FAULTS);
        let draw = |_| dice.pick(&on).1(&dice, &shape);
        let mut faults: Vec<Fault> = (0..count).map(draw).collect();
        let causes: Vec<Fault> = faults.iter().flat_map(|fault| dice.causes_of(&shape, &fault.when)).collect();
        faults.extend(causes);
        let plan = large_values::laden(sagas::troubled(Plan { seed, shape, faults, mutant: None }));
        let plan = remote_resources::elsewhere(unavailable_stores::away(restored_disks::restored(plan)));
        open_sagas::with_some(impostors::knocked_at(plan))
    }

    /// Returns the same, with a disk that is put back.
    pub fn with_a_disk_put_back(seed: u64) -> Plan {
        restored_disks::always_restored(Plan::without_databases(seed))
    }

    /// Returns the same, with many open sagas.
    pub fn with_open_sagas(seed: u64) -> Plan {
        open_sagas::with_many(Plan::without_databases(seed))
    }

    /// Returns the same, with participants that call HTTP services.
    pub fn with_services(seed: u64) -> Plan {
        services::called(Plan::without_databases(seed))
    }

    /// Returns the same, or that with disks that are put back or with many open sagas, where participants publish events.
    pub fn with_events(seed: u64) -> Plan {
        events::published(seed)
    }

    /// Returns the same, with participants in front of databases.
    pub fn with_databases(seed: u64) -> Plan {
        databases::behind(Plan::without_databases(seed))
    }
}

struct Dice(SeededRandom);

impl Dice {
    fn between(&self, from: u64, to: u64) -> u64 {
        from + self.0.below(to - from + 1)
    }

    fn chance(&self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    fn small(&self, from: u64, to: u64) -> u8 {
        u8::try_from(self.between(from, to)).unwrap_or(u8::MAX)
    }

    fn pick<'a, T>(&self, among: &'a [T]) -> &'a T {
        &among[usize::try_from(self.0.below(among.len() as u64)).unwrap_or_default()]
    }

    fn shape(&self) -> Shape {
        Shape {
            participants: self.small(2, 4),
            clients: self.small(2, 4),
            transactions_per_client: u16::from(self.small(25, 45)),
            keys: self.small(2, 6),
            timeout_ms: self.between(400, 3_000),
            think_ms: self.between(80, 1_000),
            latency_ms: (1, self.between(5, 30)),
            heal_at_ms: self.between(8_000, 12_000),
            sagas_percent: if self.chance(70) { self.small(10, 40) } else { 0 },
            ..Shape::default()
        }
    }

    fn number(&self, shape: &Shape) -> u8 {
        self.small(1, shape.participants.into())
    }

    fn participant(&self, shape: &Shape) -> Host {
        Host::Participant(self.number(shape))
    }

    fn server(&self, shape: &Shape) -> Host {
        if self.chance(45) { Host::Coordinator } else { self.participant(shape) }
    }

    fn link(&self, shape: &Shape) -> (Host, Host) {
        if self.chance(75) {
            (Host::Coordinator, self.participant(shape))
        } else {
            (Host::Client(self.small(1, shape.clients.into())), Host::Coordinator)
        }
    }

    /// Returns a fault at some time while there is load.
    fn soon(&self, shape: &Shape, what: What) -> Fault {
        Fault { when: When::At { ms: self.between(200, shape.heal_at_ms * 3 / 4) }, what }
    }

    /// Returns a fault at some time, or when a server that it concerns reaches some point.
    fn anywhen(&self, shape: &Shape, what: What) -> Fault {
        if self.chance(50) {
            return self.soon(shape, what);
        }
        let servers: Vec<Host> = what.hosts().into_iter().filter(|host| !matches!(host, Host::Client(_))).collect();
        let host = *self.pick(&servers);
        let beside_the_rare = host == Host::Coordinator && self.chance(15);
        Fault { when: if beside_the_rare { self.beside_the_rare() } else { self.point_of(host) }, what }
    }

    /// Returns a point that is often reached, while something is in a state that few are in.
    fn beside_the_rare(&self) -> When {
        When::Point {
            host: Host::Coordinator,
            point: (*self.pick(&POINTS_AROUND_THE_DECISION)).to_owned(),
            count: self.small(1, 3).into(),
            during: Some((*self.pick(&RARE_PHASES)).to_owned()),
        }
    }

    /// Some points are reached only if something else goes wrong before.
    fn causes_of(&self, shape: &Shape, when: &When) -> Vec<Fault> {
        let When::Point { host, point, during, .. } = when else { return Vec::new() };
        let cut_off = |from, to| What::Partition { from, to, one_way: false, for_ms: shape.timeout_ms + 500 };
        match (host, during.as_deref().unwrap_or(point)) {
            // An operator decides what is in doubt, and finds it so only if the decision does not get through.
            (Host::Participant(number), "resolving") => {
                let voted = self.vote_of(*host);
                let cut_off = Fault { when: voted.clone(), what: cut_off(Host::Coordinator, *host) };
                vec![cut_off, Fault { when: voted, what: self.resolve(*number) }]
            }
            (Host::Coordinator, "before-send-settle" | "after-send-settle") => {
                vec![self.soon(shape, cut_off(*host, self.participant(shape)))]
            }
            // The question what became of it takes long enough for something to happen beside it.
            (Host::Coordinator, "settling") => {
                let (participant, count) = (self.number(shape), self.small(1, 4).into());
                let handed_over = "after-append-delegated".to_owned();
                let when = When::Point { host: *host, point: handed_over, count, during: None };
                let slowly = What::Tamper {
                    participant,
                    direction: Direction::ToParticipant,
                    message: Message::Settle,
                    count: 1,
                    tampering: Tampering::Delay { by_ms: self.between(1_000, 3_000) },
                };
                [cut_off(*host, Host::Participant(participant)), slowly]
                    .map(|what| Fault { when: when.clone(), what })
                    .into()
            }
            (Host::Coordinator, "compensating" | "stuck") => {
                vec![self.soon(shape, What::ActionsRefused { participant: self.number(shape), for_ms: 4_000 })]
            }
            // A saga's compensation and a decision are written together only if another write held both up.
            (Host::Coordinator, "logging-compensation") => {
                let (when, for_ms) = (When::At { ms: self.between(200, 1_000) }, shape.heal_at_ms);
                let refused = What::ActionsRefused { participant: self.number(shape), for_ms };
                let slow = What::SlowDisk { host: *host, sync_ms: self.between(50, 300), for_ms };
                [refused, slow].map(|what| Fault { when: when.clone(), what }).into()
            }
            // What an operator decided is told, and noted, after the end.
            (Host::Coordinator, IDLE | "before-send-noted" | "after-send-noted") => {
                let number = self.number(shape);
                let voted = self.vote_of(Host::Participant(number));
                let cut_off = Fault { when: voted.clone(), what: cut_off(*host, Host::Participant(number)) };
                vec![cut_off, Fault { when: voted, what: self.resolve(number) }]
            }
            _ => Vec::new(),
        }
    }

    fn point_of(&self, host: Host) -> When {
        let point = if host.is_coordinator() {
            *self.pick(undoubt_coordinator::CRASH_POINTS)
        } else if self.chance(70) {
            *self.pick(undoubt_participant::CRASH_POINTS)
        } else {
            *self.pick(&IN_CALLS)
        };
        // Some points are reached by few transactions.
        let most = match point {
            "before-append-delegated" | "after-append-delegated" => 8,
            _ if point.contains("append-compensation") || point.contains("compensate") || point.contains("close") => 4,
            _ if point.contains("settle") || point.contains("inquiry") || point.contains("undecided") => 2,
            _ if point.contains("noted") => 1,
            "resolving" => 1,
            "aborting" | "acting" => 10,
            "compensating" => 3,
            _ if point.contains("confirm") || point.contains("abort") => 10,
            _ => 40,
        };
        When::Point { host, point: point.to_owned(), count: u32::from(self.small(1, most)), during: None }
    }

    fn vote_of(&self, host: Host) -> When {
        When::Point { host, point: "after-send-vote".to_owned(), count: u32::from(self.small(1, 10)), during: None }
    }

    fn crash(&self, host: Host) -> What {
        What::Crash { host, power: self.chance(50), down_ms: self.between(10, 4_000) }
    }

    fn crash_at_point(&self, shape: &Shape) -> Fault {
        let host = self.server(shape);
        Fault { when: self.point_of(host), what: self.crash(host) }
    }

    fn crash_around_the_decision(&self, _: &Shape) -> Fault {
        let (host, point) = (Host::Coordinator, (*self.pick(&POINTS_AROUND_THE_DECISION)).to_owned());
        let told_late = (point.ends_with("append-ended") || point.ends_with("send-commit")) && self.chance(20);
        let beside = if told_late { Some(IDLE) } else { self.chance(50).then(|| *self.pick(&RARE_PHASES)) };
        let most = match beside {
            Some("logging-compensation") => 1,
            Some(_) => 3,
            None => 40,
        };
        let beside = beside.map(str::to_owned);
        let when = When::Point { host, point, count: u32::from(self.small(1, most)), during: beside };
        // A loss of power would count as S3.
        Fault { when, what: What::Crash { host, power: false, down_ms: self.between(10, 4_000) } }
    }

    /// Returns a crash at the second start or a later one: something else must have ended the first.
    fn crash_in_recovery(&self, shape: &Shape) -> Fault {
        let host = self.server(shape);
        let when = When::Point { host, point: OPENED.to_owned(), count: u32::from(self.small(2, 4)), during: None };
        Fault { when, what: self.crash(host) }
    }

    fn tamper(&self, shape: &Shape) -> What {
        use Message::{
            Abort, Act, Acted, Close, Closed, Commit, Compensate, Compensated, Confirm, Confirmed, Finished, Inquiry,
            Prepare, Settle, Vote,
        };
        let (direction, messages): (_, &[Message]) = if self.chance(60) {
            (
                Direction::ToParticipant,
                &[Prepare, Prepare, Commit, Commit, Abort, Confirm, Settle, Act, Act, Compensate, Close],
            )
        } else {
            (Direction::ToCoordinator, &[Vote, Vote, Finished, Confirmed, Inquiry, Acted, Compensated, Closed])
        };
        let message = *self.pick(messages);
        let ms = self.between(1, 3_000);
        let tampering =
            if self.chance(50) { Tampering::Duplicate { after_ms: ms } } else { Tampering::Delay { by_ms: ms } };
        What::Tamper { participant: self.number(shape), direction, message, count: self.small(1, 20).into(), tampering }
    }

    /// One branch is executed long after the others, and yet in time: whatever they let go too early, others can take.
    fn hold_up(&self, shape: &Shape) -> What {
        What::Tamper {
            participant: self.number(shape),
            direction: Direction::ToParticipant,
            message: Message::Prepare,
            count: self.small(1, 10).into(),
            tampering: Tampering::Delay { by_ms: self.between(shape.timeout_ms / 4, shape.timeout_ms * 3 / 4) },
        }
    }

    fn resolve(&self, participant: u8) -> What {
        What::Resolve { participant, commit: self.chance(50) }
    }

    /// A disk loses what was stable.
    fn destroy(&self, shape: &Shape) -> Fault {
        let host = self.server(shape);
        let what = match self.0.below(3) {
            0 => What::RolledBack { host, frames: u32::from(self.small(1, 12)) },
            1 => What::Wiped { host },
            _ => What::VoteLost { participant: self.number(shape) },
        };
        self.anywhen(shape, what)
    }
}

#[cfg(test)]
mod tests;
