//! Operations on keys, as text: `add alice -10 floor=0`.

use super::{Add, Extras, KvWork, Operation};
use crate::event::text::{APPEND, EMIT};
use crate::reference::Reference;
use crate::text::{self, ABSENT, Word, to_word, words};
use bytes::Bytes;
use std::mem::discriminant;
use std::str::FromStr;

/// The grammar of pieces of work as text; part of the help.
pub const GRAMMAR: &str = "  get KEY
  put KEY VALUE
  delete KEY
  add KEY NUMBER [floor=NUMBER] [ceiling=NUMBER]     refused if the sum would cross a bound
  cas KEY expected=VALUE|absent value=VALUE|absent   sets the value if the present one is as expected

After any of them, in a saga: key-from=STEP.N appends to the key what step STEP left as its result number N (from 0).
`put KEY value-from=STEP.N` takes the value from there; `cas` takes value-from and expected-from in place of value and
expected. Before the pivot, in `do`: pend marks the key as pending until the saga ends. There, in the pivot, and anywhere in
two-phase commit: respect-pending refuses while an unfinished saga has marked the key.

Keys and values are text, \"quoted\" where they hold white space or stand for a word like absent (with JSON's escapes),
or bytes in hexadecimal: 0x6b6579.";

/// Reads one operation. The error says what is wrong and what would be right.
impl FromStr for KvWork {
    type Err = String;

    fn from_str(text: &str) -> Result<KvWork, String> {
        let mut words = words(text).map_err(|why| format!("{text:?}: {why}"))?;
        let mut extras = Vec::new();
        while let Some(extra) = words.last().and_then(Extra::read) {
            let extra = extra.map_err(|why| format!("{text:?}: {why}"))?;
            if extras.iter().any(|given| discriminant(given) == discriminant(&extra)) {
                return Err(format!("{text:?}: {} is given twice; leave one out", extra.name()));
            }
            extras.push(extra);
            words.pop();
        }
        let operation = parse(text, &words, &extras)?;
        Ok(extras.into_iter().rev().fold(KvWork::new().operation(operation), |work, extra| extra.apply(work)))
    }
}

/// The extras of an operation.
#[derive(Debug)]
enum Extra {
    Pend,
    RespectPending,
    KeyFrom(Reference),
    ValueFrom(Reference),
    ExpectedFrom(Reference),
}

impl Extra {
    /// Returns an extra; `None` if the word is none.
    fn read(word: &Word) -> Option<Result<Extra, String>> {
        match word.named() {
            Some(("key-from", from)) => Some(reference(&from).map(Extra::KeyFrom)),
            Some(("value-from", from)) => Some(reference(&from).map(Extra::ValueFrom)),
            Some(("expected-from", from)) => Some(reference(&from).map(Extra::ExpectedFrom)),
            Some(_) => None,
            None => match word.bare().as_deref() {
                Some("pend") => Some(Ok(Extra::Pend)),
                Some("respect-pending") => Some(Ok(Extra::RespectPending)),
                Some(_) | None => None,
            },
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Extra::Pend => "pend",
            Extra::RespectPending => "respect-pending",
            Extra::KeyFrom(_) => "key-from",
            Extra::ValueFrom(_) => "value-from",
            Extra::ExpectedFrom(_) => "expected-from",
        }
    }

    fn apply(self, work: KvWork) -> KvWork {
        match self {
            Extra::Pend => work.pend(),
            Extra::RespectPending => work.respect_pending(),
            Extra::KeyFrom(from) => work.key_suffix_from(from),
            Extra::ValueFrom(from) => work.value_from(from),
            Extra::ExpectedFrom(from) => work.expected_from(from),
        }
    }
}

fn reference(word: &Word) -> Result<Reference, String> {
    word.bare().unwrap_or_default().parse()
}

/// Those of calls and events among them, for whoever misspells one.
const VERBS: [&str; 8] = ["get", "put", "delete", "add", "cas", crate::call::text::VERB, EMIT, APPEND];

