//! One request of a service.

use super::handlers::{Base, Filled};
use bytes::Bytes;
use http_body_util::Full;
use undoubt_http::convention::{Convention, Identity, Operation};

/// A request as a participant makes it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    method: &'static str,
    authority: String,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Call {
    pub(super) fn new(base: &Base, operation: Operation, identity: &Identity, filled: Filled) -> Call {
        let mut headers = Convention::Own.headers(identity, operation, None);
        if filled.body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Call::with(base, operation, filled, headers)
    }

    /// Returns one that says nothing of any transaction.
    pub(super) fn plain(base: &Base, filled: Filled) -> Call {
        Call::with(base, Operation::Action, filled, Vec::new())
    }

    fn with(base: &Base, operation: Operation, filled: Filled, headers: Vec<(&'static str, String)>) -> Call {
        let path = format!("{}{}", base.path, filled.path);
        let (method, body) = (filled.method.as_str(), filled.body.unwrap_or_default());
        Call { operation, method, authority: base.authority.clone(), path, headers, body }
    }

    pub(super) fn request(&self) -> http::Result<http::Request<Full<Bytes>>> {
        let mut request = http::Request::builder().method(self.method).uri(&self.path).header("host", &self.authority);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(Bytes::from(self.body.clone())))
    }

    /// Returns the request as it goes over the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Call { operation: _, method, authority, path, headers, body } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        head.into_bytes()
    }

    /// Returns the command by which somebody makes the request by hand.
    pub(super) fn curl(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let mut command =
            format!("curl -isS -X {} {}", self.method, quoted(&format!("http://{}{}", self.authority, self.path)));
        for (name, value) in &self.headers {
            command.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}"))));
        }
        if !self.body.is_empty() {
            command.push_str(&format!(" -d {}", quoted(&self.body)));
        }
        command
    }
}
