//! The client of a coordinator.

use crate::connection::{Authorized, Connection, MAX_RESPONSE_BYTES};
use crate::credentials::{InvalidCredentials, OnBehalfOf};
use crate::error::InvalidAddress;
use crate::options::ClientOptions;
use std::sync::Arc;
use tonic::transport::Channel;
use undoubt_proto::v1::coordinator_client::CoordinatorClient;
use undoubt_proto::v1::operator_client::OperatorClient;

/// Talks to one coordinator. Cheap to clone; clones share a connection, which is made anew whenever it breaks.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) connection: Connection,
}

impl Client {
    /// Returns a client that connects with its first call, so the coordinator need not run yet. `http://` may be left out.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect_lazy(address: &str, options: ClientOptions) -> Result<Self, InvalidAddress> {
        Ok(Client { connection: Connection::open(address, options)? })
    }

    /// Returns a client that talks over a channel made elsewhere, whose own connecting and keep-alive then hold.
    pub fn with_channel(channel: Channel, options: ClientOptions) -> Self {
        Client { connection: Connection::over("the coordinator", channel, options) }
    }

    /// Returns a client over the same connection that asks on somebody's behalf: the server then takes that one for the caller.
    pub fn on_behalf_of(&self, who: &OnBehalfOf) -> Result<Self, InvalidCredentials> {
        let asker = Arc::new(self.connection.asker.on_behalf_of(who)?);
        Ok(Client { connection: Connection { asker, ..self.connection.clone() } })
    }

    pub(crate) fn coordinator(&self) -> CoordinatorClient<Authorized> {
        coordinator(&self.connection)
    }

    pub(crate) fn operator(&self) -> OperatorClient<Authorized> {
        OperatorClient::new(self.connection.authorized()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }
}

pub(crate) fn coordinator(connection: &Connection) -> CoordinatorClient<Authorized> {
    CoordinatorClient::new(connection.authorized()).max_decoding_message_size(MAX_RESPONSE_BYTES)
}
