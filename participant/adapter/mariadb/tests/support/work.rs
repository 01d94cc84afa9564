//! Work as calls.

use bytes::Bytes;
use undoubt_work::call::{Call, CallWork};
use undoubt_work::event::{Emit, Source};
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

/// Returns work that adds to the value under a key, and publishes the sum.
pub fn add_and_tell(key: &str, delta: i64) -> Bytes {
    let call = Call::new("add").arg("key", key).arg("delta", delta).arg("floor", Datum::Null);
    let event = Emit::new("sums", "sum.changed", key.to_owned()).data_from(Source::own_column(0, "value"));
    CallWork::from(call).emit(event).encode().unwrap()
}

/// Returns work that puts a value under a key, and publishes it.
pub fn put_and_tell(key: &str, value: &str) -> Bytes {
    let call = Call::new("put").arg("key", key).arg("value", value);
    let event = Emit::new("sums", "sum.changed", key.to_owned()).data(value.to_owned());
    CallWork::from(call).emit(event).encode().unwrap()
}

/// Returns work that appends to an account which has this version, if one is given.
pub fn append(account: &str, expect: Option<u64>) -> Emit {
    let event = Emit::new("accounts", "account.changed", account.to_owned());
    match expect {
        Some(version) => event.expect(version),
        None => event,
    }
}

pub fn events(events: impl IntoIterator<Item = Emit>) -> Bytes {
    events.into_iter().fold(CallWork::new(), CallWork::emit).encode().unwrap()
}
