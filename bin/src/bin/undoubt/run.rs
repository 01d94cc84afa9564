//! `undoubt run`: puts a load on a coordinator, and audits what it left behind.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::output::{fields, table};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use undoubt::workload::report::Tally;
use undoubt::workload::{
    Audit, Hot, Language, Length, Load, MAX_CUSTOMERS, MAX_IN_FLIGHT, Mode, PROCEDURES, Phase, Progress, Report,
    Workload, audit, connected, run,
};
use undoubt_gateway::document::duration;

/// Puts a load on the coordinator, measures it, and audits that nothing was lost.
///
/// Opens accounts at participants, and keeps transactions in flight until the time is over or the count is
/// reached; Ctrl-C ends it early, a second one at once. Then checks that every acknowledged outcome is in effect at every branch, and that no
/// money was lost or made. Keeps trying for --timeout, but for no less than a minute: servers may restart meanwhile.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    #[arg(value_enum, required_unless_present = "procedures")]
    pub workload: Option<Choice>,
    /// Print the procedures that participants in front of databases have to declare for these loads, and do nothing else.
    #[arg(long)]
    pub procedures: bool,
    /// How transactions are carried out.
    #[arg(long, value_enum, default_value = "two-phase")]
    pub mode: How,
    /// Participants to use, by name: key-value ones, and those in front of databases that declare the procedures which --procedures
    /// prints. Default: all key-value ones that the coordinator is connected to.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub participants: Vec<String>,
    /// Customers. Each has a savings account, and in SmallBank a checking account too.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=i64::from(MAX_CUSTOMERS)))]
    pub customers: u32,
    /// At most so many operations at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=MAX_IN_FLIGHT as i64))]
    pub in_flight: u16,
    /// How long it goes on.
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = duration, conflicts_with = "count")]
    pub length: Duration,
    /// So many operations instead.
    #[arg(long)]
    pub count: Option<u64>,
    /// The same seed asks for the same, in the same order.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How many customers are more in demand than the others.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub hot_customers: u32,
    /// How much of the demand falls on them.
    #[arg(long, value_name = "PERCENT", default_value_t = 90, requires = "hot_customers", value_parser = clap::value_parser!(u8).range(..=100))]
    pub hot_share: u8,
    /// For transfers: how many participants each spans. Default: 2.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub branches: Option<u32>,
    /// How long the coordinator tries to commit each transaction.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub deadline: Option<Duration>,
    /// Ids of transactions and keys of accounts begin with this. Default: drawn at random.
    #[arg(long)]
    pub name: Option<String>,
    /// Leave out the audit, and the markers that it needs.
    #[arg(long)]
    pub no_audit: bool,
}

const EXAMPLES: &str = "\
Examples:
  undoubt run smallbank
  undoubt run trips --mode saga --customers 300
  undoubt run smallbank --participants store,my-postgresql --customers 1000
  undoubt run smallbank --customers 100000 --hot-customers 100 --hot-share 50 --for 1m
  undoubt run transfers --branches 3 --participants a,b,c --count 100000 --in-flight 1024 --output json

Exit code 1 if the audit finds a violation. Accounts stay where they are; every run has its own.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The SmallBank benchmark: six kinds of transactions of a bank.
    Smallbank,
    /// From one account to others, elsewhere.
    Transfers,
    /// Trips of a flight, a hotel and a car, some of which are sold out; a customer is something on offer.
    Trips,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    TwoPhase,
    Saga,
    Auto,
    /// A third each.
    Mixed,
}

impl From<How> for Mode {
    fn from(how: How) -> Mode {
        match how {
            How::TwoPhase => Mode::TwoPhase,
            How::Saga => Mode::Saga,
            How::Auto => Mode::Auto,
            How::Mixed => Mode::Mixed,
        }
    }
}

/// The output of `--output json`.
#[derive(Serialize)]
struct Document<'a> {
    report: &'a Report,
    /// `null` with `--no-audit`.
    audit: Option<&'a Audit>,
}

