//! The reading of declarations: TOML, with every fault that it has.

use super::tables::{BeginTable, EmitTable, ExpireTable, File, HeardTable, OnTable, TopicTable};
use super::{
    Beginning, DEFAULT_REACTION_ATTEMPTS, DataTemplate, Declarations, DeclaredTopic, EventTemplate, Expiry, Heard,
    MAX_EVENTS_OF_REACTION, MAX_EXPIRY, MAX_REACTION_ATTEMPTS, MAX_REACTIONS, MAX_TOPICS, Reaction,
};
use crate::fault::{Fault, Faults, line_of};
use crate::template::Template;
use crate::work_template::{MAX_PIECES, Piece, WorkTemplate};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use undoubt_vocabulary::event::{MAX_EVENT_LABEL_BYTES, MAX_PARTITIONS};
use undoubt_vocabulary::{Topic, TopicName};
use undoubt_work::PlaceInSaga;

impl Declarations {
    /// Reads the tables `[[topic]]`, `[[begin]]` and `[[on]]` of a TOML file. Whatever else is in it is somebody else's.
    ///
    /// # Errors
    /// All faults that can be found in one participant's file.
    pub fn read(text: &str) -> Result<Declarations, Faults> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            Faults(vec![Fault { declaration: String::new(), line, what: error.message().to_owned() }])
        })?;
        let mut reader = Reader { text, faults: Vec::new(), declaration: String::new() };
        let declarations = reader.file(&file);
        if reader.faults.is_empty() { Ok(declarations) } else { Err(Faults(reader.faults)) }
    }
}

/// Reads on behind a fault, to find all of them: what has one is left out.
struct Reader<'a> {
    text: &'a str,
    /// The declaration that is being read.
    declaration: String,
    faults: Vec<Fault>,
}

type Place = Range<usize>;

/// The templates in which the results of the work may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Results {
    Known,
    Unknown,
}

