//! Where callbacks may go: any submitter names an address, and the coordinator reaches hosts that the submitter does not.

use crate::address;
use tonic::transport::Uri;

/// Returns true if a URL lies under one of the allowed ones: with the same scheme, host and port, and a path that begins with
/// theirs, up to the end or a slash.
pub(super) fn is_allowed(url: &Uri, allowed: &[String]) -> bool {
    allowed.iter().any(|prefix| address::parse(prefix).is_ok_and(|prefix| is_under(url, &prefix)))
}

fn is_under(url: &Uri, prefix: &Uri) -> bool {
    let same_host = url.scheme() == prefix.scheme()
        && url.port_u16() == prefix.port_u16()
        && url.host().unwrap_or_default().eq_ignore_ascii_case(prefix.host().unwrap_or_default());
    let rest = url.path().strip_prefix(prefix.path().trim_end_matches('/'));
    // A receiver may take `..` for the way up, out of what is allowed.
    let stays = !url.path().split('/').any(|part| matches!(part, "." | "..")) && !url.path().contains('%');
    same_host && stays && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {

    #[test]
    fn only_what_lies_under_a_prefix_is_allowed_and_look_alikes_are_not() {
        let allowed = ["https://shop.example:443/hooks".to_owned(), "http://127.0.0.1:80".to_owned()];
        let is_allowed = |url: &str| super::is_allowed(&url.parse().unwrap(), &allowed);
        for url in ["https://shop.example:443/hooks", "https://SHOP.example:443/hooks/a?b=c", "http://127.0.0.1:80/any"]
        {
            assert!(is_allowed(url), "{url}");
        }
        for url in [
            "https://shop.example:443/hooksters",
            "https://shop.example:443/",
            "https://shop.example.evil:443/hooks",
            "http://shop.example:443/hooks",
            "https://shop.example:8443/hooks",
            "http://127.0.0.1:8080/any",
            "https://shop.example:443/hooks/../admin",
            "https://shop.example:443/hooks/%2e%2e/admin",
        ] {
            assert!(!is_allowed(url), "{url}");
        }
        assert!(!super::is_allowed(&"http://a:1/".parse().unwrap(), &[]));
    }
}
