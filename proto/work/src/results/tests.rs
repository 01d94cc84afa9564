use super::*;
use crate::kv::KvWork;
use crate::reference::{Input, Inputs};
use proptest::prelude::*;
use undoubt_vocabulary::RefusalCode;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Absent),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<i64>().prop_map(Value::Integer),
    ]
}

proptest! {
    #[test]
    fn values_survive_being_encoded_and_are_as_long_as_they_say(values in proptest::collection::vec(value(), 0..20)) {
        let encoded = Results::encode(&values);
        prop_assert_eq!(encoded.len(), FORM_BYTES + values.iter().map(Value::encoded_bytes).sum::<usize>());
        let read = Results::read(&encoded);
        prop_assert_eq!(read.values(), Some(&values[..]));
    }

    #[test]
    fn reading_results_from_any_bytes_never_panics_and_loses_none(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let bytes = Bytes::from(bytes);
        if let Some(raw) = Results::read(&bytes).raw() {
            prop_assert_eq!(raw, &bytes);
        }
    }
}

/// Results as they were before they said what they are: `{value: "70"}, {}`.
const BEFORE: &[u8] = b"\x0a\x04\x0a\x0270\x0a\x00";

#[test]
fn what_does_not_say_that_it_is_results_is_raw_even_if_it_could_be_read_as_such() {
    for bytes in [BEFORE, b"", b"\x0a\x00", b"hello"] {
        let bytes = Bytes::from_static(bytes);
        assert_eq!(Results::read(&bytes).raw(), Some(&bytes));
        assert_eq!(Results::read(&bytes).values(), None);
    }
}

#[test]
fn results_of_a_kind_that_is_not_known_are_shown_as_they_are() {
    let known = Results::encode(&[Value::Integer(7)]);
    for future in [&b"\x22\x00"[..], b"\x0a\x02\x18\x01", b"\xa0\x06\x01"] {
        let bytes = Bytes::from([future, &known].concat());
        assert_eq!(Results::read(&bytes).raw(), Some(&bytes), "nothing of them is passed over");
    }
}

#[test]
fn a_reference_is_to_results_whatever_their_kind_and_says_what_is_missing() {
    let now = Results::encode(&[Value::Absent, Value::Integer(-5), Value::Bytes("b".into())]);
    let inputs = [now, Bytes::from_static(BEFORE), Bytes::from_static(b"\xff raw")];
    let mut inputs = Inputs::of_step(&inputs);
    let at = |input, operation| Input { input, operation, cell: None };
    assert_eq!(inputs.value(&at(0, 1)), Ok(Value::Integer(-5)));
    assert_eq!(inputs.present(&at(0, 1)).unwrap(), "-5");
    assert_eq!(inputs.present(&at(0, 2)).unwrap(), "b");
    assert_eq!(inputs.present(&at(1, 0)).unwrap(), "70", "stored by an earlier version");
    for (from, said) in [(at(0, 3), "it has 3"), (at(3, 0), "there are 3"), (at(2, 0), "raw bytes")] {
        let refusal = inputs.value(&from).unwrap_err();
        assert!(refusal.code == RefusalCode::InvalidWork && refusal.detail.contains(said), "{refusal}");
    }
    assert!(inputs.present(&at(0, 0)).unwrap_err().detail.contains("has no value"));
    assert!(Inputs::of_branch().value(&at(0, 0)).unwrap_err().detail.contains("only a saga's step"));
}

#[test]
fn results_stand_beside_the_work_that_they_are_of() {
    let work = KvWork::new().add("alice", -10).get("x").respect_pending().put("y", "brought").into();
    let results = Results::read(&Results::encode(&[Value::Integer(90), Value::Absent, Value::Absent]));
    let line = |what: &str, value: &str| [what.to_owned(), value.to_owned()];
    let shown =
        [line("add alice -10", "90"), line("get x respect-pending", "absent"), line("put y brought", "brought")];
    assert_eq!(results.shown(Some(&work)), shown);
    assert_eq!(results.shown(None), [line("1", "90"), line("2", "-"), line("3", "-")]);
    assert_eq!(serde_json::to_string(&results).unwrap(), r#"{"values":["90",null,null]}"#);
    let raw = Results::read(&Bytes::from_static(b"\x01hi"));
    assert_eq!(raw.shown(Some(&work)), [line("", "0x016869")]);
    assert_eq!(serde_json::to_string(&raw).unwrap(), r#"{"raw":"0x016869"}"#);
}
