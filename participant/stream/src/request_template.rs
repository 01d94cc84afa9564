//! A request of an HTTP service with places for facts: `http post http://127.0.0.1:9001/seats/{data.seat} {"order": "{key}"}`.
//!
//! The body is read as JSON before anything is filled in, and a place in the URL is one part of it, percent-encoded: so no event can
//! add a member to the one, nor a part to the other.

use crate::declarations::DataTemplate;
use crate::facts::{Facts, Unfit};
use crate::template::Template;
use serde_json::Value;
use std::fmt;
use undoubt_work::Work;
use undoubt_work::http::{Method, Request};

/// A request to be filled in. Without a body it brings the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTemplate {
    method: Method,
    url: Template,
    body: Option<DataTemplate>,
}

impl RequestTemplate {
    /// Reads a request behind its verb. The error says what is wrong and what would be right.
    pub(crate) fn read(text: &str) -> Result<RequestTemplate, String> {
        let (method, rest) = split(text);
        let (url, body) = split(rest);
        let methods = || Method::ALL.map(|method| method.as_str().to_ascii_lowercase()).join(", ");
        let method = Method::named(method).ok_or_else(|| {
            format!("{method:?} is no method; write http METHOD URL [JSON], with one of {}", methods())
        })?;
        let body = match body {
            "" => None,
            text => {
                let json: Value =
                    serde_json::from_str(text).map_err(|error| format!("the body is no JSON: {error}"))?;
                Some(DataTemplate::of_json(&json)?)
            }
        };
        let request = RequestTemplate { method, url: Template::read(url)?, body };
        request.sample().encode(&[]).map_err(|fault| fault.to_string())?;
        Ok(request)
    }

    pub(crate) fn fill(&self, facts: &Facts) -> Result<Work, Unfit> {
        let request = Request::new(self.method, &self.url.url(facts)?);
        Ok(match &self.body {
            Some(body) => request.json(body.value(facts)?).into(),
            None => request.into(),
        })
    }

    /// Returns it with a digit in each place, to see what it would be.
    pub(crate) fn sample(&self) -> Work {
        Request::new(self.method, &self.url.sample()).into()
    }

    pub(crate) fn needs_results(&self) -> bool {
        let body = self.body.iter().flat_map(DataTemplate::templates);
        std::iter::once(&self.url).chain(body).any(Template::needs_results)
    }
}

/// Returns the first word, and what is behind it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

impl fmt::Display for RequestTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http {} {}", self.method.as_str().to_ascii_lowercase(), self.url)?;
        self.body.iter().try_for_each(|body| write!(f, " {body}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::facts;
    use serde_json::json;
    use undoubt_work::Input;
    use undoubt_work::http::{Body, read};

    fn filled(text: &str, data: Value) -> Request<Input> {
        let work = RequestTemplate::read(text).unwrap().fill(&facts("order/1", &data)).unwrap();
        read(&work.encode(&[]).unwrap()).unwrap().request
    }

    #[test]
    fn what_is_filled_in_stays_one_value_and_one_part_of_the_url() {
        let text = r#"post http://h/seats/{data.seat}?by={key} {"seat": "{data.seat}", "n": "{data.n}", "text": "an {data.seat}", "fixed": [1, null]}"#;
        let request = filled(text, json!({"seat": "7\",\"admin\":\"../x", "n": 3}));
        assert_eq!(request.url, "http://h/seats/7%22%2C%22admin%22%3A%22..%2Fx?by=order%2F1");
        let Body::Json(body) = &request.body else { panic!("{request:?}") };
        let expected =
            json!({"seat": "7\",\"admin\":\"../x", "n": 3, "text": "an 7\",\"admin\":\"../x", "fixed": [1, null]});
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
    }

    #[test]
    fn without_a_body_it_brings_the_event() {
        assert_eq!(filled("POST http://h/hooks", json!({})).body, Body::None);
    }

    #[test]
    fn what_is_no_request_is_refused_when_it_is_read() {
        let fault = |text: &str| RequestTemplate::read(text).unwrap_err();
        assert!(fault("send http://h/a").contains("no method"));
        assert!(fault("post").contains("http://"));
        assert!(fault("post ftp://h/a").contains("http://"));
        assert!(fault("post http://{data.host}/a {").contains("JSON"));
        assert!(fault("post http://h/{nonsense}").contains("stands for nothing"));
        assert!(fault(r#"post http://h/a {"a": "{nonsense}"}"#).contains("stands for nothing"));
    }
}
