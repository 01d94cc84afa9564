//! Those who are told: a real Prometheus with the rules that ship scrapes a cluster under faults, and alarms come to the log and to a
//! webhook.

use crate::figures::{address, get, told};
use crate::support::api::{commit, no_wait, submit, transfer};
use crate::support::cli::undoubt;
use crate::support::{PATIENCE, banks, start, until};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use undoubt::cluster::{Cluster, Plan, Who};

const ALL: [Who; 3] = [Who::Coordinator, BANK_A, BANK_B];
const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);

/// A Prometheus with the rules that ship, but that they wait for seconds where they would wait for minutes.
struct Prometheus {
    address: String,
    folder: TempDir,
    _child: Child,
}

impl Prometheus {
    async fn start(cluster: &Cluster) -> Prometheus {
        let folder = TempDir::new().unwrap();
        let shipped = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("monitoring/alerts.yml");
        let rules = std::fs::read_to_string(shipped).unwrap();
        let hasty: String = rules
            .lines()
            .filter(|line| !line.trim().starts_with("for: "))
            .map(|line| {
                line.replace("_seconds > 60'", "_seconds > 2'").replace("_seconds > 30'", "_seconds > 2'") + "\n"
            })
            .collect();
        assert!(hasty.matches("_seconds > 2'").count() >= 3, "{hasty}");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("alerts.yml", &hasty);
        write(
            "prometheus.yml",
            "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\n  evaluation_interval: 250ms\nrule_files: [alerts.yml]\n\
             scrape_configs:\n  - job_name: undoubt\n    file_sd_configs:\n      - files: [targets.json]\n        \
             refresh_interval: 1s\n",
        );
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("Prometheus cannot be run ({error}): install it with .ci/prometheus"));
        let prometheus = Prometheus { address, folder, _child: child };
        prometheus.looks_at(cluster).await;
        prometheus
    }

    /// Has it look at all servers where they are now.
    async fn looks_at(&self, cluster: &Cluster) {
        let mut targets = Vec::new();
        for who in ALL {
            targets.push(address(cluster, who).await);
        }
        let part = self.folder.path().join("targets.part");
        std::fs::write(&part, json!([{"targets": targets}]).to_string()).unwrap();
        std::fs::rename(part, self.folder.path().join("targets.json")).unwrap();
        self.until_counted("count(up{job=\"undoubt\"} == 1)", "3").await;
    }

    async fn ask(&self, path: &str) -> Option<Value> {
        let answer = get(&self.address, path).await?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Waits until a query has this one result.
    async fn until_counted(&self, query: &str, value: &str) {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        until(query, async || {
            let answer = self.ask(&format!("/api/v1/query?query={escaped}")).await?;
            (answer["data"]["result"][0]["value"][1] == value).then_some(())
        })
        .await;
    }

    /// The alerts that fire.
    async fn firing(&self) -> Vec<String> {
        let answer = until("it tells its alerts", async || self.ask("/api/v1/alerts").await).await;
        let all = answer["data"]["alerts"].as_array().unwrap().iter();
        let firing = all.filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    async fn until_fires(&self, alert: &str) {
        until(alert, async || self.firing().await.iter().any(|firing| firing == alert).then_some(())).await;
    }

    async fn until_silent(&self, alert: &str) {
        until(alert, async || self.firing().await.iter().all(|firing| firing != alert).then_some(())).await;
    }

    /// That an alert does not fire, as it was looked for after what has happened so far.
    async fn is_silent(&self, alert: &str) {
        assert!(!self.firing().await.iter().any(|firing| firing == alert), "{alert} fires too early");
    }
}

async fn stuck_saga(cluster: &Cluster, id: &str) {
    let saga = json!({"id": id, "mode": "saga", "steps": [
        {"name": "pay", "at": "bank-a", "do": ["add alice -1"], "pivot": true},
        {"name": "tell", "at": "bank-b", "do": ["cas mailbox expected=open value=told"], "attempts": 2,
         "first_pause": "1ms", "max_pause": "2ms"},
    ]});
    let file = cluster.folder().join(format!("{id}.json"));
    std::fs::write(&file, saga.to_string()).unwrap();
    undoubt(cluster, &["submit", "--no-wait", "--file", file.to_str().unwrap()]).await.expect(0, &["pending"]);
}

/// Has the coordinator die when both banks have voted, and its decision is not on record.
async fn leave_in_doubt(cluster: &mut Cluster, id: &str) {
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("before-append-committed:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let _ = submit(cluster, no_wait(transfer(id, 1))).await;
    assert!(!cluster.wait_until_ended(Who::Coordinator, PATIENCE).await.unwrap());
}

#[tokio::test]
async fn each_fault_has_its_alert_fire_and_no_alert_comes_before_its_fault() {
    const DAMAGED: &str = "UndoubtDamaged";
    let mut cluster = start(told(banks())).await;
    let prometheus = Prometheus::start(&cluster).await;
    for number in 0..10 {
        commit(&cluster, transfer(&format!("t{number}"), 1)).await;
    }
    prometheus.until_counted("sum(undoubt_coordinator_transactions_ended_total{outcome=\"committed\"})", "10").await;
    for alert in
        ["UndoubtDown", "UndoubtInDoubt", "UndoubtSagaStuck", DAMAGED, "UndoubtParticipantAway", "UndoubtUnusable"]
    {
        prometheus.is_silent(alert).await;
    }

    stuck_saga(&cluster, "stuck").await;
    prometheus.until_fires("UndoubtSagaStuck").await;
    let skip = ["resolve-step", "stuck", "tell", "skip", "--who", "me", "--reason", "it has to"];
    undoubt(&cluster, &skip).await.expect(0, &[]);
    prometheus.until_silent("UndoubtSagaStuck").await;
    // A step that an operator did without counts as damage, as nobody vouches for it.
    undoubt(&cluster, &["forget", "stuck", "--who", "me", "--reason", "it is seen to"]).await;
    prometheus.until_silent(DAMAGED).await;

    leave_in_doubt(&mut cluster, "doubt").await;
    prometheus.until_fires("UndoubtDown").await;
    prometheus.until_fires("UndoubtInDoubt").await;
    let url = cluster.url(BANK_A).unwrap();
    let by_hand = ["resolve", "doubt", "commit", "--participant", &url, "--who", "me", "--reason", "x", "--yes"];
    undoubt(&cluster, &by_hand).await.expect(0, &[]);
    prometheus.is_silent(DAMAGED).await;
    cluster.restart(Who::Coordinator, None).await.unwrap();
    prometheus.looks_at(&cluster).await;
    prometheus.until_fires(DAMAGED).await;
    prometheus.until_fires("UndoubtHeuristic").await;
    prometheus.until_silent("UndoubtInDoubt").await;
    prometheus.until_silent("UndoubtDown").await;
    undoubt(&cluster, &["forget", "doubt", "--who", "me", "--reason", "put right"]).await.expect(0, &[]);
    prometheus.until_silent(DAMAGED).await;

    // The coordinator was away itself, and may have found participants so.
    prometheus.until_silent("UndoubtParticipantAway").await;
    cluster.kill(BANK_B).await.unwrap();
    prometheus.until_fires("UndoubtParticipantAway").await;
    cluster.restart(BANK_B, None).await.unwrap();
    prometheus.looks_at(&cluster).await;
    prometheus.until_silent("UndoubtParticipantAway").await;
}

/// Answers every call, and keeps what was said.
async fn webhook() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/alarms", listener.local_addr().unwrap());
    let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
    let hearing = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.contains(&b'}') && stream.read_buf(&mut request).await.is_ok_and(|count| count > 0) {}
            let text = String::from_utf8(request).unwrap();
            let body = text.split_once("\r\n\r\n").unwrap().1;
            hearing.lock().unwrap().push(serde_json::from_str(body).unwrap());
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    (url, heard)
}

/// Waits until a process has written these words to its log, which may be later than others hear of it.
async fn is_logged(cluster: &Cluster, who: Who, words: &str) {
    until(words, async || cluster.log_tail(who, 1_000).contains(words).then_some(())).await;
}

#[tokio::test]
async fn what_somebody_has_to_look_after_is_in_the_log_and_at_the_webhook_and_so_is_its_end() {
    let (url, heard) = webhook().await;
    let settings =
        || vec![format!("alarm.url={url}"), "alarm.waits_after_s=1".to_owned(), "alarm.away_after_s=1".to_owned()];
    let plan = Plan { coordinator_settings: settings(), participant_settings: settings(), ..banks() };
    let mut cluster = start(plan).await;
    let told = async |server: &str, alarm: &str, state: &str| {
        until(&format!("{server} tells that {alarm} {state}"), async || {
            let is_it = |said: &Value| said["server"] == server && said["alarm"] == alarm && said["state"] == state;
            heard.lock().unwrap().iter().find(|said| is_it(said)).cloned()
        })
        .await
    };
    stuck_saga(&cluster, "stuck").await;
    let stuck = told("coordinator", "stuck", "begins").await;
    assert_eq!(
        (&stuck["oldest"], &stuck["number"], &stuck["name"]),
        (&json!("stuck"), &json!(1), &json!("coordinator"))
    );
    assert!(stuck["text"].as_str().unwrap().contains("undoubt resolve-step"), "{stuck}");
    is_logged(&cluster, Who::Coordinator, "alarm=\"stuck\"").await;
    let skip = ["resolve-step", "stuck", "tell", "skip", "--who", "me", "--reason", "it has to"];
    undoubt(&cluster, &skip).await.expect(0, &[]);
    told("coordinator", "stuck", "ends").await;

    cluster.kill(BANK_B).await.unwrap();
    assert_eq!(told("coordinator", "away", "begins").await["about"], "bank-b");
    cluster.restart(BANK_B, None).await.unwrap();
    told("coordinator", "away", "ends").await;

    leave_in_doubt(&mut cluster, "doubt").await;
    assert_eq!(told("participant", "in-doubt", "begins").await["oldest"], "doubt");
    is_logged(&cluster, BANK_A, "undoubt resolve").await;
    cluster.restart(Who::Coordinator, None).await.unwrap();
    told("participant", "in-doubt", "ends").await;
}

#[tokio::test]
async fn how_it_stands_is_a_line_of_the_log_when_something_has_changed() {
    let settings = || vec!["alarm.status_every_s=1".to_owned()];
    let plan = Plan { coordinator_settings: settings(), participant_settings: settings(), ..banks() };
    let cluster = start(plan).await;
    commit(&cluster, transfer("t", 1)).await;
    for (who, words) in [(Who::Coordinator, "committed=1 aborted=0 open=0"), (BANK_A, "committed=1 aborted=0 open=0")] {
        is_logged(&cluster, who, words).await;
    }
}
