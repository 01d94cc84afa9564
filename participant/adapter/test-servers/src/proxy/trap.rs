//! Traps: what a proxy does at which message.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::ServerError;

const HAPPENED_LIMIT_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Cut,
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Set,
    Happened,
    LetGo,
}

/// A moment before or after a message with a certain text, at which a trap can be set.
#[derive(Debug)]
#[must_use = "nothing happens at a place before `cut` or `hold`"]
pub struct Place<'a> {
    traps: &'a Traps,
    texts: Vec<String>,
    moment: Moment,
    nth: u32,
}

impl<'a> Place<'a> {
    pub(super) fn new(traps: &'a Traps, text: &str, moment: Moment) -> Self {
        Self { traps, texts: vec![text.to_owned()], moment, nth: 1 }
    }

    /// Means messages with another text as well.
    pub fn or(mut self, text: &str) -> Self {
        self.texts.push(text.to_owned());
        self
    }

    /// Chooses the n-th such message from now on, over all connections, instead of the first.
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// Has the connection cut there: the client hears its end at once, the server after what was forwarded.
    pub fn cut(self) -> Trap {
        self.set(Act::Cut)
    }

    /// Has the connection held there, in both directions, as a network does that swallows everything, until
    /// [`Trap::let_go`].
    pub fn hold(self) -> Trap {
        self.set(Act::Hold)
    }

    fn set(self, act: Act) -> Trap {
        let (state, _) = watch::channel(State::Set);
        let rule =
            Arc::new(Rule { texts: self.texts, moment: self.moment, act, left: AtomicU32::new(self.nth), state });
        self.traps.list().push(Arc::downgrade(&rule));
        Trap { rule }
    }
}

/// A trap that was set. It acts once; dropping it removes it, and lets go what it holds.
#[derive(Debug)]
#[must_use = "a trap that is dropped does nothing"]
pub struct Trap {
    rule: Arc<Rule>,
}

impl Trap {
    /// Waits until it has acted.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotSeen`] after a minute.
    pub async fn happened(&self) -> Result<(), ServerError> {
        let mut state = self.rule.state.subscribe();
        let waiting = state.wait_for(|state| *state != State::Set);
        match tokio::time::timeout(Duration::from_millis(HAPPENED_LIMIT_MS), waiting).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ServerError::NotSeen { text: self.rule.texts.join("` or `"), limit_ms: HAPPENED_LIMIT_MS }),
        }
    }

    /// Returns whether it has acted.
    pub fn has_happened(&self) -> bool {
        *self.rule.state.borrow() != State::Set
    }

    /// Has a held connection go on, or a trap that did not act yet never act.
    pub fn let_go(&self) {
        self.rule.state.send_replace(State::LetGo);
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[derive(Debug)]
struct Rule {
    texts: Vec<String>,
    moment: Moment,
    act: Act,
    /// The messages that are still to be seen, with the one to act at.
    left: AtomicU32,
    state: watch::Sender<State>,
}

impl Rule {
    fn matches(&self, moment: Moment, text: &[u8]) -> bool {
        self.moment == moment
            && *self.state.borrow() == State::Set
            && self.texts.iter().any(|wanted| text.windows(wanted.len().max(1)).any(|piece| piece == wanted.as_bytes()))
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) == Ok(1)
    }
}

/// The traps that are set at a proxy.
#[derive(Debug, Default)]
pub(super) struct Traps {
    rules: Mutex<Vec<Weak<Rule>>>,
}

impl Traps {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Rule>>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a message pass, or tells what a trap does at it, after having waited where one holds.
    pub(super) async fn pass(&self, moment: Moment, text: &[u8]) -> Option<Act> {
        let mut acting = Vec::new();
        self.list().retain(|rule| {
            let Some(rule) = rule.upgrade() else { return false };
            if rule.matches(moment, text) {
                acting.push((rule.act, rule.state.subscribe()));
                // One that was let go in the meantime stays so.
                rule.state
                    .send_if_modified(|state| std::mem::replace(state, State::Happened.max(*state)) == State::Set);
            }
            true
        });
        let mut cut = None;
        for (act, mut state) in acting {
            match act {
                Act::Cut => cut = Some(Act::Cut),
                // An error says that the trap is gone, which lets go too.
                Act::Hold => drop(state.wait_for(|state| *state == State::LetGo).await),
            }
        }
        cut
    }
}
