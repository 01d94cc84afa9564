//! The choreographed saga of the examples: a shop, a stock and a bank, as real processes.

use super::api::value;
use super::cli::undoubt;
use super::{start, until};
use std::path::PathBuf;
use undoubt::cluster::{Cluster, Plan, Who};

pub const SHOP: Who = Who::Participant(0);
pub const STOCK: Who = Who::Participant(1);
pub const BANK: Who = Who::Participant(2);
pub const NAMES: [&str; 3] = ["shop", "stock", "bank"];

const OF_SHOP: &str = include_str!("../../../../participant/examples/choreography/shop.toml");
const OF_STOCK: &str = include_str!("../../../../participant/examples/choreography/stock.toml");
const OF_BANK: &str = include_str!("../../../../participant/examples/choreography/bank.toml");

/// The settings files of the three, in a folder that goes with this.
pub struct Files {
    folder: tempfile::TempDir,
    expiry: &'static str,
}

impl Files {
    pub fn new(expiry: &'static str) -> Files {
        Files { folder: tempfile::tempdir().unwrap(), expiry }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.toml"))
    }

    /// Writes them with the addresses of those that are known.
    pub fn write(&self, addresses: &[(&str, String)]) {
        for (name, declared) in NAMES.into_iter().zip([OF_SHOP, OF_STOCK, OF_BANK]) {
            let mut text = declared.replace("30s", self.expiry);
            for (source, port) in NAMES.into_iter().zip([7_401, 7_402, 7_403]) {
                let address = addresses.iter().find(|(known, _)| *known == source);
                // The port is reserved, so nothing listens on it.
                let address = address.map_or("http://127.0.0.1:1", |(_, address)| address.as_str());
                text = text.replace(&format!("http://127.0.0.1:{port}"), address);
            }
            std::fs::write(self.path(name), text).unwrap();
        }
    }
}

/// Starts the three. Each knows where the others are from its second start on.
pub async fn three(files: &Files) -> Cluster {
    files.write(&[]);
    let configs = NAMES.map(|name| (name.to_owned(), files.path(name)));
    let plan = Plan { configs: configs.into(), ..Plan::impatient(NAMES.map(str::to_owned).to_vec()) };
    let mut cluster = start(plan).await;
    let all = [SHOP, STOCK, BANK];
    let addresses: Vec<_> = NAMES.into_iter().zip(all.map(|who| cluster.url(who).unwrap())).collect();
    files.write(&addresses);
    for who in all {
        cluster.kill(who).await.unwrap();
        cluster.restart(who, None).await.unwrap();
    }
    cluster
}

pub async fn order(cluster: &Cluster, id: &str, who: &str) {
    let event = format!(
        "emit orders order.placed key={id} json={{\"item\":\"book\",\"count\":1,\"who\":\"{who}\",\"price\":10}}"
    );
    let said = undoubt(cluster, &["submit", "--id", id, "--on", "shop", &event]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

pub async fn given(cluster: &Cluster, at: &str, work: &str) {
    let said = undoubt(cluster, &["submit", "--on", at, work]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// Returns a number that a participant has under a key; 0 if there is none.
pub async fn number(cluster: &Cluster, at: &str, key: &str) -> i64 {
    value(cluster, at, key).await.map_or(0, |text| text.parse().unwrap())
}

pub async fn is(cluster: &Cluster, at: &str, key: &str, expected: i64) {
    until(&format!("{key} at {at} is {expected}"), async || (number(cluster, at, key).await == expected).then_some(()))
        .await;
}
