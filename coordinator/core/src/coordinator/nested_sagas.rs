//! Sagas that are nested in others: whom they belong to, and what they tell each other.

use super::Coordinator;
use crate::effect::{Effect, Rejection};
use crate::open_transaction::{Open, OpenInput};
use crate::saga::{Kin, Saga};
use undoubt_vocabulary::limits::MAX_NESTED_SAGAS;
use undoubt_vocabulary::{AttemptNumber, Timestamp, TxId};

impl Coordinator {
    /// Hands on what sagas have told each other, until nobody has anything to say any more. Each word makes its saga go on for good,
    /// so this ends.
    pub(super) fn hand_on(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((tx, kin)) = self.kin.pop_front() {
            let Some(open) = self.transactions.get(&tx) else { continue };
            self.dispatch(now, &tx, open.attempt_number(), OpenInput::Kin(kin), effects);
        }
    }

    /// Checks that a saga may begin as a part of another.
    pub(super) fn check_parent(&self, parent: &TxId) -> Result<(), Rejection> {
        let no = |why| Err(Rejection::NoParent { parent: parent.clone(), why });
        let Some(saga) = self.saga(parent) else {
            return no("it is no open saga of this coordinator, or it has ended");
        };
        if let Some(why) = saga.takes_no_child() {
            return no(why);
        }
        if self.ancestors(saga).count() + 1 >= MAX_NESTED_SAGAS {
            return no("it is nested itself, as deep as may be");
        }
        Ok(())
    }

    fn ancestors<'a>(&'a self, saga: &'a Saga) -> impl Iterator<Item = &'a Saga> {
        std::iter::successors(Some(saga), |saga| self.saga(saga.parent()?)).skip(1)
    }

    /// Checks that nothing is under way in the sagas that are nested in this one, so that they can be closed with it.
    pub(super) fn check_nested(&self, saga: &Saga) -> Result<(), Rejection> {
        for tx in saga.children() {
            let Some(child) = self.saga(tx) else { continue };
            if child.is_under_way() {
                return Err(Rejection::NestedUnsettled { nested: tx.clone() });
            }
            self.check_nested(child)?;
        }
        Ok(())
    }

    pub(super) fn saga(&self, tx: &TxId) -> Option<&Saga> {
        match self.transactions.get(tx)? {
            Open::Saga(saga) => Some(saga),
            Open::TwoPhase(_) | Open::Unusable(_) => None,
        }
    }

    /// Brings those that came from the log together again with their parents. One whose parent cannot be carried out waits until
    /// an operator has ended that; one that has none any more goes on by itself.
    pub(super) fn bring_families_together(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let nested = |(tx, open): (&TxId, &Open)| match open {
            Open::Saga(saga) => {
                let (parent, after) = saga.nested_in()?;
                Some((open.attempt_number(), tx.clone(), parent.clone(), after))
            }
            Open::TwoPhase(_) | Open::Unusable(_) => None,
        };
        let mut children: Vec<(AttemptNumber, TxId, TxId, usize)> =
            self.transactions.iter().filter_map(nested).collect();
        children.sort_unstable();
        for (_, tx, parent, after) in children {
            match self.transactions.get_mut(&parent) {
                Some(Open::Saga(saga)) => {
                    saga.nest_recovered(tx.clone(), after);
                    if saga.has_its_way() {
                        self.kin.push_back((tx, Kin::ParentEnds));
                    }
                }
                Some(Open::Unusable(_)) => self.kin.push_back((tx, Kin::ParentEnds)),
                Some(Open::TwoPhase(_)) | None => self.kin.push_back((tx, Kin::Orphaned)),
            }
        }
        self.hand_on(now, effects);
    }

    /// Tells the children of what could not be carried out, and is over, that they have no parent any more.
    pub(super) fn leave_orphans(&mut self, parent: &TxId) {
        let is_child = |open: &&Open| matches!(open, Open::Saga(saga) if saga.parent() == Some(parent));
        let children: Vec<TxId> = self.open().filter(is_child).map(|open| open.tx().clone()).collect();
        self.kin.extend(children.into_iter().map(|child| (child, Kin::Orphaned)));
    }
}
