//! `undoubt subscriptions` and `undoubt parked`: what a participant does about others' events, and what waits for an operator.

use crate::args::{Global, statement};
use crate::exit::{Exit, Failure};
use crate::operate::{done, say_the_price};
use crate::output::{or_dash, span, table};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::json;
use undoubt_client::work::text::{from_string, to_string};
use undoubt_client::{ParkedState, SubscriptionState};
use undoubt_platform::{Clock as _, SystemClock};
use undoubt_vocabulary::{Position, Timestamp};

/// Shows how far a participant's subscriptions have come, and what keeps them.
#[derive(Debug, Args)]
pub struct Subscriptions {
    /// The participant's name, or its address.
    #[arg(value_name = "NAME|URL")]
    participant: String,
}

/// Shows the events that a subscription could not apply, and those of the same keys that wait behind them; tries them again, or gives
/// them up.
#[derive(Debug, Args)]
pub struct Parked {
    #[command(subcommand)]
    action: ParkedAction,
}

/// Has a subscription that has stopped go on: its source was put back, or has dropped what was to be read next. All events up to a position
/// count as dealt with.
#[derive(Debug, Args)]
pub struct Resume {
    /// The participant's name, or its address.
    #[arg(value_name = "NAME|URL")]
    participant: String,
    /// The subscription, as `undoubt subscriptions` shows it.
    subscription: String,
    /// The participant whose events it reads.
    source: String,
    /// The position of the source behind which it goes on. Without it: behind what the source does not keep any more.
    #[arg(long)]
    after: Option<u64>,
    /// The person who decides. Recorded for good.
    #[arg(long, value_parser = statement)]
    who: String,
    /// Why. Recorded for good.
    #[arg(long, value_parser = statement)]
    reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum ParkedAction {
    /// Lists the parked events of a subscription.
    List {
        /// The participant's name, or its address.
        #[arg(value_name = "NAME|URL")]
        participant: String,
        /// The subscription, as `undoubt subscriptions` shows it.
        subscription: String,
    },
    /// Shows one parked event with its data, as its source has it.
    Show {
        /// The participant's name, or its address.
        #[arg(value_name = "NAME|URL")]
        participant: String,
        /// The subscription, as `undoubt subscriptions` shows it.
        subscription: String,
        /// The key, as `undoubt parked list` shows it.
        #[arg(value_name = "KEY", value_parser = from_string)]
        parked_key: Bytes,
        /// The event's turn, as `undoubt parked list` shows it.
        #[arg(long)]
        turn: u64,
    },
    /// Tries the parked events of a key again, in their order, until one is refused.
    Retry(ParkedKey),
    /// Leaves out one parked event for good: its effect is missing, which is recorded.
    Skip {
        #[command(flatten)]
        key: ParkedKey,
        /// The event's turn, as `undoubt parked list` shows it.
        #[arg(long)]
        turn: u64,
    },
    /// Leaves out all parked events of a key for good: their effect is missing, which is recorded.
    Drop(ParkedKey),
}

#[derive(Debug, Args)]
struct ParkedKey {
    /// The participant's name, or its address.
    #[arg(value_name = "NAME|URL")]
    participant: String,
    /// The subscription, as `undoubt subscriptions` shows it.
    subscription: String,
    /// The key, as `undoubt parked list` shows it.
    #[arg(value_name = "KEY", value_parser = from_string)]
    parked_key: Bytes,
    /// The person who decides. Recorded for good.
    #[arg(long, value_parser = statement)]
    who: String,
    /// Why. Recorded for good.
    #[arg(long, value_parser = statement)]
    reason: String,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    yes: bool,
}

/// Lists the subscriptions of a participant.
pub async fn subscriptions(arguments: &Subscriptions, global: &Global) -> Result<Exit, Failure> {
    let states = global.participant_called(&arguments.participant).await?.subscriptions().await?;
    let now = SystemClock.now();
    let documents: Vec<_> = states.iter().map(|state| document_of(state, now)).collect();
    let rows = || states.iter().map(|state| row_of(state, now)).collect();
    let header = ["subscription", "reads", "", "through", "behind", "behind for", "parked", "why"];
    Exit::shown(
        global
            .output
            .show(&json!({ "subscriptions": documents }), || table(header, rows(), "it subscribes to nothing")),
    )
}

fn behind(state: &SubscriptionState) -> u64 {
    state.stable.0.saturating_sub(state.through.0)
}

/// Returns for how long it has been behind, by the time of the last event that it took.
fn behind_for(state: &SubscriptionState, now: Timestamp) -> Option<std::time::Duration> {
    state.last_published_at.filter(|_| behind(state) > 0).map(|at| now.since(at))
}

fn document_of(state: &SubscriptionState, now: Timestamp) -> serde_json::Value {
    json!({
        "name": state.name,
        "source": state.source,
        "standing": state.standing,
        "why": state.why,
        "through": state.through.0,
        "stable": state.stable.0,
        "behind_events": behind(state),
        "behind_ms": behind_for(state, now).map_or(0, |behind| behind.as_millis()),
        "parked": state.parked,
    })
}

fn row_of(state: &SubscriptionState, now: Timestamp) -> [String; 8] {
    let SubscriptionState { name, source, standing, why, through, parked, .. } = state;
    let behind_for = or_dash(behind_for(state, now).map(span));
    let behind = behind(state).to_string();
    [
        name.clone(),
        source.clone(),
        standing.clone(),
        through.to_string(),
        behind,
        behind_for,
        parked.to_string(),
        why.clone(),
    ]
}

/// Carries out what is asked about parked events.
pub async fn parked(arguments: &Parked, global: &Global) -> Result<Exit, Failure> {
    match &arguments.action {
        ParkedAction::List { participant, subscription } => list(participant, subscription, global).await,
        ParkedAction::Show { participant, subscription, parked_key, turn } => {
            let client = global.participant_called(participant).await?;
            let event = client.parked_event(subscription, parked_key, *turn).await?;
            Exit::shown(crate::events::print(&event, global))
        }
        ParkedAction::Retry(key) => {
            let ParkedKey { participant, subscription, parked_key, who, reason, .. } = key;
            let client = global.participant_called(participant).await?;
            client.retry_parked(subscription, parked_key, who, reason).await?;
            done(global, &format!("applied  {}", to_string(parked_key)))
        }
        ParkedAction::Skip { key, turn } => give_up(key, Some(*turn), global).await,
        ParkedAction::Drop(key) => give_up(key, None, global).await,
    }
}

/// Has a subscription that has stopped go on from another position.
pub async fn resume(arguments: &Resume, global: &Global) -> Result<Exit, Failure> {
    let Resume { participant, subscription, source, after, who, reason, yes } = arguments;
    say_the_price(
        *yes,
        "resume",
        &format!("have {subscription} go on reading {source}"),
        "What it has not taken up to there is missing for good, and what it has taken of a past that is gone stays.",
    )?;
    let client = global.participant_called(participant).await?;
    let after = client.resume_subscription(subscription, source, after.map(Position), who, reason).await?;
    done(global, &format!("goes on  behind {after} of {source}"))
}

async fn give_up(key: &ParkedKey, turn: Option<u64>, global: &Global) -> Result<Exit, Failure> {
    let ParkedKey { participant, subscription, parked_key, who, reason, yes } = key;
    let named = to_string(parked_key);
    let what = match turn {
        Some(turn) => format!("leave out event {turn} of {named} in {subscription}"),
        None => format!("leave out all parked events of {named} in {subscription}"),
    };
    say_the_price(
        *yes,
        "skip",
        &what,
        "Their effect is missing for good, and what follows from them does not happen.",
    )?;
    let client = global.participant_called(participant).await?;
    let left = client.give_up_parked(subscription, parked_key, turn, who, reason).await?;
    done(global, &format!("left out  {named} ({left} still parked)"))
}

async fn list(participant: &str, subscription: &str, global: &Global) -> Result<Exit, Failure> {
    let (parked, more) = global.participant_called(participant).await?.parked(subscription).await?;
    let documents: Vec<_> = parked.iter().map(document_of_parked).collect();
    let now = SystemClock.now();
    Exit::shown(global.output.show(&json!({ "parked": documents, "more": more }), || {
        let rows = parked.iter().map(|event| row_of_parked(event, now)).collect();
        let header = ["key", "turn", "event", "topic", "from", "parked for", "attempts", "refusal"];
        let shown = table(header, rows, "nothing is parked");
        if more { format!("{shown}\nThere are more.") } else { shown }
    }))
}

fn document_of_parked(event: &ParkedState) -> serde_json::Value {
    json!({
        "key": to_string(&event.key),
        "turn": event.turn,
        "id": event.id.to_string(),
        "topic": event.topic,
        "source": event.source,
        "parked_at": event.parked_at.to_string(),
        "attempts": event.attempts,
        "refusal": event.refusal.as_ref().map(|refusal| json!({ "code": refusal.code.as_str(), "detail": refusal.detail })),
    })
}

fn row_of_parked(event: &ParkedState, now: Timestamp) -> [String; 8] {
    let refusal =
        event.refusal.as_ref().map_or_else(|| "(waits behind the one before)".to_owned(), ToString::to_string);
    let (key, age) = (to_string(&event.key), span(now.since(event.parked_at)));
    let (turn, attempts) = (event.turn.to_string(), event.attempts.to_string());
    [key, turn, event.id.to_string(), event.topic.clone(), event.source.clone(), age, attempts, refusal]
}
