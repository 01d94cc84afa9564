//! What went wrong, in plain words, and what to do about it.
#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of rustls and of I/O errors grow with their versions")]

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use std::io;

/// There is no connection, and the same try again would not change that: one side does not trust the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(String);

impl Untrusted {
    /// Returns the error of a handshake with a host as people understand it.
    pub(crate) fn explain(host: &str, error: io::Error) -> io::Error {
        let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => io::Error::new(
                    error.kind(),
                    format!("{host} closed the connection during the TLS handshake; if it speaks no TLS, use http://"),
                ),
                _ => error,
            };
        };
        io::Error::new(io::ErrorKind::InvalidData, Untrusted(of_client(host, cause)))
    }

    /// Returns it where it is among the causes of an error.
    pub fn among<'e>(mut causes: impl Iterator<Item = &'e (dyn std::error::Error + 'static)>) -> Option<&'e Untrusted> {
        // An I/O error passes over its own cause when it is asked for it.
        causes.find_map(|cause| {
            let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()))
        })
    }
}

/// Says it to a client.
fn of_client(host: &str, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => of_certificate(host, why),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                format!(
                    "{host} asks for a certificate of its callers, and none was shown; name one and its key (--cert, --key; a server: tls.certificate, tls.key)"
                )
            }
            AlertDescription::UnknownCA => {
                format!(
                    "{host} does not know the CA of the certificate that was shown; show one from a CA that it trusts"
                )
            }
            AlertDescription::CertificateExpired => {
                format!("the certificate that was shown to {host} has expired, or is not valid yet; have another made")
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError => {
                format!(
                    "{host} does not accept the certificate that was shown; show one that is made for clients, from its CA"
                )
            }
            AlertDescription::NoApplicationProtocol => format!(
                "{host} speaks TLS, and another protocol over it; is this the address of a server of Undoubt, or of a proxy?"
            ),
            AlertDescription::ProtocolVersion => {
                format!("{host} speaks another version of TLS; 1.2 and 1.3 are spoken here")
            }
            other => format!("{host} ended the TLS handshake ({other:?}); its log may say why"),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::MessageTooLarge) => {
            format!("{host} does not speak TLS there; use http://, or the address where it does")
        }
        Error::NoApplicationProtocol => {
            format!("{host} does not speak the protocol that is needed here (HTTP/2); is this the right address?")
        }
        other => format!("the TLS handshake with {host} failed: {other}"),
    }
}

fn of_certificate(host: &str, why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            format!(
                "the certificate of {host} is not from a CA that is trusted here; name its CA's certificate (--ca; a server: tls.ca)"
            )
        }
        CertificateError::NotValidForName => {
            format!(
                "the certificate of {host} is for another name; use that name as the address, or have one made for {host}"
            )
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the certificate that was shown is not for {host} but for {}; use such a name as the address, or have one made for \
             {host}",
            if presented.is_empty() { "no host".to_owned() } else { presented.join(", ") }
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired; have another made, and look at this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet; look at the clocks of both machines")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("the certificate of {host} is not made for servers; have one made that is")
        }
        CertificateError::BadSignature => {
            format!(
                "the certificate of {host} is signed by another key than that of the CA that is trusted here (--ca)"
            )
        }
        other => format!("the certificate of {host} cannot be accepted: {other}"),
    }
}

/// Says to the log of a server why a client's handshake failed.
#[cfg(feature = "seams")]
pub(crate) fn of_server(error: &io::Error) -> String {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
        return error.to_string();
    };
    match cause {
        Error::NoCertificatesPresented => "it showed no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is not from a CA that is trusted here".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired".to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "it does not speak TLS".to_owned(),
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            "it does not trust this server's certificate".to_owned()
        }
        other => other.to_string(),
    }
}
