//! Steps of which the coordinator chooses how they are carried out, and which way it took.
//!
//! Needs a coordinator with the participants bank-a and bank-b, as the README starts them ("Try it by hand"), at
//! http://127.0.0.1:7400, or at the address given as the first argument or in UNDOUBT_COORDINATOR:
//!
//! ```console
//! $ cargo run --package undoubt-client --example auto
//! ```

use std::error::Error;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, Outcome, QueryError, Saga, Step, TxId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect_lazy(&coordinator(), ClientOptions::default())?;

    // Both banks can prepare, so it goes by two-phase commit, unless one of them does not answer in time.
    let either = gift("gifts").auto();
    let outcome = client.submit(&either).await?.outcome;
    println!("{outcome}, {}", way(&client, either.id()).await?);

    // Where the value is high it must not be seen half done: by two-phase commit, or not at all.
    let dear = gift("dear gifts").auto().value(1_000_000).two_phase_only();
    let dear_outcome = client.submit(&dear).await?.outcome;
    println!("{dear_outcome}, {}", way(&client, dear.id()).await?);

    match (outcome, dear_outcome) {
        (Outcome::Committed, Outcome::Committed) => Ok(()),
        _ => Err("that is not what was expected".into()),
    }
}

// Each has a key of its own: the locks of the one may still be held for a moment after its outcome is known.
fn gift(key: &'static str) -> Saga {
    let (give, take) = (|| KvWork::new().add(key, 1), || KvWork::new().add(key, -1));
    Saga::new().step(Step::new("a", "bank-a", give()).undo(take())).step(Step::new("b", "bank-b", give()).undo(take()))
}

async fn way(client: &Client, tx: &TxId) -> Result<&'static str, QueryError> {
    Ok(if client.get(tx).await?.saga { "as a saga" } else { "by two-phase commit" })
}

fn coordinator() -> String {
    let given = std::env::args().nth(1).or_else(|| std::env::var("UNDOUBT_COORDINATOR").ok());
    given.unwrap_or_else(|| "http://127.0.0.1:7400".to_owned())
}
