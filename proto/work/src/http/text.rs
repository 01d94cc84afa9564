//! Requests as text: `http post http://127.0.0.1:9001/seats {"seat": 7}`.

use super::json::unknown_method;
use super::{Body, HttpWork, Method, Request};
use crate::text::to_string;

/// The verb with which a request begins.
pub(crate) const VERB: &str = "http";

/// The grammar of requests as text; part of the help.
pub const GRAMMAR: &str = "  http METHOD URL [JSON]

Calls a service: METHOD is get, post, put, patch or delete; all behind the URL is its body. Headers, other bodies and parameters
from earlier steps need the form as an object.";

/// Reads a request behind its verb.
pub(crate) fn parse(text: &str) -> Result<HttpWork, String> {
    let wrong = |why: String| format!("{text:?} is no request: {why}");
    let (_, rest) = split(text);
    let (method, rest) = split(rest);
    let (url, body) = split(rest);
    if url.is_empty() {
        return Err(wrong(format!("write it as\n{GRAMMAR}")));
    }
    let method = Method::named(method).ok_or_else(|| wrong(unknown_method(method)))?;
    let request = Request::new(method, url);
    if body.is_empty() {
        return Ok(request.into());
    }
    let json: serde_json::Value =
        serde_json::from_str(body).map_err(|error| wrong(format!("the body is no JSON ({error}); correct it")))?;
    Ok(request.json(json).into())
}

/// Returns the first word, and what is behind it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

impl HttpWork {
    /// Returns it as text for people, on one line. Headers and parameters are left out.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{VERB} {}", shown(&self.request));
        if let Some(ending) = &self.ending {
            text.push_str(&format!(", confirm {}, cancel {}", shown(&ending.confirm), shown(&ending.cancel)));
        }
        text
    }
}

fn shown(Request { method, url, body, .. }: &Request) -> String {
    let line = format!("{} {url}", method.as_str().to_ascii_lowercase());
    match body {
        Body::None => line,
        Body::Json(json) => format!("{line} {json}"),
        Body::Bytes(bytes) => format!("{line} {}", to_string(bytes).escape_debug()),
    }
}
