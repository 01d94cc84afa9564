//! A transaction as a file: JSON or TOML of one shape.

use crate::json::schema::Work as Form;
use crate::tree::{self, Unreadable};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_client::work::text::from_string;
use undoubt_client::{InvalidId, OpenStep, RetryPolicy, Saga, Step, Submission, Transaction, TxId, Work};

/// The schema of files; part of the help.
pub const SCHEMA: &str = r#"A file holds one transaction. In JSON:

  {
    "id": "order-17",
    "deadline": "5s",
    "branches": {
      "bank-a": ["add alice -10 floor=0", "get alice"],
      "bank-b": [{"add": {"key": "bob", "delta": 10}}],
      "audit":  {"raw": "0x0a0b"}
    }
  }

and the same in TOML:

  id = "order-17"
  deadline = "5s"
  [branches]
  bank-a = ["add alice -10 floor=0", "get alice"]
  bank-b = [{ add = { key = "bob", delta = 10 } }]
  audit = { raw = "0x0a0b" }

  id        1 to 64 bytes of text, or 0x and hexadecimal. Without one, a new one is drawn.
  deadline  How long the coordinator tries to reach a commit, like 500ms. Without one, its own default.
  branches  The work of each participant: a list of its pieces, each as text (see above) or as one of the objects below; for
            a participant with a format of its own {"raw": WORK}, where WORK is 0x and hexadecimal, or base64.
  outcome_at  Where to keep what becomes of it, like {"bank-a": "order/17"}: a key at a participant that has work there
            with which it can keep it, and which is written with that work. It gets "committed ID"; in a step that can be undone, where it is
            carried out as a saga, "acted ID", and "compensated ID" when it is. What two-phase commit aborts leaves nothing.

A saga has steps instead of branches, which run in this order, and are undone in reverse if one fails:

  {
    "mode": "saga",
    "steps": [
      {"name": "flight", "at": "airline", "do": ["add seats -1 floor=0"], "undo": ["add seats 1"]},
      {"name": "hotel", "at": "hotels", "do": ["put room/7 taken"], "undo": ["delete room/7"], "after": []},
      {"name": "pay", "at": "bank", "do": ["add alice -300 floor=0"], "after": ["flight", "hotel"], "pivot": true},
      {"name": "tell", "at": "post", "do": ["put mail paid"], "attempts": 20}
    ]
  }

  mode      "saga", or "auto": two-phase commit where that can be, else the saga. Without one: two-phase commit.
  do, undo  Like the work of a branch. From the pivot on, the point of no return, there is nothing to undo.
  after     Steps that have to be done before; without it, the one before this in the list.
  attempts, attempt_timeout, first_pause, max_pause
            How often and how fast it is tried. A step before the pivot has the saga compensated when it is refused for good, or
            after so many attempts that were refused for now or not answered. From the pivot on, and in `undo`, so many
            refusals for good leave it stuck.
  value     With auto: what it is worth. The coordinator may send what is worth much through two-phase commit only.
  two_phase_only   With auto: true for two-phase commit or nothing.

Both forms accept and refuse the same. A name that is unknown or given twice is refused, wherever it stands."#;

/// Reads a transaction from JSON.
pub fn from_json(text: &str) -> Result<Submission, Unreadable> {
    tree::from_json::<Document>(text)?.submission().map_err(Unreadable::whole)
}

/// Reads a transaction from TOML.
pub fn from_toml(text: &str) -> Result<Submission, Unreadable> {
    tree::from_toml::<Document>(text)?.submission().map_err(Unreadable::whole)
}

/// Reads a duration like `500ms`, `10s` or `1m 30s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write one like 500ms, 10s or 1m30s");
    let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// A transaction: branches, or steps where it is a saga.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Submission")]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// 1 to 64 bytes of text, or `0x` and hexadecimal digits. Without one, a new one is drawn; then a repetition is another transaction.
    id: Option<String>,
    /// The time for which the coordinator tries to reach a commit, like `500ms`.
    deadline: Option<String>,
    mode: Option<Mode>,
    /// The work of each participant, by its name.
    #[schemars(with = "Option<BTreeMap<String, Form>>")]
    branches: Option<BTreeMap<String, Work>>,
    /// The steps that run in this order, and are undone in reverse if one fails.
    steps: Option<Vec<GivenStep>>,
    /// Its value, for auto. The coordinator may be set to let transactions of a high value go through two-phase commit alone.
    value: Option<u64>,
    /// True to have auto choose two-phase commit or nothing.
    #[serde(default)]
    two_phase_only: bool,
    /// The keys under which participants keep its outcome, by the names of participants that have work in it.
    #[serde(default)]
    outcome_at: BTreeMap<String, String>,
}

