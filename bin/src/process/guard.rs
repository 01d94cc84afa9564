//! The guard of a server: its certificates, the identities that it knows, and the keys of an identity provider. All are read again when
//! their files change.

use super::oidc::KeysFile;
use super::signals::HangUps;
use super::{Failed, Failure, OrFailed as _, accepted};
use anyhow::{Context, anyhow};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use undoubt_platform::access::{AccessConfig, ClientCertificates, Identities, TlsConfig};
use undoubt_platform::{Access, Incoming};
use undoubt_tls::{
    ClientCertificate, ClientFiles, ClientTls, Protocol, Refreshed, ServerFiles, ServerTls, TlsDial, accept,
    readable_by_others,
};

/// The period in which files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The settings of both servers that say how they are guarded.
#[derive(Clone, Copy, Debug)]
pub struct Guarding<'a> {
    pub tls: &'a TlsConfig,
    pub access: &'a AccessConfig,
    pub insecure: bool,
}

/// What guards a server.
#[derive(Debug)]
pub struct Guard {
    access: Access,
    door: Door,
    door_for_figures: Door,
    /// The files of a server with TLS, for doors that are asked for later.
    files: Option<(ServerFiles, ClientCertificate)>,
    identities: Option<IdentitiesFile>,
    keys_of_provider: Option<KeysFile>,
    /// Everything that is looked at again, by the name under which it is told.
    looked_at: Vec<(&'static str, Looked)>,
}

/// What lets connections in.
#[derive(Clone, Debug)]
pub struct Door {
    tls: Option<Arc<ServerTls>>,
    asks_who: bool,
    insecure: bool,
}

#[derive(Debug)]
struct IdentitiesFile {
    path: PathBuf,
    /// What it held when it was looked at last.
    seen: Result<String, String>,
}

#[derive(Clone, Debug)]
enum Looked {
    Server(Arc<ServerTls>),
    Client(Arc<ClientTls>),
}

impl Looked {
    fn refresh(&self) -> Refreshed {
        match self {
            Looked::Server(tls) => tls.refresh(),
            Looked::Client(tls) => tls.refresh(),
        }
    }
}

impl Guard {
    /// Reads the files that the settings name.
    pub fn load(guarding: Guarding<'_>) -> Result<Guard, Failed> {
        Guard::read(guarding).or_failed(Failure::Configuration)
    }

