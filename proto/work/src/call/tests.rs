use super::*;
use crate::results::Results;
use proptest::prelude::*;
use undoubt_vocabulary::RefusalCode;

fn datum() -> impl Strategy<Value = Datum> {
    prop_oneof![
        Just(Datum::Null),
        any::<bool>().prop_map(Datum::Bool),
        any::<i64>().prop_map(Datum::Integer),
        (-1e300..1e300).prop_map(Datum::Double),
        "-?[0-9]{1,30}(\\.[0-9]{1,10})?".prop_map(Datum::Decimal),
        any::<String>().prop_map(Datum::Text),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Datum::Bytes(bytes.into())),
        any::<i64>().prop_map(Datum::TimestampUs),
        any::<String>().prop_map(Datum::Json),
        any::<[u8; 16]>().prop_map(Datum::Uuid),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let given = prop_oneof![
        datum().prop_map(Given::Value),
        ("[ab]", 0..4_u32, "[a-z]{1,5}", 0..3_u32)
            .prop_map(|(step, call, column, row)| Given::From(Reference::to_column(&step, call, &column).row(row))),
        ("[ab]", 0..4_u32).prop_map(|(step, operation)| Given::From(Reference::to(&step, operation))),
    ];
    let arguments = proptest::collection::btree_map("[a-z_][a-z0-9_]{0,8}", given, 0..6);
    ("[a-zA-Z0-9._-]{1,10}", arguments, any::<(bool, bool, bool)>()).prop_map(
        |(procedure, arguments, (pend, respect_pending, undo))| Call {
            procedure,
            arguments: arguments.into_iter().map(|(name, given)| Argument { name, given }).collect(),
            pend,
            respect_pending,
            undo,
        },
    )
}

fn work(calls: Vec<Call>) -> CallWork {
    calls.into_iter().fold(CallWork::new(), CallWork::call)
}

fn parse(text: &str) -> Result<Work, String> {
    text.parse()
}

fn from_json(json: &str) -> Result<Work, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

proptest! {
    #[test]
    fn calls_survive_being_encoded(calls in proptest::collection::vec(call(), 1..5)) {
        let work = work(calls);
        let resolved: Vec<_> = work.calls().iter().map(|call| resolve(call, &["a", "b"]).unwrap()).collect();
        let read = read(&work.encode_with(&["a", "b"]).unwrap()).unwrap();
        prop_assert_eq!(read, Calls { calls: resolved, outcome: None });
    }

    #[test]
    fn a_call_with_texts_and_references_survives_being_written_as_text(call in call()) {
        let arguments = call.arguments.iter().all(|argument| match &argument.given {
            Given::Value(value) => matches!(value, Datum::Null | Datum::Text(_)),
            Given::From(_) => true,
        });
        let plain = |call: &Call| call.arguments.iter().all(|argument| match &argument.given {
            // Control characters are written in hexadecimal, which reads as bytes.
            Given::Value(Datum::Text(text)) => !text.chars().any(char::is_control),
            Given::Value(_) | Given::From(_) => true,
        });
        prop_assume!(arguments && plain(&call));
        prop_assert_eq!(parse(&call.to_text()), Ok(call.into()));
    }

    #[test]
    fn reading_calls_from_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes.into());
    }

    #[test]
    fn reading_calls_from_any_text_never_panics(text in any::<String>()) {
        let _ = parse(&format!("call {text}"));
        let _ = from_json(&format!("[{text}]"));
    }

    #[test]
    fn results_of_calls_survive_being_encoded(rows in proptest::collection::vec((datum(), datum()), 0..5), affected: u64) {
        let rows = rows.into_iter().map(|(a, b)| vec![a, b]).collect();
        let results = vec![
            CallResult { affected, columns: vec!["a".into(), "b".into()], rows },
            CallResult { affected: 0, columns: vec![], rows: vec![] },
        ];
        let read = Results::read(&Results::encode_calls(&results));
        prop_assert_eq!(read.calls(), Some(&results[..]));
    }
}

