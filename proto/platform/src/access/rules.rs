//! The rules of a server, and what they make of a request.

use super::caller::Caller;
use super::identities::{Identities, Identity};
use super::limits::LimitsByName;
use super::methods::{Needed, needed};
use super::provider::{Known, Provider, may_be_signed};
use super::role::{Role, Roles, UnknownRole};
use super::token::TokenHash;
use crate::reason::Reason;
use crate::server::Peer;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tonic::Status;

/// The header in which a gateway says on whose behalf it asks.
pub const ON_BEHALF_OF: &str = "undoubt-on-behalf-of";

/// The header in which it says the roles of that one, separated by commas. Without, they are its own; more than those they are never.
pub const ON_BEHALF_ROLES: &str = "undoubt-on-behalf-roles";

/// The header in which it says the IP address that the call came from.
pub const ON_BEHALF_ADDRESS: &str = "undoubt-on-behalf-address";

/// The longest name of somebody on whose behalf a gateway asks.
pub(crate) const MAX_BEHALF_BYTES: usize = 128;

/// The answer to a signed token where no provider is known.
const NO_PROVIDER: &str = "it looks like one of an identity provider, and this server knows none; have access.oidc set, or send a token of \
                           `undoubt tokens new`, or show a certificate";

/// The rules of one server. Clones share them.
#[derive(Clone)]
pub struct Access(Arc<RwLock<Arc<Rules>>>);

#[derive(Clone)]
struct Rules {
    identities: Identities,
    /// The provider whose tokens are taken too.
    provider: Option<Arc<Provider>>,
    /// The roles of callers that have no identity.
    anonymous: Roles,
}

/// The reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "this server has to know who asks, and nothing in the request says so; send a token (`authorization: Bearer …`, with \
         undoubt --token-file FILE) or show a certificate (--cert FILE --key FILE) of an identity that it knows"
    )]
    Nobody,
    #[error(
        "no identity of this server has a certificate for {names}; show another, or have the name added to the server's \
         identities"
    )]
    UnknownCertificate { names: String },
    #[error(
        "the token belongs to no identity of this server; it may have been withdrawn: have another made (undoubt tokens new) \
         and added to the server's identities"
    )]
    UnknownToken,
    #[error("the token is not taken: {0}")]
    SignedToken(String),
    #[error(
        "the token is not taken: its holder is called {0:?}, as an identity of this server is that need not be the same; add the name to \
         that identity's subjects if it is, or have a claim name holders that says who they are (access.oidc.claim)"
    )]
    NameTaken(String),
    #[error("the authorization is not of the form `Bearer TOKEN`; send a token so, or leave it out")]
    Form,
    #[error(
        "{who} may not do this: it needs the role {needs}, and has {has}; have it given by the server's identities"
    )]
    Role { who: String, needs: String, has: Roles },
    #[error(
        "{} may not ask on another's behalf ({ON_BEHALF_OF}): that needs the role delegate; leave it out, or have the role \
         given by the server's identities",
        .who.as_deref().unwrap_or("a caller without identity")
    )]
    Delegate { who: Option<String> },
    #[error("{header}: {why}")]
    OnBehalfOf { header: &'static str, why: String },
}

impl Refused {
    /// Returns true if it is not known who asks, so that another token or certificate may be let in.
    pub fn is_about_who(&self) -> bool {
        match self {
            Refused::Nobody
            | Refused::UnknownCertificate { .. }
            | Refused::UnknownToken
            | Refused::SignedToken(_)
            | Refused::NameTaken(_)
            | Refused::Form => true,
            Refused::Role { .. } | Refused::Delegate { .. } | Refused::OnBehalfOf { .. } => false,
        }
    }

    pub fn reason(&self) -> Reason {
        match self {
            Refused::Nobody
            | Refused::UnknownCertificate { .. }
            | Refused::UnknownToken
            | Refused::SignedToken(_)
            | Refused::NameTaken(_)
            | Refused::Form => Reason::Unidentified,
            Refused::Role { .. } | Refused::Delegate { .. } => Reason::LacksRole,
            Refused::OnBehalfOf { .. } => Reason::InvalidRequest,
        }
    }

