use super::*;
use crate::call::{Call, CallResult, CallWork, read_with_events as calls_with_events};
use crate::datum::Datum;
use crate::kv::{self, KvWork, read_with_events};
use crate::reference::Inputs;
use crate::results::{Results, Value};
use crate::template::MAX_PARAMETERS;
use crate::work::PlaceInSaga;
use proptest::prelude::*;
use undoubt_vocabulary::event::{JSON, MAX_EVENT_KEY_BYTES, MAX_EVENT_LABEL_BYTES, OCTETS};
use undoubt_vocabulary::{RefusalCode, TxId};

const STEPS: [&str; 2] = ["a", "s.t"];

fn source() -> impl Strategy<Value = Source> {
    let step = || prop::sample::select(STEPS.to_vec());
    prop_oneof![
        (step(), any::<u32>()).prop_map(|(step, operation)| Reference::to(step, operation).into()),
        (step(), 0..4_u32, "[a-z]{1,5}", 0..3_u32).prop_map(|(step, call, column, row)| Reference::to_column(
            step, call, &column
        )
        .row(row)
        .into()),
        any::<u32>().prop_map(Source::own),
        (0..4_u32, "[a-z]{1,5}", 0..3_u32).prop_map(|(call, column, row)| Source::own_column(call, &column).row(row)),
    ]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        "\\{[a-c]\\}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        any::<String>().prop_map(Bytes::from),
        "[a-z0-9:/=]{1,8}|absent|0x41|json=1".prop_map(Bytes::from),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from),
    ]
}

/// Events that say nothing wrong.
fn event() -> impl Strategy<Value = Emit> {
    let data = prop_oneof![
        bytes().prop_map(|bytes| (Data::Bytes(bytes), vec![])),
        source().prop_map(|from| (Data::From(from), vec![])),
        (json(), prop::collection::btree_map("[a-z_][a-z0-9_]{0,5}|key|data", source(), 0..4)).prop_map(
            |(json, parameters)| {
                let parameters = parameters.into_iter().map(|(name, from)| Parameter { name, from }).collect();
                (Data::Json(json.to_string()), parameters)
            }
        ),
    ];
    let labels = || "[ -~]{0,12}".prop_map(SmolStr::from);
    let correlation = prop::collection::vec(any::<u8>(), 1..20)
        .prop_map(|bytes| CorrelationId(TxId::new(bytes).expect("it is short")));
    (
        ("[a-zA-Z0-9._-]{1,12}", "[a-zA-Z0-9._-]{1,12}", bytes(), prop::option::of(source()), data),
        (labels(), labels(), any::<Option<u64>>(), prop::option::of(correlation)),
    )
        .prop_map(
            |((topic, kind, key, key_suffix_from, (data, parameters)), (schema, content_type, expect, correlation))| {
                let key = if key.is_empty() && key_suffix_from.is_none() { "k".into() } else { key };
                let (topic, kind) = (topic.into(), kind.into());
                #[rustfmt::skip]
                let event = Emit {
                    topic, kind, key, key_suffix_from, data, parameters, schema, content_type, expect, correlation,
                };
                event
            },
        )
}

fn from_json(json: &str) -> Result<Work, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<Work, String> {
    text.parse()
}

/// The bytes of these events alone, whatever they say of their own work.
fn encoded(events: &[Emit]) -> Bytes {
    let mut out = Writer::default();
    events.iter().for_each(|event| binary::write(&mut out, &event.with_inputs(&STEPS).unwrap()));
    out.finish()
}

fn to_json(event: &Emit) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    let mut add = |name: &str, value: serde_json::Value| drop(object.insert(name.to_owned(), value));
    let text = |bytes: &[u8]| crate::text::to_string(bytes).into();
    add("topic", event.topic.as_str().into());
    add("type", event.kind.as_str().into());
    add("key", text(&event.key));
    event.key_suffix_from.iter().for_each(|from| add("key-from", from.to_string().into()));
    match &event.data {
        Data::Bytes(bytes) => add("data", text(bytes)),
        Data::Json(json) => add("json", serde_json::from_str(json).unwrap()),
        Data::From(from) => add("data-from", from.to_string().into()),
    }
    let parameters =
        event.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.from.to_string().into()));
    add("from", serde_json::Value::Object(parameters.collect()));
    add("schema", event.schema.as_str().into());
    add("content-type", event.content_type.as_str().into());
    event.correlation.iter().for_each(|id| add("correlation", text(id.0.as_bytes())));
    event.expect.iter().for_each(|version| add("expect", (*version).into()));
    let verb = if event.expect.is_some() { "append" } else { "emit" };
    serde_json::json!([{ verb: object }])
}

