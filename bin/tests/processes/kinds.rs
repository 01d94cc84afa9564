//! A kind of work that nothing here knows: only its participant does. Neither client, coordinator nor command line has a line
//! about it, and nobody guesses what it is.

use crate::support::banks;
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::start;
use bytes::Bytes;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::process::accepted;
use undoubt_participant::resource::{Health, Pin, Recovered, Resource, ResourceError, StepId, Steps};
use undoubt_participant::{Config, Environment, run_steps};
use undoubt_platform::dial::TcpDial;
use undoubt_platform::{Access, CrashPoints, Metrics, OsRandom, SystemClock};
use undoubt_vocabulary::{
    CoordinatorId, Epoch, LowWaterMark, ParticipantName, Refusal, RefusalCode, RunStep, StepOutcome,
};

/// Field 9 of `undoubt.work.v1.Work`, for which there is no name: the text "three".
const STRIKE: &[u8] = b"\x4a\x05three";

/// The same field of `Results`, with the mark of that form.
const HEARD: &[u8] = b"\x4a\x05heard\x7dund1";

/// A bell tower that takes steps alone.
#[derive(Debug, Default)]
struct Bells {
    struck: Mutex<u64>,
}

impl Resource for Bells {
    fn kind(&self) -> &'static str {
        "bells"
    }

    async fn recover(&self, _: &ParticipantName) -> Result<Recovered, ResourceError> {
        Ok(Recovered::default())
    }

    async fn record_epoch(&self, _: CoordinatorId, _: Epoch, _: Option<Pin>) -> Result<(), ResourceError> {
        Ok(())
    }

    async fn collect(&self, _: CoordinatorId, _: LowWaterMark) -> Result<(), ResourceError> {
        Ok(())
    }

    fn health(&self) -> Health {
        let struck = *self.struck.lock().unwrap();
        let worn = (struck > 0).then(|| "the rope is worn; replace it".to_owned());
        Health { warnings: worn.into_iter().collect(), numbers: vec![("strokes", struck)], ..Health::default() }
    }
}

impl Steps for Bells {
    async fn act(&self, _: StepId, run: RunStep, _: CancellationToken) -> Result<StepOutcome, ResourceError> {
        if run.work != STRIKE {
            let refusal = Refusal::new(RefusalCode::InvalidWork, "bells are struck, and do nothing else");
            return Ok(StepOutcome::Refused(refusal));
        }
        *self.struck.lock().unwrap() += 1;
        Ok(StepOutcome::Done { result: Bytes::from_static(HEARD), pending: false })
    }

    async fn compensate(&self, _: StepId, _: RunStep) -> Result<StepOutcome, ResourceError> {
        Ok(StepOutcome::Done { result: Bytes::new(), pending: false })
    }

    async fn store_empty(&self, _: StepId) -> Result<(), ResourceError> {
        Ok(())
    }
}

/// A coordinator, the two banks, and the bells, which this process serves.
struct World {
    cluster: Cluster,
    url: String,
    files: TempDir,
    bells: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.bells.abort();
    }
}

