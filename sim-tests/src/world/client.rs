//! Applications: the real client library, and a memory of everything that was promised.

mod family;
mod open_saga;

use super::net;
use super::shared_state::Shared;
use super::workload;
use crate::plan::{Mode, MovedBy, Shape};
use crate::random::random;
use crate::run::{CallKind, Reply, Work};
use family::Carrier;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use undoubt_client::{Answer, CancelError, Client, ClientOptions, QueryError, SubmitError, WaitError};
use undoubt_platform::{Random, SeededRandom};
use undoubt_vocabulary::{AbortReason, InvalidId, Outcome, TxId};

/// The number of times that a client asks again after its library has given up.
const MAX_ROUNDS: u32 = 30;

/// The time for which a client leaves a stuck saga alone, until it asks whether an operator has had a look.
const AFTER_STUCK: Duration = Duration::from_secs(1);

/// The share of transactions by two-phase commit that meet sagas where services are called, in percent.
const MEETS_SAGAS: u64 = 25;

/// Submits one transaction after the other, until it has done all or the world is healed.
pub(super) async fn apply(shared: Arc<Shared>, number: u8) -> turmoil::Result {
    let client = connect(&shared);
    let random = random(shared.plan.seed, &format!("client {number}"));
    let mut application = Application { shared: shared.clone(), number, client, random };
    for count in 1..=shared.plan.shape.transactions_per_client {
        let think_ms = application.random.below(shared.plan.shape.think_ms + 1);
        sleep(Duration::from_millis(think_ms)).await;
        if *shared.healed.borrow() {
            break;
        }
        let mode = application.mode();
        let tx: TxId = format!("{}{number}-{count}", mode.letter()).parse()?;
        application.one(&tx, mode).await?;
    }
    shared.done.send_modify(|done| *done += 1);
    Ok(())
}

/// Returns a client of whichever coordinator is the one to talk to.
pub(super) fn connect(shared: &Arc<Shared>) -> Client {
    let towards = shared.clone();
    let channel = net::channel(move || net::address(towards.primary()));
    Client::with_channel(channel, options())
}

pub(super) fn options() -> ClientOptions {
    ClientOptions::default()
        .deadline(Duration::from_secs(5))
        .attempt_timeout(Duration::from_millis(2_500))
        .connect_timeout(Duration::from_millis(500))
        .backoff(Duration::from_millis(20), Duration::from_millis(500))
}

struct Application {
    shared: Arc<Shared>,
    number: u8,
    client: Client,
    random: SeededRandom,
}

impl Application {
    fn mode(&self) -> Mode {
        if let Some(only) = self.shared.plan.shape.only {
            return only;
        }
        match self.shared.plan.shape.trips.as_ref().and_then(|trips| trips.alone) {
            Some(MovedBy::Events) => return Mode::TwoPhase,
            Some(MovedBy::Coordinator) => return Mode::Saga,
            None => {}
        }
        let percent = u64::from(self.shared.plan.shape.sagas_percent);
        let shape = &self.shared.plan.shape;
        let open = if shape.databases.is_empty() { u64::from(shape.open_sagas_percent) } else { 0 };
        match self.random.below(100) {
            dice if dice >= 100 - open && dice % 3 == 0 => Mode::OpenTwoPhase,
            dice if dice >= 100 - open => Mode::OpenSaga,
            dice if dice < percent / 2 => Mode::GuardedSaga,
            dice if dice < percent => Mode::Saga,
            // A request is a step's, or a branch's: no work over HTTP is both.
            dice if dice < 2 * percent && !shape.services.is_empty() => Mode::Saga,
            dice if dice < 2 * percent => Mode::Auto,
            _ => Mode::TwoPhase,
        }
    }

    /// Returns true if a transaction by two-phase commit does what sagas do, on their accounts, so that steps meet what is held: auto
    /// has it so where there are no services.
    fn meets_sagas(&self) -> bool {
        let shape = &self.shared.plan.shape;
        !shape.services.is_empty() && shape.only.is_none() && self.random.below(100) < MEETS_SAGAS
    }

