//! What is read and written here is what `work.proto` says, and what any other program makes of that file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use undoubt_proto::work as wire;
use undoubt_proto::work::operation::Kind;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::event;
use undoubt_work::kv::{Extras, KvWork, Operation, read, read_with_events};
use undoubt_work::{Cell, Input, InvalidWork, Place, Reference, Results, Value, Work};

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        (100..300_usize).prop_map(|length| Bytes::from(vec![7; length])),
    ]
}

fn reference() -> impl Strategy<Value = wire::Reference> {
    (any::<u32>(), any::<u32>()).prop_map(|(input, operation)| wire::Reference {
        input,
        operation,
        ..Default::default()
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Get(wire::Get {})),
        (bytes(), option::of(reference()), option::of(bytes())).prop_map(|(value, value_from, value_in_branch)| {
            Kind::Put(wire::Put { value, value_from, value_in_branch })
        }),
        Just(Kind::Delete(wire::Delete {})),
        (any::<i64>(), any::<Option<i64>>(), any::<Option<i64>>())
            .prop_map(|(delta, floor, ceiling)| Kind::Add(wire::Add { delta, floor, ceiling })),
        (option::of(bytes()), option::of(bytes()), option::of(reference()), option::of(reference())).prop_map(
            |(expected, value, expected_from, value_from)| {
                Kind::CompareAndSet(wire::CompareAndSet { expected, value, expected_from, value_from })
            }
        ),
    ]
}

fn operation() -> impl Strategy<Value = wire::Operation> {
    (bytes(), kind(), option::of(reference()), any::<bool>(), any::<bool>()).prop_map(
        |(key, kind, key_suffix_from, pend, respect_pending)| wire::Operation {
            key,
            kind: Some(kind),
            key_suffix_from,
            pend,
            respect_pending,
        },
    )
}

/// The same as the generated types have it.
fn to_wire(operation: Operation, extras: Extras<Input>) -> wire::Operation {
    let from = |from: Option<Input>| {
        from.map(|Input { input, operation, cell: _ }| wire::Reference { input, operation, ..Default::default() })
    };
    let Extras { key_suffix_from, value_from, expected_from, pend, respect_pending, value_in_branch } = extras;
    let (key, value_from, expected_from) = (operation.key().clone(), from(value_from), from(expected_from));
    let kind = match operation {
        Operation::Get { .. } => Kind::Get(wire::Get {}),
        Operation::Put { value, .. } => Kind::Put(wire::Put { value, value_from, value_in_branch }),
        Operation::Delete { .. } => Kind::Delete(wire::Delete {}),
        Operation::Add { add, .. } => Kind::Add(wire::Add { delta: add.delta, floor: add.floor, ceiling: add.ceiling }),
        Operation::CompareAndSet { expected, value, .. } => {
            Kind::CompareAndSet(wire::CompareAndSet { expected, value, expected_from, value_from })
        }
    };
    wire::Operation { key, kind: Some(kind), key_suffix_from: from(key_suffix_from), pend, respect_pending }
}

/// Builds the same as an application would.
fn built(operations: &[wire::Operation]) -> KvWork {
    let named = |from: &wire::Reference| Reference::to(INPUTS[from.input as usize % INPUTS.len()], from.operation);
    operations.iter().fold(KvWork::new(), |work, operation| {
        let key = operation.key.clone();
        let (work, value_from, expected_from) = match operation.kind.clone().unwrap() {
            Kind::Get(wire::Get {}) => (work.get(key), None, None),
            Kind::Put(wire::Put { value, value_from, value_in_branch }) => {
                let value = if value_from.is_some() { Bytes::new() } else { value };
                let work = work.put(key, value);
                let work = match value_in_branch {
                    Some(value) => work.value_in_branch(value),
                    None => work,
                };
                (work, value_from, None)
            }
            Kind::Delete(wire::Delete {}) => (work.delete(key), None, None),
            Kind::Add(wire::Add { delta, floor, ceiling }) => {
                (work.add(key, undoubt_work::kv::Add { delta, floor, ceiling }), None, None)
            }
            Kind::CompareAndSet(wire::CompareAndSet { expected, value, expected_from, value_from }) => {
                let (expected, value) =
                    (expected.filter(|_| expected_from.is_none()), value.filter(|_| value_from.is_none()));
                (work.compare_and_set(key, expected, value), value_from, expected_from)
            }
        };
        let work = value_from.iter().fold(work, |work, from| work.value_from(named(from)));
        let work = expected_from.iter().fold(work, |work, from| work.expected_from(named(from)));
        let work = operation.key_suffix_from.iter().fold(work, |work, from| work.key_suffix_from(named(from)));
        let work = if operation.pend { work.pend() } else { work };
        if operation.respect_pending { work.respect_pending() } else { work }
    })
}

