//! Branches of which a start finds no more than that they have committed, behind the participant's rules.

use super::gone_branches::ended;
use super::subject::{Attempt, COORDINATOR, Subject, attempt, done};
use super::{SharedWorld, World};
use crate::engine::inputs_of;
use crate::resource::{Branches, Ended, Recovered, Resource as _};
use std::collections::{BTreeSet, VecDeque};
use undoubt_participant_core::{Effect, Hello, Input, Limits, Participant, Proof, Session, Trust};
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, Epoch, Timestamp, ToCoordinator, ToParticipant, TxId};

const SESSION: Session = Session(1);

/// Its coordinator has aborted it, which it has not heard; and the low-water mark, which it hears first, has passed it.
pub(super) async fn what_another_hand_has_committed_is_reported_after_crashes<W: SharedWorld>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    assert!(subject.resource.others_can_commit(), "a resource that others reach says so");
    let (decided, foreign) = (attempt(1), attempt(2));
    subject.carry_out(&decided, subject.world.put("decided", "v")).await;
    subject.prepare(&foreign, subject.world.put("foreign", "v")).await;
    subject.world.end_by_another_hand(&subject.resource, &foreign.branch, true).await;

    let mut asking = Asking::restarted(subject).await;
    assert_eq!(asking.asked(), BTreeSet::from([tx(&decided), tx(&foreign)]), "what has committed is asked about");
    asking.tell(Input::LowWaterMark { session: SESSION, low_water_mark: AttemptNumber(9).into() }).await;
    let mut asking = Asking::restarted(asking.subject).await;
    assert_eq!(asking.asked(), BTreeSet::from([tx(&decided), tx(&foreign)]), "and again, as long as nobody answers");

    asking.hear(ToParticipant::Commit { tx: tx(&decided), attempt_number: decided.branch.attempt_number }).await;
    asking.tell(Input::LowWaterMark { session: SESSION, low_water_mark: AttemptNumber(10).into() }).await;
    asking.hear(aborted(&foreign)).await;
    let reported = BTreeSet::from([(tx(&foreign), BranchOutcome::HeuristicallyCommitted)]);
    let committed = (tx(&decided), BranchOutcome::Committed);
    assert_eq!(asking.finished(), reported.iter().cloned().chain([committed]).collect(), "damage is reported");

    let asking = Asking::restarted(asking.subject).await;
    assert!(!asking.asked().contains(&tx(&foreign)), "it is known by now");
    assert_eq!(asking.finished(), reported, "damage is reported until it is noted");
}

fn tx(attempt: &Attempt) -> TxId {
    attempt.branch.tx.clone()
}

fn aborted(attempt: &Attempt) -> ToParticipant {
    ToParticipant::Abort { tx: tx(attempt), attempt_number: attempt.branch.attempt_number, certain: true }
}

/// The resource under test and the core that stands before it, in one session of a coordinator that asks for nothing new.
struct Asking<'w, W: World> {
    subject: Subject<'w, W>,
    core: Participant,
    said: Vec<ToCoordinator>,
}

impl<'w, W: SharedWorld> Asking<'w, W> {
    /// Crashes, and recovers.
    async fn restarted(subject: Subject<'w, W>) -> Self {
        let (subject, recovered) = subject.crash().await;
        let limits = Limits { max_open_branches: 100, largest_kept_bytes: usize::MAX, trust: Trust::EVERYBODY };
        let mut asking = Asking { subject, core: Participant::new(limits), said: Vec::new() };
        let survived = inputs_of(Recovered { log: None, ..recovered }, asking.subject.resource.others_can_commit());
        for survived in survived {
            asking.tell(Input::Recovered(survived)).await;
        }
        let hello = Hello {
            coordinator: COORDINATOR,
            proof: Proof::default(),
            name: "conformance".to_owned(),
            epoch: Epoch(1),
            number: None,
            shown: None,
        };
        asking.tell(Input::Hello { session: SESSION, hello }).await;
        asking
    }

    /// Returns the transactions about which it has asked.
    fn asked(&self) -> BTreeSet<TxId> {
        let inquiries = self.said.iter().filter(|said| matches!(said, ToCoordinator::Inquiry { .. }));
        inquiries.map(|inquiry| inquiry.tx().clone()).collect()
    }

    /// Returns what it has said of branches that are over.
    fn finished(&self) -> BTreeSet<(TxId, BranchOutcome)> {
        let finished = |said: &ToCoordinator| match said {
            ToCoordinator::Finished { tx, outcome, .. } => Some((tx.clone(), *outcome)),
            ToCoordinator::Inquiry { .. }
            | ToCoordinator::Vote { .. }
            | ToCoordinator::Confirmed { .. }
            | ToCoordinator::Ran { .. }
            | ToCoordinator::Closed { .. } => None,
        };
        self.said.iter().filter_map(finished).collect()
    }

    async fn hear(&mut self, message: ToParticipant) {
        self.tell(Input::Message { session: SESSION, message }).await;
    }

    /// Carries out whatever follows from it.
    async fn tell(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.core.handle_input(input, &mut effects);
            for effect in effects {
                inputs.extend(self.carry_out(effect).await);
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        let resource = &self.subject.resource;
        match effect {
            Effect::RecordEpoch { session, coordinator, epoch, pin } => {
                done("record_epoch", resource.record_epoch(coordinator, epoch, pin)).await;
                Some(Input::EpochRecorded { session })
            }
            Effect::Abort { branch } => Some(match ended(async || resource.abort(branch.clone()).await).await {
                Ended::AsTold => Input::Aborted { branch },
                Ended::Gone => Input::Gone { branch, at: Timestamp(1) },
            }),
            Effect::StoreHeuristic { branch, begun_at, heuristic } => {
                done("store_heuristic", resource.store_heuristic(branch, begun_at, heuristic)).await;
                None
            }
            Effect::Collect { coordinator, low_water_mark } => {
                done("collect", resource.collect(coordinator, low_water_mark)).await;
                None
            }
            Effect::Send { message, .. } => {
                self.said.push(message);
                None
            }
            Effect::Welcome { .. } | Effect::RememberSeen { .. } | Effect::RememberName { .. } => None,
            Effect::RunAction { .. }
            | Effect::FinishStep { .. }
            | Effect::RecallOutcome { .. }
            | Effect::StoreEmpty { .. }
            | Effect::CloseSaga { .. }
            | Effect::ReleaseMarks { .. }
            | Effect::Answer { .. }
            | Effect::Close { .. }
            | Effect::StorePutBack { .. }
            | Effect::AcceptLoss { .. }
            | Effect::RecordPin { .. }
            | Effect::Execute { .. }
            | Effect::Settle { .. }
            | Effect::Cancel { .. }
            | Effect::Confirm { .. }
            | Effect::Commit { .. }
            | Effect::Release { .. }
            | Effect::Resolve { .. }
            | Effect::ForgetHeuristic { .. }
            | Effect::RecallVote { .. }
            | Effect::CancelAction { .. } => unreachable!("nothing is asked for but answers to inquiries"),
        }
    }
}
