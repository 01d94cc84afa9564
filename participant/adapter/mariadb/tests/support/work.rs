//! Work as calls.

use bytes::Bytes;
use undoubt_sql::stand_in::{Argument, Call, Calls, Datum, Given, read_results, write};

pub fn call(procedure: &str, arguments: &[(&str, Datum)]) -> Call {
    let argument =
        |(name, value): &(&str, Datum)| Argument { name: (*name).to_owned(), given: Given::Value(value.clone()) };
    Call {
        procedure: procedure.to_owned(),
        arguments: arguments.iter().map(argument).collect(),
        pend: false,
        respect_pending: false,
        undo: false,
    }
}

pub fn work(calls: Vec<Call>) -> Bytes {
    write(&Calls { calls, outcome: None })
}

pub fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

pub fn put(key: &str, value: &str) -> Bytes {
    work(vec![call("put", &[("key", text(key)), ("value", text(value))])])
}

pub fn put_marked(key: &str, value: &str) -> Bytes {
    let mut marked = call("put_marked", &[("key", text(key)), ("value", text(value))]);
    marked.pend = true;
    work(vec![marked])
}

pub fn get(key: &str) -> Bytes {
    work(vec![call("get", &[("key", text(key))])])
}

pub fn add(key: &str, delta: i64, floor: Option<i64>) -> Bytes {
    let floor = floor.map_or(Datum::Null, Datum::Integer);
    work(vec![call("add", &[("key", text(key)), ("delta", Datum::Integer(delta)), ("floor", floor)])])
}

/// Returns the only value in a result.
pub fn value(result: &Bytes) -> Option<String> {
    let results = read_results(result);
    match results.first()?.rows.first()?.first()? {
        Datum::Text(value) => Some(value.clone()),
        _ => None,
    }
}
