//! A resource in memory. Its work is text, an operation a line, and so is its result, a value a line:
//!
//! * `put KEY VALUE` sets a value, `get KEY` reads one;
//! * `copy KEY` sets what the last of a step's inputs tells.

use super::*;
use crate::resource::{Committing, Ended, Kept, Pin, Resource, StepState, Steps};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, OnceLock};
use tokio::sync::Notify;
use undoubt_vocabulary::Refusal;

pub(super) fn put(key: &str, value: &str) -> Bytes {
    format!("put {key} {value}").into()
}

pub(super) fn get(key: &str) -> Bytes {
    format!("get {key}").into()
}

pub(super) fn copy(key: &str) -> Bytes {
    format!("copy {key}").into()
}

pub(super) fn all(work: impl IntoIterator<Item = Bytes>) -> Bytes {
    work.into_iter().collect::<Vec<_>>().join(&b"\n"[..]).into()
}

/// What survives a crash.
#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<Stored>);

#[derive(Debug, Default)]
struct Stored {
    takes_no_writes: bool,
    /// Calls are unclear: they take effect and lose their answer, or take none.
    unclear: Option<bool>,
    /// It cannot be asked the next time what became of a step.
    settles_later: bool,
    compensations: u32,
    values: BTreeMap<String, String>,
    prepared: BTreeMap<BranchId, (Timestamp, Evaluation)>,
    finished: BTreeMap<BranchId, Bytes>,
    heuristics: BTreeMap<BranchId, (Timestamp, Heuristic)>,
    steps: BTreeMap<StepId, (StepState, Bytes)>,
    /// Branches that somebody else has ended, by a commit or not.
    gone: BTreeMap<BranchId, bool>,
    /// Branches that were prepared at nobody's word.
    late: BTreeSet<BranchId>,
}

impl Disk {
    /// Fails every write from now on, or no longer.
    pub(super) fn fails_writes(&self, fails: bool) {
        self.stored().takes_no_writes = fails;
    }

    /// Loses the answer of the next write, which takes effect or does not.
    pub(super) fn loses_the_next_answer(&self, takes_effect: bool) {
        self.stored().unclear = Some(takes_effect);
    }

    pub(super) fn settles_later(&self) {
        self.stored().settles_later = true;
    }

    pub(super) fn compensations(&self) -> u32 {
        self.stored().compensations
    }

    /// Ends a prepared branch as somebody else would, in the resource itself.
    pub(super) fn ends_by_another_hand(&self, attempt_number: u64, commit: bool) {
        let mut stored = self.stored();
        let found =
            stored.prepared.keys().find(|branch| branch.attempt_number == AttemptNumber(attempt_number)).cloned();
        let branch = found.expect("it is prepared");
        let (_, work) = stored.prepared.remove(&branch).expect("it is prepared");
        if commit {
            stored.values.extend(work.writes);
        }
        stored.gone.insert(branch, commit);
    }

    /// Prepares a branch that sets a value, as a session does whose client is gone.
    pub(super) fn lands_late(&self, branch: BranchId, key: &str, value: &str) {
        let writes = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let mut stored = self.stored();
        stored.late.insert(branch.clone());
        stored.prepared.insert(branch, (Timestamp(1), Evaluation { writes, ..Evaluation::default() }));
    }

    pub(super) fn value(&self, key: &str) -> Option<String> {
        self.stored().values.get(key).cloned()
    }

    pub(super) fn prepared(&self) -> usize {
        self.stored().prepared.len()
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    fn write<T>(&self, change: impl FnOnce(&mut Stored) -> T) -> Result<T, ResourceError> {
        let mut stored = self.stored();
        if stored.takes_no_writes {
            return Err(ResourceError::Unavailable { cause: "it takes no writes".into() });
        }
        let unclear = stored.unclear.take();
        if unclear == Some(false) {
            return Err(lost());
        }
        let changed = change(&mut stored);
        if unclear.is_some() { Err(lost()) } else { Ok(changed) }
    }
}

fn lost() -> ResourceError {
    ResourceError::Unclear { cause: "its answer was lost".into() }
}

/// What work comes to.
#[derive(Clone, Debug, Default)]
struct Evaluation {
    reads: Vec<String>,
    writes: BTreeMap<String, String>,
    result: Bytes,
}

impl Evaluation {
    fn conflicts_with(&self, other: &Evaluation) -> bool {
        let touches = |of: &Evaluation, key| of.writes.contains_key(key) || of.reads.contains(key);
        self.writes.keys().any(|key| touches(other, key)) || other.writes.keys().any(|key| touches(self, key))
    }
}

#[derive(Debug)]
pub(super) struct Memory {
    disk: Arc<Disk>,
    /// Whoever holds locks.
    holders: Mutex<BTreeMap<BranchId, (Timestamp, Evaluation)>>,
    freed: Notify,
    room: OnceLock<Room>,
}

impl Memory {
    pub(super) fn over(disk: Arc<Disk>) -> Memory {
        Memory { disk, holders: Mutex::default(), freed: Notify::new(), room: OnceLock::new() }
    }

