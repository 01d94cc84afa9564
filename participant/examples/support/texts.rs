//! The parts that both examples share: a small language of work, and the world in which the conformance suite finds
//! them.
//!
//! Work is text: `put KEY VALUE`, `get KEY`, `add KEY NUMBER [FLOOR]`. Its result is the value.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use undoubt_participant::conformance::World;
use undoubt_participant::resource::Steps;
use undoubt_vocabulary::{Refusal, RefusalCode};

pub type Values = BTreeMap<String, String>;

/// The outcome of work on the values there are.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: String,
    /// `None`: it only reads.
    pub value: Option<String>,
    pub result: Bytes,
}

/// Returns what work comes to, or why it does not hold. Changes nothing.
pub fn evaluate(values: &Values, work: &Bytes) -> Result<Change, Refusal> {
    let text = String::from_utf8_lossy(work);
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    let invalid = |detail: String| Refusal::new(RefusalCode::InvalidWork, detail);
    let number = |text: &str| text.parse::<i64>().map_err(|_| invalid(format!("{text:?} is no number")));
    let (key, value) = match words[..] {
        ["get", key] => (key, None),
        ["put", key, value] => (key, Some(value.to_owned())),
        ["add", key, delta, ref floor @ ..] => {
            let sum = number(values.get(key).map_or("0", String::as_str))? + number(delta)?;
            let floor = floor.first().map(|floor| number(floor)).transpose()?;
            if floor.is_some_and(|floor| sum < floor) {
                return Err(Refusal::new(RefusalCode::Condition, format!("{key} would be {sum}; take less")));
            }
            (key, Some(sum.to_string()))
        }
        _ => return Err(invalid(format!("{text:?} is no work of this resource"))),
    };
    let result = value.clone().or_else(|| values.get(key).cloned()).unwrap_or_default();
    Ok(Change { key: key.to_owned(), value, result: result.into() })
}

/// Returns the key that work is about.
pub fn key_of(work: &Bytes) -> String {
    String::from_utf8_lossy(work).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Opens the resource under test over a disk that survives it.
#[derive(Debug)]
pub struct Texts<D, R> {
    pub disk: Arc<Mutex<D>>,
    pub open: fn(Arc<Mutex<D>>) -> R,
    /// Reads a value beside the contract.
    pub read: fn(&D, &str) -> Option<String>,
}

impl<D: Default, R: Steps> World for Texts<D, R> {
    type Resource = R;

    async fn fresh(&mut self) -> R {
        self.disk = Arc::default();
        (self.open)(self.disk.clone())
    }

    async fn reopen(&mut self) -> R {
        (self.open)(self.disk.clone())
    }

    async fn read(&self, _: &Arc<R>, key: &str) -> Option<String> {
        (self.read)(&self.disk.lock().expect("no change panics"), key)
    }

    fn put(&self, key: &str, value: &str) -> Bytes {
        format!("put {key} {value}").into()
    }

    fn get(&self, key: &str) -> Bytes {
        format!("get {key}").into()
    }

    fn add(&self, key: &str, delta: i64, floor: Option<i64>) -> Bytes {
        let floor = floor.map_or_else(String::new, |floor| format!(" {floor}"));
        format!("add {key} {delta}{floor}").into()
    }

    fn value(&self, result: &Bytes) -> Option<String> {
        Some(String::from_utf8_lossy(result).into_owned()).filter(|value| !value.is_empty())
    }
}
