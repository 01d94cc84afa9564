//! A service that keeps the contract of `HTTP.md`: each key once, what is undone never again, what is tried held until it ends.

use super::server::{Asked, Reply, Server, reply};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// A change to one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Change {
    pub key: String,
    #[serde(default)]
    pub put: Option<String>,
    #[serde(default)]
    pub add: Option<i64>,
    #[serde(default)]
    pub floor: Option<i64>,
}

#[derive(Debug, Default)]
pub struct Bank {
    pub values: BTreeMap<String, String>,
    /// The answers of what was done, by idempotency key.
    done: BTreeMap<String, String>,
    /// The effects that were undone, or whose undoing came first.
    undone: BTreeSet<String>,
    /// The changes that are tried and not over, by effect.
    pub held: BTreeMap<String, Change>,
    /// The number of times that each call took effect.
    pub effects: BTreeMap<String, u32>,
    /// Whether the next answers are lost, and whether the calls take effect all the same; how many of them, once that is known.
    pub losing: Option<(bool, Option<u32>)>,
}

impl Bank {
    pub fn answer(&mut self, asked: &Asked) -> Reply {
        let (key, effect) = (asked.header("idempotency-key").to_owned(), asked.header("undoubt-effect").to_owned());
        assert!(!key.is_empty() && key.starts_with(&effect), "each call has a key: {asked:?}");
        if let Some(answer) = self.done.get(&key) {
            return reply(200, answer);
        }
        if let Some(account) = asked.path.strip_prefix("/accounts/") {
            return reply(200, &serde_json::json!({ "value": self.values.get(account) }).to_string());
        }
        let change: Change = serde_json::from_slice(&asked.body).unwrap_or_default();
        let done = match asked.header("undoubt-operation") {
            "action" | "try" if self.undone.contains(&effect) => Err((409, "it was undone before".to_owned())),
            "action" => self.apply(&change),
            "try" => self.hold(&effect, change),
            "compensation" => {
                self.undone.insert(effect.clone());
                match self.done.contains_key(&format!("{effect}/action")) {
                    true => self.apply(&change),
                    false => Ok("null".to_owned()),
                }
            }
            "confirm" => match self.held.remove(&effect) {
                Some(change) => self.apply(&change),
                None => Err((404, "nothing is held".to_owned())),
            },
            "cancel" => {
                self.undone.insert(effect.clone());
                self.held.remove(&effect);
                Ok("null".to_owned())
            }
            other => Err((400, format!("{other} is no operation"))),
        };
        match done {
            Ok(answer) => {
                *self.effects.entry(key.clone()).or_default() += 1;
                self.done.insert(key, answer.clone());
                reply(200, &answer)
            }
            Err((status, why)) => reply(status, &serde_json::json!({ "why": why }).to_string()),
        }
    }

    fn apply(&mut self, Change { key, put, add, floor }: &Change) -> Result<String, (u16, String)> {
        let present = self.values.get(key).cloned();
        let value = match (put, add) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(delta)) => {
                let sum = present.map_or(0, |value| value.parse().unwrap()) + delta;
                if floor.is_some_and(|floor| sum < floor) {
                    return Err((409, format!("{key} would be {sum}")));
                }
                Some(sum.to_string())
            }
            (None, None) => present,
        };
        if let Some(value) = &value {
            self.values.insert(key.clone(), value.clone());
        }
        Ok(serde_json::json!({ "value": value }).to_string())
    }

    fn hold(&mut self, effect: &str, change: Change) -> Result<String, (u16, String)> {
        if self.held.iter().any(|(other, held)| other != effect && held.key == change.key) {
            return Err((423, format!("{} is held", change.key)));
        }
        let before = self.values.clone();
        let answer = self.apply(&change);
        self.values = before;
        let answer = answer?;
        self.held.insert(effect.to_owned(), change);
        Ok(answer)
    }
}

/// The times that a try is sent.
const TRIES: u32 = 3;

/// Serves a bank, whose answers may be lost.
pub async fn serve(bank: Arc<Mutex<Bank>>) -> Server {
    Server::start(move |asked| {
        let mut bank = bank.lock().unwrap();
        let Some((takes_effect, left)) = bank.losing else { return Some(bank.answer(&asked)) };
        let left = left.unwrap_or(if asked.header("undoubt-operation") == "try" { TRIES } else { 1 });
        bank.losing = (left > 1).then_some((takes_effect, Some(left - 1)));
        if takes_effect {
            bank.answer(&asked);
        }
        None
    })
    .await
}