fn parse(text: &str, words: &[Word], extras: &[Extra]) -> Result<Operation, String> {
    let wrong = |why: String| format!("{text:?} is no operation: {why}");
    let Some((verb, arguments)) = words.split_first() else {
        return Err(wrong("it is empty; write one like \"add alice -10 floor=0\"".to_owned()));
    };
    let parsed = match (verb.bare().as_deref(), arguments) {
        (Some("get"), [key]) => key.bytes().map(|key| Operation::Get { key }),
        (Some("put"), [key, value]) => put(key, value),
        (Some("put"), [key]) if extras.iter().any(|extra| matches!(extra, Extra::ValueFrom(_))) => {
            key.bytes().map(|key| Operation::Put { key, value: Bytes::new() })
        }
        (Some("delete"), [key]) => key.bytes().map(|key| Operation::Delete { key }),
        (Some("add"), [key, delta, bounds @ ..]) => add(key, delta, bounds),
        (Some("cas"), [key, conditions @ ..]) => compare_and_set(key, conditions, extras),
        (Some(verb @ ("get" | "put" | "delete" | "add")), _) => {
            Err(format!("{verb} has {} arguments; write it as one of\n{GRAMMAR}", arguments.len()))
        }
        (Some(verb), _) => {
            let meant = VERBS.into_iter().find(|known| strsim::damerau_levenshtein(known, verb) <= 1 + known.len() / 4);
            let meant = meant.map(|known| format!("did you mean {known:?}? Else ")).unwrap_or_default();
            Err(format!("{meant}write it as one of\n{GRAMMAR}"))
        }
        (None, _) => Err(format!("write it as one of\n{GRAMMAR}")),
    };
    parsed.map_err(wrong)
}

fn put(key: &Word, value: &Word) -> Result<Operation, String> {
    Ok(Operation::Put { key: key.bytes()?, value: value.bytes()? })
}

fn add(key: &Word, delta: &Word, bounds: &[Word]) -> Result<Operation, String> {
    let mut add = Add::of(number("the number to add", delta)?);
    for bound in bounds {
        let slot = match bound.named() {
            Some(("floor", value)) => (&mut add.floor, "floor", value),
            Some(("ceiling", value)) => (&mut add.ceiling, "ceiling", value),
            Some(_) | None => return Err("after the number there may be floor=NUMBER and ceiling=NUMBER".to_owned()),
        };
        let (slot, name, value) = slot;
        if slot.replace(number(name, &value)?).is_some() {
            return Err(format!("{name} is given twice; leave one out"));
        }
    }
    Ok(Operation::Add { key: key.bytes()?, add })
}

fn number(what: &str, word: &Word) -> Result<i64, String> {
    let text = word.bare().ok_or_else(|| format!("{what} is quoted; leave the quotes out"))?;
    text.parse().map_err(|_| format!("{what} is {text}, which is no whole number of 64 bits"))
}

fn compare_and_set(key: &Word, conditions: &[Word], extras: &[Extra]) -> Result<Operation, String> {
    let usage = "both expected= and value= have to be given, each with a value or the word absent";
    let (mut expected, mut value) = (None, None);
    for condition in conditions {
        let (slot, given) = match condition.named() {
            Some(("expected", given)) => (&mut expected, given),
            Some(("value", given)) => (&mut value, given),
            Some(_) | None => return Err(usage.to_owned()),
        };
        let given = if given.bare().as_deref() == Some(ABSENT) { None } else { Some(given.bytes()?) };
        if slot.replace(given).is_some() {
            return Err(usage.to_owned());
        }
    }
    // A value that is taken from elsewhere is not given.
    if extras.iter().any(|extra| matches!(extra, Extra::ExpectedFrom(_))) {
        expected.get_or_insert(None);
    }
    if extras.iter().any(|extra| matches!(extra, Extra::ValueFrom(_))) {
        value.get_or_insert(None);
    }
    match (expected, value) {
        (Some(expected), Some(value)) => Ok(Operation::CompareAndSet { key: key.bytes()?, expected, value }),
        (_, _) => Err(usage.to_owned()),
    }
}

