//! Sagas that are nested in others: a child is closed and cancelled with its parent.
//!
//! ```text
//! Open ── close, its own or its parent's ──▶ LoggingClose ──▶ Completing ──▶ Kept ──┬── parent closed ──────▶ Ending
//!   └──── cancel, its own or its parent's ──▶ LoggingCompensation ──▶ …             └── parent turned back ─▶ LoggingCompensation ──▶ …
//! ```
//!
//! The close of a child is no pivot: its steps are completed at once, and it is kept until the root ends. If that turns back, what
//! was completed is undone, as steps that are new to their participants: there, no step is ever completed and undone.
//!
//! A parent remembers those of its children that have not ended, and the log only what a child says of its parent. For a child ends
//! before its parent: by itself, when it is cancelled, or as the parent's decision, which is on record by then, has it. A child
//! whose parent is not there any more, for an operator gave that up, goes on as what nobody is the parent of.

use super::{Acted, At, Saga, State, Step};
use crate::context::Context;
use crate::effect::{Answer, Note};
use crate::record::{Completions, ParentRecord};
use crate::saga::log::Written;
use undoubt_vocabulary::limits::MAX_BRANCHES_PER_TRANSACTION;
use undoubt_vocabulary::saga::{self, UNDONE_ANEW};
use undoubt_vocabulary::{AbortReason, Direction, StepIndex, TxId};

/// A word that one saga of a family tells another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kin {
    /// To a child: an ancestor ends, so it takes no steps any more, and does not end in a way of its own.
    ParentEnds,
    /// To a child: it is to be closed, and kept.
    Close,
    /// To a child: it is to be closed, and to end. That its root was closed is on record.
    Finish,
    /// To a child: it is to be undone, closed or not. That its root turned back is on record.
    TurnBack(AbortReason),
    /// To a child: its parent is no more, without having told it anything.
    Orphaned,
    /// To a parent: this child is closed, and kept.
    Kept(TxId),
    /// To a parent: this child has ended.
    Ended(TxId),
}

/// The saga that one is nested in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parent {
    pub(super) tx: TxId,
    /// The number of steps that had joined the parent before.
    after: usize,
    way: Way,
}

/// The way on which a parent has its child go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// Its own.
    Free,
    /// Its own no more: it waits for its turn.
    Waits,
    Close,
    Finish,
    TurnBack(AbortReason),
}

/// A nested saga that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Child {
    tx: TxId,
    /// The number of steps that had joined before it.
    after: usize,
    /// It was told to go the way that its parent goes.
    told: bool,
    /// It is closed, and kept.
    kept: bool,
}

impl Parent {
    pub(super) fn new(tx: TxId, after: usize) -> Parent {
        Parent { tx, after, way: Way::Free }
    }

    pub(super) fn recorded(record: ParentRecord) -> Parent {
        Parent::new(record.tx, usize::from(record.after.0))
    }

    pub(super) fn record(&self) -> ParentRecord {
        ParentRecord { tx: self.tx.clone(), after: super::step_index(self.after) }
    }
}

impl Saga {
    pub(crate) fn parent(&self) -> Option<&TxId> {
        self.family_parent().map(|parent| &parent.tx)
    }

    fn family_parent(&self) -> Option<&Parent> {
        self.opening.as_ref()?.parent.as_ref()
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &TxId> {
        self.nested().iter().map(|child| &child.tx)
    }

    fn nested(&self) -> &[Child] {
        self.opening.as_ref().map_or(&[], |opening| &opening.children)
    }

    fn nested_mut(&mut self) -> &mut [Child] {
        self.opening.as_mut().map_or(&mut [], |opening| &mut opening.children)
    }

    /// Returns the number of steps that have joined it, and of sagas nested in it that have not ended.
    pub(crate) fn parts(&self) -> usize {
        self.steps.len() + self.nested().len()
    }

    /// Returns the reason why no saga can be nested in it now, or `None`.
    pub(crate) fn takes_no_child(&self) -> Option<&'static str> {
        let Some(opening) = &self.opening else {
            return Some("it was submitted whole, and takes neither steps nor sagas");
        };
        if self.is_two_phase() {
            Some("it was begun with two-phase completions, and only sagas nest")
        } else if opening.check_back.is_some() {
            Some("it has a check-back, which could close it while the nested one is under way")
        } else if self.state != State::Open || !self.is_free() {
            Some("it takes no steps now: it is being begun, closed or cancelled")
        } else if self.parts() >= MAX_BRANCHES_PER_TRANSACTION {
            Some("it has as many steps and nested sagas as it may have")
        } else {
            None
        }
    }

