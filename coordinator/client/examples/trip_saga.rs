//! A trip as a saga: a seat is reserved and booked, then paid. What was done is undone if the last step fails.
//!
//! Needs a coordinator with the participants bank-a and bank-b, as the README starts them ("Try it by hand"), at
//! http://127.0.0.1:7400, or at the address given as the first argument or in UNDOUBT_COORDINATOR:
//!
//! ```console
//! $ cargo run --package undoubt-client --example trip_saga
//! ```

use std::error::Error;
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{Client, ClientOptions, Outcome, Reference, Saga, Step, Transaction};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect_lazy(&coordinator(), ClientOptions::default())?;
    let opening = Transaction::new().on("bank-a", KvWork::new().put("traveller", "100"));
    println!("opening the account: {}", client.submit(&opening).await?.outcome);

    let affordable = client.submit(trip(20)).await?.outcome;
    println!("a trip for 20: {affordable}");
    let dear = client.submit(trip(500)).await?.outcome;
    println!("a trip for 500: {dear}");
    match (affordable, dear) {
        (Outcome::Committed, Outcome::Aborted(_)) => Ok(()),
        _ => Err("that is not what was expected".into()),
    }
}

fn trip(price: i64) -> Saga {
    // The seat's number is what the first step leaves; a seat that is given back is not sold again.
    let seat = || Reference::to("reserve", 0);
    let reserve = KvWork::new().add("next-seat", 1);
    let book = KvWork::new().put("seat/", "traveller").key_suffix_from(seat());
    let unbook = KvWork::new().delete("seat/").key_suffix_from(seat());
    let pay = KvWork::new().add("traveller", Add::of(-price).floor(0));
    Saga::new()
        .step(Step::new("reserve", "bank-a", reserve).undo(KvWork::new().add("cancelled", 1)))
        .step(Step::new("book", "bank-b", book).undo(unbook))
        .step(Step::new("pay", "bank-a", pay).pivot())
}

fn coordinator() -> String {
    let given = std::env::args().nth(1).or_else(|| std::env::var("UNDOUBT_COORDINATOR").ok());
    given.unwrap_or_else(|| "http://127.0.0.1:7400".to_owned())
}
