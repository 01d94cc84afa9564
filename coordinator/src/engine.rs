//! The one task that owns the core.
//!
//! Each round takes all commands that are queued, lets the core answer them, and carries its effects out in bulk: one
//! write for all records, one hand-over to each session. While a write is under way, records gather for the next; while
//! too much has gathered, no commands are taken, and whoever brings more waits.

mod attention;
mod changes;
mod collection;
mod commands;
mod effects;
mod followed;
pub(crate) mod handle;
mod links;
mod lookout;
mod recovered_transactions;
mod standing;
mod submissions;
mod traced;
mod writes;

use crate::config::Config;
use crate::history::Histories;
use crate::limits::Holders;
use crate::log::{Apart, Found, Log, LogError};
use crate::metrics::Figures;
use crate::retention::Retention;
use crate::timers::Timers;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use undoubt_coordinator_core::{Client, Coordinator, Effect, Input, Limits, Part, Phase};
use undoubt_platform::alarm::Bell;
use undoubt_platform::audit::{Audit, Origin};
use undoubt_platform::pulse::Pulse;
use undoubt_platform::{Access, Clock, CrashPoints, Random, Room, StoreError, Traces};
use undoubt_vocabulary::{Epoch, ParticipantName, TxId};

use collection::Collection;
use followed::Followed;
use recovered_transactions::CarriedOn;
use traced::TracedTransactions;

pub(crate) use changes::Addresses;
pub(crate) use commands::{Command, Replied, Reply, View};
pub(crate) use followed::Following;
pub(crate) use handle::{Handle, Queued};
pub(crate) use links::{Link, LinkState};
pub(crate) use submissions::{NewStep, NewTransaction, Opening};
pub(crate) use writes::MAX_GATHERING_BYTES;

/// Commands that may wait for the engine; whoever brings more waits.
pub(crate) const MAX_QUEUED_COMMANDS: usize = 16_384;

/// Commands taken in one round, so that no round grows without bound.
const MAX_COMMANDS_PER_ROUND: usize = 4_096;

/// The period in which the engine looks after itself: room on the device, retention, low-water marks of idle sessions.
const HOUSEKEEPING_PERIOD: Duration = Duration::from_millis(250);

pub(crate) struct Engine {
    core: Coordinator,
    figures: Arc<Figures>,
    watch: lookout::Watch,
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    crash: CrashPoints,
    pulse: Pulse,
    log: Log,
    audit: Arc<Audit>,
    apart: Apart,
    writes: writes::Writes,
    histories: Histories,
    traced: TracedTransactions,
    carried_on: CarriedOn,
    /// The parts of open transactions that participants have lost which were put back.
    lost: BTreeMap<TxId, Vec<Part>>,
    retention: Retention,
    collection: Collection,
    timers: Timers,
    links: BTreeMap<ParticipantName, Link>,
    /// The clients that wait for an answer, with their transactions.
    clients: BTreeMap<Client, (TxId, Reply)>,
    next_client: u64,
    /// The source of limits per identity, the takings of each, and the moment from which time is counted there.
    access: Access,
    holders: Holders,
    began: Instant,
    /// The submission that is being put to the core, and its origin.
    submitting: Option<(TxId, Origin)>,
    /// The operator's request that is being put to the core: what he wants done, who he is, and why.
    operator_is_doing: Option<String>,
    commands: mpsc::Receiver<Queued>,
    /// True while writes that are under way are about to make room for more results.
    pressed: tokio::sync::watch::Sender<bool>,
    /// The reason why no new transactions are taken, though the core would.
    refusing: Option<String>,
    effects: Vec<Effect>,
    followed: Followed,
    /// Records that were too large to be written, which the core has yet to hear.
    not_appended: Vec<Input>,
    /// The answers in the place of participants that lack an ability, which the core has yet to hear.
    answers_for_others: Vec<Input>,
    /// Held by whoever waits for the end of a drain; dropped with the engine.
    drained: Option<tokio::sync::watch::Sender<bool>>,
}

