//! The observer of choreographed sagas, with participants that are real processes: what it says is what they have.

use crate::support::api::value;
use crate::support::choreography::{BANK, Files, NAMES, SHOP, STOCK, given, is, number, order, three};
use crate::support::cli::{Said, command, run, undoubt, undoubt_json};
use crate::support::server::Server;
use crate::support::until;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::process::Command;
use undoubt::cluster::Cluster;

/// An observer of the three, in a folder of its own.
struct Observing {
    folder: tempfile::TempDir,
    server: Option<Server>,
    url: String,
}

impl Observing {
    async fn start(cluster: &Cluster, files: &Files) -> Observing {
        let folder = tempfile::tempdir().unwrap();
        let observed = NAMES.into_iter().zip([SHOP, STOCK, BANK]).map(|(name, who)| {
            let (address, settings) = (cluster.url(who).unwrap(), files.path(name));
            format!("[[participants]]\nname = \"{name}\"\naddress = \"{address}\"\nsettings = {settings:?}\n")
        });
        let settings = format!(
            "quiet_after_ms = 1000\nask_every_ms = 50\nretry_max_pause_ms = 100\n{}",
            observed.collect::<String>()
        );
        std::fs::write(folder.path().join("observer.toml"), settings).unwrap();
        let mut observing = Observing { folder, server: None, url: String::new() };
        observing.again("127.0.0.1:0").await;
        observing
    }

    /// Starts it, on the data that it has.
    async fn again(&mut self, listen: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_undoubt"));
        command.arg("observe").arg("--config").arg(self.folder.path().join("observer.toml")).kill_on_drop(true);
        let server = Server::start(self.folder.path(), "observer", listen, command).await;
        self.url.clone_from(&server.url);
        self.server = Some(server);
    }

    /// Ends it with kill -9.
    async fn kill(&mut self) {
        self.server.take().unwrap().kill().await;
    }

    async fn asked(&self, arguments: &[&str]) -> Said {
        let mut command = command(arguments);
        command.args(["--coordinator", &self.url]);
        run(command).await
    }

    async fn json(&self, arguments: &[&str]) -> Said {
        self.asked(&[arguments, &["--output", "json"]].concat()).await
    }

    /// Returns how it says that all sagas stand, by their ids.
    async fn standings(&self) -> BTreeMap<String, String> {
        let mut standings = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let mut arguments = vec!["list", "--limit", "7"];
            arguments.extend(after.iter().flat_map(|after| ["--after", after.as_str()]));
            let said = self.json(&arguments).await;
            assert_eq!(said.code, 0, "{said:?}");
            let page = said.json();
            for saga in page["transactions"].as_array().unwrap() {
                let standing = saga["choreographed"]["standing"].as_str().unwrap().to_owned();
                standings.insert(saga["tx"].as_str().unwrap().to_owned(), standing);
            }
            match page["cursor"].as_str() {
                Some(cursor) => after = Some(cursor.to_owned()),
                None => return standings,
            }
        }
    }

    async fn standing(&self, id: &str) -> Option<(String, Value)> {
        let said = self.json(&["status", id]).await;
        let shown = (said.code == 0).then(|| said.json())?;
        Some((shown["choreographed"]["standing"].as_str()?.to_owned(), shown))
    }

    /// Waits until it says so of a saga, and returns all that it says.
    async fn says(&self, id: &str, wanted: &str) -> Value {
        until(&format!("{id} is {wanted}"), async || {
            let (standing, shown) = self.standing(id).await?;
            (standing == wanted).then_some(shown)
        })
        .await
    }
}

/// Says what the participants themselves have of an order.
async fn audited(cluster: &Cluster, id: &str) -> &'static str {
    match value(cluster, "shop", &format!("order/{id}")).await.as_deref() {
        Some("done") => "done",
        Some("unpaid" | "sold-out") => "undone",
        Some("expired") | None => "expired",
        Some(other) => panic!("{id} is {other}"),
    }
}

#[tokio::test]
async fn it_says_exactly_what_is_though_it_and_the_participants_are_killed_and_it_is_away_for_a_while() {
    let files = Files::new("10m");
    let mut cluster = three(&files).await;
    let mut observing = Observing::start(&cluster, &files).await;
    given(&cluster, "stock", "add stock/book 30").await;
    given(&cluster, "bank", "add account/ann 100").await;
    given(&cluster, "bank", "add account/bob 15").await;
    let mut orders = Vec::new();
    for round in 0..4 {
        for number in 0..6 {
            orders.push((format!("ann-{round}-{number}"), "ann"));
        }
        orders.push((format!("bob-{round}"), "bob"));
        for (id, who) in orders.iter().skip(round * 7) {
            order(&cluster, id, who).await;
        }
        let who = [STOCK, BANK, SHOP, STOCK][round];
        match round {
            0 => {
                observing.kill().await;
                observing.again("127.0.0.1:0").await;
            }
            1 => observing.kill().await,
            2 => {}
            _ => observing.again("127.0.0.1:0").await,
        }
        cluster.kill(who).await.unwrap();
        cluster.restart(who, None).await.unwrap();
    }
    // Of 28 orders as many are paid as there is money: ten of Ann's, one of Bob's.
    is(&cluster, "shop", "finished", 11).await;
    is(&cluster, "shop", "failed", 17).await;
    let standings = until("all have ended", async || {
        let standings = observing.standings().await;
        let ended = standings.values().all(|standing| ["done", "undone"].contains(&standing.as_str()));
        (standings.len() == orders.len() && ended).then_some(standings)
    })
    .await;
    for (id, _) in &orders {
        assert_eq!(standings[id], audited(&cluster, id).await, "{id}");
    }
    let done = standings.values().filter(|standing| *standing == "done").count();
    assert_eq!(done, 11);
    assert_eq!(number(&cluster, "stock", "stock/book").await, 30 - 11);

    let (id, _) = standings.iter().find(|(_, standing)| *standing == "done").unwrap();
    // That it has ended is stored when the observer looks next, a moment after it can be told.
    let history = until("its end is stored", async || {
        let history = observing.asked(&["history", id]).await;
        history.out.contains("decided").then_some(history)
    })
    .await;
    let told = ["begun", "order.placed", "shop", "stock.reserved", "by reserve", "payment.taken", "by pay", "done"];
    history.expect(0, &told);
    let listed = observing.asked(&["list", "--state", "committed", "bob"]).await;
    assert_eq!(listed.out.lines().filter(|line| line.trim_start().starts_with("bob")).count(), 1, "{listed:?}");
    observing.asked(&["wait", id]).await.expect(0, &["committed"]);
    observing.asked(&["watch", id]).await.expect(0, &[]);
}

