//! The requests that a participant may make: any submitter names an address, and the participant reaches hosts that the submitter
//! does not.
//!
//! * A URL has to lie under one of the allowed prefixes: with the same scheme, host and port, and a path that begins with theirs, up to
//!   the end or a slash. Nothing is allowed where none is given.
//! * A name that leads to an address of this machine or of a private network is refused (a metadata service, say), unless the setting
//!   says that it may. A prefix that gives the IP address itself, or `localhost`, says that too.

use crate::address::{Address, BadAddress, Host};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The prefixes of allowed URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    prefixes: Vec<Address>,
    /// The hosts that may be in a private network.
    private: Vec<Host>,
}

/// A setting that is no prefix of URLs, or no name of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    #[error(
        "http.allow has {given:?}, which is no prefix of URLs ({bad}); write http://host:port/path or https://host/path"
    )]
    Prefix { given: String, bad: BadAddress },
    #[error("http.allow has {given:?} with a query, which no prefix has; leave it out")]
    Query { given: String },
    #[error("http.private_hosts has {given:?}, which is no name of a host; write it as it stands in http.allow")]
    Host { given: String },
}

impl Allowed {
    pub fn read(prefixes: &[String], private: &[String]) -> Result<Allowed, BadSetting> {
        let prefix = |given: &String| {
            let read = Address::read(given).map_err(|bad| BadSetting::Prefix { given: given.clone(), bad })?;
            match read.query {
                None => Ok(read),
                Some(_) => Err(BadSetting::Query { given: given.clone() }),
            }
        };
        let host = |given: &String| {
            let read =
                Address::read(&format!("http://{given}/")).map_err(|_| BadSetting::Host { given: given.clone() });
            read.map(|read| read.origin.host)
        };
        Ok(Allowed {
            prefixes: prefixes.iter().map(prefix).collect::<Result<_, _>>()?,
            private: private.iter().map(host).collect::<Result<_, _>>()?,
        })
    }

    /// Returns true if requests to this address may be made.
    pub fn allows(&self, address: &Address) -> bool {
        self.prefixes.iter().any(|prefix| is_under(address, prefix))
    }

    /// Returns those of a host's addresses that may be dialled.
    pub fn reachable(&self, host: &Host, resolved: Vec<IpAddr>) -> Vec<IpAddr> {
        // An IP address and localhost stand in a prefix, or there would be no request.
        let anywhere = matches!(host, Host::Ip(_)) || host.is_localhost() || self.private.contains(host);
        resolved.into_iter().filter(|ip| anywhere || is_public(*ip)).collect()
    }
}

/// Returns true if an address lies under another.
pub fn is_under(address: &Address, prefix: &Address) -> bool {
    let rest = address.path.strip_prefix(prefix.path.trim_end_matches('/'));
    address.origin == prefix.origin && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns true if the address is one that everybody could reach: neither this machine nor a private network, nor one of those that
/// are reserved, or stand for an IPv4 address.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [0 | 10 | 127 | 224..=255, ..] => false,
        [100, 64..128, ..] | [169, 254, ..] | [172, 16..32, ..] | [192, 168, ..] | [198, 18..20, ..] => false,
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => false,
        [..] => true,
    }
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // Protocol assignments with Teredo, documentation, 6to4.
        [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,
        // What is given to networks at large. All else is this machine, one network, many at a time, or IPv4 under another name.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(prefixes: &[&str], private: &[&str]) -> Allowed {
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        Allowed::read(&owned(prefixes), &owned(private)).unwrap()
    }

    #[test]
    fn only_what_lies_under_a_prefix_is_allowed_and_look_alikes_are_not() {
        let prefixes = [
            "https://shop.example/api/",
            "http://127.0.0.1:9001",
            "http://[::1]:9001/x",
            "https://xn--caf-dma.example/",
        ];
        let allowed = allowed(&prefixes, &[]);
        let allows = |url: &str| Address::read(url).is_ok_and(|address| allowed.allows(&address));
        for url in [
            "https://shop.example/api",
            "https://shop.example/api/",
            "https://SHOP.example.:443/api/a?b=c",
            "http://127.0.0.1:9001/any",
            "http://127.0.0.1:9001",
            "http://[0:0:0:0:0:0:0:1]:9001/x/y",
            "https://xn--caf-dma.example/menu",
        ] {
            assert!(allows(url), "{url}");
        }
        for url in [
            "https://shop.example/apis",
            "https://shop.example/",
            "https://shop.example/API",
            "https://shop.example/%61pi",
            "https://shop.example/api/../admin",
            "https://shop.example/api/%2e%2e/admin",
            "https://shop.example/api/..;/admin",
            "https://shop.example.evil/api",
            "https://shop.example@evil.example/api",
            "https://evil.example/https://shop.example/api",
            "http://shop.example/api",
            "https://shop.example:8443/api",
            "http://127.0.0.1:9002/",
            "http://127.0.0.1/",
            "http://localhost:9001/",
            "http://[::ffff:127.0.0.1]:9001/",
            "http://2130706433:9001/",
            "https://caf\u{e9}.example/menu",
        ] {
            assert!(!allows(url), "{url}");
        }
        assert!(!Allowed::default().allows(&Address::read("http://127.0.0.1/").unwrap()));
    }

    #[test]
    fn a_prefix_that_is_none_is_refused_with_what_is_wrong() {
        let read = |prefix: &str| Allowed::read(&[prefix.to_owned()], &[]).unwrap_err().to_string();
        for (prefix, said) in [("shop.example", "http://host"), ("http://h/?a", "query"), ("http://u@h/", "user")] {
            assert!(read(prefix).contains(said), "{}", read(prefix));
        }
        assert!(Allowed::read(&[], &["http://h".to_owned()]).unwrap_err().to_string().contains("private_hosts"));
    }

    #[test]
    fn a_name_leads_to_no_private_address_unless_that_was_said() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for public in ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_public(ip(public)), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip(private)), "{private}");
        }
        let allowed =
            allowed(&["https://a.example", "https://inside.example", "http://localhost:1"], &["inside.example"]);
        let host = |name: &str| Address::read(&format!("http://{name}/")).unwrap().origin.host;
        let both = || vec![ip("10.0.0.1"), ip("8.8.8.8")];
        assert_eq!(allowed.reachable(&host("a.example"), both()), [ip("8.8.8.8")]);
        assert_eq!(allowed.reachable(&host("inside.example"), both()), both());
        assert_eq!(allowed.reachable(&host("localhost"), vec![ip("127.0.0.1")]), [ip("127.0.0.1")]);
        assert_eq!(allowed.reachable(&host("10.0.0.1"), vec![ip("10.0.0.1")]), [ip("10.0.0.1")]);
    }
}