    pub fn status(&self) -> Status {
        let (reason, text) = (self.reason(), self.to_string());
        match self {
            Refused::OnBehalfOf { header, .. } => reason.refuse_field(header, text),
            Refused::Nobody
            | Refused::UnknownCertificate { .. }
            | Refused::UnknownToken
            | Refused::SignedToken(_)
            | Refused::NameTaken(_)
            | Refused::Form
            | Refused::Role { .. }
            | Refused::Delegate { .. } => reason.refuse(text),
        }
    }

    /// Returns the identity that is refused, if it is one that is known.
    pub fn who(&self) -> Option<&str> {
        match self {
            Refused::Role { who, .. } | Refused::Delegate { who: Some(who) } => Some(who),
            Refused::Nobody
            | Refused::UnknownCertificate { .. }
            | Refused::UnknownToken
            | Refused::SignedToken(_)
            | Refused::NameTaken(_)
            | Refused::Form
            | Refused::Delegate { who: None }
            | Refused::OnBehalfOf { .. } => None,
        }
    }
}

impl Access {
    /// Returns rules by which everybody may do everything: for servers that only this machine reaches.
    pub fn open() -> Access {
        Access::new(Identities::default(), Roles::ALL)
    }

    pub fn new(identities: Identities, anonymous: Roles) -> Access {
        Access(Arc::new(RwLock::new(Arc::new(Rules { identities, provider: None, anonymous }))))
    }

    /// Replaces the identities, from the next request on.
    pub fn replace(&self, identities: Identities) {
        self.change(|rules| rules.identities = identities);
    }

