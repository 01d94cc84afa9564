//! Private database servers for tests, demos and acceptance runs.
//!
//! [`Postgres`] and [`MariaDb`] start a real server in a temporary folder, on a free port of loopback, and end it when
//! they are dropped, also while a test panics. [`Proxy`] stands between a client and such a server, reads the messages
//! that pass, and cuts or holds the connection at a chosen one.
//!
//! A server that root starts runs as the user `nobody`, because PostgreSQL refuses root. A small guard process ends the
//! server and removes its folder if the process that started it is killed.

mod copy;
mod error;
mod mariadb;
mod postgres;
mod programs;
mod proxy;
mod server;

pub use copy::Copy;
pub use error::ServerError;
pub use mariadb::MariaDb;
pub use postgres::Postgres;
pub use proxy::{Place, Proxy, Trap};
