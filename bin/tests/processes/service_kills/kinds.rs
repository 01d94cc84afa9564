//! The kinds of transactions: declared sagas, branches of two-phase commit, open sagas, and two-phase messages.

use super::customer::{Customer, Own};
use super::fate::{Fate, Form, Part};
use super::house::STORE;
use crate::support::http::Answer;
use serde_json::{Value, json};
use std::time::Duration;
use undoubt_client::work::http::Request;
use undoubt_client::{Client, JoinError, KnownOutcome, OpenSaga, OpenStep, Opening, Outcome, RetryPolicy};
use undoubt_platform::Random as _;

/// How often a step is run again that nobody has answered.
const RUNS: u64 = 2;

impl Customer {
    /// Asks for a saga all of whose steps are known.
    pub async fn declared(&self) -> Fate {
        let mut parts = self.transfer(Form::Moved, Form::Moved).to_vec();
        if self.one_in(2) {
            parts.reverse();
        }
        let mut fate = Fate::new(self.id("declared"), "declared saga", parts);
        let named = |name: &str, mut step: Value| {
            step["name"] = name.into();
            step
        };
        let mut steps: Vec<Value> = fate.parts.iter().map(|part| named(&part.name, self.step(part))).collect();
        if self.one_in(4) {
            fate.has_key = true;
            steps.insert(1, named("key", Customer::key_step(&fate.id)));
        }
        self.submit(&mut fate, json!({ "mode": "saga", "steps": steps })).await;
        fate
    }

    /// Asks for two-phase commit over services: try, confirm, cancel.
    pub async fn branches(&self) -> Fate {
        let [take, mut give] = self.transfer(Form::Reserved, Form::Reserved);
        if self.one_in(4) {
            // Another participant's branch, at the same service.
            give.service = take.service;
        }
        let parts = [take, give];
        let mut fate = Fate::new(self.id("branches"), "two-phase commit", parts.to_vec());
        let mut branches = serde_json::Map::new();
        while branches.len() < parts.len() {
            let part = &parts[branches.len()];
            let call = self.call(part);
            // One that is drawn again is drawn once more.
            let caller = self.caller();
            if !branches.contains_key(caller) {
                branches.insert(caller.to_owned(), json!({ "try": call, "confirm": call, "cancel": call }));
            }
        }
        if self.one_in(4) {
            fate.has_key = true;
            branches.insert(STORE.to_owned(), json!([format!("put {} 1", fate.id)]));
        }
        let deadline = format!("{}ms", 1_000 + self.random.below(4_000));
        self.submit(&mut fate, json!({ "deadline": deadline, "branches": branches })).await;
        fate
    }

    async fn submit(&self, fate: &mut Fate, mut document: Value) {
        document["id"] = fate.id.as_str().into();
        let waited = if self.leaves() { "0s" } else { "20s" };
        let answer = self.ask(fate, &format!("/v1/transactions?wait={waited}"), &document).await;
        if waited != "0s" {
            self.hear(fate, answer).await;
        }
    }

    /// Begins a saga, has steps run or does them itself, looks at what it is answered, closes it or cancels it.
    pub async fn open(&self) -> Fate {
        let (kind, first) =
            if self.one_in(2) { ("open saga", Form::Moved) } else { ("TCC as an open saga", Form::Reserved) };
        let second = [Form::Moved, Form::Reserved, Form::Own][self.random.below(3) as usize];
        let second = if first == Form::Reserved && second == Form::Moved { Form::Reserved } else { second };
        let [take, give] = self.transfer(first, second);
        let mut fate = Fate::new(self.id("open"), kind, Vec::new());
        let at = format!("/v1/transactions/{}", fate.id);
        let deadline = format!("{}ms", 1_500 + self.random.below(4_000));
        let order = ["together", "as-joined", "reversed"][self.random.below(3) as usize];
        let terms = json!({ "deadline": deadline, "completions": order });
        if !self.begins(&mut fate, &terms).await {
            return fate;
        }
        let mut goes_on = true;
        if self.one_in(4) {
            fate.has_key = true;
            let ran = self.run(&mut fate, "key", &Customer::key_step(&at["/v1/transactions/".len()..])).await;
            goes_on = ran == Ran::Done;
        }
        for part in [take, give] {
            if !goes_on || self.leaves() {
                break;
            }
            let refused = match self.begin_part(&mut fate, &part).await {
                Ran::Done => continue,
                Ran::Refused => true,
                Ran::Unknown => false,
            };
            // What was refused here may be possible there.
            let other = self.elsewhere(&part, &format!("{}-elsewhere", part.name));
            goes_on = refused && part.form != Form::Own && self.begin_part(&mut fate, &other).await == Ran::Done;
        }
        self.end(&mut fate, &at, goes_on).await;
        fate
    }