const INPUTS: [&str; 2] = ["first", "second"];

proptest! {
    #[test]
    fn work_of_any_program_is_read_as_it_was_meant(operations in proptest::collection::vec(operation(), 0..6)) {
        let encoded = Bytes::from(wire::Work { operations: operations.clone(), ..Default::default() }.encode_to_vec());
        let read: Result<Vec<_>, _> = read(&encoded).unwrap().collect();
        let read: Vec<_> = read.unwrap().into_iter().map(|(operation, extras)| to_wire(operation, extras)).collect();
        prop_assert_eq!(read, operations);
    }

    #[test]
    fn work_that_is_built_here_is_what_the_generated_types_read_and_write(
        operations in proptest::collection::vec(operation(), 1..6)
    ) {
        let work = built(&operations);
        let operations = operations.iter().all(|operation| !operation.key.is_empty());
        if let Ok(encoded) = Work::from(work).encode(&INPUTS) {
            let read = wire::Work::decode(encoded.clone()).unwrap();
            prop_assert_eq!(read.encode_to_vec(), encoded.clone());
            let own: Result<Vec<_>, _> = undoubt_work::kv::read(&encoded).unwrap().collect();
            let own: Vec<_> = own.unwrap().into_iter().map(|(operation, extras)| to_wire(operation, extras)).collect();
            prop_assert_eq!(own, read.operations);
        } else {
            prop_assert!(!operations, "only an empty key is wrong with them");
        }
    }

    #[test]
    fn results_are_what_the_generated_types_read(numbers in proptest::collection::vec(any::<i64>(), 0..9), value in bytes()) {
        let values: Vec<Value> =
            numbers.into_iter().map(Value::Integer).chain([Value::Absent, Value::Bytes(value)]).collect();
        let encoded = Results::encode(&values);
        let read = wire::Results::decode(encoded.clone()).unwrap();
        prop_assert_eq!(read.form, u32::from_le_bytes(*b"und1"));
        let of = |result: &wire::Result| match result.value.clone() {
            None => Value::Absent,
            Some(wire::result::Value::Bytes(bytes)) => Value::Bytes(bytes),
            Some(wire::result::Value::Integer(number)) => Value::Integer(number),
        };
        prop_assert_eq!(read.results.iter().map(of).collect::<Vec<_>>(), values);
        prop_assert_eq!(read.encode_to_vec(), encoded);
    }

    #[test]
    fn reading_any_bytes_as_work_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(operations) = read(&bytes.into()) {
            operations.for_each(drop);
        }
    }
}

fn source() -> impl Strategy<Value = wire::Source> {
    use wire::source::From;
    let place = || (any::<u32>(), "[a-z]{0,3}", 0..3_u32);
    prop_oneof![
        (any::<u32>(), place()).prop_map(|(input, place)| From::Step(at(input, place))),
        place().prop_map(|place| From::Own(at(0, place))),
    ]
    .prop_map(|from| wire::Source { from: Some(from) })
}

/// A row has a column.
fn at(input: u32, (operation, column, row): (u32, String, u32)) -> wire::Reference {
    let row = if column.is_empty() { 0 } else { row };
    wire::Reference { input, operation, column, row }
}

