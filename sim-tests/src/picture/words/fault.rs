//! What a plan wants to go wrong, in words.

use super::{millis, seconds};
use crate::plan::{Direction, Fault, Message, Tampering, What, When};

pub(in crate::picture) fn fault(fault: &Fault) -> String {
    let when = match &fault.when {
        When::At { ms } => format!("at {}", seconds(ms.saturating_mul(1_000))),
        When::Point { host, point, count: 1 } => format!("when {host} reaches {point}"),
        When::Point { host, point, count } => format!("when {host} reaches {point} for the {count}. time"),
    };
    format!("{when}: {}", what(&fault.what))
}

fn what(what: &What) -> String {
    match what {
        What::Crash { host, power, down_ms } => {
            let how = if *power { "loses power" } else { "crashes" };
            format!("{host} {how}, back after {}", millis(*down_ms))
        }
        What::Gone { host } => format!("{host} dies for good"),
        What::Pause { host, for_ms } => format!("{host} is paused for {}", millis(*for_ms)),
        What::Takeover { zombie_after_ms } => {
            format!(
                "the standby takes over from a paused coordinator, which goes on after {}",
                millis(*zombie_after_ms)
            )
        }
        What::Partition { from, to, one_way: true, for_ms } => {
            format!("nothing passes from {from} to {to} for {}", millis(*for_ms))
        }
        What::Partition { from, to, one_way: false, for_ms } => {
            format!("nothing passes between {from} and {to} for {}", millis(*for_ms))
        }
        What::Clog { from, to, for_ms } => format!("what {from} sends to {to} is held back for {}", millis(*for_ms)),
        What::Tamper { participant, direction, message, count, tampering } => {
            let link = match direction {
                Direction::ToParticipant => format!("to p{participant}"),
                Direction::ToCoordinator => format!("from p{participant}"),
            };
            let how = match tampering {
                Tampering::Duplicate { after_ms } => format!("arrives again after {}", millis(*after_ms)),
                Tampering::Delay { by_ms } => format!("arrives {} late", millis(*by_ms)),
            };
            format!("{} number {count} {link} {how}", message_name(*message))
        }
        What::LyingSyncs { host, for_ms } => format!("{host}'s disk lies about syncs for {}", millis(*for_ms)),
        What::SyncFails { host } => format!("{host}'s next sync fails"),
        What::RolledBack { host, frames } => {
            format!("{host} loses power and comes back without its last {frames} frames")
        }
        What::BitFlip { host, at_permille, repaired_after_ms } => {
            format!(
                "{host} crashes, a bit flipped at {at_permille} ‰ of its log, repaired after {}",
                millis(*repaired_after_ms)
            )
        }
        What::DiskFull { host, for_ms } => format!("{host}'s disk is full for {}", millis(*for_ms)),
        What::ReadOnlyDisk { host, for_ms } => format!("{host}'s disk is read-only for {}", millis(*for_ms)),
        What::SlowDisk { host, sync_ms, for_ms } => {
            format!("{host}'s syncs take {} for {}", millis(*sync_ms), millis(*for_ms))
        }
        What::Wiped { host } => format!("{host} crashes and finds an empty disk"),
        What::Swapped { host, with, repaired_after_ms } => {
            format!("{host} crashes and finds {with}'s disk, put right after {}", millis(*repaired_after_ms))
        }
        What::VoteLost { participant } => format!("p{participant} crashes and has lost a vote it gave"),
        What::Clock { host, by_ms } => format!("{host}'s clock is off by {by_ms} ms from now on"),
        What::Resolve { participant, commit } => {
            let how = if *commit { "commits" } else { "aborts" };
            format!("an operator {how} p{participant}'s oldest branch in doubt")
        }
        What::Forget => "an operator forgets what the coordinator cannot finish".to_owned(),
    }
}

fn message_name(message: Message) -> &'static str {
    match message {
        Message::Prepare => "prepare",
        Message::Confirm => "confirm",
        Message::Commit => "commit",
        Message::Abort => "abort",
        Message::Settle => "settle",
        Message::Vote => "vote",
        Message::Confirmed => "confirmed",
        Message::Finished => "finished",
        Message::Inquiry => "inquiry",
    }
}
