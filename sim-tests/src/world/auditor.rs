//! The end of a run, after the healing: waits until everything has come to its end, and writes down what is found.

use super::attendance::Attendance;
use super::client::{connect, options, submit};
use super::duty::Duty;
use super::shared_state::{Shared, now_us};
use super::{finals, net, operator, workload};
use crate::plan::{Host, HowResolved};
use crate::run::{CallKind, FinalOutcome, Reply, Work};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use undoubt_client::{
    BranchResolution, BranchView, Client, Filter, HeldFilter, HeldQuery, ListQuery, ParticipantClient, QueryError,
    TransactionView,
};
use undoubt_vocabulary::{
    AbortReason, BranchOutcome, CoordinatorId, InvalidId, Outcome, PartName, PartState, StepName, TransactionPhase,
    TxId,
};

/// The pause between two looks whether all is over.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// The time after which what is not over counts as never over.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// The time after which what reactions have not come to an end with counts as never at its end.
const PATIENCE_FOR_EVENTS_US: u64 = 30_000_000;

/// The auditor's number among the clients.
const AUDITOR: u8 = 0;

/// The number of times that the probe is tried while what is left over gets out of its way.
const MAX_PROBES: u32 = 5;

pub(super) async fn audit(shared: Arc<Shared>) -> turmoil::Result {
    let mut healed = shared.healed.subscribe();
    healed.wait_for(|healed| *healed).await?;
    let began = now_us();
    let auditor = Auditor::new(shared.clone());
    let patience = u64::try_from(PATIENCE.as_micros())?;
    let mut tried_again = BTreeSet::new();
    let mut duty = Duty::new(shared.clone());
    let settled = loop {
        if auditor.is_all_over(&mut tried_again, &mut duty).await {
            break Some(now_us() - began);
        }
        if now_us() - began > patience {
            break None;
        }
        sleep(LOOK_PERIOD).await;
    };
    shared.finals().settled_after_us = settled;
    auditor.note_open().await;
    if settled.is_some() {
        auditor.probe(&mut duty).await?;
    }
    if shared.plan.shape.reacts() {
        let mut attendance = Attendance::new(&shared);
        let began = now_us();
        // What has not come to its end in time is found by the checker.
        while !finals::subscriptions::is_settled(&shared) && now_us() - began < PATIENCE_FOR_EVENTS_US {
            attendance.look().await;
            attendance.start_stopped_anew(&shared).await;
            sleep(LOOK_PERIOD).await;
        }
        let listed = attendance.list().await;
        shared.finals().listed = listed;
    }
    auditor.note_outcomes().await;
    shared.audited.send_replace(true);
    Ok(())
}

struct Auditor {
    shared: Arc<Shared>,
    coordinator: Option<Client>,
    participants: BTreeMap<u8, ParticipantClient>,
}

impl Auditor {
    fn new(shared: Arc<Shared>) -> Auditor {
        let gone = shared.is_abandoned();
        let participant = |number: u8| {
            let address = net::address(Host::Participant(number));
            let channel = net::channel(move || address.clone());
            (number, ParticipantClient::with_channel(channel, options()))
        };
        let participants = (1..=shared.plan.shape.participants).map(participant).collect();
        Auditor { coordinator: (!gone).then(|| connect(&shared)), participants, shared }
    }

    /// An operator has put right what was in the way, and lets stuck steps try again. Those that are stuck even so he does
    /// without: what a lying disk brought back from the dead is refused as late for ever. What another operator has
    /// committed alone he knows to be done.
    async fn unstick(
        &self,
        coordinator: &Client,
        looked_at: u64,
        saga: &TransactionView,
        tried_again: &mut BTreeSet<(TxId, StepName)>,
    ) {
        for step in saga.branches.iter().filter(|step| step.state == Some(PartState::Stuck)) {
            let Some(name) = step.step.clone() else { continue };
            let how = match tried_again.insert((saga.tx.clone(), name)) {
                true => HowResolved::Retry,
                false if self.is_committed_alone(&saga.tx, step).await => HowResolved::Done,
                false => HowResolved::Skip,
            };
            operator::end_step(&self.shared, coordinator, looked_at, &saga.tx, step, how).await;
        }
    }

