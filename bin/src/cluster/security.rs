//! The certificates and identities of a cluster that is secured.

use crate::certificates::{self, Wanted};
use crate::credentials::Credentials;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint};
use undoubt_platform::access::{self, TokenHash};
use undoubt_platform::{OsRandom, dial};
use undoubt_tls::{ClientFiles, ClientTls, Protocol, TlsDial};

#[derive(Clone, Debug)]
pub(super) struct Security {
    folder: PathBuf,
    dial: Arc<TlsDial>,
}

const COORDINATORS: [&str; 2] = ["coordinator", "another-coordinator"];

impl Security {
    pub(super) fn make(folder: &Path, participants: &[String]) -> anyhow::Result<Security> {
        let folder = folder.join("certs");
        let wanted = |name: &str, list: &[&str]| Wanted {
            name: name.to_owned(),
            list: list.iter().map(ToString::to_string).collect(),
        };
        let servers = participants.iter().map(String::as_str).chain(COORDINATORS);
        let servers: Vec<Wanted> = servers.map(|name| wanted(name, &["127.0.0.1", "localhost"])).collect();
        let coordinators = COORDINATORS.map(|name| wanted(name, &["coordinator"]));
        let admin = wanted("admin", &["submit", "read", "operate"]);
        certificates::init(&folder, &servers, &[&coordinators[..], &[admin]].concat(), 1)?;
        let token = access::new_token(&OsRandom::new());
        std::fs::write(folder.join("bearer.token"), &token)?;
        let bearer = format!(
            "[[identity]]\nname = \"bearer\"\nroles = [\"submit\", \"read\"]\ntokens = [\"{}\"]\n",
            TokenHash::of(&token)
        );
        OpenOptions::new().append(true).open(folder.join("identities.toml"))?.write_all(bearer.as_bytes())?;
        let files = ClientFiles {
            ca: folder.join("ca.crt"),
            certificate: Some((folder.join("admin.crt"), folder.join("admin.key"))),
        };
        let dial = Arc::new(TlsDial::new(Some(Arc::new(ClientTls::load(files, Protocol::H2)?))));
        Ok(Security { folder, dial })
    }

    pub(super) fn credentials(&self, name: &str) -> Credentials {
        let file = |ending: &str| Some(self.folder.join(format!("{name}.{ending}")));
        Credentials { ca: Some(self.folder.join("ca.crt")), cert: file("crt"), key: file("key"), token_file: None }
    }

    /// Returns what somebody shows who has a token and no certificate.
    pub(super) fn token(&self) -> Credentials {
        let token_file = Some(self.folder.join("bearer.token"));
        Credentials { ca: Some(self.folder.join("ca.crt")), token_file, ..Credentials::default() }
    }

    /// Returns the arguments of a server.
    pub(super) fn arguments(&self, name: &str) -> Vec<String> {
        let settings = [
            ("tls.certificate", format!("{name}.crt")),
            ("tls.key", format!("{name}.key")),
            ("tls.ca", "ca.crt".to_owned()),
            ("access.identities", "identities.toml".to_owned()),
        ];
        let setting =
            |(key, file): (&str, String)| ["--set".to_owned(), format!("{key}={}", self.folder.join(file).display())];
        settings.into_iter().flat_map(setting).collect()
    }

    pub(super) async fn connect(&self, endpoint: Endpoint) -> Result<Channel, tonic::transport::Error> {
        dial::connect(endpoint, self.dial.clone()).await
    }
}