    fn read(Guarding { tls, access, insecure }: Guarding<'_>) -> anyhow::Result<Guard> {
        let identities =
            access.identities().map(|path| IdentitiesFile { path: path.to_owned(), seen: read_text(path) });
        let known = match &identities {
            Some(file) => parse(file).with_context(|| format!("access.identities: {}", file.path.display()))?,
            None => Identities::default(),
        };
        let (asks_who, oidc, has_subjects) = (access.asks_who(), &access.oidc, known.have_subjects());
        let access = Access::new(known, access.anonymous());
        let keys_of_provider = KeysFile::load(oidc, &access)?;
        if has_subjects && keys_of_provider.is_none() {
            tracing::warn!(
                "identities have subjects, and nobody says who they are: set access.oidc, or take the subjects out"
            );
        }
        let (mut looked_at, files) = (Vec::new(), server_files(tls)?);
        let mut door = |asks_all: bool, protocol: &'static [&'static [u8]], what: &'static str| {
            let Some((files, asks)) = files.clone() else { return Ok(None) };
            let asks = if asks_all { asks } else { ClientCertificate::Optional };
            let tls = Arc::new(ServerTls::load(files, asks, protocol).context("[tls]")?);
            looked_at.push((what, Looked::Server(tls.clone())));
            anyhow::Ok(Some(tls))
        };
        let server = door(true, &[b"h2"], "the certificate of this server")?;
        // Whoever watches over life and readiness may have no certificate; figures are told by role.
        let figures = door(false, &[b"http/1.1"], "the certificate of the port for figures")?;
        if let Some((files, _)) = &files {
            warn_if_readable(&files.key);
        }
        let door = Door { tls: server, asks_who, insecure };
        let door_for_figures = Door { tls: figures, ..door.clone() };
        Ok(Guard { access, looked_at, door, door_for_figures, files, identities, keys_of_provider })
    }

    /// Returns the dialler for those who are called: with `protocol`, trusting these CAs, and showing the server's certificate
    /// if it `shows` one.
    pub fn dial(
        &mut self,
        ca: Option<&Path>,
        shows: Option<&TlsConfig>,
        protocol: Protocol,
        what: &'static str,
    ) -> Result<Arc<TlsDial>, Failed> {
        let Some(ca) = ca else { return Ok(Arc::new(TlsDial::default())) };
        let pair = shows.and_then(|tls| Some((tls.certificate()?.to_owned(), tls.key()?.to_owned())));
        let tls = ClientTls::load(ClientFiles { ca: ca.to_owned(), certificate: pair }, protocol);
        let tls = Arc::new(tls.context(what).or_failed(Failure::Configuration)?);
        self.looked_at.push((what, Looked::Client(tls.clone())));
        Ok(Arc::new(TlsDial::new(Some(tls))))
    }

    /// Returns the certificates for calling servers that speak HTTP.
    pub fn client(&mut self, files: ClientFiles, what: &'static str) -> Result<Arc<ClientTls>, Failed> {
        let tls = Arc::new(ClientTls::load(files, Protocol::Http).context(what).or_failed(Failure::Configuration)?);
        self.looked_at.push((what, Looked::Client(tls.clone())));
        Ok(tls)
    }

    pub fn access(&self) -> Access {
        self.access.clone()
    }

    pub fn at_the_door(&self) -> Door {
        self.door.clone()
    }

    pub fn at_the_door_for_figures(&self) -> Door {
        self.door_for_figures.clone()
    }

    /// Returns the door of a port for HTTP, which asks who comes as the server's own does.
    pub fn at_the_door_for_http(&mut self) -> Result<Door, Failed> {
        let Some((files, asks)) = self.files.clone() else { return Ok(self.door.clone()) };
        let tls = ServerTls::load(files, asks, &[b"http/1.1"]).context("[tls]").or_failed(Failure::Configuration)?;
        let tls = Arc::new(tls);
        self.looked_at.push(("the certificate of the port for HTTP", Looked::Server(tls.clone())));
        Ok(Door { tls: Some(tls), ..self.door.clone() })
    }

    /// Looks at the files again, every minute and at each SIGHUP, until the process ends. What has changed is told, and what
    /// cannot be used changes nothing.
    pub fn watch(mut self, mut hang_ups: HangUps) {
        tokio::spawn(async move {
            let mut ticks = interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        self.look();
                    }
                    () = hang_ups.next() => {
                        if !self.look() {
                            tracing::info!(
                                "SIGHUP: no file of certificates, identities or keys has changed"
                            );
                        }
                    }
                }
            }
        });
    }

    /// Returns true if there was anything to tell.
    fn look(&mut self) -> bool {
        let mut told = false;
        for (what, looked) in &self.looked_at {
            match looked.refresh() {
                Refreshed::Unchanged => continue,
                Refreshed::Changed => tracing::info!(what, "new certificates hold from the next connection on"),
                Refreshed::KeptOut(error) => tracing::warn!(
                    what,
                    %error,
                    "new files cannot be used and are kept out: what was read before goes on. Mend them, and send SIGHUP or wait"
                ),
            }
            told = true;
        }
        told |= self.identities.as_mut().is_some_and(|file| file.look(&self.access));
        told | self.keys_of_provider.as_mut().is_some_and(|file| file.look(&self.access))
    }
}

