//! The server's side.

use crate::files::{self, Contents, FileError, ServerFiles};
use crate::kept::{Kept, Refreshed};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Whether callers have to show a certificate. One that is shown is always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    Required,
    Optional,
}

/// The certificates of a server.
pub struct ServerTls(Kept<ServerConfig>);

impl ServerTls {
    /// Reads the files. `asks` counts where there is a client CA only; without one, callers are asked for no certificate.
    /// `protocols` are those that are spoken over the connections, the preferred one first.
    pub fn load(
        files: ServerFiles,
        asks: ClientCertificate,
        protocols: &'static [&'static [u8]],
    ) -> Result<ServerTls, FileError> {
        let ServerFiles { certificate, key, client_ca } = files.clone();
        let paths = [certificate, key].into_iter().chain(client_ca).collect();
        Ok(ServerTls(Kept::load(paths, move |contents| make(&files, asks, protocols, contents))?))
    }

    /// Returns what the next handshake is made with.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.current()
    }

    pub fn refresh(&self) -> Refreshed {
        self.0.refresh()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn make(
    files: &ServerFiles,
    asks: ClientCertificate,
    protocols: &[&[u8]],
    contents: &Contents,
) -> Result<ServerConfig, FileError> {
    let [certificate, key, client_ca @ ..] = contents.0.as_slice() else {
        unreachable!("a certificate and a key are read")
    };
    let chain = files::certificates(&files.certificate, certificate)?;
    let key = files::key(&files.key, key)?;
    let unusable = |cause: String| FileError::Unusable { path: files.certificate.clone(), cause };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = match files.client_ca.as_deref().zip(client_ca.first()) {
        None => builder.with_no_client_auth(),
        Some((path, pem)) => {
            let roots = files::roots(path, pem)?;
            check_time(&files.certificate, &chain, &roots)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            let verifier = match asks {
                ClientCertificate::Required => verifier,
                ClientCertificate::Optional => verifier.allow_unauthenticated(),
            };
            let unusable = |error: rustls::server::VerifierBuilderError| FileError::Unusable {
                path: path.to_owned(),
                cause: error.to_string(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
        }
    };
    let made = builder.with_single_cert(chain, key);
    let mut config = made.map_err(|error| files::pair_error(&files.certificate, &files.key, &error))?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Checks that a certificate is valid now. That can be seen of one that comes from a CA which is known; others are taken as they
/// are, and their callers see.
pub(crate) fn check_time(path: &Path, chain: &[CertificateDer<'_>], roots: &RootCertStore) -> Result<(), FileError> {
    let Some((own, between)) = chain.split_first() else { return Ok(()) };
    let any_name = names(own).into_iter().find_map(|name| ServerName::try_from(name).ok());
    let name = any_name.unwrap_or_else(|| ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider()).build();
    let Ok(verifier) = verifier else { return Ok(()) };
    let why = match verifier.verify_server_cert(own, between, &name, &[], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "has expired"
        }
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => "is not valid yet",
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(FileError::NotNow { path: path.to_owned(), why })
}

/// Returns the DNS names and URIs of a certificate. Names with a wildcard are left out: they name nobody in particular.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    certificate.valid_dns_names().chain(certificate.valid_uri_names()).map(str::to_owned).collect()
}