    /// Takes a child, which begins. Returns the number of steps that joined before it.
    pub(crate) fn nest(&mut self, tx: TxId) -> usize {
        let after = self.steps.len();
        if let Some(opening) = &mut self.opening {
            opening.children.push(Child { tx, after, told: false, kept: false });
        }
        after
    }

    /// Returns the saga that it is nested in, and the number of steps that had joined that before.
    pub(crate) fn nested_in(&self) -> Option<(&TxId, usize)> {
        self.family_parent().map(|parent| (&parent.tx, parent.after))
    }

    /// Takes a child that came from the log. Children come in the order in which they began.
    pub(crate) fn nest_recovered(&mut self, tx: TxId, after: usize) {
        if let Some(opening) = &mut self.opening {
            let place = opening.children.partition_point(|other| other.after <= after);
            opening.children.insert(place, Child { tx, after, told: false, kept: false });
        }
    }

    /// Returns true unless an ancestor of it ends.
    pub(super) fn is_free(&self) -> bool {
        self.family_parent().is_none_or(|parent| parent.way == Way::Free)
    }

    /// Returns the ancestor with which it ends, if one does.
    pub(super) fn ends_with(&self) -> Option<&TxId> {
        self.parent().filter(|_| !self.is_free())
    }

    /// Returns true if its steps, should they be completed, may still have to be undone.
    pub(super) fn is_provisional(&self) -> bool {
        self.compensating.is_none() && self.family_parent().is_some_and(|parent| parent.way != Way::Finish)
    }

    /// Returns true if what was completed is being undone, since the parent turned back.
    pub(super) fn is_reverting(&self) -> bool {
        self.is_closed() && self.compensating.is_some()
    }

    /// Returns true if nothing is left to be waited for of its children.
    pub(super) fn children_are_settled(&self) -> bool {
        self.nested().iter().all(|child| child.kept && self.is_provisional())
    }

    /// Returns true if some child that joined after the step, or before it where that comes first, is still to be waited for.
    pub(super) fn waits_for_child(&self, step: usize, direction: Direction) -> bool {
        let is_settled = |child: &Child| child.kept && self.is_provisional();
        let comes_first = |child: &&Child| match (direction, self.completions()) {
            (Direction::Forward, _) | (Direction::Completing, Completions::Together | Completions::TwoPhase) => false,
            (Direction::Completing, Completions::AsJoined) => child.after <= step,
            (Direction::Completing, Completions::Reversed) | (Direction::Compensating, _) => child.after > step,
        };
        self.nested().iter().filter(comes_first).any(|child| !is_settled(child))
    }

    /// Returns true if it is the child's turn.
    fn is_turn_of(&self, place: usize, direction: Direction) -> bool {
        let children = self.nested();
        let after = children[place].after;
        let is_passed = |step: &Step| step.is_passed(direction);
        let is_settled = |child: &Child| child.kept && self.is_provisional();
        match (direction, self.completions()) {
            (Direction::Forward, _) => false,
            (Direction::Completing, Completions::Together | Completions::TwoPhase) => true,
            (Direction::Completing, Completions::AsJoined) => {
                self.steps[..after].iter().all(is_passed) && children[..place].iter().all(is_settled)
            }
            (Direction::Completing, Completions::Reversed) | (Direction::Compensating, _) => {
                self.steps[after..].iter().all(is_passed) && children[place + 1..].iter().all(is_settled)
            }
        }
    }