/// The parts that an engine is made of.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) crash: CrashPoints,
    pub(crate) log: Log,
    pub(crate) audit: Arc<Audit>,
    pub(crate) epoch: Epoch,
    pub(crate) figures: Arc<Figures>,
    pub(crate) bell: Option<Bell>,
    pub(crate) traces: Traces,
    /// The participants, and where each is called.
    pub(crate) participants: BTreeMap<ParticipantName, String>,
    pub(crate) access: Access,
    pub(crate) pulse: Pulse,
}

impl Engine {
    /// Folds the log into a core that serves once it is cleared.
    pub(crate) fn recover(
        parts: Parts,
        drained: tokio::sync::watch::Sender<bool>,
    ) -> Result<(Engine, Handle), LogError> {
        let Parts {
            config,
            clock,
            random,
            crash,
            log,
            audit,
            epoch,
            figures,
            bell,
            traces,
            participants,
            access,
            pulse,
        } = parts;
        let (handle, commands) = Handle::new(MAX_QUEUED_COMMANDS);
        let retained = Duration::from_secs(config.retention_s);
        let retention = Retention::new(retained, log.oldest_end()?, Instant::now(), clock.now());
        let limits = Limits {
            max_open_transactions: config.max_open_transactions,
            max_begun_transactions: config.max_begun_transactions,
            max_open_bytes: config.max_open_bytes,
            max_gathered_bytes: config.max_gathered_bytes,
            breaker_threshold: config.breaker_threshold,
            breaker_pause: Duration::from_millis(config.breaker_pause_ms),
            old_after_attempts: config.open_saga_old_after_attempts,
        };
        let mut engine = Engine {
            core: Coordinator::new(epoch, limits),
            figures,
            watch: lookout::Watch::new(Instant::now(), config.alarm.status_every(), bell),
            pressed: handle.pressed(),
            apart: Apart::default(),
            writes: writes::Writes::new(Duration::from_millis(config.lazy_flush_ms), log.max_batch_bytes()),
            histories: Histories::new(epoch),
            traced: TracedTransactions::new(traces, &config.name, epoch),
            carried_on: CarriedOn::default(),
            lost: log.lost()?,
            retention,
            collection: Collection::new(Instant::now()),
            timers: Timers::default(),
            links: participants.into_iter().map(|(name, at)| (name, Link::new(at, clock.now()))).collect(),
            clients: BTreeMap::new(),
            next_client: 0,
            holders: Holders::new(config.limits.clone(), access.limits(), config.max_open_transactions),
            access,
            began: Instant::now(),
            submitting: None,
            operator_is_doing: None,
            commands,
            refusing: None,
            effects: Vec::new(),
            followed: handle.followed().clone(),
            not_appended: Vec::new(),
            answers_for_others: Vec::new(),
            drained: Some(drained),
            config,
            clock,
            random,
            crash,
            pulse,
            log,
            audit,
        };
        let (open, apart) = engine.log.unfinished_and_separate_parts()?;
        engine.apart = apart;
        let recovered = open.len();
        engine.figures.recovered(recovered);
        let now = engine.clock.now();
        for Found { unfinished, history, traced } in open {
            if let Some(traced) = traced {
                engine.traced.recover(now, unfinished.tx(), unfinished.begun_at(), &traced);
            }
            engine.carried_on.add(&unfinished);
            engine.histories.restore(unfinished.tx().clone(), &history);
            engine.handle_input(Input::Recovered(unfinished))?;
        }
        engine.forget_lost_of_what_is_over();
        engine.look_after_room()?;
        engine.carried_on.tell();
        for name in engine.core.with_open().filter(|name| !engine.links.contains_key(*name)) {
            let open = engine.core.open_with(name);
            tracing::warn!(participant = %name, open, "{}", crate::operator::NOT_CONFIGURED);
        }
        tracing::info!(recovered, epoch = epoch.0, "the whole log was read");
        Ok((engine, handle))
    }