fn emit() -> impl Strategy<Value = wire::Emit> {
    use wire::emit::Data;
    let data = prop_oneof![
        bytes().prop_map(|bytes| (Some(Data::Bytes(bytes)), vec![])),
        Just((None, vec![])),
        source().prop_map(|from| (Some(Data::DataFrom(from)), vec![])),
        ("[1-9]{1,3}|\"[a-z]{0,9}\"", proptest::collection::btree_map("[a-z]{1,5}", source(), 0..3)).prop_map(
            |(json, from)| {
                let parameter = |(name, from)| wire::EventParameter { name, from: Some(from) };
                (Some(Data::Json(json)), from.into_iter().map(parameter).collect())
            }
        ),
    ];
    (
        ("[a-z.]{1,9}", "[a-z.]{1,9}", proptest::collection::vec(any::<u8>(), 1..20), option::of(source()), data),
        ("[a-z /]{0,9}", "[a-z /]{0,9}", any::<Option<u64>>(), proptest::collection::vec(any::<u8>(), 0..9)),
    )
        .prop_map(
            |((topic, r#type, key, key_suffix_from, (data, parameters)), (schema, content_type, expect, id))| {
                wire::Emit {
                    topic,
                    r#type,
                    key: key.into(),
                    key_suffix_from,
                    data,
                    parameters,
                    schema,
                    content_type,
                    expect,
                    correlation: id.into(),
                }
            },
        )
}

fn source_to_wire(source: event::Source<Input>) -> wire::Source {
    let cell = |cell: Option<Cell>| cell.map_or_else(Default::default, |cell| (cell.column, cell.row));
    let from = match source {
        event::Source::Step(Input { input, operation, cell: boxed }) => {
            let (column, row) = cell(boxed.map(|boxed| *boxed));
            wire::source::From::Step(wire::Reference { input, operation, column, row })
        }
        event::Source::Own(Place { operation, cell: place }) => {
            let (column, row) = cell(place);
            wire::source::From::Own(wire::Reference { input: 0, operation, column, row })
        }
    };
    wire::Source { from: Some(from) }
}

/// The same as the generated types have it.
fn emit_to_wire(event: event::Emit<Input>) -> wire::Emit {
    use wire::emit::Data;
    let parameter = |parameter: event::Parameter<event::Source<Input>>| wire::EventParameter {
        name: parameter.name,
        from: Some(source_to_wire(parameter.from)),
    };
    wire::Emit {
        topic: event.topic.into(),
        r#type: event.kind.into(),
        key: event.key,
        key_suffix_from: event.key_suffix_from.map(source_to_wire),
        data: Some(match event.data {
            event::Data::Bytes(bytes) => Data::Bytes(bytes),
            event::Data::Json(json) => Data::Json(json),
            event::Data::From(from) => Data::DataFrom(source_to_wire(from)),
        }),
        parameters: event.parameters.into_iter().map(parameter).collect(),
        schema: event.schema.into(),
        content_type: event.content_type.into(),
        expect: event.expect,
        correlation: event.correlation.map_or_else(Bytes::new, |id| id.0.to_bytes()),
    }
}

proptest! {
    #[test]
    fn events_of_any_program_are_read_as_they_were_meant(
        operations in proptest::collection::vec(operation(), 0..4), events in proptest::collection::vec(emit(), 0..4)
    ) {
        let work = wire::Work { operations: operations.clone(), events: events.clone(), ..Default::default() };
        let encoded = Bytes::from(work.encode_to_vec());
        let (read, published) = read_with_events(&encoded).unwrap();
        prop_assert_eq!(read.len(), operations.len());
        let read: Result<Vec<_>, _> = read.collect();
        let read: Vec<_> = read.unwrap().into_iter().map(|(operation, extras)| to_wire(operation, extras)).collect();
        prop_assert_eq!(read, operations);
        prop_assert_eq!(&published, &event::read(&encoded).unwrap());
        let none = Some(wire::emit::Data::Bytes(Bytes::new()));
        let events = events.into_iter().map(|event| wire::Emit { data: event.data.or_else(|| none.clone()), ..event });
        prop_assert_eq!(published.into_iter().map(emit_to_wire).collect::<Vec<_>>(), events.collect::<Vec<_>>());
        prop_assert_eq!(undoubt_work::kv::read(&encoded).is_ok(), work.events.is_empty());
    }
}

#[test]
fn events_that_are_built_here_are_what_the_generated_types_read_and_write() {
    use undoubt_vocabulary::{CorrelationId, TxId};
    let full =
        event::Emit::new("accounts", "paid", "a/").key_suffix_from(Reference::to_column("second", 0, "id").row(2));
    let full = full.json(serde_json::json!({"left": "{left}"})).parameter("left", event::Source::own(0));
    let full = full.schema("paid.v2").content_type("application/x").expect(0);
    let full = full.correlation(CorrelationId(TxId::new("saga-7").unwrap()));
    let least = event::Emit::new("t", "y", "k");
    let work = KvWork::new().emit(full).add("alice", -10).emit(least.clone().data_from(event::Source::own(0)));
    let encoded = Work::from(work.emit(least.data("d"))).encode(&INPUTS).unwrap();
    let read = wire::Work::decode(encoded.clone()).unwrap();
    assert_eq!(
        event::read(&read.encode_to_vec().into()),
        event::read(&encoded),
        "whatever order fields are written in"
    );
    assert_eq!((read.operations.len(), read.events.len()), (1, 3));
    let own = Some(wire::Source { from: Some(wire::source::From::Own(wire::Reference::default())) });
    assert_eq!(read.events[0].parameters[0], wire::EventParameter { name: "left".to_owned(), from: own.clone() });
    assert_eq!((read.events[0].expect, &read.events[0].correlation[..]), (Some(0), &b"saga-7"[..]));
    assert_eq!(read.events[1].data, own.map(wire::emit::Data::DataFrom));
    let (_, events) = read_with_events(&encoded).unwrap();
    assert_eq!(events.into_iter().map(emit_to_wire).collect::<Vec<_>>(), read.events);
}

/// An event of topic `t`, type `y` and key `k`, and what a later version has put beside something in it.
fn event_with(more: &[u8]) -> Bytes {
    let event = [b"\x0a\x01t\x12\x01y\x1a\x01k", more].concat();
    [&[0x3a, u8::try_from(event.len()).unwrap()], &event[..]].concat().into()
}

#[test]
fn nothing_of_an_event_is_passed_over() {
    assert_eq!(event::read(&event_with(b"")).unwrap().len(), 1);
    for (more, says) in [
        (&b"\x68\x01"[..], "event 0 has a field 13"),
        (b"\x22\x02\x18\x01", "a source of event 0 has a field 3"),
        (b"\x22\x00", "a source names no result"),
        (b"\x22\x04\x12\x02\x08\x01", "no input of it"),
        (b"\x22\x04\x0a\x02\x28\x01", "has a field 5"),
        (b"\x22\x04\x0a\x00\x12\x00", "twice"),
        (b"\x2a\x01d\x32\x011", "twice"),
        (b"\x1a\x01k", "twice"),
        (b"\x0a\x01t", "twice"),
        (b"\x4a\x01\xff", "no UTF-8"),
        (b"\x32\x011\x42\x03\x0a\x01a", "it comes from nowhere"),
        (b"\x32\x011\x42\x05\x0a\x01a\x18\x01", "a parameter has a field 3"),
        (b"\x32\x01{", "no JSON"),
    ] {
        let refusal: Refusal = event::read(&event_with(more)).unwrap_err().into();
        assert!(refusal.code == RefusalCode::InvalidWork && refusal.detail.contains(says), "{more:?}: {refusal}");
    }
    assert_eq!(event::read(&event_with(b"\x62\x00")).unwrap()[0].correlation, None, "empty is none");
    let nameless: Refusal = event::read(&Bytes::from_static(b"\x3a\x00")).unwrap_err().into();
    assert!(nameless.detail.contains("a topic's name is empty"), "{nameless}");
}

#[test]
fn requests_are_what_the_generated_types_read_and_write() {
    use undoubt_work::http::{self, HttpResult, HttpWork, Request};
    let one = Request::post("http://h/{id}").header("x-a", "b").json(7).parameter("id", Reference::to("second", 2));
    let encoded = Work::from(one).encode(&INPUTS).unwrap();
    let read = wire::Work::decode(encoded.clone()).unwrap();
    assert_eq!(read.encode_to_vec(), encoded);
    let request = read.http.unwrap().request.unwrap();
    assert_eq!((request.method.as_str(), request.url.as_str(), request.headers.len()), ("POST", "http://h/{id}", 1));
    assert_eq!(request.body, Some(wire::request::Body::Json("7".to_owned())));
    let from = wire::Reference { input: 1, operation: 2, ..Default::default() };
    assert_eq!(request.parameters, [wire::Parameter { name: "id".to_owned(), from: Some(from) }]);
    let three = HttpWork::try_then(
        Request::post("http://h/"),
        Request::post("http://h/c").bytes("x"),
        Request::post("http://h/d"),
    );
    let encoded = Work::from(three).encode(&[]).unwrap();
    let read = wire::Work::decode(encoded.clone()).unwrap();
    assert_eq!(read.encode_to_vec(), encoded);
    assert!(http::read(&encoded).unwrap().ending.is_some());
    let answer = HttpResult { status: 201, body: "{}".into(), is_json: true };
    let encoded = Results::encode_answer(&answer);
    let read = wire::Results::decode(encoded.clone()).unwrap();
    assert_eq!(read.encode_to_vec(), encoded);
    assert_eq!(read.http, Some(wire::HttpResult { status: 201, body: "{}".into(), json: true }));
}

#[test]
fn calls_are_what_the_generated_types_read_and_write() {
    use undoubt_work::call::{Call, CallResult};
    use undoubt_work::{Datum, call};
    let data = [
        Datum::Null,
        Datum::Bool(true),
        Datum::Integer(i64::MIN),
        Datum::Double(0.5),
        Datum::Decimal("12.50".into()),
        Datum::Text("alice".into()),
        Datum::Bytes("b".into()),
        Datum::TimestampUs(-1),
        Datum::Json("[1]".into()),
        Datum::Uuid([7; 16]),
    ];
    let of = |work: Call, (at, datum): (usize, &Datum)| work.arg(&format!("a{at}"), datum.clone());
    let call = data.iter().enumerate().fold(Call::new("withdraw"), of);
    let call = call.arg_from("from", Reference::to_column("second", 2, "id").row(3)).pend().respect_pending();
    let mut work = Work::from(call);
    work.keep(&"order".into(), "acted t".into(), Some("committed t".into()));
    let encoded = work.encode(&INPUTS).unwrap();
    let read = wire::Work::decode(encoded.clone()).unwrap();
    let from = wire::Reference { input: 1, operation: 2, column: "id".into(), row: 3 };
    assert_eq!(read.calls[0].arguments.last().unwrap().given, Some(wire::argument::Given::From(from)));
    assert_eq!(wire::Work::decode(read.encode_to_vec().as_slice()).unwrap(), read);
    assert_eq!(call::read(&encoded), call::read(&read.encode_to_vec().into()), "whatever order fields are written in");
    let rows = vec![data.to_vec()];
    let columns = (0..data.len()).map(|at| format!("c{at}")).collect();
    let results = [CallResult { affected: 3, columns, rows }];
    let encoded = Results::encode_calls(&results);
    let read = wire::Results::decode(encoded).unwrap();
    assert_eq!((read.calls[0].affected, read.calls[0].rows[0].values.len()), (3, data.len()));
    assert_eq!(Results::read(&read.encode_to_vec().into()).calls(), Some(&results[..]));
}

#[test]
fn a_resource_of_calls_refuses_operations_and_what_it_does_not_know() {
    use undoubt_work::call;
    let error = |work: &[u8]| call::read(&Bytes::copy_from_slice(work)).unwrap_err().to_string();
    let operations = error(&with(b"\x0a\x01k\x12\x00"));
    assert!(operations.contains("has operations") && operations.contains("does calls"), "{operations}");
    assert!(error(b"\x12\x05\x0a\x01p\x30\x01").contains("call 0 has a field 6"));
    assert!(error(b"\x12\x08\x0a\x01p\x12\x03\x0a\x01a").contains("neither a value nor a reference"));
    assert!(error(b"").contains("no calls"));
}

fn refusal(work: &[u8]) -> Refusal {
    let work = Bytes::copy_from_slice(work);
    let read: Result<Vec<_>, InvalidWork> = read(&work).and_then(Iterator::collect);
    read.unwrap_err().into()
}

/// An operation that is known, and what a later version has put beside something in it.
fn with(operation: &[u8]) -> Vec<u8> {
    let length = u8::try_from(operation.len()).unwrap();
    [&[0x0a, length], operation].concat()
}

#[test]
fn a_kind_that_the_resource_does_not_do_is_refused_by_its_name() {
    let get = with(b"\x0a\x01k\x12\x00");
    for (field, name) in
        [(2_u8, "calls"), (3, "enlisted"), (4, "members"), (5, "outcome_key"), (6, "http"), (7, "events")]
    {
        let beside = [&get[..], &[field << 3 | 2, 0]].concat();
        let refusal = refusal(&beside);
        assert_eq!(refusal.code, RefusalCode::InvalidWork);
        assert!(refusal.detail.contains(&format!("has {name}")) && refusal.detail.contains("operations"), "{refusal}");
    }
    for unheard_of in [&b"\xa2\x06\x00"[..], b"\xa0\x06\x01", b"\xa5\x06\0\0\0\0", b"\xa1\x06\0\0\0\0\0\0\0\0"] {
        let refusal = refusal(unheard_of);
        assert_eq!(refusal.code, RefusalCode::InvalidWork);
        assert!(refusal.detail.contains("field 100"), "{refusal}");
    }
}

#[test]
fn a_field_from_the_future_is_refused_wherever_it_stands() {
    for (operation, place) in [
        (&b"\x0a\x01k\x12\x00\x50\x01"[..], "operation 0 has a field 10"),
        (b"\x0a\x01k\x12\x02\x08\x01", "the get of operation 0 has a field 1"),
        (b"\x0a\x01k\x1a\x02\x20\x01", "the put of operation 0 has a field 4"),
        (b"\x0a\x01k\x22\x02\x08\x01", "the delete of operation 0 has a field 1"),
        (b"\x0a\x01k\x2a\x02\x20\x01", "the add of operation 0 has a field 4"),
        (b"\x0a\x01k\x32\x02\x28\x01", "the compare-and-set of operation 0 has a field 5"),
        (b"\x0a\x01k\x1a\x04\x12\x02\x28\x01", "a reference of operation 0 has a field 5"),
        (b"\x12\x00\x3a\x02\x28\x01", "a reference of operation 0 has a field 5"),
        (b"\x0a\x01k", "operation 0 has no kind"),
        (b"\x0a\x01k\x52\x00", "operation 0 has a field 10"),
    ] {
        let refusal = refusal(&with(operation));
        assert_eq!(refusal.code, RefusalCode::InvalidWork);
        assert!(refusal.detail.contains(place), "{refusal}");
    }
}

#[test]
fn what_is_no_work_is_refused_and_too_much_of_it_is_counted() {
    for wrong in [&b"\xff\xff\xff"[..], b"\x0a\x05\x0a", b"\x0b", b"\x02\x00", b"\x08\x01", b"\x0a\x04\x12\x00\x12\x00"]
    {
        let refusal = refusal(wrong);
        assert_eq!(refusal.code, RefusalCode::InvalidWork);
        assert!(refusal.detail.contains("work.proto"), "{wrong:?}: {refusal}");
    }
    let many = with(b"\x0a\x01k\x12\x00").repeat(1_025);
    let refusal = refusal(&many);
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.detail.contains("1025") && refusal.detail.contains("1024"), "{refusal}");
}
