//! After anything an honest disk can suffer, what is opened is a prefix of what was written, and reaches at least to the
//! last forced write that was answered. A disk that lies breaks this, and the very same check says so.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use undoubt_platform::{Operation, store::Direction};

use super::*;

const CASES: u32 = 1_000;
const COUNTER: Family = FAMILIES[1];

#[derive(Clone, Debug)]
enum Step {
    Write {
        changes: Vec<Change>,
        durability: Durability,
    },
    Wait {
        micros: u64,
    },
    Pause,
    Resume,
    FailNextSync,
    Room {
        bytes: u64,
    },
    /// The process dies. If power is lost too, the share of what was not stable is left.
    Restart {
        power_lost: Option<f64>,
    },
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8),
    Delete(u8),
    DeleteRange(u8, u8),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Honest,
    Lying,
    /// May lose what was acknowledged, if that is booked.
    LyingByTheBook,
}

#[test]
fn an_honest_disk_opens_with_a_prefix_that_holds_every_forced_write_that_was_answered() {
    runner().run(&steps(), |steps| run(&steps, Kind::Honest).map_err(TestCaseError::fail)).unwrap();
}

#[test]
fn a_lying_disk_fails_the_same_check_and_is_found_within_as_many_cases() {
    let found = runner().run(&steps(), |steps| run(&steps, Kind::Lying).map_err(TestCaseError::fail));
    let found = found.expect_err("lies must be found").to_string();
    assert!(found.contains("acknowledged"), "{found}");
}

/// Checkers excuse what is booked: one key too few is a false alarm, one too many hides a defect.
#[test]
fn what_lies_cost_is_booked_key_by_key_and_nothing_else_is() {
    runner().run(&steps(), |steps| run(&steps, Kind::LyingByTheBook).map_err(TestCaseError::fail)).unwrap();
}

#[test]
fn a_lost_record_fails_the_same_check() {
    let steps = [write(Durability::Forced), Step::Wait { micros: 9_000 }, write(Durability::Forced)];
    let mut checked = Checked::new(Kind::Honest);
    let failure = runtime()
        .block_on(async {
            for step in &steps {
                checked.take(step).await?;
            }
            checked.disk.scrub(COUNTER, &0_u64.to_be_bytes());
            checked.restart(None)
        })
        .expect_err("a hole must be found");
    assert!(failure.contains("no prefix"), "{failure}");
}

/// The same cases in every run.
fn runner() -> TestRunner {
    let config = Config { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Config::with_cases(CASES) };
    TestRunner::new(config)
}

fn write(durability: Durability) -> Step {
    Step::Write { changes: vec![Change::Put(1)], durability }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![
        4 => any::<u8>().prop_map(Change::Put),
        1 => any::<u8>().prop_map(Change::Delete),
        1 => any::<(u8, u8)>().prop_map(|(from, to)| Change::DeleteRange(from, to)),
    ];
    let changes = prop::collection::vec(change, 0..4);
    let durability = prop_oneof![Just(Durability::Forced), Just(Durability::Lazy)];
    let restart = prop::option::of(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0]);
    let step = prop_oneof![
        20 => (changes, durability).prop_map(|(changes, durability)| Step::Write { changes, durability }),
        8 => (0..4_000_u64).prop_map(|micros| Step::Wait { micros }),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => Just(Step::FailNextSync),
        1 => (0..200_u64).prop_map(|bytes| Step::Room { bytes }),
        3 => restart.prop_map(|power_lost| Step::Restart { power_lost }),
    ];
    prop::collection::vec(step, 1..60)
}

