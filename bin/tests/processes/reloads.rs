//! Settings that are read again at SIGHUP, under load: participants that come, move and go, limits, the secret of callbacks, what is
//! logged; and of settings that cannot be used, none.

use crate::figures::get;
use crate::support::api::{branch, no_wait, refused, request, within_ms};
use crate::support::cli::{command, run};
use crate::support::program;
use crate::support::server::Server;
use crate::support::{PATIENCE, banks, start, until};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use undoubt::cluster::{Cluster, Who};
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, Transaction};
use undoubt_proto::v1;
use undoubt_proto::v1::coordinator_client::CoordinatorClient;

const ANY_PORT: &str = "127.0.0.1:0";

/// A coordinator whose settings stand in a file, beside two banks that another has too.
struct World {
    banks: Cluster,
    folder: TempDir,
    coordinator: Server,
    /// The number of times that it was told to read again.
    reloads: u64,
}

impl World {
    async fn start(settings: &str) -> World {
        let banks = start(banks()).await;
        let folder = tempfile::tempdir().unwrap();
        let file = world_file(&folder);
        std::fs::write(&file, text(&participants_of(&banks), settings)).unwrap();
        let coordinator = program::coordinator(&["--config", file.to_str().unwrap()]);
        let coordinator = Server::start(folder.path(), "reloaded", ANY_PORT, coordinator).await;
        coordinator.says("recovery done").await;
        World { banks, folder, coordinator, reloads: 0 }
    }

    fn participants(&self) -> Vec<(String, String)> {
        participants_of(&self.banks)
    }

    /// Writes other settings, and has them read. Returns once they were, or were refused.
    async fn reload(&mut self, participants: &[(String, String)], settings: &str) {
        self.reload_text(&text(participants, settings)).await;
    }

    async fn reload_text(&mut self, text: &str) {
        std::fs::write(world_file(&self.folder), text).unwrap();
        self.reloads += 1;
        self.coordinator.hang_up();
        let wanted = usize::try_from(self.reloads).unwrap();
        until("it has read the settings", async || {
            let log = self.coordinator.logged();
            let (taken, refused) =
                (log.matches("the settings were read again"), log.matches("the new settings cannot be used"));
            (taken.count() + refused.count() >= wanted).then_some(())
        })
        .await;
    }

    async fn submit(&self, request: v1::SubmitRequest) -> Result<v1::Outcome, Status> {
        let mut client = CoordinatorClient::connect(self.coordinator.url.clone()).await.unwrap();
        Ok(client.submit(request).await?.into_inner().outcome.unwrap())
    }

    async fn undoubt(&self, arguments: &[&str]) -> crate::support::cli::Said {
        let mut command = command(arguments);
        command.args(["--coordinator", &self.coordinator.url, "--timeout", "10s"]);
        run(command).await
    }

    /// Starts a third participant on its data, at any free port.
    async fn bank_c(&self) -> Server {
        let server = Server::start(self.folder.path(), "bank-c", ANY_PORT, program::participant(&[])).await;
        until("bank-c serves", async || server.logged().contains("listening").then_some(())).await;
        server
    }

    /// Waits until a write at these participants commits.
    async fn until_it_commits(&self, id: &str, participants: &[&str]) {
        let mut attempt = 0;
        until(&format!("{id} commits"), async || {
            attempt += 1;
            let branches = participants.iter().map(|name| branch(name, KvWork::new().put("last", id.to_owned())));
            let tx = format!("{id}-{attempt}");
            let outcome = self.submit(within_ms(2_000, request(&tx, branches))).await.ok()?;
            (outcome.state() == v1::State::Committed).then_some(())
        })
        .await;
    }
}

fn world_file(folder: &TempDir) -> PathBuf {
    folder.path().join("reloaded.toml")
}

fn participants_of(banks: &Cluster) -> Vec<(String, String)> {
    let url = |who| banks.url(who).unwrap();
    vec![("bank-a".to_owned(), url(Who::Participant(0))), ("bank-b".to_owned(), url(Who::Participant(1)))]
}

fn with(mut participants: Vec<(String, String)>, name: &str, address: &str) -> Vec<(String, String)> {
    participants.push((name.to_owned(), address.to_owned()));
    participants
}

