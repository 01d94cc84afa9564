//! TLS over the platform's two seams.

mod accept;
mod dial;

pub use accept::accept;
pub use dial::TlsDial;