    fn holders(&self) -> MutexGuard<'_, BTreeMap<BranchId, (Timestamp, Evaluation)>> {
        self.holders.lock().unwrap()
    }

    fn leave(&self, branch: &BranchId) {
        self.holders().remove(branch);
        self.freed.notify_waiters();
    }

    /// Frees what a branch has locked, as a connection that breaks does.
    pub(super) fn loses_its_locks(&self, attempt_number: u64) {
        self.holders().retain(|branch, _| branch.attempt_number != AttemptNumber(attempt_number));
    }

    /// Reads no more than there is room for.
    fn evaluate(&self, work: &[u8], inputs: &[Bytes]) -> Result<Evaluation, ResourceError> {
        let (mut evaluation, mut told) = (Evaluation::default(), String::new());
        for line in std::str::from_utf8(work).unwrap().lines() {
            let mut words = line.splitn(3, ' ');
            let (verb, key) = (words.next().unwrap(), words.next().unwrap().to_owned());
            let value = match verb {
                "get" => {
                    told += self.disk.stored().values.get(&key).map_or("", String::as_str);
                    told.push('\n');
                    evaluation.reads.push(key);
                    continue;
                }
                "put" => words.next().unwrap().to_owned(),
                "copy" => String::from_utf8(inputs.last().unwrap().to_vec()).unwrap(),
                other => panic!("unknown verb {other}"),
            };
            evaluation.writes.insert(key, value);
        }
        if told.len() > self.room.get().map_or(usize::MAX, Room::largest) {
            return Err(ResourceError::NoRoom);
        }
        evaluation.result = told.into();
        Ok(evaluation)
    }

    /// Who is younger than a holder is refused, who is older waits for it.
    fn lock(&self, branch: &BranchId, begun_at: Timestamp, wanted: &Evaluation) -> Result<bool, Refusal> {
        let mut holders = self.holders();
        let mut in_the_way = holders.values().filter(|(_, held)| held.conflicts_with(wanted)).peekable();
        if in_the_way.peek().is_some() {
            let older = in_the_way.any(|(holder, _)| *holder < begun_at);
            let conflict = || Refusal::new(RefusalCode::LockConflict, "an older one has a lock that this one needs");
            return if older { Err(conflict()) } else { Ok(false) };
        }
        holders.insert(branch.clone(), (begun_at, wanted.clone()));
        Ok(true)
    }
}

impl Resource for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn recover(&self, _: &ParticipantName) -> Result<Recovered, ResourceError> {
        let stored = self.disk.stored();
        *self.holders() = stored.prepared.clone();
        let prepared = stored.prepared.iter();
        let finished = stored.finished.iter();
        let heuristics = stored.heuristics.iter();
        Ok(Recovered {
            prepared: prepared
                .map(|(branch, (begun_at, work))| PreparedBranch {
                    branch: branch.clone(),
                    begun_at: *begun_at,
                    result: Some(work.result.clone()),
                })
                .collect(),
            finished: finished
                .map(|(branch, result)| FinishedBranch {
                    branch: branch.clone(),
                    outcome: BranchOutcome::Committed,
                    result: Kept::up_to(SHORT_RESULT_BYTES, result.clone()),
                })
                .collect(),
            heuristics: heuristics
                .map(|(branch, (begun_at, heuristic))| HeuristicBranch {
                    branch: branch.clone(),
                    begun_at: *begun_at,
                    heuristic: heuristic.clone(),
                })
                .collect(),
            steps: stored
                .steps
                .iter()
                .map(|(step, (state, _))| RecoveredStep { step: step.clone(), state: state.clone() })
                .collect(),
            ..Recovered::default()
        })
    }

    async fn record_epoch(&self, _: CoordinatorId, _: Epoch, _: Option<Pin>) -> Result<(), ResourceError> {
        Ok(())
    }

    async fn collect(&self, _: CoordinatorId, _: LowWaterMark) -> Result<(), ResourceError> {
        Ok(())
    }

    fn use_room(&self, room: Room) {
        self.room.set(room).unwrap();
    }
}