    /// Begins a saga, and one that is nested in it; closes the nested one or leaves it open, and ends the first either way.
    pub async fn nested(&self) -> Vec<Fate> {
        let first = [Form::Moved, Form::Reserved][self.random.below(2) as usize];
        let second = [Form::Moved, Form::Reserved, Form::Own][self.random.below(3) as usize];
        let [take, give] = self.transfer(first, second);
        let mut outer = Fate::new(self.id("outer"), "saga with one nested in it", Vec::new());
        let mut inner = Fate::new(self.id("inner"), "nested saga", Vec::new());
        inner.parent = Some(outer.id.clone());
        let at = format!("/v1/transactions/{}", outer.id);
        let deadline = format!("{}ms", 1_500 + self.random.below(4_000));
        let order = ["together", "as-joined", "reversed"][self.random.below(3) as usize];
        let terms = json!({ "deadline": deadline, "completions": order });
        let mut goes_on = self.begins(&mut outer, &terms).await
            && self.begin_part(&mut outer, &take).await == Ran::Done
            && self.begins(&mut inner, &json!({ "deadline": "10m", "parent": outer.id })).await
            && self.begin_part(&mut inner, &Part { nested: true, ..give }).await == Ran::Done;
        if goes_on && self.one_in(2) {
            let path = format!("/v1/transactions/{}/close?wait=20s", inner.id);
            goes_on = match self.ask(&mut inner, &path, &Value::Null).await {
                Some(closed) if closed.status < 300 => {
                    // Its parent's time may be over, and then it is undone with that.
                    let state = closed.json()["state"].clone();
                    if !["closed", "pending", "aborted"].iter().any(|known| state == *known) {
                        inner.odd.push(format!("{closed:?}"));
                    }
                    state == "closed"
                }
                Some(refused) => {
                    expect(&mut inner, &refused, &["STEP_UNSETTLED", "NOT_OPEN"]);
                    false
                }
                None => false,
            };
        }
        if !self.one_in(8) {
            let closes = goes_on && !self.one_in(3);
            let path = if closes { format!("{at}/close?wait=20s") } else { format!("{at}/cancel") };
            let answer = self.ask(&mut outer, &path, &Value::Null).await;
            self.hear(&mut outer, answer).await;
            if !closes && outer.told == Some(true) {
                outer.odd.push("it was cancelled, and is committed".to_owned());
            }
        }
        vec![outer, inner]
    }

    /// Begins an open saga. Returns false if it has ended before that was heard, or has no parent any more.
    async fn begins(&self, fate: &mut Fate, terms: &Value) -> bool {
        let path = format!("/v1/transactions/{}/begin", fate.id);
        match self.ask(fate, &path, terms).await {
            Some(begun) if begun.status == 201 => true,
            Some(refused) => {
                expect(fate, &refused, &["NOT_OPEN", "NO_PARENT"]);
                false
            }
            None => false,
        }
    }

    /// Has a part begin, by the coordinator or itself.
    async fn begin_part(&self, fate: &mut Fate, part: &Part) -> Ran {
        fate.parts.push(part.clone());
        let step = self.step(part);
        if part.form != Form::Own {
            let ran = self.run(fate, &part.name, &step).await;
            fate.parts.last_mut().unwrap().was_refused = ran == Ran::Refused;
            return ran;
        }
        let path = format!("/v1/transactions/{}/steps/{}/join", fate.id, part.name);
        let Some(joined) = self.ask(fate, &path, &step).await else { return Ran::Unknown };
        if joined.status != 200 {
            expect(fate, &joined, &["NOT_OPEN"]);
            return Ran::Unknown;
        }
        match self.do_own(&fate.id, part).await {
            Own::Done => Ran::Done,
            Own::Never => Ran::Refused,
            Own::Unknown => Ran::Unknown,
        }
    }

    async fn run(&self, fate: &mut Fate, name: &str, step: &Value) -> Ran {
        let path = format!("/v1/transactions/{}/steps/{name}/run", fate.id);
        for _ in 0..RUNS {
            let Some(ran) = self.ask(fate, &path, step).await else { return Ran::Unknown };
            let code = if ran.status == 200 { Value::Null } else { ran.json()["code"].clone() };
            match code.as_str() {
                None => return Ran::Done,
                Some("STEP_REFUSED") => return Ran::Refused,
                Some("STEP_UNANSWERED") => {}
                _ => {
                    expect(fate, &ran, &["NOT_OPEN"]);
                    return Ran::Unknown;
                }
            }
        }
        Ran::Unknown
    }

