//! The check that a plan can be carried out as it says: plans are also written and changed by hand.

use super::points::{points_of, states_of};
use super::{Fault, Host, MovedBy, Plan, Shape, Tampering, Trips, What, When};

/// A world's most participants, and its most clients.
const MAX_HOSTS_OF_A_KIND: u8 = 8;

/// The longest of all times, simulated.
const MAX_MS: u64 = 600_000;

/// The bytes with less of which a coordinator could not even say that it has started, or that a transaction has ended.
const MIN_WRITE_BYTES: u64 = 50_000;

/// The bytes with less of which a coordinator does not start.
const MIN_GATHERED_BYTES: u64 = 16 << 20;

/// The longest value that a participant keeps.
const MAX_VALUE_BYTES: u64 = 64 << 10;

/// The error of a plan that cannot be carried out: all that is wrong with it, one sentence each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Unsound(pub Vec<String>);

impl Plan {
    /// Returns the plan as it is, or what is wrong with it: a fault that names nobody, or a thing that there
    /// is not, would never strike.
    pub fn sound(self) -> Result<Plan, Unsound> {
        let of_faults = |(index, fault)| {
            let number = index + 1;
            wrong_with_fault(&self, fault).into_iter().map(move |wrong| format!("fault {number}: {wrong}"))
        };
        let mut wrong: Vec<String> = wrong_with_shape(&self.shape)
            .into_iter()
            .chain(self.faults.iter().enumerate().flat_map(of_faults))
            .collect();
        wrong.dedup();
        if wrong.is_empty() { Ok(self) } else { Err(Unsound(wrong)) }
    }
}

fn wrong_with_shape(shape: &Shape) -> Vec<String> {
    let within = |name: &str, value: u64, least: u64, most: u64| {
        (!(least..=most).contains(&value)).then(|| format!("{name} is {value}, and has to be from {least} to {most}"))
    };
    let (fastest, slowest) = shape.latency_ms;
    let checks = [
        within("participants", shape.participants.into(), 1, MAX_HOSTS_OF_A_KIND.into()),
        within("clients", shape.clients.into(), 1, MAX_HOSTS_OF_A_KIND.into()),
        // Sagas have as many keys again.
        within("keys", shape.keys.into(), 1, 100),
        within("timeout_ms", shape.timeout_ms, 1, MAX_MS),
        within("think_ms", shape.think_ms, 0, MAX_MS),
        within("retention_s", shape.retention_s, 1, u64::from(u32::MAX)),
        within("heal_at_ms", shape.heal_at_ms, 1, MAX_MS),
        within("latency_ms, the second", slowest, fastest, 60_000),
        within("sagas_percent", shape.sagas_percent.into(), 0, 50),
        within("open_sagas_percent", shape.open_sagas_percent.into(), 0, 100),
        within("nested_sagas_percent", shape.nested_sagas_percent.into(), 0, 100),
        within("value_bytes", shape.value_bytes.into(), 0, MAX_VALUE_BYTES),
        shape
            .max_write_bytes
            .and_then(|bytes| within("max_write_bytes", bytes.into(), MIN_WRITE_BYTES, u64::from(u32::MAX))),
        shape
            .max_gathered_bytes
            .and_then(|bytes| within("max_gathered_bytes", bytes.into(), MIN_GATHERED_BYTES, u64::from(u32::MAX))),
        within("readers", shape.readers.into(), 0, MAX_HOSTS_OF_A_KIND.into()),
        within("large_reads_percent", shape.large_reads_percent.into(), 0, 100),
        shape.prepared_slots.and_then(|slots| within("prepared_slots", slots.into(), 1, u16::MAX.into())),
        shape.cannot_prepare.and_then(|number| within("cannot_prepare", number.into(), 1, shape.participants.into())),
    ];
    let databases = shape.databases.iter();
    let databases = databases.filter_map(|number| within("databases", (*number).into(), 1, shape.participants.into()));
    let services = shape.services.iter();
    let services = services.filter_map(|number| within("services", (*number).into(), 1, shape.participants.into()));
    let trips = shape.trips.as_ref().into_iter().flat_map(|trips| wrong_with_trips(shape, trips));
    let both = shape.services.intersection(&shape.databases);
    let both = both.map(|number| format!("p{number} calls a service and stands in front of a database; it can do one"));
    checks.into_iter().flatten().chain(databases).chain(services).chain(both).chain(trips).collect()
}

