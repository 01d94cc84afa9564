use super::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use undoubt_work::kv::{Add, KvWork, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_VALUE_BYTES};

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn get(key: &'static str) -> Operation {
    Operation::Get { key: bytes(key) }
}

fn put(key: &'static str, value: &'static str) -> Operation {
    Operation::Put { key: bytes(key), value: bytes(value) }
}

fn add(key: &'static str, delta: i64, floor: Option<i64>, ceiling: Option<i64>) -> Operation {
    Operation::Add { key: bytes(key), add: Add { delta, floor, ceiling } }
}

fn swap(key: &'static str, expected: Option<&'static str>, value: Option<&'static str>) -> Operation {
    Operation::CompareAndSet { key: bytes(key), expected: expected.map(bytes), value: value.map(bytes) }
}

/// On data in which only `alice` has a value.
fn with_alice(value: &'static str, operations: &[Operation]) -> Result<Evaluation, Refusal> {
    evaluate(operations, Tell::All, |key| (key == b"alice").then(|| bytes(value)))
}

fn refusal(value: &'static str, operation: Operation) -> String {
    with_alice(value, &[operation]).unwrap_err().to_string()
}

#[test]
fn an_operation_sees_what_those_before_it_did() {
    let delete = Operation::Delete { key: bytes("alice") };
    let work = [get("alice"), add("alice", -30, Some(0), None), get("alice"), delete, get("alice"), put("bob", "x")];
    let evaluation = with_alice("100", &work).unwrap();
    let text = |text| Value::Bytes(bytes(text));
    let results = [text("100"), Value::Integer(70), text("70"), Value::Absent, Value::Absent, text("x")];
    assert_eq!(evaluation.results, results);
    assert_eq!(evaluation.writes, BTreeMap::from([(bytes("alice"), None), (bytes("bob"), Some(bytes("x")))]));
}

#[test]
fn what_was_brought_along_need_not_be_told_again() {
    let value = Bytes::from(vec![0; MAX_VALUE_BYTES]);
    let mut work = vec![Operation::Put { key: bytes("k"), value: value.clone() }; MAX_OPERATIONS - 3];
    work.extend([get("alice"), add("alice", 1, None, None), swap("bob", None, Some("new"))]);
    let evaluation = evaluate(&work, Tell::Learnt, |key| (key == b"alice").then(|| bytes("100"))).unwrap();
    let (brought, learnt) = evaluation.results.split_at(MAX_OPERATIONS - 3);
    assert!(brought.iter().all(|value| *value == Value::Absent));
    assert_eq!(learnt, [Value::Bytes(bytes("100")), Value::Integer(101), Value::Absent]);
    assert_eq!(evaluation.writes[&bytes("k")], Some(value));
    assert_eq!(evaluation.writes[&bytes("bob")], Some(bytes("new")));
}

#[test]
fn work_that_writes_nothing_is_read_only() {
    assert!(with_alice("1", &[get("alice"), get("bob")]).unwrap().is_read_only());
    assert!(with_alice("1", &[]).unwrap().is_read_only());
    assert!(!with_alice("1", &[swap("bob", None, None)]).unwrap().is_read_only());
}

#[test]
fn what_only_reads_a_key_shares_it_and_what_also_writes_it_has_it_alone() {
    let work = [get("read"), put("both", "x"), get("both"), swap("set", None, None)];
    let expected = BTreeMap::from([
        (bytes("read"), Mode::Shared),
        (bytes("both"), Mode::Exclusive),
        (bytes("set"), Mode::Exclusive),
    ]);
    assert_eq!(locks(&work), expected);
}

#[test]
fn a_sum_that_reaches_its_bound_holds_and_one_that_crosses_it_is_refused_with_all_numbers_named() {
    assert_eq!(with_alice("20", &[add("alice", -20, Some(0), None)]).unwrap().results, [Value::Integer(0)]);
    assert_eq!(with_alice("20", &[add("alice", 5, None, Some(25))]).unwrap().results, [Value::Integer(25)]);
    let below = refusal("20", add("alice", -30, Some(0), None));
    assert_eq!(below, "condition: key 'alice': 20 + -30 = -10 is below the floor 0; add less or change it first");
    let above = refusal("20", add("alice", 6, Some(0), Some(25)));
    assert_eq!(above, "condition: key 'alice': 20 + 6 = 26 is above the ceiling 25; add less or change it first");
}

#[test]
fn what_is_absent_counts_as_zero() {
    assert_eq!(with_alice("20", &[add("bob", 7, None, None)]).unwrap().results, [Value::Integer(7)]);
}

#[test]
fn a_sum_beyond_64_bits_and_a_value_that_is_no_number_are_invalid_work() {
    let overflow = refusal("9223372036854775807", add("alice", 1, None, None));
    assert!(overflow.starts_with("invalid-work: key 'alice': 9223372036854775807 + 1 is beyond 64 bits"), "{overflow}");
    let text = refusal("twenty", add("alice", 1, None, None));
    assert!(text.starts_with("invalid-work: key 'alice' holds 'twenty', which is no 64-bit"), "{text}");
}

