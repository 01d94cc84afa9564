//! One plan, played on two pairs of stores: one with the sagas, one without.

use super::plan::{End, Event, Key, Plan, SIDES, Step, add};
use super::{Flaw, Met};
use crate::tests::memory::MemoryStore;
use crate::tests::world::{MemoryWorld, encoded, operation, put_of};
use crate::tests::{ANOTHER, branch};
use crate::{KeyValue, KeyValueOptions, schema};
use bytes::Bytes;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::conformance::server::{self, Server};
use undoubt_participant::resource::{Branches as _, StepId, Steps as _};
use undoubt_platform::{Direction as ScanDirection, Family};
use undoubt_proto::work::Operation;
use undoubt_vocabulary::{
    AttemptNumber, Direction, Execution, Prepare, RefusalCode, RunStep, StepOutcome, Timestamp, Vote,
};

#[derive(Clone, Copy)]
enum Stage {
    /// This step is next.
    Forward(usize),
    /// So many are left to be undone.
    Compensating(usize),
}

struct Run {
    stage: Stage,
    /// Of the steps that are done, in order.
    results: Vec<Bytes>,
    compensated_from: usize,
}

pub(super) struct Play<'p, 'w> {
    plan: &'p Plan,
    flaw: Flaw,
    servers: Vec<Server<'w, MemoryWorld<KeyValue>>>,
    without: Vec<KeyValue>,
    runs: Vec<Run>,
    /// Every message, with where it goes and for which step.
    sent: Vec<(usize, StepId, RunStep)>,
    others: u64,
    met: &'p RefCell<Met>,
}

impl<'p, 'w> Play<'p, 'w> {
    pub(super) async fn new(
        plan: &'p Plan,
        flaw: Flaw,
        worlds: &'w mut [MemoryWorld<KeyValue>],
        met: &'p RefCell<Met>,
    ) -> Result<Self, String> {
        let mut servers = Vec::new();
        for world in worlds {
            servers.push(Server::fresh(world).await);
        }
        let without = || KeyValue::new(Arc::new(MemoryStore::default()), KeyValueOptions::default());
        let without = servers.iter().map(|_| without()).collect();
        let runs =
            plan.sagas.iter().map(|_| Run { stage: Stage::Forward(0), results: Vec::new(), compensated_from: 0 });
        let (runs, sent) = (runs.collect(), Vec::new());
        let mut play = Play { plan, flaw, servers, without, runs, sent, others: 0, met };
        let slots = (0..).zip(&plan.slots).filter_map(|(slot, value)| Some((Key::Slot(slot), value.as_deref()?)));
        let held: Vec<_> = Key::counters().map(|counter| (counter, "100")).chain(slots).collect();
        for side in 0..SIDES {
            let puts = held.iter().map(|(key, value)| operation(&key.text(), put_of(value)));
            play.others_do(side, encoded(puts)).await?;
        }
        Ok(play)
    }

    pub(super) async fn event(&mut self, event: &Event) -> Result<(), String> {
        match *event {
            Event::Advance(saga) => return self.advance(usize::from(saga) % self.runs.len()).await,
            Event::Repeat(message) => {
                if let Some(message) = usize::from(message).checked_rem(self.sent.len()) {
                    self.repeat(message).await;
                }
            }
            Event::Others { side, key, delta, respectful } => {
                let respect_pending = match key {
                    Key::Counter(_) => respectful,
                    Key::Slot(_) => self.flaw != Flaw::OthersIgnoreWhatIsPending,
                };
                let work = encoded([Operation { respect_pending, ..add(key, delta) }]);
                return self.others_do(side, work).await;
            }
            Event::Crash { side } => {
                let server = self.servers.remove(side).crash().await;
                self.servers.insert(side, server);
                // No message outlives its session.
                self.sent.retain(|(to, ..)| *to != side);
            }
            Event::LowWaterMark => self.move_low_water_mark().await,
        }
        Ok(())
    }

    async fn advance(&mut self, saga: usize) -> Result<(), String> {
        let plan = &self.plan.sagas[saga];
        match self.runs[saga].stage {
            Stage::Compensating(0) => Ok(()),
            Stage::Forward(place) => {
                let (is_last, end) = (place == plan.last, plan.end);
                let action = plan.steps[place].action(place, is_last && end == End::Refused);
                let message = self.message(saga, place, Direction::Forward, action);
                if is_last && end == End::CancelledUnanswered {
                    self.compensate(saga, place + 1);
                    return Ok(());
                }
                match self.servers[message.0].run(message.2).await {
                    StepOutcome::Done { result, .. } => {
                        self.runs[saga].results.push(result);
                        self.runs[saga].stage = Stage::Forward(place + 1);
                        if is_last {
                            self.compensate(saga, place + 1);
                        }
                    }
                    StepOutcome::Refused(refusal) => {
                        self.met.borrow_mut().pending += usize::from(refusal.code == RefusalCode::Pending);
                        self.compensate(saga, place);
                    }
                    StepOutcome::Empty => return Err("an action is never empty".to_owned()),
                }
                Ok(())
            }
            Stage::Compensating(left) => {
                let place = match self.flaw {
                    Flaw::UndoesInTheOrderOfDoing => self.runs[saga].compensated_from - left,
                    Flaw::None
                    | Flaw::LeavesFirstStepInEffect
                    | Flaw::IgnoresBarriers
                    | Flaw::OthersIgnoreWhatIsPending
                    | Flaw::MovesNoLowWaterMark => left - 1,
                };
                self.runs[saga].stage = Stage::Compensating(left - 1);
                if self.flaw == Flaw::LeavesFirstStepInEffect && place == 0 {
                    return Ok(());
                }
                self.undo(saga, place, &plan.steps[place]).await
            }
        }
    }