fn run(steps: &[Step], kind: Kind) -> Result<(), String> {
    runtime().block_on(async {
        let mut checked = Checked::new(kind);
        for step in steps {
            checked.take(step).await?;
        }
        checked.restart(Some(0.0))
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// A disk, and what may be on it.
struct Checked {
    kind: Kind,
    disk: Disk,
    process: Process,
    store: DiskStore,
    /// What may be on the disk, in the order of the writes: each batch but those known to be refused.
    history: Vec<Batch>,
    next_number: u64,
    /// Writes without an answer, and how long the history was with each.
    unanswered: Vec<(usize, Durability, Written)>,
    /// How much of the history was answered as durable.
    acknowledged: usize,
    /// What must be booked.
    lost: BTreeSet<(Family, Bytes)>,
}

impl Checked {
    fn new(kind: Kind) -> Checked {
        let (disk, process) = (Disk::new("disk", 1), Process::default());
        disk.lie_about_syncs(kind != Kind::Honest);
        let store = disk.open(&FAMILIES, process.clone()).unwrap();
        let (history, unanswered) = (Vec::new(), Vec::new());
        Checked {
            kind,
            disk,
            process,
            store,
            history,
            next_number: 0,
            unanswered,
            acknowledged: 0,
            lost: BTreeSet::new(),
        }
    }

    async fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Write { changes, durability } => self.write(changes, *durability),
            Step::Wait { micros } => tokio::time::sleep(Duration::from_micros(*micros)).await,
            Step::Pause => self.process.pause(),
            Step::Resume => self.process.resume(),
            Step::FailNextSync => self.disk.fail_next_sync(true),
            Step::Room { bytes } => self.disk.set_room(Some(*bytes)),
            Step::Restart { power_lost } => self.restart(*power_lost)?,
        }
        Ok(())
    }

    fn write(&mut self, changes: &[Change], durability: Durability) {
        let mut batch = Batch::default();
        batch.put(COUNTER, self.next_number.to_be_bytes(), "");
        for change in changes {
            match change {
                Change::Put(key) => batch.put(DATA, vec![*key], self.next_number.to_be_bytes()),
                Change::Delete(key) => batch.delete(DATA, vec![*key]),
                Change::DeleteRange(from, to) => batch.delete_range(DATA, vec![*from], vec![*to]),
            }
        }
        self.next_number += 1;
        let mut written = self.store.write(batch.clone(), durability);
        let answer = (&mut written).now_or_never();
        if matches!(answer, Some(Err(StoreError::Stopped { .. }))) {
            return;
        }
        self.history.push(batch);
        if answer.is_none() {
            self.unanswered.push((self.history.len(), durability, written));
        }
    }

    fn hear(&mut self) {
        for (length, durability, written) in std::mem::take(&mut self.unanswered) {
            if written.now_or_never() == Some(Ok(())) && durability == Durability::Forced {
                self.acknowledged = self.acknowledged.max(length);
            }
        }
    }

    fn restart(&mut self, power_lost: Option<f64>) -> Result<(), String> {
        self.hear();
        self.process.kill();
        if let Some(keep) = power_lost {
            self.disk.lose_power(keep);
        }
        self.disk.set_room(None);
        self.process = Process::default();
        let mut opened = self.disk.open(&FAMILIES, self.process.clone());
        if matches!(opened, Err(StoreError::Io { .. })) {
            // The sync that was to fail was that of the opening.
            opened = self.disk.open(&FAMILIES, self.process.clone());
        }
        self.store = opened.map_err(|error| format!("an honest disk was refused: {error}"))?;
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        let found = FAMILIES.map(|family| self.store.scan(family, b"", None, Direction::Forward, usize::MAX).unwrap());
        let length = found[1].len();
        if length < self.acknowledged && self.kind != Kind::LyingByTheBook {
            return Err(format!("{} batches were acknowledged, and {length} are there", self.acknowledged));
        }
        for batch in length..self.acknowledged {
            self.lost.extend(touched(&self.history[..batch], &self.history[batch]));
        }
        self.history.truncate(length);
        // What is there was there at the start of a process, which may have acted on it.
        self.acknowledged = length;
        let expected = FAMILIES.map(|family| replayed(&self.history, family));
        if found != expected {
            return Err(format!("found {found:?}, which is no prefix: not {expected:?}"));
        }
        if self.disk.destroyed() != self.lost {
            return Err(format!("{:?} is booked, and {:?} was lost", self.disk.destroyed(), self.lost));
        }
        Ok(())
    }
}

/// The keys that a batch concerns behind this history. What it puts and deletes again is among what it puts.
fn touched(history: &[Batch], batch: &Batch) -> BTreeSet<(Family, Bytes)> {
    let mut touched = BTreeSet::new();
    for operation in batch.iter() {
        let family = operation.family();
        match operation {
            Operation::Put { key, .. } | Operation::Delete { key, .. } => {
                touched.insert((family, Bytes::copy_from_slice(key)));
            }
            Operation::DeleteRange { from, to, .. } => {
                let before = replayed(history, family).into_iter().map(|(key, _)| (family, key));
                touched.extend(before.filter(|(_, key)| *from <= key[..] && key[..] < *to));
            }
        }
    }
    touched
}

/// What batches come to in a family, told as plainly as can be.
fn replayed(history: &[Batch], of: Family) -> Vec<(Bytes, Bytes)> {
    let mut pairs: Vec<(Bytes, Bytes)> = Vec::new();
    for operation in history.iter().flat_map(Batch::iter).filter(|operation| operation.family() == of) {
        match operation {
            Operation::Put { key, value, .. } => {
                pairs.retain(|(other, _)| other != key);
                pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            }
            Operation::Delete { key, .. } => pairs.retain(|(other, _)| other != key),
            Operation::DeleteRange { from, to, .. } => pairs.retain(|(other, _)| other[..] < *from || other[..] >= *to),
        }
    }
    pairs.sort();
    pairs
}
