//! A small CA and its certificates, for a first cluster. Whoever has a CA of his own uses that.

use anyhow::{Context, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use undoubt_platform::access::Role;
use undoubt_platform::{Clock as _, SystemClock};
use undoubt_vocabulary::id::check_name;

/// A certificate to make: of a server, with the hosts under which it is called, or of a caller, with its roles.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: String,
    pub list: Vec<String>,
}

/// Clocks may be apart by so much.
const BEFORE_NOW: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(86_400);

/// The CA outlives its certificates.
const CA_DAYS: u32 = 3_650;

/// Makes what is wanted in a folder, and the CA if there is none yet. Returns the files that were written. None is overwritten.
pub fn init(folder: &Path, servers: &[Wanted], clients: &[Wanted], days: u32) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = Vec::new();
    let ca = authority(folder, &mut written)?;
    let mut identities = String::new();
    for Wanted { name, list } in servers {
        ensure!(!list.is_empty(), "server {name} has no hosts; write NAME=HOST,HOST");
        pair(folder, &ca, name, list, days, &mut written)?;
    }
    for Wanted { name, list } in clients {
        ensure!(!list.is_empty(), "client {name} has no roles; write NAME=ROLE,ROLE");
        for role in list {
            role.parse::<Role>().with_context(|| format!("client {name}"))?;
        }
        // A server that calls others shows them the same certificate.
        if !servers.iter().any(|server| server.name == *name) {
            pair(folder, &ca, name, &[], days, &mut written)?;
        }
        identities += &identity(name, list);
    }
    let file = folder.join("identities.toml");
    let mut appended = OpenOptions::new().create(true).append(true).open(&file)?;
    appended.write_all(identities.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
    written.push(file);
    Ok(written)
}

/// Returns the entry of an identity whose certificate has its own name.
fn identity(name: &str, roles: &[String]) -> String {
    let roles: Vec<String> = roles.iter().map(|role| format!("\"{role}\"")).collect();
    format!("[[identity]]\nname = \"{name}\"\nroles = [{}]\ncertificates = [\"{name}\"]\n\n", roles.join(", "))
}

fn authority(folder: &Path, written: &mut Vec<PathBuf>) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let (certificate, key_file) = (folder.join("ca.crt"), folder.join("ca.key"));
    let mut params = valid(CertificateParams::default(), CA_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let known = certificate.exists();
    let key = if known {
        let pem = std::fs::read_to_string(&key_file)
            .with_context(|| format!("there is a CA in {}, and its key ca.key cannot be read", folder.display()))?;
        KeyPair::from_pem(&pem).with_context(|| format!("{} holds no key", key_file.display()))?
    } else {
        KeyPair::generate()?
    };
    // Each CA has a name of its own, so that a certificate of another is known as from elsewhere, and not taken for a forged one.
    let digits = blake3::hash(key.public_key_raw()).to_hex();
    params.distinguished_name.push(DnType::CommonName, format!("Undoubt cluster CA {}", &digits[..8]));
    if known {
        return Ok(Issuer::new(params, key));
    }
    write(&key_file, &key.serialize_pem(), true, written)?;
    write(&certificate, &params.self_signed(&key)?.pem(), false, written)?;
    Ok(Issuer::new(params, key))
}

fn pair(
    folder: &Path,
    ca: &Issuer<'static, KeyPair>,
    name: &str,
    hosts: &[String],
    days: u32,
    written: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    check_name("the name of a certificate", name)?;
    ensure!(name != "ca", "ca is the name of the CA; choose another");
    let mut params = valid(CertificateParams::default(), days)?;
    for host in [name].into_iter().chain(hosts.iter().map(String::as_str)) {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().with_context(|| format!("{host:?} is no name of a host"))?),
        });
    }
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if !hosts.is_empty() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?;
    write(&folder.join(format!("{name}.key")), &key.serialize_pem(), true, written)?;
    write(&folder.join(format!("{name}.crt")), &certificate.pem(), false, written)
}

fn valid(mut params: CertificateParams, days: u32) -> anyhow::Result<CertificateParams> {
    let now = i64::try_from(SystemClock.now().0 / 1_000_000)?;
    let now = time::OffsetDateTime::from_unix_timestamp(now)?;
    params.not_before = now - BEFORE_NOW;
    params.not_after = now + DAY * days;
    Ok(params)
}

/// Writes a new file; a secret one for its owner alone.
fn write(path: &Path, text: &str, is_secret: bool, written: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mode = if is_secret { 0o600 } else { 0o644 };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(|| {
            format!("cannot make {}; move away what is there, or choose another name", path.display())
        })?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    written.push(path.to_owned());
    Ok(())
}
