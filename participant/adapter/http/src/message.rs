//! Requests as they are sent: with the parameters filled in.

use crate::address::{Address, encoded};
use crate::allowed::Allowed;
use bytes::Bytes;
use undoubt_vocabulary::limits::MAX_STEP_INPUT_BYTES;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::http::{Body, Method, Request};
use undoubt_work::template::{Parameters, Unfilled, filled_in};
use undoubt_work::{Datum, Input, Inputs};

/// A request that may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub method: Method,
    pub address: Address,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub is_json: bool,
}

impl Message {
    /// Fills in a request's parameters from these results, of which an empty one is not known: a step that is undone without ever
    /// having been answered left none. In JSON that is null; a URL cannot do without.
    pub fn new(request: Request<Input>, results: &[Bytes], allowed: &Allowed) -> Result<Message, Refusal> {
        let Request { method, url, headers, body, parameters } = request;
        let mut inputs = Inputs::of_step(results);
        let mut values = Parameters::new();
        for parameter in parameters {
            let is_unknown = results.get(parameter.from.input as usize).is_some_and(Bytes::is_empty);
            let value = if is_unknown { None } else { Some(inputs.datum(&parameter.from)?) };
            values.insert(parameter.name, value);
        }
        let url = url_of(&url, &values)?;
        let address =
            Address::read(&url).map_err(|bad| invalid(format!("the URL cannot be called: {bad}; correct it")))?;
        if !allowed.allows(&address) {
            return Err(invalid(format!(
                "requests to {address} are not allowed by this participant; name a URL under one that is, or have it added to \
                 its setting http.allow"
            )));
        }
        let (body, is_json) = match body {
            Body::None => (Bytes::new(), false),
            Body::Bytes(bytes) => (bytes, false),
            Body::Json(text) if values.is_empty() => (text.into(), true),
            Body::Json(text) => {
                let filled = filled_in(&text, &values, MAX_STEP_INPUT_BYTES).map_err(|why| match why {
                    Unfilled::NoJson(_) => invalid(format!("the body: {why}")),
                    Unfilled::TooLong { .. } => Refusal::new(RefusalCode::TooLarge, format!("the body: {why}")),
                })?;
                (filled.into(), true)
            }
        };
        Ok(Message { method, address, headers, body, is_json })
    }
}

fn url_of(url: &str, values: &Parameters) -> Result<String, Refusal> {
    let mut parts = url.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        let value = values.get(name).and_then(Option::as_ref).and_then(Datum::to_text);
        let value = value.ok_or_else(|| {
            invalid(format!(
                "the URL needs {name}, which has no value; let the service find the step by its transaction and step, or put it into \
                 the body"
            ))
        })?;
        out.push_str(&encoded(&value));
        out.push_str(rest);
    }
    Ok(out)
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidWork, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_work::http::{HttpResult, read};
    use undoubt_work::{Reference, Results, Work};

    fn message(request: Request, results: &[Bytes]) -> Result<Message, Refusal> {
        let allowed = Allowed::read(&["http://h/a".to_owned()], &[]).unwrap();
        let work = Work::from(request).encode(&["one"]).unwrap();
        Message::new(read(&work).unwrap().request, results, &allowed)
    }

    fn answer(json: &str) -> [Bytes; 1] {
        let body = Bytes::copy_from_slice(json.as_bytes());
        [Results::encode_answer(&HttpResult { status: 200, body, is_json: true })]
    }

    #[test]
    fn parameters_are_filled_in_with_their_types() {
        let body = serde_json::json!({"id": "{id}", "why": "{why}", "all": ["{list}", "{other}"], "text": "an {id}"});
        let from = |member| Reference::to_column("one", 0, member);
        let request = Request::post("http://h/a/{why}?id={id}").json(body);
        let request = request.parameter("id", from("id")).parameter("why", from("why")).parameter("list", from("o"));
        let made = message(request, &answer(r#"{"id": 17, "why": "a/b ../", "o": {"x": [1]}}"#)).unwrap();
        assert_eq!(made.address.path_and_query(), "/a/a%2Fb%20..%2F?id=17".to_owned());
        assert_eq!(made.body, r#"{"all":[{"x":[1]},"{other}"],"id":17,"text":"an {id}","why":"a/b ../"}"#);
    }

    #[test]
    fn what_is_filled_in_leads_nowhere_else() {
        let request = || Request::post("http://h/a/{id}/x").parameter("id", Reference::to_column("one", 0, "id"));
        for id in ["..", ".", "../../b", "%2e%2e"] {
            let refused = message(request(), &answer(&serde_json::json!({ "id": id }).to_string()));
            assert_eq!(refused.unwrap_err().code, RefusalCode::InvalidWork, "{id}");
        }
        let elsewhere = message(Request::post("http://h/b"), &[]).unwrap_err();
        assert!(elsewhere.detail.contains("http.allow"), "{elsewhere}");
    }

    #[test]
    fn what_was_never_answered_is_null_in_json_and_missing_in_a_url() {
        let from = Reference::to_column("one", 0, "id");
        let request = Request::post("http://h/a").json(serde_json::json!({"id": "{id}"})).parameter("id", from.clone());
        assert_eq!(message(request, &[Bytes::new()]).unwrap().body, r#"{"id":null}"#);
        let refused = message(Request::post("http://h/a/{id}").parameter("id", from), &[Bytes::new()]).unwrap_err();
        assert!(refused.detail.contains("by its transaction and step"), "{refused}");
    }

    #[test]
    fn a_body_is_not_filled_in_beyond_what_steps_are_given() {
        let answer = answer(&serde_json::json!({ "id": "x".repeat(1 << 20) }).to_string());
        let body = |times| {
            let request = Request::post("http://h/a").json(vec!["{id}"; times]);
            message(request.parameter("id", Reference::to_column("one", 0, "id")), &answer)
        };
        assert!(body(2).is_ok());
        assert_eq!(body(3).unwrap_err().code, RefusalCode::TooLarge);
    }
}