impl World {
    async fn start() -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let environment = Environment {
            subscribing: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            dial: Arc::new(TcpDial),
            incoming: accepted(listener),
            crash: CrashPoints::default(),
            metrics: Metrics::default(),
            traces: undoubt_platform::Traces::default(),
            access: Access::open(),
            pulse: Default::default(),
        };
        let config = Config { name: "bells".to_owned(), ..Config::default() };
        let bells = tokio::spawn(async move {
            run_steps(config, Bells::default(), environment, std::future::pending()).await.unwrap();
        });
        let foreign_participants = vec![("bells".to_owned(), url.clone())];
        let cluster = start(Plan { foreign_participants, ..banks() }).await;
        World { cluster, url, files: TempDir::new().unwrap(), bells }
    }

    async fn saga(&self, id: &str, at: &str, work: &[u8]) -> crate::support::cli::Said {
        let hex: String = work.iter().map(|byte| format!("{byte:02x}")).collect();
        let raw = json!({"raw": format!("0x{hex}")});
        let document = json!({"id": id, "mode": "saga", "steps": [
            {"name": "pay", "at": "bank-a", "do": ["add alice 1"], "undo": ["add alice -1"]},
            {"name": "strike", "at": at, "do": raw, "pivot": true},
        ]});
        let path = self.files.path().join(format!("{id}.json"));
        std::fs::write(&path, document.to_string()).unwrap();
        undoubt_json(&self.cluster, &["submit", "--file", path.to_str().unwrap()]).await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[tokio::test]
async fn a_kind_that_only_its_participant_knows_is_carried_as_it_is_and_its_results_are_shown_raw() {
    let world = World::start().await;
    let done = world.saga("rung", "bells", STRIKE).await.json();
    assert_eq!(done["state"], "committed", "{done}");
    assert_eq!(done["results"]["strike"], json!({"raw": hex(HEARD)}), "it says its form, and holds what is not known");
    assert_eq!(done["results"]["pay"], json!({"values": ["1"]}));
    undoubt(&world.cluster, &["status", "rung"]).await.expect(0, &["committed", "strike"]);
}

#[tokio::test]
async fn a_kind_that_a_key_value_participant_does_not_do_is_refused_by_its_name_or_number() {
    let world = World::start().await;
    for (id, work, named) in [("calls", &b"\x12\x01x"[..], "calls"), ("unknown", STRIKE, "a field 9")] {
        let said = world.saga(id, "bank-b", work).await.json();
        assert_eq!((&said["state"], &said["abort"]["reason"]), (&json!("aborted"), &json!("invalid-work")), "{said}");
        assert!(said["abort"]["message"].as_str().unwrap().contains(named), "{said}");
        assert_eq!(said["abort"]["participant"], "bank-b", "{said}");
    }
    undoubt(&world.cluster, &["submit", "--on", "bank-a", "get alice"]).await.expect(0, &["0"]);
}

#[tokio::test]
async fn whoever_only_takes_steps_is_asked_for_no_branch() {
    let world = World::start().await;
    let strike = hex(STRIKE);
    let both = ["submit", "--id", "both", "--on", "bank-a", "add alice 1", "--raw", "bells", &strike];
    undoubt(&world.cluster, &both).await.expect(7, &["participant bells", "two-phase"]);
    let alone = ["submit", "--id", "alone", "--raw", "bells", &strike];
    undoubt(&world.cluster, &alone).await.expect(7, &["participant bells", "one-phase"]);
    for id in ["both", "alone"] {
        undoubt(&world.cluster, &["status", id]).await.expect(5, &["no trace"]);
    }
}

#[tokio::test]
async fn what_a_resource_counts_and_warns_of_is_told_to_operators() {
    let world = World::start().await;
    undoubt(&world.cluster, &["participant", &world.url]).await.expect(0, &["bells", "strokes", "0"]);
    world.saga("rung", "bells", STRIKE).await.expect(0, &[]);
    undoubt(&world.cluster, &["participant", &world.url]).await.expect(0, &["the rope is worn", "strokes", "1"]);
    let told = undoubt_json(&world.cluster, &["participant", &world.url]).await.json();
    assert_eq!(told["warnings"], json!(["the rope is worn; replace it"]));
    assert_eq!(told["numbers"], json!({"strokes": 1}));
    let bank = world.cluster.url(Who::Participant(0)).unwrap();
    let told = undoubt_json(&world.cluster, &["participant", &bank]).await.json();
    assert_eq!((&told["numbers"]["locked_keys"], &told["numbers"]["marked_keys"]), (&json!(0), &json!(0)), "{told}");
    assert!(told["numbers"]["free_bytes"].as_u64().is_some(), "{told}");
}
