//! Somebody who asks for one transaction after another, of every kind, and now and then goes away in the middle of one.

use super::fate::{Fate, Form, Part};
use super::house::{ACCOUNTS, CALLERS, Places, SERVICES, STORE};
use crate::support::http::{Answer, try_get, try_post};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_client::{Client, ClientOptions};
use undoubt_platform::{Random as _, SeededRandom};

/// The time after which a customer takes no answer as one that makes no sense.
const PATIENCE: Duration = Duration::from_secs(90);

/// The pause before somebody who did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(50);

const MAX_AMOUNT: u64 = 200;

/// How often a service is asked for what its caller does himself.
const OWN_TRIES: u64 = 3;

pub struct Customer {
    pub places: Places,
    /// For what the gateway does not offer.
    pub client: Client,
    pub random: SeededRandom,
    next: Arc<AtomicU64>,
}

/// The answer of a service to what its caller asks of it himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    Done,
    Never,
    Unknown,
}

impl Customer {
    pub fn new(places: &Places, seed: u64, next: Arc<AtomicU64>) -> Customer {
        let options = ClientOptions::default().deadline(PATIENCE);
        let client = Client::connect_lazy(&format!("http://{}", places.coordinator), options).unwrap();
        Customer { places: places.clone(), client, random: SeededRandom::new(seed), next }
    }

    pub async fn carry_out(&self) -> Vec<Fate> {
        match self.random.below(9) {
            0 | 1 => vec![self.declared().await],
            2 | 3 => vec![self.branches().await],
            4..=6 => vec![self.open().await],
            7 => self.nested().await,
            _ => vec![self.message().await],
        }
    }

    pub fn id(&self, kind: &str) -> String {
        format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Draws whether it goes away now.
    pub fn leaves(&self) -> bool {
        self.random.below(20) == 0
    }

    pub fn one_in(&self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    pub fn caller(&self) -> &'static str {
        CALLERS[self.random.below(CALLERS.len() as u64) as usize]
    }

    fn part(&self, name: &str, service: u64, form: Form, amount: i64) -> Part {
        let account = format!("account-{}", self.random.below(ACCOUNTS));
        let service = (service % SERVICES as u64) as usize;
        Part { name: name.to_owned(), service, form, account, amount, was_refused: false, nested: false }
    }

    /// Draws a transfer between two services.
    pub fn transfer(&self, form: Form, to: Form) -> [Part; 2] {
        let (from, amount) = (self.random.below(SERVICES as u64), 1 + self.random.below(MAX_AMOUNT) as i64);
        let other = from + 1 + self.random.below(SERVICES as u64 - 1);
        [self.part("take", from, form, -amount), self.part("give", other, to, amount)]
    }

    /// Returns the same part at another service.
    pub fn elsewhere(&self, part: &Part, name: &str) -> Part {
        self.part(name, part.service as u64 + 1, part.form, part.amount)
    }

    pub fn url(&self, part: &Part) -> String {
        format!("http://{}/{}", self.places.services[part.service], part.form.as_str())
    }

    pub fn body(part: &Part) -> Value {
        json!({ "part": part.name, "form": part.form.as_str(), "account": part.account, "amount": part.amount,
                "nested": part.nested })
    }

    /// Returns the call of a part: which of its operations it is, the participant says.
    pub fn call(&self, part: &Part) -> Value {
        json!({ "url": self.url(part), "json": Customer::body(part) })
    }

    /// Returns a step of a saga, whose completion is left out where it has none.
    pub fn step(&self, part: &Part) -> Value {
        let call = json!([{ "http": self.call(part) }]);
        let mut step = json!({ "at": self.caller(), "undo": call });
        if part.form != Form::Own {
            step["do"] = call.clone();
        }
        if part.form.in_effect().1 > 0 {
            step["complete"] = call;
        }
        Customer::hasty(step)
    }

    /// Returns the step that leaves the transaction's id at the store.
    pub fn key_step(id: &str) -> Value {
        let step = json!({ "at": STORE, "do": [format!("put {id} 1")], "undo": [format!("delete {id}")] });
        Customer::hasty(step)
    }

    fn hasty(mut step: Value) -> Value {
        step["attempts"] = 4.into();
        step["attempt_timeout"] = "1s".into();
        step["first_pause"] = "20ms".into();
        step["max_pause"] = "200ms".into();
        step
    }

    /// Posts until somebody answers who has something to say.
    pub async fn ask(&self, fate: &mut Fate, path: &str, body: &Value) -> Option<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = try_post(self.places.gateway, path, body).await;
            if let Some(answer) = answer.filter(|answer| !is_for_later(answer)) {
                return Some(answer);
            }
            if Instant::now() > deadline {
                fate.odd.push(format!("{path} is not answered"));
                return None;
            }
            sleep(PAUSE).await;
        }
    }

    /// Notes what an answer says of the transaction, and asks until it is decided.
    pub async fn hear(&self, fate: &mut Fate, answer: Option<Answer>) {
        let Some(mut answer) = answer else { return };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = if answer.status < 300 { answer.json()["state"].clone() } else { Value::Null };
            match state.as_str() {
                Some("committed") => fate.told = Some(true),
                Some("aborted") => fate.told = Some(false),
                Some("pending") if Instant::now() < deadline => {
                    let path = format!("/v1/transactions/{}?wait=10s", fate.id);
                    match try_get(self.places.gateway, &path).await.filter(|answer| !is_for_later(answer)) {
                        Some(later) => answer = later,
                        None => sleep(PAUSE).await,
                    }
                    continue;
                }
                _ => fate.odd.push(format!("{answer:?}")),
            }
            return;
        }
    }

    /// Does a part at its service oneself.
    pub async fn do_own(&self, tx: &str, part: &Part) -> Own {
        let service: SocketAddr = self.places.services[part.service];
        let mut body = Customer::body(part);
        body["tx"] = tx.into();
        for _ in 0..OWN_TRIES {
            match try_post(service, &format!("/{}", part.form.as_str()), &body).await {
                Some(answer) if answer.status == 200 => return Own::Done,
                Some(answer) if answer.status == 409 => return Own::Never,
                _ => sleep(PAUSE).await,
            }
        }
        Own::Unknown
    }
}

/// Returns true if the same is to be asked again.
fn is_for_later(answer: &Answer) -> bool {
    match answer.status {
        429 | 503 => true,
        504 => answer.json()["code"] == "OUTCOME_UNKNOWN",
        _ => false,
    }
}
