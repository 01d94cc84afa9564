//! Backups of servers, and data folders that were put back.

use crate::support::api::{accept_what_was_lost, commit, submit, transfer, value};
use crate::support::program::{Ended, coordinator, participant, run};
use crate::support::{PATIENCE, banks, start, until};
use std::path::Path;
use std::process::Command;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_proto::v1;

const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);
const ALL: [Who; 3] = [Who::Coordinator, BANK_A, BANK_B];

async fn backup(who: Who, arguments: &[&str]) -> Ended {
    let arguments = [&["backup"], arguments].concat();
    run(match who {
        Who::Coordinator => coordinator(&arguments),
        Who::Participant(_) => participant(&arguments),
    })
    .await
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Puts another folder in the place of that of a server which does not run.
fn put_back(cluster: &Cluster, who: Who, folder: &Path) {
    std::fs::remove_dir_all(cluster.data_dir(who)).unwrap();
    std::fs::rename(folder, cluster.data_dir(who)).unwrap();
}

/// Starts a process, and returns once it listens: it may not serve.
async fn start_again(cluster: &mut Cluster, who: Who) {
    cluster.start_again(who).await.unwrap();
    let address = cluster.url(who).unwrap().trim_start_matches("http://").to_owned();
    until("it listens", async || tokio::net::TcpStream::connect(&address).await.ok()).await;
}

#[tokio::test]
async fn backups_of_running_servers_have_what_was_acknowledged_and_say_that_they_are_backups() {
    let mut cluster = start(banks()).await;
    for n in 0..5 {
        commit(&cluster, transfer(&format!("t-{n}"), 10)).await;
    }
    let home = tempfile::tempdir().unwrap();
    for (who, name) in ALL.into_iter().zip(["coordinator", "bank-a", "bank-b"]) {
        let to = home.path().join(name);
        let url = cluster.url(who).unwrap();
        let made = backup(who, &["--server", &url, "--to", path(&to)]).await;
        assert!(made.success && made.out.trim_end() == format!("backed up  {}", to.display()), "{made:?}");
    }
    // They have gone on.
    commit(&cluster, transfer("later", 10)).await;
    for (who, name) in ALL.into_iter().zip(["coordinator", "bank-a", "bank-b"]) {
        cluster.kill(who).await.unwrap();
        put_back(&cluster, who, &home.path().join(name));
    }
    for who in [BANK_A, BANK_B, Who::Coordinator] {
        start_again(&mut cluster, who).await;
        let told = cluster.log_tail(who, usize::MAX);
        let whose = match who {
            Who::Coordinator => "backup of coordinator 'coordinator', taken at 20",
            Who::Participant(0) => "backup of participant 'bank-a', taken at 20",
            Who::Participant(_) => "backup of participant 'bank-b', taken at 20",
        };
        assert!(told.contains(whose) && told.contains("lacks what was promised since"), "{told}");
    }
    accept_what_was_lost(&cluster, &[BANK_A, BANK_B]).await;
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("-50"));
    for n in 0..5 {
        let again = submit(&cluster, transfer(&format!("t-{n}"), 10)).await.unwrap();
        assert_eq!(again.state(), v1::State::Committed);
    }
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("-50"));
}

#[tokio::test]
async fn a_stopped_server_is_backed_up_from_its_folder_and_a_running_one_is_not() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t", 10)).await;
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("copy");
    for who in [Who::Coordinator, BANK_A] {
        let data_dir = cluster.data_dir(who);
        let arguments = ["--data-dir", path(&data_dir), "--to", path(&to), "--output", "json"];
        let running = backup(who, &arguments).await;
        running.refused_with(&["already open", "--server"]);
        assert_eq!(running.code, Some(3));
        let document: serde_json::Value = serde_json::from_str(&running.out).unwrap();
        assert_eq!(document["error"]["kind"], "folder");
        assert!(document["error"]["message"].as_str().unwrap().contains("already open"));

        assert!(cluster.stop(who, PATIENCE).await.unwrap());
        let made = backup(who, &arguments).await;
        assert!(made.success, "{made:?}");
        let document: serde_json::Value = serde_json::from_str(&made.out).unwrap();
        assert_eq!(document, serde_json::json!({ "backup": path(&to) }));
        put_back(&cluster, who, &to);
    }
    for who in [BANK_A, Who::Coordinator] {
        start_again(&mut cluster, who).await;
    }
    accept_what_was_lost(&cluster, &[BANK_A]).await;
    assert_eq!(value(&cluster, "bank-a", "alice").await.as_deref(), Some("-10"));
}