fn text(participants: &[(String, String)], settings: &str) -> String {
    let entry =
        |(name, address): &(String, String)| format!("[[participants]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    let all: String = participants.iter().map(entry).collect();
    format!("reconnect_max_pause_ms = 200\n{settings}\n{all}")
}

/// Transfers between the two banks, one after another at each of four customers, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    customers: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    async fn start(url: &str) -> Load {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut customers = Vec::new();
        for customer in 0..4 {
            let client = Client::connect_lazy(url, ClientOptions::default()).unwrap();
            let (stop, committed) = (stop.clone(), committed.clone());
            customers.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let work = || KvWork::new().add(format!("of-{customer}"), 1);
                    let transaction = Transaction::new().on("bank-a", work()).on("bank-b", work());
                    let outcome = client.submit(transaction).await.map_err(|error| error.to_string())?;
                    let outcome = format!("{outcome:?}");
                    if !outcome.contains("Committed") {
                        return Err(outcome);
                    }
                    committed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        Load { stop, committed, customers }
    }

    /// Waits until more has committed.
    async fn goes_on(&self) {
        let before = self.committed.load(Ordering::Relaxed);
        until("the load goes on", async || (self.committed.load(Ordering::Relaxed) > before + 8).then_some(())).await;
    }

    /// Stops, and fails if anything of it was not committed.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for customer in self.customers {
            customer.await.unwrap().unwrap();
        }
        self.committed.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_participant_is_added_and_moved_under_load_without_a_failure() {
    let mut world = World::start("").await;
    let load = Load::start(&world.coordinator.url).await;
    load.goes_on().await;
    let work = || branch("bank-c", KvWork::new().put("k", "v"));
    let (code, message) = refused(world.submit(request("early", [work()])).await);
    assert_eq!(code, Code::NotFound);
    assert!(message.contains("bank-c"), "{message}");

    let bank_c = world.bank_c().await;
    let participants = with(world.participants(), "bank-c", &bank_c.url);
    world.reload(&participants, "").await;
    world.until_it_commits("added", &["bank-a", "bank-c"]).await;
    let first = bank_c.url.clone();
    load.goes_on().await;

    // On another port, with its data.
    bank_c.stop().await;
    let bank_c = world.bank_c().await;
    assert_ne!(bank_c.url, first);
    let participants = with(world.participants(), "bank-c", &bank_c.url);
    world.reload(&participants, "").await;
    world.coordinator.says("it has another address").await;
    world.until_it_commits("moved", &["bank-a", "bank-c"]).await;
    world.undoubt(&["participants"]).await.expect(0, &["bank-c", &bank_c.url]);
    load.goes_on().await;
    assert!(load.end().await > 0);
    assert!(!world.coordinator.logged().contains("cannot be used"), "{}", world.coordinator.logged());
}

#[tokio::test]
async fn a_participant_that_is_taken_out_finishes_what_is_open_gets_nothing_new_and_is_the_same_when_it_comes_back() {
    let mut world = World::start("").await;
    let bank_c = world.bank_c().await;
    let address = bank_c.url.clone();
    let all = with(world.participants(), "bank-c", &address);
    world.reload(&all, "").await;
    world.until_it_commits("first", &["bank-a", "bank-c"]).await;
    let load = Load::start(&world.coordinator.url).await;

    // It is away while something is open with it, so that stays open.
    bank_c.stop().await;
    let put = |name: &str| branch(name, KvWork::new().put("open", "done"));
    let open = || within_ms(600_000, request("open", [put("bank-a"), put("bank-c")]));
    world.submit(no_wait(open())).await.unwrap();
    let without = world.participants();
    world.reload(&without, "").await;
    world.coordinator.says("it is taken out").await;
    let (code, message) = refused(world.submit(request("late", [put("bank-c")])).await);
    assert_eq!(code, Code::NotFound);
    assert!(message.contains("bank-c"), "{message}");
    world.undoubt(&["participants"]).await.expect(0, &["bank-c", &address, "leaving"]);
    load.goes_on().await;

    // Back at the address that is known: what is open goes on to its end, and then it is gone.
    let back = address.trim_start_matches("http://");
    let bank_c = Server::start(world.folder.path(), "bank-c", back, program::participant(&[])).await;
    assert_eq!(bank_c.url, address);
    let outcome = world.submit(open()).await.unwrap();
    assert_eq!(outcome.state(), v1::State::Committed);
    world.coordinator.says("it is gone").await;
    let said = world.undoubt(&["participants"]).await;
    assert!(!said.out.contains("bank-c"), "{said:?}");

    world.reload(&all, "").await;
    world.until_it_commits("again", &["bank-a", "bank-c"]).await;
    assert!(load.end().await > 0);
}

