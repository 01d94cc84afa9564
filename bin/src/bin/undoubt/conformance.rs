//! `undoubt conformance`: whether a service keeps the contract of HTTP participants.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, line};
use crate::show::{unless_interrupted, verdict};
use std::time::Duration;
use undoubt::conformance::{Base, Finding, Forwarding, Found, Handlers, Pattern, Plan, Report, Template, conformance};
use undoubt_platform::{Clock as _, SystemClock};

/// Runs have so many different numbers, so that things and ids of one are hardly those of another, and still are 32-bit integers.
const RUNS: u64 = 2_000_000;

const HELP: &str = r#"Requests are METHOD PATH [JSON]. {n} stands for the name of the thing that a case works on, digits unless --thing gives names;
{do.MEMBER} for a member of what the action answered.

  undoubt conformance http://127.0.0.1:9001 --act 'post /seats {"seat": "{n}"}' --undo 'post /seats/cancel {"seat": "{n}"}' \
      --look 'get /seats/{n}'

The service is called as participants over HTTP call it (participant/HTTP.md says what it has to keep). Each case that shows a rule
broken tells its requests as curl commands: to make them again, put other digits in the place of {n}'s everywhere, keys included.

Exit codes: 0 it keeps the contract as far as that was tried, 1 it does not."#;

/// Checks whether a service, in any language, keeps the contract of HTTP participants: calls it twice, at once, in the wrong order, cuts it off.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Conformance {
    /// The URL that all requests begin with: `http://HOST:PORT`, perhaps with a path.
    #[arg(value_name = "URL")]
    base: Base,
    /// The action of a step, or the try of a branch.
    #[arg(long, value_name = "REQUEST")]
    act: Template,
    /// The compensation, or the cancel.
    #[arg(long, value_name = "REQUEST")]
    undo: Option<Template>,
    /// The completion, or the confirm.
    #[arg(long, value_name = "REQUEST")]
    finish: Option<Template>,
    /// An action that the service refuses, each time.
    #[arg(long, value_name = "REQUEST")]
    refused: Option<Template>,
    /// The question of a check-back: whether the service's own transaction was committed.
    #[arg(long, value_name = "REQUEST")]
    ask: Option<Template>,
    /// A request that shows how the thing stands, for instance how many there are of it. Without it only answers are judged.
    #[arg(long, value_name = "REQUEST")]
    look: Option<Template>,
    /// The handlers are for branches of two-phase commit: try, confirm, cancel.
    #[arg(long)]
    tcc: bool,
    /// The name of a thing for the next case, where not any will do. May be repeated: thirty are enough.
    #[arg(long, value_name = "NAME")]
    thing: Vec<String>,
    /// The address to listen on for the service's connections to its database, and the database's own, which is made slow for two cases.
    /// Have the service connect to the first.
    #[arg(long, value_name = "HOST:PORT=HOST:PORT")]
    database: Option<Forwarding>,
    /// The number that names and ids begin with, so that a run can be repeated. Default: drawn from the time.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..RUNS as i64))]
    run: Option<u32>,
}

pub async fn check(arguments: Conformance, global: &Global) -> Result<Exit, Failure> {
    let Conformance { base, act, undo, finish, refused, ask, look, tcc, thing, database, run } = arguments;
    let pattern = if tcc { Pattern::Tcc } else { Pattern::Saga };
    let handlers = Handlers { pattern, act, undo, finish, refused, ask, look };
    let drawn = || 1 + (SystemClock.now().0 / 1_000) % (RUNS - 1);
    let run = run.unwrap_or_else(|| u32::try_from(drawn()).unwrap_or(1));
    let patience = global.timeout.max(Duration::from_secs(1));
    let plan = Plan { base, handlers, things: thing, database, patience, run };
    let table = global.output == Format::Table;
    let tell = |finding: &Finding| {
        if table {
            // A caller that does not read this may still read the exit code.
            let _ = line(told(finding));
        }
    };
    let report = unless_interrupted(conformance(plan, tell)).await?;
    let printed = match global.output {
        Format::Table => line(summary(&report)),
        Format::Json => output::json_line(&report),
    };
    Ok(verdict(report.keeps_the_contract()).told(printed))
}

fn told(Finding { case, found }: &Finding) -> String {
    match found {
        Found::Kept => format!("kept       {}: {}", case.name(), case.words()),
        Found::NotTried { why } => format!("not tried  {}: {why}", case.name()),
        Found::Broken { rule, why, requests } => {
            let mut text = format!(
                "BROKEN     {}: {}\n           rule {}: {}\n           {why}",
                case.name(),
                case.words(),
                rule.number(),
                rule.sentence()
            );
            for exchange in requests {
                let times = if exchange.times > 1 { format!(" ({} times)", exchange.times) } else { String::new() };
                text.push_str(&format!(
                    "\n             $ {}\n               {}{times}",
                    exchange.curl, exchange.answer
                ));
            }
            text
        }
    }
}

fn summary(report: &Report) -> String {
    let [kept, broken, not_tried] = report.counts();
    let mut text = format!("\n{kept} kept, {broken} broken, {not_tried} not tried");
    if let Some(note) = &report.note {
        text.push_str(&format!("; {note}"));
    }
    text
}
