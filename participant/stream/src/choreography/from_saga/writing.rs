//! The files of a choreography.

use super::rewriting::Rewriting;
use super::{Backward, NotPossible, Placed, Terms};
use crate::declarations::Declarations;
use std::collections::BTreeMap;
use undoubt_vocabulary::ParticipantName;

/// All that each step's declaration is made of.
struct Writer<'a> {
    steps: &'a [Placed<'a>],
    used: &'a Rewriting,
    terms: &'a Terms,
    /// The last step that may be refused.
    last_refused: usize,
    /// The last step that may have to be undone.
    last_undone: Option<usize>,
}

pub(super) fn write(
    steps: &[Placed<'_>],
    used: &Rewriting,
    terms: &Terms,
    pivot: Option<usize>,
    last_undone: Option<usize>,
) -> Result<BTreeMap<ParticipantName, String>, NotPossible> {
    let writer = Writer { steps, used, terms, last_refused: pivot.unwrap_or(steps.len() - 1), last_undone };
    let mut files: BTreeMap<ParticipantName, String> = BTreeMap::new();
    for (at, placed) in steps.iter().enumerate() {
        let file = files.entry(placed.participant.clone()).or_insert_with(|| writer.head(&placed.participant));
        if at == 0 {
            file.push_str(&writer.begin());
        }
        file.push_str(&writer.step(at));
    }
    for (name, text) in &files {
        Declarations::read(text)
            .map_err(|why| NotPossible::Unreadable { participant: name.to_string(), why: why.to_string() })?;
    }
    Ok(files)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

impl Writer<'_> {
    fn kind(&self, at: usize, what: &str) -> String {
        format!("{}.{}.{what}", self.terms.name, self.steps[at].step.name)
    }

    /// Returns an event of a step as it is published or heard. `members`: what it has besides.
    fn event(&self, at: Option<&Placed<'_>>, kind: &str, members: &str) -> String {
        let from = at.map(|placed| format!("from = {}, ", quoted(placed.participant.as_str()))).unwrap_or_default();
        format!("{{ {from}topic = {}, type = {}{members} }}", quoted(&self.terms.name), quoted(kind))
    }

    /// Returns the kinds of events with which the saga ends at this participant, so that nobody here hears them.
    fn last_words(&self, participant: &ParticipantName) -> Vec<String> {
        let at = |at: usize| self.steps[at].participant == *participant;
        let mut kinds = Vec::new();
        if at(self.steps.len() - 1) && self.terms.expire.is_none() {
            kinds.push(self.kind(self.steps.len() - 1, "done"));
        }
        if at(0) {
            kinds.push(self.kind(0, "refused"));
            if self.terms.backward == Backward::Chain && self.last_undone.is_some() {
                kinds.push(self.kind(0, "undone"));
            }
        }
        kinds
    }

    fn head(&self, participant: &ParticipantName) -> String {
        let words = self.last_words(participant);
        let outside = if words.is_empty() { String::new() } else { format!("heard-outside = {}\n", list(&words)) };
        format!("[[topic]]\nname = {}\n{outside}", quoted(&self.terms.name))
    }

    fn begun(&self) -> String {
        format!("{}.begun", self.terms.name)
    }

    fn expired(&self) -> String {
        format!("{}.expired", self.terms.name)
    }

    fn begin(&self) -> String {
        let (name, begun) = (&self.terms.name, self.begun());
        let expire = self.terms.expire.map(|after| {
            let last = self.steps.len() - 1;
            let done = self.event(Some(&self.steps[last]), &self.kind(last, "done"), "");
            let emit = self.event(None, &self.expired(), "");
            format!("expire = {{ after = \"{}ms\", emit = {emit}, unless = [{done}] }}\n", after.as_millis())
        });
        let expire = expire.unwrap_or_default();
        format!(
            "\n# It begins with: emit {name} {begun} key=KEY\n[[begin]]\ntopic = {}\ntype = {}\n{expire}",
            quoted(name),
            quoted(&begun)
        )
    }

    /// Returns the results that go along with a step's event: those that a later one uses.
    fn data(&self, at: usize) -> String {
        let place_of = |name: &str| self.steps.iter().position(|placed| placed.step.name == name);
        let members = self.used.used().filter_map(|(member, used)| {
            let from = place_of(used.from.step()).filter(|from| *from <= at)?;
            used.by.iter().filter_map(|by| place_of(by)).find(|by| *by > at)?;
            let place = if from == at {
                format!("result{}", &used.from.to_string()[used.from.step().len()..])
            } else {
                format!("data.{member}")
            };
            Some(format!("{member} = {}", quoted(&format!("{{{place}}}"))))
        });
        let members: Vec<String> = members.collect();
        if members.is_empty() { String::new() } else { format!(", data = {{ {} }}", members.join(", ")) }
    }

    /// Returns the events that undo a step.
    fn undo_on(&self, at: usize) -> Vec<String> {
        let heard = |at: usize, what: &str| self.event(Some(&self.steps[at]), &self.kind(at, what), "");
        let mut events = Vec::new();
        let behind = at + 1..=self.last_refused;
        match self.terms.backward {
            Backward::Chain => {
                events.extend(behind.clone().take(1).map(|next| heard(next, "refused")));
                events.extend(
                    behind.take(1).filter(|next| Some(*next) <= self.last_undone).map(|next| heard(next, "undone")),
                );
            }
            Backward::Broadcast => events.extend(behind.map(|later| heard(later, "refused"))),
        }
        if self.terms.expire.is_some() {
            events.push(self.event(Some(&self.steps[0]), &self.expired(), ""));
        }
        events
    }

    fn step(&self, at: usize) -> String {
        let Placed { step, action, undo, .. } = &self.steps[at];
        let (from, kind) = match at.checked_sub(1) {
            None => (&self.steps[0].participant, self.begun()),
            Some(before) => (&self.steps[before].participant, self.kind(before, "done")),
        };
        let name = quoted(&format!("{}.{}", self.terms.name, step.name));
        let mut text = format!(
            "\n[[on]]\nname = {name}\nfrom = {}\ntopic = {}\ntype = {}\ndo = {}\nemit = {}\n",
            quoted(from.as_str()),
            quoted(&self.terms.name),
            quoted(&kind),
            list(action),
            self.event(None, &self.kind(at, "done"), &self.data(at)),
        );
        if at <= self.last_refused {
            text.push_str(&format!("refused = {}\n", self.event(None, &self.kind(at, "refused"), "")));
        }
        if Some(at) <= self.last_undone {
            let heard: Vec<String> = self.undo_on(at).iter().map(|event| format!("  {event},\n")).collect();
            text.push_str(&format!("undo-on = [\n{}]\nundo = {}\n", heard.concat(), list(undo)));
            if self.terms.backward == Backward::Chain {
                text.push_str(&format!("undone = {}\n", self.event(None, &self.kind(at, "undone"), "")));
            }
        }
        if let Some(attempts) = step.attempts.filter(|_| at > self.last_refused) {
            text.push_str(&format!("attempts = {attempts}\n"));
        }
        text
    }
}