#[tokio::test]
async fn what_expires_is_told_with_what_it_waited_for_and_a_dead_participant_is_told_as_quiet() {
    let files = Files::new("2s");
    let mut cluster = three(&files).await;
    let observing = Observing::start(&cluster, &files).await;
    given(&cluster, "stock", "add stock/book 5").await;
    given(&cluster, "bank", "add account/ann 100").await;
    cluster.kill(BANK).await.unwrap();
    order(&cluster, "late", "ann").await;
    let quiet = observing.says("late", "quiet").await;
    let detail = quiet["choreographed"]["awaited"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("pay at bank") && detail.contains("nothing was heard from bank"), "{quiet}");
    observing.asked(&["list", "--stuck"]).await.expect(0, &["late", "quiet", "bank"]);
    is(&cluster, "stock", "stock/book", 5).await;
    // The bank may have yet to take the money: it has not ended before the bank has said so.
    let (standing, shown) = observing.standing("late").await.unwrap();
    assert!(["quiet", "undoing"].contains(&standing.as_str()), "{shown}");
    cluster.restart(BANK, None).await.unwrap();
    let expired = observing.says("late", "expired").await;
    assert_eq!((expired["state"].as_str(), audited(&cluster, "late").await), (Some("aborted"), "expired"), "{expired}");
    assert_eq!(number(&cluster, "bank", "account/ann").await, 100);
    observing.asked(&["history", "late"]).await.expect(0, &["deadline-passed", "order.expired"]);
}

#[tokio::test]
async fn what_waits_behind_a_parked_key_says_so_and_what_was_given_up_is_never_told_as_done() {
    let files = Files::new("10m");
    let cluster = three(&files).await;
    let observing = Observing::start(&cluster, &files).await;
    given(&cluster, "stock", "add stock/book 5").await;
    given(&cluster, "bank", "add account/ann 100").await;
    let poison = "emit orders order.placed key=poison json={\"item\":\"book\"}";
    for id in ["first", "second"] {
        let said = undoubt(&cluster, &["submit", "--id", id, "--on", "shop", poison]).await;
        assert_eq!(said.code, 0, "{said:?}");
    }
    order(&cluster, "good", "ann").await;
    let first = observing.says("first", "parked").await;
    assert!(first.to_string().contains("data.count"), "{first}");
    let second = observing.says("second", "parked").await;
    assert!(second.to_string().contains("waits behind a parked event"), "{second}");
    observing.says("good", "done").await;
    observing.asked(&["list", "--stuck", "--participant", "stock"]).await.expect(0, &["first", "second", "parked"]);
    let by = ["--who", "Ada", "--reason", "it was published by mistake", "--yes"];
    let said = undoubt(&cluster, &[&["parked", "drop", "stock", "reserve", "poison"], &by[..]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    // Its time is not over yet: the shop may still call it off.
    until("the first is not parked any more", async || {
        let (standing, shown) = observing.standing("first").await?;
        assert!(standing != "done" && standing != "undone", "{shown}");
        (standing == "running" && shown.to_string().contains("given up")).then_some(())
    })
    .await;
    let listed = undoubt_json(&cluster, &["parked", "list", "stock", "reserve"]).await;
    assert_eq!(listed.json()["parked"].as_array().unwrap().len(), 0, "{listed:?}");
}

#[tokio::test]
async fn what_would_change_something_is_refused_with_what_to_do() {
    let files = Files::new("10m");
    let cluster = three(&files).await;
    let observing = Observing::start(&cluster, &files).await;
    order(&cluster, "one", "ann").await;
    until("it is heard of", async || observing.standing("one").await).await;
    let submitted = observing.asked(&["submit", "--on", "shop", "add x 1"]).await;
    assert!(submitted.code != 0 && submitted.err.contains("observer"), "{submitted:?}");
    for arguments in [&["cancel", "one"][..], &["drain"]] {
        let said = observing.asked(arguments).await;
        assert!(said.code != 0 && said.err.contains("observer"), "{said:?}");
    }
    let unknown = observing.asked(&["status", "nobody"]).await;
    assert!(unknown.code != 0 && unknown.err.contains("no trace of transaction nobody"), "{unknown:?}");
    observing.asked(&["participants"]).await.expect(0, &["shop", "stock", "bank"]);
}
