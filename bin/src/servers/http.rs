//! A participant over HTTP services.

use super::participant::Frame;
use super::stored;
use crate::process::{Failed, Failure, OrFailed as _};
use anyhow::Context as _;
use std::sync::Arc;
use undoubt_http::{FAMILIES, HttpServices, Network, Settings};
use undoubt_platform::SystemClock;
use undoubt_platform::dial::{Encrypt, SystemResolve, TcpDial};
use undoubt_tls::{ClientFiles, ClientTls, Protocol};

/// Serves until it is asked to end.
pub async fn serve(frame: &Frame, settings: &Settings) -> Result<(), Failed> {
    let network = network(settings).or_failed(Failure::Configuration)?;
    let resource = |store, known| {
        HttpServices::numbered(store, known, settings.clone(), network.clone()).or_failed(Failure::Configuration)
    };
    stored::serve(frame, &FAMILIES, resource).await
}

/// Returns the network of this machine.
fn network(settings: &Settings) -> anyhow::Result<Network> {
    let encrypt = match &settings.ca {
        None => None,
        Some(ca) => {
            let certificate = settings.certificate.clone().zip(settings.key.clone());
            let tls = ClientTls::load(ClientFiles { ca: ca.clone(), certificate }, Protocol::Http).context("[http]")?;
            Some(Arc::new(tls) as Arc<dyn Encrypt>)
        }
    };
    Ok(Network { resolve: Arc::new(SystemResolve), dial: Arc::new(TcpDial), encrypt, clock: Arc::new(SystemClock) })
}
