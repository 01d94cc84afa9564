//! The way in which a service answers: each key once, what is undone never again, what is tried held until it ends.

use super::books::{Books, Draft, NoDraft, Page};
use super::wire::{Answer, Asked};
use crate::plan::Host;
use crate::run::Op;
use crate::world::shared_state::Shared;
use crate::world::workload::{account_key, register_key};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use undoubt_platform::{Batch, Durability, Store, StoreError};

/// The time for which a request waits for what another one holds.
const HELD_WAIT: Duration = Duration::from_millis(250);

pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Host,
    participant: Host,
    store: Arc<dyn Store>,
    books: Books,
    /// One request after the other: what is read was made stable before it is answered.
    turn: tokio::sync::Mutex<()>,
    pages: Mutex<BTreeMap<String, Page>>,
    /// The effects of which a request is being answered.
    busy: Mutex<BTreeSet<String>>,
    /// Something is not held any more.
    freed: Notify,
}

/// What a request comes to.
enum Decision {
    /// It changes nothing.
    Says(Answer),
    Does {
        batch: Batch,
        page: Page,
        answer: Answer,
    },
    /// Another one holds what it needs.
    Waits,
}

/// The claim to be the only request about an effect.
struct Busy<'a>(&'a Desk, String);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.0.busy).remove(&self.1);
    }
}

