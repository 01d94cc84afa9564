//! Named places where a process can be made to die, so that every crash between two steps can be tried on purpose.
//!
//! Code calls [`CrashPoints::reach`] with a constant name where a crash would be telling. Without anything set that is
//! one branch. A test of real processes sets one from a text such as `decision-logged:17`; the simulation observes them
//! all and crashes its simulated host by itself.

use crate::terminal::complain;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// The actions at crash points. The default does nothing anywhere.
#[derive(Clone, Default)]
pub struct CrashPoints(Option<Arc<dyn Fn(&'static str) + Send + Sync>>);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CrashSpecError {
    #[error("'{spec}' has no count: a crash point is written name:count, such as decision-logged:17")]
    NoCount { spec: String },
    #[error(
        "'{spec}' names no point before its colon: a crash point is written name:count, such as decision-logged:17"
    )]
    NoName { spec: String },
    #[error("'{count}' in '{spec}' is no count: write a whole number from 1 up, 1 for the first time")]
    InvalidCount { spec: String, count: String },
}

impl CrashPoints {
    /// Reads `name:count`, which aborts the process when the point is reached for the count-th time: at once, with no
    /// destructor run and no buffer flushed.
    pub fn from_spec(spec: &str) -> Result<CrashPoints, CrashSpecError> {
        let (name, count) = parse(spec)?;
        let remaining = AtomicU64::new(count);
        Ok(CrashPoints::observed_by(Arc::new(move |point| {
            if point == name && remaining.fetch_sub(1, Ordering::Relaxed) == 1 {
                complain(format_args!("crash point {point} reached for time {count}: aborting"));
                std::process::abort();
            }
        })))
    }

    /// Calls `observer` at every point, in the thread that reaches it.
    pub fn observed_by(observer: Arc<dyn Fn(&'static str) + Send + Sync>) -> CrashPoints {
        CrashPoints(Some(observer))
    }

    #[inline]
    pub fn reach(&self, point: &'static str) {
        if let Some(observer) = &self.0 {
            observer(point);
        }
    }
}

impl fmt::Debug for CrashPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "CrashPoints(set)" } else { "CrashPoints(none)" })
    }
}

fn parse(spec: &str) -> Result<(String, u64), CrashSpecError> {
    let spec_text = || spec.to_owned();
    let (name, count) = spec.rsplit_once(':').ok_or_else(|| CrashSpecError::NoCount { spec: spec_text() })?;
    if name.is_empty() {
        return Err(CrashSpecError::NoName { spec: spec_text() });
    }
    match count.parse() {
        Ok(times) if times > 0 => Ok((name.to_owned(), times)),
        Ok(_) | Err(_) => Err(CrashSpecError::InvalidCount { spec: spec_text(), count: count.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_spec_without_name_or_count_is_refused_with_its_cause() {
        let refusal = |spec: &str| CrashPoints::from_spec(spec).unwrap_err();
        assert!(matches!(refusal("decision-logged"), CrashSpecError::NoCount { .. }));
        assert!(matches!(refusal(""), CrashSpecError::NoCount { .. }));
        assert!(matches!(refusal(":3"), CrashSpecError::NoName { .. }));
        for spec in ["a:", "a:0", "a:-1", "a:many", "a:1.5"] {
            assert!(matches!(refusal(spec), CrashSpecError::InvalidCount { .. }), "{spec}");
        }
        assert!(refusal("a:many").to_string().contains("'many'"));
    }

    #[test]
    fn an_observer_hears_every_point_in_order() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&heard);
        let points = CrashPoints::observed_by(Arc::new(move |point| listener.lock().unwrap().push(point)));
        points.reach("first");
        points.clone().reach("second");
        CrashPoints::default().reach("third");
        assert_eq!(*heard.lock().unwrap(), ["first", "second"]);
    }

    #[test]
    fn the_process_dies_at_the_named_point_when_it_is_reached_for_the_counted_time() {
        const IN_CHILD: &str = "UNDOUBT_TEST_CRASH_CHILD";
        let name = "crash::tests::the_process_dies_at_the_named_point_when_it_is_reached_for_the_counted_time";
        if std::env::var_os(IN_CHILD).is_some() {
            let points = CrashPoints::from_spec("here:3").unwrap();
            for round in 1..=5 {
                points.reach("elsewhere");
                eprintln!("round {round}");
                points.reach("here");
            }
            return;
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(IN_CHILD, "yes")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(!child.status.success());
        assert!(said.contains("round 3") && !said.contains("round 4"), "{said}");
        assert!(said.contains("crash point here reached for time 3"), "{said}");
    }
}
