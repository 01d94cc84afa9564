//! A thing that a case works on, under an effect of its own, with all that was asked and answered.

use super::call::Call;
use super::handlers::{Handlers, Pattern, Template};
use super::report::{Exchange, Found, Rule};
use super::service::{self, Answer, Cut};
use super::{AT_ONCE, Plan};
use futures::future::join_all;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_http::convention::{Identity, Operation};
use undoubt_http::verdict::{Verdict, verdict};
use undoubt_participant::resource::{BranchId, StepId};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, StepIndex, TxId};

/// The pause before a call is repeated whose answer says nothing of when.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause that a service may ask for here.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A part that handlers play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Act,
    /// To act, where the service refuses.
    Refused,
    Undo,
    Finish,
    Ask,
}

/// The end of a case before its end.
#[derive(Debug)]
pub(super) enum Ended {
    Broken { rule: Rule, why: String },
    NotTried(String),
}

pub(super) fn broken<T>(rule: Rule, why: impl Into<String>) -> Result<T, Ended> {
    Err(Ended::Broken { rule, why: why.into() })
}

/// The clear answer to a call, which may have been repeated.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// False: it was refused.
    pub(super) done: bool,
    pub(super) answer: Answer,
}

pub(super) struct Effect<'a> {
    plan: &'a Plan,
    thing: String,
    identity: Identity,
    /// The action's answer, once there is one.
    answer: Option<Value>,
    acted: bool,
    exchanges: Vec<Exchange>,
}

impl<'a> Effect<'a> {
    pub(super) fn new(plan: &'a Plan, number: u32, thing: String) -> Effect<'a> {
        let Ok(tx) = TxId::new(format!("check-{number}").as_bytes()) else { unreachable!("it is short") };
        let coordinator = CoordinatorId(*b"undoubt-checking");
        let attempt_number = AttemptNumber(number.into());
        let identity = match plan.handlers.pattern {
            Pattern::Saga => Identity::of_step(&StepId { coordinator, attempt_number, step: StepIndex(0), tx }),
            Pattern::Tcc => Identity::of_branch(&BranchId { coordinator, attempt_number, tx }, "check"),
        };
        Effect { plan, thing, identity, answer: None, acted: false, exchanges: Vec::new() }
    }

    /// Returns what the case came to that ended so.
    pub(super) fn found(self, ended: Result<(), Ended>) -> Found {
        match ended {
            Ok(()) => Found::Kept,
            Err(Ended::Broken { rule, why }) => Found::Broken { rule, why, requests: self.exchanges },
            Err(Ended::NotTried(why)) => Found::NotTried { why },
        }
    }

    fn template(&self, part: Part) -> Result<&'a Template, Ended> {
        let Handlers { act, undo, finish, refused, ask, .. } = &self.plan.handlers;
        let (template, option) = match part {
            Part::Act => (Some(act), "--act"),
            Part::Undo => (undo.as_ref(), "--undo"),
            Part::Finish => (finish.as_ref(), "--finish"),
            Part::Refused => (refused.as_ref(), "--refused"),
            Part::Ask => (ask.as_ref(), "--ask"),
        };
        template.ok_or_else(|| Ended::NotTried(format!("{option} is not given")))
    }

    fn operation(&self, part: Part) -> Operation {
        match (self.plan.handlers.pattern, part) {
            (Pattern::Saga, Part::Act | Part::Refused) => Operation::Action,
            (Pattern::Saga, Part::Undo) => Operation::Compensation,
            (Pattern::Saga, Part::Finish) => Operation::Completion,
            (Pattern::Tcc, Part::Act | Part::Refused) => Operation::Try,
            (Pattern::Tcc, Part::Undo) => Operation::Cancel,
            (Pattern::Tcc, Part::Finish) => Operation::Confirm,
            (Pattern::Saga | Pattern::Tcc, Part::Ask) => Operation::CheckBack,
        }
    }

    fn call(&self, part: Part) -> Result<Call, Ended> {
        let filled = self.template(part)?.fill(&self.thing, self.answer.as_ref());
        let filled = filled.ok_or_else(|| {
            Ended::NotTried(
                "its path needs what the action answered, which is not known here; let it go by Undoubt-Effect"
                    .to_owned(),
            )
        })?;
        Ok(Call::new(&self.plan.base, self.operation(part), &self.identity, filled))
    }

