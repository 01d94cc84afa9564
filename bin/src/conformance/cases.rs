//! The cases: what is asked of a service in which order, and what has to come of it.

use super::Plan;
use super::effect::{Effect, Ended, Part, broken};
use super::report::{Case, Finding, Found, Report, Rule};
use super::service::Cut;
use super::slow::Database;
use std::collections::VecDeque;
use std::time::Duration;

/// The number of times that acting and undoing meet, each time a little further apart.
const MEETINGS: u32 = 6;

/// The time by which they are further apart each time.
const APART: Duration = Duration::from_millis(3);

/// The time after which a caller of a service with a slow database gives up.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(100);

/// The looks of things that had nothing else done to them; `None`: not known, or not to be compared from thing to thing.
#[derive(Debug, Default)]
struct Looks {
    acted: Option<String>,
    undone: Option<String>,
    finished: Option<String>,
}

pub(super) struct Tester {
    plan: Plan,
    database: Option<Database>,
    things: VecDeque<String>,
    numbers: u32,
    looks: Looks,
    /// False: things show more of themselves than their names, so that none looks like another.
    comparable: bool,
    note: Option<String>,
}

impl Tester {
    pub(super) async fn new(mut plan: Plan) -> anyhow::Result<Tester> {
        let database = match plan.database.take() {
            Some(forwarding) => Some(Database::open(forwarding).await?),
            None => None,
        };
        let things = std::mem::take(&mut plan.things).into();
        Ok(Tester { plan, database, things, numbers: 0, looks: Looks::default(), comparable: true, note: None })
    }

    pub(super) async fn try_all(mut self, mut tell: impl FnMut(&Finding)) -> anyhow::Result<Report> {
        let mut findings = Vec::new();
        let any_name = self.things.is_empty();
        if self.plan.handlers.look.is_none() {
            self.note = Some("without --look only answers are judged, not what the service did".to_owned());
        }
        for case in Case::ALL {
            let found = match self.case(case, any_name).await {
                Ok(found) => found,
                Err(why) => Found::NotTried { why },
            };
            // Nothing can be said of a service that does not act when it is asked to.
            let is_useless = case == Case::ActTwice && !matches!(found, Found::Kept);
            let finding = Finding { case, found };
            tell(&finding);
            findings.push(finding);
            if is_useless {
                break;
            }
        }
        Ok(Report { findings, note: self.note })
    }

    /// Returns the next number, and a thing for it.
    fn next(&mut self, any_name: bool) -> Result<(u32, String), String> {
        self.numbers += 1;
        let number = self.plan.run * 1_000 + self.numbers;
        match any_name {
            true => Ok((number, number.to_string())),
            false => match self.things.pop_front() {
                Some(thing) => Ok((number, thing)),
                None => Err("there are too few things; give more with --thing".to_owned()),
            },
        }
    }

    async fn case(&mut self, case: Case, any_name: bool) -> Result<Found, String> {
        if case == Case::ActAgainstUndo {
            return self.meetings(any_name).await;
        }
        let (number, thing) = self.next(any_name)?;
        let mut one = Effect::new(&self.plan, number, thing);
        let mut looks = std::mem::take(&mut self.looks);
        let ended = try_one(case, &mut one, &mut looks, self.database.as_ref()).await;
        let found = one.found(ended);
        if case == Case::ActTwice && looks.acted.is_some() {
            let (number, thing) = self.next(any_name)?;
            let mut other = Effect::new(&self.plan, number, thing);
            let seen = match other.act().await {
                Ok(_) => other.look().await.ok().flatten(),
                Err(_) => None,
            };
            if seen != looks.acted {
                self.comparable = false;
                let note = "what --look shows of two things differs by more than their names, so things are not compared with each other";
                self.note = Some(note.to_owned());
            }
        }
        self.looks = if self.comparable { looks } else { Looks::default() };
        Ok(found)
    }

    /// Acts and undoes at once, several times with a thing each.
    async fn meetings(&mut self, any_name: bool) -> Result<Found, String> {
        for meeting in 0..MEETINGS {
            let (number, thing) = self.next(any_name)?;
            let mut one = Effect::new(&self.plan, number, thing);
            let ended = meet(&mut one, APART * meeting, &self.looks).await;
            if ended.is_err() {
                return Ok(one.found(ended));
            }
        }
        Ok(Found::Kept)
    }
}

/// Fails if a thing does not look as one should to which nothing else happened.
fn looks_like(seen: Option<&String>, should: Option<&String>, rule: Rule, what: &str) -> Result<(), Ended> {
    match (seen, should) {
        (Some(seen), Some(should)) if seen != should => {
            broken(rule, format!("{what}: it should show {should:?}, and shows {seen:?}"))
        }
        (_, _) => Ok(()),
    }
}