    /// Takes the tokens of this provider, and of no other, from the next request on.
    pub fn trust(&self, provider: Provider) {
        self.change(|rules| rules.provider = Some(Arc::new(provider)));
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        // Nothing panics while it is locked.
        change(Arc::make_mut(&mut self.0.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Returns the limits of the identities that have some of their own, as they are now.
    pub fn limits(&self) -> LimitsByName {
        self.rules().identities.limits().clone()
    }

    fn rules(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whoever makes a request, whatever that is.
    pub fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Refused> {
        self.rules().identify(headers, peer)
    }

    /// Returns whoever makes a request, or on whose behalf it is made, whatever that is.
    pub fn caller(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Refused> {
        on_behalf(self.identify(headers, peer)?, headers)
    }

    /// Returns whoever makes a request, if it may.
    pub fn admit(&self, path: &str, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Refused> {
        let needed = needed(path);
        let rules = self.rules();
        let caller = match (rules.identify(headers, peer), needed) {
            (Ok(caller), _) => caller,
            // Whoever asks for something that everybody may needs no valid token either.
            (Err(_), Needed::Nothing) => return Ok(Caller { address: peer.address, ..Caller::default() }),
            (Err(refused), Needed::OneOf(_)) => return Err(refused),
        };
        rules.check(&caller, needed, peer)?;
        let caller = on_behalf(caller, headers)?;
        rules.check(&caller, needed, peer)?;
        Ok(caller)
    }
}

impl Rules {
    /// Returns the caller that a token or else a certificate tells.
    fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Refused> {
        let known = |identity: &Identity| Caller {
            name: Some(identity.name.clone()),
            through: None,
            roles: identity.roles,
            address: peer.address,
        };
        if let Some(authorization) = headers.get(AUTHORIZATION) {
            let token = authorization.to_str().ok().and_then(bearer).ok_or(Refused::Form)?;
            let hash = TokenHash::of(token);
            return match (self.identities.by_token(hash), &self.provider) {
                (Some(identity), _) => Ok(known(identity)),
                (None, Some(provider)) if may_be_signed(token) => {
                    let holder = provider.holder(token, hash).map_err(Refused::SignedToken)?;
                    match self.identities.by_subject(&holder.name) {
                        Some(identity) => Ok(known(identity)),
                        None => self.only_provider_knows(holder, peer),
                    }
                }
                (None, None) if may_be_signed(token) => Err(Refused::SignedToken(NO_PROVIDER.to_owned())),
                (None, Some(_) | None) => Err(Refused::UnknownToken),
            };
        }
        if let Some(part) = peer.part {
            return Ok(Caller { name: Some(part.into()), through: None, roles: Roles::ALL, address: None });
        }
        let anonymous = || Caller { roles: self.anonymous, address: peer.address, ..Caller::default() };
        let certified = self.identities.by_certificate(peer.names.iter().map(AsRef::as_ref));
        Ok(certified.map_or_else(anonymous, known))
    }

    /// Returns the caller that has no identity here but what a provider says of it. Its name is to be nobody else's, since records and
    /// limits go by it, and without spaces it cannot look like that of somebody who asks through a gateway either.
    fn only_provider_knows(&self, holder: Known, peer: &Peer) -> Result<Caller, Refused> {
        if self.identities.have_name(&holder.name) {
            return Err(Refused::NameTaken(holder.name.to_string()));
        }
        if holder.name.len() > MAX_BEHALF_BYTES || !holder.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refused::SignedToken(format!(
                "the name of its holder has more than {MAX_BEHALF_BYTES} bytes, or others than letters, digits and signs of ASCII; make it one of the subjects of an \
                 identity, or name holders by another claim (access.oidc.claim)"
            )));
        }
        Ok(Caller { name: Some(holder.name), through: None, roles: holder.roles, address: peer.address })
    }

    /// Checks that a caller has the roles that are needed.
    fn check(&self, caller: &Caller, needed: Needed, peer: &Peer) -> Result<(), Refused> {
        match (needed, &caller.name) {
            (Needed::OneOf(roles), None) if !caller.has_any(roles) => Err(self.stranger(peer)),
            (Needed::OneOf(roles), Some(name)) if !caller.has_any(roles) => {
                let needs: Vec<String> = roles.iter().map(Role::to_string).collect();
                Err(Refused::Role { who: name.to_string(), needs: needs.join(" or "), has: caller.roles })
            }
            (Needed::OneOf(_) | Needed::Nothing, _) => Ok(()),
        }
    }

    /// Returns what to tell a caller without identity that may not do what it asks for.
    fn stranger(&self, peer: &Peer) -> Refused {
        if peer.names.is_empty() {
            Refused::Nobody
        } else {
            Refused::UnknownCertificate { names: peer.names.join(", ") }
        }
    }
}

/// Returns the caller on whose behalf another asks, if it does.
fn on_behalf(caller: Caller, headers: &HeaderMap) -> Result<Caller, Refused> {
    let given = |header: &'static str| {
        let text = headers.get(header)?.to_str();
        let plain =
            text.map_err(|_| Refused::OnBehalfOf { header, why: "it is not plain text; correct it".to_owned() });
        Some(plain)
    };
    let [name, roles, address] =
        [ON_BEHALF_OF, ON_BEHALF_ROLES, ON_BEHALF_ADDRESS].map(|header| given(header).transpose());
    let (name, roles, address) = (name?, roles?, address?);
    if name.is_none() && roles.is_none() {
        return Ok(caller);
    }
    if !caller.roles.has(Role::Delegate) {
        return Err(Refused::Delegate { who: caller.name.as_deref().map(str::to_owned) });
    }
    let wrong = |header, why: String| Refused::OnBehalfOf { header, why };
    if name.is_some_and(|name| !(1..=MAX_BEHALF_BYTES).contains(&name.len()) || name.contains(char::is_control)) {
        let why = format!("a name has 1 to {MAX_BEHALF_BYTES} bytes of plain text; correct it");
        return Err(wrong(ON_BEHALF_OF, why));
    }
    let roles = match roles {
        None => caller.roles,
        Some(text) => caller
            .roles
            .shared(text.parse().map_err(|unknown: UnknownRole| wrong(ON_BEHALF_ROLES, unknown.to_string()))?),
    };
    let address = match address {
        None => caller.address,
        Some(text) => {
            let why = |_| wrong(ON_BEHALF_ADDRESS, format!("{text:?} is no IP address; correct it"));
            Some(SocketAddr::new(text.parse().map_err(why)?, 0))
        }
    };
    Ok(Caller { name: name.map(Into::into), through: caller.name, roles, address })
}

/// Returns the token of `Bearer TOKEN`.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules();
        f.debug_struct("Access")
            .field("identities", &rules.identities.len())
            .field("anonymous", &rules.anonymous)
            .finish()
    }
}
