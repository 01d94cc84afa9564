//! A look at what is open, now and then: what somebody has to look after is an alarm, and how it stands a line of the log.

use super::Engine;
use crate::resource::Branches;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_participant_core::Census;
use undoubt_platform::alarm::{Alarms, Bell, Condition};

/// Between two looks. Each takes some milliseconds where a hundred thousand are open.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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

/// How a participant stands, as one line says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Status {
    committed: u64,
    aborted: u64,
    open: usize,
    in_doubt: usize,
    steps_under_way: usize,
    coordinators: usize,
}

impl Watch {
    pub(super) fn new(now: Instant, status_every: Duration, bell: Option<Bell>) -> Watch {
        let (look_at, status_at) = (now + LOOK_EVERY, now + status_every);
        Watch { look_at, status_at, alarms: Alarms::default(), bell, said: Status::default(), status: None }
    }
}

impl<R: Branches> Engine<R> {
    /// Looks, if it is time to.
    pub(super) fn watch(&mut self, now: Instant) {
        if now < self.watch.look_at {
            return;
        }
        self.watch.look_at = now + LOOK_EVERY;
        let census = self.core.census();
        for told in self.watch.alarms.look(now, self.conditions(&census)) {
            told.log();
            if let Some(bell) = &self.watch.bell {
                bell.ring(told);
            }
        }
        let status = self.status(&census);
        self.watch.status = Some(format!(
            "{} branches open, {} in doubt, {} steps under way; {} coordinators connected",
            status.open, status.in_doubt, status.steps_under_way, status.coordinators
        ));
        if self.watch.status_at <= now {
            self.watch.status_at = now + self.config.alarm.status_every();
            self.say_how_it_stands(status);
        }
    }

    fn conditions(&self, census: &Census) -> Vec<Condition> {
        let at = self.clock.now();
        let plain =
            |kind, text| Condition { kind, about: String::new(), number: 0, oldest: String::new(), since: at, text };
        let waits_after = self.config.alarm.waits_after();
        let in_doubt = census.oldest_in_doubt.as_ref().filter(|(begun_at, _)| at.since(*begun_at) >= waits_after);
        let in_doubt = in_doubt.map(|(begun_at, tx)| Condition {
            kind: "in-doubt",
            about: String::new(),
            number: census.in_doubt,
            oldest: tx.to_string(),
            since: *begun_at,
            text: "branches are in doubt and keep their locks: start their coordinator, which ends that; `undoubt branches URL \
                   --in-doubt` lists them. Only where it is lost for good decide by hand with `undoubt resolve`"
                .to_owned(),
        });
        let refusing =
            self.health().refuses_work.map(|why| plain("refusing-work", format!("no new work is taken: {why}")));
        let put_back = self.core.put_back().map(|why| {
            let text = format!(
                "no coordinator is let in, for these data are believed to be an older copy ({why}): use the newest folder, or \
                 accept the loss with `undoubt accept-loss`"
            );
            plain("put-back", text)
        });
        in_doubt.into_iter().chain(refusing).chain(put_back).collect()
    }

    fn status(&self, census: &Census) -> Status {
        let (committed, aborted) = self.figures.totals();
        Status {
            committed,
            aborted,
            open: census.open,
            in_doubt: census.in_doubt,
            steps_under_way: census.steps_under_way,
            coordinators: self.core.coordinators().filter(|known| known.connected).count(),
        }
    }

    fn say_how_it_stands(&mut self, status: Status) {
        let before = std::mem::replace(&mut self.watch.said, status);
        if status != before {
            tracing::info!(
                committed = status.committed - before.committed,
                aborted = status.aborted - before.aborted,
                open = status.open,
                in_doubt = status.in_doubt,
                steps_under_way = status.steps_under_way,
                coordinators = status.coordinators,
                "since the last such line, and now"
            );
        }
    }
}
