//! The bounds of what clients can make a server hold, in one place.
//!
//! A connection, however its client behaves, makes the server hold at most: what flow control lets it send unasked
//! (`window_bytes`); its two allowances; its share of the two common rooms; and for each of its requests headers, one
//! frame and the handler. All connections together hold at most `max_connections` windows and allowances, the two common
//! rooms, and what [`MAX_REQUESTS_UNDER_WAY`] requests hold.

use super::room::Bounds;

/// Requests that one connection may have under way; clients queue what is beyond.
pub(crate) const MAX_STREAMS_PER_CONNECTION: u32 = 256;

/// Requests under way on all connections; one more is turned away.
pub(crate) const MAX_REQUESTS_UNDER_WAY: usize = 32_768;

/// The bytes that the headers of one request may take.
pub(crate) const MAX_HEADER_LIST_BYTES: u32 = 8 << 10;

/// The bytes that a connection may hold for itself, of messages that are not whole and, apart from that, of answers
/// that are not sent.
pub(crate) const ALLOWANCE_BYTES: u32 = 64 << 10;

/// Connections that can fill a common room before others have to wait for it.
const SHARES_OF_A_ROOM: u32 = 4;

/// Returns the bounds of a room of which all connections together may have so many bytes.
pub(super) fn bounds(common_bytes: u32) -> Bounds {
    Bounds { allowance_bytes: ALLOWANCE_BYTES, share_bytes: share_bytes(common_bytes), common_bytes }
}

/// The default of either room.
pub const DEFAULT_ROOM_BYTES: u32 = 128 << 20;

/// Returns what one connection may have of a room.
pub const fn share_bytes(common_bytes: u32) -> u32 {
    common_bytes / SHARES_OF_A_ROOM
}
