//! A participant in another language keeps its promises: real processes, one branch at the example in Python, one at a
//! key-value participant. It needs a Python with grpcio; `make test` makes one and says where in `UNDOUBT_PYTHON`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use undoubt::cluster::{Cluster, Plan, Programs, Who};
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{
    Answer, Client, ClientOptions, Filter, HistoryEvent, ListQuery, ParticipantClient, Results, Transaction, Work,
};
use undoubt_client::{EventKind, PartState};
use undoubt_vocabulary::{AbortReason, Outcome, RefusalCode, TxId};

const BANK: Who = Who::Participant(0);

/// The example ends with this code where it was told to crash.
const CRASHED: i32 = 86;

#[tokio::test]
async fn a_transaction_across_both_is_committed_at_both_or_refused_by_either_and_aborted_at_both() {
    let Some(python) = python() else { return };
    let world = World::start(python, None).await;

    let committed = world.submit_by_cli("book-1", json!({"reserve": "12A", "for": "alice"}), "add alice 100").await;
    assert_eq!(committed["state"], "committed", "{committed}");
    assert_eq!(committed["results"]["bank"]["values"], json!(["100"]));

    let taken = world.submit_by_cli("book-2", json!({"reserve": "12A", "for": "bob"}), "add bob 100").await;
    assert_eq!((&taken["state"], &taken["abort"]["reason"]), (&json!("aborted"), &json!("condition")), "{taken}");
    assert_eq!(taken["abort"]["participant"], "seats");

    let dear = world.submit_by_cli("book-3", json!({"reserve": "12B", "for": "bob"}), "add bob -1 floor=0").await;
    assert_eq!((&dear["state"], &dear["abort"]["participant"]), (&json!("aborted"), &json!("bank")), "{dear}");

    world.agrees(&[("12A", Some("alice")), ("12B", None)], &[("alice", Some("100")), ("bob", None)]).await;
}

#[tokio::test]
async fn a_branch_alone_commits_in_one_phase_and_says_its_result() {
    let Some(python) = python() else { return };
    let world = World::start(python, None).await;

    let alone = Transaction::new().on("seats", work(json!({"reserve": "1A", "for": "alice"})));
    let answer = world.client().submit(&alone).await.unwrap();
    assert_eq!((&answer.outcome, seat(&answer)), (&Outcome::Committed, json!({"seat": "1A", "for": "alice"})));
    assert_eq!(world.client().submit(&alone).await.unwrap(), answer, "the same id is the same transaction");

    let nowhere = Transaction::new().on("seats", work(json!({"reserve": "99Z", "for": "alice"})));
    assert_eq!(refused(&world.client().submit(&nowhere).await.unwrap()), RefusalCode::Condition);

    world.agrees(&[("1A", Some("alice"))], &[]).await;
}

#[tokio::test]
async fn a_vote_that_was_durable_and_never_sent_is_inquired_about_and_committed() {
    let Some(python) = python() else { return };
    let mut world = World::start(python, Some(1)).await;

    let booking = booking("lost-vote");
    world.client().submit_no_wait(&booking).await.unwrap();
    assert_eq!(world.seats.ended().await, Some(CRASHED));
    world.seats.start(None).await;

    assert_eq!(world.client().wait(booking.id()).await.unwrap().outcome, Outcome::Committed);
    world.seats_have_inquired(booking.id()).await;
    world.agrees(&[("12A", Some("alice"))], &[("alice", Some("-10"))]).await;
}

#[tokio::test]
async fn a_branch_in_doubt_is_aborted_when_its_coordinator_comes_back_without_a_decision() {
    let Some(python) = python() else { return };
    let mut world = World::start(python, None).await;

    // Without the other's vote there is no decision.
    world.cluster.kill(BANK).await.unwrap();
    let booking = booking("undecided");
    world.client().submit_no_wait(&booking).await.unwrap();
    world.seats_are_in_doubt(booking.id()).await;

    // Its seat stays locked, also after a crash.
    world.seats.kill().await;
    world.seats.start(None).await;
    let rival = Transaction::new().on("seats", work(json!({"reserve": "12A", "for": "bob"})));
    assert_eq!(refused(&world.client().submit(&rival).await.unwrap()), RefusalCode::LockConflict);

    world.cluster.kill(Who::Coordinator).await.unwrap();
    world.cluster.restart(BANK, None).await.unwrap();
    world.cluster.restart(Who::Coordinator, None).await.unwrap();

    world.agrees(&[("12A", None)], &[("alice", None)]).await;

    // The same transaction again is another attempt, and nothing of the first is in its way.
    assert_eq!(world.client().submit(&booking).await.unwrap().outcome, Outcome::Committed);
    world.agrees(&[("12A", Some("alice"))], &[("alice", Some("-10"))]).await;
}