/// Two-phase commit, where it is not said; a saga; or the coordinator chooses.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    TwoPhase,
    Saga,
    Auto,
}

/// A step of a saga.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Step")]
#[serde(deny_unknown_fields)]
struct GivenStep {
    name: String,
    /// The participant.
    at: String,
    #[serde(rename = "do")]
    #[schemars(with = "Form")]
    action: Work,
    #[serde(rename = "undo")]
    #[schemars(with = "Option<Form>")]
    compensation: Option<Work>,
    /// Steps that have to be done before; without it, the one before this in the list.
    after: Option<Vec<String>>,
    /// Steps whose results it uses.
    #[serde(default)]
    uses: Vec<String>,
    /// The point of no return: from it on there is nothing to undo.
    #[serde(default)]
    pivot: bool,
    /// The number of times that it is tried.
    attempts: Option<u32>,
    attempt_timeout: Option<String>,
    first_pause: Option<String>,
    max_pause: Option<String>,
}

/// A step that joins an open saga: an action, a compensation, a completion, or some of these.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "JoiningStep")]
#[serde(deny_unknown_fields)]
pub(crate) struct JoiningStep {
    /// The participant.
    at: String,
    /// The work to be done now. If there is none, it is the caller's to do, after the step has joined.
    #[serde(rename = "do")]
    #[schemars(with = "Option<Form>")]
    action: Option<Work>,
    /// The work that undoes it if the saga is turned back. An action needs one.
    #[serde(rename = "undo")]
    #[schemars(with = "Option<Form>")]
    compensation: Option<Work>,
    /// The work that completes it once the saga is closed.
    #[serde(rename = "complete")]
    #[schemars(with = "Option<Form>")]
    completion: Option<Work>,
    /// The number of times that it is tried.
    attempts: Option<u32>,
    attempt_timeout: Option<String>,
    first_pause: Option<String>,
    max_pause: Option<String>,
}

/// The question that is asked when an open saga's time is over, instead of turning it back. Done closes it, a refusal turns it back,
/// and anything else has it asked again.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CheckBack")]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBack {
    /// The participant that is asked.
    pub(crate) at: String,
    #[schemars(with = "Form")]
    pub(crate) ask: Work,
}

impl JoiningStep {
    /// Returns the step under a name.
    pub(crate) fn step(self, name: &str) -> Result<OpenStep, String> {
        let tried = Tried {
            attempts: self.attempts,
            attempt_timeout: self.attempt_timeout.as_deref(),
            first_pause: self.first_pause.as_deref(),
            max_pause: self.max_pause.as_deref(),
        };
        let mut step = OpenStep::new(name, &self.at).retry(tried.policy()?);
        if let Some(work) = self.action {
            step = step.action(work);
        }
        if let Some(work) = self.compensation {
            step = step.undo(work);
        }
        if let Some(work) = self.completion {
            step = step.complete(work);
        }
        Ok(step)
    }
}

/// The retry policy of a step, as it is given.
struct Tried<'a> {
    attempts: Option<u32>,
    attempt_timeout: Option<&'a str>,
    first_pause: Option<&'a str>,
    max_pause: Option<&'a str>,
}

impl Tried<'_> {
    fn policy(&self) -> Result<RetryPolicy, String> {
        let mut retry = RetryPolicy::default();
        let spans = [
            ("attempt_timeout", self.attempt_timeout, &mut retry.attempt_timeout),
            ("first_pause", self.first_pause, &mut retry.first_pause),
            ("max_pause", self.max_pause, &mut retry.max_pause),
        ];
        for (field, given, span) in spans {
            if let Some(given) = given {
                *span = duration(given).map_err(|why| format!("{field}: {why}"))?;
            }
        }
        if self.max_pause.is_none() {
            retry.max_pause = retry.max_pause.max(retry.first_pause);
        }
        retry.max_attempts = self.attempts.unwrap_or(retry.max_attempts);
        Ok(retry)
    }
}

