//! A look at what is open, now and then: what somebody has to look after is an alarm, and how it stands a line of the log.

use super::{Engine, LinkState};
use crate::log::LogError;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_coordinator_core::{Census, Counted};
use undoubt_platform::alarm::{Alarms, Bell, Condition};
use undoubt_vocabulary::Timestamp;

/// Between two looks. Each takes some milliseconds where a hundred thousand are open.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Damaged transactions that a look counts.
const MAX_DAMAGED_COUNTED: usize = 100;

pub(super) struct Watch {
    look_at: Instant,
    status_at: Instant,
    alarms: Alarms,
    bell: Option<Bell>,
    /// What the last line said: it is not said again as long as nothing changes.
    said: Status,
    /// The state of the server, for the one that runs the process.
    pub(super) status: Option<String>,
}

/// How a coordinator stands, as one line says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Status {
    begun: u64,
    committed: u64,
    aborted: u64,
    open: usize,
    unacknowledged: usize,
    stuck: usize,
    damaged: usize,
    connected: usize,
}

impl Watch {
    pub(super) fn new(now: Instant, status_every: Duration, bell: Option<Bell>) -> Watch {
        let (look_at, status_at) = (now + LOOK_EVERY, now + status_every);
        Watch { look_at, status_at, alarms: Alarms::default(), bell, said: Status::default(), status: None }
    }
}

impl Engine {
    /// Looks, if it is time to.
    pub(super) fn watch(&mut self, now: Instant) -> Result<(), LogError> {
        if now < self.watch.look_at {
            return Ok(());
        }
        self.watch.look_at = now + LOOK_EVERY;
        let census = self.core.census();
        let damaged = self.log.damaged(None, MAX_DAMAGED_COUNTED)?;
        let at = self.clock.now();
        let mut conditions = self.of_transactions(at, &census);
        conditions.extend(damaged.first().map(|first| Condition {
            kind: "damaged",
            about: String::new(),
            number: damaged.len(),
            oldest: first.to_string(),
            since: at,
            text: "transactions are damaged: `undoubt list --damaged` shows them, `undoubt history` says how; put the data right, \
                   then `undoubt forget`"
                .to_owned(),
        }));
        conditions.extend(self.of_participants(at));
        conditions.extend(self.refusing.as_ref().map(|why| Condition {
            kind: "refusing-work",
            about: String::new(),
            number: 0,
            oldest: String::new(),
            since: at,
            text: format!("no new transactions are taken: {why}"),
        }));
        for told in self.watch.alarms.look(now, conditions) {
            told.log();
            if let Some(bell) = &self.watch.bell {
                bell.ring(told);
            }
        }
        let status = self.status(&census, damaged.len());
        self.watch.status = Some(format!(
            "{} open, {} stuck, {} damaged; {} of {} participants connected",
            status.open,
            status.stuck,
            status.damaged,
            status.connected,
            self.links.len()
        ));
        if self.watch.status_at <= now {
            self.watch.status_at = now + self.config.alarm.status_every();
            self.say_how_it_stands(status);
        }
        Ok(())
    }

    fn of_transactions(&self, at: Timestamp, census: &Census) -> Vec<Condition> {
        let waits_after = self.config.alarm.waits_after();
        let is_old =
            |counted: &Counted| counted.oldest.as_ref().is_some_and(|(begun_at, _)| at.since(*begun_at) >= waits_after);
        let unacknowledged = Some(&census.unacknowledged).filter(|counted| is_old(counted));
        let paused = Some(&census.paused).filter(|counted| is_old(counted));
        let all = [
            (
                "stuck",
                Some(&census.stuck),
                "sagas go on only with an operator: `undoubt history` of each says what refused; see to the cause, then `undoubt resolve-step`",
            ),
            (
                "unusable",
                Some(&census.unusable),
                "transactions have a record that cannot be carried out: see to their branches, then `undoubt forget`",
            ),
            (
                "unacknowledged",
                unacknowledged,
                "decided transactions wait for participants: `undoubt participants` tells who is away or does not answer",
            ),
            (
                "recovery-paused",
                paused,
                "transactions wait until `undoubt recovery resume` lets them go on, and hold locks until then",
            ),
        ];
        let condition = |(kind, counted, text): (&'static str, Option<&Counted>, &str)| {
            let Counted { number, oldest } = counted?;
            let (since, tx) = oldest.as_ref()?;
            let (about, oldest, text) = (String::new(), tx.to_string(), text.to_owned());
            Some(Condition { kind, about, number: *number, oldest, since: *since, text })
        };
        all.into_iter().filter_map(condition).collect()
    }

    fn of_participants(&self, at: Timestamp) -> Vec<Condition> {
        let away_after = self.config.alarm.away_after();
        let away = self.links.iter().filter_map(|(name, link)| match &link.state {
            LinkState::Disconnected { last_error } if at.since(link.since) >= away_after => Some(Condition {
                kind: "away",
                about: name.to_string(),
                number: self.core.open_with(name),
                oldest: String::new(),
                since: link.since,
                text: format!(
                    "there is no session with this participant ({last_error}), and what is open with it waits: start it, or mend \
                     the network to it"
                ),
            }),
            LinkState::Disconnected { .. } | LinkState::Connected { .. } => None,
        });
        away.collect()
    }

    fn status(&self, census: &Census, damaged: usize) -> Status {
        let (begun, committed, aborted) = self.figures.totals();
        let connected = self.links.values().filter(|link| matches!(link.state, LinkState::Connected { .. })).count();
        Status {
            begun,
            committed,
            aborted,
            open: self.core.open_transactions(),
            unacknowledged: census.unacknowledged.number,
            stuck: census.stuck.number,
            damaged,
            connected,
        }
    }

    fn say_how_it_stands(&mut self, status: Status) {
        let before = std::mem::replace(&mut self.watch.said, status);
        if status != before {
            tracing::info!(
                begun = status.begun - before.begun,
                committed = status.committed - before.committed,
                aborted = status.aborted - before.aborted,
                open = status.open,
                unacknowledged = status.unacknowledged,
                stuck = status.stuck,
                damaged = status.damaged,
                connected = status.connected,
                participants = self.links.len(),
                "since the last such line, and now"
            );
        }
    }
}
