//! Requests as JSON objects: `{"http": {"url": "http://127.0.0.1:9001/seats", "json": {"seat": 7}}}`.

use super::{Body, Ending, HttpWork, Method, Parameter, Request};
use crate::text::from_string;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The forms of requests as objects; part of the help.
pub const OBJECTS: &str = r#"  {"http": {"method": "POST", "url": U, "headers": {NAME: VALUE}, "json": ANY, "from": {NAME: "STEP.0.MEMBER"}}}
  {"try": REQUEST, "confirm": REQUEST, "cancel": REQUEST}             a branch of two-phase commit

REQUEST is what stands behind "http". The method is POST if none is given; "body" in place of "json" is text, or bytes in
hexadecimal. {NAME} in the URL and "{NAME}" in the JSON stand for what `from` says: a member of the JSON that an earlier step was
answered; of a confirm and a cancel, "try.0.MEMBER"."#;

/// The members that make an object a request, or three.
pub(crate) const MEMBERS: [&str; 2] = ["http", "try"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Structured {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    body: Option<String>,
    #[serde(default)]
    from: BTreeMap<String, String>,
}

/// Reads an object that has one of the [members](MEMBERS).
pub(crate) fn work(mut object: Map<String, Value>) -> Result<HttpWork, String> {
    let mut take = |name: &str| object.remove(name);
    let read = match (take("http"), take("try"), take("confirm"), take("cancel")) {
        (Some(one), None, None, None) => Ok(request("http", one)?.into()),
        (None, Some(tried), Some(confirm), Some(cancel)) => {
            let ending = Ending { confirm: request("confirm", confirm)?, cancel: request("cancel", cancel)? };
            Ok(HttpWork { request: request("try", tried)?, ending: Some(Box::new(ending)) })
        }
        _ => Err(format!("a request stands alone, or there are a try, a confirm and a cancel; write it as\n{OBJECTS}")),
    };
    match object.keys().next() {
        Some(other) => Err(format!("{other} is no part of a request; write it as\n{OBJECTS}")),
        None => read,
    }
}

fn request(place: &str, value: Value) -> Result<Request, String> {
    let structured =
        Structured::deserialize(value).map_err(|error| format!("{place}: {error}; write it as\n{OBJECTS}"))?;
    let Structured { method, url, headers, json, body, from } = structured;
    let method = match method {
        None => Method::Post,
        Some(name) => Method::named(&name).ok_or_else(|| unknown_method(&name))?,
    };
    let body = match (json, body) {
        (None, None) => Body::None,
        (Some(value), None) => Body::Json(value.to_string()),
        (None, Some(text)) => Body::Bytes(from_string(&text)?),
        (Some(_), Some(_)) => return Err(format!("{place}: json and body stand for the same thing; leave one out")),
    };
    let parameter = |(name, from): (String, String)| Ok(Parameter { name, from: from.parse()? });
    let parameters = from.into_iter().map(parameter).collect::<Result<_, String>>()?;
    Ok(Request { method, url, headers: headers.into_iter().collect(), body, parameters })
}

pub(super) fn unknown_method(name: &str) -> String {
    let known = Method::ALL.map(Method::as_str).join(", ");
    format!("{name:?} is no method that is sent; give one of {known}")
}