    /// Serves until it is told to stop, or storage fails.
    pub(crate) async fn run(mut self) -> Result<(), LogError> {
        let mut commands = Vec::with_capacity(MAX_COMMANDS_PER_ROUND);
        let mut housekeeping = Instant::now() + HOUSEKEEPING_PERIOD;
        let heart = self.pulse.begin();
        loop {
            // Before the coordinator may speak nothing goes on.
            let serves = self.core.phase() != Phase::Recovering;
            let due = self.timers.next_due().filter(|_| serves);
            let wake_at = due.map_or(housekeeping, |due| due.min(housekeeping));
            tokio::select! {
                biased;
                written = self.writes.next() => self.handle_written(written?)?,
                taken = self.commands.recv_many(&mut commands, MAX_COMMANDS_PER_ROUND), if !self.writes.are_full() => {
                    if taken == 0 {
                        return self.finish().await;
                    }
                    for Queued { command, .. } in commands.drain(..) {
                        self.handle_command(command)?;
                    }
                }
                () = tokio::time::sleep_until(wake_at) => {}
            }
            let now = Instant::now();
            while serves && let Some((tx, attempt_number, timer)) = self.timers.take_due(now) {
                self.handle_input(Input::Fired { tx, attempt_number, timer })?;
            }
            if now >= housekeeping {
                housekeeping = now + HOUSEKEEPING_PERIOD;
                self.keep_house()?;
                heart.beat();
                self.watch.status.take().into_iter().for_each(|status| heart.say(status));
            }
            self.flush();
            let pressed = self.writes.are_full() || self.core.is_about_to_have_room();
            self.pressed.send_if_modified(|before| std::mem::replace(before, pressed) != pressed);
        }
    }

    /// Handles one input, with all look-ups it leads to. Effects gather until [`Engine::flush`].
    fn handle_input(&mut self, input: Input) -> Result<(), LogError> {
        let now = self.clock.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle_input(now, input, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(now, effect)?;
        }
        self.effects = effects;
        match self.not_appended.pop().or_else(|| self.answers_for_others.pop()) {
            Some(input) => self.handle_input(input),
            None => Ok(()),
        }
    }

    fn keep_house(&mut self) -> Result<(), LogError> {
        self.look_after_room()?;
        self.let_go_of_those_who_left(|_| true)?;
        let now = Instant::now();
        let horizon = self.retention.horizon(now, self.clock.now());
        // Else they would pile up behind a write that takes long.
        if !self.writes.are_collecting() {
            let dropped = self.collection.round(&self.log, horizon, now)?;
            if let Some(latest) = self.collection.latest() {
                self.handle_input(Input::Forgotten { latest })?;
            }
            self.writes.add_collected(dropped);
        }
        self.watch(now)?;
        self.carried_on.remind(Instant::now());
        self.let_go_of_those_taken_out()?;
        self.holders.set_by_name(self.access.limits());
        self.holders.forget_idle(now - self.began);
        for (name, link) in &self.links {
            link.nudge(self.core.low_water_mark(name));
        }
        if self.core.phase() == Phase::Draining
            && self.core.open_transactions() == self.core.idle()
            && let Some(drained) = &self.drained
        {
            drained.send_replace(true);
        }
        Ok(())
    }

    fn look_after_room(&mut self) -> Result<(), LogError> {
        let lack = |room: Room| room.lack(self.config.min_free_bytes);
        let not_now = |cause: &str| format!("the log cannot be written now ({cause})");
        let reason = match (self.writes.put_off(), self.log.room()) {
            (Some(cause), _) => Some(not_now(cause)),
            (None, Ok(room)) => lack(room),
            (None, Err(StoreError::DiskFull { .. })) => lack(Room::NONE),
            (None, Err(StoreError::Unavailable { cause })) => Some(not_now(&cause)),
            (None, Err(error)) => return Err(error.into()),
        };
        if reason.is_some() != self.refusing.is_some() {
            match &reason {
                Some(why) => tracing::error!(%why, "no new transactions are taken"),
                None => tracing::info!("there is room again, and the log can be written: new transactions are taken"),
            }
        }
        self.refusing = reason;
        Ok(())
    }

    /// Makes stable what was written.
    async fn finish(mut self) -> Result<(), LogError> {
        self.writes.hurry();
        self.flush();
        while !self.writes.is_idle() {
            let written = self.writes.next().await?;
            self.handle_written(written)?;
            self.flush();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
