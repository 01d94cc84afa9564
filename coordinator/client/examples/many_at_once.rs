//! A thousand transactions over one stream, up to 64 of them under way at a time.
//!
//! Needs a coordinator with the participants bank-a and bank-b, as the README starts them ("Try it by hand"), at
//! http://127.0.0.1:7400, or at the address given as the first argument or in UNDOUBT_COORDINATOR:
//!
//! ```console
//! $ cargo run --package undoubt-client --example many_at_once
//! ```

use futures::{StreamExt, stream};
use std::error::Error;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, Outcome, Transaction};

const COUNT: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = ClientOptions::default().max_in_flight_transactions(64);
    let client = Client::connect_lazy(&coordinator(), options)?;
    let transactions = (0..COUNT).map(|number| {
        let grant = |account| KvWork::new().add(format!("{account}/{number}"), 1);
        Transaction::new().on("bank-a", grant("saver")).on("bank-b", grant("giver"))
    });

    let began = Instant::now();
    let mut completions = client.submit_many(stream::iter(transactions));
    let (mut committed, mut slowest) = (0, Duration::ZERO);
    while let Some(done) = completions.next().await {
        // An error here leaves the outcome of that one open; the others go on.
        match done.result?.outcome {
            Outcome::Committed => committed += 1,
            Outcome::Aborted(reason) => println!("{} aborted: {reason}", done.tx),
        }
        slowest = slowest.max(done.took);
    }
    println!("{committed} of {COUNT} committed in {:.2?}, the slowest in {slowest:.2?}", began.elapsed());
    if committed == COUNT { Ok(()) } else { Err("some did not commit".into()) }
}

fn coordinator() -> String {
    let given = std::env::args().nth(1).or_else(|| std::env::var("UNDOUBT_COORDINATOR").ok());
    given.unwrap_or_else(|| "http://127.0.0.1:7400".to_owned())
}
