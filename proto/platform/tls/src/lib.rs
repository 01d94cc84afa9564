//! TLS at the project's own seams: the connections that a server accepts, and those that are dialled.
//!
//! * [`ServerTls`], [`ClientTls`]: certificates, keys and CAs from files, which are read again when their content changes. Files
//!   that cannot be used are kept out, and the old ones go on.
//! * [`connect`]: a client's handshake. [`Untrusted`] says in plain words why there is no connection.
//! * `accept`, `dial` (feature `seams`): over the platform's `Incoming` and `Dial`.
//!
//! The simulation has no part in this; it keeps its plain streams.

mod client;
mod files;
mod first_word;
mod kept;
#[cfg(feature = "seams")]
mod seams;
mod server;
#[cfg(test)]
mod tests;
mod words;

pub use client::{ClientTls, Protocol, connect};
#[doc(hidden)]
pub use files::check_pem;
pub use files::{ClientFiles, FileError, ServerFiles, readable_by_others};
pub use kept::Refreshed;
#[cfg(feature = "seams")]
pub use seams::LIMITS;
#[cfg(feature = "seams")]
pub use seams::{TlsDial, accept};
pub use server::{ClientCertificate, ServerTls, names};
pub use words::Untrusted;