    fn completions(&self) -> Completions {
        self.opening.as_ref().map(|opening| opening.terms.completions).unwrap_or_default()
    }

    /// Tells children to go this saga's way, each when it is its turn.
    pub(super) fn advance_children(&mut self, direction: Direction, cx: &mut Context<'_>) {
        let word = match (direction, &self.compensating) {
            (Direction::Compensating, Some(reason)) => Kin::TurnBack(reason.clone()),
            (Direction::Completing, _) if self.is_provisional() => Kin::Close,
            (Direction::Completing, _) => Kin::Finish,
            (Direction::Compensating | Direction::Forward, _) => return,
        };
        for place in 0..self.nested().len() {
            if !self.nested()[place].told && self.is_turn_of(place, direction) {
                self.nested_mut()[place].told = true;
                cx.tell(&self.nested()[place].tx, word.clone());
            }
        }
    }

    /// Returns true if a close is still to be decided.
    pub(crate) fn can_be_closed(&self) -> bool {
        self.state == State::Open && self.is_free()
    }

    /// Returns true if nobody knows yet what is to be completed.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state == State::Beginning || (self.state == State::Open && self.unsettled().is_some())
    }

    /// Tells all descendants that they do not end by themselves any more.
    pub(crate) fn tell_that_it_ends(&self, cx: &mut Context<'_>) {
        self.children().for_each(|child| cx.tell(child, Kin::ParentEnds));
    }

    /// Returns true if it goes on record, or is, that it was closed or turns back, or if an ancestor ends.
    pub(crate) fn has_its_way(&self) -> bool {
        self.is_closed() || self.compensating.is_some() || !self.is_free()
    }

    pub(super) fn handle_kin(&mut self, kin: Kin, cx: &mut Context<'_>) {
        match kin {
            Kin::ParentEnds => {
                self.go(Way::Waits);
                self.tell_that_it_ends(cx);
            }
            Kin::Close => {
                self.go(Way::Close);
                self.follow_parent(cx);
            }
            Kin::Finish => {
                self.go(Way::Finish);
                self.make_final();
                self.advance_or_finish(cx);
            }
            Kin::TurnBack(reason) => {
                self.go(Way::TurnBack(reason));
                self.follow_parent(cx);
            }
            Kin::Orphaned => self.handle_orphaned(cx),
            Kin::Kept(child) => {
                self.nested_mut().iter_mut().filter(|known| known.tx == child).for_each(|known| known.kept = true);
                self.advance_or_finish(cx);
            }
            Kin::Ended(child) => {
                if let Some(opening) = &mut self.opening {
                    opening.children.retain(|known| known.tx != child);
                }
                self.advance_or_finish(cx);
            }
        }
    }

    /// Goes on to the end, as its close is provisional no more.
    fn make_final(&mut self) {
        // Those that were told to close, be they kept by now or not, are to end as well.
        self.nested_mut().iter_mut().for_each(|child| child.told = false);
        if self.state == State::Kept {
            self.state = State::Completing;
        }
    }

    fn go(&mut self, way: Way) {
        let parent = self.opening.as_mut().and_then(|opening| opening.parent.as_mut());
        // An ancestor's end says no more than what its parent has said before.
        if let Some(parent) = parent.filter(|parent| way != Way::Waits || parent.way == Way::Free) {
            parent.way = way;
        }
    }

    pub(super) fn advance_or_finish(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::LoggingClose | State::LoggingCompensation) {
            // The end would go by a close or a cancellation that is not on record, should its own record be refused.
            return;
        }
        if self.is_settled() {
            self.finish(false, cx);
        } else {
            self.advance(cx);
        }
    }

    /// Goes its parent's way, if it has one and can go it now.
    pub(super) fn follow_parent(&mut self, cx: &mut Context<'_>) {
        let Some(Parent { way, .. }) = self.family_parent() else { return };
        match (way.clone(), self.state) {
            (Way::Close | Way::Finish, State::Open) if self.unsettled().is_none() => self.begin_to_close(cx),
            (Way::TurnBack(reason), State::Beginning | State::Open) => self.compensate(reason, cx),
            (Way::TurnBack(reason), State::Kept) => self.revert(reason, cx),
            (Way::Free | Way::Waits | Way::Close | Way::Finish | Way::TurnBack(_), _) => {}
        }
    }

    /// Keeps the saga, every step of which is completed, until its parent ends.
    pub(super) fn keep(&mut self, cx: &mut Context<'_>) {
        if self.state == State::LoggingClose {
            // It is told once that is on record.
            return;
        }
        self.note(Note::Kept, cx);
        self.state = State::Kept;
        for step in (0..self.steps.len()).filter(|step| !self.steps[*step].on_record).collect::<Vec<_>>() {
            self.append(Written::Step(step), false, cx);
        }
        for client in std::mem::take(&mut self.waiters) {
            self.answer(client, Answer::Closed, cx);
        }
        if let Some(parent) = self.parent().cloned() {
            cx.tell(&parent, Kin::Kept(self.tx.clone()));
        }
        self.follow_parent(cx);
    }

    /// Undoes what was completed, as the parent has turned back.
    fn revert(&mut self, reason: AbortReason, cx: &mut Context<'_>) {
        self.note(Note::Compensating { reason: reason.clone() }, cx);
        self.compensating = Some(reason);
        self.state = State::LoggingCompensation;
        self.nested_mut().iter_mut().for_each(|child| (child.told, child.kept) = (false, false));
        self.steps.iter_mut().for_each(Step::undo_completed);
        self.tell_that_it_ends(cx);
        if self.is_settled() {
            self.finish(false, cx);
        } else {
            self.append(Written::Compensating, true, cx);
        }
    }

    /// Goes on without its parent.
    fn handle_orphaned(&mut self, cx: &mut Context<'_>) {
        if let Some(opening) = &mut self.opening {
            opening.parent = None;
        }
        self.make_final();
        if self.state == State::Open && self.overdue {
            return self.handle_deadline(cx);
        }
        self.advance_or_finish(cx);
    }

    /// Tells its parent, and the children that are left where an operator gave it up, that it is no more.
    pub(super) fn leave_family(&self, cx: &mut Context<'_>) {
        if let Some(parent) = self.parent() {
            cx.tell(parent, Kin::Ended(self.tx.clone()));
        }
        self.children().for_each(|child| cx.tell(child, Kin::Orphaned));
    }

    /// Returns the number under which the step's participant knows what is run. What was completed is undone as a step of its own,
    /// for a participant never undoes what it has completed.
    pub(super) fn index_there(&self, step: usize) -> StepIndex {
        let StepIndex(place) = super::step_index(step);
        StepIndex(if self.steps[step].was_completed { place + UNDONE_ANEW } else { place })
    }

    /// Returns the step that its participant knows under this number.
    pub(super) fn place_at(&self, participant_index: StepIndex) -> Option<usize> {
        let place = usize::from(saga::place_of(participant_index).0);
        (place < self.steps.len() && self.index_there(place) == participant_index).then_some(place)
    }
}

impl Step {
    /// Makes of what was completed what is to be undone.
    pub(super) fn undo_completed(&mut self) {
        self.was_completed = self.definition.completion.is_some() && !matches!(self.at, At::Refused(_) | At::Skipped);
        if self.at != At::Completed {
            return;
        }
        self.on_record = false;
        self.at = match (&self.definition.action, &self.definition.compensation) {
            (_, None) => At::Undone,
            (None, Some(_)) => At::Elsewhere,
            (Some(_), Some(_)) => {
                let Acted { result, pending } = self.acted.clone();
                At::Done { result, pending }
            }
        };
    }
}
