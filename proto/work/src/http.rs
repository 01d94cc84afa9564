//! Calls of HTTP services. `work.proto` is the contract.
//!
//! A step's action or compensation is one request. A branch of two-phase commit is three: one that tries, and the two of which
//! one ends it.

mod binary;
mod check;
pub(crate) mod json;
mod result;
pub(crate) mod text;

use crate::invalid_work::InvalidWork;
use crate::reference::{Input, Place, Reference};
use crate::work::{PlaceInSaga, Work};
use bytes::Bytes;

pub use crate::template::Parameter;
pub use binary::read;
pub use result::HttpResult;
pub(crate) use result::datum;

/// The body of one request.
pub const MAX_REQUEST_BODY_BYTES: usize = 512 << 10;

/// Headers of one request.
pub const MAX_REQUEST_HEADERS: usize = 32;

/// All headers of one request, names and values.
pub const MAX_REQUEST_HEADER_BYTES: usize = 8 << 10;

/// The name by which a request that ends a branch refers to what the one that tried answered.
pub const TRY: &str = "try";

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    #[default]
    None,
    /// A JSON value as text.
    Json(String),
    Bytes(Bytes),
}

/// One request. `R`: how it refers to the results of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<R = Reference> {
    pub method: Method,
    /// Begins with `http://` or `https://`. `{NAME}` behind the host stands for a parameter.
    pub url: String,
    /// The headers beside those that every request has, each name once.
    pub headers: Vec<(String, String)>,
    /// The body, in whose JSON a string `"{NAME}"` stands for a parameter.
    pub body: Body,
    /// Values that earlier steps leave.
    pub parameters: Vec<Parameter<R>>,
}

/// The work of one step or branch.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpWork<R = Reference> {
    /// The action or the compensation of a step; of a branch the request that tries.
    pub request: Request<R>,
    /// The requests that end a branch. A step has none.
    pub ending: Option<Box<Ending<R>>>,
}

/// The requests of which one ends a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending<R = Reference> {
    pub confirm: Request<R>,
    pub cancel: Request<R>,
}

impl Method {
    pub const ALL: [Method; 5] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];

    /// Returns the method as it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    /// Returns the method of this name, in capitals or not.
    pub fn named(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name))
    }
}

impl Body {
    pub fn len_bytes(&self) -> usize {
        match self {
            Body::None => 0,
            Body::Json(text) => text.len(),
            Body::Bytes(bytes) => bytes.len(),
        }
    }
}

impl Request {
    pub fn new(method: Method, url: &str) -> Request {
        Request { method, url: url.to_owned(), headers: Vec::new(), body: Body::None, parameters: Vec::new() }
    }

    pub fn post(url: &str) -> Request {
        Request::new(Method::Post, url)
    }

    /// Adds a header. Secrets are none: the participant's configuration has them.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives a JSON body.
    #[must_use]
    pub fn json(self, value: impl Into<serde_json::Value>) -> Request {
        Request { body: Body::Json(value.into().to_string()), ..self }
    }

    /// Gives a body of any bytes; their type is the header `content-type`.
    #[must_use]
    pub fn bytes(self, body: impl Into<Bytes>) -> Request {
        Request { body: Body::Bytes(body.into()), ..self }
    }

    /// Names a value that an earlier step leaves: `{NAME}` stands for it in the URL, and `"{NAME}"` in the JSON body.
    #[must_use]
    pub fn parameter(mut self, name: &str, from: Reference) -> Request {
        self.parameters.push(Parameter { name: name.to_owned(), from });
        self
    }

    fn resolve(&self, inputs: &[&str]) -> Result<Request<Input>, InvalidWork> {
        let Request { method, url, headers, body, parameters } = self;
        let resolve = |parameter: &Parameter| parameter.map(|from| from.resolve(inputs));
        let parameters = parameters.iter().map(resolve).collect::<Result<_, InvalidWork>>()?;
        Ok(Request { method: *method, url: url.clone(), headers: headers.clone(), body: body.clone(), parameters })
    }
}

impl From<Request> for HttpWork {
    fn from(request: Request) -> Self {
        HttpWork { request, ending: None }
    }
}

impl HttpWork {
    /// Returns the work of a branch: what tries, and what confirms and what cancels that. The last two may refer to what the
    /// first answered as the results of a step [`TRY`].
    pub fn try_then(request: Request, confirm: Request, cancel: Request) -> HttpWork {
        HttpWork { request, ending: Some(Box::new(Ending { confirm, cancel })) }
    }

    /// Returns the bytes that a branch carries, or a step whose inputs are the results of these steps.
    pub(crate) fn encode_with(&self, inputs: &[&str]) -> Result<Bytes, InvalidWork> {
        let request = self.request.resolve(inputs)?;
        let ending = match &self.ending {
            None => None,
            Some(ending) => Some(Box::new(Ending {
                confirm: ending.confirm.resolve(&[TRY])?,
                cancel: ending.cancel.resolve(&[TRY])?,
            })),
        };
        let work = HttpWork { request, ending };
        check::check(&work)?;
        Ok(binary::write(&work))
    }

    pub(crate) fn referred_steps(&self) -> Vec<&str> {
        self.request.parameters.iter().map(|parameter| parameter.from.step()).collect()
    }

    /// Checks the work as the action or the compensation of a saga's step.
    pub(crate) fn check_in_saga<'a>(
        &self,
        _: PlaceInSaga,
        action_of: impl Fn(&str) -> Option<&'a Work>,
    ) -> Result<(), (usize, InvalidWork)> {
        if self.ending.is_some() {
            return Err((0, InvalidWork::EndingInSaga));
        }
        let mut parameters = self.request.parameters.iter();
        let fault = parameters.find_map(|parameter| parameter.from.fault(action_of(parameter.from.step())?));
        fault.map_or(Ok(()), |fault| Err((0, fault)))
    }

    /// Returns why this never leaves a value, as far as that is known beforehand.
    pub(crate) fn is_no_value(&self, from: &Place) -> Option<&'static str> {
        (from.operation != 0).then_some("a request has one answer, which is number 0")
    }
}

#[cfg(test)]
mod tests;
