//! The addresses of services, read so strictly that whoever reads them later cannot see another one in them.
//!
//! A URL that could be understood in two ways is refused: hosts in numbers that are no plain IP address, a user, dots that lead
//! up (written out, percent-encoded or behind a parameter), back slashes, control characters.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name of a host, and of one of its labels, in bytes.
const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// Levels of percent-encoding that are looked through.
const MAX_ENCODED_LEVELS: usize = 3;

/// The address of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub origin: Origin,
    /// Begins with a slash.
    pub path: String,
    /// The query behind the question mark.
    pub query: Option<String>,
}

/// The server that is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub is_encrypted: bool,
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name in small letters, without a full stop at its end.
    Name(String),
    Ip(IpAddr),
}

/// The reason why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(&'static str);

impl Address {
    pub fn read(url: &str) -> Result<Address, BadAddress> {
        let (is_encrypted, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(BadAddress("it begins with neither http:// nor https://")),
        };
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['\\', '#']) {
            return Err(BadAddress("it has a character that a URL cannot have, or a fragment"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let origin = Origin::read(is_encrypted, authority)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        check_path(path)?;
        Ok(Address { origin, path: path.to_owned(), query })
    }

    /// Returns the path and the query as they stand in a request.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// Writes all but the query, which may hold a secret.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl Origin {
    fn read(is_encrypted: bool, authority: &str) -> Result<Origin, BadAddress> {
        if authority.contains('@') {
            return Err(BadAddress("it names a user or a password"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (inside, port) = rest.split_once(']').ok_or(BadAddress("its [ is not closed"))?;
                let ip: Ipv6Addr = inside.parse().map_err(|_| BadAddress("its host in [ ] is no IPv6 address"))?;
                (Host::Ip(ip.into()), port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at(end);
                (Host::read(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(BadAddress("its port is none"))?
            }
            None if port.is_empty() => Origin::port_of(is_encrypted),
            Some(_) | None => return Err(BadAddress("its port is none")),
        };
        Ok(Origin { is_encrypted, host, port })
    }

    fn port_of(is_encrypted: bool) -> u16 {
        if is_encrypted { 443 } else { 80 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_encrypted { "https" } else { "http" }, self.host)?;
        if self.port == Origin::port_of(self.is_encrypted) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Host {
    fn read(text: &str) -> Result<Host, BadAddress> {
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Ip(ip.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=MAX_LABEL_BYTES).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if name.len() > MAX_HOST_BYTES || !name.split('.').all(is_label) {
            return Err(BadAddress("its host is no name: those have a-z 0-9 - _, and full stops between labels"));
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        // Many programs take these for an IP address, each in its own way.
        if is_number {
            return Err(BadAddress("its host is a number, and no IP address of four decimal numbers"));
        }
        Ok(Host::Name(name))
    }

    /// Returns true if it is the name of this machine, which is not looked up.
    pub fn is_localhost(&self) -> bool {
        matches!(self, Host::Name(name) if name == "localhost")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

fn check_path(path: &str) -> Result<(), BadAddress> {
    if path.contains(['{', '}', '"', '<', '>', '^', '`', '|']) {
        return Err(BadAddress("its path has a character that has to be percent-encoded"));
    }
    let mut seen = path.to_owned();
    for _ in 0..MAX_ENCODED_LEVELS {
        let leads_up = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
        if seen.split(['/', '\\']).any(leads_up) {
            return Err(BadAddress("its path has a . or .. that leads somewhere else"));
        }
        if !seen.contains('%') {
            return Ok(());
        }
        seen = decoded(&seen)?;
    }
    Err(BadAddress("its path is percent-encoded several times over"))
}

/// Returns the text with one level of percent-encoding taken away.
fn decoded(text: &str) -> Result<String, BadAddress> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (pair, after) = rest.split_at_checked(2).ok_or(BadAddress("a % in its path stands for nothing"))?;
        let digits = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let byte = byte.ok_or(BadAddress("a % in its path stands for nothing"))?;
        if byte.is_ascii_control() {
            return Err(BadAddress("its path has a control character"));
        }
        bytes.push(byte);
        rest = after;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns a text as it may stand for a part of a path or a query.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_read_in_one_way() {
        let read = |url: &str| Address::read(url).map(|address| address.to_string()).map_err(|bad| bad.0);
        for (url, is) in [
            ("http://HOST.example", "http://host.example/"),
            ("http://host.example.:80/a?b=/../c", "http://host.example/a"),
            ("https://host:443/a/%20b", "https://host/a/%20b"),
            ("https://[::1]:8443/", "https://[::1]:8443/"),
            ("http://127.0.0.1:9001/x;v=1", "http://127.0.0.1:9001/x;v=1"),
            ("http://h/a..b/..c/...", "http://h/a..b/..c/..."),
        ] {
            assert_eq!(read(url), Ok(is.to_owned()), "{url}");
        }
        for url in [
            "ftp://h/",
            "HTTP://h/",
            "http:/h/",
            "http://",
            "http:///x",
            "http://u@h/",
            "http://u:p@h/",
            "http://allowed.example\\@evil.example/",
            "http://h/a\\b",
            "http://h/a#b",
            "http://h /",
            "http://h:0/",
            "http://h:/",
            "http://h:65536/",
            "http://h:80:80/",
            "http://[::1/",
            "http://[fe80::1%25eth0]/",
            "http://[1.2.3.4]/",
            "http://::1/",
            "http://2130706433/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://0x7f000001/",
            "http://0177.0.0.01/",
            "http://h..x/",
            "http://.h/",
            "http://h%2e/",
            "http://h\u{e4}/",
            "http://h/../x",
            "http://h/a/..",
            "http://h/./x",
            "http://h/%2e%2e/x",
            "http://h/.%2E/x",
            "http://h/a%2f..%2fx",
            "http://h/a/..;x/b",
            "http://h/a%5c..%5cx",
            "http://h/%252e%252e/x",
            "http://h/%25252e/x",
            "http://h/%00",
            "http://h/%0d%0ax",
            "http://h/%zz",
            "http://h/%2",
            "http://h/{x}",
        ] {
            assert!(read(url).is_err(), "{url} is {:?}", read(url));
        }
    }

    proptest! {
        #[test]
        fn what_is_put_into_a_path_stays_one_part_of_it(text in "[^.].*") {
            let address = Address::read(&format!("http://h/a/{}/b", encoded(&text)));
            if let Ok(address) = address {
                prop_assert_eq!(address.path.split('/').count(), 4);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(http://)?.{0,60}") {
            if let Ok(address) = Address::read(&text) {
                prop_assert_eq!(Address::read(&address.to_string()).map(|read| read.path), Ok(address.path));
            }
        }
    }
}