const TWICE: &str = "it did more than what it does when it is asked once";
const UNDONE: &str = "what was undone is not as it is when it was done once and undone once";
const NOTHING: &str = "it did something";

async fn try_one(
    case: Case,
    one: &mut Effect<'_>,
    looks: &mut Looks,
    database: Option<&Database>,
) -> Result<(), Ended> {
    match case {
        Case::ActTwice => {
            let answer = one.act().await?;
            let acted = one.look().await?;
            one.again(Part::Act, &answer).await?;
            looks_like(one.look().await?.as_ref(), acted.as_ref(), Rule::EachKeyOnce, TWICE)?;
            looks.acted = acted;
            Ok(())
        }
        Case::ActAtOnce => {
            let last = one.at_once(Part::Act).await?;
            if !last.done {
                return broken(Rule::EachKeyOnce, "asked at once, it refuses what it does when it is asked alone");
            }
            acted_once(one, looks).await
        }
        Case::ActCutOffBeforeAnswer | Case::ActCutOffInRequest => {
            let cut = if case == Case::ActCutOffInRequest { Cut::InRequest } else { Cut::BeforeAnswer };
            one.cut_off(Part::Act, cut).await?;
            one.act().await?;
            acted_once(one, looks).await
        }
        Case::UndoTwice => {
            one.act().await?;
            let answer = one.undo().await?;
            let undone = one.look().await?;
            if undone.is_some() && undone == looks.acted {
                return broken(Rule::UndoSucceeds, "it answers that it has undone it, and shows the same as before");
            }
            one.again(Part::Undo, &answer).await?;
            looks_like(one.look().await?.as_ref(), undone.as_ref(), Rule::EachKeyOnce, TWICE)?;
            looks.undone = undone;
            Ok(())
        }
        Case::UndoAtOnce => {
            one.act().await?;
            if !one.at_once(Part::Undo).await?.done {
                return broken(Rule::UndoSucceeds, "asked at once, it refuses to undo what it did");
            }
            looks_like(one.look().await?.as_ref(), looks.undone.as_ref(), Rule::EachKeyOnce, UNDONE)
        }
        Case::UndoCutOff => {
            one.act().await?;
            one.cut_off(Part::Undo, Cut::BeforeAnswer).await?;
            one.undo().await?;
            looks_like(one.look().await?.as_ref(), looks.undone.as_ref(), Rule::EachKeyOnce, UNDONE)
        }
        Case::UndoFirst => {
            let before = one.look().await?;
            for _ in 0..2 {
                undo_alone(one).await?;
                looks_like(one.look().await?.as_ref(), before.as_ref(), Rule::UndoMayComeAlone, NOTHING)?;
            }
            Ok(())
        }
        Case::ActLate => {
            undo_alone(one).await?;
            let before = one.look().await?;
            late(one, Part::Act, before.as_ref()).await
        }
        Case::ActAfterUndo => {
            let answer = one.act().await?;
            one.undo().await?;
            let before = one.look().await?;
            let again = one.settle(Part::Act).await?;
            if again.done && !again.answer.is_same(&answer) {
                return broken(Rule::UndoneStaysSo, "it acted again after it was asked to undo, with another answer");
            }
            looks_like(one.look().await?.as_ref(), before.as_ref(), Rule::UndoneStaysSo, NOTHING)
        }
        Case::FinishTwice => {
            one.act().await?;
            let answer = one.finish().await?;
            let finished = one.look().await?;
            one.again(Part::Finish, &answer).await?;
            looks_like(one.look().await?.as_ref(), finished.as_ref(), Rule::EachKeyOnce, TWICE)?;
            looks.finished = finished;
            Ok(())
        }
        Case::FinishAtOnce => {
            one.act().await?;
            if !one.at_once(Part::Finish).await?.done {
                return broken(Rule::TriedIsHeld, "asked at once, it refuses to complete or confirm what it did");
            }
            looks_like(one.look().await?.as_ref(), looks.finished.as_ref(), Rule::EachKeyOnce, TWICE)
        }
        Case::FinishCutOff => {
            one.act().await?;
            one.cut_off(Part::Finish, Cut::BeforeAnswer).await?;
            one.finish().await?;
            looks_like(one.look().await?.as_ref(), looks.finished.as_ref(), Rule::EachKeyOnce, TWICE)
        }
        Case::RefusedTwice => {
            let before = one.look().await?;
            let refused = one.settle(Part::Refused).await?;
            if refused.done {
                return Err(Ended::NotTried(format!("what --refused asks for was done ({})", refused.answer.told())));
            }
            let again = one.settle(Part::Refused).await?;
            if again.done {
                return broken(
                    Rule::RefusedMeansNever,
                    "it refused, and did it when it was asked again under the same key",
                );
            }
            looks_like(one.look().await?.as_ref(), before.as_ref(), Rule::RefusedMeansNever, NOTHING)?;
            match one.settle(Part::Undo).await {
                Ok(undone) if !undone.done => broken(
                    Rule::UndoMayComeAlone,
                    format!("it refuses to undo what it refused ({})", undone.answer.told()),
                ),
                Ok(_) => looks_like(one.look().await?.as_ref(), before.as_ref(), Rule::RefusedMeansNever, NOTHING),
                Err(Ended::NotTried(_)) => Ok(()),
                Err(ended @ Ended::Broken { .. }) => Err(ended),
            }
        }
        Case::RefusedAtOnce => {
            let before = one.look().await?;
            if one.at_once(Part::Refused).await?.done {
                return Err(Ended::NotTried("what --refused asks for was done".to_owned()));
            }
            looks_like(one.look().await?.as_ref(), before.as_ref(), Rule::RefusedMeansNever, NOTHING)
        }
        Case::AskedBack => {
            for _ in 0..2 {
                let asked = one.settle(Part::Ask).await?;
                if asked.done || asked.answer.status != 409 {
                    let why =
                        format!("asked about a transaction that never was begun, it answers {:?}", asked.answer.told());
                    return broken(Rule::CheckBackIsFinal, why);
                }
            }
            Ok(())
        }
        Case::ActAtSlowDatabase => {
            let database = database.ok_or_else(no_database)?;
            database.slow_down(true);
            let given_up = async {
                for _ in 0..3 {
                    one.give_up(Part::Act, GIVEN_UP_AFTER).await?;
                }
                Ok(())
            }
            .await;
            database.slow_down(false);
            given_up?;
            one.act().await?;
            acted_once(one, looks).await
        }
        Case::UndoAtSlowDatabase => {
            let database = database.ok_or_else(no_database)?;
            let untouched = one.look().await?;
            database.slow_down(true);
            let met = one.both([Part::Act, Part::Undo], GIVEN_UP_AFTER).await;
            database.slow_down(false);
            met?;
            undone_for_good(one, untouched, looks).await
        }
        Case::ActAgainstUndo => unreachable!("it takes several things: `meetings`"),
    }
}