impl GivenStep {
    fn step(self) -> Result<Step, String> {
        let tried = Tried {
            attempts: self.attempts,
            attempt_timeout: self.attempt_timeout.as_deref(),
            first_pause: self.first_pause.as_deref(),
            max_pause: self.max_pause.as_deref(),
        };
        let retry = tried.policy().map_err(|why| format!("step {}: {why}", self.name))?;
        let step = Step::new(&self.name, &self.at, self.action);
        let step = match self.compensation {
            Some(work) => step.undo(work),
            None => step,
        };
        let step = match &self.after {
            Some(after) => step.after(&after.iter().map(String::as_str).collect::<Vec<_>>()),
            None => step,
        };
        let step = step.uses(&self.uses.iter().map(String::as_str).collect::<Vec<_>>()).retry(retry);
        Ok(if self.pivot { step.pivot() } else { step })
    }
}

impl Document {
    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Takes this id, where it has none.
    pub(crate) fn take_id(&mut self, tx: &TxId) {
        self.id.get_or_insert_with(|| tx.to_string());
    }

    pub(crate) fn submission(mut self) -> Result<Submission, String> {
        let mode = self.mode.unwrap_or(Mode::TwoPhase);
        if !matches!(mode, Mode::Auto) {
            let needless = [("two_phase_only", self.two_phase_only), ("value", self.value.is_some())];
            if let Some((field, _)) = needless.into_iter().find(|(_, given)| *given) {
                let why = "is for \"mode\": \"auto\", where the coordinator chooses, and would change nothing here";
                return Err(format!("{field} {why}; say \"mode\": \"auto\", or leave it out"));
            }
        }
        let deadline = self.deadline.as_deref().map(duration).transpose().map_err(|why| format!("deadline: {why}"))?;
        let submission: Submission = match (mode, self.branches.take(), self.steps.take()) {
            (Mode::TwoPhase, Some(branches), None) => self.transaction(branches)?.into(),
            (Mode::TwoPhase, None, None) => return Err("it has no branches; give the participants their work".into()),
            (Mode::TwoPhase, _, Some(_)) => return Err("steps need \"mode\": \"saga\" or \"auto\"; add it".into()),
            (Mode::Saga | Mode::Auto, Some(_), _) => {
                return Err("branches are for two-phase commit; give steps, or leave the mode out".into());
            }
            (Mode::Saga, None, steps) => self.saga(steps.unwrap_or_default())?.into(),
            (Mode::Auto, None, steps) => {
                let auto = self.saga(steps.unwrap_or_default())?.auto().value(self.value.unwrap_or_default());
                if self.two_phase_only { auto.two_phase_only().into() } else { auto.into() }
            }
        };
        Ok(match deadline {
            Some(deadline) => submission.timeout(deadline),
            None => submission,
        })
    }

    fn transaction(&self, branches: BTreeMap<String, Work>) -> Result<Transaction, String> {
        let transaction = self.id()?.map_or_else(Transaction::new, Transaction::with_id);
        let transaction = branches.into_iter().fold(transaction, |all, (participant, work)| all.on(&participant, work));
        Ok(self.kept()?.into_iter().fold(transaction, |all, (participant, key)| all.outcome_at(participant, key)))
    }

    fn saga(&self, steps: Vec<GivenStep>) -> Result<Saga, String> {
        if steps.is_empty() {
            return Err("it has no steps; give it at least one".into());
        }
        let saga = self.id()?.map_or_else(Saga::new, Saga::with_id);
        let saga = steps.into_iter().try_fold(saga, |saga, step| Ok::<_, String>(saga.step(step.step()?)))?;
        Ok(self.kept()?.into_iter().fold(saga, |saga, (participant, key)| saga.outcome_at(participant, key)))
    }

    fn id(&self) -> Result<Option<TxId>, String> {
        let id = self.id.as_deref().map(str::parse).transpose();
        id.map_err(|error: InvalidId| format!("id: {error}"))
    }

    /// Returns the keys under which the outcome is to be kept, with their participants.
    fn kept(&self) -> Result<Vec<(&str, Bytes)>, String> {
        let kept = self.outcome_at.iter().map(|(participant, key)| Ok((participant.as_str(), from_string(key)?)));
        kept.collect::<Result<_, _>>().map_err(|why: String| format!("outcome_at: {why}"))
    }
}

#[cfg(test)]
mod tests;