impl Reader<'_> {
    fn fault(&mut self, place: &Place, what: impl Display) {
        let (declaration, line) = (self.declaration.clone(), Some(line_of(self.text, place.start)));
        self.faults.push(Fault { declaration, line, what: what.to_string() });
    }

    fn name<T: FromStr<Err: Display>>(&mut self, place: &Place, text: &str) -> Option<T> {
        text.parse().map_err(|why| self.fault(place, why)).ok()
    }

    fn count(&mut self, what: &str, count: usize, most: usize) {
        if count > most {
            self.fault(&(0..0), format!("there are {count} {what}, more than the {most} allowed; leave some out"));
        }
    }

    fn file(&mut self, file: &File) -> Declarations {
        self.count("topics", file.topic.len(), MAX_TOPICS);
        self.count("reactions and beginnings", file.on.len() + file.begin.len(), MAX_REACTIONS);
        let mut declarations = Declarations::default();
        for table in &file.topic {
            let topic = self.topic(table);
            if let Some(topic) = &topic
                && declarations.topic(&topic.topic.name).is_some()
            {
                self.fault(&table.span(), "a topic of this name was declared before; leave one out");
            }
            declarations.topics.extend(topic);
        }
        for table in &file.begin {
            let beginning = self.beginning(table, &declarations);
            let again = |other: &Beginning| {
                beginning.as_ref().is_some_and(|new| (&new.topic, &new.kind) == (&other.topic, &other.kind))
            };
            if declarations.beginnings.iter().any(again) {
                self.fault(&table.span(), "it was declared before; leave one out");
            }
            declarations.beginnings.extend(beginning);
        }
        for table in &file.on {
            let reaction = self.reaction(table, &declarations);
            declarations.reactions.extend(reaction);
        }
        let expiries = file.begin.iter().filter_map(|table| Some((table.span(), table.get_ref().expire.as_ref()?)));
        let expiries = expiries.map(|(place, expire)| (place, expire.get_ref().emit.get_ref().kind.as_str()));
        let reactions = file.on.iter().map(|table| (table.span(), table.get_ref().name.as_str()));
        let mut names = BTreeSet::new();
        for (place, name) in expiries.chain(reactions) {
            if !names.insert(name) {
                self.declaration = format!("[[on]] {name}");
                self.fault(
                    &place,
                    "another reaction, or an expiry by its event's type, has this name; give it another",
                );
            }
        }
        declarations
    }

    fn topic(&mut self, table: &Spanned<TopicTable>) -> Option<DeclaredTopic> {
        let (place, table) = (table.span(), table.get_ref());
        self.declaration = format!("[[topic]] {}", table.name);
        let name = self.name(&place, &table.name);
        let partitions = match &table.partitions {
            None => Some(1),
            Some(given) => {
                let fits = u16::try_from(*given.get_ref()).ok().filter(|count| (1..=MAX_PARTITIONS).contains(count));
                if fits.is_none() {
                    let what = format!("it has {} partitions; give it 1 to {MAX_PARTITIONS}", given.get_ref());
                    self.fault(&given.span(), what);
                }
                fits
            }
        };
        let heard = &table.heard_outside;
        let heard_outside = heard.iter().filter_map(|kind| self.name(&kind.span(), kind.get_ref())).collect();
        let topic = Topic { name: name?, partitions: partitions?, sourced: table.sourced };
        Some(DeclaredTopic { topic, heard_outside })
    }

    fn beginning(&mut self, table: &Spanned<BeginTable>, declarations: &Declarations) -> Option<Beginning> {
        let (place, table) = (table.span(), table.get_ref());
        self.declaration = format!("[[begin]] {}", table.kind);
        let topic = self.own_topic(&place, &table.topic, declarations);
        let kind = self.name(&place, &table.kind);
        let expire = match &table.expire {
            None => Some(None),
            Some(expire) => self.expiry(expire.get_ref(), declarations).map(Some),
        };
        Some(Beginning { topic: topic?, kind: kind?, expire: expire? })
    }

    fn expiry(&mut self, table: &ExpireTable, declarations: &Declarations) -> Option<Expiry> {
        let place = table.after.span();
        let after = table.after.get_ref();
        let read: Option<Duration> =
            after.parse::<jiff::SignedDuration>().ok().and_then(|read| Duration::try_from(read).ok());
        let after = match read.filter(|read| !read.is_zero() && *read <= MAX_EXPIRY) {
            Some(read) => Some(read),
            None => {
                let days = MAX_EXPIRY.as_secs() / (24 * 3600);
                let what = format!(
                    "it expires after {after:?}; write a duration like 500ms, 30s or 1h30m, of at most {days} days"
                );
                self.fault(&place, what);
                None
            }
        };
        let emit = self.emit(&table.emit.span(), table.emit.get_ref(), Results::Unknown, declarations);
        let unless = self.heard_list(&table.emit.span(), &table.unless);
        if table.unless.is_empty() {
            self.fault(&place, "it expires whatever comes; give in `unless` the events with which the saga ends");
        }
        let emit = emit?;
        let name = emit.kind.as_str().parse().expect("both names have the same characters");
        Some(Expiry { name, after: after?, emit, unless })
    }

    fn reaction(&mut self, table: &Spanned<OnTable>, declarations: &Declarations) -> Option<Reaction> {
        let (place, table) = (table.span(), table.get_ref());
        self.declaration = format!("[[on]] {}", table.name);
        let name = self.name(&place, &table.name);
        let on = self.heard(&place, &table.from, &table.topic, &table.kind);
        let work = self.work(&place, "do", &table.work, PlaceInSaga::Pivot, Results::Unknown);
        let results = if table.work.is_empty() { Results::Unknown } else { Results::Known };
        let emit = table.emit.as_ref().map(|emit| (emit.span(), &emit.get_ref().0));
        let emit: Vec<_> = emit
            .iter()
            .flat_map(|(place, tables)| tables.iter().map(move |table| (place, table)))
            .filter_map(|(place, table)| self.emit(place, table, results, declarations))
            .collect();
        if emit.len() > MAX_EVENTS_OF_REACTION {
            self.fault(
                &place,
                format!("it publishes {} events, more than the {MAX_EVENTS_OF_REACTION} allowed", emit.len()),
            );
        }
        if table.work.is_empty() && table.emit.is_none() {
            self.fault(&place, "it does nothing; give it work in `do`, or an event in `emit`");
        }
        let mut one = |table: &Option<Spanned<EmitTable>>, results| match table {
            None => Some(None),
            Some(table) => self.emit(&table.span(), table.get_ref(), results, declarations).map(Some),
        };
        let (refused, undone) = (one(&table.refused, Results::Unknown), one(&table.undone, results));
        if let (Some(refused), true) = (&table.refused, table.work.is_empty()) {
            self.fault(&refused.span(), "there is no work in `do` that could be refused; leave `refused` out");
        }
        let undo_on = self.heard_list(&place, &table.undo_on);
        if let Some(on) = &on
            && undo_on.contains(on)
        {
            self.fault(&place, format!("{on} would both move it and undo it; leave one out"));
        }
        let undo = table.undo.as_deref();
        let undo = undo.map(|texts| self.work(&place, "undo", texts, PlaceInSaga::Compensation, results));
        match (&table.undo_on[..], &undo, &table.undone) {
            ([], Some(undo), _) if !undo.is_nothing() => {
                self.fault(&place, "nothing undoes it; give in `undo-on` the events that do, or leave `undo` out");
            }
            ([], _, Some(_)) => {
                self.fault(&place, "nothing undoes it; give in `undo-on` the events that do, or leave `undone` out");
            }
            ([_, ..], None, _) if !table.work.is_empty() => {
                self.fault(&place, "say in `undo` what undoes it, or write undo = [] if nothing has to be undone");
            }
            ([], _, None) | ([_, ..], _, _) => {}
        }
        let attempts = self.attempts(table.attempts.as_ref());
        Some(Reaction {
            name: name?,
            on: on?,
            work,
            emit,
            refused: refused?,
            undo_on,
            undo,
            undone: undone?,
            attempts: attempts?,
        })
    }

    fn attempts(&mut self, given: Option<&Spanned<i64>>) -> Option<u32> {
        let Some(given) = given else { return Some(DEFAULT_REACTION_ATTEMPTS) };
        let fits = u32::try_from(*given.get_ref()).ok().filter(|count| (1..=MAX_REACTION_ATTEMPTS).contains(count));
        if fits.is_none() {
            let what = format!("it has {} attempts; give it 1 to {MAX_REACTION_ATTEMPTS}", given.get_ref());
            self.fault(&given.span(), what);
        }
        fits
    }

    fn work(
        &mut self,
        place: &Place,
        what: &str,
        texts: &[Spanned<String>],
        at: PlaceInSaga,
        results: Results,
    ) -> WorkTemplate {
        if texts.len() > MAX_PIECES {
            self.fault(
                place,
                format!("`{what}` has {} pieces, more than the {MAX_PIECES} allowed; leave some out", texts.len()),
            );
        }
        let mut pieces = Vec::new();
        for text in texts {
            match Piece::read(text.get_ref(), at) {
                Ok(piece) => pieces.push(piece),
                Err(why) => self.fault(&text.span(), format!("`{what}`: {why}")),
            }
        }
        let work = WorkTemplate::of(pieces);
        if results == Results::Unknown && work.needs_results() {
            self.fault(place, format!("`{what}` refers to {{result…}}, and there is none yet; refer to the event"));
        }
        if let Some(why) = work.fault() {
            self.fault(place, format!("`{what}`: {why}"));
        }
        work
    }

    fn heard(&mut self, place: &Place, from: &str, topic: &str, kind: &str) -> Option<Heard> {
        let (from, topic, kind) = (self.name(place, from), self.name(place, topic), self.name(place, kind));
        Some(Heard { from: from?, topic: topic?, kind: kind? })
    }

    fn heard_list(&mut self, place: &Place, tables: &[Spanned<HeardTable>]) -> Vec<Heard> {
        let mut list = Vec::new();
        for table in tables {
            let (place, HeardTable { from, topic, kind }) = (table.span(), table.get_ref());
            let Some(heard) = self.heard(&place, from, topic, kind) else { continue };
            if list.contains(&heard) {
                self.fault(&place, format!("{heard} is given twice; leave one out"));
            }
            list.push(heard);
        }
        if list.len() > MAX_EVENTS_OF_REACTION {
            self.fault(
                place,
                format!("it hears {} events, more than the {MAX_EVENTS_OF_REACTION} allowed", list.len()),
            );
        }
        list
    }

    fn own_topic(&mut self, place: &Place, name: &str, declarations: &Declarations) -> Option<TopicName> {
        let name: TopicName = self.name(place, name)?;
        if declarations.topic(&name).is_some() {
            return Some(name);
        }
        let known: Vec<&str> = declarations.topics.iter().map(|declared| declared.topic.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let what = format!(
            "{name} is no topic of this participant, which has {known}; declare it with [[topic]], or correct it"
        );
        self.fault(place, what);
        None
    }

    fn emit(
        &mut self,
        place: &Place,
        table: &EmitTable,
        results: Results,
        declarations: &Declarations,
    ) -> Option<EventTemplate> {
        let topic = self.own_topic(place, &table.topic, declarations);
        let kind = self.name(place, &table.kind);
        let key = match &table.key {
            None => Some(Template::key()),
            Some(key) => Template::read(key).map_err(|why| self.fault(place, format!("key: {why}"))).ok(),
        };
        let schema = table.schema.as_deref().unwrap_or_default();
        if schema.len() > MAX_EVENT_LABEL_BYTES || !schema.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.fault(place, format!("schema: give at most {MAX_EVENT_LABEL_BYTES} printable characters of ASCII"));
        }
        let data = match &table.data {
            None => Some(DataTemplate::Object(Vec::new())),
            Some(data) => data_template(data).map_err(|why| self.fault(place, format!("data: {why}"))).ok(),
        };
        let template = EventTemplate { topic: topic?, kind: kind?, key: key?, schema: schema.into(), data: data? };
        if results == Results::Unknown && template.templates().any(Template::needs_results) {
            self.fault(
                place,
                format!("{} refers to {{result…}}, and there is none; refer to the event", template.kind),
            );
        }
        Some(template)
    }
}

fn data_template(value: &toml::Value) -> Result<DataTemplate, String> {
    Ok(match value {
        toml::Value::String(text) => DataTemplate::Text(Template::read(text)?),
        toml::Value::Integer(number) => DataTemplate::Fixed((*number).into()),
        toml::Value::Boolean(truth) => DataTemplate::Fixed((*truth).into()),
        toml::Value::Datetime(time) => DataTemplate::Fixed(time.to_string().into()),
        toml::Value::Float(number) => {
            let number = serde_json::Number::from_f64(*number);
            DataTemplate::Fixed(Value::Number(number.ok_or("JSON has no such number; write another")?))
        }
        toml::Value::Array(elements) => {
            DataTemplate::List(elements.iter().map(data_template).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(members) => {
            let member = |(name, value): (&String, &toml::Value)| Ok((name.clone(), data_template(value)?));
            DataTemplate::Object(members.iter().map(member).collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
