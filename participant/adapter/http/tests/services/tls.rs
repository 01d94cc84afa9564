//! Services behind TLS: whom a participant believes, and which HTTP it speaks there.

use crate::support::memory::MemoryStore;
use crate::support::server::{Server, reply};
use crate::support::{act, answer, network, refused, settings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio_rustls::TlsAcceptor;
use undoubt_http::{BadSettings, HttpServices, Network, Settings};
use undoubt_tls::{ClientFiles, ClientTls, Protocol};
use undoubt_vocabulary::RefusalCode;
use undoubt_work::http::Request;

/// A CA, whose certificate stands in a file.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Returns a server of this name whose certificate ends in so many days, and that speaks these protocols.
    async fn server(&self, name: &str, days: i64, protocols: &[&str]) -> Server {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let seconds = i64::try_from(rustls::pki_types::UnixTime::now().as_secs()).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        (params.not_before, params.not_after) = (now - Duration::days(9), now + Duration::days(days));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config =
            config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], secret).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tls = TlsAcceptor::from(Arc::new(config));
        Server::over(Some(tls), |_| Box::pin(async { Some(reply(200, "{}")) })).await
    }

    fn http(&self, server: &Server) -> HttpServices {
        let files = ClientFiles { ca: self.ca(), certificate: None };
        let tls = ClientTls::load(files, Protocol::Http).unwrap();
        let network = Network { encrypt: Some(Arc::new(tls)), ..network() };
        let settings = Settings { ca: Some(self.ca()), ..settings(&[&server.url]) };
        HttpServices::new(Arc::new(MemoryStore::default()), settings, network).unwrap()
    }
}

#[tokio::test]
async fn each_service_is_spoken_to_as_it_likes() {
    let authority = Authority::new();
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], http::Version::HTTP_2),
        (&["h2"], http::Version::HTTP_2),
        (&["http/1.1"], http::Version::HTTP_11),
        (&[], http::Version::HTTP_11),
    ] {
        let server = authority.server("localhost", 1, protocols).await;
        let http = authority.http(&server);
        for index in 0..3 {
            answer(act(&http, index, Request::post(&server.url)).await);
        }
        assert!(server.asked().iter().all(|asked| asked.version == version), "{protocols:?}");
        assert_eq!(server.connections(), 1, "{protocols:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_whom_it_cannot_believe() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (server, said) in [
        (authority.server("localhost", -1, &["h2"]).await, "expired"),
        (authority.server("elsewhere.example", 1, &["h2"]).await, "localhost"),
        (other.server("localhost", 1, &["h2"]).await, "CA"),
    ] {
        let http = authority.http(&server);
        let (code, detail) = refused(act(&http, 0, Request::post(&server.url)).await);
        assert!(code == RefusalCode::Unavailable && detail.contains(said), "{said}: {detail}");
        assert!(server.asked().is_empty());
    }
    let mut server = Server::start(|_| Some(reply(200, "{}"))).await;
    server.url = server.url.replace("http://127.0.0.1", "https://localhost");
    let (code, detail) = refused(act(&authority.http(&server), 0, Request::post(&server.url)).await);
    assert_eq!(code, RefusalCode::Unavailable, "{detail}");
}

#[test]
fn https_needs_to_know_whom_to_trust() {
    let bad = settings(&["https://shop.example"]).check();
    assert_eq!(bad, Err(BadSettings::NoCa));
    let half = Settings { certificate: Some("c".into()), ..settings(&[]) };
    assert_eq!(half.check(), Err(BadSettings::HalfAPair));
}
