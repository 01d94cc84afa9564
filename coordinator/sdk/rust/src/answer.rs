use std::borrow::Cow;

use serde::Serialize;

use crate::Operation;

const PROBLEM: &str = "application/problem+json";
/// Statuses of 4xx that are no refusal for good.
const NOT_NOW: [u16; 4] = [408, 423, 425, 429];
const ASK_AGAIN_AFTER_S: u32 = 1;

/// What a service answers to a call: a status, a content type, a body.
///
/// An answer of 2xx is done: what the handler changed is committed with it. Any other is not, and its changes are rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The content type; `None` where there is no body, or it has none.
    pub content_type: Option<Cow<'static, str>>,
    /// The body.
    pub body: Vec<u8>,
    /// The seconds after which to ask again, for the header `Retry-After`.
    pub retry_after_s: Option<u32>,
}

impl Answer {
    /// Returns an answer with a text, or without a body where the text is empty.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        let body = text.into().into_bytes();
        let content_type = (!body.is_empty()).then_some(Cow::Borrowed("text/plain; charset=utf-8"));
        Self { status, content_type, body, retry_after_s: None }
    }

    /// Returns 200 without a body: it is done, and there is nothing to say.
    pub fn done() -> Self {
        Self::new(200, "")
    }

    /// Returns 200 with a result, which is the step's: later steps of a saga may take members of it.
    ///
    /// # Errors
    ///
    /// Where the value has no form in JSON, such as a map whose keys are no texts.
    pub fn json(result: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(result)?;
        Ok(Self { body, content_type: Some(Cow::Borrowed("application/json")), ..Self::done() })
    }

    /// Returns the answer of a service that does not do such an operation here.
    pub fn not_done_here(operation: Operation) -> Self {
        let detail = format!("{operation} is nothing that is done here: the saga names the wrong URL for it");
        unreadable("UNKNOWN_OPERATION", &detail)
    }

    /// Returns whether it says that what was asked for is done.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether it says: never.
    pub fn is_refusal(&self) -> bool {
        (400..500).contains(&self.status) && !NOT_NOW.contains(&self.status)
    }
}

/// An answer of the barrier's own. The order of the members is the order in which they are written.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
}

fn problem(status: u16, code: &str, title: &str, detail: &str) -> Answer {
    let told = Problem { r#type: format!("urn:undoubt:problem:{code}"), title, status, code, detail };
    // Five texts and a number always have a form in JSON.
    let body = serde_json::to_vec(&told).unwrap_or_default();
    Answer { status, content_type: Some(Cow::Borrowed(PROBLEM)), body, retry_after_s: None }
}

pub(crate) fn refused(why: &str) -> Answer {
    problem(409, "REFUSED", "The service refuses this, for good.", why)
}

pub(crate) fn in_progress(why: &str) -> Answer {
    let answer = problem(425, "IN_PROGRESS", "Not now. Ask again.", why);
    Answer { retry_after_s: Some(ASK_AGAIN_AFTER_S), ..answer }
}

pub(crate) fn late() -> Answer {
    let detail = "what was undone stays so: the compensation of this effect came before";
    problem(409, "LATE", "It came too late.", detail)
}

pub(crate) fn never_tried() -> Answer {
    let detail = "nothing is held for it: no try of this effect was answered with success";
    problem(409, "NEVER_TRIED", "It was never tried.", detail)
}

pub(crate) fn not_committed() -> Answer {
    let detail = "no transaction of this service's own was committed under it, and none will be";
    problem(409, "NOT_COMMITTED", "It was not committed.", detail)
}

pub(crate) fn unreadable(code: &str, detail: &str) -> Answer {
    problem(400, code, "The request does not say what is to be done.", detail)
}

pub(crate) fn failed(detail: &str) -> Answer {
    problem(500, "INTERNAL", "The service failed.", detail)
}