fn to_text(operation: &Operation, extras: &Extras) -> String {
    let optional = |name: &str, value: &Option<Bytes>, from: &Option<Reference>| match (value, from) {
        (None, Some(_)) => String::new(),
        (value, _) => format!(" {name}={}", value.as_ref().map_or_else(|| ABSENT.to_owned(), word)),
    };
    match operation {
        Operation::Get { key } => format!("get {}", word(key)),
        Operation::Put { key, value } if value.is_empty() && extras.value_from.is_some() => {
            format!("put {}", word(key))
        }
        Operation::Put { key, value } => format!("put {} {}", word(key), word(value)),
        Operation::Delete { key } => format!("delete {}", word(key)),
        Operation::Add { key, add: Add { delta, floor, ceiling } } => {
            let bound = |name, bound: &Option<i64>| bound.map_or_else(String::new, |bound| format!(" {name}={bound}"));
            format!("add {} {delta}{}{}", word(key), bound("floor", floor), bound("ceiling", ceiling))
        }
        Operation::CompareAndSet { key, expected, value } => {
            let expected = optional("expected", expected, &extras.expected_from);
            format!("cas {}{expected}{}", word(key), optional("value", value, &extras.value_from))
        }
    }
}

fn extras_text(extras: &Extras) -> String {
    let Extras { key_suffix_from, value_from, expected_from, pend, respect_pending, value_in_branch: _ } = extras;
    let references = [("key-from", key_suffix_from), ("value-from", value_from), ("expected-from", expected_from)];
    let references = references.into_iter().filter_map(|(name, from)| from.as_ref().map(|from| (name, from)));
    let references = references.map(|(name, from)| format!(" {name}={from}"));
    let flags = [("pend", *pend), ("respect-pending", *respect_pending)];
    let flags = flags.into_iter().filter(|(_, given)| *given).map(|(name, _)| format!(" {name}"));
    references.chain(flags).collect()
}

impl KvWork {
    /// Returns each operation as text that can be read back, and then each event.
    pub fn texts(&self) -> Vec<String> {
        let pairs = self.operations.iter().zip(&self.extras);
        let operations = pairs.map(|(operation, extras)| to_text(operation, extras) + &extras_text(extras));
        operations.chain(self.events.texts()).collect()
    }

    /// Returns the value that the operation at this place brings along and leaves: branches do not tell it again.
    pub(crate) fn brought(&self, at: usize) -> Option<String> {
        let (operation, extras) = (self.operations.get(at)?, self.extras.get(at)?);
        let value = match operation {
            // Steps of sagas tell theirs.
            Operation::Put { value, .. } => extras.value_in_branch.as_ref().or(Some(value)),
            Operation::CompareAndSet { value, .. } => value.as_ref(),
            Operation::Get { .. } | Operation::Delete { .. } | Operation::Add { .. } => None,
        };
        value.filter(|_| extras.value_from.is_none()).map(|value| text::to_string(value))
    }
}

