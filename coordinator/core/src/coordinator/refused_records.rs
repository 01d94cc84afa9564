//! Transactions that cannot be carried out, and are held until an operator ends them (R13).

use super::Coordinator;
use crate::context::Context;
use crate::effect::Effect;
use crate::open_transaction::Open;
use crate::record::Stage;
use crate::saga::Kin;
use undoubt_vocabulary::{AttemptNumber, Timestamp, TxId};

impl Coordinator {
    /// Holds the transaction from now on: what it wanted to record will never be stable, so nothing that depends on it
    /// may happen.
    pub(super) fn handle_not_appended(
        &mut self,
        now: Timestamp,
        tx: &TxId,
        attempt_number: AttemptNumber,
        stage: Stage,
        cause: String,
        effects: &mut Vec<Effect>,
    ) {
        let Some(open) = self.transactions.get_mut(tx).filter(|open| open.attempt_number() == attempt_number) else {
            // A heuristic outcome that became known after the end: its participant reports it again.
            if stage == Stage::Ended {
                self.handle_noted(tx, false, effects);
            }
            return;
        };
        let mut cx = Context { now, effects, peers: &mut self.peers, room: &mut self.room, kin: &mut self.kin };
        if let Open::Unusable(unusable) = open {
            return unusable.handle_not_appended(stage, &mut cx);
        }
        let before = open.held();
        if let Open::Saga(saga) = open {
            // As after a restart: its parent does not wait for what cannot be carried out, and its children wait until it is ended.
            saga.parent().into_iter().for_each(|parent| cx.tell(parent, Kin::Ended(tx.clone())));
            saga.tell_that_it_ends(&mut cx);
        }
        let mut unusable = open.held_for(stage, &cause, &mut cx);
        for client in open.take_waiters() {
            unusable.wait_for(client, &mut cx);
        }
        *open = Open::Unusable(Box::new(unusable));
        cx.room.change(before, open.held());
    }
}
