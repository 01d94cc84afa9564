//! The decoders that face the other end of a connection: of TLS, of the port for metrics, and of a callback.

use crate::{Target, says_why};
use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::future::{Future, pending};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;
use tonic::transport::Uri;
use undoubt_coordinator::decoders;
use undoubt_platform::dial::Dial;
use undoubt_platform::metrics::{Board, serve_board};
use undoubt_platform::server::boxed;
use undoubt_platform::{Access, Connection};
use undoubt_tls::{ClientCertificate, ClientFiles, ClientTls, Protocol, ServerFiles, ServerTls, accept, connect};

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "tls-of-client", decode: tls_of_client, growth: 64, seeds: hellos },
    Target { name: "tls-of-server", decode: tls_of_server, growth: 64, seeds: server_hellos },
    Target { name: "metrics-request", decode: metrics_request, growth: 64, seeds: metrics_requests },
    Target { name: "callback-answer", decode: callback_answer, growth: 64, seeds: callback_answers },
];

/// The room of a connection, each way.
pub(crate) const PIPE_BYTES: usize = 64 << 10;

/// The time that a conversation may take, by a clock that stands still while somebody works.
const LONGEST: Duration = Duration::from_secs(300);

/// Runs a conversation to its end, by a clock that goes on whenever all wait.
pub(crate) fn converse(conversation: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("there is room for it");
    let ended = runtime.block_on(async { timeout(LONGEST, conversation).await });
    assert!(ended.is_ok(), "it has no end");
}

/// Returns a connection whose other end says this and nothing else, and the time at which both sides have ended.
pub(crate) fn said(input: &[u8]) -> (DuplexStream, BoxFuture<'static, ()>) {
    let (mut theirs, ours) = duplex(PIPE_BYTES);
    let input = input.to_vec();
    let saying = tokio::spawn(async move {
        // Whoever is spoken to may have hung up.
        let _ = theirs.write_all(&input).await;
        let _ = theirs.shutdown().await;
        let _ = theirs.read_to_end(&mut Vec::new()).await;
    });
    (ours, Box::pin(saying.map(drop)))
}

/// A dialler at whose other end the same is always said.
pub(crate) struct Says(pub(crate) Vec<u8>);

impl Dial for Says {
    fn dial(&self, _address: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        let connection = Connection::over(said(&self.0).0);
        Box::pin(async move { Ok(connection) })
    }
}

/// A certificate and its key, in a folder that lives as long as this.
#[derive(Debug)]
pub(crate) struct Made {
    _folder: tempfile::TempDir,
    files: (PathBuf, PathBuf),
    pub(crate) certificate: String,
    pub(crate) key: String,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["server.example".to_owned()]).expect("it is a name");
    let folder = tempfile::tempdir().expect("there is room for it");
    let files = (folder.path().join("own.crt"), folder.path().join("own.key"));
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(&files.0, &certificate).and_then(|()| std::fs::write(&files.1, &key)).expect("there is room for it");
    Made { _folder: folder, files, certificate, key }
});

pub(crate) fn certificate() -> &'static Made {
    &MADE
}

static SERVER: LazyLock<Arc<ServerTls>> = LazyLock::new(|| {
    let (certificate, key) = MADE.files.clone();
    let files = ServerFiles { client_ca: Some(certificate.clone()), certificate, key };
    Arc::new(ServerTls::load(files, ClientCertificate::Optional, &[b"h2"]).expect("they are whole"))
});

static CLIENT: LazyLock<ClientTls> = LazyLock::new(|| {
    let files = ClientFiles { ca: MADE.files.0.clone(), certificate: None };
    ClientTls::load(files, Protocol::H2).expect("they are whole")
});

fn tls_of_client(input: &[u8]) {
    converse(async {
        let incoming = futures::stream::iter([Ok(said(input).0)]);
        let mut accepted = accept(boxed(incoming), SERVER.clone());
        while accepted.next().await.is_some() {}
    });
}

fn tls_of_server(input: &[u8]) {
    converse(async {
        if let Err(why) = connect(CLIENT.current(), "server.example", said(input).0).await {
            says_why(&why, input);
        }
    });
}

fn metrics_request(input: &[u8]) {
    converse(async {
        let incoming = futures::stream::iter([Ok(said(input).0)]);
        // It ends as no more connections come in; what has come is answered meanwhile.
        let ended = serve_board(Board::default(), boxed(incoming), Access::open()).await;
        assert!(ended.is_err());
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

fn callback_answer(input: &[u8]) {
    let url = Uri::from_static("http://127.0.0.1:80/hook");
    converse(async {
        if let Err(why) = decoders::callback_answer(&Says(input.to_vec()), &url).await {
            says_why(&why, input);
        }
    });
}

/// Returns what either side of a handshake says, the client's first.
fn handshake() -> (Vec<u8>, Vec<u8>) {
    let (mut of_client, mut of_server) = (Vec::new(), Vec::new());
    converse(async {
        let (client, tapped_client) = duplex(PIPE_BYTES);
        let (server, tapped_server) = duplex(PIPE_BYTES);
        let mut accepted = accept(boxed(futures::stream::iter([Ok(server)])), SERVER.clone());
        let talking = async {
            let accepting = async {
                // It stays, lest the client wait for a first word that cannot come.
                let _connection = accepted.next().await;
                pending::<()>().await;
            };
            let connecting = connect(CLIENT.current(), "server.example", client);
            tokio::select! {
                () = accepting => {}
                connected = connecting => drop(connected.expect("both are whole")),
            }
        };
        tokio::join!(talking, tap(tapped_client, tapped_server, &mut of_client, &mut of_server));
    });
    (of_client, of_server)
}

/// Passes bytes between the two sides of a connection until either ends, and keeps them.
pub(crate) async fn tap(client: DuplexStream, server: DuplexStream, up: &mut Vec<u8>, down: &mut Vec<u8>) {
    async fn pass(from: impl tokio::io::AsyncRead, to: impl tokio::io::AsyncWrite, kept: &mut Vec<u8>) {
        tokio::pin!(from, to);
        let mut part = vec![0; 4 << 10];
        while let Ok(length) = from.read(&mut part).await
            && length > 0
        {
            kept.extend_from_slice(&part[..length]);
            if to.write_all(&part[..length]).await.is_err() {
                break;
            }
        }
        // It may have ended already.
        let _ = to.shutdown().await;
    }
    let (client_reads, client_writes) = tokio::io::split(client);
    let (server_reads, server_writes) = tokio::io::split(server);
    tokio::join!(pass(client_reads, server_writes, up), pass(server_reads, client_writes, down));
}

fn hellos() -> Vec<Vec<u8>> {
    vec![handshake().0]
}

fn server_hellos() -> Vec<Vec<u8>> {
    vec![handshake().1]
}

fn metrics_requests() -> Vec<Vec<u8>> {
    [
        "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n",
        "HEAD /readyz HTTP/1.0\r\nA: b\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn callback_answers() -> Vec<Vec<u8>> {
    [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
