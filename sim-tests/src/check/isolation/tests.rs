use super::*;
use crate::check::fixture::{Fixture, read_write, rules};
use crate::run::{FinalOutcome, Op, Participant, Reads, Reply, Work};

fn read(register: u8) -> Op {
    Op::ReadRegister { register }
}

fn write(register: u8) -> Op {
    Op::ReadWrite { register }
}

fn at_p1(ops: &[Op]) -> Work {
    Work::from([(1, ops.to_vec())])
}

/// What the transaction read at p1 instead.
fn reads(run: &mut Run, tx: &str, values: &[Option<&str>]) {
    let reads = Reads::from([(1, values.iter().map(|value| value.map(str::to_owned)).collect())]);
    let call = run.calls.iter_mut().find(|call| call.tx == tx).unwrap();
    call.reply = Reply::Committed(Some(reads.clone()));
    run.finals.outcomes.insert(tx.into(), FinalOutcome::Committed { reads: Some(reads), damaged: false });
}

fn holds(run: &mut Run, participant: Participant, register: u8, writer: &str) {
    run.finals.participants.get_mut(&participant).unwrap().registers.insert(register, writer.into());
}

fn committed(works: &[&[Op]]) -> Run {
    let names = ["t1", "t2", "t3"];
    names.iter().zip(works).fold(Fixture::default(), |fixture, (tx, ops)| fixture.commit(tx, at_p1(ops))).run()
}

fn lost_update() -> Run {
    let mut run = committed(&[&[write(0)], &[write(0)]]);
    reads(&mut run, "t2", &[None]);
    run
}

#[test]
fn transactions_one_after_another_are_isolated() {
    let run = committed(&[&[write(0), read(1)], &[read(0), write(1)], &[write(0), write(1), read(0)]]);
    assert_eq!(anomalies(&run), BTreeMap::new());
}

#[test]
fn two_writers_that_replaced_the_same_version_lose_an_update() {
    let run = lost_update();
    assert_eq!(rules(check, &run), ["isolation.lost-update"]);
    assert!(check(&run)[0].what.contains("t1 read register 0 of p1 before t2 wrote there"));
}

#[test]
fn a_version_that_is_gone_in_the_end_is_a_lost_update() {
    let mut run = committed(&[&[write(0)], &[write(0)]]);
    holds(&mut run, 1, 0, "t1");
    assert_eq!(rules(check, &run), ["isolation.lost-update"]);
}

#[test]
fn reading_what_never_took_effect_is_a_dirty_read() {
    let fixture = Fixture::default().abort("t1", read_write(&[1])).commit("t2", at_p1(&[read(0)]));
    let mut run = fixture.run();
    reads(&mut run, "t2", &[Some("t1")]);
    assert_eq!(rules(check, &run), ["isolation.dirty-read"]);
}

#[test]
fn a_version_of_what_never_took_effect_is_found_where_it_was_left() {
    let mut run = Fixture::default().abort("t1", read_write(&[1])).run();
    holds(&mut run, 1, 0, "t1");
    assert_eq!(rules(check, &run), ["isolation.dirty-read"]);
}

#[test]
fn a_transaction_that_finds_its_own_write_was_carried_out_twice() {
    let mut run = committed(&[&[write(0)]]);
    reads(&mut run, "t1", &[Some("t1")]);
    assert_eq!(rules(check, &run), ["isolation.dirty-read"]);
}

#[test]
fn two_reads_of_one_register_that_differ_are_fuzzy() {
    let mut run = committed(&[&[write(0)], &[read(0), read(0)]]);
    reads(&mut run, "t2", &[None, Some("t1")]);
    let found = rules(check, &run);
    assert!(!found.is_empty() && found.iter().all(|rule| *rule == "isolation.fuzzy-read"), "{found:?}");
}

