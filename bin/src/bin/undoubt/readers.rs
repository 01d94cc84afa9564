//! `undoubt readers`: for whom a participant keeps the events that it has published.

use crate::args::{Global, statement};
use crate::exit::{Exit, Failure};
use crate::operate::{done, say_the_price};
use crate::output::{span, table};
use clap::{Args, Subcommand};
use serde_json::json;
use undoubt_client::{EventLogState, LogReaderState};
use undoubt_platform::{Clock as _, SystemClock};
use undoubt_vocabulary::Timestamp;

/// Shows for whom a participant keeps its events, or has it keep nothing for one any more.
#[derive(Debug, Args)]
pub struct Readers {
    #[command(subcommand)]
    action: ReadersAction,
}

#[derive(Debug, Subcommand)]
enum ReadersAction {
    /// Lists the readers that are registered, with how far each has come, and those that were dropped.
    List {
        /// The participant's name, or its address.
        #[arg(value_name = "NAME|URL")]
        participant: String,
    },
    /// Has a participant keep nothing for a reader that nobody runs any more.
    Forget {
        /// The participant's name, or its address.
        #[arg(value_name = "NAME|URL")]
        participant: String,
        /// The reader, as the list shows it.
        reader: String,
        /// The person who decides. Recorded for good.
        #[arg(long, value_parser = statement)]
        who: String,
        /// Why. Recorded for good.
        #[arg(long, value_parser = statement)]
        reason: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Carries out what is asked about readers.
pub async fn readers(arguments: &Readers, global: &Global) -> Result<Exit, Failure> {
    match &arguments.action {
        ReadersAction::List { participant } => list(participant, global).await,
        ReadersAction::Forget { participant, reader, who, reason, yes } => {
            let price =
                "Events that it has not taken are dropped in time; if it comes back, it may have to begin anew.";
            say_the_price(*yes, "forget", &format!("keep nothing for {reader}"), price)?;
            global.participant_called(participant).await?.forget_reader(reader, who, reason).await?;
            done(global, &format!("forgotten  {reader}"))
        }
    }
}

async fn list(participant: &str, global: &Global) -> Result<Exit, Failure> {
    let client = global.participant_called(participant).await?;
    let (log, readers) = (client.describe_log().await?, client.log_readers().await?);
    let now = SystemClock.now();
    let EventLogState { first, stable, bytes, max_bytes, .. } = &log;
    let log = json!({ "first": first.0, "stable": stable.0, "bytes": bytes, "max_bytes": max_bytes });
    let document = json!({ "log": log, "readers": readers.iter().map(document_of).collect::<Vec<_>>() });
    Exit::shown(global.output.show(&document, || {
        let rows = readers.iter().map(|reader| row_of(reader, now)).collect();
        let header = ["reader", "after", "behind", "heard of", ""];
        let kept = format!("Events {first} to {stable} are kept, {bytes} of at most {max_bytes} bytes.");
        format!("{}\n{kept}", table(header, rows, "nobody is registered"))
    }))
}

fn document_of(reader: &LogReaderState) -> serde_json::Value {
    json!({
        "name": reader.name,
        "after": reader.after.0,
        "behind": reader.behind,
        "heard_at": reader.heard_at.to_string(),
        "dropped_at": reader.dropped_at.map(|at| at.to_string()),
    })
}

fn row_of(reader: &LogReaderState, now: Timestamp) -> [String; 5] {
    let LogReaderState { name, after, behind, heard_at, dropped_at } = reader;
    let dropped =
        dropped_at.map_or_else(String::new, |at| format!("dropped {} ago: it was too far behind", span(now.since(at))));
    [name.clone(), after.to_string(), behind.to_string(), format!("{} ago", span(now.since(*heard_at))), dropped]
}