/// Locks a mutex. Nothing between taking and freeing these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(super) fn open(shared: Arc<Shared>, host: Host, number: u8, store: Arc<dyn Store>) -> Result<Desk, StoreError> {
        let books = Books::new(store.clone(), shared.plan.shape.clone());
        Ok(Desk {
            shared,
            host,
            participant: Host::Participant(number),
            store,
            pages: Mutex::new(books.pages()?),
            books,
            turn: tokio::sync::Mutex::default(),
            busy: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Answers a request. `refuses`: what was not done yet is refused.
    pub(super) async fn answer(&self, asked: &Asked, refuses: bool) -> Result<Answer, StoreError> {
        let effect = asked.effect.clone();
        if !lock(&self.busy).insert(effect.clone()) {
            return Ok(Answer::says(425, "an earlier request is being answered"));
        }
        let _busy = Busy(self, effect);
        let deadline = Instant::now() + HELD_WAIT;
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let turn = self.turn.lock().await;
            match self.decide(asked, refuses)? {
                Decision::Says(answer) => return Ok(answer),
                Decision::Does { batch, page, answer } => {
                    self.keep(&asked.effect, batch, page).await?;
                    return Ok(answer);
                }
                Decision::Waits => drop(turn),
            }
            if timeout_at(deadline, freed).await.is_err() {
                return Ok(Answer::says(423, "somebody else holds it"));
            }
        }
    }

    /// Drops what some effect holds, as no service may; returns its transaction, or `None` if nothing is held.
    pub(super) async fn drop_a_hold(&self) -> Result<Option<String>, StoreError> {
        let _turn = self.turn.lock().await;
        let held =
            lock(&self.pages).iter().find(|(_, page)| page.held).map(|(name, page)| (name.clone(), page.clone()));
        let Some((effect, page)) = held else { return Ok(None) };
        let page = Page { held: false, dropped: true, ..page };
        let tx = page.tx.clone();
        self.keep(&effect, self.books.draft().with_page(&effect, &page)?, page).await?;
        Ok(Some(tx))
    }

    pub(super) fn holds_something(&self) -> bool {
        lock(&self.pages).values().any(|page| page.held)
    }

    async fn keep(&self, effect: &str, batch: Batch, page: Page) -> Result<(), StoreError> {
        self.shared.reach(self.host, "before-effect");
        self.store.write(batch, Durability::Forced).await?;
        lock(&self.pages).insert(effect.to_owned(), page);
        self.shared.reach(self.host, "after-effect");
        self.freed.notify_waiters();
        Ok(())
    }

    fn decide(&self, asked: &Asked, refuses: bool) -> Result<Decision, StoreError> {
        let new = || Page { tx: asked.body.tx.clone(), ..Page::default() };
        let page = lock(&self.pages).get(&asked.effect).cloned().unwrap_or_else(new);
        if let Some(answer) = page.answers.get(&asked.operation) {
            return Ok(Decision::Says(answer.clone()));
        }
        let temper = self.shared.temper(self.participant);
        let says = |status, why| Ok(Decision::Says(Answer::says(status, why)));
        match asked.operation.as_str() {
            "try" if asked.looks => self.look(asked),
            "action" | "try" if page.undone => says(409, "it was undone before"),
            "action" if refuses || temper.refuses_actions => self.refuse(asked, page, "it does not act at the moment"),
            "try" if refuses => self.refuse(asked, page, "it does not try at the moment"),
            "action" | "try" => self.act(asked, page),
            "completion" if page.undone => says(409, "it was undone before"),
            "completion" if refuses || temper.refuses_actions => says(409, "it does not complete at the moment"),
            "completion" => self.act(asked, page),
            "compensation" if refuses || temper.refuses_compensations => says(409, "it does not undo at the moment"),
            "compensation" => self.undo(asked, page),
            "confirm" if !page.held => says(409, "nothing is held"),
            "confirm" if asked.body.hold.as_ref() != Some(&asked.effect) => {
                says(409, "that is held under another name")
            }
            "confirm" => self.confirm(asked, page),
            "cancel" if page.in_effect => says(409, "it was confirmed before"),
            "cancel" => {
                let page = Page { held: false, undone: true, ..page };
                self.does(asked, page, self.books.draft(), Answer::done(&[], ""))
            }
            _ => says(400, "that is no operation of this service"),
        }
    }

    /// Answers who asks for nothing to be held.
    fn look(&self, asked: &Asked) -> Result<Decision, StoreError> {
        if self.is_held_by_others(asked, &asked.body.ops) {
            return Ok(Decision::Waits);
        }
        Ok(Decision::Says(match self.books.draft().does(&asked.body.tx, &asked.body.ops) {
            Ok(values) => Answer::done(&values, ""),
            Err(NoDraft::Floor(account)) => floor(account),
            Err(NoDraft::Store(error)) => return Err(error),
        }))
    }

    /// Does what an action or a completion does, or holds what a try needs.
    fn act(&self, asked: &Asked, page: Page) -> Result<Decision, StoreError> {
        let ops = &asked.body.ops;
        if self.is_held_by_others(asked, ops) {
            return Ok(Decision::Waits);
        }
        let mut draft = self.books.draft();
        let values = match draft.does(&page.tx, ops) {
            Ok(values) => values,
            Err(NoDraft::Floor(account)) if asked.operation == "completion" => {
                return Ok(Decision::Says(floor(account)));
            }
            Err(NoDraft::Floor(account)) => return self.keeps(asked, page, floor(account)),
            Err(NoDraft::Store(error)) => return Err(error),
        };
        let held = asked.operation == "try";
        // A completion may follow an action: what undoes them takes back both.
        let mut replaced = draft.replaced()?;
        replaced.extend(page.replaced);
        let ops = [&page.ops[..], &ops[..]].concat();
        let page = Page { ops, held, in_effect: !held, replaced, ..page };
        let draft = if held { self.books.draft() } else { draft };
        self.does(asked, page, draft, Answer::done(&values, &asked.effect))
    }

    fn undo(&self, asked: &Asked, page: Page) -> Result<Decision, StoreError> {
        let mut draft = self.books.draft();
        if page.in_effect {
            if self.is_held_by_others(asked, &page.ops) {
                return Ok(Decision::Waits);
            }
            draft.takes_back(&page)?;
        }
        let page = Page { in_effect: false, undone: true, ..page };
        self.does(asked, page, draft, Answer::done(&[], ""))
    }

    fn confirm(&self, asked: &Asked, page: Page) -> Result<Decision, StoreError> {
        let mut draft = self.books.draft();
        match draft.does(&page.tx, &page.ops) {
            Ok(_) => {}
            Err(NoDraft::Floor(account)) => return Ok(Decision::Says(floor(account))),
            Err(NoDraft::Store(error)) => return Err(error),
        }
        let page = Page { held: false, in_effect: true, ..page };
        self.does(asked, page, draft, Answer::done(&[], ""))
    }

    fn refuse(&self, asked: &Asked, page: Page, why: &str) -> Result<Decision, StoreError> {
        self.keeps(asked, page, Answer::says(409, why))
    }

    /// A refusal is kept: an earlier request with the same key may still be on its way.
    fn keeps(&self, asked: &Asked, page: Page, answer: Answer) -> Result<Decision, StoreError> {
        self.does(asked, page, self.books.draft(), answer)
    }

    fn does(&self, asked: &Asked, mut page: Page, draft: Draft<'_>, answer: Answer) -> Result<Decision, StoreError> {
        page.answers.insert(asked.operation.clone(), answer.clone());
        Ok(Decision::Does { batch: draft.with_page(&asked.effect, &page)?, page, answer })
    }

    fn is_held_by_others(&self, asked: &Asked, ops: &[Op]) -> bool {
        let needed: Vec<(String, bool)> = ops.iter().map(needs).collect();
        let meets = |(key, writes): (String, bool)| {
            needed.iter().any(|(other, also_writes)| *other == key && (writes || *also_writes))
        };
        lock(&self.pages)
            .iter()
            .filter(|(effect, page)| page.held && **effect != asked.effect)
            .any(|(_, page)| page.ops.iter().map(needs).any(meets))
    }
}

fn floor(account: u8) -> Answer {
    Answer::says(409, &format!("account {account} would fall below its floor"))
}

/// Returns the key that an operation needs, and whether it writes there.
fn needs(op: &Op) -> (String, bool) {
    match op {
        Op::Transfer { account, .. } => (account_key(*account), true),
        Op::ReadAccount { account } => (account_key(*account), false),
        Op::ReadWrite { register } => (register_key(*register), true),
        Op::ReadRegister { register } => (register_key(*register), false),
    }
}

#[cfg(test)]
mod tests;
