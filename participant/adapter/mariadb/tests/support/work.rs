//! Work as calls.

use bytes::Bytes;
use undoubt_work::call::{Call, CallWork};
use undoubt_work::{Datum, Results};

pub fn put(key: &str, value: &str) -> Bytes {
    work(Call::new("put").arg("key", key).arg("value", value))
}

pub fn put_marked(key: &str, value: &str) -> Bytes {
    work(Call::new("put_marked").arg("key", key).arg("value", value).pend())
}

pub fn get(key: &str) -> Bytes {
    work(Call::new("get").arg("key", key))
}

pub fn add(key: &str, delta: i64, floor: Option<i64>) -> Bytes {
    work(Call::new("add").arg("key", key).arg("delta", delta).arg("floor", floor))
}

pub fn work(call: Call) -> Bytes {
    CallWork::from(call).encode().unwrap()
}

/// Returns the only value in a result.
pub fn value(result: &Bytes) -> Option<String> {
    let results = Results::read(result);
    let value = results.calls()?.first()?.rows.first()?.first()?;
    if let Datum::Text(value) = value { Some(value.clone()) } else { None }
}