pub async fn run_load(arguments: &Run, global: &Global) -> Result<Exit, Failure> {
    let Some(workload) = arguments.workload.filter(|_| !arguments.procedures) else {
        return Exit::shown(undoubt_platform::terminal::say(PROCEDURES.trim_end()));
    };
    let load = load(workload, arguments, global).await?;
    load.check().map_err(|why| Failure::new(Exit::Usage, format!("{why:#}")))?;
    let (progress, seen) = watch::channel(Progress::default());
    let (interrupted, at_once) = (interrupts(1), interrupts(2));
    let whole = async {
        let mut outcome = run(&load, interrupted, &progress).await?;
        let audit = if arguments.no_audit { None } else { Some(audit(&load, &mut outcome.ledger).await?) };
        Ok((outcome.report, audit))
    };
    let (report, audit) = tokio::select! {
        done = whole => done.map_err(|error: anyhow::Error| Failure::from(error))?,
        () = at_once => return Err(Failure::new(Exit::OutcomeUnknown, "interrupted; nothing was audited")),
        never = show(seen, load.length) => match never {},
    };
    let document = Document { report: &report, audit: audit.as_ref() };
    let printed = global.output.show(&document, || describe(&document));
    let exit = if audit.is_none_or(|audit| audit.is_clean()) { Exit::Done } else { Exit::Unexpected };
    Ok(exit.told(printed))
}

