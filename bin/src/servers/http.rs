//! A participant over HTTP services, which remembers its calls in its data folder.

use super::participant::Frame;
use super::stored::{self, drawn, not_opened};
use crate::process::{Failed, Failure, Guard, OrFailed as _};
use std::sync::Arc;
use undoubt_http::{FAMILIES, HttpServices, Network, Settings};
use undoubt_platform::SystemClock;
use undoubt_platform::dial::{Encrypt, SystemResolve, TcpDial};
use undoubt_stream::declarations::Declarations;
use undoubt_tls::ClientFiles;

/// Returns the network over which services are called.
pub fn network(settings: &Settings, guard: &mut Guard) -> Result<Network, Failed> {
    let pair = settings.certificate.clone().zip(settings.key.clone());
    let files = settings.ca.clone().map(|ca| ClientFiles { ca, certificate: pair });
    let encrypt = files.map(|files| guard.client(files, "the CAs of HTTP services")).transpose()?;
    Ok(Network {
        resolve: Arc::new(SystemResolve),
        dial: Arc::new(TcpDial),
        encrypt: encrypt.map(|tls| tls as Arc<dyn Encrypt>),
        clock: Arc::new(SystemClock),
    })
}

/// Serves until it is asked to end. `declarations`: the topics to which its reactions publish, and these.
pub async fn serve(
    frame: &Frame,
    settings: Settings,
    network: Network,
    declarations: &Declarations,
) -> Result<(), Failed> {
    let settings = Settings { min_free_bytes: frame.config.min_free_bytes, ..settings };
    let resource = |store, known| {
        let services = HttpServices::numbered(store, known, settings.clone(), network.clone());
        let services = services.or_failed(Failure::Configuration)?;
        services.publishing(declarations, drawn(), Arc::new(SystemClock)).map_err(not_opened)
    };
    stored::serve(frame, &FAMILIES, resource).await
}
