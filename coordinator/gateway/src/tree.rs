//! JSON and TOML read alike: into one kind of tree, in which nothing is given twice.
//!
//! The meaning of a document is read from the tree, so that both forms accept and refuse the same.

use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// The reason why some text cannot be read, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    place: Place,
    why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Whole,
    /// Both counted from 1, columns in characters.
    At {
        line: usize,
        column: usize,
    },
    /// A path like `branches.bank-a[0]`.
    Path(String),
}

impl Unreadable {
    /// Returns the error of a text as a whole.
    pub fn whole(why: impl Into<String>) -> Self {
        Unreadable { place: Place::Whole, why: why.into() }
    }

    fn at(text: &str, offset: usize, why: impl Into<String>) -> Self {
        let before = String::from_utf8_lossy(text.as_bytes().get(..offset).unwrap_or(text.as_bytes()));
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Unreadable { place: Place::At { line, column }, why: why.into() }
    }

    /// The same where the text is one line of a file, by its number in the file.
    pub fn in_line(&self, number: u64) -> String {
        match &self.place {
            Place::Whole => format!("line {number}: {}", self.why),
            Place::At { column, .. } => format!("line {number}, column {column}: {}", self.why),
            Place::Path(path) => format!("line {number}, {path}: {}", self.why),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Whole => f.write_str(&self.why),
            Place::At { line, column } => write!(f, "line {line}, column {column}: {}", self.why),
            Place::Path(path) => write!(f, "{path}: {}", self.why),
        }
    }
}

/// The text of a file. Bytes that are no UTF-8 are refused with what they seem to be; a byte order mark is left out.
pub fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    if utf16 || bytes.iter().take(4).any(|byte| *byte == 0) {
        return Err(Unreadable::whole("it is UTF-16 or UTF-32, not UTF-8; save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
        Unreadable::at(&good, good.len(), "here is no UTF-8; save it as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads one JSON document, and nothing behind it.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    if text.trim().is_empty() {
        return Err(empty());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let tree = Tree(&Path::Root).deserialize(&mut json).and_then(|tree| json.end().map(|()| tree));
    meaning(tree.map_err(|error| {
        let (why, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
        let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        // It counts the bytes that it has read, up to and with the one that is wrong.
        let offset = line_start + error.column().saturating_sub(1);
        Unreadable::at(text, offset, why.strip_suffix(&place).unwrap_or(&why))
    })?)
}

/// Reads a TOML document.
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    if text.trim().is_empty() {
        return Err(empty());
    }
    let tree = toml::Deserializer::parse(text).and_then(|toml| Tree(&Path::Root).deserialize(toml));
    meaning(tree.map_err(|error| {
        let why = error.message().trim_end();
        match error.span() {
            Some(span) => Unreadable::at(text, span.start, why),
            None => Unreadable::whole(why),
        }
    })?)
}

fn empty() -> Unreadable {
    Unreadable::whole("it is empty")
}

/// Reads the meaning of a document, which is an object: a list would be taken for the values of its keys.
fn meaning<T: DeserializeOwned>(tree: Value) -> Result<T, Unreadable> {
    if tree.is_array() {
        return Err(Unreadable::whole("it is a list, and has to be an object"));
    }
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        if path == "." { Unreadable::whole(why) } else { Unreadable { place: Place::Path(path), why } }
    })
}

/// The place of something in a document.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Reads a value of either form.
struct Tree<'a>(&'a Path<'a>);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number of 64 bits, true, false, a list or an object")
    }

    fn visit_bool<E: Error>(self, given: bool) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_i64<E: Error>(self, given: i64) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_u64<E: Error>(self, given: u64) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_str<E: Error>(self, given: &str) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_string<E: Error>(self, given: String) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Tree(&Path::Index(self.0, values.len())))? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = Path::Key(self.0, &key);
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("{path} is given twice; leave one out")));
            }
            // So TOML hands out what JSON has not.
            if key.starts_with("$__toml_private") {
                return Err(A::Error::custom("dates and times mean nothing here; quote it if it is text"));
            }
            let value = map.next_value_seed(Tree(&path))?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}
