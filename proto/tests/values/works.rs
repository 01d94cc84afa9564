//! Works of each kind, and their results.

use crate::{Sample, sample};
use bytes::Bytes;
use undoubt_proto::work;

pub fn work() -> Vec<Sample> {
    use work::operation::Kind;
    let operation =
        |key: &'static str, kind| work::Operation { key: key.into(), kind: Some(kind), ..Default::default() };
    let set = Some(Bytes::from_static(b"new"));
    vec![
        sample(
            "Work",
            work::Work {
                operations: vec![
                    operation("a", Kind::Get(work::Get {})),
                    operation("b", Kind::Put(work::Put { value: Bytes::from_static(b"1"), ..work::Put::default() })),
                    operation("c", Kind::Delete(work::Delete {})),
                    operation("d", Kind::Add(work::Add { delta: -30, floor: Some(0), ceiling: Some(1_000) })),
                    operation("e", Kind::Add(work::Add { delta: 30, floor: None, ceiling: None })),
                    operation(
                        "f",
                        Kind::CompareAndSet(work::CompareAndSet { value: set.clone(), ..Default::default() }),
                    ),
                    operation("g", Kind::CompareAndSet(work::CompareAndSet { expected: set, ..Default::default() })),
                ],
                ..Default::default()
            },
        ),
        sample("Work", calls()),
        sample("Work", work::Work { events: events(), ..Default::default() }),
        sample("Work", work::Work { enlisted: Some(work::Enlisted {}), ..Default::default() }),
        sample(
            "Results",
            work::Results {
                results: vec![
                    work::Result { value: Some(work::result::Value::Bytes(Bytes::from_static(b"70"))) },
                    work::Result { value: Some(work::result::Value::Integer(-3)) },
                    work::Result { value: None },
                ],
                form: u32::from_le_bytes(*b"und1"),
                ..Default::default()
            },
        ),
        sample(
            "Results",
            work::Results {
                calls: vec![work::CallResult {
                    affected: 1,
                    columns: vec!["balance".into()],
                    rows: vec![work::Row { values: vec![value(work::value::Kind::Integer(70))] }],
                }],
                form: u32::from_le_bytes(*b"und1"),
                ..Default::default()
            },
        ),
    ]
}

fn events() -> Vec<work::Emit> {
    use work::emit::Data;
    use work::source::From;
    let source = |from| Some(work::Source { from: Some(from) });
    let named = work::Emit {
        topic: "orders".into(),
        r#type: "order.placed".into(),
        key: Bytes::from_static(b"17"),
        ..Default::default()
    };
    let place = work::Reference { input: 1, operation: 2, column: "id".into(), row: 3 };
    let own = source(From::Own(work::Reference { input: 0, ..place.clone() }));
    let full = work::Emit {
        key_suffix_from: source(From::Step(place)),
        data: Some(Data::Json(r#"{"total":"{total}"}"#.into())),
        parameters: vec![work::EventParameter { name: "total".into(), from: own.clone() }],
        schema: "order.v2".into(),
        content_type: "application/vnd.order+json".into(),
        expect: Some(0),
        correlation: Bytes::from_static(b"saga-7"),
        ..named.clone()
    };
    let bytes = work::Emit { data: Some(Data::Bytes(Bytes::from_static(b"\xff"))), ..named.clone() };
    vec![full, bytes, work::Emit { data: own.map(Data::DataFrom), ..named }]
}

fn value(kind: work::value::Kind) -> work::Value {
    work::Value { kind: Some(kind) }
}

fn calls() -> work::Work {
    use work::argument::Given;
    use work::value::Kind;
    let kinds = [
        Kind::Null(work::Null {}),
        Kind::Bool(true),
        Kind::Integer(-30),
        Kind::Double(0.5),
        Kind::Decimal("12.50".into()),
        Kind::Text("alice".into()),
        Kind::Bytes(Bytes::from_static(b"\xff")),
        Kind::TimestampUs(1_700_000_000_000_000),
        Kind::Json("[1]".into()),
        Kind::Uuid(Bytes::from_static(&[7; 16])),
    ];
    let given = kinds.into_iter().map(|kind| Given::Value(value(kind)));
    let from = work::Reference { input: 1, operation: 2, column: "id".into(), row: 3 };
    let arguments = given.chain([Given::From(from)]).enumerate();
    let argument = |(at, given)| work::Argument { name: format!("a{at}"), given: Some(given) };
    work::Work {
        calls: vec![work::Call {
            procedure: "withdraw".into(),
            arguments: arguments.map(argument).collect(),
            pend: true,
            respect_pending: true,
            undo: true,
        }],
        outcome_key: Some(work::OutcomeKey {
            key: Bytes::from_static(b"order"),
            value: Bytes::from_static(b"acted t"),
            value_in_branch: Some(Bytes::from_static(b"committed t")),
        }),
        ..Default::default()
    }
}
