//! Words to the supervisor (`sd_notify`), where there is one: the variable `NOTIFY_SOCKET` names its socket.
//!
//! READY once the server has recovered and serves, STATUS with how it stands, RELOADING at SIGHUP, STOPPING when it drains or stops. And
//! WATCHDOG as long as the engine's loop comes around, if the supervisor asks for it: a server whose engine hangs is restarted.

use sd_notify::NotifyState;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use undoubt_platform::pulse::{Life, Pulse};

/// The period in which it is looked how the engine stands. The watchdog may ask for a shorter one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Words that wait for the supervisor to read; more are dropped, for the next ones say the same.
const MAX_WAITING_WORDS: usize = 64;

/// The way to the supervisor. Clones share it.
#[derive(Clone, Debug)]
pub struct Supervisor {
    words: Option<SyncSender<String>>,
    /// The time within which it wants to hear that the engine goes on.
    watchdog: Option<Duration>,
    pulse: Pulse,
}

impl Supervisor {
    /// Finds it by the environment. Without `NOTIFY_SOCKET` nobody is told anything.
    pub fn of_environment() -> Supervisor {
        let pulse = Pulse::default();
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Supervisor { words: None, watchdog: None, pulse };
        }
        let (words, to_tell) = sync_channel::<String>(MAX_WAITING_WORDS);
        // A supervisor that does not read holds up this thread alone.
        std::thread::spawn(move || {
            for word in to_tell {
                if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&word)]) {
                    tracing::debug!(%error, "the supervisor is not told");
                }
            }
        });
        Supervisor { words: Some(words), watchdog: sd_notify::watchdog_enabled(), pulse }
    }

    /// Returns the pulse of the server, for its engine.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(words) = &self.words else { return };
        let word = states.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        // If nobody reads, nobody misses it.
        let _ = words.try_send(word);
    }

    /// Tells that settings are read again, and that they were. While it does not serve that is no news.
    pub fn reload<T>(&self, reload: impl FnOnce() -> T) -> T {
        let serves = || *self.pulse.life().borrow() == Life::Serving;
        if serves() {
            self.reloading();
        }
        let reloaded = reload();
        if serves() {
            self.tell(&[NotifyState::Ready]);
        }
        reloaded
    }

    fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Tells how a server stands, and that it goes on, until the process ends.
    pub fn listen(self) {
        if self.words.is_none() {
            return;
        }
        tokio::spawn(async move {
            let pulse = self.pulse.clone();
            let mut life = pulse.life();
            let mut listener = Listener::default();
            self.tell(&[NotifyState::Status("starting: it reads what is stored, and waits until it may serve")]);
            // Twice within what the supervisor waits, and the engine beats four times a second.
            let period = self.watchdog.map_or(LOOK_EVERY, |wait| (wait / 2).min(LOOK_EVERY));
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    changed = life.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let now = *life.borrow_and_update();
                        match now {
                            Life::Starting => {}
                            Life::Serving => self.tell(&[NotifyState::Ready]),
                            Life::Stopping => self.stopping(),
                        }
                    }
                    _ = ticks.tick() => {
                        if let Some(status) = listener.news(&pulse) {
                            self.tell(&[NotifyState::Status(&status)]);
                        }
                        if listener.goes_on(&pulse) && self.watchdog.is_some() {
                            self.tell(&[NotifyState::Watchdog]);
                        }
                    }
                }
            }
        });
    }
}

/// The last words of a server.
#[derive(Debug, Default)]
struct Listener {
    beats: Option<u64>,
    status: String,
}

impl Listener {
    /// Returns true if the engine has come around since the last time, or none runs: then the process waits, for room say.
    fn goes_on(&mut self, pulse: &Pulse) -> bool {
        let now = pulse.beats();
        let before = std::mem::replace(&mut self.beats, now);
        now.is_none() || now != before
    }

    /// Returns how it stands, if it has said something else.
    fn news(&mut self, pulse: &Pulse) -> Option<String> {
        let now = pulse.status();
        if now.is_empty() || now == self.status {
            return None;
        }
        self.status.clone_from(&now);
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_hangs_is_not_said_to_go_on_and_one_that_is_not_there_need_not() {
        let (pulse, mut listener) = (Pulse::default(), Listener::default());
        assert!(listener.goes_on(&pulse) && listener.goes_on(&pulse), "it recovers, or waits for room");
        let heart = pulse.begin();
        assert!(listener.goes_on(&pulse), "it has begun");
        assert!(!listener.goes_on(&pulse) && !listener.goes_on(&pulse), "it hangs");
        heart.beat();
        assert!(listener.goes_on(&pulse));
        assert!(!listener.goes_on(&pulse));
        drop(heart);
        assert!(listener.goes_on(&pulse) && listener.goes_on(&pulse));
    }

    #[test]
    fn the_same_is_said_once() {
        let (pulse, mut listener) = (Pulse::default(), Listener::default());
        assert_eq!(listener.news(&pulse), None);
        let heart = pulse.begin();
        heart.say("1 open".to_owned());
        assert_eq!(listener.news(&pulse).as_deref(), Some("1 open"));
        assert_eq!(listener.news(&pulse), None);
        heart.say("2 open".to_owned());
        assert_eq!(listener.news(&pulse).as_deref(), Some("2 open"));
    }
}