    fn compensate(&mut self, saga: usize, left: usize) {
        self.runs[saga].stage = Stage::Compensating(left);
        self.runs[saga].compensated_from = left;
    }

    async fn undo(&mut self, saga: usize, place: usize, step: &Step) -> Result<(), String> {
        let message = self.message(saga, place, Direction::Compensating, step.compensation(place));
        let outcome = self.servers[message.0].run(message.2).await;
        let mut met = self.met.borrow_mut();
        match outcome {
            StepOutcome::Done { .. } => met.undone += 1,
            StepOutcome::Empty => met.empty += 1,
            StepOutcome::Refused(refusal) => return Err(format!("step {place} is not undone: {refusal}")),
        }
        Ok(())
    }

    /// A message that may come again from now on.
    fn message(&mut self, saga: usize, place: usize, direction: Direction, work: Bytes) -> (usize, StepId, RunStep) {
        let step = server::step(attempt_number(saga).0, place.try_into().unwrap());
        let known = self.runs[saga].results.iter().take(place);
        let run = RunStep { inputs: known.cloned().collect(), ..step.run(direction, 1, work) };
        let message = (self.plan.sagas[saga].steps[place].side, step.id, run);
        self.sent.push(message.clone());
        message
    }

    async fn repeat(&mut self, message: usize) {
        let (side, step, run) = self.sent[message].clone();
        if self.flaw == Flaw::IgnoresBarriers && run.direction == Direction::Forward {
            let ran = self.servers[side].resource().act(step, run, CancellationToken::new()).await;
            return drop(ran.unwrap());
        }
        let outcome = self.servers[side].run(run).await;
        let is_late = matches!(outcome, StepOutcome::Refused(refusal) if refusal.code == RefusalCode::Late);
        let mut met = self.met.borrow_mut();
        *(if is_late { &mut met.late } else { &mut met.repeated }) += 1;
    }

    async fn repeat_all(&mut self) {
        for message in 0..self.sent.len() {
            self.repeat(message).await;
        }
    }

    /// What a semantic lock keeps away was not done at all.
    async fn others_do(&mut self, side: usize, work: Bytes) -> Result<(), String> {
        self.others += 1;
        let with = alone(self.servers[side].resource(), self.others, work.clone()).await;
        if with == Some(RefusalCode::Pending) {
            self.met.borrow_mut().pending += 1;
            return Ok(());
        }
        let without = alone(&self.without[side], self.others, work).await;
        if with == without { Ok(()) } else { Err(format!("others are told {with:?} instead of {without:?}")) }
    }

    async fn move_low_water_mark(&mut self) {
        let open = self.runs.iter().position(|run| !matches!(run.stage, Stage::Compensating(0)));
        for server in &mut self.servers {
            server.low_water_mark(attempt_number(open.unwrap_or(self.runs.len()))).await;
        }
    }

    pub(super) async fn end(mut self) -> Result<(), String> {
        for saga in 0..self.runs.len() {
            while !matches!(self.runs[saga].stage, Stage::Compensating(0)) {
                self.advance(saga).await?;
            }
        }
        self.repeat_all().await;
        self.is_as_without()?;
        self.is_gone(schema::PENDING)?;
        if self.flaw != Flaw::MovesNoLowWaterMark {
            self.move_low_water_mark().await;
        }
        self.repeat_all().await;
        self.is_as_without()?;
        self.is_gone(schema::PENDING)?;
        self.is_gone(schema::STEP)
    }

    fn is_as_without(&self) -> Result<(), String> {
        for (server, without) in self.servers.iter().zip(&self.without) {
            let (with, without) = (all(server.resource(), schema::DATA), all(without, schema::DATA));
            if with != without {
                return Err(format!("the store holds {with:?}\ninstead of      {without:?}"));
            }
        }
        Ok(())
    }

    fn is_gone(&self, family: Family) -> Result<(), String> {
        let left: Vec<_> = self.servers.iter().flat_map(|server| all(server.resource(), family)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("left in the family {}: {left:?}", family.0)) }
    }
}

/// Sagas have their place as attempt number, from 1.
fn attempt_number(saga: usize) -> AttemptNumber {
    AttemptNumber(saga as u64 + 1)
}

/// Others' work, in one phase; answers why it was refused.
async fn alone(kv: &KeyValue, number: u64, work: Bytes) -> Option<RefusalCode> {
    let id = branch(ANOTHER, number);
    let (tx, attempt_number, begun_at) = (id.tx.clone(), id.attempt_number, Timestamp(number));
    let (timeout, execution) = (Duration::from_secs(60), Execution::OnePhase);
    let prepare = Prepare { tx, attempt_number, begun_at, timeout, execution, work };
    match kv.prepare(id, prepare, CancellationToken::new()).await.unwrap() {
        Vote::Committed { .. } => None,
        Vote::Refused(refusal) => Some(refusal.code),
        other @ (Vote::Prepared { .. } | Vote::ReadOnly { .. }) => panic!("{other:?}"),
    }
}

fn all(kv: &KeyValue, family: Family) -> Vec<(Bytes, Bytes)> {
    kv.store.scan(family, &[], None, ScanDirection::Forward, usize::MAX).unwrap()
}
