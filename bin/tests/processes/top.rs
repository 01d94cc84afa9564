//! `undoubt top`: one frame for people and for programs, of a cluster that lives and of one whose coordinator is dead.

use crate::support::api::{branch, commit, no_wait, request, submit, transfer, within_ms};
use crate::support::cli::{command, run, undoubt, undoubt_json};
use crate::support::{PATIENCE, banks, nobody, start, until};
use std::process::Stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use undoubt::cluster::{Plan, Who};
use undoubt_client::kv::KvWork;

const BANK_A: Who = Who::Participant(0);

#[tokio::test]
async fn a_frame_tells_rates_participants_and_the_oldest_open_transactions() {
    let cluster = start(Plan { foreign_participants: vec![nobody("away")], ..banks() }).await;
    for number in 0..3 {
        commit(&cluster, transfer(&format!("t{number}"), 1)).await;
    }
    let open = within_ms(60_000, request("waits", [branch("away", KvWork::new().get("k"))]));
    submit(&cluster, no_wait(open)).await.unwrap();

    let frame = undoubt_json(&cluster, &["top", "--once"]).await.expect(0, &[]).json();
    let coordinator = &frame["coordinator"];
    assert_eq!((&coordinator["phase"], &coordinator["open"]), (&"serving".into(), &1.into()), "{frame}");
    assert!(coordinator["per_second"]["begun"].is_number() && coordinator["free_bytes"].is_number(), "{frame}");
    assert!(coordinator["oldest_open_s"].as_f64().unwrap() > 0.0, "{frame}");
    let names: Vec<_> =
        frame["participants"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["away", "bank-a", "bank-b"]);
    assert_eq!(frame["participants"][1]["in_doubt"], 0, "{frame}");
    assert_eq!(
        (&frame["participants"][0]["state"], frame["participants"][0]["in_doubt"].is_null()),
        (&"away".into(), true)
    );
    assert_eq!(frame["oldest"][0]["tx"], "waits");
    assert_eq!(frame["in_doubt"]["unknown"], 1);

    let shown = undoubt(&cluster, &["top", "--once"])
        .await
        .expect(0, &["per second", "1 of at most 100,000", "bank-a", "waits"]);
    assert!(shown.out.lines().all(|line| line.chars().count() <= 80), "{}", shown.out);
}

#[tokio::test]
async fn while_the_coordinator_is_dead_it_says_so_and_tells_what_is_in_doubt() {
    let mut cluster = start(banks()).await;
    // From here on the command line knows the participants.
    undoubt(&cluster, &["describe"]).await.expect(0, &[]);
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("after-append-committed:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let _ = submit(&cluster, no_wait(transfer("torn", 10))).await;
    assert!(!cluster.wait_until_ended(Who::Coordinator, PATIENCE).await.unwrap());
    cluster.kill(BANK_A).await.unwrap();

    let frame = undoubt_json(&cluster, &["top", "--once", "--timeout", "1s"]).await.expect(6, &[]).json();
    assert!(frame["coordinator"].is_null() && frame["coordinator_is_away"].is_string(), "{frame}");
    assert_eq!((&frame["in_doubt"]["branches"], &frame["in_doubt"]["unknown"]), (&1.into(), &1.into()), "{frame}");
    assert_eq!((&frame["oldest"][0]["tx"], &frame["oldest"][0]["waits_at"]), (&"torn".into(), &"bank-b".into()));
    let states: Vec<_> =
        frame["participants"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["silent", "answers"]);
    let words = ["COORDINATOR IS AWAY", "oldest in doubt", "torn"];
    undoubt(&cluster, &["top", "--once", "--timeout", "1s"]).await.expect(6, &words);
}

#[tokio::test]
async fn without_a_terminal_frames_come_one_after_the_other_until_it_is_told_to_stop() {
    let cluster = start(banks()).await;
    let mut command = command(&["top", "--output", "json", "--coordinator", &cluster.url(Who::Coordinator).unwrap()]);
    let mut top = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = top.stdout.take().unwrap();
    let mut text = String::new();
    let mut part = [0; 4_096];
    until("there are two frames, and how fast it went between them", async || {
        let length = out.read(&mut part).await.unwrap();
        text.push_str(std::str::from_utf8(&part[..length]).unwrap());
        let second = text.lines().nth(1)?;
        serde_json::from_str::<serde_json::Value>(second).ok()?["coordinator"]["per_second"].is_object().then_some(())
    })
    .await;
    top.kill().await.unwrap();
}

#[tokio::test]
async fn at_a_terminal_it_draws_until_q_is_pressed_and_gives_the_screen_back() {
    let cluster = start(banks()).await;
    let program = env!("CARGO_BIN_EXE_undoubt");
    let asked = format!("{program} top --coordinator {}", cluster.url(Who::Coordinator).unwrap());
    let mut script = Command::new("script");
    script
        .args(["-qec", &asked, "/dev/null"])
        .env("TERM", "xterm")
        .env("XDG_STATE_HOME", "/dev/null")
        .kill_on_drop(true);
    let Ok(mut terminal) = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        eprintln!("SKIPPED `undoubt top` at a terminal: there is no `script`, which util-linux brings");
        return;
    };
    let (mut keys, mut out) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = String::new();
    let mut part = [0; 4_096];
    until("it shows a participant", async || {
        let length = out.read(&mut part).await.unwrap();
        shown.push_str(&String::from_utf8_lossy(&part[..length]));
        shown.contains("bank-b").then_some(())
    })
    .await;
    assert!(shown.contains("\u{1b}[?1049h"), "it has a screen of its own");
    keys.write_all(b"sq").await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, async {
        out.read_to_string(&mut shown).await.unwrap();
        terminal.wait().await.unwrap()
    });
    assert!(ended.await.unwrap().success());
    assert!(shown.contains("by in doubt") && shown.contains("\u{1b}[?1049l"), "{shown:?}");
}

#[tokio::test]
async fn what_is_no_address_is_refused_before_anything_is_drawn() {
    let said = run(command(&["top", "--once", "--coordinator", "nowhere"])).await;
    said.expect(2, &["port is missing"]);
}
