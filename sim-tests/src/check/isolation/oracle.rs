//! The search for circles against brute force: on small histories both have to agree.

use super::*;
use crate::check::fixture::Fixture;
use crate::check::real_time;
use crate::run::{Call, CallKind, FinalOutcome, Op, Participant, Reads, Reply, Work};
use proptest::prelude::*;

/// A transaction as it will be carried out.
#[derive(Clone, Debug)]
struct Script {
    ops: Vec<(Participant, Op)>,
    /// Its writes take effect only when it ends.
    deferred: bool,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    /// Its writes stay, although its client hears nothing.
    Unheard,
    Aborted {
        undone: bool,
    },
}

fn op() -> impl Strategy<Value = (Participant, Op)> {
    (1..=2u8, 0..=1u8, any::<bool>()).prop_map(|(participant, register, writes)| {
        (participant, if writes { Op::ReadWrite { register } } else { Op::ReadRegister { register } })
    })
}

fn scripts(fates: impl Strategy<Value = Fate> + Clone) -> impl Strategy<Value = Vec<Script>> {
    let script = (prop::collection::vec(op(), 1..=3), any::<bool>(), fates);
    prop::collection::vec(script.prop_map(|(ops, deferred, fate)| Script { ops, deferred, fate }), 1..=5)
}

fn heard() -> impl Strategy<Value = Fate> + Clone {
    prop_oneof![4 => Just(Fate::Committed), 1 => any::<bool>().prop_map(|undone| Fate::Aborted { undone })]
}

fn unheard() -> impl Strategy<Value = Fate> + Clone {
    prop_oneof![2 => Just(Fate::Committed), 1 => Just(Fate::Unheard)]
}

/// Leaves nothing of what was aborted.
fn undone() -> impl Strategy<Value = Fate> + Clone {
    prop_oneof![2 => unheard(), 1 => Just(Fate::Aborted { undone: true })]
}

type Registers = BTreeMap<(Participant, u8), String>;

/// A transaction under way.
#[derive(Clone, Debug)]
struct Progress {
    script: Script,
    call: Call,
    done: usize,
    reads: Reads,
    replaced: Vec<((Participant, u8), Option<String>)>,
}

impl Progress {
    fn new(number: usize, script: &Script, asked_us: u64) -> Progress {
        let mut work = Work::new();
        script.ops.iter().for_each(|(participant, op)| work.entry(*participant).or_default().push(op.clone()));
        let (tx, kind, reply) = (format!("t{number}"), CallKind::Submit(work), Reply::Unknown("silence".into()));
        let call = Call { client: 1, tx, kind, asked_us, told_us: None, reply };
        Progress { script: script.clone(), call, done: 0, reads: Reads::new(), replaced: Vec::new() }
    }

    /// Does a step without any locks.
    fn step(&mut self, registers: &mut Registers) {
        let (participant, op) = &self.script.ops[self.done];
        self.done += 1;
        let (register, writes) = match op {
            Op::ReadWrite { register } => (*register, true),
            Op::ReadRegister { register } => (*register, false),
            Op::Transfer { .. } | Op::ReadAccount { .. } => unreachable!("registers only"),
        };
        let (item, tx) = ((*participant, register), self.call.tx.clone());
        let own = self.replaced.iter().any(|(replaced, _)| *replaced == item).then(|| tx.clone());
        let seen = own.filter(|_| self.script.deferred).or_else(|| registers.get(&item).cloned());
        self.reads.entry(*participant).or_default().push(seen.clone());
        if writes {
            self.replaced.push((item, seen));
            if !self.script.deferred {
                registers.insert(item, tx);
            }
        }
    }