fn wrong_with_trips(shape: &Shape, trips: &Trips) -> Vec<String> {
    let mut wrong = Vec::new();
    if !(2..=shape.participants).contains(&trips.steps) {
        wrong.push(format!("trips have {} steps, and have to have from 2 to {}", trips.steps, shape.participants));
    }
    if trips.percent > 100 {
        wrong.push(format!("{} percent of the work begin trips; 100 can at most", trips.percent));
    }
    if trips.expire_ms.is_some_and(|ms| !(1..=MAX_MS).contains(&ms)) {
        wrong.push(format!("expire_ms of trips has to be from 1 to {MAX_MS}"));
    }
    if trips.alone == Some(MovedBy::Coordinator) {
        return wrong;
    }
    let silent = (1..=trips.steps).find(|at| *at <= shape.participants && !shape.publishes(*at));
    wrong.extend(silent.map(|at| format!("p{at} publishes nothing, and a step of trips is there")));
    wrong
}

fn wrong_with_fault(plan: &Plan, fault: &Fault) -> Vec<String> {
    let mut wrong: Vec<String> = fault.what.hosts().into_iter().filter_map(|host| absent(plan, host)).collect();
    if fault.what.takes_from_disks() {
        let of_database =
            |host: &Host| matches!(host, Host::Participant(number) if plan.shape.databases.contains(number));
        let concerned = fault.what.hosts().into_iter().filter(of_database);
        wrong.extend(concerned.map(|host| format!("{host} has no disk of its own: it stands in front of a database")));
        let of_service = |host: &Host| match host {
            Host::Participant(number) | Host::Service(number) => plan.shape.services.contains(number),
            Host::Coordinator | Host::Standby | Host::Database(_) | Host::Client(_) | Host::Reader(_) => false,
        };
        let concerned = fault.what.hosts().into_iter().filter(of_service);
        wrong.extend(concerned.map(|host| {
            format!(
                "{host} calls a service, or is one: what was stable there stays, or nobody would end what it has begun"
            )
        }));
    }
    match &fault.when {
        When::At { ms } if *ms >= plan.shape.heal_at_ms => {
            wrong.push(format!("it would strike at {ms} ms, and all is healed at {} ms", plan.shape.heal_at_ms));
        }
        When::At { .. } => {}
        When::Point { host, point, count, during } => {
            wrong.extend(absent(plan, *host));
            wrong.extend(unknown("point", *host, point, &points_of(*host)));
            wrong.extend(during.as_ref().and_then(|state| unknown("state", *host, state, &states_of(*host))));
            wrong.extend((*count == 0).then(|| "count is 0, and times are counted from 1".to_owned()));
        }
    }
    wrong.extend(wrong_with_what(&fault.what));
    wrong
}