    async fn one(&mut self, tx: &TxId, mode: Mode) -> Result<(), InvalidId> {
        let shape = &self.shared.plan.shape;
        if let Some(trips) = shape.trips.as_ref().filter(|trips| trips.alone.is_some()) {
            let work = workload::trips::work(trips);
            self.insist(tx, &work, None).await;
            return Ok(());
        }
        let work = match mode {
            Mode::Saga | Mode::GuardedSaga | Mode::Auto | Mode::OpenSaga if shape.only.is_none() => {
                workload::draw_saga(&self.random, shape)
            }
            Mode::TwoPhase | Mode::OpenTwoPhase if self.meets_sagas() => workload::draw_saga(&self.random, shape),
            Mode::TwoPhase | Mode::OpenTwoPhase | Mode::Saga | Mode::GuardedSaga | Mode::Auto | Mode::OpenSaga => {
                workload::draw(&self.random, shape)
            }
        };
        let family = self.family(tx, mode, &work)?;
        let family = family.as_ref();
        match self.random.below(100) {
            0..6 => {
                let cancel = self.cancel_soon(tx.clone());
                self.insist(tx, &work, family).await;
                // It ends by its own deadline.
                let _ = cancel.await;
            }
            6..12 => {
                self.insist(tx, &work, family).await;
                self.insist(tx, &work, family).await;
            }
            12..15 => {
                self.insist(tx, &work, family).await;
                self.submit_other(tx, &work).await;
            }
            15..20 => {
                self.insist(tx, &work, family).await;
                self.ask(tx, &work).await;
            }
            _ => self.insist(tx, &work, family).await,
        }
        if let Some(family) = family {
            family.wait_for_others().await;
        }
        Ok(())
    }

    /// Returns those that are nested in an open saga, with who carries them out, if some are.
    fn family(&self, tx: &TxId, mode: Mode, work: &Work) -> Result<Option<Carrier>, InvalidId> {
        let shape = &self.shared.plan.shape;
        let percent = u64::from(shape.nested_sagas_percent);
        if mode != Mode::OpenSaga || shape.only.is_some() || percent == 0 || self.random.below(100) >= percent {
            return Ok(None);
        }
        let family = workload::family::draw(&self.random, shape, tx, work.clone())?;
        Ok(Some(Carrier::new(self.shared.clone(), self.client.clone(), self.number, family)))
    }

    /// Submits it again and again until the outcome is known.
    async fn insist(&mut self, tx: &TxId, work: &Work, family: Option<&Carrier>) {
        for _ in 0..MAX_ROUNDS {
            if family.is_some_and(Carrier::is_dead) {
                return;
            }
            let call = self.shared.asked(self.number, &tx.to_string(), CallKind::Submit(work.clone()));
            let reply = match (Mode::of(&tx.to_string()), family) {
                (Mode::OpenSaga, Some(family)) => family.carry_out().await,
                (Mode::OpenSaga, None) => open_saga::carry_out(&self.client, tx, work, &self.shared.plan.shape).await,
                (Mode::OpenTwoPhase, _) => open_saga::commit(&self.client, tx, work, &self.shared.plan.shape).await,
                (Mode::TwoPhase | Mode::Saga | Mode::GuardedSaga | Mode::Auto, _) => {
                    submit(&self.shared, &self.client, tx, work).await
                }
            };
            let known = match &reply {
                Reply::Committed(_) | Reply::Aborted(_) => true,
                Reply::Nested { .. } => false,
                Reply::Refused(_) | Reply::Unknown(_) => reply == Reply::given_up(),
            };
            self.shared.told(call, reply);
            if known || (*self.shared.healed.borrow() && self.shared.is_abandoned()) {
                return;
            }
            sleep(Duration::from_millis(100 + self.random.below(400))).await;
        }
    }

