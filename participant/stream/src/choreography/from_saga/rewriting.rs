//! Work that refers to steps, in words that refer to events.

use undoubt_work::Reference;
use undoubt_work::text::{Word, words};

/// The results that steps use of each other. Each goes along with events as a member of their data.
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    used: Vec<Used>,
}

/// A result that is used, and by whom.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) from: Reference,
    pub(super) by: Vec<String>,
}

impl Rewriting {
    /// Returns each result that is used, with the name of its member.
    pub(super) fn used(&self) -> impl Iterator<Item = (String, &Used)> {
        self.used.iter().enumerate().map(|(at, used)| (member(at), used))
    }

    pub(super) fn rewrite_all(&mut self, step: &str, texts: &[String]) -> Result<Vec<String>, String> {
        texts.iter().map(|text| self.rewrite(step, text)).collect()
    }

    fn rewrite(&mut self, step: &str, text: &str) -> Result<String, String> {
        let mut written: Vec<String> = Vec::new();
        let mut suffix = None;
        let words = words(text)?;
        let verb = words.first().and_then(Word::bare).unwrap_or_default();
        for word in &words {
            if word.bare().as_deref() == Some("pend") {
                return Err("pend is lifted when its coordinator ends the saga, and here there is none; leave it out"
                    .to_owned());
            }
            let from = word.named().and_then(|(name, value)| Some((name.strip_suffix("-from")?.to_owned(), value)));
            let Some((name, value)) = from else {
                written.push(escaped(word));
                continue;
            };
            let from: Reference = value.bare().unwrap_or_default().parse()?;
            let place = self.place(step, from);
            match (verb.as_str(), name.as_str()) {
                ("call", _) | ("cas", "value" | "expected") => written.push(format!("{name}={place}")),
                ("put", "value") => written.push(place),
                (_, "key") => suffix = Some(place),
                (_, _) => return Err(format!("{text:?}: {name}-from cannot be taken along; give the value itself")),
            }
        }
        if let (Some(suffix), Some(key)) = (suffix, written.get_mut(1)) {
            if key.starts_with("0x") {
                return Err(format!("{text:?}: a key in hexadecimal cannot be continued; write it as text"));
            }
            let end = if key.ends_with('"') { key.len() - 1 } else { key.len() };
            key.insert_str(end, &suffix);
        }
        Ok(written.join(" "))
    }

    /// Returns the place of a result in a template of this step.
    fn place(&mut self, step: &str, from: Reference) -> String {
        if from.step() == step {
            let text = from.to_string();
            return format!("{{result{}}}", &text[step.len()..]);
        }
        let known = self.used.iter().position(|used| used.from == from);
        let at = known.unwrap_or_else(|| {
            self.used.push(Used { from, by: Vec::new() });
            self.used.len() - 1
        });
        self.used[at].by.push(step.to_owned());
        format!("{{data.{}}}", member(at))
    }
}

fn member(at: usize) -> String {
    format!("v{at}")
}

/// Returns a word as it is, with its braces doubled.
fn escaped(word: &Word) -> String {
    let double = |text: &str| text.replace('{', "{{").replace('}', "}}");
    let quote = |text: &str| serde_json::Value::from(double(text)).to_string();
    let text = |word: &Word| word.bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    match (word.bare(), word.named()) {
        (Some(bare), _) => double(&bare),
        (None, Some((name, quoted))) => format!("{name}={}", quote(&text(&quoted))),
        (None, None) => quote(&text(word)),
    }
}
