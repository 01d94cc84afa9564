//! The ways in which a plan can be smaller.

use crate::plan::{Fault, Plan, What, When};

/// One number of a plan's shape.
pub(super) struct Size {
    pub(super) get: fn(&Plan) -> u64,
    pub(super) set: fn(&mut Plan, u64),
    pub(super) least: u64,
    /// Differences below this are not worth a run.
    pub(super) grain: u64,
}

/// The sizes of the world.
pub(super) const SIZES: [Size; 6] = [
    Size {
        get: |plan| plan.shape.transactions_per_client.into(),
        set: |plan, to| plan.shape.transactions_per_client = u16::try_from(to).unwrap_or(u16::MAX),
        least: 1,
        grain: 1,
    },
    Size {
        get: |plan| plan.shape.clients.into(),
        set: |plan, to| plan.shape.clients = u8::try_from(to).unwrap_or(u8::MAX),
        least: 1,
        grain: 1,
    },
    Size {
        get: |plan| plan.shape.participants.into(),
        set: |plan, to| plan.shape.participants = u8::try_from(to).unwrap_or(u8::MAX),
        least: 1,
        grain: 1,
    },
    Size {
        get: |plan| plan.shape.keys.into(),
        set: |plan, to| plan.shape.keys = u8::try_from(to).unwrap_or(u8::MAX),
        least: 1,
        grain: 1,
    },
    Size {
        get: |plan| plan.shape.readers.into(),
        set: |plan, to| plan.shape.readers = u8::try_from(to).unwrap_or(u8::MAX),
        least: 0,
        grain: 1,
    },
    Size {
        get: |plan| plan.shape.value_bytes.into(),
        set: |plan, to| plan.shape.value_bytes = u32::try_from(to).unwrap_or(u32::MAX),
        least: 0,
        grain: 1_000,
    },
];

/// The lengths of the world.
pub(super) const LENGTHS: [Size; 1] =
    [Size { get: |plan| plan.shape.heal_at_ms, set: |plan, to| plan.shape.heal_at_ms = to, least: 200, grain: 100 }];

/// The peculiarities of servers from the start, taken away one after the other.
pub(super) const PLAIN: [fn(&mut Plan); 10] = [
    |plan| plan.shape.databases.clear(),
    |plan| plan.shape.services.clear(),
    |plan| plan.shape.prepared_slots = None,
    |plan| plan.shape.cannot_prepare = None,
    |plan| plan.shape.breaker = None,
    |plan| plan.shape.max_write_bytes = None,
    |plan| plan.shape.views = false,
    |plan| plan.shape.trips = None,
    |plan| plan.shape.max_gathered_bytes = None,
    |plan| (plan.shape.value_bytes, plan.shape.large_reads_percent) = (0, 0),
];

/// Returns the plan without the faults and peculiarities of those who do not take part any more, and without faults
/// that come too late.
pub(super) fn fitting(mut plan: Plan) -> Plan {
    plan.shape.cannot_prepare = plan.shape.cannot_prepare.filter(|number| *number <= plan.shape.participants);
    plan.shape.databases.retain(|number| *number <= plan.shape.participants);
    plan.shape.services.retain(|number| *number <= plan.shape.participants);
    if let Some(trips) = &mut plan.shape.trips {
        trips.steps = trips.steps.min(plan.shape.participants);
    }
    plan.shape.trips = plan.shape.trips.take().filter(|trips| trips.steps > 1);
    let world = plan.clone();
    plan.faults.retain(|Fault { when, what }| {
        let (in_time, awaited) = match when {
            When::At { ms } => (*ms < world.shape.heal_at_ms, None),
            When::Point { host, .. } => (true, Some(*host)),
        };
        in_time && what.hosts().into_iter().chain(awaited).all(|host| world.has(host))
    });
    plan
}

/// Returns how often the fault's point has to be reached first.
pub(super) fn count_of(fault: &Fault) -> Option<u64> {
    match &fault.when {
        When::At { .. } => None,
        When::Point { count, .. } => Some((*count).into()),
    }
}

pub(super) fn set_count(fault: &mut Fault, to: u64) {
    match &mut fault.when {
        When::At { .. } => {}
        When::Point { count, .. } => *count = u32::try_from(to).unwrap_or(u32::MAX),
    }
}

/// Waits for the point only, whatever is under way; `None` if it does so already.
pub(super) fn whatever_is_under_way(fault: &Fault) -> Option<Fault> {
    let mut fault = fault.clone();
    match &mut fault.when {
        When::At { .. } => None,
        When::Point { during, .. } => during.take().map(|_| fault),
    }
}

/// The same for so long. What does not last stays as it is.
pub(super) fn lasting(mut what: What, to: u64) -> What {
    if let Some(ms) = what.lasts_ms_mut() {
        *ms = to;
    }
    what
}
