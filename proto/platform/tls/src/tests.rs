//! Both sides over connections in memory, with certificates made here.

#[cfg(feature = "seams")]
mod accepting;
mod reloading;
mod trust;

use crate::{ClientFiles, ClientTls, Protocol, ServerFiles};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// A CA, and the folder of what it makes.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate to make.
struct Wanted<'a> {
    names: &'a [&'a str],
    uri: Option<&'a str>,
    from_days: i64,
    to_days: i64,
}

fn for_names<'a>(names: &'a [&'a str]) -> Wanted<'a> {
    Wanted { names, uri: None, from_days: -1, to_days: 1 }
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        // Each has a name of its own, as CAs have.
        let digits: String = key.public_key_raw().iter().map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("CA {}", &digits[..16]));
        std::fs::write(folder.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Makes a certificate and its key, as files of this name.
    fn make(&self, file: &str, wanted: &Wanted<'_>) -> (PathBuf, PathBuf) {
        let names: Vec<String> = wanted.names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if let Some(uri) = wanted.uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        // The crate's clock is the machine's.
        let now = OffsetDateTime::from(std::time::SystemTime::UNIX_EPOCH) + since_1970();
        params.not_before = now + Duration::days(wanted.from_days);
        params.not_after = now + Duration::days(wanted.to_days);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (crt, secret) =
            (self.folder.path().join(format!("{file}.crt")), self.folder.path().join(format!("{file}.key")));
        std::fs::write(&crt, certificate.pem()).unwrap();
        std::fs::write(&secret, key.serialize_pem()).unwrap();
        (crt, secret)
    }
}

fn since_1970() -> std::time::Duration {
    std::time::Duration::from_secs(rustls::pki_types::UnixTime::now().as_secs())
}

fn server_files((certificate, key): (PathBuf, PathBuf), client_ca: Option<&Path>) -> ServerFiles {
    ServerFiles { certificate, key, client_ca: client_ca.map(Path::to_owned) }
}

fn client(ca: &Path, certificate: Option<(PathBuf, PathBuf)>) -> ClientTls {
    ClientTls::load(ClientFiles { ca: ca.to_owned(), certificate }, Protocol::H2).unwrap()
}