#[test]
fn a_value_is_set_only_where_the_present_one_is_the_expected_one() {
    let set = with_alice("old", &[swap("alice", Some("old"), Some("new"))]).unwrap();
    assert_eq!(set.results, [Value::Bytes(bytes("new"))]);
    assert_eq!(with_alice("old", &[swap("bob", None, Some("new"))]).unwrap().results, [Value::Bytes(bytes("new"))]);
    let other = refusal("old", swap("alice", Some("older"), None));
    assert!(other.starts_with("condition: key 'alice' holds 'old', not the expected 'older'"), "{other}");
    let absent = refusal("old", swap("bob", Some("x"), None));
    assert!(absent.starts_with("condition: key 'bob' holds nothing, not the expected 'x'"), "{absent}");
}

#[test]
fn a_key_that_is_no_text_is_shown_in_digits_and_a_long_one_is_cut() {
    let key = Bytes::from(vec![0, 255]);
    let work = [Operation::CompareAndSet { key, expected: Some(Bytes::from(vec![b'x'; 100])), value: None }];
    let detail = with_alice("", &work).unwrap_err().detail;
    assert!(
        detail.starts_with(&format!("key 0x00ff holds nothing, not the expected '{}'...", "x".repeat(40))),
        "{detail}"
    );
}

#[test]
fn work_at_its_limits_passes_and_above_is_refused_with_the_limit_named() {
    let check = |operation: Operation| operation.check().map_err(Refusal::from);
    let keyed = |length| check(Operation::Get { key: Bytes::from(vec![b'k'; length]) });
    let valued = |length| check(Operation::Put { key: bytes("k"), value: Bytes::from(vec![0; length]) });
    let repeated = |count| {
        let whole = (0..MAX_OPERATIONS).fold(KvWork::new(), |work, _| work.get("k")).encode().unwrap();
        let one = KvWork::new().get("k").encode().unwrap();
        let many = [whole, one.repeat(count - MAX_OPERATIONS).into()].concat().into();
        undoubt_work::kv::read(&many).map(drop).map_err(Refusal::from)
    };
    assert_eq!(keyed(MAX_KEY_BYTES), Ok(()));
    assert_eq!(valued(MAX_VALUE_BYTES), Ok(()));
    assert_eq!(repeated(MAX_OPERATIONS), Ok(()));

    assert_eq!(keyed(0).unwrap_err().code, RefusalCode::InvalidWork);
    let above = [keyed(MAX_KEY_BYTES + 1), valued(MAX_VALUE_BYTES + 1), repeated(1_025)];
    for (refused, limit) in above.into_iter().zip(["1024", "65536", "1024"]) {
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        assert!(refusal.detail.contains(&format!("more than the {limit} allowed")), "{refusal}");
    }
}

#[test]
fn results_that_would_not_fit_into_a_vote_are_refused() {
    let value = Bytes::from(vec![0; MAX_VALUE_BYTES]);
    let fitting = MAX_RESULT_BYTES / Value::Bytes(value.clone()).encoded_bytes();
    let read = |count| evaluate(&vec![get("k"); count], Tell::All, |_| Some(value.clone()));
    assert!(read(fitting).is_ok());
    assert_eq!(read(fitting + 1).unwrap_err().code, RefusalCode::TooLarge);
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = || (0..4u8).prop_map(|key| Bytes::from(vec![key]));
    let value = || {
        prop_oneof![
            any::<i8>().prop_map(|number| Bytes::from(number.to_string())),
            vec(any::<u8>(), 0..3).prop_map(Bytes::from),
        ]
    };
    let bound = || option::of(any::<i64>());
    prop_oneof![
        key().prop_map(|key| Operation::Get { key }),
        (key(), value()).prop_map(|(key, value)| Operation::Put { key, value }),
        key().prop_map(|key| Operation::Delete { key }),
        (key(), any::<i64>(), bound(), bound())
            .prop_map(|(key, delta, floor, ceiling)| Operation::Add { key, add: Add { delta, floor, ceiling } }),
        (key(), option::of(value()), option::of(value())).prop_map(|(key, expected, value)| Operation::CompareAndSet {
            key,
            expected,
            value
        }),
    ]
}

proptest! {
    #[test]
    fn work_touches_only_what_it_locked_and_one_by_one_comes_to_the_same_as_together(
        data in btree_map((0..4u8).prop_map(|key| Bytes::from(vec![key])), Just(Bytes::from_static(b"5")), 0..4),
        work in vec(operation(), 0..8),
    ) {
        let locks = locks(&work);
        let together = evaluate(&work, Tell::All, |key| {
            assert!(locks.contains_key(key), "read without a lock");
            data.get(key).cloned()
        });

        let mut stored = data.clone();
        let mut results = Vec::new();
        let one_by_one = work.iter().try_for_each(|operation| {
            let step = evaluate(std::slice::from_ref(operation), Tell::All, |key| stored.get(key).cloned())?;
            for (key, value) in step.writes {
                match value {
                    Some(value) => stored.insert(key, value),
                    None => stored.remove(&key),
                };
            }
            results.extend(step.results);
            Ok::<(), Refusal>(())
        });

        match together {
            Err(refusal) => prop_assert_eq!(one_by_one, Err(refusal)),
            Ok(evaluation) => {
                prop_assert_eq!(one_by_one, Ok(()));
                prop_assert_eq!(evaluation.results, results);
                for (key, value) in &evaluation.writes {
                    prop_assert_eq!(locks.get(key), Some(&Mode::Exclusive));
                    prop_assert_eq!(stored.get(key), value.as_ref());
                }
            }
        }
    }
}