impl Steps for Memory {
    async fn act(&self, step: StepId, run: RunStep, _: CancellationToken) -> Result<StepOutcome, ResourceError> {
        let Evaluation { writes, result, .. } = self.evaluate(&run.work, &run.inputs)?;
        let kept = Kept::up_to(SHORT_RESULT_BYTES, result.clone());
        self.disk.write(|disk| {
            disk.values.extend(writes);
            disk.steps.insert(step, (StepState::Acted { result: kept, pending: false }, result.clone()));
        })?;
        Ok(StepOutcome::Done { result, pending: false })
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        let work = self.evaluate(&run.work, &run.inputs)?;
        self.disk.write(|disk| {
            disk.values.extend(work.writes);
            disk.compensations += 1;
            disk.steps.insert(step, (StepState::Compensated, Bytes::new()));
        })?;
        Ok(done())
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        self.disk.write(|disk| drop(disk.steps.insert(step, (StepState::Empty, Bytes::new()))))
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        let mut stored = self.disk.stored();
        if std::mem::take(&mut stored.settles_later) {
            return Err(ResourceError::Unavailable { cause: "nobody listens there".to_owned() });
        }
        Ok(stored.steps.get(&step).map(|(state, _)| state.clone()))
    }

    fn recalls_results(&self) -> bool {
        true
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        Ok(self.disk.stored().steps.get(&step).map(|(_, result)| result.clone()))
    }
}

impl Branches for Memory {
    fn found(&self) -> Vec<PreparedBranch> {
        let stored = self.disk.stored();
        let late = stored.late.iter().filter_map(|branch| stored.prepared.get_key_value(branch));
        late.map(|(branch, (begun_at, _))| PreparedBranch { branch: branch.clone(), begun_at: *begun_at, result: None })
            .collect()
    }

    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        let until = Instant::now() + prepare.timeout;
        let evaluation = loop {
            let freed = self.freed.notified();
            let evaluation = self.evaluate(&prepare.work, &[])?;
            match self.lock(&branch, prepare.begun_at, &evaluation) {
                Ok(true) => break evaluation,
                Ok(false) => {}
                Err(refusal) => return Ok(Vote::Refused(refusal)),
            }
            let code = tokio::select! {
                biased;
                () = cancelled.cancelled() => RefusalCode::Late,
                () = freed => continue,
                () = tokio::time::sleep_until(until) => RefusalCode::LockTimeout,
            };
            return Ok(Vote::Refused(Refusal::new(code, "its locks were not free")));
        };
        let result = evaluation.result.clone();
        let mut held = self.room.get().map(Room::hold);
        held.iter_mut().for_each(|held| held.add(result.len()));
        let written = match (prepare.execution, evaluation.writes.is_empty()) {
            (Execution::TwoPhase, true) => return Ok(Vote::ReadOnly { result }),
            (Execution::OnePhase, true) => {
                self.leave(&branch);
                return Ok(Vote::ReadOnly { result });
            }
            (Execution::TwoPhase, false) => {
                let prepared = (prepare.begun_at, evaluation);
                let write = |disk: &mut Stored| drop(disk.prepared.insert(branch.clone(), prepared));
                self.disk.write(write).map(|()| Vote::Prepared { result })
            }
            (Execution::OnePhase, false) => {
                let written = self.disk.write(|disk| {
                    disk.values.extend(evaluation.writes);
                    disk.finished.insert(branch.clone(), result.clone());
                });
                self.leave(&branch);
                written.map(|()| Vote::Committed { result })
            }
        };
        if written.is_err() {
            self.leave(&branch);
        }
        written
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        let held = self.holders().contains_key(&branch);
        self.leave(&branch);
        Ok(held)
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        let gone = self.disk.write(|disk| {
            if let Some((_, work)) = disk.prepared.remove(&branch) {
                disk.values.extend(work.writes);
                disk.finished.insert(branch.clone(), Bytes::new());
            }
            disk.gone.get(&branch) == Some(&false)
        })?;
        self.leave(&branch);
        Ok(if gone { Ended::Gone } else { Ended::AsTold })
    }

    /// All of them in one write.
    fn commit_all(self: &Arc<Self>, branches: Vec<BranchId>) -> Vec<Committing> {
        let (memory, committed) = (self.clone(), branches.clone());
        let together = async move {
            for branch in committed {
                if memory.commit(branch).await? == Ended::Gone {
                    return Err(lost());
                }
            }
            Ok(())
        };
        vec![(branches, together.boxed())]
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        let gone = self.disk.write(|disk| {
            disk.prepared.remove(&branch);
            disk.gone.get(&branch) == Some(&true)
        })?;
        self.leave(&branch);
        Ok(if gone { Ended::Gone } else { Ended::AsTold })
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        self.disk.write(|disk| {
            let Some((begun_at, work)) = disk.prepared.remove(&branch) else { return };
            if heuristic.commit {
                disk.values.extend(work.writes);
            }
            disk.heuristics.insert(branch.clone(), (begun_at, heuristic));
        })?;
        self.leave(&branch);
        Ok(Ended::AsTold)
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        self.disk.write(|disk| drop(disk.heuristics.insert(branch, (begun_at, heuristic))))
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        self.disk.write(|disk| drop(disk.heuristics.remove(&branch)))
    }

    async fn settle(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        self.result_of(branch).await
    }

    async fn result_of(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        Ok(self.disk.stored().finished.get(&branch).cloned())
    }
}
