//! What happens to a saga, as it happens, and then the same from its record.
//!
//! Needs a coordinator with the participants bank-a and bank-b, as the README starts them ("Try it by hand"), at
//! http://127.0.0.1:7400, or at the address given as the first argument or in UNDOUBT_COORDINATOR:
//!
//! ```console
//! $ cargo run --package undoubt-client --example watching
//! ```

use futures::StreamExt;
use std::error::Error;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, EventKind, HistoryEvent, Outcome, Saga, Step, Watched};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect_lazy(&coordinator(), ClientOptions::default())?;
    let rounds = (0..10).fold(Saga::new(), |saga, round| {
        let bank = if round % 2 == 0 { "bank-a" } else { "bank-b" };
        let step = Step::new(&format!("round-{round}"), bank, KvWork::new().add("rounds", 1));
        saga.step(step.undo(KvWork::new().add("rounds", -1)))
    });
    client.submit_no_wait(&rounds).await?;

    println!("as it happens:");
    let mut events = Box::pin(client.watch(Some(rounds.id().clone())));
    while let Some(watched) = events.next().await {
        match watched? {
            Watched::Event { event, .. } => println!("{}", line(&event)),
            Watched::Lost { events } => println!("  {events} events were lost"),
            Watched::Interrupted { cause } => println!("  interrupted: {cause}"),
            Watched::Restarted => println!("  the coordinator was started anew"),
            _ => println!("  something that this version does not know"),
        }
    }

    // The watch ends with the saga. What happened before it began, or was lost, is on record.
    println!("on record:");
    let view = client.get(rounds.id()).await?;
    view.history.iter().for_each(|event| println!("{}", line(event)));
    match view.known.decided {
        Some(Outcome::Committed) => Ok(()),
        other => Err(format!("that is not what was expected: {other:?}").into()),
    }
}

fn line(event: &HistoryEvent) -> String {
    let kind = event.kind.map_or("unknown", EventKind::as_str);
    let participant = event.participant.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("  {kind} {participant} {}", event.detail)
}

fn coordinator() -> String {
    let given = std::env::args().nth(1).or_else(|| std::env::var("UNDOUBT_COORDINATOR").ok());
    given.unwrap_or_else(|| "http://127.0.0.1:7400".to_owned())
}
