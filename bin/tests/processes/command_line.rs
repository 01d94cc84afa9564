//! Tests of the command line: how it takes what it is given, and its exit codes, even if nothing else is read.

use crate::support::cli::{Said, command, run, undoubt, undoubt_json};
use crate::support::{banks, nobody, program, start, until};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use undoubt::cluster::{Cluster, Plan, Who};

/// Standard output that nobody reads, or that has no room.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unwritable {
    ReaderGone,
    Full,
}

impl Unwritable {
    fn out(self) -> Stdio {
        match self {
            Unwritable::Full => full().into(),
            Unwritable::ReaderGone => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                writer.into()
            }
        }
    }
}

/// Returns a file to which every write fails for want of room.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// The code of a command that can write neither to standard output nor to standard error.
async fn code(mut command: Command, out: Unwritable, input: &str) -> i32 {
    let mut child = command.stdin(Stdio::piped()).stdout(out.out()).stderr(full()).spawn().unwrap();
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
    child.wait().await.unwrap().code().expect("undoubt was killed by a signal")
}

#[tokio::test]
async fn every_command_keeps_its_exit_code_where_nothing_can_be_written() {
    let cluster = start(banks()).await;
    let participant = cluster.url(Who::Participant(0)).unwrap();
    undoubt(&cluster, &["submit", "--id", "good", "--on", "bank-a", "put x 1"]).await.expect(0, &[]);
    undoubt(&cluster, &["submit", "--id", "bad", "--on", "bank-a", "add x -9 floor=0"]).await.expect(3, &[]);
    until("both have ended", async || {
        let ended = undoubt_json(&cluster, &["list", "--ended"]).await.json();
        (ended["transactions"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    let aborts = r#"{"branches":{"bank-a":["add x -9 floor=0"]}}"#;
    let many = format!("{{\"branches\":{{\"bank-a\":[\"get x\"]}}}}\n{aborts}\n");
    // `said`: the code tells what was done, though nobody hears of it. `shown`: what was only to be shown was not done.
    let (said, shown) = ([0, 0], [0, 1]);
    let operator = ["--who", "me", "--reason", "test"];
    let cases: Vec<(Vec<&str>, &str, [i32; 2])> = vec![
        (vec!["submit", "--on", "bank-a", "get x"], "", said),
        (vec!["submit", "--on", "bank-a", "add x -9 floor=0"], "", [3, 3]),
        (vec!["submit", "--on", "bank-a", "get x", "--no-wait"], "", said),
        (vec!["submit", "--on", "bank-a", "got x"], "", [2, 2]),
        (vec!["submit", "--on", "bank-c", "get x"], "", [7, 7]),
        (vec!["submit", "--file", "-"], aborts, [3, 3]),
        (vec!["submit", "--file", "-"], "{", [7, 7]),
        (vec!["submit", "--lines"], &many, [3, 3]),
        (vec!["wait", "good"], "", said),
        (vec!["wait", "bad"], "", [3, 3]),
        (vec!["wait", "nothing"], "", [5, 5]),
        (vec!["cancel", "bad"], "", said),
        (vec!["cancel", "good"], "", [8, 8]),
        (vec!["status", "bad"], "", shown),
        (vec!["history", "bad"], "", shown),
        (vec!["list"], "", shown),
        (vec!["describe"], "", shown),
        (vec!["participants"], "", shown),
        (vec!["participant", &participant], "", shown),
        (vec!["branches", &participant], "", shown),
        (vec!["completions", "bash"], "", shown),
        (vec!["submit", "--help"], "", shown),
        (vec!["--version"], "", shown),
        (vec!["recovery", "pause"], "", said),
        (vec!["recovery", "resume"], "", said),
        (vec!["run", "transfers", "--count", "5", "--customers", "10", "--in-flight", "2"], "", said),
        (
            [&["resolve", "nothing", "abort", "--yes", "--participant", &participant], &operator[..]].concat(),
            "",
            [5, 5],
        ),
        ([&["resolve-step", "nothing", "s", "retry"], &operator[..]].concat(), "", [5, 5]),
        ([&["forget", "nothing"], &operator[..]].concat(), "", [5, 5]),
        (vec!["status", "0x1"], "", [2, 2]),
        (vec!["--bogus"], "", [2, 2]),
        (vec![], "", [2, 2]),
        (vec!["drain"], "", said),
    ];
    for (arguments, input, expected) in cases {
        for (out, expected) in [Unwritable::ReaderGone, Unwritable::Full].into_iter().zip(expected) {
            for output in ["table", "json"] {
                // One that drains comes to its end.
                if arguments == ["drain"] && (out, output) != (Unwritable::Full, "json") {
                    continue;
                }
                let url = cluster.url(Who::Coordinator).unwrap();
                let mut command = command(&arguments);
                command.env("UNDOUBT_COORDINATOR", url).args(["--verbose", "--output", output]);
                assert_eq!(code(command, out, input).await, expected, "{arguments:?} {output} {out:?}");
            }
        }
    }
}

#[tokio::test]
async fn all_lines_are_submitted_though_nobody_reads_the_answers() {
    let cluster = start(banks()).await;
    let lines: String = (0..50)
        .map(|n| json!({"id": format!("t{n}"), "branches": {"bank-a": ["add n 1"]}}).to_string() + "\n")
        .collect();
    let mut submit = command(&["submit", "--lines", "--in-flight", "1"]);
    submit.env("UNDOUBT_COORDINATOR", cluster.url(Who::Coordinator).unwrap());
    assert_eq!(code(submit, Unwritable::ReaderGone, &lines).await, 0);
    undoubt(&cluster, &["submit", "--on", "bank-a", "get n"]).await.expect(0, &["50"]);
}

#[tokio::test]
async fn servers_do_their_work_though_their_log_cannot_be_written() {
    let folder = TempDir::new().unwrap();
    for (server, name) in [(program::coordinator as fn(&[&str]) -> Command, "c"), (program::participant, "p")] {
        let path = |end: &str| folder.path().join(format!("{name}{end}")).display().to_string();
        let (data, address) = (path("-data"), path("-address"));
        let flags = ["--listen", "127.0.0.1:0", "--data-dir", &data, "--address-file", &address, "--log", "debug"];
        let mut child = server(&flags).stdout(Stdio::null()).stderr(full()).spawn().unwrap();
        until("it listens", async || File::open(&address).ok()).await;
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = child.wait().await.unwrap();
        assert!(ended.success(), "{name}: {ended:?}");
    }
}

#[tokio::test]
async fn a_command_line_that_cannot_be_read_is_told_in_the_form_it_asks_for() {
    for line in [
        &["describe", "--bogus", "-o", "json"][..],
        &["-ojson", "status", "0xabc"],
        &["--output=json", "submit", "--on", "a"],
        &["-o", "json", "list", "--limit", "0"],
        &["-o", "json", "--timeout", "soon", "describe"],
        &["-o", "json"],
        &["describe", "-o", "json", "--coordinator", "ftp://x"],
    ] {
        let said = run(command(line)).await;
        assert_eq!((said.code, &said.json()["error"]["kind"]), (2, &json!("usage")), "{said:?}");
        assert!(!said.json()["error"]["message"].as_str().unwrap().is_empty() && !said.err.is_empty(), "{said:?}");
    }
    let said = run(command(&["describe", "--bogus"])).await.expect(2, &["--bogus", "Usage"]);
    assert!(said.out.is_empty(), "{said:?}");
    run(command(&["-o", "json", "--help"])).await.expect(0, &["Exit codes"]);
    run(command(&["-o", "json", "--version"])).await.expect(0, &["undoubt 0"]);
}

#[tokio::test]
async fn where_nobody_listens_every_command_says_that_nothing_was_done() {
    let operator = ["--who", "me", "--reason", "test"];
    let url = "127.0.0.1:1";
    for line in [
        &["submit", "--on", "a", "get x"][..],
        &["submit", "--on", "a", "get x", "--deadline", "1h"],
        &["submit", "--on", "a", "get x", "--no-wait"],
        &["wait", "t"],
        &["status", "t"],
        &["history", "t"],
        &["watch"],
        &["list"],
        &["cancel", "t"],
        &["describe"],
        &["participants"],
        &["participant", url],
        &["branches", url],
        &["drain"],
        &["recovery", "pause"],
        &["run", "transfers", "--participants", "a,b"],
        &[&["forget", "t"], &operator[..]].concat(),
        &["forget", "t", "--participant", url],
        &[
            &[
                "release-marks",
                "t",
                "--yes",
                "--coordinator-id",
                "00000000000000000000000000000000",
                "--participant",
                url,
            ],
            &operator[..],
        ]
        .concat(),
        &[&["resolve-step", "t", "s", "done"], &operator[..]].concat(),
        &[&["resolve", "t", "commit", "--yes", "--participant", url], &operator[..]].concat(),
    ] {
        let common = ["--coordinator", url, "--timeout", "100ms", "-o", "json"];
        let said = run(command(&[line, &common].concat())).await;
        assert_eq!((said.code, &said.json()["error"]["kind"]), (6, &json!("not-ready")), "{line:?}: {said:?}");
    }
}

#[tokio::test]
async fn errors_are_a_sentence_even_where_a_backtrace_is_asked_for() {
    let mut unreachable = command(&["describe", "--coordinator", "127.0.0.1:1", "--timeout", "100ms"]);
    unreachable.env("RUST_BACKTRACE", "1");
    let said = run(unreachable).await.expect(6, &["error: no answer from 127.0.0.1:1"]);
    assert!(!said.err.contains("backtrace") && !said.err.contains("Caused by"), "{said:?}");
}

/// Two participants, of which "gone" cannot be reached.
async fn half_a_cluster(settings: &[&str]) -> Cluster {
    let coordinator_settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    start(Plan { foreign_participants: vec![nobody("gone")], coordinator_settings, ..banks() }).await
}

async fn with_input(cluster: &Cluster, arguments: &[&str], input: &str) -> Said {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(if input.starts_with('{') { "input.json" } else { "input.toml" });
    std::fs::write(&file, input).unwrap();
    undoubt_json(cluster, &[arguments, &[file.to_str().unwrap()]].concat()).await
}

#[tokio::test]
async fn the_deadline_of_a_transaction_is_waited_for_however_it_is_given() {
    let cluster = half_a_cluster(&["default_timeout_ms=1500"]).await;
    let document = json!({"deadline": "1500ms", "branches": {"bank-a": ["get x"], "gone": ["get x"]}});
    let without = json!({"branches": {"bank-a": ["get x"], "gone": ["get x"]}});
    let saga = json!({"mode": "saga", "deadline": "1500ms", "steps": [
        {"name": "s", "at": "bank-a", "do": ["add n 1"], "undo": ["add n -1"]},
        {"name": "t", "at": "gone", "do": ["put y 1"], "pivot": true}]});
    let auto = json!({"mode": "auto", "deadline": "1500ms", "two_phase_only": true, "steps": saga["steps"]});
    let toml = "deadline = '1500ms'\n[branches]\nbank-a = ['get x']\ngone = ['get x']\n";
    let work = ["--on", "bank-a", "get x", "--on", "gone", "get x"];
    let impatient = ["--timeout", "200ms"];
    let deadline = |said: Said| {
        said.documents().iter().for_each(|told| assert_eq!(told["abort"]["reason"], "deadline", "{said:?}"));
        assert_eq!(said.code, 3, "{said:?}");
    };
    for document in [&document, &without, &saga, &auto].map(Value::to_string) {
        deadline(with_input(&cluster, &["submit", "--timeout", "200ms", "--file"], &document).await);
        deadline(with_input(&cluster, &["submit", "--timeout", "200ms", "--lines"], &document).await);
    }
    deadline(with_input(&cluster, &["submit", "--timeout", "200ms", "--file"], toml).await);
    deadline(undoubt_json(&cluster, &[&["submit", "--deadline", "1500ms"], &work[..], &impatient].concat()).await);
    deadline(undoubt_json(&cluster, &[&["submit"], &work[..], &impatient].concat()).await);
}

#[tokio::test]
async fn a_cancel_that_takes_longer_than_one_waits_is_told_as_not_over() {
    let mut cluster = half_a_cluster(&[]).await;
    let saga = json!({"id": "s", "mode": "saga", "deadline": "10m", "steps": [
        {"name": "s", "at": "bank-a", "do": ["add n 1"], "undo": ["add n -1"]},
        {"name": "t", "at": "gone", "do": ["put y 1"], "pivot": true}]});
    with_input(&cluster, &["submit", "--no-wait", "--file"], &saga.to_string()).await.expect(0, &[]);
    until("the first step is done", async || {
        let status = undoubt_json(&cluster, &["status", "s"]).await.json();
        (status["branches"][0]["state"] == "done").then_some(())
    })
    .await;
    cluster.kill(Who::Participant(0)).await.unwrap();
    let said = undoubt_json(&cluster, &["cancel", "s", "--timeout", "500ms"]).await;
    assert_eq!((said.code, &said.json()["error"]["kind"]), (4, &json!("outcome-unknown")), "{said:?}");
    said.expect(4, &["was asked to be cancelled", "undoubt wait s"]);
    undoubt(&cluster, &["wait", "s", "--timeout", "300ms"]).await.expect(4, &["still undecided"]);
    cluster.restart(Who::Participant(0), None).await.unwrap();
    cluster.wait_until_ready(Who::Participant(0)).await.unwrap();
    undoubt(&cluster, &["wait", "s", "--timeout", "30s"]).await.expect(3, &["cancelled"]);
}

#[tokio::test]
async fn an_id_comes_back_as_it_was_given_and_never_steers_a_terminal() {
    let cluster = start(banks()).await;
    for (given, shown) in [("Überweisung-17", "Überweisung-17"), ("\u{1b}[2Jx", "0x1b5b324a78"), ("注文", "注文")]
    {
        let said = undoubt_json(&cluster, &["submit", "--id", given, "--on", "bank-a", "get x"]).await;
        assert_eq!(said.json()["tx"], shown, "{said:?}");
        let status = undoubt_json(&cluster, &["status", shown]).await.json();
        assert_eq!(status["tx"], shown, "{status}");
        let line = json!({"id": given, "branches": {"bank-a": ["get x"]}}).to_string();
        let said = with_input(&cluster, &["submit", "--lines"], &line).await;
        assert_eq!((said.code, &said.json()["tx"]), (0, &json!(shown)), "{said:?}");
    }
    undoubt(&cluster, &["submit", "--on", "bank-a", "put x \"\\u009b2J\\u202e\""]).await.expect(0, &[]);
    for said in [
        undoubt(&cluster, &["submit", "--on", "bank-a", "get x"]).await,
        undoubt_json(&cluster, &["submit", "--on", "bank-a", "get x"]).await,
        undoubt(&cluster, &["list"]).await,
        undoubt_json(&cluster, &["list"]).await,
    ] {
        assert!(!said.out.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{said:?}");
    }
    let read = undoubt_json(&cluster, &["submit", "--on", "bank-a", "get x"]).await.json();
    assert_eq!(read["results"]["bank-a"]["values"][0], "\u{9b}2J\u{202e}");
}

#[tokio::test]
async fn what_is_wrong_with_the_input_is_told_with_its_place() {
    let cluster = start(banks()).await;
    let file = async |text: &str| with_input(&cluster, &["submit", "--file"], text).await;
    file(r#"{"branches":{"bank-a":["get x"],"bank-a":["get y"]}}"#)
        .await
        .expect(7, &["branches.bank-a is given twice"]);
    file("[branches]\nbank-a=[{add={key='q',delta=5},put={key='n',value='x'}}]")
        .await
        .expect(7, &["branches.bank-a[0]", "add, put"]);
    file("\u{feff}branches={bank-a=['get x']}\r\n").await.expect(0, &[]);
    let mut lines = command(&["submit", "--lines", "-o", "json"]);
    lines.env("UNDOUBT_COORDINATOR", cluster.url(Who::Coordinator).unwrap()).stdin(Stdio::piped());
    lines.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = lines.spawn().unwrap();
    let input = "\u{feff}{\"branches\":{\"bank-a\":[\"get x\"]}}\r\n\n{\"branches\":{} x}\n";
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let told: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bad = told.iter().find(|told| told["line"] == 3).unwrap();
    let message = bad["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("line 3, column 16: ") && message.matches("line").count() == 1, "{message}");
    assert!(told.iter().any(|told| told["line"] == 1 && told["state"] == "committed"), "{told:?}");
    undoubt(&cluster, &["run", "smallbank", "--branches", "2"]).await.expect(2, &["for transfers only"]);
    undoubt(&cluster, &["run", "transfers", "--participants", "bank-a,no", "--count", "1"])
        .await
        .expect(7, &["no is not"]);
    let participant = cluster.url(Who::Participant(0)).unwrap();
    for line in [
        &["submit", "--on", "bank-a", "get x"][..],
        &["list"],
        &["wait", "t"],
        &["submit", "--on", "bank-a", "get x", "--no-wait"],
    ] {
        let said = run(command(&[line, &["--coordinator", &participant]].concat())).await;
        said.expect(7, &["ask a coordinator"]);
    }
    let none = undoubt_json(&cluster, &["submit", "--file", "/"]).await;
    assert_eq!((none.code, &none.json()["error"]["kind"]), (2, &json!("usage")), "{none:?}");
}