#[test]
fn seeing_one_write_of_two_is_read_skew() {
    let mut run = committed(&[&[write(0), write(1)], &[read(0), read(1)]]);
    reads(&mut run, "t2", &[Some("t1"), None]);
    assert_eq!(rules(check, &run), ["isolation.read-skew"]);
}

#[test]
fn missing_each_others_writes_is_write_skew() {
    let mut run = committed(&[&[read(0), write(1)], &[write(0), read(1)]]);
    reads(&mut run, "t2", &[None, None]);
    assert_eq!(rules(check, &run), ["isolation.write-skew"]);
}

#[test]
fn reading_each_others_writes_is_a_circular_flow() {
    let mut run = committed(&[&[write(0), read(1)], &[read(0), write(1)]]);
    reads(&mut run, "t1", &[None, Some("t2")]);
    assert_eq!(rules(check, &run), ["isolation.circular-flow"]);
}

#[test]
fn overwriting_each_other_is_a_dirty_write() {
    let mut run = committed(&[&[write(0), write(1)], &[write(0), write(1)]]);
    reads(&mut run, "t1", &[None, Some("t2")]);
    reads(&mut run, "t2", &[Some("t1"), None]);
    holds(&mut run, 1, 1, "t1");
    assert_eq!(rules(check, &run), ["isolation.dirty-write"]);
}

#[test]
fn an_unknown_outcome_counts_if_it_left_its_mark() {
    let unknown = |run: &mut Run| {
        run.calls[0].reply = Reply::Unknown("silence".into());
        run.finals.outcomes.insert("t1".into(), FinalOutcome::Unknown);
    };
    let mut run = committed(&[&[write(0)], &[write(0)]]);
    unknown(&mut run);
    assert_eq!(rules(check, &run), [""; 0]);
    let mut run = committed(&[&[write(0)], &[write(0)]]);
    unknown(&mut run);
    run.finals.participants.get_mut(&1).unwrap().marks.remove("t1");
    assert_eq!(rules(check, &run), ["isolation.dirty-read"]);
    let mut run = lost_update();
    unknown(&mut run);
    assert_eq!(rules(check, &run), ["isolation.lost-update"], "t1 wrote, and nobody replaced its version");
}

#[test]
fn who_lost_records_or_was_ended_by_others_is_left_out_and_keeps_its_place() {
    for tx in ["t1", "t2"] {
        let mut run = lost_update();
        run.finals.excused.insert(tx.into());
        assert_eq!(rules(check, &run), [""; 0]);
        let mut run = lost_update();
        run.finals.participants.get_mut(&1).unwrap().heuristics.insert(tx.into(), true);
        assert_eq!(rules(check, &run), [""; 0]);
        let mut run = lost_update();
        run.finals.participants.get_mut(&1).unwrap().ended_by_others.insert(tx.into());
        assert_eq!(rules(check, &run), [""; 0]);
    }
    let mut run = committed(&[&[write(0), write(1)], &[write(0)], &[write(0), read(1)]]);
    reads(&mut run, "t3", &[Some("t2"), None]);
    run.finals.excused.insert("t2".into());
    assert_eq!(rules(check, &run), ["isolation.read-skew"], "t3 came after t1, with t2 in between");
    run.finals.excused_epochs = true;
    assert_eq!(rules(check, &run), [""; 0]);
}

#[test]
fn anomalies_are_counted_by_kind() {
    let mut run = committed(&[&[write(0), write(1)], &[read(0), read(1)], &[read(0), read(1)]]);
    reads(&mut run, "t2", &[Some("t1"), None]);
    reads(&mut run, "t3", &[None, Some("t9")]);
    let once = [AnomalyKind::DirtyRead, AnomalyKind::ReadSkew, AnomalyKind::Stale];
    let missed_t1 = "t3, which asked after t1 and after t2 were answered, read what was before t1";
    assert_eq!(anomalies(&run), once.map(|kind| (kind, 1)).into(), "{missed_t1}");
}
