//! Headers whose values are secrets: they stand in files that the configuration names, never in work, and never in a log.

use crate::address::{Address, BadAddress};
use crate::allowed::is_under;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A header that is sent with what stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderFrom {
    /// The prefix of the URLs that get it.
    pub to: String,
    /// The header's name, like `authorization`.
    pub name: String,
    /// The file that holds its value, like `Bearer …`. White space around it is left out.
    pub file: PathBuf,
}

/// The reason why a header cannot be sent. Says nothing of its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    #[error("http.headers_from has {to:?}, which is no prefix of URLs ({bad}); write http://host:port/path")]
    Prefix { to: String, bad: BadAddress },
    #[error("http.headers_from has {name:?}, which is no name of a header; correct it")]
    Name { name: String },
    #[error("{file} cannot be read ({cause}); name a file that this process may read", file = .file.display())]
    Unreadable { file: PathBuf, cause: String },
    #[error("{file} holds nothing that can be the value of a header; write one line of visible ASCII", file = .file.display())]
    Value { file: PathBuf },
}

/// The headers with their values.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<(Address, HeaderName, HeaderValue)>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.len()).finish()
    }
}

impl Secrets {
    pub(crate) fn read(given: &[HeaderFrom]) -> Result<Secrets, BadSecret> {
        let read = |HeaderFrom { to, name, file }: &HeaderFrom| {
            let prefix = Address::read(to).map_err(|bad| BadSecret::Prefix { to: to.clone(), bad })?;
            let parsed = name.parse().map_err(|_| BadSecret::Name { name: name.clone() })?;
            let unreadable =
                |error: std::io::Error| BadSecret::Unreadable { file: file.clone(), cause: error.to_string() };
            let text = std::fs::read(file).map_err(unreadable)?;
            let value = HeaderValue::from_bytes(text.trim_ascii()).ok().filter(|value| !value.is_empty());
            let mut value = value.ok_or_else(|| BadSecret::Value { file: file.clone() })?;
            value.set_sensitive(true);
            Ok((prefix, parsed, value))
        };
        given.iter().map(read).collect::<Result<_, _>>().map(Secrets)
    }

    /// Returns the headers of requests to this address.
    pub(crate) fn of<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let own = self.0.iter().filter(move |(prefix, ..)| is_under(address, prefix));
        own.map(|(_, name, value)| (name, value))
    }
}
