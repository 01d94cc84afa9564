use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn age(begun_at: u64, tx: &'static str) -> Age {
    Age { begun_at: Timestamp(begun_at), tx: TxId::new(tx).unwrap() }
}

fn tx(name: &'static str) -> TxId {
    TxId::new(name).unwrap()
}

fn shared(keys: &[&'static str]) -> BTreeMap<Bytes, Mode> {
    keys.iter().map(|key| (Bytes::from_static(key.as_bytes()), Mode::Shared)).collect()
}

fn exclusive(keys: &[&'static str]) -> BTreeMap<Bytes, Mode> {
    keys.iter().map(|key| (Bytes::from_static(key.as_bytes()), Mode::Exclusive)).collect()
}

#[test]
fn readers_share_a_key_and_a_writer_has_it_alone() {
    let mut table = LockTable::default();
    assert_eq!(table.acquire(&age(1, "a"), &shared(&["k"])), Acquire::Granted);
    assert_eq!(table.acquire(&age(2, "b"), &shared(&["k"])), Acquire::Granted);
    assert_eq!(table.acquire(&age(3, "c"), &exclusive(&["k"])), Acquire::Refused { holder: tx("a") });
    assert_eq!(table.holders().count(), 2);
}

#[test]
fn an_older_transaction_waits_and_a_younger_one_is_refused_and_leaves_nothing_behind() {
    let mut table = LockTable::default();
    assert_eq!(table.acquire(&age(5, "holder"), &exclusive(&["k"])), Acquire::Granted);
    let before = table.clone();
    let refused = Acquire::Refused { holder: tx("holder") };
    assert_eq!(table.acquire(&age(6, "younger"), &exclusive(&["free", "k"])), refused);
    assert_eq!(table, before);
    assert_eq!(table.acquire(&age(4, "older"), &exclusive(&["k"])), Acquire::Waiting);
    assert_eq!(table.release(&tx("holder")), [tx("older")]);
    assert!(table.release(&tx("older")).is_empty());
    assert!(table.is_idle());
}

#[test]
fn a_younger_transaction_may_wait_for_a_holder_whose_decision_is_known_but_not_behind_an_older_waiter() {
    let mut table = LockTable::default();
    assert_eq!(table.acquire(&age(1, "holder"), &exclusive(&["k"])), Acquire::Granted);
    table.leave(&tx("holder"));
    assert_eq!(table.acquire(&age(2, "next"), &exclusive(&["k"])), Acquire::Waiting);
    assert_eq!(table.acquire(&age(3, "later"), &exclusive(&["k"])), Acquire::Refused { holder: tx("next") });
    // Who only waits has no decision, and leaving says nothing about it.
    table.leave(&tx("next"));
    assert_eq!(table.acquire(&age(3, "later"), &exclusive(&["k"])), Acquire::Refused { holder: tx("next") });
    assert_eq!(table.release(&tx("holder")), [tx("next")]);
    assert!(table.release(&tx("next")).is_empty());
    assert_eq!(table, LockTable::default());
}

#[test]
fn a_tie_in_age_is_settled_by_the_bytes_of_the_id_and_so_alike_at_every_participant() {
    let mut table = LockTable::default();
    let [first, second, third] = ["a", "b", "c"];
    table.acquire(&age(1, second), &exclusive(&["k"]));
    assert_eq!(table.acquire(&age(1, third), &exclusive(&["k"])), Acquire::Refused { holder: tx(second) });
    assert_eq!(table.acquire(&age(1, first), &exclusive(&["k"])), Acquire::Waiting);
}

#[test]
fn a_reader_does_not_pass_a_writer_that_waits_before_it() {
    let mut table = LockTable::default();
    table.acquire(&age(9, "reader"), &shared(&["k"]));
    assert_eq!(table.acquire(&age(5, "writer"), &exclusive(&["k"])), Acquire::Waiting);
    assert_eq!(table.acquire(&age(6, "younger"), &shared(&["k"])), Acquire::Refused { holder: tx("writer") });
    assert_eq!(table.acquire(&age(4, "older"), &shared(&["k"])), Acquire::Waiting);
    assert_eq!(table.release(&tx("reader")), [tx("writer")]);
    assert_eq!(table.release(&tx("writer")), [tx("older")]);
}

#[test]
fn readers_that_wait_are_granted_together() {
    let mut table = LockTable::default();
    table.acquire(&age(9, "writer"), &exclusive(&["k"]));
    table.acquire(&age(2, "second"), &shared(&["k"]));
    table.acquire(&age(3, "first"), &shared(&["k"]));
    assert_eq!(table.release(&tx("writer")), [tx("second"), tx("first")]);
}

#[test]
fn who_gives_up_waiting_lets_those_behind_it_go_on() {
    let mut table = LockTable::default();
    table.acquire(&age(9, "reader"), &shared(&["k"]));
    table.acquire(&age(5, "writer"), &exclusive(&["k"]));
    table.acquire(&age(4, "older"), &shared(&["k"]));
    assert_eq!(table.release(&tx("writer")), [tx("older")]);
}

#[test]
fn all_keys_are_granted_together_or_none() {
    let mut table = LockTable::default();
    table.acquire(&age(8, "a"), &exclusive(&["a"]));
    table.acquire(&age(9, "b"), &exclusive(&["b"]));
    assert_eq!(table.acquire(&age(1, "both"), &exclusive(&["a", "b"])), Acquire::Waiting);
    assert!(table.release(&tx("a")).is_empty());
    assert_eq!(table.release(&tx("b")), [tx("both")]);
}

#[test]
fn a_request_beyond_the_bound_on_waiters_is_told_so() {
    let mut table = LockTable::default();
    table.acquire(&age(u64::MAX, "holder"), &exclusive(&["k"]));
    for waiter in 0..MAX_WAITERS {
        let age = Age { begun_at: Timestamp(1), tx: TxId::new(format!("{waiter:05}")).unwrap() };
        assert_eq!(table.acquire(&age, &shared(&["k"])), Acquire::Waiting);
    }
    assert_eq!(table.acquire(&age(0, "one more"), &shared(&["k"])), Acquire::Crowded);
    assert_eq!(table.release(&tx("holder")).len(), MAX_WAITERS);
}

#[test]
fn recovered_branches_hold_their_locks_again() {
    let mut table = LockTable::default();
    table.lock_recovered(&age(1, "a"), &exclusive(&["k"]));
    table.lock_recovered(&age(2, "b"), &exclusive(&["other"]));
    assert_eq!(table.acquire(&age(3, "younger"), &shared(&["k"])), Acquire::Refused { holder: tx("a") });
    assert_eq!(table.holders().count(), 2);
}

#[test]
#[should_panic(expected = "the records contradict")]
fn recovered_branches_that_contradict_each_other_stop_the_process() {
    let mut table = LockTable::default();
    table.lock_recovered(&age(1, "a"), &exclusive(&["k"]));
    table.lock_recovered(&age(2, "b"), &shared(&["k"]));
}

#[test]
#[should_panic(expected = "asks for locks twice")]
fn asking_twice_stops_the_process() {
    let mut table = LockTable::default();
    table.acquire(&age(1, "a"), &exclusive(&["k"]));
    table.acquire(&age(1, "a"), &exclusive(&["other"]));
}

/// The rules said plainly and slowly: requests in the order in which they came, granted or not.
#[derive(Debug, Default)]
struct Model(Vec<(Age, BTreeMap<Bytes, Mode>, bool)>);

impl Model {
    fn conflict(one: &BTreeMap<Bytes, Mode>, other: &BTreeMap<Bytes, Mode>) -> bool {
        one.iter().any(|(key, mode)| {
            other.get(key).is_some_and(|other| *mode == Mode::Exclusive || *other == Mode::Exclusive)
        })
    }

    /// Those that the request at this position, or a new one behind all, has to wait for.
    fn waits_for(&self, wanted: &BTreeMap<Bytes, Mode>, position: usize) -> Vec<Age> {
        let in_the_way = |(at, (_, other, granted)): &(usize, &(Age, BTreeMap<Bytes, Mode>, bool))| {
            *at != position && (*granted || *at < position) && Self::conflict(wanted, other)
        };
        self.0.iter().enumerate().filter(in_the_way).map(|(_, (age, _, _))| age.clone()).collect()
    }

    fn acquire(&mut self, age: &Age, wanted: &BTreeMap<Bytes, Mode>) -> Acquire {
        let mut in_the_way = self.waits_for(wanted, self.0.len());
        in_the_way.sort();
        match in_the_way.first() {
            Some(oldest) if oldest < age => return Acquire::Refused { holder: oldest.tx.clone() },
            Some(_) | None => self.0.push((age.clone(), wanted.clone(), in_the_way.is_empty())),
        }
        if in_the_way.is_empty() { Acquire::Granted } else { Acquire::Waiting }
    }

    fn release(&mut self, tx: &TxId) -> Vec<TxId> {
        self.0.retain(|(age, _, _)| age.tx != *tx);
        let mut granted = Vec::new();
        for position in 0..self.0.len() {
            let (age, wanted, held) = self.0[position].clone();
            if !held && self.waits_for(&wanted, position).is_empty() {
                self.0[position].2 = true;
                granted.push(age.tx);
            }
        }
        granted
    }

    /// What has to be true at any time: holders agree, and whoever waits, waits for younger ones only.
    fn check(&self) {
        for (position, (age, wanted, granted)) in self.0.iter().enumerate() {
            let waits_for = self.waits_for(wanted, position);
            assert_eq!(*granted, waits_for.is_empty(), "{age:?} is granted although it conflicts, or waits for nobody");
            assert!(waits_for.iter().all(|other| age < other), "{age:?} waits for an older transaction");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire { tx: u8, begun_at: u64, wanted: BTreeMap<u8, bool> },
    Release { tx: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..8u8, 0..4u64, btree_map(0..5u8, any::<bool>(), 0..4))
            .prop_map(|(tx, begun_at, wanted)| Step::Acquire { tx, begun_at, wanted }),
        1 => (0..8u8).prop_map(|tx| Step::Release { tx }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn locks_are_exclusive_fair_and_free_of_deadlock_and_no_waiter_is_lost(steps in vec(step(), 1..60)) {
        let id = |tx: u8| TxId::new(vec![b'a' + tx]).unwrap();
        let (mut table, mut model) = (LockTable::default(), Model::default());
        for step in steps {
            match step {
                Step::Acquire { tx, begun_at, wanted } => {
                    if model.0.iter().any(|(age, _, _)| age.tx == id(tx)) {
                        continue;
                    }
                    let age = Age { begun_at: Timestamp(begun_at), tx: id(tx) };
                    let mode = |exclusive| if exclusive { Mode::Exclusive } else { Mode::Shared };
                    let wanted = wanted.into_iter().map(|(key, how)| (Bytes::from(vec![key]), mode(how))).collect();
                    prop_assert_eq!(table.acquire(&age, &wanted), model.acquire(&age, &wanted));
                }
                Step::Release { tx } => prop_assert_eq!(table.release(&id(tx)), model.release(&id(tx))),
            }
            model.check();
            let granted = model.0.iter().filter(|(_, _, granted)| *granted).count();
            prop_assert_eq!(table.holders().count(), granted);
            prop_assert_eq!(table.waiters().count(), model.0.len() - granted);
        }

        // Everyone who holds leaves, again and again: whoever waits must come to hold, until nobody is left.
        while table.holders().count() > 0 {
            let holders: Vec<TxId> = table.holders().cloned().collect();
            for holder in &holders {
                table.release(holder);
            }
        }
        prop_assert_eq!(table.waiters().count(), 0);
        prop_assert!(table.is_idle());
        prop_assert_eq!(table, LockTable::default());
    }
}
