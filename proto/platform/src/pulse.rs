//! The pulse of a server: its engine beats as long as it goes on, and says how it stands. Whoever runs the process listens, so that an
//! engine that hangs is found out.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The stage of a server's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// It recovers, or waits until it may serve.
    #[default]
    Starting,
    Serving,
    /// It finishes what is open, and takes nothing new.
    Stopping,
}

/// The pulse of one server. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    beats: AtomicU64,
    /// Engines that run: one, or none.
    hearts: AtomicUsize,
    status: Mutex<String>,
    life: watch::Sender<Life>,
}

/// The heart of an engine that runs. While there is one it has to beat.
#[derive(Debug)]
pub struct Heart(Pulse);

impl Pulse {
    /// Begins the life of an engine.
    pub fn begin(&self) -> Heart {
        self.0.hearts.fetch_add(1, Ordering::Relaxed);
        Heart(self.clone())
    }

    /// Returns the number of beats since the start; `None`: no engine runs, and none has to.
    pub fn beats(&self) -> Option<u64> {
        (self.0.hearts.load(Ordering::Relaxed) > 0).then(|| self.0.beats.load(Ordering::Relaxed))
    }

    /// Returns how the engine said that it stands; empty before it has.
    pub fn status(&self) -> String {
        self.text().clone()
    }

    fn text(&self) -> MutexGuard<'_, String> {
        // Nothing panics while it is locked.
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how far the server is. Stages only go forward: one that stops serves no more, whoever says so late.
    pub fn set_life(&self, life: Life) {
        self.0.life.send_if_modified(|now| {
            let goes_on = life > *now;
            *now = life.max(*now);
            goes_on
        });
    }

    /// Returns how far the server is, and tells when that changes.
    pub fn life(&self) -> watch::Receiver<Life> {
        self.0.life.subscribe()
    }
}

impl Heart {
    /// Beats: the engine has come around once more.
    pub fn beat(&self) {
        self.0.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Says how the engine stands, in a few words.
    pub fn say(&self, status: String) {
        *self.0.text() = status;
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.0.0.hearts.fetch_sub(1, Ordering::Relaxed);
        self.0.text().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_that_runs_has_to_beat() {
        let pulse = Pulse::default();
        assert_eq!(pulse.beats(), None);
        let heart = pulse.begin();
        assert_eq!(pulse.beats(), Some(0));
        heart.beat();
        heart.say("1 open".to_owned());
        assert_eq!((pulse.beats(), pulse.status().as_str()), (Some(1), "1 open"));
        drop(heart);
        assert_eq!((pulse.beats(), pulse.status().as_str()), (None, ""));
    }
}
