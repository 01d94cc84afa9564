//! In which ways a plan can be smaller.

use crate::plan::{Fault, Host, Plan, What, When};

/// One number of a plan's shape.
pub(super) struct Size {
    pub(super) get: fn(&Plan) -> u64,
    pub(super) set: fn(&mut Plan, u64),
    pub(super) least: u64,
    /// Differences below this are not worth a run.
    pub(super) grain: u64,
}

/// How large the world is.
pub(super) const SIZES: [Size; 4] = [
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
];

/// How long it lasts.
pub(super) const LENGTHS: [Size; 1] =
    [Size { get: |plan| plan.shape.heal_at_ms, set: |plan, to| plan.shape.heal_at_ms = to, least: 200, grain: 100 }];

/// What servers are peculiar in from the start, taken away one after the other.
pub(super) const PLAIN: [fn(&mut Plan); 2] =
    [|plan| plan.shape.cannot_prepare = None, |plan| plan.shape.breaker = None];

/// Without the faults and peculiarities of those who do not take part any more.
pub(super) fn fitting(mut plan: Plan) -> Plan {
    plan.shape.cannot_prepare = plan.shape.cannot_prepare.filter(|number| *number <= plan.shape.participants);
    let shape = plan.shape.clone();
    let takes_over = plan.faults.iter().any(|fault| matches!(fault.what, What::Takeover { .. }));
    let takes_part = |host: Host| match host {
        Host::Coordinator => true,
        Host::Standby => takes_over,
        Host::Participant(number) => number <= shape.participants,
        Host::Client(number) => number <= shape.clients,
    };
    plan.faults.retain(|Fault { when, what }| {
        let awaited = match when {
            When::At { .. } => None,
            When::Point { host, .. } => Some(*host),
        };
        what.hosts().into_iter().chain(awaited).all(takes_part)
    });
    plan
}

/// The same for so long. What does not last stays as it is.
pub(super) fn lasting(mut what: What, to: u64) -> What {
    if let Some(ms) = what.lasts_ms_mut() {
        *ms = to;
    }
    what
}
