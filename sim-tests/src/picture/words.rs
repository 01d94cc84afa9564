//! The words for what happened.

mod findings;

pub(super) use findings::found;

use crate::trace::{BranchState, Event, Phase};

/// Returns the text without what could command a terminal or turn the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let turns = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Returns at most this many characters; what is cut is seen to be cut.
pub(super) fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A transaction's id where there is little room: random ids differ at their end.
pub(super) fn short(tx: &str) -> String {
    const WHOLE: usize = 10;
    const END: usize = 5;
    match tx.chars().count() {
        length if length > WHOLE => ['…'].into_iter().chain(tx.chars().skip(length - END)).collect(),
        _ => tx.to_owned(),
    }
}

/// Exactly.
pub(super) fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// About.
pub(super) fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..600_000_000 => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        600_000_000.. => format!("{} min", us / 60_000_000),
    }
}

/// Returns the words of one entry of a trace, without time and host.
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Started => "started".to_owned(),
        Event::Serving => "serves: recovery is over".to_owned(),
        Event::SessionStands { with } => format!("has a new session with {with}"),
        Event::Stopped { why } => format!("STOPPED: {why}"),
        Event::Crashed { point, power } => crash(point.as_deref(), *power),
        Event::Paused => "PAUSED".to_owned(),
        Event::Resumed => "goes on".to_owned(),
        Event::Sent { to, message, tx, attempt_number, number, direction: _ } => {
            format!("{message} → {to}  {tx}, attempt {attempt_number}, message {number}")
        }
        Event::Received { from, message, tx, attempt_number, of } => {
            let of = of.map(|of| format!(", message {of}")).unwrap_or_default();
            format!("{message} ← {from}  {tx}, attempt {attempt_number}{of}")
        }
        Event::Noted { tx, phase, note } => match phase {
            Some(phase) => format!("{note}  {tx}, {}", phase_name(*phase)),
            None => format!("{note}  {tx}"),
        },
        Event::Branch { tx, state } => format!("branch {}  {tx}", state_name(*state)),
        Event::Requested { tx, what } => format!("asks: {what}  {tx}"),
        Event::Answered { tx, answer } => format!("hears: {answer}  {tx}"),
        Event::Standing { what } => what.to_string(),
        Event::Disk { what } => format!("disk: {what}"),
        Event::Read { what } => format!("reads events: {what}"),
        Event::Reacted { subscription, tx } => format!("{subscription} reacts  {tx}"),
        Event::Fault { index, what, ends_at_us } => {
            let until = ends_at_us.map(|end| format!(", until {}", seconds(end))).unwrap_or_default();
            format!("FAULT {index}: {what}{until}")
        }
        Event::Healed => "HEALED: from here on nothing goes wrong any more".to_owned(),
    }
}

/// Returns the transaction that an event is about; an event about none may matter to all.
pub(super) fn tx_of(event: &Event) -> Option<&str> {
    match event {
        Event::Sent { tx, .. }
        | Event::Received { tx, .. }
        | Event::Noted { tx, .. }
        | Event::Branch { tx, .. }
        | Event::Requested { tx, .. }
        | Event::Answered { tx, .. }
        | Event::Reacted { tx, .. } => Some(tx),
        Event::Started
        | Event::Serving
        | Event::SessionStands { .. }
        | Event::Stopped { .. }
        | Event::Crashed { .. }
        | Event::Paused
        | Event::Resumed
        | Event::Standing { .. }
        | Event::Disk { .. }
        | Event::Read { .. }
        | Event::Fault { .. }
        | Event::Healed => None,
    }
}

pub(super) fn crash(point: Option<&str>, power: bool) -> String {
    let at = point.map(|point| format!(" at {point}")).unwrap_or_default();
    let power = if power { ", power lost" } else { "" };
    format!("CRASHED{at}{power}")
}

pub(super) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "preparing",
        Phase::Confirming => "confirming",
        Phase::LoggingCommit => "logging the commit",
        Phase::Committing => "committing",
        Phase::LoggingDelegation => "logging the delegation",
        Phase::Delegated => "delegated",
        Phase::Settling => "settling",
        Phase::LoggingEnd => "logging the end",
        Phase::LoggingBeginning => "logging the beginning",
        Phase::Acting => "acting",
        Phase::LoggingCompensation => "logging the compensation",
        Phase::Compensating => "compensating",
        Phase::Stuck => "stuck",
        Phase::Closing => "closing",
        Phase::Ended => "ended",
    }
}

pub(super) fn state_name(state: BranchState) -> &'static str {
    match state {
        BranchState::Executing => "executing",
        BranchState::Prepared => "prepared",
        BranchState::ReadOnly => "read-only",
        BranchState::Committing => "committing",
        BranchState::Aborting => "aborting",
        BranchState::Resolving => "resolving",
        BranchState::Acting => "acting",
        BranchState::Compensating => "compensating",
        BranchState::Over => "over",
    }
}
