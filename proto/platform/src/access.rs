//! Who may do what (R14): a caller's certificate or token tells its identity, and that has roles.
//!
//! * [`Role`], [`Roles`]: what may be allowed, and [`needed`]: which of them each method needs.
//! * [`Identities`]: those that are known, by the names of their certificates and by their tokens.
//! * [`LimitsConfig`], [`OwnLimits`]: how much one of them may take of a coordinator.
//! * [`Access`]: the rules of a server at the moment; they are replaced while it serves.
//! * [`Caller`]: whoever asks, as services see it.

mod caller;
mod identities;
mod limits;
mod methods;
mod role;
mod rules;
mod settings;
#[cfg(test)]
mod tests;
mod token;

pub use caller::{Caller, Signed};
pub use identities::{BadIdentities, Identities, Identity};
pub use limits::{Limits, LimitsByName, LimitsConfig, OwnLimits, Rate};
pub use methods::{Needed, action, needed};
pub use role::{Role, Roles, UnknownRole};
pub use rules::{Access, ON_BEHALF_OF, Refused};
pub use settings::{AccessConfig, ClientCertificates, TlsConfig};
pub use token::{InvalidHash, TokenHash, new_token};
