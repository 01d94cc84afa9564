//! The procedures that do not fit the database at present: told to people, and looked at again until they fit.

use crate::ready;
use crate::session::Session;
use mysql_async::Error;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;
use undoubt_sql::Procedures;

/// The time for which a fault is told that showed when a statement ran, and that the server's description does not show.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// Procedures with what is wrong, by their names.
#[derive(Debug, Default)]
pub(crate) struct Unfit(Mutex<BTreeMap<String, Found>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// By the server, which described the statements; a sentence for each fault.
    Described(Vec<String>),
    /// By a statement that was refused as it ran.
    Met { fault: String, at: Instant },
}

impl Unfit {
    /// Notes that a procedure was refused as it ran.
    pub(crate) fn met(&self, procedure: &str, fault: &str) {
        self.found()
            .entry(procedure.to_owned())
            .or_insert_with(|| Found::Met { fault: fault.to_owned(), at: Instant::now() });
    }

    /// Has the server describe procedures: all, or those that did not fit before.
    pub(crate) async fn look(&self, session: &mut Session, procedures: &Procedures, all: bool) -> Result<(), Error> {
        for procedure in procedures.iter() {
            if !all && !self.found().contains_key(&procedure.name) {
                continue;
            }
            let lacks = ready::lacks(session, procedure).await?;
            let faults = lacks.iter().filter(|lack| lack.is_needed);
            self.describe(&procedure.name, faults.map(|lack| format!("{}; {}", lack.what, lack.change)).collect());
        }
        Ok(())
    }

    fn describe(&self, procedure: &str, faults: Vec<String>) {
        let mut found = self.found();
        let before = found.get(procedure);
        if faults.is_empty() {
            match before {
                None => {}
                Some(Found::Met { at, .. }) if at.elapsed() < TOLD_FOR => {}
                Some(Found::Met { .. } | Found::Described(_)) => {
                    tracing::info!(procedure, "the procedure fits the database");
                    found.remove(procedure);
                }
            }
            return;
        }
        let described = Found::Described(faults);
        if before != Some(&described) {
            tracing::error!(procedure, ?described, "the procedure does not fit the database, and is refused");
            found.insert(procedure.to_owned(), described);
        }
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let told = |found: &Found| match found {
            Found::Described(faults) => faults.clone(),
            Found::Met { fault, .. } => vec![fault.clone()],
        };
        self.found().values().flat_map(told).collect()
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<String, Found>> {
        // Nothing between taking and freeing it can panic.
        self.0.lock().expect("the map of procedures is whole")
    }
}
