//! Who may do what (R14): a caller's certificate or token tells its identity, and that has roles.
//!
//! * [`Role`], [`Roles`]: what may be allowed, and [`needed`]: which of them each method needs.
//! * [`Identities`]: those that are known, by the names of their certificates and by their tokens.
//! * [`LimitsConfig`], [`OwnLimits`]: how much one of them may take of a coordinator.
//! * [`Provider`]: an OpenID Connect provider, whose tokens tell of others who they are.
//! * [`Access`]: the rules of a server at the moment; they are replaced while it serves.
//! * [`Caller`]: whoever asks, as services see it.

mod caller;
pub(crate) mod identities;
mod limits;
mod methods;
pub(crate) mod provider;
mod role;
pub(crate) mod rules;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod token;

pub use caller::{Caller, Signed};
pub use identities::{BadIdentities, Identities, Identity};
pub use limits::{Limits, LimitsByName, LimitsConfig, OwnLimits, Rate};
pub use methods::{Needed, action, needed};
pub use provider::{Holder, Provider, Verify};
pub use role::{Role, Roles, UnknownRole};
pub use rules::{Access, ON_BEHALF_ADDRESS, ON_BEHALF_OF, ON_BEHALF_ROLES, Refused};
pub use settings::{AccessConfig, BadOidc, ClientCertificates, Grant, OidcConfig, TlsConfig};
pub use token::{InvalidHash, TokenHash, new_token};
