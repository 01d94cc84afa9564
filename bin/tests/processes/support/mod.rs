//! What the tests of real processes share.

pub mod api;
pub mod choreography;
pub mod cli;
pub mod http;
pub mod program;
pub mod served;
pub mod server;
pub mod session;

use std::time::Duration;
use undoubt::cluster::{Cluster, Plan, Programs};

/// How long a test waits for what has to happen. Nothing depends on how soon it does.
pub const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(10);

pub fn programs() -> Programs {
    Programs {
        coordinator: env!("CARGO_BIN_EXE_undoubt-coordinator").into(),
        participant: env!("CARGO_BIN_EXE_undoubt-participant").into(),
    }
}

/// Two participants, bank-a and bank-b.
pub fn banks() -> Plan {
    Plan { participants: vec!["bank-a".to_owned(), "bank-b".to_owned()], ..Plan::default() }
}

/// A participant under this name that cannot be reached.
pub fn nobody(name: &str) -> (String, String) {
    // The port is reserved, so nothing listens on it.
    (name.to_owned(), "http://127.0.0.1:1".to_owned())
}

pub async fn start(plan: Plan) -> Cluster {
    Cluster::start(&programs(), plan).await.unwrap()
}

/// Asks until there is an answer.
///
/// # Panics
/// If there is none in time; `what` says what was waited for.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("in vain waited until {what}"))
}
