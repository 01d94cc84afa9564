//! Addresses of participants.

/// Whether the text is `http://host:port`.
pub(crate) fn is_plain_http(address: &str) -> bool {
    let Ok(uri) = address.parse::<tonic::transport::Uri>() else { return false };
    uri.scheme_str() == Some("http") && uri.host().is_some() && uri.port_u16().is_some() && uri.path() == "/"
}
