//! The facts of a run about each transaction, put together for the checkers.

use super::losses;
use crate::plan::{Host, HowResolved, Mode};
use crate::run::{Call, CallKind, FinalOutcome, Op, Participant, Reads, Reply, Run, Work};
use crate::trace::Event;
use std::collections::{BTreeMap, BTreeSet};

/// One transaction and all that clients asked and heard about it.
#[derive(Clone, Debug)]
pub(super) struct Transaction<'a> {
    pub(super) tx: &'a str,
    run: &'a Run,
    calls: Vec<&'a Call>,
    /// The hosts that have lost something of it, because an earlier state of a disk was put back.
    lost_at: BTreeSet<Host>,
}

/// Returns all that were submitted.
pub(super) fn transactions(run: &Run) -> BTreeMap<&str, Transaction<'_>> {
    let mut all: BTreeMap<&str, Transaction> = BTreeMap::new();
    for call in &run.calls {
        let tx = call.tx.as_str();
        let new = || Transaction { tx, run, calls: Vec::new(), lost_at: BTreeSet::new() };
        all.entry(tx).or_insert_with(new).calls.push(call);
    }
    for (host, tx) in losses::accounted(run) {
        if let Some(transaction) = all.get_mut(tx) {
            transaction.lost_at.insert(host);
        }
    }
    all.retain(|_, transaction| transaction.calls.iter().any(|call| submitted(call).is_some()));
    all
}