/// Returns a key or a value, quoted where it would be taken for more than that.
fn word(bytes: &Bytes) -> String {
    let word = to_word(bytes);
    let more = words(&word).is_ok_and(|read| read.iter().any(|word| Extra::read(word).is_some()));
    if more { serde_json::Value::from(word).to_string() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Operation, String> {
        text.parse::<KvWork>().map(|work| work.operations()[0].clone())
    }

    #[test]
    fn a_verb_that_is_misspelt_is_guessed_and_one_that_is_like_none_is_not() {
        assert!(parse("ad alice 3").unwrap_err().contains("did you mean \"add\"?"));
        assert!(parse("delet x").unwrap_err().contains("did you mean \"delete\"?"));
        assert!(!parse("increment x 3").unwrap_err().contains("did you mean"));
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            "[a-z0-9:/=]{1,8}".prop_map(Bytes::from),
            any::<String>().prop_map(Bytes::from),
            "absent|(respect-)?pend(ing)?|(key|value|expected)-from=(a\\.0)?".prop_map(Bytes::from),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from),
        ]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let optional = || proptest::option::of(bytes());
        prop_oneof![
            bytes().prop_map(|key| Operation::Get { key }),
            (bytes(), bytes()).prop_map(|(key, value)| Operation::Put { key, value }),
            bytes().prop_map(|key| Operation::Delete { key }),
            (bytes(), any::<i64>(), any::<Option<i64>>(), any::<Option<i64>>())
                .prop_map(|(key, delta, floor, ceiling)| Operation::Add { key, add: Add { delta, floor, ceiling } }),
            (bytes(), optional(), optional()).prop_map(|(key, expected, value)| Operation::CompareAndSet {
                key,
                expected,
                value
            }),
        ]
    }

    fn extras() -> impl Strategy<Value = Vec<Extra>> {
        let reference = || ("[a-zA-Z0-9._-]{1,8}", any::<u32>()).prop_map(|(step, at)| Reference::to(&step, at));
        let extra = prop_oneof![
            Just(()).prop_map(|()| Extra::Pend),
            Just(()).prop_map(|()| Extra::RespectPending),
            reference().prop_map(Extra::KeyFrom),
            reference().prop_map(Extra::ValueFrom),
            reference().prop_map(Extra::ExpectedFrom),
        ];
        proptest::collection::vec(extra, 0..5)
    }

    proptest! {
        #[test]
        fn an_operation_survives_being_written_as_text(operation in operation(), extras in extras()) {
            let work = extras.into_iter().fold(KvWork::new().operation(operation), |work, extra| extra.apply(work));
            prop_assert_eq!(work.texts()[0].parse::<KvWork>(), Ok(work));
        }

        #[test]
        fn reading_any_text_never_panics(text in any::<String>(), verb in "get|put|delete|add|cas") {
            let _ = parse(&text);
            let _ = parse(&format!("{verb} {text}"));
            let _ = parse(&format!("cas k expected={text} value={text}"));
        }
    }

    #[test]
    fn bounds_may_come_in_any_order_but_once() {
        let add = Operation::Add { key: "alice".into(), add: Add::of(-10).floor(0).ceiling(9) };
        assert_eq!(parse("add alice -10 floor=0 ceiling=9"), Ok(add.clone()));
        assert_eq!(parse("  add alice -10 ceiling=9 floor=0 "), Ok(add));
        assert!(parse("add alice -10 floor=0 floor=1").unwrap_err().contains("twice"));
    }

    #[test]
    fn what_an_operation_has_besides_itself_comes_last() {
        let read = |text: &str| text.parse::<KvWork>();
        let put = KvWork::new().put("seat/", "").key_suffix_from(Reference::to("flight", 0));
        assert_eq!(read("put seat/ \"\" key-from=flight.0"), Ok(put.clone()));
        assert_eq!(read("put seat/ \"\" key-from=flight.0 pend"), Ok(put.clone().pend()));
        assert_eq!(read("get x respect-pending"), Ok(KvWork::new().get("x").respect_pending()));
        assert_eq!(read("put x \"pend\""), Ok(KvWork::new().put("x", "pend")));
        assert_eq!(put.pend().texts(), ["put seat/ \"\" key-from=flight.0 pend"]);
        let taken = KvWork::new().put("x", "").value_from(Reference::to("a", 1));
        assert_eq!(read("put x value-from=a.1"), Ok(taken.clone()));
        assert_eq!(taken.texts(), ["put x value-from=a.1"]);
        let cas = KvWork::new().compare_and_set("x", None, Some("1".into())).expected_from(Reference::to("a", 0));
        assert_eq!(read("cas x value=1 expected-from=a.0"), Ok(cas.clone()));
        assert_eq!(cas.texts(), ["cas x value=1 expected-from=a.0"]);
        assert!(read("put x pend").unwrap_err().contains("arguments"));
        assert!(read("get x key-from=flight").unwrap_err().contains("STEP.N"));
        assert!(read("get x key-from=a.0 key-from=b.0").unwrap_err().contains("key-from is given twice"));
    }

    #[test]
    fn absent_is_a_word_and_quoted_a_value() {
        let cas = |expected: Option<&'static str>, value: Option<&'static str>| Operation::CompareAndSet {
            key: "k".into(),
            expected: expected.map(Bytes::from),
            value: value.map(Bytes::from),
        };
        assert_eq!(parse("cas k expected=absent value=\"absent\""), Ok(cas(None, Some("absent"))));
        assert_eq!(parse("cas k value=absent expected=1"), Ok(cas(Some("1"), None)));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for wrong in ["", "get", "get a b", "put a", "frobnicate a", "\"get\" a", "cas k", "add"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains("write") || error.contains("given"), "{wrong}: {error}");
        }
        assert!(parse("add a ten").unwrap_err().contains("no whole number"));
        assert!(parse("add a 9223372036854775808").unwrap_err().contains("64 bits"));
        assert!(parse("add a 1 roof=3").unwrap_err().contains("ceiling=NUMBER"));
        assert!(parse("cas k expected=1 expected=2").unwrap_err().contains("value="));
    }
}