    /// Closes what went well, cancels what did not, or leaves it to its time limit.
    async fn end(&self, fate: &mut Fate, at: &str, went_well: bool) {
        let whole: i64 = fate.parts.iter().filter(|part| !part.was_refused).map(|part| part.amount).sum();
        let is_whole = went_well && whole == 0 && fate.parts.len() >= 2;
        if self.one_in(8) {
            return;
        }
        let closes = is_whole && !self.one_in(5);
        let path = if closes { format!("{at}/close?wait=20s") } else { format!("{at}/cancel") };
        let answer = self.ask(fate, &path, &Value::Null).await;
        self.hear(fate, answer).await;
        if !closes && fate.told == Some(true) {
            fate.odd.push("it was cancelled, and is committed".to_owned());
        }
    }

    /// Begins a two-phase message: a local transaction, and what follows it; the coordinator asks back.
    pub async fn message(&self) -> Fate {
        let [mut local, deliver] = self.transfer(Form::Local, Form::Delivered);
        local.name = "local".to_owned();
        let mut fate = Fate::new(self.id("message"), "two-phase message", vec![local.clone(), deliver.clone()]);
        let asked = request(self.url(&local), Customer::body(&local));
        let time = Duration::from_millis(1_000 + self.random.below(3_000));
        let opening = Opening::with_id(fate.id.parse().unwrap()).timeout(time).check_back(self.caller(), asked);
        let Some(saga) = begin(&self.client, &opening, &mut fate).await else { return fate };
        let what = || request(self.url(&deliver), Customer::body(&deliver));
        let step = OpenStep::new("give", self.caller()).complete(what()).retry(HASTY);
        // Some have what undoes nothing.
        let step = if self.one_in(2) { step.undo(what()) } else { step };
        match saga.join(step).await {
            Ok(_) => {}
            Err(JoinError::Over { known, .. }) => return heard(fate, &known),
            Err(error) => {
                fate.odd.push(format!("join: {error}"));
                return fate;
            }
        }
        if self.leaves() {
            return fate;
        }
        let own = self.do_own(&fate.id, &local).await;
        // What is not known is for the check-back to find out.
        if own == Own::Unknown || self.one_in(4) {
            return fate;
        }
        let ended = match own {
            Own::Done => saga.close().await.map(|answer| Some(answer.outcome)).map_err(|error| error.to_string()),
            Own::Never | Own::Unknown => {
                saga.cancel().await.map(|known| known.decided).map_err(|error| error.to_string())
            }
        };
        match ended {
            Ok(outcome) => fate.told = outcome.map(|outcome| outcome == Outcome::Committed),
            Err(error) => fate.odd.push(format!("end: {error}")),
        }
        if fate.told.is_some_and(|is_committed| is_committed != (own == Own::Done)) {
            fate.odd.push(format!("the local transaction is {own:?}, and the rest is not"));
        }
        fate
    }
}

const HASTY: RetryPolicy = RetryPolicy {
    max_attempts: 4,
    attempt_timeout: Duration::from_secs(1),
    first_pause: Duration::from_millis(20),
    max_pause: Duration::from_millis(200),
};

/// What became of a part that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    Done,
    Refused,
    Unknown,
}

fn request(url: String, body: Value) -> Request {
    Request::post(&url).json(body)
}

/// Notes an answer that is none of these problems.
fn expect(fate: &mut Fate, answer: &Answer, codes: &[&str]) {
    if answer.status < 400 || !codes.iter().any(|code| answer.json()["code"] == *code) {
        fate.odd.push(format!("{answer:?}"));
    }
}

async fn begin(client: &Client, opening: &Opening, fate: &mut Fate) -> Option<OpenSaga> {
    match client.begin(opening.clone()).await {
        Ok(saga) => Some(saga),
        // Its time was over before it was heard that it had begun.
        Err(JoinError::Over { .. }) => None,
        Err(error) => {
            fate.odd.push(format!("begin: {error}"));
            None
        }
    }
}

fn heard(mut fate: Fate, known: &KnownOutcome) -> Fate {
    fate.told = known.decided.as_ref().map(|outcome| *outcome == Outcome::Committed);
    fate
}