    async fn is_committed_alone(&self, tx: &TxId, step: &BranchView) -> bool {
        let Ok(Host::Participant(number)) = step.participant.as_str().parse() else { return false };
        let Some(participant) = self.participants.get(&number) else { return false };
        let Ok(held) = participant.held(&HeldQuery::of(HeldFilter::Work)).await else { return false };
        let mut branches = held.branches.iter().filter(|branch| branch.tx == *tx);
        branches.any(|branch| {
            let heuristic = branch.heuristic.as_ref();
            heuristic.is_some_and(|heuristic| heuristic.outcome == BranchOutcome::HeuristicallyCommitted)
        })
    }

    /// Clients have their answers, nothing is open at the coordinator, and nobody is in doubt.
    async fn is_all_over(&self, tried_again: &mut BTreeSet<(TxId, StepName)>, duty: &mut Duty) -> bool {
        let nobody_waits = duty.look().await;
        let clients_are_done = *self.shared.done.borrow() >= self.shared.plan.shape.clients;
        let Some(coordinator) = &self.coordinator else { return clients_are_done };
        let looked_at = self.shared.finals().retries.now();
        let open = ListQuery::of(Filter::Open).limit(100);
        let Ok(open) = coordinator.list(&open).await else { return false };
        for saga in open.transactions.iter().filter(|open| open.phase == Some(TransactionPhase::Stuck)) {
            self.unstick(coordinator, looked_at, saga, tried_again).await;
        }
        for held in open.transactions.iter().filter(|open| open.phase == Some(TransactionPhase::Unusable)) {
            self.shared.finals().held.insert(held.tx.to_string());
            // It may have been ended meanwhile; else it is listed the next time too.
            let _ = coordinator.forget(&held.tx, "operator", "it cannot be carried out").await;
        }
        let Some(present) = coordinator.describe().await.ok().and_then(|view| view.id) else { return false };
        if self.shared.plan.puts_disks_back() {
            self.release_orphans(present).await;
        }
        if !clients_are_done || !nobody_waits || !open.transactions.is_empty() {
            return false;
        }
        for participant in self.participants.values() {
            let Ok(held) = participant.held(&HeldQuery::of(HeldFilter::Work)).await else { return false };
            let open = held.branches.iter().any(|branch| {
                let reported = branch.heuristic.as_ref().is_some_and(|heuristic| heuristic.decision.is_some());
                branch.coordinator == present && !reported
            });
            if open {
                return false;
            }
        }
        true
    }

    /// An operator aborts what is in doubt for a coordinator whose disk was emptied: nobody else will ever end it.
    async fn release_orphans(&self, present: CoordinatorId) {
        for participant in self.participants.values() {
            let Ok(held) = participant.held(&HeldQuery::of(HeldFilter::InDoubt)).await else { continue };
            for orphan in held.branches.iter().filter(|branch| branch.coordinator != present) {
                // It may have been decided meanwhile, and is looked at again if not.
                let _ = participant
                    .resolve(&orphan.tx, BranchResolution::Abort, "operator", "its coordinator is no more")
                    .await;
            }
        }
    }

    async fn note_open(&self) {
        let mut present = None;
        if let Some(coordinator) = &self.coordinator {
            let open = ListQuery::of(Filter::Open).limit(1_000);
            if let Ok(open) = coordinator.list(&open).await {
                let open = open.transactions.into_iter().map(|open| (open.tx.to_string(), label(open.phase))).collect();
                self.shared.finals().open = open;
            }
            present = coordinator.describe().await.ok().and_then(|view| view.id);
        }
        for (number, participant) in &self.participants {
            let Ok(held) = participant.held(&HeldQuery::of(HeldFilter::Work)).await else { continue };
            let mut finals = self.shared.finals();
            let found = finals.participants.entry(*number).or_default();
            for branch in held.branches {
                let tx = branch.tx.to_string();
                match branch.heuristic {
                    Some(heuristic) => {
                        let committed = heuristic.outcome == undoubt_vocabulary::BranchOutcome::HeuristicallyCommitted;
                        found.heuristics.insert(tx, committed);
                    }
                    None => found.open.push(crate::run::OpenBranch {
                        tx,
                        state: branch.state,
                        orphaned_by_design: present.is_none_or(|present| present != branch.coordinator),
                    }),
                }
            }
        }
    }

    async fn note_outcomes(&self) {
        let mut works: BTreeMap<String, Work> = BTreeMap::new();
        for call in self.shared.calls() {
            match call.kind {
                CallKind::Submit(work) => drop(works.insert(call.tx, work)),
                CallKind::SubmitOther(_) | CallKind::Cancel | CallKind::Ask => {}
            }
        }
        for (name, work) in works {
            let outcome = match (&self.coordinator, name.parse::<TxId>()) {
                (Some(coordinator), Ok(tx)) => self.outcome(coordinator, &tx, &work).await,
                (None, _) | (_, Err(_)) => FinalOutcome::Unknown,
            };
            self.shared.finals().outcomes.insert(name, outcome);
        }
    }

