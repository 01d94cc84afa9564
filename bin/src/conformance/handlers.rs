//! What a service is asked, as whoever checks it gives it: a method, a path, perhaps a JSON body, with `{n}` for the thing that a case is about,
//! and `{do.MEMBER}` for a member of what the action answered.

use serde_json::Value;
use std::str::FromStr;
use undoubt_client::work::http::Method;

/// A request with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    method: Method,
    path: String,
    /// JSON, once the thing's name is filled in.
    body: Option<String>,
}

/// A text that is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    #[error("{0:?} is no request; write METHOD PATH [JSON], like: post /seats {{\"seat\": \"{{n}}\"}}")]
    Form(String),
    #[error("{0:?} is no method of HTTP; give get, post, put, patch or delete")]
    Method(String),
    #[error("the path {0:?} does not begin with a slash; leave out what stands in the service's URL")]
    Path(String),
    #[error("the body of {text:?} is no JSON ({error}); correct it")]
    Body { text: String, error: String },
    #[error(
        "{0:?} is no URL of a service that can be checked; write http://HOST:PORT, or with a path that all requests begin with"
    )]
    Base(String),
}

/// A request without places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<String>,
}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = |text: &str| match text.trim().split_once(char::is_whitespace) {
            Some((word, rest)) => (word.to_owned(), rest.trim().to_owned()),
            None => (text.trim().to_owned(), String::new()),
        };
        let (method, rest) = words(text);
        let (path, body) = words(&rest);
        if path.is_empty() {
            return Err(BadTemplate::Form(text.to_owned()));
        }
        let method = Method::named(&method).ok_or(BadTemplate::Method(method))?;
        if !path.starts_with('/') {
            return Err(BadTemplate::Path(path));
        }
        let template = Template { method, path, body: (!body.is_empty()).then_some(body) };
        match template.json("1") {
            Some(Err(error)) => Err(BadTemplate::Body { text: text.to_owned(), error: error.to_string() }),
            Some(Ok(_)) | None => Ok(template),
        }
    }
}

impl Template {
    fn json(&self, thing: &str) -> Option<serde_json::Result<Value>> {
        Some(serde_json::from_str(&self.body.as_ref()?.replace("{n}", thing)))
    }

    /// Fills in the thing, and what the action answered; `None` if the path needs what that did not answer.
    pub(super) fn fill(&self, thing: &str, answer: Option<&Value>) -> Option<Filled> {
        let mut path = String::new();
        let with_thing = self.path.replace("{n}", thing);
        let mut parts = with_thing.split("{do.");
        path.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (member, rest) = part.split_once('}')?;
            let value = self::member(answer?, member)?;
            path.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            path.push_str(rest);
        }
        let body = match self.json(thing) {
            None => None,
            // It was read before with another name in it.
            Some(json) => Some(filled(json.ok()?, answer).to_string()),
        };
        Some(Filled { method: self.method, path, body })
    }
}

/// Returns the member at a path like `booking.id`.
fn member<'a>(answer: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(answer, |value, name| value.get(name))
}

/// Puts the action's answer in the place of strings `"{do.MEMBER}"`; null where it is not known, as a participant does.
fn filled(json: Value, answer: Option<&Value>) -> Value {
    match json {
        Value::String(text) => match text.strip_prefix("{do.").and_then(|rest| rest.strip_suffix('}')) {
            Some(path) => answer.and_then(|answer| member(answer, path)).cloned().unwrap_or(Value::Null),
            None => Value::String(text),
        },
        Value::Array(all) => all.into_iter().map(|one| filled(one, answer)).collect(),
        Value::Object(all) => all.into_iter().map(|(name, one)| (name, filled(one, answer))).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

/// The kind of work that the handlers are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// A step of a saga: action, compensation, completion.
    #[default]
    Saga,
    /// A branch of two-phase commit: try, cancel, confirm.
    Tcc,
}

/// The requests that a service is tried with.
#[derive(Clone, Debug)]
pub struct Handlers {
    pub pattern: Pattern,
    /// The action, or the try.
    pub act: Template,
    /// The compensation, or the cancel.
    pub undo: Option<Template>,
    /// The completion, or the confirm.
    pub finish: Option<Template>,
    /// An action that the service refuses, whatever was done before.
    pub refused: Option<Template>,
    /// The question whether a transaction of the service's own was done that never was begun.
    pub ask: Option<Template>,
    /// A request that shows how the thing stands.
    pub look: Option<Template>,
}

/// The URL that all requests begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The host, and the port if it is not 80.
    pub(super) authority: String,
    /// Empty, or a path without a slash at its end.
    pub(super) path: String,
}

impl FromStr for Base {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadTemplate::Base(text.to_owned());
        let address = undoubt_http::address::Address::read(text).map_err(|_| bad())?;
        if address.origin.is_encrypted || address.query.is_some() {
            return Err(bad());
        }
        let authority = address.origin.to_string();
        let authority = authority.strip_prefix("http://").ok_or_else(bad)?.to_owned();
        Ok(Base { authority, path: address.path.trim_end_matches('/').to_owned() })
    }
}

impl Base {
    /// Returns what is connected to.
    pub(super) fn connects_to(&self) -> String {
        let has_port = self.authority.rsplit(']').next().is_some_and(|behind| behind.contains(':'));
        if has_port { self.authority.clone() } else { format!("{}:80", self.authority) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_thing_and_what_the_action_answered_are_filled_in() {
        let template: Template =
            r#"post /a/{n}/{do.b.id} {"n": {n}, "all": ["{n}", "{do.b.id}", "{do.none}"]}"#.parse().unwrap();
        let filled = template.fill("17", Some(&json!({"b": {"id": 5}}))).unwrap();
        assert_eq!((filled.method, filled.path.as_str()), (Method::Post, "/a/17/5"));
        let body: Value = serde_json::from_str(&filled.body.unwrap()).unwrap();
        assert_eq!(body, json!({"n": 17, "all": ["17", 5, null]}));
        assert_eq!(template.fill("17", None), None, "the path cannot do without");
    }

    #[test]
    fn what_is_no_request_says_what_one_is() {
        for (text, says) in [
            ("", "METHOD PATH"),
            ("post", "METHOD PATH"),
            ("fetch /a", "get, post"),
            ("post a", "slash"),
            ("post /a {", "no JSON"),
        ] {
            let told = text.parse::<Template>().unwrap_err().to_string();
            assert!(told.contains(says), "{text:?}: {told}");
        }
        for text in ["", "https://a", "http://a?b", "a:80"] {
            text.parse::<Base>().unwrap_err();
        }
        let base: Base = "http://127.0.0.1:9001/api/".parse().unwrap();
        assert_eq!((base.connects_to().as_str(), base.path.as_str()), ("127.0.0.1:9001", "/api"));
        assert_eq!("http://localhost".parse::<Base>().unwrap().connects_to(), "localhost:80");
    }
}