proptest! {
    #[test]
    fn events_survive_being_encoded(events in prop::collection::vec(event(), 0..4)) {
        let resolved: Vec<_> = events.iter().map(|event| event.with_inputs(&STEPS).unwrap()).collect();
        prop_assert_eq!(read(&encoded(&events)), Ok(resolved));
    }

    #[test]
    fn events_survive_being_written_as_text(event in event()) {
        let text = event.to_text();
        prop_assert_eq!(parse(&text), Ok(event.into()), "{}", text);
    }

    #[test]
    fn events_are_written_as_objects(event in event()) {
        let object = to_json(&event).to_string();
        prop_assert_eq!(from_json(&object), Ok(event.into()), "{}", object);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let bytes = Bytes::from(bytes);
        let _ = (read(&bytes), kv::read(&bytes), calls_with_events(&bytes));
        if let Ok((operations, _)) = read_with_events(&bytes) {
            operations.for_each(drop);
        }
        let mut out = Writer::default();
        out.bytes(7, &bytes);
        let _ = read(&out.finish());
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), named in "(emit|append) .{0,80}", json in "json=.{0,40}") {
        let _ = (parse(&format!("emit {text}")), parse(&named), from_json(&format!("[{text}]")));
        let _ = (parse(&format!("emit t y key=k {text}")), parse(&format!("append t y key=k expect=1 {json}")));
    }

    #[test]
    fn events_are_resolved_or_refused(event in event(), results in prop::collection::vec(any::<i64>(), 0..4)) {
        let values: Vec<_> = results.into_iter().map(Value::Integer).collect();
        let inputs = [Results::encode(&values), Results::encode(&values)];
        let event = event.with_inputs(&STEPS).unwrap();
        for own in [Own::Operations(&values), Own::Calls(&[])] {
            if let Ok(resolved) = event.clone().resolve(&mut Inputs::of_step(&inputs), &own) {
                prop_assert!(resolved.key.starts_with(&event.key) && resolved.check().is_ok());
                prop_assert!(!resolved.content_type.is_empty());
            }
        }
    }
}

fn placed() -> Emit {
    Emit::new("orders", "order.placed", "17")
}

#[test]
fn an_event_is_written_as_text_or_as_an_object() {
    let event = placed().json(serde_json::json!({"total": "{total}", "by": "a b"})).parameter("total", Source::own(1));
    let texts = [
        r#"emit orders order.placed key=17 json={"by": "a b", "total": "{total}"} from.total=.1"#,
        r#"emit orders order.placed from.total=.1 key=17 json={"total":"{total}","by":"a b"}"#,
    ];
    for text in texts {
        assert_eq!(parse(text), Ok(event.clone().into()), "{text}");
    }
    let object = r#"[{"emit": {"topic": "orders", "type": "order.placed", "key": "17", "json": {"total": "{total}", "by": "a b"},
        "from": {"total": ".1"}}}]"#;
    assert_eq!(from_json(object), Ok(event.clone().into()));
    let shown = r#"emit orders order.placed key=17 json={"by":"a b","total":"{total}"} from.total=.1"#;
    assert_eq!(Work::from(event).texts(), [shown]);

    let id = CorrelationId(TxId::new("saga 7").unwrap());
    let appended = Emit::new("accounts", "paid", "").key_suffix_from(Reference::to_column("pay", 0, "id").row(2));
    let appended = appended.data_from(Reference::to("pay", 1)).schema("paid.v2").content_type("text/plain").expect(3);
    let appended = appended.correlation(id);
    let text = "append accounts paid key-from=pay.0.id[2] expect=3 data-from=pay.1 schema=paid.v2 content-type=text/plain \
                correlation=\"saga 7\"";
    assert_eq!(Work::from(appended.clone()).texts(), [text]);
    assert_eq!(parse(text), Ok(appended.clone().into()));
    let object = r#"[{"append": {"topic": "accounts", "type": "paid", "key-from": "pay.0.id[2]", "data-from": "pay.1",
        "schema": "paid.v2", "content-type": "text/plain", "correlation": "saga 7", "expect": 3}}]"#;
    assert_eq!(from_json(object), Ok(appended.into()));
    let null = placed().json(serde_json::Value::Null);
    assert_eq!(
        from_json(r#"[{"emit": {"topic": "orders", "type": "order.placed", "key": "17", "json": null}}]"#),
        Ok(null.into())
    );
}