fn no_database() -> Ended {
    Ended::NotTried("--database is not given".to_owned())
}

async fn acted_once(one: &mut Effect<'_>, looks: &Looks) -> Result<(), Ended> {
    looks_like(one.look().await?.as_ref(), looks.acted.as_ref(), Rule::EachKeyOnce, TWICE)
}

/// Undoes what was never asked for.
async fn undo_alone(one: &mut Effect<'_>) -> Result<(), Ended> {
    let undone = one.settle(Part::Undo).await?;
    if undone.done {
        return Ok(());
    }
    let why = format!(
        "it refuses to undo what it never heard of ({}): a saga would wait for an operator",
        undone.answer.told()
    );
    broken(Rule::UndoMayComeAlone, why)
}

/// Acts where it was undone, which has to be refused.
async fn late(one: &mut Effect<'_>, part: Part, before: Option<&String>) -> Result<(), Ended> {
    let acted = one.settle(part).await?;
    if acted.done {
        let why = format!("asked to act after it was asked to undo, it answers {:?}", acted.answer.told());
        return broken(Rule::UndoneStaysSo, why);
    }
    looks_like(one.look().await?.as_ref(), before, Rule::UndoneStaysSo, NOTHING)
}

/// Acts and undoes at once. Whichever came first, it is undone in the end.
async fn meet(one: &mut Effect<'_>, apart: Duration, looks: &Looks) -> Result<(), Ended> {
    let untouched = one.look().await?;
    one.both([Part::Act, Part::Undo], apart).await?;
    undone_for_good(one, untouched, looks).await
}

async fn undone_for_good(one: &mut Effect<'_>, untouched: Option<String>, looks: &Looks) -> Result<(), Ended> {
    one.undo().await?;
    let seen = one.look().await?;
    if seen != untouched && looks.undone.is_some() && seen != looks.undone {
        let shown = |look: Option<String>| look.unwrap_or_default();
        let why = format!(
            "asked to act and to undo at once, it should show {:?} or {:?} in the end, and shows {:?}",
            shown(untouched),
            shown(looks.undone.clone()),
            shown(seen)
        );
        return broken(Rule::UndoneStaysSo, why);
    }
    one.settle(Part::Act).await?;
    looks_like(one.look().await?.as_ref(), seen.as_ref(), Rule::UndoneStaysSo, NOTHING)
}
