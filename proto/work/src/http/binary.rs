//! Requests as `undoubt.work.v1.Work`.

use super::{Body, Ending, HttpWork, Method, Parameter, Request, check};
use crate::invalid_work::InvalidWork;
use crate::kinds::{HTTP, refused};
use crate::reference::Input;
use crate::wire::{Field, Fields, Writer, once};
use bytes::Bytes;

/// Reads the requests of work of which a resource does no other kind, and holds them to their limits.
///
/// # Errors
/// At the first thing that is wrong or not known.
pub fn read(work: &Bytes) -> Result<HttpWork<Input>, InvalidWork> {
    let (mut fields, mut found) = (Fields::of(work), None);
    while let Some(field) = fields.next()? {
        match field.number {
            HTTP => once(&mut found, requests(field, work)?)?,
            number => return Err(refused(number, HTTP)),
        }
    }
    let found = found.ok_or(InvalidWork::NoRequest)?;
    check::check(&found)?;
    Ok(found)
}

fn requests(field: Field<'_>, whole: &Bytes) -> Result<HttpWork<Input>, InvalidWork> {
    let mut fields = field.message()?;
    let (mut first, mut confirm, mut cancel) = (None, None, None);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut first, request(field, whole)?)?,
            2 => once(&mut confirm, request(field, whole)?)?,
            3 => once(&mut cancel, request(field, whole)?)?,
            number => return Err(InvalidWork::UnknownField { place: "http".to_owned(), number }),
        }
    }
    let ending = match (confirm, cancel) {
        (None, None) => None,
        (Some(confirm), Some(cancel)) => Some(Box::new(Ending { confirm, cancel })),
        (Some(_), None) | (None, Some(_)) => return Err(InvalidWork::HalfAnEnding),
    };
    Ok(HttpWork { request: first.ok_or(InvalidWork::NoRequest)?, ending })
}

fn request(field: Field<'_>, whole: &Bytes) -> Result<Request<Input>, InvalidWork> {
    let mut fields = field.message()?;
    let (mut method, mut url, mut body) = (None, None, None);
    let (mut headers, mut parameters) = (Vec::new(), Vec::new());
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut method, field.text()?.to_owned())?,
            2 => once(&mut url, field.text()?.to_owned())?,
            3 => headers.push(header(field)?),
            4 => once(&mut body, Body::Bytes(field.bytes(whole)?))?,
            5 => once(&mut body, Body::Json(field.text()?.to_owned()))?,
            6 => parameters.push(Parameter::read(field, |from| Input::read(from, whole, 0))?),
            number => return Err(InvalidWork::UnknownField { place: "a request".to_owned(), number }),
        }
    }
    let method = method.unwrap_or_default();
    let known = Method::ALL.into_iter().find(|known| known.as_str() == method);
    let method = known.ok_or_else(|| InvalidWork::Method { name: crate::text::shown(method.as_bytes()) })?;
    Ok(Request { method, url: url.unwrap_or_default(), headers, body: body.unwrap_or_default(), parameters })
}

fn header(field: Field<'_>) -> Result<(String, String), InvalidWork> {
    let (mut fields, mut name, mut value) = (field.message()?, None, None);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut name, field.text()?.to_owned())?,
            2 => once(&mut value, field.text()?.to_owned())?,
            number => return Err(InvalidWork::UnknownField { place: "a header".to_owned(), number }),
        }
    }
    Ok((name.unwrap_or_default(), value.unwrap_or_default()))
}

/// Returns the work of these requests.
pub(super) fn write(HttpWork { request, ending }: &HttpWork<Input>) -> Bytes {
    let mut out = Writer::default();
    out.message(6, |out| {
        write_request(out, 1, request);
        if let Some(ending) = ending {
            write_request(out, 2, &ending.confirm);
            write_request(out, 3, &ending.cancel);
        }
    });
    out.finish()
}

fn write_request(out: &mut Writer, number: u32, request: &Request<Input>) {
    let Request { method, url, headers, body, parameters } = request;
    out.message(number, |out| {
        out.bytes(1, method.as_str().as_bytes());
        out.bytes(2, url.as_bytes());
        for (name, value) in headers {
            out.message(3, |out| {
                out.bytes(1, name.as_bytes());
                out.bytes(2, value.as_bytes());
            });
        }
        match body {
            Body::None => {}
            Body::Bytes(bytes) => out.bytes(4, bytes),
            Body::Json(text) => out.bytes(5, text.as_bytes()),
        }
        for parameter in parameters {
            parameter.write(out, 6, |from, out| from.write(out, 2));
        }
    });
}
