//! The limits of requests, and what they may not say.

use super::Request;
use super::{Body, HttpWork, MAX_REQUEST_BODY_BYTES, MAX_REQUEST_HEADER_BYTES, MAX_REQUEST_HEADERS};
use crate::invalid_work::InvalidWork;
use crate::template;
use std::collections::BTreeSet;
use undoubt_vocabulary::limits::MAX_URL_BYTES;

/// Headers that whoever sends the request sets, or that belong to one connection.
const RESERVED: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-connection",
];

/// Headers that hold secrets, which are kept where the participant is configured: work is stored and shown.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The prefix of this project's own headers.
const OWN_PREFIX: &str = "undoubt-";

pub(super) fn check<R>(work: &HttpWork<R>) -> Result<(), InvalidWork> {
    let HttpWork { request, ending } = work;
    check_request(request)?;
    if let Some(ending) = ending {
        check_request(&ending.confirm)?;
        check_request(&ending.cancel)?;
        if let Some(name) = placeholders(&ending.cancel.url).next() {
            let why = "the URL of a cancel needs it, and may have to be called without an answer to the try; put it into the body";
            return Err(InvalidWork::Parameter { name: name.to_owned(), why });
        }
    }
    Ok(())
}

fn check_request<R>(request: &Request<R>) -> Result<(), InvalidWork> {
    let Request { url, headers, body, parameters, .. } = request;
    check_url(url)?;
    let bytes = body.len_bytes();
    if bytes > MAX_REQUEST_BODY_BYTES {
        return Err(InvalidWork::BodyTooLong { length: bytes });
    }
    if let Body::Json(text) = body
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        return Err(InvalidWork::Unreadable { cause: format!("the JSON body is none: {error}") });
    }
    if headers.len() > MAX_REQUEST_HEADERS {
        return Err(InvalidWork::TooManyHeaders { count: headers.len() });
    }
    let length = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if length > MAX_REQUEST_HEADER_BYTES {
        return Err(InvalidWork::HeadersTooLong { length });
    }
    let mut names = BTreeSet::new();
    for (name, value) in headers {
        check_header(name, value)?;
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(InvalidWork::Header { name: name.clone(), why: "it is given twice; leave one out" });
        }
    }
    let names = template::check(parameters)?;
    match placeholders(url).find(|name| !names.contains(name)) {
        Some(name) => Err(InvalidWork::Parameter {
            name: name.to_owned(),
            why: "the URL has it in braces, and nothing says where it comes from; name it in `from`",
        }),
        None => Ok(()),
    }
}

/// Checks what every URL has to have; where it leads to, the participant looks at.
fn check_url(url: &str) -> Result<(), InvalidWork> {
    let invalid = |why| Err(InvalidWork::Url { url: crate::text::shown(url.as_bytes()), why });
    if url.len() > MAX_URL_BYTES {
        return invalid("it is too long; shorten it, or put some of it into the body");
    }
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return invalid("it begins with neither http:// nor https://; correct it");
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['\\', '"', '<', '>', '^', '`', '|', '#']) {
        return invalid("it has a character that a URL cannot have; percent-encode it, or leave it out");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return invalid("it names a user or a password; the participant's configuration has secrets");
    }
    if authority.is_empty() || authority.contains(['{', '}']) {
        return invalid("it has no host of its own; write http://HOST/PATH, and parameters behind that");
    }
    Ok(())
}

fn check_header(name: &str, value: &str) -> Result<(), InvalidWork> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let why = if name.is_empty() || !name.bytes().all(is_token) {
        "it is no name of a header; correct it"
    } else if !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t') {
        "its value has a character that a header cannot have; encode it"
    } else if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        "it holds a secret, and work is stored and shown; let the participant's configuration send it (http.headers_from)"
    } else if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        || name.to_ascii_lowercase().starts_with(OWN_PREFIX)
    {
        "whoever sends the request sets it; leave it out"
    } else {
        return Ok(());
    };
    Err(InvalidWork::Header { name: crate::text::shown(name.as_bytes()), why })
}

/// Returns the names that stand in braces.
fn placeholders(url: &str) -> impl Iterator<Item = &str> {
    url.split('{').skip(1).map(|after| after.split_once('}').map_or(after, |(name, _)| name))
}
