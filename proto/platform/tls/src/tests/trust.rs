//! Who trusts whom, and what is said to whoever is not trusted.

use super::{Authority, Wanted, client, for_names, server_files};
use crate::{ClientCertificate, ClientTls, ServerTls, Untrusted, connect, names};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::TlsAcceptor;

/// Makes a handshake with the host `server`; the server says a word first, as one of HTTP/2 does. Returns the names that it saw.
async fn meet(server: &ServerTls, client: &ClientTls, host: &str) -> io::Result<Vec<String>> {
    let (near, far) = duplex(1 << 14);
    let acceptor = TlsAcceptor::from(server.current());
    let serving = tokio::spawn(async move {
        let mut stream = acceptor.accept(far).await?;
        stream.write_all(b"hello").await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        Ok::<_, io::Error>(shown.map(names).unwrap_or_default())
    });
    let mut stream = connect(client.current(), host, near).await?;
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await?;
    assert_eq!(&hello, b"hello");
    stream.write_all(b"hi").await?;
    stream.flush().await?;
    serving.await.unwrap()
}

fn server(authority: &Authority, wanted: &Wanted<'_>, asks: ClientCertificate) -> ServerTls {
    let files = server_files(authority.make("server", wanted), Some(&authority.ca()));
    ServerTls::load(files, asks, &[b"h2"]).unwrap()
}

fn refused(met: io::Result<Vec<String>>) -> String {
    let error = met.unwrap_err();
    let causes = std::iter::once(&error as &(dyn std::error::Error + 'static));
    assert!(Untrusted::among(causes).is_some(), "it would be tried again: {error:?}");
    error.to_string()
}

#[tokio::test]
async fn both_sides_know_each_other_by_the_names_in_their_certificates_and_a_wildcard_is_nobodys() {
    let authority = Authority::new();
    let server = server(&authority, &for_names(&["server"]), ClientCertificate::Required);
    let own =
        authority.make("client", &Wanted { uri: Some("spiffe://shop/orders"), ..for_names(&["orders", "*.shop"]) });
    let seen = meet(&server, &client(&authority.ca(), Some(own)), "server").await.unwrap();
    assert_eq!(seen, ["orders", "spiffe://shop/orders"]);
}

#[tokio::test]
async fn a_certificate_that_is_not_asked_for_may_be_missing_and_one_that_is_required_may_not() {
    let authority = Authority::new();
    let optional = server(&authority, &for_names(&["server"]), ClientCertificate::Optional);
    assert_eq!(meet(&optional, &client(&authority.ca(), None), "server").await.unwrap(), [""; 0]);
    let required = server(&authority, &for_names(&["server"]), ClientCertificate::Required);
    let said = refused(meet(&required, &client(&authority.ca(), None), "server").await);
    assert!(said.contains("asks for a certificate") && said.contains("--cert, --key"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_named_with_why_and_what_to_do() {
    let authority = Authority::new();
    let optional = ClientCertificate::Optional;
    let stranger = client(&Authority::new().ca(), None);
    let said = refused(meet(&server(&authority, &for_names(&["server"]), optional), &stranger, "server").await);
    assert!(said.contains("not from a CA that is trusted here") && said.contains("--ca"), "{said}");
    let trusting = client(&authority.ca(), None);
    let said = refused(meet(&server(&authority, &for_names(&["other", "third"]), optional), &trusting, "server").await);
    assert!(said.contains("not for server but for") && said.contains("other"), "{said}");
    // A server does not start with such a certificate where it can see that; one whose CA it does not know it cannot judge.
    for (from_days, to_days, why) in [(-2, -1, "has expired"), (1, 2, "not valid yet")] {
        let files = server_files(authority.make("old", &Wanted { from_days, to_days, ..for_names(&["server"]) }), None);
        let server = ServerTls::load(files, optional, &[b"h2"]).unwrap();
        let said = refused(meet(&server, &trusting, "server").await);
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn a_client_whose_certificate_is_not_accepted_hears_why_when_it_connects() {
    let authority = Authority::new();
    let server = server(&authority, &for_names(&["server"]), ClientCertificate::Required);
    let elsewhere = Authority::new();
    let own = elsewhere.make("client", &for_names(&["orders"]));
    let said = refused(meet(&server, &client(&authority.ca(), Some(own)), "server").await);
    assert!(said.contains("CA"), "{said}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_from_one_that_is_not_trusted() {
    let (near, mut far) = duplex(1 << 14);
    tokio::spawn(async move {
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = far.read_to_end(&mut Vec::new()).await;
    });
    let trusting = client(&Authority::new().ca(), None);
    let Err(error) = connect(trusting.current(), "server", near).await else { panic!("it is connected") };
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}
