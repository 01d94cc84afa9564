//! The files: PEM, of certificates, keys and CAs.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, and those between it and its CA.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The CAs of callers' certificates.
    pub client_ca: Option<PathBuf>,
}

/// The files of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CAs of the servers that it trusts.
    pub ca: PathBuf,
    /// The certificate that it shows, and the key to it.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// The reason why files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("{path} cannot be read ({cause}); name a file that this process may read", path = .path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("{path} holds no {what} as PEM (-----BEGIN …-----); name a file that does", path = .path.display())]
    Missing { path: PathBuf, what: &'static str },
    #[error("{path} holds a damaged {what}; write it anew", path = .path.display())]
    Damaged { path: PathBuf, what: &'static str },
    #[error("the key in {key} is not that of the certificate in {certificate}; name the two that belong together",
            key = .key.display(), certificate = .certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate in {path} {why}; have another made", path = .path.display())]
    NotNow { path: PathBuf, why: &'static str },
    #[error("{path} cannot be used: {cause}", path = .path.display())]
    Unusable { path: PathBuf, cause: String },
}

/// The bytes of files as they were read. They have no `Debug`: there are keys among them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contents(pub(crate) Vec<Vec<u8>>);

impl Contents {
    pub(crate) fn read(paths: &[&Path]) -> Result<Contents, FileError> {
        let read = |path: &&Path| {
            std::fs::read(path).map_err(|error: io::Error| FileError::Unreadable {
                path: path.to_path_buf(),
                cause: error.to_string(),
            })
        };
        Ok(Contents(paths.iter().map(read).collect::<Result<_, _>>()?))
    }
}

const CERTIFICATE: &str = "certificate";

pub(crate) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let damaged = |_| FileError::Damaged { path: path.to_owned(), what: CERTIFICATE };
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    if found.is_empty() {
        return Err(FileError::Missing { path: path.to_owned(), what: CERTIFICATE });
    }
    Ok(found)
}

pub(crate) fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileError> {
    // The cause is left out, as it may tell of the key.
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| FileError::Missing { path: path.to_owned(), what: "private key" })
}

pub(crate) fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|_| FileError::Damaged { path: path.to_owned(), what: "CA's certificate" })?;
    }
    Ok(roots)
}

/// Reads PEM as that of certificates, of CAs and of a key, and returns the first refusal: for the fuzzers.
#[doc(hidden)]
pub fn check_pem(pem: &[u8]) -> Result<(), FileError> {
    let path = Path::new("file");
    let read = certificates(path, pem).map(|chain| chain.iter().map(crate::server::names).for_each(drop));
    read.and(roots(path, pem).map(drop)).and(key(path, pem).map(drop))
}

/// Returns what a certificate and its key are refused for.
pub(crate) fn pair_error(certificate: &Path, key: &Path, error: &rustls::Error) -> FileError {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        FileError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
    } else {
        FileError::Unusable { path: certificate.to_owned(), cause: error.to_string() }
    }
}

/// Returns true if others than its owner and its group may read a file.
pub fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o007 != 0)
}