#[tokio::test]
async fn a_branch_in_doubt_is_committed_when_its_coordinator_comes_back_with_the_decision() {
    let Some(python) = python() else { return };
    let mut world = World::start(python, None).await;

    world.cluster.kill(Who::Coordinator).await.unwrap();
    world.cluster.restart(Who::Coordinator, Some("after-append-committed:1")).await.unwrap();
    world.cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let booking = booking("decided");
    world.client().submit_no_wait(&booking).await.unwrap();
    eventually("the coordinator to crash with the decision", async || {
        world.cluster.has_ended(Who::Coordinator).unwrap().then_some(())
    })
    .await;
    // The decision also outlives a crash of those who wait for it.
    world.seats.kill().await;
    world.seats.start(None).await;
    world.cluster.restart(Who::Coordinator, None).await.unwrap();

    assert_eq!(world.client().wait(booking.id()).await.unwrap().outcome, Outcome::Committed);
    world.seats_have_inquired(booking.id()).await;
    world.agrees(&[("12A", Some("alice"))], &[("alice", Some("-10"))]).await;
}

/// A coordinator, a key-value participant and the one in Python.
struct World {
    cluster: Cluster,
    seats: Seats,
}

impl World {
    async fn start(python: PathBuf, crash_after_vote: Option<u32>) -> World {
        let seats = Seats::new(python, crash_after_vote).await;
        let programs = Programs {
            coordinator: env!("CARGO_BIN_EXE_undoubt-coordinator").into(),
            participant: env!("CARGO_BIN_EXE_undoubt-participant").into(),
        };
        let plan = Plan {
            participants: vec!["bank".to_owned()],
            foreign_participants: vec![("seats".to_owned(), format!("http://{}", seats.address))],
            ..Plan::default()
        };
        World { cluster: Cluster::start(&programs, plan).await.unwrap(), seats }
    }

    fn client(&self) -> Client {
        Client::connect_lazy(&self.cluster.url(Who::Coordinator).unwrap(), ClientOptions::default()).unwrap()
    }

    /// As its README shows.
    async fn submit_by_cli(&self, id: &str, seats: Value, bank: &str) -> Value {
        let mut cli = Command::new(env!("CARGO_BIN_EXE_undoubt"));
        cli.args(["--coordinator", &self.cluster.url(Who::Coordinator).unwrap(), "--output", "json"]);
        cli.args([
            "submit",
            "--id",
            id,
            "--raw",
            "seats",
            &BASE64_STANDARD.encode(seats.to_string()),
            "--on",
            "bank",
            bank,
        ]);
        let output = cli.output().await.unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Waits until the example has voted. That nothing is decided is for the test to see to.
    async fn seats_are_in_doubt(&self, tx: &TxId) {
        let client = self.client();
        eventually("a vote of the seats", async || {
            let view = client.get(tx).await.unwrap();
            view.branches
                .iter()
                .any(|branch| branch.participant.as_str() == "seats" && branch.state == Some(PartState::Prepared))
                .then_some(())
        })
        .await;
    }

    /// Waits until the coordinator has heard the example ask for the decision.
    async fn seats_have_inquired(&self, tx: &TxId) {
        let client = self.client();
        let by_seats = |event: &HistoryEvent| event.participant.as_ref().is_some_and(|name| name.as_str() == "seats");
        eventually("an inquiry of the seats", async || {
            let history = client.get(tx).await.unwrap().history;
            history.iter().any(|event| event.kind == Some(EventKind::Inquired) && by_seats(event)).then_some(())
        })
        .await;
    }

    /// In the end nothing is open or in doubt anywhere, and each has what it should.
    async fn agrees(&self, seats: &[(&str, Option<&str>)], accounts: &[(&str, Option<&str>)]) {
        let client = self.client();
        eventually("all transactions to end", async || {
            let open = client.list(&ListQuery::of(Filter::Open)).await.unwrap();
            open.transactions.is_empty().then_some(())
        })
        .await;
        let coordinator = client.describe().await.unwrap();
        assert_eq!((coordinator.unacknowledged, coordinator.damaged), (0, 0));
        let bank = ParticipantClient::connect_lazy(&self.cluster.url(BANK).unwrap(), ClientOptions::default()).unwrap();
        eventually("the bank to be out of doubt", async || {
            let state = bank.describe().await.unwrap();
            (state.branches_open == 0 && state.branches_in_doubt == 0).then_some(())
        })
        .await;
        let reads = accounts.iter().fold(KvWork::new().get("none"), |work, (account, _)| work.get(account.to_string()));
        for (name, holder) in seats {
            // What is in doubt at the seats is locked, and then this is refused. It has a second branch, and so it votes.
            let read = eventually("the seats to be out of doubt", async || {
                let both = Transaction::new().on("bank", reads.clone()).on("seats", work(json!({ "read": name })));
                Some(client.submit(&both).await.unwrap()).filter(|read| read.outcome == Outcome::Committed)
            })
            .await;
            assert_eq!(seat(&read), json!({"seat": name, "for": holder}));
            let balances: Vec<_> =
                read.result("bank").and_then(Results::into_bytes).unwrap().into_iter().skip(1).collect();
            let expected: Vec<_> =
                accounts.iter().map(|(_, balance)| balance.map(|text| text.to_owned().into())).collect();
            assert_eq!(balances, expected);
        }
    }
}

/// The example's process. It is killed when this is dropped.
struct Seats {
    python: PathBuf,
    folder: TempDir,
    address: String,
    process: Child,
}

impl Seats {
    async fn new(python: PathBuf, crash_after_vote: Option<u32>) -> Seats {
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(&python, folder.path(), "127.0.0.1:0", crash_after_vote);
        let mut seats = Seats { python, folder, address: String::new(), process };
        seats.address = seats.serves().await;
        seats
    }

