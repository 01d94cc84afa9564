//! `undoubt doubt`: what is in doubt, at all participants at once, also while the coordinator is dead.

use crate::address_book::{AddressBook, Entry, Source};
use crate::args::{Doubt, Global};
use crate::exit::{Exit, Failure};
use crate::output::{span, table};
use futures::future::join_all;
use serde::Serialize;
use undoubt_client::{Held, HeldBranch, HeldFilter, HeldQuery, OperatorError};
use undoubt_platform::{Clock, SystemClock};
use undoubt_vocabulary::Timestamp;

/// Branches that are shown of one participant at most.
const MAX_BRANCHES_PER_PARTICIPANT: u32 = 1_000;

/// The branches in doubt at one participant, or the reason why they are not known.
#[derive(Debug, Serialize)]
struct AtParticipant {
    participant: String,
    address: String,
    in_doubt: Vec<InDoubt>,
    /// There is more than is told.
    more: bool,
    /// The reason why it could not be asked.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct InDoubt {
    tx: String,
    since: String,
    coordinator_id: String,
    attempt_number: String,
}

#[derive(Debug, Serialize)]
struct Document {
    /// The reason why the coordinator does not answer; its participants are those that are remembered.
    coordinator_is_away: Option<String>,
    participants: Vec<AtParticipant>,
}

pub async fn doubt(arguments: &Doubt, global: &Global) -> Result<Exit, Failure> {
    let book = AddressBook::open(arguments.config.as_deref(), global).await?;
    let asked = join_all(book.entries.iter().map(|entry| ask(entry, global))).await;
    let exit = if asked.iter().any(|(_, answer)| answer.is_err()) { Exit::NotReady } else { Exit::Done };
    let away = match &book.source {
        Source::Memory { coordinator_is_away } => Some(coordinator_is_away.clone()),
        Source::Coordinator | Source::File => None,
    };
    let participants = asked.iter().map(|(entry, answer)| AtParticipant::new(entry, answer)).collect();
    let document = Document { coordinator_is_away: away, participants };
    let printed = global.output.show(&document, || describe(&document, &asked, SystemClock.now()));
    Ok(exit.told(printed))
}

async fn ask<'a>(entry: &'a Entry, global: &Global) -> (&'a Entry, Result<Held, String>) {
    let query = HeldQuery::of(HeldFilter::InDoubt).limit(MAX_BRANCHES_PER_PARTICIPANT);
    let answer = match global.participant(&entry.address) {
        Ok(participant) => participant.held(&query).await.map_err(|error: OperatorError| error.to_string()),
        Err(failure) => Err(failure.message),
    };
    (entry, answer)
}

impl AtParticipant {
    fn new(entry: &Entry, answer: &Result<Held, String>) -> AtParticipant {
        let in_doubt = |branch: &HeldBranch| InDoubt {
            tx: branch.tx.to_string(),
            since: branch.begun_at.to_string(),
            coordinator_id: branch.coordinator.to_string(),
            attempt_number: branch.attempt_number.to_string(),
        };
        AtParticipant {
            participant: entry.name.clone(),
            address: entry.address.clone(),
            in_doubt: answer.iter().flat_map(|held| held.branches.iter().map(in_doubt)).collect(),
            more: answer.as_ref().is_ok_and(|held| held.cursor.is_some()),
            error: answer.as_ref().err().cloned(),
        }
    }
}

fn describe(document: &Document, asked: &[(&Entry, Result<Held, String>)], now: Timestamp) -> String {
    let mut said: Vec<String> = document
        .coordinator_is_away
        .iter()
        .map(|away| format!("{away}; asked are the participants that are remembered"))
        .collect();
    let rows = asked.iter().flat_map(|(entry, answer)| {
        answer.iter().flat_map(|held| held.branches.iter()).map(|branch| row(entry, branch, now))
    });
    let nothing = if asked.iter().any(|(_, answer)| answer.is_ok()) { "nothing is in doubt" } else { "nobody answers" };
    said.push(table(["transaction", "in doubt at", "for", "coordinator"], rows.collect(), nothing));
    for at in &document.participants {
        if at.more {
            said.push(format!("There is more at {0}: `undoubt branches {0} --in-doubt`", at.participant));
        }
        said.extend(at.error.iter().map(|why| format!("{} was not asked: {why}", at.participant)));
    }
    said.join("\n")
}

fn row(entry: &Entry, branch: &HeldBranch, now: Timestamp) -> [String; 4] {
    let age = span(branch.age(now));
    [branch.tx.to_string(), entry.name.clone(), age, branch.coordinator.to_string()]
}