#[tokio::test]
async fn of_settings_that_cannot_be_used_nothing_changes_and_what_can_change_only_at_a_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    std::fs::write(&short, "hunter2\n").unwrap();
    let told = "metrics.listen = \"127.0.0.1:0\"\n";
    let mut world = World::start(told).await;
    let load = Load::start(&world.coordinator.url).await;
    let good = world.participants();
    let one_more = with(world.participants(), "bank-c", "http://127.0.0.1:1");
    let bad = [
        (text(&one_more, &format!("{told}log = \"a=b=c\"")), "log"),
        (text(&one_more, &format!("{told}callback_secret = \"{}\"", short.display())), "callback_secret"),
        (text(&one_more, &format!("{told}callback_secret = \"/no/such/file\"")), "/no/such/file"),
        (text(&one_more, &format!("{told}limits.open_percent = 0")), "limits.open_percent"),
        (text(&one_more, &format!("{told}retentoin_s = 1")), "retentoin_s"),
        (text(&with(one_more.clone(), "bank-c", "http://127.0.0.1:2"), told), "twice"),
        (text(&with(one_more.clone(), "bank-d", "nowhere"), told), "nowhere"),
        ("listen = = 1".to_owned(), "not TOML"),
    ];
    for (number, (text, says)) in bad.iter().enumerate() {
        world.reload_text(text).await;
        let log = world.coordinator.logged();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("cannot be used")).collect();
        assert_eq!(lines.len(), number + 1, "{log}");
        assert!(lines[number].contains("WARN") && lines[number].contains(says), "{says}: {}", lines[number]);
        assert!(!log.contains("hunter2"), "a secret is in the log");
    }
    let said = world.undoubt(&["participants"]).await.expect(0, &["bank-a", "bank-b"]);
    assert!(!said.out.contains("bank-c"), "{said:?}");
    load.goes_on().await;

    // What cannot change is named, and what can does.
    world.reload(&one_more, &format!("{told}retention_s = 7\nlog = \"debug\"")).await;
    let log = world.coordinator.logged();
    let line = log.lines().find(|line| line.contains("hold from its next start on")).expect("nothing is named");
    assert!(line.contains("WARN") && line.contains("retention_s") && !line.contains("participants"), "{line}");
    world.coordinator.says("it is added").await;
    world.undoubt(&["participants"]).await.expect(0, &["bank-c"]);
    until("it logs more", async || world.coordinator.logged().contains("DEBUG").then_some(())).await;
    world.reload(&good, told).await;
    assert!(load.end().await > 0);

    let log = world.coordinator.logged();
    let address = log.lines().find(|line| line.contains("figures are told")).unwrap().split_once("address=").unwrap().1;
    let figures = get(address.trim(), "/metrics").await.unwrap();
    for sample in [
        format!("undoubt_settings_reloads_total{{result=\"refused\"}} {}", bad.len()),
        "undoubt_settings_reloads_total{result=\"applied\"} 2".to_owned(),
    ] {
        assert!(figures.contains(&sample), "{sample} is not in {figures}");
    }
}

#[tokio::test]
async fn new_limits_hold_from_then_on() {
    let mut world = World::start("").await;
    let participants = world.participants();
    let submit = async |world: &World, tx: String| {
        let get = branch("bank-a", KvWork::new().get("k"));
        world.submit(no_wait(request(&tx, [get]))).await
    };
    for number in 0..50 {
        submit(&world, format!("before-{number}")).await.unwrap();
    }
    world.reload(&participants, "limits.submissions_per_s = 1\nlimits.submission_burst = 1").await;
    let mut refusals = 0;
    for number in 0..10_000 {
        if let Err(status) = submit(&world, format!("limited-{number}")).await {
            assert!(status.message().contains("limits.submissions_per_s"), "{status}");
            refusals += 1;
            break;
        }
    }
    assert_eq!(refusals, 1, "ten thousand are let in");
    world.reload(&participants, "").await;
    until("other limits hold again", async || {
        (world.coordinator.logged().matches("other limits hold").count() == 2).then_some(())
    })
    .await;
    for number in 0..50 {
        submit(&world, format!("after-{number}")).await.unwrap();
    }
}

/// Hears one call, answers it, and returns its signature.
async fn signature(listener: &TcpListener) -> Option<String> {
    let (mut connection, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.expect("nobody calls").unwrap();
    let mut heard = Vec::new();
    let text = loop {
        assert!(connection.read_buf(&mut heard).await.unwrap() > 0, "the call ended early");
        let text = String::from_utf8_lossy(&heard).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: Option<usize> =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if length == Some(body.len()) {
            break head.to_owned();
        }
    };
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let line = text.lines().find(|line| line.to_lowercase().starts_with("undoubt-signature:"))?;
    Some(line.split_once("v1=")?.1.trim().to_owned())
}

#[tokio::test]
async fn callbacks_are_signed_with_the_secret_that_the_file_holds_now() {
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, "the first secret of them").unwrap();
    let signed = format!("callback_secret = \"{}\"", secret.display());
    let mut world = World::start(&signed).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let participants = world.participants();
    let called = async |world: &World, tx: &str| {
        let callback = format!("http://{}/", listener.local_addr().unwrap());
        let get = branch("bank-a", KvWork::new().get("k"));
        let tx = Bytes::copy_from_slice(tx.as_bytes());
        let request = v1::SubmitRequest { tx, callback, branches: vec![get], ..Default::default() };
        world.submit(no_wait(request)).await.unwrap();
        signature(&listener).await
    };
    assert!(called(&world, "one").await.is_some());
    // The same path, and another content.
    std::fs::write(&secret, "the second secret of them").unwrap();
    world.reload(&participants, &signed).await;
    world.coordinator.says("another secret").await;
    assert!(called(&world, "two").await.is_some());
    world.reload(&participants, "").await;
    until("calls are not signed any more", async || {
        let log = world.coordinator.logged();
        (log.matches("another secret").count() == 2).then_some(())
    })
    .await;
    assert_eq!(called(&world, "three").await, None);
}
