//! TLS over the platform's two seams.

pub(crate) mod accept;
mod dial;
mod encrypt;

use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

use accept::{HANDSHAKE_TIMEOUT, MAX_HANDSHAKES};

pub use accept::accept;
pub use dial::TlsDial;

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Count MAX_HANDSHAKES, "Handshakes under way.", "One more takes the place of the oldest."),
    limit!(ms HANDSHAKE_TIMEOUT, "A handshake, of either side.", "The connection is closed."),
];
