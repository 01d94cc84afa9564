//! Addresses that this server calls: of participants, and of those who want to be called back.

use tonic::transport::Uri;

/// A flaw of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The URL holds a user or a password. It must not be repeated in an error or a log.
    Credentials,
    Form,
}

/// Checks that the text is `http://host:port` or `https://host:port`.
pub(crate) fn check(address: &str) -> Result<(), Flaw> {
    match parse(address)?.path() {
        "/" => Ok(()),
        _ => Err(Flaw::Form),
    }
}

/// Reads `http://host:port` or `https://host:port`, with any path behind it.
pub(crate) fn parse(url: &str) -> Result<Uri, Flaw> {
    if has_credentials(url) {
        return Err(Flaw::Credentials);
    }
    let complete = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.port_u16().is_some()
    };
    url.parse::<Uri>().ok().filter(complete).ok_or(Flaw::Form)
}

/// Returns true if there is an `@` before the path, also in text that is no URL otherwise.
fn has_credentials(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_belongs_to_credentials_before_the_path_only() {
        for url in ["http://user:pw@host:1/", "http://user@host:1", "user:pw@host", "https://u:p@h/x"] {
            assert_eq!(parse(url), Err(Flaw::Credentials), "{url}");
        }
        assert!(parse("http://host:1/path/a@b?to=c@d").is_ok());
        assert_eq!(check("http://host:1/path"), Err(Flaw::Form));
        assert_eq!(check("http://host:1"), Ok(()));
    }
}
