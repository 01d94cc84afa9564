//! The bounds of what both servers have in common.

use crate::access::identities::MAX_IDENTITIES;
use crate::access::provider::MAX_VERIFIED_TOKENS;
use crate::access::rules::MAX_BEHALF_BYTES;
use crate::access::settings::MAX_GRANTS;
use crate::alarm::bell::{ATTEMPTS, CALL_TIMEOUT, MAX_WAITING};
use crate::metrics::http::{ANSWER_TIMEOUT, CONNECTION_TIMEOUT, MAX_CONNECTIONS, MAX_HEAD_BYTES};
use crate::numbered_store::MAX_PAST_STARTS;
use crate::server::GREETING_TIMEOUT;
use crate::server::connection::READING_TIMEOUT;
use crate::server::exchange::ANSWER_ROOM_TIMEOUT;
use crate::server::fields::MAX_REASON_BYTES;
use crate::server::limits::{
    ALLOWANCE_BYTES, MAX_HEADER_LIST_BYTES, MAX_REQUESTS_UNDER_WAY, MAX_STREAMS_PER_CONNECTION,
};
use crate::server::requests::{MESSAGE_TIMEOUT, REQUEST_ROOM_TIMEOUT};
use crate::store::room::MIN_FREE_FILES;
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

/// The bounds of connections and requests.
pub const OF_CONNECTIONS: &[Limit] = &[
    limit!(ms GREETING_TIMEOUT, "From connecting to the greeting of HTTP/2.", "The connection is closed."),
    limit!(Count MAX_STREAMS_PER_CONNECTION, "Requests that one connection has under way.", "More wait at the client."),
    limit!(Count MAX_REQUESTS_UNDER_WAY, "Requests under way on all connections.", "`TOO_MANY_REQUESTS`."),
    limit!(Bytes MAX_HEADER_LIST_BYTES, "The headers of one request.", "HTTP status 431."),
    limit!(Bytes ALLOWANCE_BYTES, "What a connection holds of messages that are not whole, and of answers that are not sent, before it counts against the common rooms.", "`max_request_room_bytes` and `max_answer_room_bytes` bound the rest."),
    limit!(ms MESSAGE_TIMEOUT, "From the beginning of a request's message to its end.", "`MESSAGE_INCOMPLETE`."),
    limit!(ms REQUEST_ROOM_TIMEOUT, "The wait of a large message for room.", "`TOO_MANY_REQUESTS`."),
    limit!(ms ANSWER_ROOM_TIMEOUT, "The wait of a large answer for room.", "`NO_ROOM_FOR_ANSWER`."),
    limit!(ms READING_TIMEOUT, "The time in which a client has to read something of what is written to it.", "The connection is closed."),
    limit!(Bytes MAX_REASON_BYTES, "An operator's name, and an operator's reason; at least 1 each.", "`INVALID_REQUEST`, field `who` or `reason`."),
];

/// The bounds of identities.
pub const OF_ACCESS: &[Limit] = &[
    limit!(Count MAX_IDENTITIES, "Identities in one file.", "The server does not start; while it runs, the file is kept out."),
    limit!(Bytes MAX_BEHALF_BYTES, "The name of somebody on whose behalf a gateway asks, or whom an identity provider alone knows.", "`INVALID_REQUEST`, field `undoubt-on-behalf-of`; of a JWT `UNIDENTIFIED`."),
    limit!(Count MAX_GRANTS, "Groups in `access.oidc.groups`.", "The server does not start."),
    limit!(Count MAX_VERIFIED_TOKENS, "JWTs whose verification is remembered.", "Those that expire first are verified again."),
];

/// The bounds of stores, of figures and of alarms.
pub const OF_SERVERS: &[Limit] = &[
    limit!(Count MIN_FREE_FILES, "Files that can still be made on the device of the data, at least.", "`NO_WORK_TAKEN`; a participant refuses with `unavailable`."),
    limit!(Count MAX_PAST_STARTS, "Starts of which a log knows where they ended.", "What others show of older ones is not looked up any more."),
    limit!(Count MAX_CONNECTIONS, "Connections to the port for metrics.", "One more is closed at once."),
    limit!(ms CONNECTION_TIMEOUT, "One connection to the port for metrics.", "It is closed."),
    limit!(ms ANSWER_TIMEOUT, "An answer of the port for metrics, with waiting for others who ask.", "HTTP status 503."),
    limit!(Bytes MAX_HEAD_BYTES, "The head of a request to the port for metrics.", "HTTP status 431."),
    limit!(Count MAX_WAITING, "Alarms that wait to be posted.", "More are in the log alone."),
    limit!(ms CALL_TIMEOUT, "One post of an alarm, with connecting.", "It is posted again."),
    limit!(Count ATTEMPTS, "Posts of one alarm.", "It is left to the log."),
];
