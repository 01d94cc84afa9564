//! A transfer between two banks by two-phase commit: all of it or nothing.
//!
//! Needs a coordinator with the participants bank-a and bank-b, as the README starts them ("Try it by hand"), at
//! http://127.0.0.1:7400, or at the address given as the first argument or in UNDOUBT_COORDINATOR:
//!
//! ```console
//! $ cargo run --package undoubt-client --example transfer
//! ```

use std::error::Error;
use std::time::Duration;
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{Answer, Client, ClientOptions, Outcome, Transaction};

const TRIES: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect_lazy(&coordinator(), ClientOptions::default())?;

    let opening = || {
        Transaction::new().on("bank-a", KvWork::new().put("alice", "100")).on("bank-b", KvWork::new().put("bob", "50"))
    };
    println!("opening the accounts: {}", submit(&client, opening).await?.outcome);

    // Nobody may be overdrawn: `floor` makes alice's bank refuse, and then bob gets nothing either.
    for (amount, can_pay) in [(30, true), (500, false)] {
        let transfer = || {
            Transaction::new()
                .on("bank-a", KvWork::new().add("alice", Add::of(-amount).floor(0)))
                .on("bank-b", KvWork::new().add("bob", amount))
        };
        let outcome = submit(&client, transfer).await?.outcome;
        println!("{amount} from alice to bob: {outcome}");
        if (outcome == Outcome::Committed) != can_pay {
            return Err("that is not what was expected".into());
        }
    }

    let reading = || Transaction::new().on("bank-a", KvWork::new().get("alice")).on("bank-b", KvWork::new().get("bob"));
    let answer = submit(&client, reading).await?;
    let balance = |bank| answer.result(bank).and_then(|read| read.values()?.first()?.to_text()).unwrap_or_default();
    println!("alice has {}, bob has {}", balance("bank-a"), balance("bank-b"));
    if balance("bank-a") == "70" && balance("bank-b") == "80" { Ok(()) } else { Err("money is missing".into()) }
}

/// Submits what `transaction` returns, and again under a new id while it is aborted for a reason that may be gone soon, such as
/// locks of the transaction before, whose second phase is still on its way.
async fn submit(client: &Client, transaction: impl Fn() -> Transaction) -> Result<Answer, Box<dyn Error>> {
    for _ in 1..TRIES {
        let answer = client.submit(&transaction()).await?;
        match &answer.outcome {
            Outcome::Aborted(reason) if reason.is_worth_retrying() => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
            Outcome::Aborted(_) | Outcome::Committed => return Ok(answer),
        }
    }
    Ok(client.submit(&transaction()).await?)
}

fn coordinator() -> String {
    let given = std::env::args().nth(1).or_else(|| std::env::var("UNDOUBT_COORDINATOR").ok());
    given.unwrap_or_else(|| "http://127.0.0.1:7400".to_owned())
}
