//! Calls as text: `call withdraw account=alice amount=30`.

use super::{Argument, Call, CallWork, Given, check_procedure, is_argument_name};
use crate::datum::Datum;
use crate::reference::Reference;
use crate::text::{Word, to_word, words};

/// The verb with which a call begins.
pub(crate) const VERB: &str = "call";

/// The grammar of calls as text; part of the help.
pub const GRAMMAR: &str = "  call PROCEDURE [NAME=VALUE ...] [pend] [respect-pending] [undo]

Calls what the participant declares under that name. A value is text, which the participant converts to the type that it
declares, bytes in hexadecimal, or null; \"quoted\" it is always text. In a saga NAME-from=STEP.N.COLUMN takes it from what call
number N of step STEP returned (from 0; COLUMN[2] is its third row), or NAME-from=STEP.N from an operation's result.
In `undo`: undo calls what PROCEDURE declares as its own undo, with these arguments.";

/// Reads a call behind its verb.
pub(crate) fn parse(text: &str) -> Result<CallWork, String> {
    let wrong = |why: String| format!("{text:?} is no call: {why}");
    let words = words(text).map_err(|why| format!("{text:?}: {why}"))?;
    let Some((name, rest)) = words.get(1..).and_then(<[Word]>::split_first) else {
        return Err(wrong(format!("it names no procedure; write it as\n{GRAMMAR}")));
    };
    let procedure = name.bare().unwrap_or_default();
    check_procedure(&procedure).map_err(|why| wrong(why.to_string()))?;
    let mut call = Call::new(&procedure);
    for word in rest {
        call = add(call, word).map_err(wrong)?;
    }
    Ok(call.into())
}

fn add(mut call: Call, word: &Word) -> Result<Call, String> {
    let Some((name, value)) = word.named() else {
        let flag = match word.bare().as_deref() {
            Some("pend") => &mut call.pend,
            Some("respect-pending") => &mut call.respect_pending,
            Some("undo") => &mut call.undo,
            Some(_) | None => return Err(format!("an argument is NAME=VALUE; write it as\n{GRAMMAR}")),
        };
        *flag = true;
        return Ok(call);
    };
    let given = match name.strip_suffix("-from") {
        Some(_) => Given::From(value.bare().unwrap_or_default().parse::<Reference>()?),
        None => Given::Value(datum(&value)?),
    };
    let name = name.strip_suffix("-from").unwrap_or(name).to_owned();
    if !is_argument_name(&name) {
        return Err(format!("{name:?} is no name of an argument: those have a-z A-Z 0-9 _, and no digit first"));
    }
    if call.arguments.iter().any(|given| given.name == name) {
        return Err(format!("{name} is given twice; leave one out"));
    }
    call.arguments.push(Argument { name, given });
    Ok(call)
}

fn datum(word: &Word) -> Result<Datum, String> {
    match word.bare() {
        Some(bare) if bare == "null" => Ok(Datum::Null),
        Some(bare) if bare.starts_with("0x") => word.bytes().map(Datum::Bytes),
        Some(bare) => Ok(Datum::Text(bare)),
        None => {
            let text = String::from_utf8(word.bytes()?.into());
            text.map(Datum::Text).map_err(|_| "a quoted value is text".to_owned())
        }
    }
}

impl CallWork {
    /// Returns each call as text for people, and then each event.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.calls.iter().map(Call::to_text).chain(self.events.texts()).collect()
    }
}

impl Call {
    /// Returns it as text for people. Values of other types than text are written as text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{VERB} {}", self.procedure);
        for Argument { name, given } in &self.arguments {
            text.push_str(&match given {
                Given::Value(Datum::Text(value)) if value == "null" => format!(" {name}=\"null\""),
                Given::Value(Datum::Text(value)) => format!(" {name}={}", to_word(value.as_bytes())),
                Given::Value(value) => format!(" {name}={}", value.to_text().unwrap_or_else(|| "null".to_owned())),
                Given::From(from) => format!(" {name}-from={from}"),
            });
        }
        for (flag, name) in [(self.pend, "pend"), (self.respect_pending, "respect-pending"), (self.undo, "undo")] {
            if flag {
                text.push(' ');
                text.push_str(name);
            }
        }
        text
    }
}