    fn end(&mut self, now_us: u64, run: &mut Run, registers: &mut Registers) {
        let (tx, fate) = (self.call.tx.clone(), self.script.fate);
        match fate {
            Fate::Committed | Fate::Unheard => {
                for (item, _) in self.replaced.iter().filter(|_| self.script.deferred) {
                    registers.insert(*item, tx.clone());
                }
                for (participant, _) in self.script.ops.iter().filter(|(_, op)| op.writes()) {
                    run.finals.participants.get_mut(participant).unwrap().marks.insert(tx.clone());
                }
            }
            Fate::Aborted { undone } => {
                for (item, replaced) in self.replaced.iter().rev().filter(|_| undone && !self.script.deferred) {
                    match replaced {
                        Some(writer) => drop(registers.insert(*item, writer.clone())),
                        None => drop(registers.remove(item)),
                    }
                }
            }
        }
        let (reply, outcome) = match fate {
            Fate::Committed => {
                let reads = Some(self.reads.clone());
                (Reply::Committed(reads.clone()), FinalOutcome::Committed { reads, damaged: false })
            }
            Fate::Unheard => (Reply::Unknown("silence".into()), FinalOutcome::Unknown),
            Fate::Aborted { .. } => (Reply::Aborted("deadline".into()), FinalOutcome::Aborted { damaged: false }),
        };
        (self.call.reply, self.call.told_us) = (reply, Some(now_us));
        run.finals.outcomes.insert(tx, outcome);
        run.calls.push(self.call.clone());
    }
}

/// Carries them out in the order of the picks: each names one that is not over, to make its next step.
fn interleaved(scripts: &[Script], picks: &[usize]) -> Run {
    let mut run = Fixture::default().run();
    let mut registers = Registers::new();
    let mut begun: Vec<Option<Progress>> = vec![None; scripts.len()];
    let mut left: Vec<usize> = (0..scripts.len()).collect();
    let mut picks = picks.iter().copied().chain(std::iter::repeat(0));
    for now_us in 1.. {
        if left.is_empty() {
            break;
        }
        let pick = picks.next().unwrap() % left.len();
        let number = left[pick];
        match &mut begun[number] {
            None => begun[number] = Some(Progress::new(number, &scripts[number], now_us)),
            Some(progress) if progress.done < progress.script.ops.len() => progress.step(&mut registers),
            Some(progress) => {
                progress.end(now_us, &mut run, &mut registers);
                left.remove(pick);
            }
        }
    }
    run.calls.sort_by_key(|call| call.asked_us);
    for ((participant, register), writer) in registers {
        run.finals.participants.get_mut(&participant).unwrap().registers.insert(register, writer);
    }
    run
}

/// Each at one moment, in their order, while it lasts for its client from some time before until some time after.
fn serial(scripts: &[Script], lasting: &[(u64, u64)]) -> Run {
    let whole: Vec<usize> = scripts.iter().flat_map(|script| vec![0; script.ops.len() + 2]).collect();
    let mut run = interleaved(scripts, &whole);
    for (call, (before_us, after_us)) in run.calls.iter_mut().zip(lasting) {
        call.asked_us = call.asked_us.saturating_sub(*before_us);
        call.told_us = call.told_us.map(|us| us + after_us);
    }
    run
}

/// Returns true if some order of those that took effect, one after another, explains all reads and what was found in
/// the end.
fn is_explained(run: &Run, in_real_time: bool) -> bool {
    let effective = |call: &&Call| {
        let marked = run.finals.participants.values().any(|found| found.marks.contains(&call.tx));
        marked || matches!(call.reply, Reply::Committed(_))
    };
    let calls: Vec<&Call> = run.calls.iter().filter(effective).collect();
    some_order_explains(run, in_real_time, &calls, &Registers::new())
}

fn some_order_explains(run: &Run, in_real_time: bool, left: &[&Call], registers: &Registers) -> bool {
    if left.is_empty() {
        let found = run.finals.participants.iter().flat_map(|(participant, found)| {
            found.registers.iter().map(|(register, writer)| ((*participant, *register), writer.clone()))
        });
        return found.collect::<Registers>() == *registers;
    }
    left.iter().enumerate().any(|(at, next)| {
        let comes_later = |other: &&Call| {
            matches!(other.reply, Reply::Committed(_)) && other.told_us.is_some_and(|told_us| told_us < next.asked_us)
        };
        let mut rest = left.to_vec();
        rest.remove(at);
        let mut after = registers.clone();
        !(in_real_time && rest.iter().any(comes_later))
            && carry_out(next, &mut after)
            && some_order_explains(run, in_real_time, &rest, &after)
    })
}