fn wrong_with_what(what: &What) -> Option<String> {
    if what.lasts_ms().is_some_and(|ms| ms > MAX_MS) {
        return Some(format!("it lasts longer than {MAX_MS} ms"));
    }
    match what {
        What::BitFlip { at_permille: 1_000.., .. } => Some("at_permille has to be below 1000".to_owned()),
        What::Clock { by_ms, .. } if by_ms.unsigned_abs() > MAX_MS => {
            Some(format!("the clock jumps by more than {MAX_MS} ms"))
        }
        What::SlowDisk { sync_ms, .. } if *sync_ms > MAX_MS => Some(format!("a sync takes longer than {MAX_MS} ms")),
        What::SlowReader { by_ms, .. } | What::LateSource { by_ms, .. } | What::SlowReactions { by_ms, .. }
            if *by_ms > MAX_MS =>
        {
            Some(format!("by_ms is more than {MAX_MS}"))
        }
        What::LateSource { participant, from, .. } if participant == from => {
            Some(format!("p{from} reads its own log without a network"))
        }
        What::SlowPrepares { by_ms, .. } if *by_ms > MAX_MS => Some(format!("by_ms is more than {MAX_MS}")),
        What::Tamper { count: 0, .. } => Some("count is 0, and messages are counted from 1".to_owned()),
        What::Tamper { tampering: Tampering::Delay { by_ms: ms } | Tampering::Duplicate { after_ms: ms }, .. }
            if *ms > MAX_MS =>
        {
            Some(format!("the message comes later than {MAX_MS} ms"))
        }
        What::Partition { from, to, .. } | What::Clog { from, to, .. } if from == to => {
            Some(format!("{from} has no link to itself"))
        }
        What::Swapped { host, with, .. } if host == with => Some(format!("{host} has one disk only")),
        What::Partition { .. }
        | What::Clog { .. }
        | What::Swapped { .. }
        | What::BitFlip { .. }
        | What::Clock { .. }
        | What::SlowDisk { .. }
        | What::SlowPrepares { .. }
        | What::SlowReader { .. }
        | What::LateSource { .. }
        | What::ReactionsRefused { .. }
        | What::SlowReactions { .. }
        | What::UnknownSchema
        | What::Tamper { .. }
        | What::Crash { .. }
        | What::Gone { .. }
        | What::Pause { .. }
        | What::Takeover { .. }
        | What::LyingSyncs { .. }
        | What::SyncFails { .. }
        | What::RolledBack { .. }
        | What::DiskFull { .. }
        | What::ReadOnlyDisk { .. }
        | What::DiskAway { .. }
        | What::Unclear { .. }
        | What::ReadersForgotten { .. }
        | What::SessionsCut { .. }
        | What::ServiceTroubled { .. }
        | What::OtherHand { .. }
        | What::Impostor { .. }
        | What::Wiped { .. }
        | What::PutBack { .. }
        | What::VoteLost { .. }
        | What::Poisoned
        | What::Resolve { .. }
        | What::Forget
        | What::CompensationsRefused { .. }
        | What::ActionsRefused { .. }
        | What::ResolveStuck { .. }
        | What::EndSaga { .. }
        | What::ReleaseMarks { .. } => None,
    }
}

fn absent(plan: &Plan, host: Host) -> Option<String> {
    (!plan.has(host)).then(|| match host {
        Host::Standby => "there is no standby in a world without a takeover".to_owned(),
        Host::Database(number) => format!("p{number} stands in front of no database in this world"),
        Host::Service(number) => format!("p{number} calls no HTTP service in this world"),
        Host::Reader(_) => format!("nobody named {host} reads events in this world"),
        Host::Coordinator | Host::Participant(_) | Host::Client(_) => format!("there is no {host} in this world"),
    })
}