    async fn outcome(&self, coordinator: &Client, tx: &TxId, work: &Work) -> FinalOutcome {
        match coordinator.get(tx).await {
            Ok(view) => {
                let without = done_without(&view);
                if !without.is_empty() {
                    self.shared.finals().done_without.insert(tx.to_string(), without);
                }
                match view.known.decided {
                    Some(Outcome::Committed) => FinalOutcome::Committed {
                        reads: workload::reads(work, &view.known.results, &self.shared.plan.shape),
                        damaged: view.heuristic_damage,
                    },
                    Some(Outcome::Aborted(AbortReason::GivenUp { .. } | AbortReason::Unusable { .. })) => {
                        FinalOutcome::GivenUp
                    }
                    Some(Outcome::Aborted(_)) => FinalOutcome::Aborted { damaged: view.heuristic_damage },
                    None => FinalOutcome::Unknown,
                }
            }
            Err(QueryError::NotFound { .. }) => FinalOutcome::NotFound,
            Err(
                QueryError::Refused { .. }
                | QueryError::NotOffered { .. }
                | QueryError::Unanswered(_)
                | QueryError::Malformed(_)
                | QueryError::Unexpected { .. }
                | _,
            ) => FinalOutcome::Unknown,
        }
    }

    /// Locks everything once. What is noted is the last word, or the first that was no commit.
    async fn probe(&self, duty: &mut Duty) -> turmoil::Result {
        let Some(coordinator) = &self.coordinator else { return Ok(()) };
        for (number, work) in workload::probes(&self.shared.plan.shape).iter().enumerate() {
            if !self.probe_with(coordinator, number, work, duty).await? {
                break;
            }
        }
        Ok(())
    }

    /// Returns true if it committed in the end.
    async fn probe_with(
        &self,
        coordinator: &Client,
        number: usize,
        work: &Work,
        duty: &mut Duty,
    ) -> Result<bool, InvalidId> {
        for attempt in 1..=MAX_PROBES {
            // Some learn only now what a log lacks.
            while !duty.look().await {
                sleep(LOOK_PERIOD).await;
            }
            let tx: TxId = format!("probe-{}-{attempt}", number + 1).parse()?;
            let call = self.shared.asked(AUDITOR, &tx.to_string(), CallKind::Submit(work.clone()));
            let reply = submit(&self.shared, coordinator, &tx, work).await;
            self.shared.told(call, reply.clone());
            let committed = match &reply {
                Reply::Committed(_) => true,
                Reply::Aborted(_) | Reply::Nested { .. } | Reply::Refused(_) | Reply::Unknown(_) => false,
            };
            self.shared.finals().probe = Some(reply);
            if committed {
                return Ok(true);
            }
            sleep(LOOK_PERIOD).await;
        }
        Ok(false)
    }
}

/// Steps that a saga ended without, by its record: nobody knows of one that was skipped, and one that was done by other
/// means has no results.
fn done_without(saga: &TransactionView) -> BTreeMap<u8, HowResolved> {
    let done = matches!(saga.known.decided, Some(Outcome::Committed));
    let how = |step: &BranchView| {
        let is_empty = |(part, result): (&PartName, &Bytes)| part.as_str() == step.name() && result.is_empty();
        let without_results = || saga.known.results.iter().any(is_empty);
        match step.outcome? {
            BranchOutcome::Unknown => Some(HowResolved::Skip),
            BranchOutcome::Committed if done => without_results().then_some(HowResolved::Done),
            BranchOutcome::Aborted if !done => None,
            // It was given up: left in effect, or never done.
            BranchOutcome::Committed | BranchOutcome::Aborted => Some(HowResolved::Skip),
            BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted => None,
        }
    };
    let one = |step: &BranchView| match step.participant.as_str().parse() {
        Ok(Host::Participant(number)) => Some((number, how(step)?)),
        Ok(
            Host::Coordinator
            | Host::Standby
            | Host::Database(_)
            | Host::Service(_)
            | Host::Client(_)
            | Host::Reader(_),
        )
        | Err(_) => None,
    };
    if saga.saga { saga.branches.iter().filter_map(one).collect() } else { BTreeMap::new() }
}

fn label(phase: Option<TransactionPhase>) -> String {
    phase.map_or_else(|| "unknown".to_owned(), |phase| phase.to_string())
}
