//! A resource that takes part in two-phase commit: a vault in memory, which is the shelf of `steps_only.rs` and can prepare as
//! well. It ends with the conformance suite run on itself (`cargo run --example branches`).

#[allow(dead_code, reason = "it is an example of its own")]
#[path = "steps_only.rs"]
mod steps_only;

use bytes::Bytes;
use std::sync::{Arc, Mutex};
use steps_only::texts::{Change, Texts, evaluate, key_of};
use steps_only::{Disk, Shelf};
use tokio_util::sync::CancellationToken;
use undoubt_participant::conformance::{self, BranchWorld, Locking};
use undoubt_participant::resource::*;
use undoubt_vocabulary::*;

/// The data that survive a crash of the participant. Each call changes it once, under its lock, and the shelf with it.
#[derive(Default)]
struct Ledger {
    shelf: Arc<Mutex<Disk>>,
    prepared: Vec<(PreparedBranch, Change)>,
    finished: Vec<FinishedBranch>,
    heuristics: Vec<HeuristicBranch>,
}

struct Vault {
    shelf: Shelf,
    ledger: Arc<Mutex<Ledger>>,
    /// Branches that have voted read-only, and what they hold: in memory only.
    readers: Mutex<Vec<(BranchId, String)>>,
}

impl Vault {
    fn over(ledger: Arc<Mutex<Ledger>>) -> Vault {
        let shelf = Shelf(ledger.lock().expect("nobody panics with it").shelf.clone());
        Vault { shelf, ledger, readers: Mutex::default() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Ledger, &mut Vec<(BranchId, String)>) -> T) -> T {
        let panics = "nobody panics with it";
        change(&mut self.ledger.lock().expect(panics), &mut self.readers.lock().expect(panics))
    }

    /// Returns a refusal where a lock is in the way: whoever comes to one is told to come again, and waits for nothing.
    fn refusal(&self, work: &Bytes, only_reads: bool) -> Option<Refusal> {
        let key = key_of(work);
        let is_held = self.change(|ledger, readers| {
            let is_written = ledger.prepared.iter().any(|(_, change)| change.key == key);
            is_written || (!only_reads && readers.iter().any(|(_, read)| *read == key))
        });
        is_held.then(|| Refusal::new(RefusalCode::LockTimeout, format!("{key} is locked; try again")))
    }

    /// Ends a branch, with its data or without, and with a record of how it ended.
    fn end(&self, id: &BranchId, commit: bool, heuristic: Option<Heuristic>) -> Result<Ended, ResourceError> {
        self.change(|ledger, readers| {
            readers.retain(|(reader, _)| reader != id);
            let found = ledger.prepared.iter().position(|(prepared, _)| prepared.branch == *id);
            let Some((PreparedBranch { branch, begun_at, .. }, change)) = found.map(|at| ledger.prepared.remove(at))
            else {
                return;
            };
            if let (true, Some(value)) = (commit, change.value) {
                self.shelf.change(|disk| disk.values.insert(change.key, value));
            }
            if let Some(heuristic) = heuristic {
                ledger.heuristics.push(HeuristicBranch { branch, begun_at, heuristic });
            } else if commit {
                let (outcome, result) = (BranchOutcome::Committed, Kept::Here(Bytes::new()));
                ledger.finished.push(FinishedBranch { branch, outcome, result });
            }
        });
        Ok(Ended::AsTold)
    }
}

impl Branches for Vault {
    async fn prepare(&self, branch: BranchId, prepare: Prepare, _: CancellationToken) -> Result<Vote, ResourceError> {
        let change = match self.shelf.change(|disk| evaluate(&disk.values, &prepare.work)) {
            Ok(change) => change,
            Err(refusal) => return Ok(Vote::Refused(refusal)),
        };
        if let Some(refusal) = self.refusal(&prepare.work, change.value.is_none()) {
            return Ok(Vote::Refused(refusal));
        }
        let (result, reads) = (change.result.clone(), change.value.is_none());
        Ok(self.change(|ledger, readers| match (prepare.execution, reads) {
            (Execution::OnePhase, true) => Vote::ReadOnly { result },
            (Execution::TwoPhase, true) => {
                readers.push((branch, change.key));
                Vote::ReadOnly { result }
            }
            (Execution::OnePhase, false) => {
                self.shelf.change(|disk| disk.values.insert(change.key, change.value.unwrap_or_default()));
                let (outcome, kept) = (BranchOutcome::Committed, Kept::Here(result.clone()));
                ledger.finished.push(FinishedBranch { branch, outcome, result: kept });
                Vote::Committed { result }
            }
            (Execution::TwoPhase, false) => {
                let (begun_at, kept) = (prepare.begun_at, Some(result.clone()));
                ledger.prepared.push((PreparedBranch { branch, begun_at, result: kept }, change));
                Vote::Prepared { result }
            }
        }))
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        Ok(self.change(|_, readers| readers.extract_if(.., |(reader, _)| *reader == branch).count() > 0))
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        self.end(&branch, true, None)
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        self.end(&branch, false, None)
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        self.end(&branch, heuristic.commit, Some(heuristic))
    }

    async fn store_heuristic(&self, id: BranchId, at: Timestamp, how: Heuristic) -> Result<(), ResourceError> {
        self.forget_heuristic(id.clone()).await?;
        let kept = HeuristicBranch { branch: id, begun_at: at, heuristic: how };
        self.change(|ledger, _| ledger.heuristics.push(kept));
        Ok(())
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.change(|ledger, _| ledger.heuristics.retain(|kept| kept.branch != branch));
        Ok(())
    }
}

#[path = "support/vault.rs"]
mod as_the_shelf;

fn main() {
    as_the_shelf::main();
}
