//! A stand-in for a database server, on a machine of its own, and the resource adapter over it.
//!
//! The server does what databases do and a store in the participant's process does not: it has locks of its own, which know no
//! ages; its sessions go on with what was sent to them after their clients are gone; what is prepared is in a list of its own;
//! and somebody else may end that. The adapter keeps the protocol of the adapter for PostgreSQL, guard by guard, so that each
//! guard can be left out and missed (see [`Mutant`](crate::plan::Mutant)).
//!
//! | file | what |
//! | --- | --- |
//! | `wire` | requests and answers, and how they travel |
//! | `rows` | the tables, and rows that both sides have to read |
//! | `server` | the machine: opens its disk, takes connections, lets other hands do what they do |
//! | `server/engine` | what is committed and prepared, and who owns what |
//! | `server/locks`, `server/prepared_row` | the locks, and what is kept of what is prepared |
//! | `server/session` | one session, from its first request to its end |
//! | `adapter` | the resource |

mod adapter;
mod rows;
mod server;
mod wire;

pub(super) use adapter::Database;
pub(super) use rows::GID_HEAD_BYTES;
pub(super) use server::serve;
pub(super) use wire::Post;