fn unknown(kind: &str, host: Host, name: &str, known: &[&str]) -> Option<String> {
    (!known.contains(&name)).then(|| match known {
        [] => format!("{host} has no {kind}s that could be waited for"),
        [..] => format!("{host} has no {kind} {name:?}; it has {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn wrong_with(faults: Vec<Fault>) -> String {
        Plan { seed: 1, shape: Shape::default(), faults, mutant: None }.sound().unwrap_err().to_string()
    }

    fn pause(participant: u8) -> What {
        What::Pause { host: Host::Participant(participant), for_ms: 10 }
    }

    fn at_point(host: Host, point: &str, during: Option<&str>) -> Fault {
        let when = When::Point { host, point: point.to_owned(), count: 1, during: during.map(str::to_owned) };
        Fault { when, what: pause(1) }
    }

    #[test]
    fn the_plan_of_every_seed_is_sound() {
        let others = (0..1_000)
            .flat_map(|seed| [Plan::with_databases(seed), Plan::with_services(seed), Plan::with_events(seed)]);
        for plan in (0..2_000).map(Plan::of_seed).chain(others) {
            assert_eq!(plan.clone().sound(), Ok(plan));
        }
    }

    #[test]
    fn what_would_never_strike_is_refused_with_the_names_that_there_are() {
        let wrong = wrong_with(vec![at_point(Host::Coordinator, "before-supper", None)]);
        assert!(wrong.contains("fault 1: coordinator has no point \"before-supper\""), "{wrong}");
        assert!(wrong.contains("before-append-committed"), "{wrong}");
        let wrong = wrong_with(vec![at_point(Host::Participant(1), "opened", Some("preparing"))]);
        assert!(wrong.contains("p1 has no state \"preparing\"; it has idle, executing"), "{wrong}");
        let wrong = wrong_with(vec![at_point(Host::Client(1), "opened", None)]);
        assert!(wrong.contains("client1 has no points"), "{wrong}");
        let late = Fault { when: When::At { ms: 10_000 }, what: pause(1) };
        assert!(wrong_with(vec![late]).contains("healed"));
        let nobody = Fault { when: When::At { ms: 1 }, what: pause(9) };
        assert!(wrong_with(vec![nobody]).contains("there is no p9"));
        assert!(wrong_with(vec![at_point(Host::Standby, "opened", None)]).contains("without a takeover"));
        let p1 = Host::Participant(1);
        for (what, why) in [
            (What::Clock { host: p1, by_ms: i64::MIN }, "jumps by more"),
            (What::Pause { host: p1, for_ms: u64::MAX }, "lasts longer"),
            (What::SlowDisk { host: p1, sync_ms: u64::MAX, for_ms: 10 }, "takes longer"),
            (What::Clog { from: p1, to: p1, for_ms: 10 }, "no link to itself"),
            (What::Swapped { host: p1, with: p1, repaired_after_ms: 10 }, "one disk only"),
            (What::BitFlip { host: p1, at_permille: 1_000, repaired_after_ms: 10 }, "below 1000"),
        ] {
            let wrong = wrong_with(vec![Fault { when: When::At { ms: 1 }, what }]);
            assert!(wrong.contains(why), "{wrong}");
        }
    }

    #[test]
    fn nothing_befalls_a_disk_that_a_participant_in_front_of_a_database_does_not_have() {
        let shape = Shape { databases: BTreeSet::from([2, 9]), prepared_slots: Some(0), ..Shape::default() };
        let wiped = Fault { when: When::At { ms: 1 }, what: What::Wiped { host: Host::Participant(2) } };
        let wrong = Plan { seed: 1, shape, faults: vec![wiped], mutant: None }.sound().unwrap_err().to_string();
        for part in ["databases is 9", "prepared_slots is 0", "p2 has no disk of its own"] {
            assert!(wrong.contains(part), "{wrong}");
        }
        let crash = |number| What::Crash { host: Host::Database(number), power: true, down_ms: 10 };
        let nowhere = wrong_with(vec![Fault { when: When::At { ms: 1 }, what: crash(1) }]);
        assert!(nowhere.contains("p1 stands in front of no database"), "{nowhere}");
    }

    #[test]
    fn a_participant_that_calls_a_service_loses_nothing_that_was_stable() {
        let shape = Shape { services: BTreeSet::from([2, 9]), databases: BTreeSet::from([2]), ..Shape::default() };
        let wiped = |host| Fault { when: When::At { ms: 1 }, what: What::Wiped { host } };
        let faults = vec![wiped(Host::Participant(2)), wiped(Host::Service(2)), wiped(Host::Service(1))];
        let wrong = Plan { seed: 1, shape, faults, mutant: None }.sound().unwrap_err().to_string();
        for part in
            ["services is 9", "p2 calls a service and stands", "fault 1: p2 ", "fault 2: svc2 ", "p1 calls no HTTP"]
        {
            assert!(wrong.contains(part), "{part}: {wrong}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_world_is_said_at_once() {
        let shape = Shape { participants: 0, keys: 0, latency_ms: (5, 2), cannot_prepare: Some(4), ..Shape::default() };
        let Unsound(wrong) = Plan { seed: 1, shape, faults: Vec::new(), mutant: None }.sound().unwrap_err();
        assert_eq!(wrong.len(), 4, "{wrong:?}");
    }
}
