//! Settings that are read again at SIGHUP. What may change while the server runs takes effect at once; of a configuration that
//! cannot be used nothing does.

use super::logging::{LogLevel, log_filter};
use super::signals::HangUps;
use super::supervisor::Supervisor;
use crate::settings::flat;
use anyhow::Context as _;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use toml::{Table, Value};
use undoubt_platform::metrics::{Metric, Tell, Telling};

pub const RELOADS: Metric = Metric::counter(
    "undoubt_settings_reloads",
    &["result"],
    "Times that the settings were read again (SIGHUP), by whether they could be used; else nothing of them was",
);

/// The setting that every server takes anew by itself.
const LOG: &str = "log";

/// Carries a change out that has been checked.
pub type Apply = Box<dyn FnOnce() + Send>;

/// Reads the settings and all files that go with them, and says how to carry out what they change.
type Read = Box<dyn Fn() -> anyhow::Result<(Table, Apply)> + Send>;

/// The settings that are read again.
pub struct Reload {
    /// The settings in effect.
    now: BTreeMap<String, Value>,
    /// Those that may change, or the table that they stand in.
    may_change: &'static [&'static str],
    log: LogLevel,
    counts: Reloads,
    read: Read,
}

/// The count of settings read again. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<[AtomicU64; 2]>);

const RESULTS: [&str; 2] = ["applied", "refused"];

/// The settings that are others than before.
#[derive(Debug, Default, PartialEq, Eq)]
struct Others {
    changed: Vec<String>,
    /// Those that hold from the next start on.
    later: Vec<String>,
}

impl Reload {
    /// `started`: the settings with which it was started. `may_change`: those that `read` can change.
    pub fn new<C: Serialize>(
        started: &C,
        may_change: &'static [&'static str],
        log: LogLevel,
        counts: Reloads,
        read: impl Fn() -> anyhow::Result<(Table, Apply)> + Send + 'static,
    ) -> anyhow::Result<Reload> {
        let started = Table::try_from(started).context("the settings are not TOML")?;
        Ok(Reload { now: flat(&started), may_change, log, counts, read: Box::new(read) })
    }

    /// Reads again at each SIGHUP, until the process ends.
    pub fn watch(mut self, mut hang_ups: HangUps, supervisor: Supervisor) {
        tokio::spawn(async move {
            loop {
                hang_ups.next().await;
                supervisor.reload(|| self.reload());
            }
        });
    }

    fn reload(&mut self) {
        match self.read_again() {
            Ok(Others { changed, later }) => {
                self.counts.count(0);
                let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
                tracing::info!(changed, "SIGHUP: the settings were read again");
                if !later.is_empty() {
                    let settings = later.join(", ");
                    tracing::warn!(
                        settings,
                        "these are others now, and cannot change while this server runs: they hold from its next start on"
                    );
                }
            }
            Err(error) => {
                self.counts.count(1);
                tracing::warn!(
                    error = format!("{error:#}"),
                    "SIGHUP: the new settings cannot be used, and none of them is: those from before go on. Mend them, and send SIGHUP"
                );
            }
        }
    }

    fn read_again(&mut self) -> anyhow::Result<Others> {
        let (table, apply) = (self.read)()?;
        let new = flat(&table);
        let filter = log_filter(new.get(LOG).and_then(Value::as_str).unwrap_or_default())?;
        let others = others(&self.now, &new, |name| name == LOG || self.may_change(name));
        if others.changed.iter().any(|name| name == LOG) {
            self.log.set(filter)?;
        }
        apply();
        for name in &others.changed {
            match new.get(name) {
                Some(value) => self.now.insert(name.clone(), value.clone()),
                None => self.now.remove(name),
            };
        }
        Ok(others)
    }

    fn may_change(&self, name: &str) -> bool {
        self.may_change
            .iter()
            .any(|may| name.strip_prefix(may).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("may_change", &self.may_change).finish_non_exhaustive()
    }
}

fn others(now: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>, may_change: impl Fn(&str) -> bool) -> Others {
    let mut names: Vec<&String> =
        now.keys().chain(new.keys()).filter(|name| now.get(*name) != new.get(*name)).collect();
    names.sort();
    names.dedup();
    let (changed, later) = names.into_iter().cloned().partition(|name: &String| may_change(name));
    Others { changed, later }
}

impl Reloads {
    fn count(&self, result: usize) {
        self.0[result].fetch_add(1, Ordering::Relaxed);
    }
}

impl Tell for Reloads {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        telling.each(&RELOADS, RESULTS.into_iter().zip(counts).map(|(result, count)| ([result], count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    type Shared<T> = Arc<Mutex<T>>;

    /// A server that takes `limits` and `log` anew, from a text that a test changes, and notes what is applied.
    fn reload(log: LogLevel) -> (Reload, Shared<String>, Shared<Vec<String>>) {
        let text = Arc::new(Mutex::new("log = \"info\"\nlisten = \"a\"\n[limits]\nrate = 1\n".to_owned()));
        let applied = Arc::new(Mutex::new(Vec::new()));
        let (read_from, note) = (text.clone(), applied.clone());
        let read = move || {
            let table: Table = read_from.lock().unwrap().parse()?;
            let (rate, note) = (table["limits"]["rate"].to_string(), note.clone());
            let apply: Apply = Box::new(move || note.lock().unwrap().push(rate));
            Ok((table, apply))
        };
        let started: Table = text.lock().unwrap().parse().unwrap();
        (Reload::new(&started, &["limits"], log, Reloads::default(), read).unwrap(), text, applied)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_may_change_does_and_what_may_not_is_named_each_time() {
        let (mut reload, text, applied) = reload(LogLevel::none());
        assert_eq!(reload.read_again().unwrap(), Others::default());
        *text.lock().unwrap() = "log = \"debug\"\nlisten = \"b\"\n[limits]\nrate = 2\n".to_owned();
        let (changed, later) = (names(&["limits.rate", "log"]), names(&["listen"]));
        assert_eq!(reload.read_again().unwrap(), Others { changed, later: later.clone() });
        assert_eq!(reload.read_again().unwrap(), Others { changed: Vec::new(), later });
        assert_eq!(*applied.lock().unwrap(), ["1", "2", "2"]);
    }

    #[test]
    fn of_settings_that_cannot_be_used_nothing_is() {
        let (mut reload, text, applied) = reload(LogLevel::none());
        for bad in ["log = \"debug\"\n[limits]\nrate = = 1\n", "log = \"a=b=c\"\nlisten = \"a\"\n[limits]\nrate = 3\n"]
        {
            *text.lock().unwrap() = bad.to_owned();
            assert!(reload.read_again().is_err(), "{bad}");
            reload.reload();
        }
        assert!(applied.lock().unwrap().is_empty());
        assert_eq!(reload.counts.0[1].load(Ordering::Relaxed), 2);
        assert_eq!(reload.now["log"].as_str(), Some("info"));
    }
}
