//! Pieces of work with places for facts.
//!
//! A piece is split into its words before anything is filled in, and what is filled in stays one word: so no event can add a word to the
//! work, nor one that means something there, like `absent` or `pend`.

use crate::facts::{Facts, Unfit};
use crate::request_template::RequestTemplate;
use crate::template::Template;
use std::fmt;
use undoubt_work::text::{Word, hex, words};
use undoubt_work::{PlaceInSaga, Work};

/// Pieces of work of one reaction, and of what undoes it.
pub const MAX_PIECES: usize = 64;

/// Work of a reaction, to be filled in. It may be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkTemplate(Vec<Piece>);

/// One piece, in the grammar of [`Work`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Words(Vec<WordTemplate>),
    /// A request of a service, which a participant over HTTP services makes.
    Request(RequestTemplate),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct WordTemplate {
    /// The text as far as a `=`.
    name: Option<String>,
    value: Template,
    quoted: bool,
}

impl Piece {
    /// Reads a piece. The error says what is wrong and what would be right. `place`: whether it acts or undoes.
    pub fn read(text: &str, place: PlaceInSaga) -> Result<Piece, String> {
        if let Some(request) = text.trim().strip_prefix("http ") {
            let request = RequestTemplate::read(request).map_err(|why| format!("{text:?}: {why}"))?;
            return Ok(Piece(Kind::Request(request)));
        }
        let words = words(text).map_err(|why| format!("{text:?}: {why}"))?;
        let read: Result<Vec<_>, _> = words.iter().map(WordTemplate::read).collect();
        let read = read.map_err(|why| format!("{text:?}: {why}"))?;
        let verb = read.first().and_then(WordTemplate::fixed).unwrap_or_default();
        if ["emit", "append"].contains(&verb.as_str()) {
            return Err(format!(
                "{text:?}: what a reaction publishes stands in its `emit`, where a check of the choreography finds it; put it there"
            ));
        }
        let fixed_words = if verb == "call" { 2 } else { 1 };
        if read.iter().take(fixed_words).any(|word| word.fixed().is_none()) {
            return Err(format!("{text:?}: what it does has to be fixed; fill in keys, values and numbers only"));
        }
        let piece = Piece(Kind::Words(read));
        let work = piece.sample()?;
        let unusable = |why| format!("{text:?}: {why}");
        work.check_in_saga(place, |_| None).map_err(|(_, fault)| unusable(fault.to_string()))?;
        work.encode(&[]).map_err(|fault| unusable(fault.to_string()))?;
        Ok(piece)
    }

    /// Returns it with a digit in each place, to see what it would be.
    fn sample(&self) -> Result<Work, String> {
        match &self.0 {
            Kind::Words(words) => words.iter().map(WordTemplate::sample).collect::<Vec<_>>().join(" ").parse(),
            Kind::Request(request) => Ok(request.sample()),
        }
    }

    fn fill(&self, facts: &Facts) -> Result<Work, Unfit> {
        match &self.0 {
            Kind::Words(words) => {
                let words: Result<Vec<String>, Unfit> = words.iter().map(|word| word.fill(facts)).collect();
                words?.join(" ").parse().map_err(|why| Unfit::NoWork { why })
            }
            Kind::Request(request) => request.fill(facts),
        }
    }

    fn needs_results(&self) -> bool {
        match &self.0 {
            Kind::Words(words) => words.iter().any(|word| word.value.needs_results()),
            Kind::Request(request) => request.needs_results(),
        }
    }

    fn is_request(&self) -> bool {
        match self.0 {
            Kind::Words(_) => false,
            Kind::Request(_) => true,
        }
    }
}

impl WordTemplate {
    fn read(word: &Word) -> Result<WordTemplate, String> {
        if let Some(bare) = word.bare() {
            let (name, value) = match bare.split_once('=') {
                Some((name, value)) if !name.contains('{') => (Some(name.to_owned()), value),
                Some(_) | None => (None, bare.as_str()),
            };
            return Ok(WordTemplate { name, value: Template::read(value)?, quoted: false });
        }
        let (name, quoted) = match word.named() {
            Some((name, quoted)) => (Some(name.to_owned()), quoted),
            None => (None, word.clone()),
        };
        let text = quoted.bytes()?;
        let text = std::str::from_utf8(&text).map_err(|_| "what is quoted is text".to_owned())?;
        Ok(WordTemplate { name, value: Template::read(text)?, quoted: true })
    }

    /// Returns the word if there is nothing to fill in.
    fn fixed(&self) -> Option<String> {
        self.value.places().next().is_none().then(|| self.sample())
    }

    fn with_name(&self, value: String) -> String {
        match &self.name {
            Some(name) => format!("{name}={value}"),
            None => value,
        }
    }

    fn sample(&self) -> String {
        let value = self.value.sample();
        self.with_name(if self.quoted { quote(&value) } else { value })
    }