impl Door {
    /// Returns true if whoever comes in has to speak TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the connections that come in to a listener, if it may listen there.
    pub fn incoming(&self, listener: TcpListener) -> Result<Incoming, Failed> {
        let address = listener.local_addr().or_failed(Failure::Address)?;
        self.check_address(address).or_failed(Failure::Configuration)?;
        let incoming = accepted(listener);
        Ok(match &self.tls {
            Some(tls) => accept(incoming, tls.clone()),
            None => incoming,
        })
    }

    /// Checks that a server may listen on an address: on one that others reach not without TLS and identities, unless somebody
    /// has said that it may.
    fn check_address(&self, address: SocketAddr) -> anyhow::Result<()> {
        let lacks = match (&self.tls, self.asks_who) {
            (None, _) => {
                "without TLS, whoever is on the way could read and change everything; set tls.certificate and tls.key"
            }
            (Some(_), false) => {
                "without identities, whoever reaches it could do everything; set access.identities, or access.oidc"
            }
            (Some(_), true) => return Ok(()),
        };
        if address.ip().is_loopback() {
            return Ok(());
        }
        if !self.insecure {
            return Err(anyhow!(
                "{address} is reached from other machines, and {lacks} (`undoubt certs init` makes a first set), or listen on \
                 127.0.0.1, or say --insecure"
            ));
        }
        tracing::warn!(%address, "this server is insecure, as it was told to be: {lacks}");
        Ok(())
    }
}

impl IdentitiesFile {
    fn look(&mut self, access: &Access) -> bool {
        let now = read_text(&self.path);
        if now == self.seen {
            return false;
        }
        self.seen = now;
        let path = self.path.display();
        match parse(self) {
            Ok(identities) => {
                let count = identities.len();
                access.replace(identities);
                tracing::info!(%path, count, "new identities hold from the next request on");
            }
            Err(error) => tracing::warn!(
                %path,
                error = format!("{error:#}"),
                "new identities cannot be used and are kept out: those that were read before go on. Mend the file, and send SIGHUP \
                 or wait"
            ),
        }
        true
    }
}

pub(super) fn read_text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn parse(file: &IdentitiesFile) -> anyhow::Result<Identities> {
    let text = file.seen.as_ref().map_err(|cause| anyhow!("it cannot be read ({cause}); name a file that can"))?;
    Ok(Identities::parse(text)?)
}

/// Returns the files of a server with TLS.
fn server_files(tls: &TlsConfig) -> anyhow::Result<Option<(ServerFiles, ClientCertificate)>> {
    let (certificate, key) = match (tls.certificate(), tls.key()) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate.to_owned(), key.to_owned()),
        (Some(_), None) => return Err(anyhow!("tls.certificate is set, and tls.key is not; set both")),
        (None, Some(_)) => return Err(anyhow!("tls.key is set, and tls.certificate is not; set both")),
    };
    let client_ca = || {
        let lacks = "tls.client_certificates asks callers for certificates, and neither tls.client_ca nor tls.ca says of which CA; \
                     set one, or set client_certificates to none";
        tls.client_ca().map(Path::to_owned).context(lacks)
    };
    let (client_ca, asks) = match tls.client_certificates {
        ClientCertificates::Required => (Some(client_ca()?), ClientCertificate::Required),
        ClientCertificates::Optional => (Some(client_ca()?), ClientCertificate::Optional),
        ClientCertificates::None => (None, ClientCertificate::Optional),
    };
    Ok(Some((ServerFiles { certificate, key, client_ca }, asks)))
}

/// Reads a file with a secret, and says so if others may read it too.
pub fn read_secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    warn_if_readable(path);
    std::fs::read(path)
        .with_context(|| format!("{} cannot be read; name a file that this process may read", path.display()))
}

fn warn_if_readable(path: &Path) {
    if readable_by_others(path) {
        tracing::warn!(path = %path.display(), "everybody on this machine may read this secret; take that away (chmod o= FILE)");
    }
}
