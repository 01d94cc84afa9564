//! What a command shows to servers: whom it trusts, and who it is.

use std::path::PathBuf;
use undoubt_client::{ClientOptions, InvalidCredentials};

/// The flags of every command that asks a server.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Credentials {
    /// The CAs whose servers are trusted at https://, as PEM.
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", env = "UNDOUBT_CA")]
    pub ca: Option<PathBuf>,
    /// The certificate to show to servers, as PEM.
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", env = "UNDOUBT_CERT")]
    pub cert: Option<PathBuf>,
    /// The private key to the certificate, as PEM.
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", env = "UNDOUBT_KEY")]
    pub key: Option<PathBuf>,
    /// A file with the token that says who asks.
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", env = "UNDOUBT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

const HEADING: &str = "Certificates and tokens";

/// The reason why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Invalid(#[from] InvalidCredentials),
    #[error("--cert and --key belong together; name both")]
    Half,
    #[error("--cert needs --ca, for a certificate is shown to trusted servers only; name the CA of the server")]
    NoCa,
    #[error("the token in {path} cannot be read ({cause}); name a file that can", path = .path.display())]
    Token { path: PathBuf, cause: std::io::Error },
}

impl Credentials {
    /// Adds them to the options of a client.
    pub fn give(&self, mut options: ClientOptions) -> Result<ClientOptions, Unusable> {
        let pair = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Unusable::Half),
        };
        match &self.ca {
            Some(ca) => options = options.tls(ca.clone(), pair)?,
            None if pair.is_some() => return Err(Unusable::NoCa),
            None => {}
        }
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path).map_err(|cause| Unusable::Token { path: path.clone(), cause })?;
            options = options.token(text.trim())?;
        }
        Ok(options)
    }
}