/// Carries a call out, and returns whether it would read now what it was told.
fn carry_out(call: &Call, registers: &mut Registers) -> bool {
    let CallKind::Submit(work) = &call.kind else { return false };
    let told = match &call.reply {
        Reply::Committed(reads) => reads.as_ref(),
        Reply::Aborted(_) | Reply::Nested { .. } | Reply::Refused(_) | Reply::Unknown(_) => None,
    };
    let mut explained = true;
    for (participant, ops) in work {
        for (at, op) in ops.iter().enumerate() {
            let (register, writes) = match op {
                Op::ReadWrite { register } => (*register, true),
                Op::ReadRegister { register } => (*register, false),
                Op::Transfer { .. } | Op::ReadAccount { .. } => unreachable!("registers only"),
            };
            let item = (*participant, register);
            explained &= told.is_none_or(|told| told[participant][at].as_ref() == registers.get(&item));
            if writes {
                registers.insert(item, call.tx.clone());
            }
        }
    }
    explained
}

fn picks() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..5usize, 0..25)
}

/// Values that are swapped for others: histories that no execution has.
type Twists = Vec<(prop::sample::Index, Option<u8>)>;

fn twists() -> impl Strategy<Value = Twists> {
    prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0..5u8)), 0..=2)
}

fn twist(run: &mut Run, twists: &Twists) {
    for (place, writer) in twists {
        let writer = writer.map(|number| format!("t{number}"));
        let told = run.calls.iter_mut().filter_map(|call| match &mut call.reply {
            Reply::Committed(reads) => reads.as_mut(),
            Reply::Aborted(_) | Reply::Nested { .. } | Reply::Refused(_) | Reply::Unknown(_) => None,
        });
        let mut reads: Vec<&mut Option<String>> = told.flat_map(|reads| reads.values_mut().flatten()).collect();
        let registers = [(1, 0), (1, 1), (2, 0), (2, 1)];
        let at = place.index(reads.len() + registers.len());
        if let Some(read) = reads.get_mut(at) {
            **read = writer;
            continue;
        }
        let (participant, register) = registers[at - reads.len()];
        let found = &mut run.finals.participants.get_mut(&participant).unwrap().registers;
        match writer {
            Some(writer) => drop(found.insert(register, writer)),
            None => drop(found.remove(&register)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_history_is_refused_exactly_if_no_order_explains_it(
        scripts in scripts(heard()), picks in picks(), twists in twists(),
    ) {
        let mut run = interleaved(&scripts, &picks);
        twist(&mut run, &twists);
        let broken = check(&run);
        prop_assert_eq!(broken.is_empty(), is_explained(&run, false), "{:?} in {:?}", broken, run.calls);
    }

    #[test]
    fn a_history_is_refused_exactly_if_no_order_in_real_time_explains_it(
        scripts in scripts(heard()), picks in picks(), twists in twists(),
    ) {
        let mut run = interleaved(&scripts, &picks);
        twist(&mut run, &twists);
        let broken = [check(&run), real_time::check(&run)].concat();
        prop_assert_eq!(broken.is_empty(), is_explained(&run, true), "{:?} in {:?}", broken, run.calls);
    }

    /// What nobody heard of may hide an anomaly, but never makes one up.
    #[test]
    fn whatever_is_refused_has_no_order_although_outcomes_are_unknown(
        scripts in scripts(unheard()), picks in picks(), twists in twists(),
    ) {
        let mut run = interleaved(&scripts, &picks);
        twist(&mut run, &twists);
        let broken = [check(&run), real_time::check(&run)].concat();
        prop_assert!(broken.is_empty() || !is_explained(&run, true), "{:?} in {:?}", broken, run.calls);
    }

    #[test]
    fn what_takes_effect_at_one_moment_each_is_accepted(
        scripts in scripts(undone()),
        lasting in prop::collection::vec((0..20u64, 0..20u64), 5),
    ) {
        let run = serial(&scripts, &lasting);
        prop_assert!(is_explained(&run, true));
        prop_assert_eq!(anomalies(&run), BTreeMap::new(), "{:?}", run.calls);
    }
}

#[test]
fn random_histories_are_both_explained_and_not() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut explained = 0;
    for _ in 0..500 {
        let tree = (scripts(heard()), picks()).new_tree(&mut runner).unwrap();
        let (scripts, picks) = tree.current();
        explained += usize::from(is_explained(&interleaved(&scripts, &picks), true));
    }
    assert!((50..450).contains(&explained), "{explained} of 500");
}