fn submitted(call: &Call) -> Option<&Work> {
    match &call.kind {
        CallKind::Submit(work) | CallKind::SubmitOther(work) => Some(work),
        CallKind::Cancel | CallKind::Ask => None,
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn calls(&self) -> impl Iterator<Item = &'a Call> + '_ {
        self.calls.iter().copied()
    }

    /// Returns what it was to do; `None` if every submission was refused.
    ///
    /// Two contents may compete for an id only while no outcome of the first was told: its attempt may have left no
    /// trace. Then the one that was told committed counts, else the one whose marks are there, else the first.
    pub(super) fn work(&self) -> Option<&'a Work> {
        let counts = |call: &&&Call| match call.kind {
            CallKind::Submit(_) => !matches!(call.reply, Reply::Refused(_)),
            CallKind::SubmitOther(_) => !matches!(call.reply, Reply::Refused(_)) && !self.has_to_be_refused(call),
            CallKind::Cancel | CallKind::Ask => false,
        };
        let candidates: Vec<&Call> = self.calls.iter().filter(counts).copied().collect();
        let committed = candidates.iter().find(|call| matches!(call.reply, Reply::Committed(_)));
        let marked = || candidates.iter().find(|call| submitted(call).is_some_and(|work| self.marks_are_of(work)));
        committed.or_else(marked).or(candidates.first()).and_then(|call| submitted(call))
    }

    /// Returns true if it is other work under an id whose outcome a client knew already.
    pub(super) fn has_to_be_refused(&self, other: &Call) -> bool {
        matches!(other.kind, CallKind::SubmitOther(_))
            && self.calls.iter().any(|call| {
                matches!(call.kind, CallKind::Submit(_))
                    && matches!(call.reply, Reply::Committed(_) | Reply::Aborted(_))
                    && call.told_us.is_some_and(|told_us| told_us < other.asked_us)
            })
    }

    fn marks_are_of(&self, work: &Work) -> bool {
        let marked: BTreeSet<Participant> = self.marked().collect();
        !marked.is_empty() && writers(work).collect::<BTreeSet<_>>() == marked
    }

    /// Returns every content under this id, whether it counts or not.
    pub(super) fn contents(&self) -> impl Iterator<Item = &'a Work> + '_ {
        self.calls().filter_map(submitted)
    }

    pub(super) fn marked(&self) -> impl Iterator<Item = Participant> + '_ {
        let finals = self.run.finals.participants.iter();
        finals.filter(|(_, found)| found.marks.contains(self.tx)).map(|(participant, _)| *participant)
    }

    /// Returns whether its branch took effect; `None` while that is open, or if the participant could not be looked at.
    pub(super) fn took_effect(&self, participant: Participant) -> Option<bool> {
        let found = self.run.finals.participants.get(&participant)?;
        let marked = found.marks.contains(self.tx);
        let open = found.open.iter().any(|branch| branch.tx == self.tx && !is_resolved(&branch.state));
        (marked || !open).then_some(marked)
    }

    /// Returns what an operator decided alone at this participant: `true` is commit.
    pub(super) fn heuristic(&self, participant: Participant) -> Option<bool> {
        self.run.finals.participants.get(&participant)?.heuristics.get(self.tx).copied()
    }

    /// Returns true if somebody else ended a branch of it, rightly or not: what it wrote there came into effect, or its
    /// locks were free, before it was decided.
    pub(super) fn has_met_other_hands(&self) -> bool {
        self.run.finals.participants.values().any(|found| found.ended_by_others.contains(self.tx))
    }

    /// Returns true if its work may be there twice: somebody else committed its branch, and auto went on as a saga.
    pub(super) fn may_be_there_twice(&self, participant: Participant) -> bool {
        let found = self.run.finals.participants.get(&participant);
        Mode::of(self.tx) == Mode::Auto && found.is_some_and(|found| found.ended_by_others.contains(self.tx))
    }

    pub(super) fn has_heuristics(&self) -> bool {
        self.run.finals.participants.keys().any(|participant| self.heuristic(*participant).is_some())
    }

    /// An operator passed over its step at this participant: by the coordinator's record, or by his own word where no
    /// record can say it.
    pub(super) fn is_passed_over(&self, participant: Participant) -> bool {
        let finals = &self.run.finals;
        let on_record = finals.done_without.get(self.tx).is_some_and(|without| without.contains_key(&participant));
        let by_his_word = match self.outcome() {
            // Of what its caller does himself there are no results, whoever completes it.
            FinalOutcome::Committed { .. } => (Mode::of(self.tx) == Mode::OpenSaga).then_some(HowResolved::Done),
            // Of what was undone it is not recorded who did it.
            FinalOutcome::Aborted { .. } => Some(HowResolved::Done),
            FinalOutcome::GivenUp | FinalOutcome::NotFound | FinalOutcome::Unknown => {
                return on_record || self.claims(participant).next().is_some();
            }
        };
        on_record || self.claims(participant).any(|how| Some(how) == by_his_word)
    }

    fn claims(&self, participant: Participant) -> impl Iterator<Item = HowResolved> + '_ {
        let claims = self.run.finals.passed_over.iter();
        claims.filter(move |claim| claim.tx == self.tx && claim.participant == participant).map(|claim| claim.how)
    }

    /// Its record says that a step was skipped: nobody knows what became of that.
    pub(super) fn has_skipped(&self) -> bool {
        let without = self.run.finals.done_without.get(self.tx);
        without.is_some_and(|without| without.values().any(|how| *how == HowResolved::Skip))
    }

    /// A lying disk has destroyed acknowledged records of it, or of all; or the coordinator has lost its own, as is known.
    pub(super) fn is_excused(&self) -> bool {
        let finals = &self.run.finals;
        finals.excused_epochs || finals.excused.contains(self.tx) || self.lost_at.contains(&Host::Coordinator)
    }

    /// The participant has lost its part of it, as is known.
    pub(super) fn is_lost_at(&self, participant: Participant) -> bool {
        self.lost_at.contains(&Host::Participant(participant))
    }

    pub(super) fn is_lost_somewhere(&self) -> bool {
        !self.lost_at.is_empty()
    }

    pub(super) fn outcome(&self) -> &'a FinalOutcome {
        self.run.finals.outcomes.get(self.tx).unwrap_or(&FinalOutcome::Unknown)
    }

    /// Returns whether it was decided to commit; `None` if the coordinator does not say.
    pub(super) fn decision(&self) -> Option<bool> {
        match self.outcome() {
            FinalOutcome::Committed { .. } => Some(true),
            FinalOutcome::Aborted { .. } => Some(false),
            FinalOutcome::NotFound => (!self.may_be_collected()).then_some(false),
            FinalOutcome::GivenUp | FinalOutcome::Unknown => None,
        }
    }

    /// Returns whether a nested saga's step was completed there; `None` if that was not to leave a mark, or could not be looked at.
    pub(super) fn was_completed(&self, participant: Participant) -> Option<bool> {
        if !Mode::has_completions(self.tx) || self.run.plan.shape.services.contains(&participant) {
            return None;
        }
        let found = self.run.finals.participants.get(&participant)?;
        self.took_effect(participant).map(|_| found.completed.contains(self.tx))
    }

    /// Returns true if it may have been carried out as a saga, and its coordinator went for good before it had ended
    /// (P8).
    pub(super) fn is_unfinished_saga(&self) -> bool {
        let told = self.told_committed_us().or(self.told_aborted_us());
        !Mode::of(self.tx).is_two_phase() && coordinator_is_gone(self.run) && told.is_none()
    }

    /// Returns when a client asked for it first.
    pub(super) fn asked_us(&self) -> u64 {
        self.calls.iter().filter(|call| submitted(call).is_some()).map(|call| call.asked_us).min().unwrap_or(0)
    }

    /// Returns when a client was told first that it committed.
    pub(super) fn told_committed_us(&self) -> Option<u64> {
        self.told_us(|reply| matches!(reply, Reply::Committed(_)))
    }

    /// Returns when a client was told first that it aborted.
    pub(super) fn told_aborted_us(&self) -> Option<u64> {
        self.told_us(|reply| matches!(reply, Reply::Aborted(_)))
    }

    fn told_us(&self, what: impl Fn(&Reply) -> bool) -> Option<u64> {
        self.calls.iter().filter(|call| what(&call.reply)).filter_map(|call| call.told_us).min()
    }

    /// Returns all results that were told: by clients' calls in their order, then by the coordinator in the end.
    pub(super) fn tellings(&self) -> impl Iterator<Item = &'a Reads> + '_ {
        let told = self.calls.iter().filter_map(|call| match &call.reply {
            Reply::Committed(reads) => reads.as_ref(),
            Reply::Aborted(_) | Reply::Nested { .. } | Reply::Refused(_) | Reply::Unknown(_) => None,
        });
        let finally = match self.outcome() {
            FinalOutcome::Committed { reads, .. } => reads.as_ref(),
            FinalOutcome::Aborted { .. } | FinalOutcome::GivenUp | FinalOutcome::NotFound | FinalOutcome::Unknown => {
                None
            }
        };
        told.chain(finally)
    }

    /// Its operations at a participant, each with what it read.
    ///
    /// A branch that committed alone and kept silent has lost its results: then there are none.
    pub(super) fn read_at(&self, participant: Participant) -> Vec<(&'a Op, Option<&'a str>)> {
        let ops = self.work().and_then(|work| work.get(&participant));
        let results = self.tellings().filter_map(|reads| reads.get(&participant)).find(|results| !results.is_empty());
        match (ops, results) {
            (Some(ops), Some(results)) => ops.iter().zip(results.iter().map(Option::as_deref)).collect(),
            (Some(_) | None, Some(_) | None) => Vec::new(),
        }
    }

    /// Returns true if the coordinator may have collected what it knew: after its retention an id is as good as new.
    pub(super) fn may_be_collected(&self) -> bool {
        retention_passed(self.run, self.asked_us(), self.run.simulated_us)
    }
}