#[test]
fn a_call_is_written_as_text_or_as_an_object() {
    let call = Call::new("withdraw").arg("account", "alice").arg("amount", "30");
    assert_eq!(parse("call withdraw account=alice amount=30"), Ok(call.clone().into()));
    let object = r#"[{"call": "withdraw", "account": "alice", "amount": "30"}]"#;
    assert_eq!(from_json(object), Ok(call.clone().into()));
    let structured =
        r#"[{"call": {"procedure": "withdraw", "arguments": {"account": "alice", "amount": "30"}, "pend": true}}]"#;
    assert_eq!(from_json(structured), Ok(call.clone().pend().into()));
    assert_eq!(parse("call withdraw account=alice amount=30 pend"), Ok(call.clone().pend().into()));
    assert_eq!(parse("call withdraw account=alice amount=30 undo"), Ok(call.undo().into()));
    let typed = Call::new("p").arg("a", 1_i64).arg("b", Datum::Null).arg("c", true).arg("d", Datum::Json("[1]".into()));
    assert_eq!(from_json(r#"[{"call": "p", "a": 1, "b": null, "c": true, "d": [1]}]"#), Ok(typed.into()));
    let from = Call::new("p").arg_from("a", Reference::to_column("s.t", 0, "id").row(2));
    assert_eq!(parse("call p a-from=s.t.0.id[2]"), Ok(from.clone().into()));
    assert_eq!(from_json(r#"[{"call": "p", "a-from": "s.t.0.id[2]"}]"#), Ok(from.into()));
    let text = Call::new("p").arg("a", "null").arg("b", "two words");
    assert_eq!(text.to_text(), "call p a=\"null\" b=\"two words\"");
}

#[test]
fn what_is_wrong_with_a_call_is_said_with_what_would_be_right() {
    for (text, says) in [
        ("call", "names no procedure"),
        ("call p/q", "a-z A-Z 0-9 . _ -"),
        ("call p 30", "NAME=VALUE"),
        ("call p 1a=3", "no digit first"),
        ("call p a=1 a=2", "given twice"),
        ("call p a-from=x", "STEP.N"),
        ("call p a=0x1", "hexadecimal"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    for (json, says) in [
        (r#"[{"call": 3}]"#, "a call is one of"),
        (r#"[{"call": {"procedure": "p", "roof": 1}}]"#, "roof"),
        (r#"[{"call": "p", "a-from": 3}]"#, "STEP.N.COLUMN"),
    ] {
        let error = from_json(json).unwrap_err();
        assert!(error.contains(says), "{json}: {error}");
    }
}

#[test]
fn calls_over_a_limit_are_refused_with_the_limit_named() {
    let error = |work: CallWork| work.encode().unwrap_err();
    assert_eq!(error(CallWork::new()), InvalidWork::NoCalls);
    let many = error(work(vec![Call::new("p"); MAX_CALLS + 1]));
    assert!(many.to_string().contains("64") && many.code() == RefusalCode::TooLarge, "{many}");
    let long = error(Call::new("p").arg("a", "x".repeat(MAX_ARGUMENT_BYTES + 1)).into());
    assert!(long.to_string().contains("65536"), "{long}");
    let named = error(Call::new("p q").into());
    assert!(named.to_string().contains("'p q'"), "{named}");
    let many = (0..=MAX_ARGUMENTS).fold(Call::new("p"), |call, at| call.arg(&format!("a{at}"), true));
    assert!(error(many.into()).to_string().contains("256"));
    assert!(error(Call::new("p").arg("a", 1).arg("a", 2).into()).to_string().contains("twice"));
}

#[test]
fn what_undoes_calls_calls_their_undo_with_the_same_arguments_the_last_first() {
    let work = work(vec![Call::new("take").arg("item", 7).pend(), Call::new("pay").arg("amount", 30)]);
    assert_eq!(
        work.undo().calls(),
        [Call::new("pay").arg("amount", 30).undo(), Call::new("take").arg("item", 7).undo()]
    );
    let check = |place| work.undo().check_in_saga(place, |_| None);
    assert_eq!(check(PlaceInSaga::Compensation), Ok(()));
    assert_eq!(check(PlaceInSaga::AfterPivot), Err((0, InvalidWork::UndoTooEarly)));
}

#[test]
fn work_of_two_kinds_is_not_put_together() {
    let calls = || Work::from(Call::new("p"));
    let operations: Work = "get k".parse().unwrap();
    assert!(calls().then(operations.clone()).is_err() && operations.then(calls()).is_err());
    assert_eq!(calls().then(calls()).unwrap().texts(), ["call p", "call p"]);
}

#[test]
fn a_value_is_kept_beside_calls() {
    let mut kept: Work = Call::new("p").into();
    kept.keep(&"order".into(), "acted t".into(), Some("committed t".into()));
    let outcome = |work: &Work| read(&work.encode(&[]).unwrap()).unwrap().outcome.unwrap();
    assert_eq!(outcome(&kept).value_in_branch, Some("committed t".into()));
    assert_eq!(outcome(&kept.as_step_only()).value_in_branch, None);
}

#[test]
fn a_reference_to_a_call_names_a_column() {
    let calls: Work = Call::new("p").into();
    let refers = |from: Reference| Work::from(Call::new("q").arg_from("a", from));
    let check =
        |from| refers(from).check_in_saga(PlaceInSaga::Pivot, |_| Some(&calls)).map_err(|(_, why)| why.to_string());
    assert_eq!(check(Reference::to_column("a", 0, "id")), Ok(()));
    assert!(check(Reference::to("a", 0)).unwrap_err().contains("name the column"));
    assert!(check(Reference::to_column("a", 1, "id")).unwrap_err().contains("no call with that number"));
    let operations: Work = "get k".parse().unwrap();
    let column = refers(Reference::to_column("a", 0, "id"));
    let fault = column.check_in_saga(PlaceInSaga::Pivot, |_| Some(&operations)).unwrap_err().1.to_string();
    assert!(fault.contains("no columns"), "{fault}");
}

#[test]
fn results_are_shown_by_rows_with_the_names_of_their_columns() {
    let rows = vec![vec![Datum::Integer(70), Datum::Null], vec![Datum::Text("a b".into()), Datum::Bool(true)]];
    let results = Results::read(&Results::encode_calls(&[
        CallResult { affected: 1, columns: vec![], rows: vec![] },
        CallResult { affected: 0, columns: vec!["balance".into(), "x".into()], rows },
    ]));
    let work: Work = "call p".parse().unwrap();
    let shown = results.shown(Some(&work));
    assert_eq!(shown[0], ["call p", "1 row written"]);
    assert_eq!(shown[1], ["2", "balance=70 x=null"]);
    assert_eq!(shown[2], ["", "balance=\"a b\" x=true"]);
    assert_eq!(
        serde_json::to_value(&results).unwrap()["calls"][1]["rows"],
        serde_json::json!([["70", null], ["a b", true]])
    );
}