/// Done with the interrupt of that number.
async fn interrupts(number: u32) {
    for _ in 0..number {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn load(workload: Choice, arguments: &Run, global: &Global) -> Result<Load, Failure> {
    // Asked also where names are given: that nobody answers is told at once.
    let languages = connected(&global.client()?).await?;
    let key_value = languages.iter().filter(|(_, language)| **language == Language::Operations);
    let participants = match arguments.participants.is_empty() {
        true => key_value.map(|(name, _)| name.clone()).collect(),
        false => arguments.participants.clone(),
    };
    if participants.is_empty() {
        let why = format!(
            "the coordinator at {} is connected to no key-value participant; see `undoubt participants`, and name those in front of \
             databases with --participants",
            global.coordinator
        );
        return Err(Failure::new(Exit::NotReady, why));
    }
    let workload = match (workload, arguments.branches) {
        (Choice::Transfers, branches) => Workload::Transfers { branches: branches.unwrap_or(2) },
        (Choice::Smallbank, None) => Workload::SmallBank,
        (Choice::Trips, None) => Workload::Trips,
        (Choice::Smallbank | Choice::Trips, Some(_)) => {
            return Err(Failure::new(Exit::Usage, "--branches is for transfers only; leave it out"));
        }
    };
    let load = Load::new(&global.coordinator, participants, workload);
    Ok(Load {
        languages,
        mode: arguments.mode.into(),
        customers: arguments.customers,
        in_flight: arguments.in_flight.into(),
        length: arguments.count.map_or(Length::For(arguments.length), Length::Count),
        hot: Hot { customers: arguments.hot_customers, percent: arguments.hot_share },
        seed: arguments.seed,
        run: arguments.name.clone().unwrap_or_else(|| load.run.clone()),
        timeout: arguments.deadline,
        marks: !arguments.no_audit,
        patience: load.patience.max(global.timeout),
        options: global.identified()?,
        ..load
    })
}

/// Shows how far a run is, where standard error is a terminal; without end, and clears it when dropped.
async fn show(progress: watch::Receiver<Progress>, length: Length) -> Infallible {
    let (whole, template) = match length {
        Length::For(duration) => (duration.as_millis(), "{bar:30} {elapsed}  {msg}"),
        Length::Count(count) => (count.into(), "{bar:30} {elapsed} of about {duration}  {msg}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(u64::try_from(whole).unwrap_or(u64::MAX)).with_style(style);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        let now = *progress.borrow();
        bar.set_position(match length {
            Length::For(_) => u64::try_from(now.elapsed.as_millis()).unwrap_or(u64::MAX),
            Length::Count(_) => now.committed + now.refused + now.aborted + now.unknown,
        });
        let Progress { committed, refused, aborted, unknown, .. } = now;
        bar.set_message(match now.phase {
            Phase::Opening => "opening accounts".to_owned(),
            Phase::Running => format!("committed {committed}, refused {refused}, aborted {aborted}, unknown {unknown}"),
            Phase::Finishing => format!("waiting for the last {}", now.in_flight),
            Phase::Over => "auditing".to_owned(),
        });
    }
}

fn describe(document: &Document<'_>) -> String {
    let Report { tally, latency_us, .. } = document.report;
    let report = document.report;
    let kinds = report.by_operation.iter().map(|(name, tally)| row(name, tally)).collect();
    let kinds = table(["operation", "committed", "refused", "aborted", "unknown"], kinds, "nothing was done");
    let latency = [
        ("p50", latency_us.p50),
        ("p90", latency_us.p90),
        ("p99", latency_us.p99),
        ("p99.9", latency_us.p99_9),
        ("max", latency_us.max),
    ];
    let latency: Vec<_> = latency.map(|(name, us)| format!("{name} {:.1} ms", us as f64 / 1_000.0)).into();
    let mut facts = vec![
        ("committed/s", format!("{:.0}", report.committed_per_s)),
        ("committed", format!("{} of {} operations, in {:.1}s", tally.committed, report.operations, report.elapsed_s)),
        (
            "transactions",
            format!(
                "{} committed of {}, {:.0}/s",
                report.transactions_committed, report.transactions, report.transactions_committed_per_s
            ),
        ),
        ("refused", tally.refused.to_string()),
        ("aborted", reasons(tally)),
        ("unknown", tally.unknown.to_string()),
        ("latency", latency.join(", ")),
    ];
    if let Some(audit) = document.audit {
        facts.push(("audit", verdict(audit)));
    }
    let violations = document.audit.map(|audit| audit.violations.as_slice()).unwrap_or_default();
    let violations: String = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    format!("{kinds}\n\n{}{violations}", fields(&facts))
}

fn row(name: &str, tally: &Tally) -> [String; 5] {
    [name.to_owned(), tally.committed.to_string(), tally.refused.to_string(), reasons(tally), tally.unknown.to_string()]
}

fn reasons(tally: &Tally) -> String {
    let reasons: Vec<_> = tally.aborted.iter().map(|(label, count)| format!("{count} {label}")).collect();
    if reasons.is_empty() { "0".to_owned() } else { reasons.join(", ") }
}

fn verdict(audit: &Audit) -> String {
    let Audit { accounts, found, commits, aborts, submitted_again, violation_count, .. } = audit;
    let checked = format!(
        "{accounts} accounts that hold {found} in all, {commits} commits and {aborts} aborts at every branch, \
         {submitted_again} submitted again"
    );
    if audit.is_clean() { format!("passed: {checked}") } else { format!("{violation_count} VIOLATIONS: {checked}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Command, Program};
    use clap::Parser;

    fn parse(line: &[&str]) -> Option<Run> {
        let line = ["undoubt", "run"].iter().chain(line);
        let Program::Ask(Command::Run(run)) = Arguments::try_parse_from(line).ok()?.program else {
            panic!("this is no run")
        };
        Some(run)
    }

    #[test]
    fn a_load_is_bounded_by_time_or_by_count() {
        let run = parse(&["smallbank", "--participants", "a,b", "--for", "3s"]).unwrap();
        assert_eq!(
            (run.length, run.count, run.participants),
            (Duration::from_secs(3), None, vec!["a".into(), "b".into()])
        );
        assert_eq!(parse(&["transfers", "--count", "5"]).unwrap().count, Some(5));
        for wrong in [
            &["smallbank", "--for", "3s", "--count", "5"][..],
            &["smallbank", "--in-flight", "0"],
            &["smallbank", "--hot-share", "101"],
            &["elsewhere"],
        ] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn reasons_are_told_with_their_counts() {
        let tally = Tally { aborted: [("deadline", 2), ("lock-conflict", 7)].into(), ..Tally::default() };
        assert_eq!(reasons(&tally), "2 deadline, 7 lock-conflict");
        assert_eq!(reasons(&Tally::default()), "0");
    }

    #[test]
    fn violations_are_told_one_a_line() {
        let audit = Audit { violation_count: 1, violations: vec!["money vanished".into()], ..Audit::default() };
        assert!(verdict(&audit).starts_with("1 VIOLATIONS"));
        assert!(verdict(&Audit::default()).starts_with("passed"));
    }
}