    /// On its address and data again.
    async fn start(&mut self, crash_after_vote: Option<u32>) {
        std::fs::remove_file(self.folder.path().join("address")).unwrap();
        self.process = spawn(&self.python, self.folder.path(), &self.address, crash_after_vote);
        assert_eq!(self.serves().await, self.address);
    }

    async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    async fn ended(&mut self) -> Option<i32> {
        eventually("the participant in Python to end", async || self.process.try_wait().unwrap()).await.code()
    }

    async fn serves(&mut self) -> String {
        let file = self.folder.path().join("address");
        eventually("the participant in Python to serve", async || {
            let ended = self.process.try_wait().unwrap();
            assert_eq!(ended, None, "it ended instead; it says above why");
            std::fs::read_to_string(&file).ok()
        })
        .await
    }
}

fn spawn(python: &Path, folder: &Path, listen: &str, crash_after_vote: Option<u32>) -> Child {
    let program = "../participant/examples/python/participant.py";
    let mut command = Command::new(python);
    command.args([program, "--name", "seats", "--listen", listen]);
    command.arg("--data").arg(folder.join("seats.db")).arg("--address-file").arg(folder.join("address"));
    command.args(crash_after_vote.iter().flat_map(|vote| ["--crash-after-vote".to_owned(), vote.to_string()]));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

/// Without it the test says so and is done.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("UNDOUBT_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("SKIPPED: UNDOUBT_PYTHON is not set, so there is no Python with grpcio to run the participant with.");
        eprintln!("To run this test: `make test`, or `make python` and UNDOUBT_PYTHON=<target>/python/bin/python.");
    }
    python
}

fn booking(id: &str) -> Transaction {
    Transaction::with_id(id.parse().unwrap())
        .on("seats", work(json!({"reserve": "12A", "for": "alice"})))
        .on("bank", KvWork::new().add("alice", Add::of(-10)))
        .timeout(Duration::from_secs(60))
}

fn work(work: Value) -> Work {
    Work::raw(work.to_string().into_bytes())
}

/// What the example has read.
fn seat(answer: &Answer) -> Value {
    let results: BTreeMap<&str, _> = answer.results.iter().map(|(name, result)| (name.as_str(), result)).collect();
    serde_json::from_slice(results["seats"]).unwrap()
}

fn refused(answer: &Answer) -> RefusalCode {
    let Outcome::Aborted(AbortReason::Refused { refusal, .. }) = &answer.outcome else { panic!("{answer:?}") };
    refusal.code
}

/// Asks until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
