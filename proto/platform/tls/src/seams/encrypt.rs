//! Connections that somebody else has opened, to an address of his choice.

use crate::client::{ClientTls, connect_as};
use futures::future::BoxFuture;
use std::io;
use undoubt_platform::dial::{Encrypt, Encrypted};
use undoubt_platform::server::Connection;

impl Encrypt for ClientTls {
    fn encrypt(&self, host: String, plain: Connection) -> BoxFuture<'static, io::Result<Encrypted>> {
        let config = self.current();
        Box::pin(async move {
            let (stream, is_http2) = connect_as(config, &host, plain).await?;
            Ok(Encrypted { connection: Connection::over(stream), is_http2 })
        })
    }
}
