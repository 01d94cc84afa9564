//! Callbacks of a coordinator that knows its callers: encrypted, signed, and only where they may go.

use crate::support::cli::undoubt_as;
use crate::support::{PATIENCE, banks, start};
use futures::StreamExt as _;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use undoubt::certificates::{self, Wanted};
use undoubt::cluster::Plan;
use undoubt::process::accepted;
use undoubt_platform::Incoming;
use undoubt_tls::{ClientCertificate, ServerFiles, ServerTls, accept};

const SECRET: &str = "a secret of sixteen bytes or more";

/// A call as its receiver sees it.
#[derive(Debug)]
struct Call {
    head: String,
    body: String,
}

impl Call {
    fn signature(&self) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with("undoubt-signature:"));
        line.expect("it is not signed").split_once(':').unwrap().1.trim()
    }
}

/// Hears one call, and answers it.
async fn hear(incoming: &mut Incoming) -> Call {
    let mut connection = timeout(PATIENCE, incoming.next()).await.expect("nobody calls").unwrap().unwrap();
    let mut heard = Vec::new();
    loop {
        assert!(connection.read_buf(&mut heard).await.unwrap() > 0, "the call ended early");
        let text = String::from_utf8_lossy(&heard).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if length == Some(body.len()) {
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            connection.flush().await.unwrap();
            return Call { head: head.to_owned(), body: body.to_owned() };
        }
    }
}

/// Returns what the receiver of bin/NETWORK.md says of a call.
async fn verified(signature: &str, body: &str, seconds_later: u64) -> String {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let page = std::fs::read_to_string(format!("{folder}/NETWORK.md")).unwrap();
    let (_, rest) = page.split_once("```python\n").expect("the page has a receiver");
    let (snippet, _) = rest.split_once("```").unwrap();
    let program = format!(
        "{snippet}\nimport sys\nsent = int(sys.argv[2].split(',')[0][2:])\n\
         print(is_genuine(sys.argv[1].encode(), sys.argv[2], sys.argv[3].encode(), sent + int(sys.argv[4])))\n"
    );
    let python = std::env::var("UNDOUBT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let later = seconds_later.to_string();
    let mut command = Command::new(python);
    command.args(["-c", &program, SECRET, signature, body, &later]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("there is no python3");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn calls_are_encrypted_signed_and_go_where_they_may() {
    let files = TempDir::new().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let coordinator_settings = vec![
        format!("callback_allow=[\"{url}/hooks\"]"),
        format!("callback_secret={}", secret.display()),
        "callback_first_pause_ms=10".to_owned(),
    ];
    let cluster = start(Plan { secured: true, coordinator_settings, ..banks() }).await;
    let certs = cluster.folder().join("certs");
    let receiver = Wanted { name: "receiver".to_owned(), list: vec!["127.0.0.1".to_owned()] };
    certificates::init(&certs, &[receiver], &[], 1).unwrap();
    let files =
        ServerFiles { certificate: certs.join("receiver.crt"), key: certs.join("receiver.key"), client_ca: None };
    let tls = ServerTls::load(files, ClientCertificate::Optional, &[b"http/1.1"]).unwrap();
    let mut incoming = accept(accepted(listener), Arc::new(tls));

    let admin = cluster.credentials();
    let submit = async |to: &str| {
        let arguments = ["submit", "--no-wait", "--callback", to, "--on", "bank-a", "put k v"];
        undoubt_as(&cluster, &admin, &arguments).await
    };
    for elsewhere in [format!("{url}/admin"), "http://127.0.0.1:1/hooks".to_owned()] {
        submit(&elsewhere).await.expect(7, &["not allowed by this coordinator", "callback_allow"]);
    }
    submit(&format!("{url}/hooks/done")).await.expect(0, &[]);
    let call = hear(&mut incoming).await;
    assert!(call.head.starts_with("POST /hooks/done HTTP/1.1") && call.body.contains("committed"), "{call:?}");

    assert_eq!(verified(call.signature(), &call.body, 1).await, "True");
    assert_eq!(verified(call.signature(), &call.body, 3_600).await, "False");
    assert_eq!(verified(call.signature(), &call.body.replace("committed", "aborted"), 1).await, "False");
}