#[test]
fn text_has_no_control_characters() {
    let text = placed().json("a\n\u{7f}\u{9b}b").to_text();
    assert_eq!(text, r#"emit orders order.placed key=17 json="a\n\u007f\u009bb""#);
    assert_eq!(parse(&text), Ok(placed().json("a\n\u{7f}\u{9b}b").into()));
}

#[test]
fn what_is_wrong_with_an_event_is_said_with_what_would_be_right() {
    for (text, says) in [
        ("emit", "its topic is missing; write it as"),
        ("emit orders", "its type is missing; write it as"),
        ("emit orders key=1", "its type is missing; write it as"),
        ("emit \"orders\" placed key=1", "leave the quotes out"),
        ("emit a/b placed key=1", "a topic's name"),
        ("emit orders a/b key=1", "the type of an event"),
        ("emit orders placed", "give 1 to 1024 bytes"),
        ("emit orders placed 17", "NAME=VALUE"),
        ("emit orders placed key=1 key=2", "key is given twice"),
        ("emit orders placed key=1 data=x json=1", "data is given twice"),
        ("emit orders placed key=1 data-from=a.0 data=x", "data is given twice"),
        ("emit orders placed key=1 colour=red", "colour is nothing that an event has"),
        ("emit orders placed key=1 json={", "no JSON"),
        ("emit orders placed key=1 json=", "give a JSON value"),
        ("emit orders placed key=1 json={}x", "put a space"),
        ("emit orders placed key=1 data=x from.a=b.0", "data in JSON"),
        ("emit orders placed key=1 json=1 from.1a=b.0", "no digit first"),
        ("emit orders placed key=1 json=1 from.a=b", "STEP.N"),
        ("emit orders placed key=1 data-from=x", "what this work leaves"),
        ("emit orders placed key=1 expect=3", "expect is for append"),
        ("append orders placed key=1", "give expect"),
        ("append orders placed key=1 expect=-1", "no version"),
        ("emit orders placed key=1 schema=\"\u{e4}\"", "printable characters of ASCII"),
        ("emit orders placed key=1 correlation=\"\"", "correlation: "),
        ("emitt orders placed key=1", "did you mean \"emit\"?"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    let of = |inner: &str| from_json(&format!(r#"[{{"emit": {{"topic": "t", "type": "y", {inner}}}}}]"#)).unwrap_err();
    for (inner, says) in [
        (r#""data": "x""#, "give 1 to 1024 bytes"),
        (r#""key": "k", "data": "x", "json": null"#, "stand for the same thing"),
        (r#""key": "k", "json": 1, "from": {"a": "b"}"#, "STEP.N"),
        (r#""key": "k", "colour": 1"#, "colour"),
        (r#""key": "k", "expect": 1"#, "expect is for append"),
        (r#""key": "0x1""#, "hexadecimal"),
    ] {
        let error = of(inner);
        assert!(error.contains(says), "{inner}: {error}");
    }
    assert!(from_json(r#"[{"emit": {}, "get": {"key": "k"}}]"#).unwrap_err().contains("stands alone in its object"));
    assert!(from_json(r#"[{"emit": 3}]"#).unwrap_err().contains("write it as"));
}

#[test]
fn events_stand_beside_operations_or_calls_or_alone_and_do_not_shift_their_results() {
    let event = || Work::from(placed());
    let merged =
        from_json(r#"["add a 1", {"emit": {"topic": "orders", "type": "order.placed", "key": "17"}}, "get b"]"#)
            .unwrap();
    assert_eq!(merged, KvWork::new().add("a", 1).get("b").emit(placed()).into());
    assert_eq!(merged.texts(), ["add a 1", "get b", "emit orders order.placed key=17"]);
    let results = Results::read(&Results::encode(&[Value::Integer(3), Value::Absent]));
    assert_eq!(results.shown(Some(&merged)).len(), 2, "an event has no result");
    let (operations, events) = { merged.encode(&[]).map(|work| of_kv(&work)).unwrap() };
    assert_eq!((operations, events.len()), (2, 1));

    let called = event().then(Call::new("p").into()).unwrap().then(event()).unwrap();
    assert_eq!(called, CallWork::new().call(Call::new("p")).emit(placed()).emit(placed()).into());
    let (calls, events) = calls_with_events(&called.encode(&[]).unwrap()).unwrap();
    assert_eq!((calls.calls.len(), events.len()), (1, 2));

    let alone = event().then(event()).unwrap();
    assert_eq!(alone.texts().len(), 2);
    let encoded = alone.encode(&[]).unwrap();
    assert_eq!(of_kv(&encoded), (0, read(&encoded).unwrap()));
    assert_eq!(calls_with_events(&encoded).unwrap().1.len(), 2);
    let first_operations = alone.then(KvWork::new().get("k").into()).unwrap();
    assert_eq!(first_operations, KvWork::new().get("k").emit(placed()).emit(placed()).into());

    assert!(event().then(Work::raw("x")).is_err() && Work::enlisted().then(event()).is_err());
    assert!(parse("http get http://h/").unwrap().then(event()).is_err());
    assert_eq!(CallWork::new().call(Call::new("p")).emit(placed()).undo(), CallWork::from(Call::new("p").undo()));
}

fn of_kv(work: &Bytes) -> (usize, Vec<Emit<Input>>) {
    let (operations, events) = read_with_events(work).unwrap();
    (operations.map(Result::unwrap).count(), events)
}

#[test]
fn a_resource_that_publishes_nothing_refuses_events_by_their_name() {
    let work = encoded(&[placed()]);
    let refusals = [kv::read(&work).map(drop), crate::call::read(&work).map(drop), crate::http::read(&work).map(drop)];
    for refusal in refusals {
        let refusal = refusal.unwrap_err();
        assert!(refusal.to_string().contains("has events") && refusal.code() == RefusalCode::InvalidWork, "{refusal}");
    }
    assert!(
        crate::enlisted::read(&[&b"\x1a\0"[..], &work].concat().into()).unwrap_err().to_string().contains("events")
    );
}

#[test]
fn a_value_is_kept_beside_events_where_the_kind_of_work_is_known() {
    assert!(!Work::from(placed()).can_keep());
    let mut work = Work::from(KvWork::new().get("k").emit(placed().data_from(Source::own(0))));
    work.keep(&"order".into(), "acted t".into(), Some("committed t".into()));
    assert_eq!(work.texts().len(), 3);
    let kept = of_kv(&work.encode(&[]).unwrap());
    assert_eq!((kept.0, &kept.1[0].data), (2, &Data::From(Source::own(0).with_inputs(&[]).unwrap())));
    assert_eq!(of_kv(&work.as_step_only().encode(&[]).unwrap()).1, kept.1);
}

#[test]
fn what_refers_to_its_own_work_goes_with_it() {
    let one = || KvWork::new().add("a", 1).emit(placed().data_from(Source::own(0)));
    let own = |work: &KvWork| {
        work.events().iter().map(|event| event.sources().next().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(own(&one().then(one())), [".0", ".1"]);
    let alone = || Work::from(placed().data_from(Source::own(0)));
    let list = Work::from(KvWork::new().get("x").get("y")).then(alone()).unwrap();
    assert_eq!(list.texts()[2], "emit orders order.placed key=17 data-from=.0", "it is about the whole list");
    let calls = || CallWork::new().call(Call::new("p")).emit(placed().key_suffix_from(Source::own_column(0, "id")));
    let merged = Work::from(calls()).then(calls().into()).unwrap();
    assert_eq!(merged.texts()[3], "emit orders order.placed key=17 key-from=.1.id");

    let error = |work: Work| work.encode(&[]).unwrap_err().to_string();
    assert!(
        error(KvWork::new().get("k").emit(placed().data_from(Source::own(1))).into())
            .contains("no operation with that number")
    );
    assert!(
        error(KvWork::new().delete("k").emit(placed().data_from(Source::own(0))).into())
            .contains("never leaves a value")
    );
    assert!(
        error(KvWork::new().get("k").emit(placed().data_from(Source::own_column(0, "id"))).into())
            .contains("no columns")
    );
    assert!(
        error(CallWork::from(Call::new("p")).emit(placed().data_from(Source::own(0))).into())
            .contains("name the column")
    );
    assert!(error(alone()).contains(".0 cannot be referred to: nothing stands beside"));
}

#[test]
fn references_of_events_to_steps_are_looked_at_like_all_others() {
    let refers = |from| KvWork::new().get("k").emit(placed()).emit(placed().json("{x}").parameter("x", from));
    let work = Work::from(refers(Reference::to("a", 1)));
    assert_eq!(work.referred_steps(), ["a"]);
    assert_eq!(Work::from(placed().data_from(Reference::to("b", 0))).referred_steps(), ["b"]);
    let action: Work = "get k".parse().unwrap();
    let check = |work: &Work| work.check_in_saga(PlaceInSaga::AfterPivot, |_| Some(&action));
    let (at, fault) = check(&work).unwrap_err();
    assert!(at == 2 && fault.to_string().contains("a.1 cannot be referred to"), "{at}: {fault}");
    assert_eq!(work.texts()[at], "emit orders order.placed key=17 json=\"{x}\" from.x=a.1");
    assert_eq!(check(&refers(Reference::to("a", 0)).into()), Ok(()));
    assert_eq!(work.encode(&[]), Err(InvalidWork::NoSuchInput { step: "a".to_owned() }));
    let published = Work::from(placed());
    let (_, fault) = work.check_in_saga(PlaceInSaga::Pivot, |_| Some(&published)).unwrap_err();
    assert!(fault.to_string().contains("events leave no values"), "{fault}");
}

#[test]
fn events_over_a_limit_are_refused_with_the_limit_named() {
    let fault = |event: Emit| {
        let fault = Work::from(event.clone()).encode(&STEPS).unwrap_err();
        assert_eq!(read(&encoded(&[event])).unwrap_err(), fault, "the participant says the same");
        (fault.code(), fault.to_string())
    };
    let (large, invalid) = (RefusalCode::TooLarge, RefusalCode::InvalidWork);
    let many = (0..=MAX_PARAMETERS)
        .fold(placed().json(1), |event, at| event.parameter(&format!("p{at}"), Reference::to("a", 0)));
    for (event, code, says) in [
        (Emit::new("t", "y", vec![0; MAX_EVENT_KEY_BYTES + 1]), large, "1024"),
        (Emit::new("t", "y", ""), invalid, "1 to 1024"),
        (placed().data(vec![0; MAX_EVENT_DATA_BYTES + 1]), large, "65536"),
        (placed().json("x".repeat(MAX_EVENT_DATA_BYTES)), large, "65536"),
        (placed().schema(&"x".repeat(MAX_EVENT_LABEL_BYTES + 1)), invalid, "256"),
        (placed().content_type("\u{e4}"), invalid, "content type"),
        (Emit::new("", "y", "k"), invalid, "a topic's name is empty"),
        (Emit::new("t", "a b", "k"), invalid, "the type of an event"),
        (Emit { data: Data::Json("{".to_owned()), ..placed() }, invalid, "no JSON"),
        (many, large, "64"),
        (
            placed().json(1).parameter("a", Reference::to("a", 0)).parameter("a", Reference::to("a", 0)),
            invalid,
            "twice",
        ),
        (placed().json(1).parameter("a b", Reference::to("a", 0)), invalid, "'a b'"),
        (placed().parameter("a", Reference::to("a", 0)), invalid, "data in JSON"),
    ] {
        let (found, detail) = fault(event);
        assert!(found == code && detail.contains(says), "{found:?} {detail}");
    }
    let many = vec![placed(); MAX_EVENTS + 1];
    let too_many = InvalidWork::TooManyEvents { count: MAX_EVENTS + 1 };
    assert_eq!(read(&encoded(&many)), Err(too_many.clone()));
    assert_eq!(many.into_iter().fold(KvWork::new().get("k"), KvWork::emit).encode(), Err(too_many));
}

#[test]
fn an_event_takes_what_earlier_steps_and_its_own_work_leave() {
    let earlier = [Results::encode(&[Value::Integer(7), Value::Absent]), Results::encode_calls(&[])];
    let values = [Value::Integer(70), Value::Bytes("ada".into()), Value::Absent];
    let resolve =
        |event: Emit, own: &Own<'_>| event.with_inputs(&STEPS).unwrap().resolve(&mut Inputs::of_step(&earlier), own);
    let own = Own::Operations(&values);
    let json =
        serde_json::json!({"rate": "{rate}", "left": ["{left}"], "by": "{by}", "gone": "{gone}", "text": "a {by}"});
    let event = placed().json(json).parameter("rate", Reference::to("a", 0)).parameter("left", Source::own(0));
    let event = event.parameter("by", Source::own(1)).parameter("gone", Source::own(2)).key_suffix_from(Source::own(1));
    let made = resolve(event, &own).unwrap();
    assert_eq!((&made.key[..], made.content_type.as_str()), (&b"17ada"[..], JSON));
    assert_eq!(made.data, r#"{"by":"ada","gone":null,"left":[70],"rate":7,"text":"a {by}"}"#);

    let made = resolve(placed().data_from(Source::own(0)).expect(0), &own).unwrap();
    assert_eq!((&made.data[..], made.content_type.as_str(), made.expect), (&b"70"[..], OCTETS, Some(0)));
    let row = vec![Datum::Json("[1]".to_owned()), Datum::Null];
    let calls = [CallResult { affected: 0, columns: vec!["id".into(), "none".into()], rows: vec![row] }];
    let made = resolve(placed().data_from(Source::own_column(0, "id")), &Own::Calls(&calls)).unwrap();
    assert_eq!((&made.data[..], made.content_type.as_str()), (&b"[1]"[..], JSON));
    let made = resolve(placed().data_from(Source::own(1)).content_type("text/plain"), &own).unwrap();
    assert_eq!(made.content_type, "text/plain");

    for (event, own, says) in [
        (placed().data_from(Source::own(2)), own, "result 2 of its own work has no value"),
        (placed().data_from(Source::own(3)), own, "it has 3"),
        (placed().key_suffix_from(Reference::to("a", 1)), own, "result 1 of input 0 has no value"),
        (placed().data_from(Source::own_column(0, "x")), own, "leave the column out"),
        (placed().data_from(Source::own(0)), Own::Calls(&calls), "name the column"),
        (placed().data_from(Source::own_column(0, "x")), Own::Calls(&calls), "of these columns: id, none"),
        (placed().data_from(Source::own_column(0, "none")), Own::Calls(&calls), "has no value"),
        (placed().data_from(Source::own_column(1, "x")), Own::Calls(&calls), "it has 1"),
    ] {
        let refusal = resolve(event, &own).unwrap_err();
        assert!(refusal.code == RefusalCode::InvalidWork && refusal.detail.contains(says), "{refusal}");
    }
    let in_branch = placed().data_from(Reference::to("a", 0)).with_inputs(&STEPS).unwrap();
    assert!(in_branch.resolve(&mut Inputs::of_branch(), &own).unwrap_err().detail.contains("only a saga's step"));
}

#[test]
fn what_is_too_large_with_what_it_takes_is_refused() {
    let values = [Value::Bytes(vec![b'x'; MAX_EVENT_DATA_BYTES / 2].into())];
    let resolve = |event: Emit| {
        event.with_inputs(&[]).unwrap().resolve(&mut Inputs::of_branch(), &Own::Operations(&values)).unwrap_err()
    };
    let json = |times: usize| placed().json(vec!["{x}"; times]).parameter("x", Source::own(0));
    for (event, says) in [
        (placed().key_suffix_from(Source::own(0)), "1024"),
        (json(2), "65536"),
        // It is not filled in at all.
        (json(MAX_EVENT_DATA_BYTES / 6), "take from elsewhere"),
    ] {
        let refusal = resolve(event);
        assert!(refusal.code == RefusalCode::TooLarge && refusal.detail.contains(says), "{refusal}");
    }
}