    fn fill(&self, facts: &Facts) -> Result<String, Unfit> {
        if let Some(fixed) = self.fixed() {
            return Ok(fixed);
        }
        let bytes = self.value.bytes(facts)?;
        let value = match std::str::from_utf8(&bytes) {
            // Numbers are not quoted, and mean nothing else anywhere.
            Ok(text) if !self.quoted && is_whole_number(text) => text.to_owned(),
            Ok(text) => quote(text),
            Err(_) => hex(&bytes),
        };
        Ok(self.with_name(value))
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

impl WorkTemplate {
    /// Returns the work of these pieces, in order.
    pub fn of(pieces: Vec<Piece>) -> WorkTemplate {
        WorkTemplate(pieces)
    }

    /// Returns true if there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the texts of its pieces.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Piece::to_string).collect()
    }

    /// Returns true if it refers to what other work has left.
    pub fn needs_results(&self) -> bool {
        self.0.iter().any(Piece::needs_results)
    }

    /// Returns true if it is a request of a service, which is all of it then.
    pub fn is_request(&self) -> bool {
        self.0.iter().any(Piece::is_request)
    }

    /// Returns the work; `None` if there is nothing to do.
    pub fn fill(&self, facts: &Facts) -> Result<Option<Work>, Unfit> {
        let no_work = |why: &dyn fmt::Display| Unfit::NoWork { why: why.to_string() };
        let mut work: Option<Work> = None;
        for piece in &self.0 {
            let piece = piece.fill(facts)?;
            work = Some(match work {
                Some(work) => work.then(piece).map_err(|why| no_work(&why))?,
                None => piece,
            });
        }
        if let Some(work) = &work {
            work.encode(&[]).map_err(|why| no_work(&why))?;
        }
        Ok(work)
    }

    /// Returns why its pieces cannot be one piece of work together.
    pub(crate) fn fault(&self) -> Option<String> {
        let mut works = self.0.iter().filter_map(|piece| piece.sample().ok());
        let first = works.next()?;
        works.try_fold(first, Work::then).err().map(|why| why.to_string())
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match &self.0 {
            Kind::Request(request) => return request.fmt(f),
            Kind::Words(words) => words,
        };
        for (at, word) in words.iter().enumerate() {
            let value = word.value.to_string();
            let value = word.with_name(if word.quoted { quote(&value) } else { value });
            write!(f, "{}{value}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::facts;
    use proptest::prelude::*;
    use serde_json::json;

    fn filled(text: &str, data: serde_json::Value) -> Result<Vec<String>, Unfit> {
        let template = WorkTemplate::of(vec![Piece::read(text, PlaceInSaga::Pivot).unwrap()]);
        template.fill(&facts("order-1", &data)).map(|work| work.unwrap().texts())
    }

    #[test]
    fn keys_values_and_numbers_are_filled_in() {
        let data = json!({"item": "shoe", "count": 3, "lines": [{"note": "a b"}]});
        let texts = |text: &str| filled(text, data.clone()).unwrap();
        assert_eq!(texts("add stock/{data.item} -{data.count} floor=0"), ["add stock/shoe -3 floor=0"]);
        assert_eq!(texts("put note/{key} {data.lines.0.note}"), ["put note/order-1 \"a b\""]);
        assert_eq!(texts("call take item={data.item} n={data.count}"), ["call take item=shoe n=3"]);
        assert_eq!(texts("put x \"{{{type}}} of {correlation}\""), ["put x \"{order.placed} of saga-1\""]);
    }

    #[test]
    fn what_is_filled_in_stays_one_word_and_means_nothing() {
        for value in ["pend", "absent", "key-from=a.0", "a floor=-9", "\"", "0x41", "", "null", "{key}"] {
            let data = json!({ "v": value });
            let put: Work = filled("put x {data.v}", data.clone()).unwrap()[0].parse().unwrap();
            let expected: Work = undoubt_work::kv::KvWork::new().put("x", value.to_owned()).into();
            assert_eq!(put, expected, "{value}");
            let call: Work = filled("call f a={data.v}", data).unwrap()[0].parse().unwrap();
            assert_eq!(call, undoubt_work::call::Call::new("f").arg("a", value).into(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_stays_a_value(value in "\\PC*|[ -~\\n\\t\"]*") {
            let template = WorkTemplate::of(vec![Piece::read("put x {data.v}", PlaceInSaga::Pivot).unwrap()]);
            let work = template.fill(&facts("k", &json!({ "v": &value }))).unwrap().unwrap();
            prop_assert_eq!(work, undoubt_work::kv::KvWork::new().put("x", value).into());
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let why = |text: &str, data| filled(text, data).unwrap_err().to_string();
        assert!(why("add x {data.n}", json!({"n": "many"})).contains("quoted"));
        assert!(why("add x {data.n}", json!({})).contains("{data.n}"));
        assert!(why("put x {data.n}", json!({"n": null})).contains("null"));
        assert!(why("put {data.n} x", json!({"n": ""})).contains("empty key"));
    }

    #[test]
    fn what_is_no_work_of_a_reaction_is_refused_when_it_is_read() {
        let fault = |text: &str| Piece::read(text, PlaceInSaga::Pivot).unwrap_err();
        assert!(fault("add x {data.n} pend").contains("pend"));
        assert!(fault("{data.verb} x").contains("fixed"));
        assert!(fault("call {data.name}").contains("fixed"));
        assert!(fault("http post http://a/ {data.x}").contains("JSON"));
        assert!(fault("emit orders order.done key=1").contains("`emit`"));
        assert!(fault("enlisted").contains("enlisted"));
        assert!(fault("ad x 1").contains("did you mean"));
        assert!(fault("put x value-from=s.0").contains("step s"));
        assert!(fault("put x {data").contains("brace"));
        assert!(fault("put x {dat.y}").contains("stands for nothing"));
    }
}
