//! Who a client is, and whom it trusts.

use std::fmt;
use std::net::IpAddr;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Credentials cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
#[non_exhaustive]
pub struct InvalidCredentials(pub String);

/// The header that carries a token. It is never shown.
#[derive(Clone, Default)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub(crate) fn new(token: &str) -> Result<Bearer, InvalidCredentials> {
        let wrong = || InvalidCredentials("the token is empty, or no plain text; give it as it was made".to_owned());
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_some() { "a token" } else { "no token" })
    }
}

/// Somebody on whose behalf a client asks, as a gateway does that knows its callers. The client itself needs the role `delegate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnBehalfOf {
    /// The identity, if it has one.
    pub name: Option<String>,
    /// Its roles, separated by commas. It has no others, nor any that the client itself lacks.
    pub roles: String,
    /// The address that it calls from, if that is known.
    pub address: Option<IpAddr>,
}

/// The headers of each request that say who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asker {
    pub(crate) token: Bearer,
    behalf: Vec<(&'static str, MetadataValue<Ascii>)>,
}

impl Asker {
    pub(crate) fn new(token: Bearer) -> Asker {
        Asker { token, behalf: Vec::new() }
    }

    /// Returns the same that asks on somebody's behalf.
    pub(crate) fn on_behalf_of(&self, who: &OnBehalfOf) -> Result<Asker, InvalidCredentials> {
        let OnBehalfOf { name, roles, address } = who;
        let given = [
            ("undoubt-on-behalf-of", name.clone()),
            ("undoubt-on-behalf-roles", Some(roles.clone())),
            ("undoubt-on-behalf-address", address.map(|address| address.to_string())),
        ];
        let header = |(key, value): (&'static str, Option<String>)| {
            let parsed = value?.parse().map_err(|_| InvalidCredentials(format!("{key} is no plain text")));
            Some(parsed.map(|value| (key, value)))
        };
        let behalf = given.into_iter().filter_map(header).collect::<Result<_, _>>()?;
        Ok(Asker { token: self.token.clone(), behalf })
    }
}

impl Interceptor for Asker {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(value) = &self.token.0 {
            metadata.insert("authorization", value.clone());
        }
        for (key, value) in &self.behalf {
            metadata.insert(*key, value.clone());
        }
        Ok(request)
    }
}