    async fn submit_other(&mut self, tx: &TxId, work: &Work) {
        let other = workload::other(work);
        let call = self.shared.asked(self.number, &tx.to_string(), CallKind::SubmitOther(other.clone()));
        let reply = submit(&self.shared, &self.client, tx, &other).await;
        self.shared.told(call, reply);
    }

    async fn ask(&mut self, tx: &TxId, work: &Work) {
        let call = self.shared.asked(self.number, &tx.to_string(), CallKind::Ask);
        let reply = match self.client.wait(tx).await {
            Ok(answer) => decided(&answer, work, &self.shared.plan.shape),
            Err(error @ WaitError::Query(QueryError::NotFound { .. } | QueryError::Refused { .. })) => {
                Reply::Refused(error.to_string())
            }
            Err(error) => Reply::Unknown(error.to_string()),
        };
        self.shared.told(call, reply);
    }

    fn cancel_soon(&mut self, tx: TxId) -> JoinHandle<()> {
        let pause = Duration::from_millis(self.random.below(80));
        cancel_after(pause, self.shared.clone(), self.client.clone(), self.number, tx)
    }
}

fn cancel_after(pause: Duration, shared: Arc<Shared>, client: Client, number: u8, tx: TxId) -> JoinHandle<()> {
    tokio::spawn(async move {
        sleep(pause).await;
        let call = shared.asked(number, &tx.to_string(), CallKind::Cancel);
        let reply = match client.cancel(&tx).await {
            Ok(known) => open_saga::of_known(known),
            Err(
                error @ (CancelError::TooLate { .. }
                | CancelError::Query(QueryError::NotFound { .. } | QueryError::Refused { .. })),
            ) => Reply::Refused(error.to_string()),
            Err(error) => Reply::Unknown(error.to_string()),
        };
        shared.told(call, reply);
    })
}

pub(super) async fn submit(shared: &Shared, client: &Client, tx: &TxId, work: &Work) -> Reply {
    let shape = &shared.plan.shape;
    match client.submit(workload::submission(tx, work, shape)).await {
        Ok(answer) => decided(&answer, work, shape),
        Err(
            error @ (SubmitError::Invalid(_)
            | SubmitError::Refused { .. }
            | SubmitError::UnknownParticipant { .. }
            | SubmitError::IdReused { .. }
            | SubmitError::NotOffered { .. }
            | SubmitError::NotAccepted { .. }),
        ) => Reply::Refused(error.to_string()),
        Err(error @ SubmitError::Stuck { .. }) => {
            // There is no sense in asking again before an operator has had a look.
            sleep(AFTER_STUCK).await;
            Reply::Unknown(error.to_string())
        }
        Err(
            error @ (SubmitError::OutcomeUnknown { .. }
            // Its record may be one that cannot be carried out, of work that was begun.
            | SubmitError::NotPossible { .. }
            | SubmitError::Malformed { .. }
            | SubmitError::Unexpected { .. }
            | _),
        ) => Reply::Unknown(error.to_string()),
    }
}

fn decided(answer: &Answer, work: &Work, shape: &Shape) -> Reply {
    if answer.provisional {
        return Reply::Nested { closed: true };
    }
    match &answer.outcome {
        Outcome::Committed => Reply::Committed(workload::reads(work, &answer.results, shape)),
        Outcome::Aborted(reason) => aborted(reason),
    }
}

fn aborted(reason: &AbortReason) -> Reply {
    match reason {
        AbortReason::GivenUp { .. } | AbortReason::Unusable { .. } => Reply::given_up(),
        AbortReason::Refused { .. }
        | AbortReason::DeadlinePassed { .. }
        | AbortReason::Unanswered { .. }
        | AbortReason::ReadLocksLost { .. }
        | AbortReason::NotExecuted { .. }
        | AbortReason::Cancelled
        | AbortReason::TooMuch { .. }
        | AbortReason::Presumed => Reply::Aborted(reason.label().to_owned()),
    }
}