    fn note(&mut self, call: &Call, answer: String) {
        let curl = call.curl();
        match self.exchanges.last_mut().filter(|last| last.curl == curl && last.answer == answer) {
            Some(last) => last.times += 1,
            None => self.exchanges.push(Exchange { curl, answer, times: 1 }),
        }
    }

    fn hear(&mut self, call: &Call, answered: &Result<Answer, String>) {
        self.note(call, answered.as_ref().map_or_else(Clone::clone, Answer::told));
        if let Ok(answer) = answered {
            let acts = matches!(call.operation, Operation::Action | Operation::Try);
            if acts && (200..300).contains(&answer.status) {
                self.acted = true;
                self.answer = serde_json::from_str(&answer.body).ok();
            }
        }
    }

    /// Asks until there is a clear answer.
    pub(super) async fn settle(&mut self, part: Part) -> Result<Settled, Ended> {
        let call = self.call(part)?;
        let deadline = Instant::now() + self.plan.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // An answer to what is to be undone may have come in between, so it counts from before.
            let tried = self.acted;
            let answered = service::ask(&self.plan.base, &call, left).await;
            self.hear(&call, &answered);
            let pause = match answered {
                Ok(answer) => match verdict(call.operation, tried, answer.status) {
                    Verdict::Done => return Ok(Settled { done: true, answer }),
                    Verdict::Refused(code) if !code.is_transient() => return Ok(Settled { done: false, answer }),
                    Verdict::Refused(_) | Verdict::Later | Verdict::Unclear => {
                        answer.retry_after.unwrap_or(PAUSE).clamp(PAUSE, MAX_PAUSE)
                    }
                },
                Err(_) => PAUSE,
            };
            if Instant::now() + pause >= deadline {
                let last = self.exchanges.last().map_or("", |last| last.answer.as_str());
                let why = format!("it gave no clear answer for {:?}; the last was: {last}", self.plan.patience);
                return broken(self.own_rule(part), why);
            }
            sleep(pause).await;
        }
    }

    /// Returns the rule that is broken where a call never comes to a clear answer.
    fn own_rule(&self, part: Part) -> Rule {
        match part {
            Part::Act => Rule::EachKeyOnce,
            Part::Refused => Rule::RefusedMeansNever,
            Part::Undo => Rule::UndoSucceeds,
            Part::Finish => Rule::TriedIsHeld,
            Part::Ask => Rule::CheckBackIsFinal,
        }
    }

    /// Acts, which the service has to be able to.
    pub(super) async fn act(&mut self) -> Result<Answer, Ended> {
        self.done(
            Part::Act,
            Rule::EachKeyOnce,
            "it refuses to act; give it a request that it can carry out, and --thing if not any name will do",
        )
        .await
    }

    /// Undoes, which has to succeed.
    pub(super) async fn undo(&mut self) -> Result<Answer, Ended> {
        let why = match self.acted {
            true => "it refuses to undo what it did: a saga would wait for an operator",
            false => "it refuses to undo what may have been done: a saga would wait for an operator",
        };
        self.done(Part::Undo, Rule::UndoSucceeds, why).await
    }

    /// Completes or confirms, which has to succeed.
    pub(super) async fn finish(&mut self) -> Result<Answer, Ended> {
        self.done(Part::Finish, Rule::TriedIsHeld, "it refuses to complete or confirm what it did").await
    }

    async fn done(&mut self, part: Part, rule: Rule, why: &str) -> Result<Answer, Ended> {
        let Settled { done, answer } = self.settle(part).await?;
        if done { Ok(answer) } else { broken(rule, format!("{why} ({})", answer.told())) }
    }

    /// Asks the same once more, which has to be answered the same.
    pub(super) async fn again(&mut self, part: Part, before: &Answer) -> Result<(), Ended> {
        let Settled { answer, .. } = self.settle(part).await?;
        // Of what ends an effect only the status counts.
        let is_same = match part {
            Part::Act | Part::Refused | Part::Ask => answer.is_same(before),
            Part::Undo | Part::Finish => (200..300).contains(&answer.status),
        };
        if is_same {
            return Ok(());
        }
        let rule = if part == Part::Refused { Rule::RefusedMeansNever } else { Rule::EachKeyOnce };
        broken(
            rule,
            format!("asked again under the same key, it answers {:?} and not {:?}", answer.told(), before.told()),
        )
    }

    /// Asks the same many times at once, then each until it has a clear answer. Returns one, as all have to be alike.
    pub(super) async fn at_once(&mut self, part: Part) -> Result<Settled, Ended> {
        let call = self.call(part)?;
        let all = join_all((0..AT_ONCE).map(|_| service::ask(&self.plan.base, &call, self.plan.patience))).await;
        let mut clear: Vec<Settled> = Vec::new();
        let tried = self.acted;
        for answered in all {
            self.hear(&call, &answered);
            let Ok(answer) = answered else { continue };
            match verdict(call.operation, tried, answer.status) {
                Verdict::Done => clear.push(Settled { done: true, answer }),
                Verdict::Refused(code) if !code.is_transient() => clear.push(Settled { done: false, answer }),
                Verdict::Refused(_) | Verdict::Later | Verdict::Unclear => {}
            }
        }
        let last = self.settle(part).await?;
        for settled in clear {
            let same = match part {
                Part::Act | Part::Refused | Part::Ask => settled.answer.is_same(&last.answer),
                Part::Undo | Part::Finish => settled.done == last.done,
            };
            if !same {
                let (one, two) = (settled.answer.told(), last.answer.told());
                let rule = if settled.done == last.done { Rule::EachKeyOnce } else { Rule::RefusedMeansNever };
                return broken(rule, format!("asked at once under one key, it answers {one:?} and {two:?}"));
            }
        }
        Ok(last)
    }

    /// Asks two things at once, the second that much later, without waiting for clear answers.
    pub(super) async fn both(&mut self, parts: [Part; 2], apart: Duration) -> Result<(), Ended> {
        let [first, second] = [self.call(parts[0])?, self.call(parts[1])?];
        let (plan, patience) = (self.plan, self.plan.patience);
        let later = async {
            sleep(apart).await;
            service::ask(&plan.base, &second, patience).await
        };
        let (one, two) = tokio::join!(service::ask(&plan.base, &first, patience), later);
        self.hear(&first, &one);
        self.hear(&second, &two);
        Ok(())
    }

    /// Asks, and gives up after that time, whatever comes.
    pub(super) async fn give_up(&mut self, part: Part, after: Duration) -> Result<(), Ended> {
        let call = self.call(part)?;
        let answered = service::ask(&self.plan.base, &call, after).await;
        self.hear(&call, &answered);
        Ok(())
    }

    pub(super) async fn cut_off(&mut self, part: Part, cut: Cut) -> Result<(), Ended> {
        let call = self.call(part)?;
        let place = match cut {
            Cut::InRequest => "(cut off in the middle of the request)",
            Cut::BeforeAnswer => "(cut off before the answer)",
        };
        self.note(&call, place.to_owned());
        match service::cut_off(&self.plan.base, &call, cut, self.plan.patience).await {
            Ok(()) => Ok(()),
            Err(error) => Err(Ended::NotTried(format!("the service cannot be reached: {error}"))),
        }
    }

    /// Returns how the thing stands, with `{n}` in the place of its name; `None` without a request that looks.
    pub(super) async fn look(&mut self) -> Result<Option<String>, Ended> {
        let Some(template) = &self.plan.handlers.look else { return Ok(None) };
        let Some(filled) = template.fill(&self.thing, None) else {
            return Err(Ended::NotTried("--look cannot know what the action answered; let it go by {n}".to_owned()));
        };
        let call = Call::plain(&self.plan.base, filled);
        let answered = service::ask(&self.plan.base, &call, self.plan.patience).await;
        self.note(&call, answered.as_ref().map_or_else(Clone::clone, Answer::told));
        match answered {
            // A thing that is not there is a way to stand, too.
            Ok(answer) if answer.status < 500 => Ok(Some(answer.told_whole().replace(&self.thing, "{n}"))),
            Ok(answer) => Err(Ended::NotTried(format!("--look is answered with {}", answer.told()))),
            Err(why) => Err(Ended::NotTried(format!("--look has no answer: {why}"))),
        }
    }
}