#[tokio::test]
async fn a_backup_that_cannot_be_made_says_why_by_its_exit_code_too_and_leaves_nothing() {
    let mut cluster = start(banks()).await;
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("copy");
    std::fs::create_dir(home.path().join("full")).unwrap();
    std::fs::write(home.path().join("full/letter.txt"), "dear all").unwrap();
    let full = home.path().join("full");
    for who in [Who::Coordinator, BANK_A] {
        let (url, data_dir) = (cluster.url(who).unwrap(), cluster.data_dir(who));
        let within = data_dir.join("copy");
        for (to, why) in
            [("copy", "begin with /"), (path(&full), "no empty folder"), (path(&within), "within the data folder")]
        {
            let refused = backup(who, &["--server", &url, "--to", to]).await;
            refused.refused_with(&[to, why]);
            assert_eq!(refused.code, Some(2), "{refused:?}");
        }
        let failed = backup(who, &["--server", &url, "--to", "/proc/copy", "--output", "json"]).await;
        failed.refused_with(&["/proc/copy", "Nothing is left there"]);
        assert_eq!(failed.code, Some(6), "{failed:?}");
        let none = backup(who, &["--data-dir", path(&full), "--to", path(&to)]).await;
        none.refused_with(&[path(&full), "no data folder"]);
        assert_eq!(none.code, Some(3));
        backup(who, &["--server", "nowhere", "--to", path(&to)]).await.refused_with(&["nowhere", "http://"]);
        let neither = backup(who, &["--to", path(&to)]).await;
        assert_eq!(neither.code, Some(2));
        assert!(neither.err.contains("--server") && neither.err.contains("--data-dir"), "{}", neither.err);
    }
    // Each is asked for what only the other has.
    let other = cluster.url(BANK_A).unwrap();
    let other = backup(Who::Coordinator, &["--server", &other, "--to", path(&to)]).await;
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(cluster.stop(BANK_A, PATIENCE).await.unwrap());
    let other = cluster.data_dir(BANK_A);
    let other = backup(Who::Coordinator, &["--data-dir", path(&other), "--to", path(&to)]).await;
    other.refused_with(&["participant 'bank-a'", "Nothing was changed"]);
    assert_eq!(other.code, Some(3));
    let nobody = backup(Who::Coordinator, &["--server", "http://127.0.0.1:1", "--to", path(&to)]).await;
    nobody.refused_with(&["127.0.0.1:1", "nothing was done"]);
    assert_eq!(nobody.code, Some(5));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1);
    cluster.restart(BANK_A, None).await.unwrap();
    commit(&cluster, transfer("t", 10)).await;
}

#[tokio::test]
async fn a_data_folder_that_was_copied_is_told_and_with_the_setting_off_it_is_not() {
    for (setting, is_told) in [("folder_sign=true", true), ("folder_sign=false", false)] {
        let settings = || vec![setting.to_owned()];
        let plan = Plan { coordinator_settings: settings(), participant_settings: settings(), ..banks() };
        let mut cluster = start(plan).await;
        commit(&cluster, transfer("t", 10)).await;
        for who in [Who::Coordinator, BANK_A] {
            cluster.kill(who).await.unwrap();
            let copy = cluster.folder().join("copy");
            let data_dir = cluster.data_dir(who);
            assert!(Command::new("cp").arg("-a").args([&data_dir, &copy]).status().unwrap().success());
            let told = cluster.log_tail(who, usize::MAX);
            assert!(!told.contains("was copied"), "{told}");
            put_back(&cluster, who, &copy);
        }
        for who in [BANK_A, Who::Coordinator] {
            start_again(&mut cluster, who).await;
            let told = cluster.log_tail(who, usize::MAX);
            assert_eq!(
                told.contains("was copied or put back") && told.contains("folder_sign = false"),
                is_told,
                "{told}"
            );
        }
        accept_what_was_lost(&cluster, &[BANK_A]).await;
        until("the copy works", async || value(&cluster, "bank-a", "alice").await).await;
    }
}
