//! The words for what a transaction came to.

use super::seconds;
use crate::run::{Call, CallKind, FinalOutcome, Op, Reply, Run, Work};

/// Returns how a transaction looks from outside: what clients asked and heard, and what was found in the end.
pub(in crate::picture) fn found(run: &Run, tx: &str) -> Vec<String> {
    let mut lines: Vec<String> = run.calls.iter().filter(|call| call.tx == tx).map(call).collect();
    if let Some(outcome) = run.finals.outcomes.get(tx) {
        lines.push(format!("in the end the coordinator says: {}", final_outcome(outcome)));
    }
    let mut places = Vec::new();
    for (number, participant) in &run.finals.participants {
        let mut found = Vec::new();
        if participant.marks.contains(tx) {
            found.push("took effect".to_owned());
        }
        for open in participant.open.iter().filter(|open| open.tx == tx) {
            let by_design = if open.orphaned_by_design { ", its coordinator is lost" } else { "" };
            found.push(format!("still {}{by_design}", open.state));
        }
        if let Some(commit) = participant.heuristics.get(tx) {
            found.push(format!("an operator {} it", if *commit { "committed" } else { "aborted" }));
        }
        if !found.is_empty() {
            places.push(format!("p{number} {}", found.join(", ")));
        }
    }
    if !places.is_empty() {
        lines.push(format!("found in the end: {}", places.join("; ")));
    }
    if run.finals.excused.contains(tx) {
        lines.push("a lying disk destroyed its records: nothing can be promised for it".to_owned());
    }
    lines
}

fn call(call: &Call) -> String {
    let kind = match &call.kind {
        CallKind::Submit(asked) => format!("submit {}", work(asked)),
        CallKind::SubmitOther(asked) => format!("submit under the same id {}", work(asked)),
        CallKind::Cancel => "cancel".to_owned(),
        CallKind::Ask => "ask".to_owned(),
    };
    let reply = match &call.reply {
        Reply::Committed(_) => "committed".to_owned(),
        Reply::Aborted(why) => format!("aborted ({why})"),
        Reply::Nested { closed: true } => "closed, and kept".to_owned(),
        Reply::Nested { closed: false } => "left open".to_owned(),
        Reply::Refused(why) => format!("refused ({why})"),
        Reply::Unknown(why) => format!("unknown ({why})"),
    };
    let told = call.told_us.map_or_else(|| "no answer".to_owned(), seconds);
    format!("client{} at {}: {kind} → {reply}, at {told}", call.client, seconds(call.asked_us))
}

fn work(work: &Work) -> String {
    let branches: Vec<String> = work
        .iter()
        .map(|(participant, ops)| {
            let ops: Vec<String> = ops.iter().map(op).collect();
            format!("p{participant}: {}", ops.join(", "))
        })
        .collect();
    format!("{{{}}}", branches.join("; "))
}

fn op(op: &Op) -> String {
    match op {
        Op::Transfer { account, delta } => format!("account {account} {delta:+}"),
        Op::ReadAccount { account } => format!("read account {account}"),
        Op::ReadWrite { register } => format!("write register {register}"),
        Op::ReadRegister { register } => format!("read register {register}"),
    }
}

fn final_outcome(outcome: &FinalOutcome) -> &'static str {
    match outcome {
        FinalOutcome::Committed { damaged: false, .. } => "committed",
        FinalOutcome::Committed { damaged: true, .. } => "committed, with damage",
        FinalOutcome::Aborted { damaged: false } => "aborted",
        FinalOutcome::Aborted { damaged: true } => "aborted, with damage",
        FinalOutcome::GivenUp => "given up by an operator",
        FinalOutcome::NotFound => "not found",
        FinalOutcome::Unknown => "unknown",
    }
}
