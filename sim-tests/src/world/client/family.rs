//! An application that carries out a family of open sagas: what is nested in another is begun, worked in and ended, or left to its
//! parent, before its parent ends.

use super::open_saga::{cancel, failed, not_joined, of_known};
use super::{cancel_after, decided};
use crate::plan::Mutant;
use crate::run::{CallKind, Reply};
use crate::world::shared_state::Shared;
use crate::world::workload::family::{Ending, Family, Member};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tokio::task::JoinHandle;
use undoubt_client::{Client, JoinError, OpenSaga, OpenStep, Opening};
use undoubt_vocabulary::AbortReason;

pub(super) struct Carrier {
    shared: Arc<Shared>,
    client: Client,
    number: u8,
    family: Family,
    /// The calls that are left until the client dies.
    calls_left: Cell<Option<u64>>,
    /// Those who cancel beside, in the first round.
    beside: RefCell<Vec<JoinHandle<()>>>,
    is_first_round: Cell<bool>,
}

impl Carrier {
    pub(super) fn new(shared: Arc<Shared>, client: Client, number: u8, family: Family) -> Carrier {
        let (calls_left, is_first_round) = (Cell::new(family.dies_after), Cell::new(true));
        Carrier { shared, client, number, family, calls_left, beside: RefCell::default(), is_first_round }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.calls_left.get() == Some(0)
    }

    /// Goes as far as it gets; to begin again goes on where it stopped.
    pub(super) async fn carry_out(&self) -> Reply {
        let reply = self.go_through(&self.family.root).await;
        self.is_first_round.set(false);
        reply
    }

    /// Waits for those who have cancelled beside.
    pub(super) async fn wait_for_others(&self) {
        for beside in self.beside.take() {
            // It ends by its own deadline.
            let _ = beside.await;
        }
    }

    fn go_through<'a>(&'a self, member: &'a Member) -> LocalBoxFuture<'a, Reply> {
        let there = async move {
            match self.take_part(member).await {
                Ok(saga) => self.end(member, &saga).await.unwrap_or_else(|reply| reply),
                Err(reply) => reply,
            }
        };
        there.boxed_local()
    }

    /// Returns the reply of a client that is no more, if it is.
    fn call(&self) -> Result<(), Reply> {
        if self.is_dead() {
            return Err(Reply::Unknown("its client is no more".to_owned()));
        }
        self.calls_left.set(self.calls_left.get().map(|left| left - 1));
        Ok(())
    }

    /// Begins it, and does all that there is to do in it, its children before its last steps.
    async fn take_part(&self, member: &Member) -> Result<OpenSaga, Reply> {
        self.call()?;
        let opening = Opening::with_id(member.tx.clone()).timeout(member.timeout).completions(member.order);
        let opening = match &member.parent {
            Some(parent) => opening.parent(parent.clone()),
            None => opening,
        };
        let saga = match self.client.begin(opening).await {
            Ok(saga) => saga,
            Err(error) => return Err(self.not_joined(member, error).await),
        };
        let mut steps = member.steps(&self.shared.plan.shape).into_iter();
        if let Some(first) = steps.next() {
            self.join(member, &saga, first).await?;
        }
        for child in &member.children {
            self.nest(child).await?;
        }
        for step in steps {
            self.join(member, &saga, step).await?;
        }
        Ok(saga)
    }

    async fn join(&self, member: &Member, saga: &OpenSaga, step: (OpenStep, bool)) -> Result<(), Reply> {
        self.call()?;
        let (step, has_action) = step;
        let joined = if has_action { saga.run(step).await.map(drop) } else { saga.join(step).await.map(drop) };
        match joined {
            Ok(()) => Ok(()),
            Err(JoinError::Refused { .. }) => Err(self.cancel(member, saga).await),
            Err(error) => Err(self.not_joined(member, error).await),
        }
    }

    /// Goes through a child. Its parent goes on unless nobody knows how the child stands.
    async fn nest(&self, child: &Member) -> Result<(), Reply> {
        let tx = &child.tx;
        let call = self.shared.asked(self.number, &tx.to_string(), CallKind::Submit(child.work.clone()));
        if let Some(pause) = child.cancelled_after.filter(|_| self.is_first_round.get()) {
            let beside = cancel_after(pause, self.shared.clone(), self.client.clone(), self.number, tx.clone());
            self.beside.borrow_mut().push(beside);
        }
        let reply = self.go_through(child).await;
        let goes_on = !matches!(reply, Reply::Unknown(_)) || reply == Reply::given_up();
        self.shared.told(call, reply);
        if goes_on {
            Ok(())
        } else {
            Err(Reply::Unknown(format!("nobody knows how {tx} stands, which is nested in it")))
        }
    }

    async fn end(&self, member: &Member, saga: &OpenSaga) -> Result<Reply, Reply> {
        self.call()?;
        Ok(match member.ending {
            Ending::Leave => Reply::Nested { closed: false },
            Ending::Cancel => self.cancel(member, saga).await,
            Ending::Close if member.parent.is_none() && self.shared.mutates(Mutant::EndToldEarly) => {
                match saga.close_no_wait().await {
                    Ok(known) if known.decided.is_none() => Reply::Committed(None),
                    Ok(known) => of_known(known),
                    Err(error) => failed(&error),
                }
            }
            Ending::Close => match saga.close().await {
                Ok(answer) => decided(&answer, &member.work, &self.shared.plan.shape),
                Err(error) => failed(&error),
            },
        })
    }

    async fn cancel(&self, member: &Member, saga: &OpenSaga) -> Reply {
        if member.parent.is_some() && self.shared.mutates(Mutant::NestedCancelForgotten) {
            return Reply::Aborted(AbortReason::Cancelled.label().to_owned());
        }
        cancel(saga).await
    }

    async fn not_joined(&self, member: &Member, error: JoinError) -> Reply {
        not_joined(&self.client, &member.tx, &member.work, &self.shared.plan.shape, error).await
    }
}