pub(super) fn retention_passed(run: &Run, since_us: u64, now_us: u64) -> bool {
    now_us.saturating_sub(since_us) > run.plan.shape.retention_s.saturating_mul(1_000_000)
}

pub(super) fn writers(work: &Work) -> impl Iterator<Item = Participant> + '_ {
    work.iter().filter(|(_, ops)| ops.iter().any(Op::writes)).map(|(participant, _)| *participant)
}

/// An operator has ended the branch; it is kept only as a record of that.
pub(super) fn is_resolved(state: &str) -> bool {
    state.starts_with("heuristically")
}

/// Returns true if the coordinator stays away on purpose (P8): nobody can ask it, and nothing it owned comes to an end.
pub(super) fn coordinator_is_gone(run: &Run) -> bool {
    run.finals.gone.iter().any(|host| host.is_coordinator())
}

/// Returns true if an operator gave up on what the coordinator could not finish of this transaction (O3).
pub(super) fn operator_gave_up(run: &Run, tx: &str) -> bool {
    run.trace
        .iter()
        .any(|entry| matches!(&entry.event, Event::Noted { tx: of, note, .. } if of == tx && note == "forgotten"))
}

/// `p1, p2`
pub(super) fn names(participants: impl IntoIterator<Item = Participant>) -> String {
    participants.into_iter().map(|participant| format!("p{participant}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn describe(outcome: &FinalOutcome) -> &'static str {
    match outcome {
        FinalOutcome::Committed { damaged: false, .. } => "committed",
        FinalOutcome::Committed { damaged: true, .. } => "committed, damaged",
        FinalOutcome::Aborted { damaged: false } => "aborted",
        FinalOutcome::Aborted { damaged: true } => "aborted, damaged",
        FinalOutcome::GivenUp => "given up by an operator",
        FinalOutcome::NotFound => "not found",
        FinalOutcome::Unknown => "unknown",
    }
}
