//! The command line.

mod audit;
mod decisions;
mod open_saga;
mod secrets;
mod trace;

use crate::exit::Exit;
use crate::output::Format;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use undoubt::credentials::Credentials;
use undoubt_client::Cursor;
use undoubt_client::work::{
    CALL_GRAMMAR, CALL_OBJECTS, ENLISTED_GRAMMAR, EVENT_GRAMMAR, EVENT_OBJECTS, GRAMMAR, HTTP_GRAMMAR, HTTP_OBJECTS,
    OBJECTS,
};
use undoubt_gateway::document::{SCHEMA, duration};
use undoubt_platform::{Clock as _, SystemClock};
use undoubt_vocabulary::{ParticipantName, Timestamp, TxId};

pub use audit::Audit;
pub use decisions::{
    AcceptLoss, AcceptParticipant, Decision, Forget, ParticipantsAction, PinCoordinator, ReleaseMarks, Resolution,
    Resolve, ResolveStep, statement,
};
pub use open_saga::{Begin, Close, Join};
pub use secrets::{CertsAction, InitCerts, TokensAction};
pub use trace::TraceArgs;

/// Runs transactions that span several services, and looks after them.
#[derive(Debug, Parser)]
#[command(name = "undoubt", version, after_help = Exit::help(), max_term_width = 120)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub program: Program,
}

/// The program that runs: the servers, or a command that asks them.
#[derive(Debug, Subcommand)]
pub enum Program {
    Serve(crate::serve::Serve),
    Gateway(crate::gateway::Serve),
    #[command(flatten)]
    Ask(Command),
}

const ANYWHERE: &str = "Options of every command";

#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The coordinator to ask.
    #[arg(
        long,
        global = true,
        help_heading = ANYWHERE,
        value_name = "URL",
        env = "UNDOUBT_COORDINATOR",
        default_value = "http://127.0.0.1:7400"
    )]
    pub coordinator: String,
    /// Tables for people, or JSON for programs: one document a line.
    #[arg(long, short, global = true, help_heading = ANYWHERE, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// The time to keep trying, in all. The outcome of what was submitted is waited for as long as the transaction's
    /// own deadline says, if that is longer; a saga's twice, since what follows its pivot, or the way back, comes on
    /// top.
    #[arg(long, global = true, help_heading = ANYWHERE, value_name = "DURATION", default_value = "10s", value_parser = some_time)]
    pub timeout: Duration,
    /// Tell on standard error what is tried and why it is repeated.
    #[arg(long, short, global = true, help_heading = ANYWHERE)]
    pub verbose: bool,
    #[command(flatten)]
    pub credentials: Credentials,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Submit(Submit),
    Begin(Begin),
    Join(Join),
    Close(Close),
    /// Shows how a transaction and its branches stand.
    Status {
        tx: TxId,
    },
    /// Waits until a transaction is decided.
    Wait {
        tx: TxId,
    },
    /// Shows all that happened to a transaction: when, at which branch, and why.
    History {
        tx: TxId,
    },
    /// Lists transactions.
    List(List),
    /// Follows what happens, to one transaction or to all, until interrupted.
    Watch {
        tx: Option<TxId>,
        /// Goes on behind an event of an earlier watch: its cursor, which `--output json` tells.
        #[arg(long)]
        after: Option<Cursor>,
    },
    Events(crate::events::Events),
    Subscriptions(crate::subscriptions::Subscriptions),
    Parked(crate::subscriptions::Parked),
    Readers(crate::readers::Readers),
    ResumeSubscription(crate::subscriptions::Resume),
    /// Aborts a transaction that is not decided yet; undoes a saga that is not past its pivot.
    Cancel {
        tx: TxId,
    },
    /// Shows the coordinator: its state, and how much is open.
    Describe,
    /// Shows the participants as the coordinator sees them, accepts what one of them has lost, or pins a coordinator's key at one.
    Participants {
        #[command(subcommand)]
        action: Option<ParticipantsAction>,
    },
    AcceptLoss(AcceptLoss),
    /// Asks a participant directly how it is.
    Participant {
        /// The participant's name, or its address.
        #[arg(value_name = "NAME|URL")]
        participant: String,
    },
    Top(Top),
    Doubt(Doubt),
    Audit(Audit),
    /// Asks a participant directly what it holds: branches, steps it works on, and semantic locks, which may refuse others.
    Branches {
        /// The participant's name, or its address.
        #[arg(value_name = "NAME|URL")]
        participant: String,
        /// Only those that have voted to commit and do not know the decision.
        #[arg(long)]
        in_doubt: bool,
        /// At most this many in all.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Goes on where an earlier list ended: its cursor.
        #[arg(long)]
        after: Option<Cursor>,
    },
    Resolve(Resolve),
    Forget(Forget),
    ResolveStep(ResolveStep),
    ReleaseMarks(ReleaseMarks),
    /// Pauses or resumes driving the transactions that the coordinator recovered from its log.
    Recovery {
        #[arg(value_enum)]
        action: RecoveryAction,
    },
    /// Checks and draws what participants declare of their events, or makes it of a saga.
    Choreography {
        #[command(subcommand)]
        action: crate::choreography::Action,
    },
    /// Makes tokens, by which servers know callers.
    Tokens {
        #[command(subcommand)]
        action: TokensAction,
    },
    /// Makes certificates, by which servers and callers know each other.
    Certs {
        #[command(subcommand)]
        action: CertsAction,
    },
    /// Lets the coordinator take no new transactions, finish those in flight, and end.
    Drain,
    Run(crate::run::Run),
    /// Shows it all: a coordinator and three participants in a temporary place, two-phase commit and then sagas under load,
    /// kill -9, an audit of each.
    Demo {
        /// The same seed asks for the same.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Moves money between a PostgreSQL and a store in a temporary place, by two-phase commit, sagas and auto, while coordinator,
    /// participants and the database server are killed; then counts by the database's own client.
    DemoDatabases(crate::show::DatabasesArgs),
    /// Kills the processes of a cluster of its own under load, at random moments and at every crash point; then audits.
    Torture(crate::show::TortureArgs),
    Conformance(Box<crate::conformance::Conformance>),
    /// Puts folders of clusters of its own back under load, in every way; then audits what is told and listed.
    Restores(crate::restores::RestoresArgs),
    /// Prints a script that completes this command line in a shell.
    Completions {
        shell: clap_complete::Shell,
    },
}

/// Runs a transaction: all of its branches commit, or none does.
///
/// Give the work of each participant with --on and --raw, or in a file. Work for one participant is one branch, in the
/// order given.
#[derive(Debug, Args)]
#[command(
    after_long_help = format!("{}\n\nWork:\n{GRAMMAR}\n\n{CALL_GRAMMAR}\n\n{ENLISTED_GRAMMAR}\n\n{HTTP_GRAMMAR}\n\n{EVENT_GRAMMAR}\n\n{SCHEMA}\n\nWork as objects:\n{OBJECTS}\n\n{CALL_OBJECTS}\n\n{HTTP_OBJECTS}\n\n{EVENT_OBJECTS}\n\n{LINES}", EXAMPLES),
    after_help = EXAMPLES,
    group(ArgGroup::new("work").required(true).multiple(true).args(["on", "raw", "file", "lines"])),
)]
pub struct Submit {
    /// A piece of work for a participant, like --on bank-a 'add alice -10 floor=0'. May be repeated.
    #[arg(long, num_args = 2, value_names = ["PARTICIPANT", "WORK"])]
    pub on: Vec<String>,
    /// Work for a participant with a format of its own: 0x and hexadecimal, or base64. May be repeated.
    #[arg(long, num_args = 2, value_names = ["PARTICIPANT", "WORK"])]
    pub raw: Vec<String>,
    /// A transaction from a file: TOML if its name ends in .toml, else JSON; - is standard input.
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["on", "raw", "lines", "id"])]
    pub file: Option<PathBuf>,
    /// Many transactions from a file, a JSON document a line; - is standard input. Prints a JSON line for each as it
    /// ends.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-",
          conflicts_with_all = ["on", "raw", "id", "deadline", "no_wait", "traceparent"])]
    pub lines: Option<PathBuf>,
    /// The transaction's id: text, or 0x and hexadecimal. The same id with the same content is the same transaction.
    #[arg(long)]
    pub id: Option<TxId>,
    /// How long the coordinator tries to reach a commit, before it aborts.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub deadline: Option<Duration>,
    /// Return as soon as the coordinator has taken the transaction over.
    #[arg(long)]
    pub no_wait: bool,
    /// With --no-wait: a URL like http://127.0.0.1:8080/done that is to hear the outcome, by a POST of JSON. It is called
    /// until it answers, also after restarts of the coordinator.
    #[arg(long, value_name = "URL", requires = "no_wait", conflicts_with = "lines")]
    pub callback: Option<String>,
    #[command(flatten)]
    pub trace: TraceArgs,
    /// With --lines: at most so many transactions at the same time.
    #[arg(long, default_value_t = 1_024, value_name = "COUNT", conflicts_with_all = ["on", "raw", "file"],
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
}

const EXAMPLES: &str = "\
Examples:
  undoubt submit --on bank-a 'add alice -10 floor=0' --on bank-b 'add bob 10' --on bank-a 'get alice'
  undoubt submit --file order.toml --deadline 2s
  undoubt submit --lines orders.jsonl > results.jsonl";

const LINES: &str = "\
With --lines every line is such a JSON document, and every line has one line in answer, in the order they end:

  {\"line\": 1, \"tx\": \"order-17\", \"state\": \"committed\", \"abort\": null, \"results\": {\"bank-a\": {\"values\": [\"90\", \"90\"]}}}
  {\"line\": 2, \"tx\": \"order-18\", \"state\": \"aborted\", \"abort\": {\"reason\": \"condition\", \"participant\": \"bank-a\", ...}, ...}
  {\"line\": 3, \"tx\": null, \"error\": {\"kind\": \"refused\", \"message\": \"...\"}}

Values are what was read and what was added up; null where there was none, or where the work brought along what it left.

The exit code is that of the gravest of them; see `undoubt --help`. Empty lines are skipped, but counted. All lines are
submitted, whether anybody reads the answers or not. Give the transactions ids: then the same file can be submitted
again after a crash, and nothing happens twice.";

/// Lists transactions: those under way oldest first, ended ones newest first.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("filter").args(["open", "unacknowledged", "ended", "damaged", "stuck"])))]
pub struct List {
    /// Only those that have not ended.
    #[arg(long)]
    pub open: bool,
    /// Only those that have been decided to commit, where some branch has not acknowledged.
    #[arg(long)]
    pub unacknowledged: bool,
    /// Only those that have ended.
    #[arg(long)]
    pub ended: bool,
    /// Only those where an operator decided otherwise than the coordinator, or nobody knows.
    #[arg(long)]
    pub damaged: bool,
    /// Only those that wait for an operator: sagas with a step that is stuck, and what is held.
    #[arg(long)]
    pub stuck: bool,
    /// Only those whose ids begin like this: text, or 0x and hexadecimal digits.
    #[arg(value_name = "ID-PREFIX")]
    pub id_prefix: Option<String>,
    /// Only those with a branch or a step at this participant.
    #[arg(long, value_name = "NAME")]
    pub participant: Option<ParticipantName>,
    /// Only those begun since: so long ago, like 10m, or at a time, like 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "DURATION|TIME", value_parser = since)]
    pub since: Option<Duration>,
    /// Only those in this state.
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Only those begun at least this long ago.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// At most this many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Goes on where an earlier list, with the same options, ended: it tells a cursor if there is more.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<Cursor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    Pending,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecoveryAction {
    Pause,
    Resume,
}

/// Shows how it stands, again every second: rates, what is open and in doubt, participants, the oldest transactions.
///
/// Keys: q quits, s sorts the participants, arrows move in the list of transactions. Where the output is no terminal, frames are
/// printed one after the other. While the coordinator is dead, the participants that it told last are asked.
#[derive(Clone, Copy, Debug, Args)]
pub struct Top {
    /// Print one frame, and end.
    #[arg(long)]
    pub once: bool,
}

/// Shows what is in doubt, at which participants and since when; also while the coordinator is dead.
///
/// All participants are asked directly. Their addresses are the coordinator's, or those that it told last, or those of its
/// configuration file.
#[derive(Debug, Args)]
pub struct Doubt {
    /// A coordinator's configuration file, which names its participants.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Reads a duration that is not zero: without any, nothing could be tried, and what came of it would be unknown.
fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it is no time at all; give at least 1ms".to_owned()),
        some => Ok(some),
    }
}

/// Reads how long ago something was: a duration, or a time in the past.
fn since(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is neither a duration, like 10m, nor a time, like 2030-01-31T12:00:00Z");
    if let Ok(ago) = duration(text) {
        return Ok(ago);
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    let microseconds = u64::try_from(time.as_microsecond()).map_err(|_| wrong())?;
    // One millisecond at least: a time to come, or this moment, lists what begins from now on.
    Ok(SystemClock.now().since(Timestamp(microseconds)).max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &[&str]) -> Result<Command, ErrorKind> {
        let line = ["undoubt"].iter().chain(line);
        let arguments = Arguments::try_parse_from(line).map_err(|error| error.kind())?;
        let Program::Ask(command) = arguments.program else { panic!("it serves") };
        Ok(command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn pairs_keep_their_order_and_negative_numbers_are_no_options() {
        let line = ["submit", "--on", "a", "add x -10 floor=0", "--on", "b", "get y", "--raw", "c", "0x00"];
        let Ok(Command::Submit(submit)) = parse(&line) else { panic!() };
        assert_eq!(submit.on, ["a", "add x -10 floor=0", "b", "get y"]);
        assert_eq!(submit.raw, ["c", "0x00"]);
    }

    #[test]
    fn lines_come_from_standard_input_unless_a_file_is_named() {
        let Ok(Command::Submit(submit)) = parse(&["submit", "--lines"]) else { panic!() };
        assert_eq!(submit.lines, Some(PathBuf::from("-")));
        let Ok(Command::Submit(submit)) = parse(&["submit", "--lines", "x.jsonl"]) else { panic!() };
        assert_eq!(submit.lines, Some(PathBuf::from("x.jsonl")));
    }

    #[test]
    fn what_contradicts_itself_or_is_incomplete_is_refused() {
        for line in [
            &["submit"][..],
            &["submit", "--on", "a"],
            &["submit", "--file", "f", "--on", "a", "get k"],
            &["submit", "--lines", "f", "--id", "t"],
            &["submit", "--on", "a", "get k", "--id", ""],
            &["status"],
            &["status", "0xabc"],
            &["list", "--open", "--ended"],
            &["list", "--older-than", "5"],
            &["list", "--limit", "0"],
            &["resolve", "t", "commit", "--participant", "http://a:1", "--who", "me"],
            &["resolve", "t", "commit", "--participant", "http://a:1", "--who", "me", "--reason", " "],
            &["forget", "t"],
            &["forget", "t", "--who", "me", "--reason", "r", "--participant", "http://a:1"],
            &["--timeout", "soon", "describe"],
            &["--timeout", "0s", "describe"],
            &["submit", "--lines", "f", "--callback", "http://a:1/"],
            &["submit", "--on", "a", "get k", "--in-flight", "3"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
        assert!(parse(&["forget", "t", "--participant", "http://a:1"]).is_ok());
        assert!(parse(&["resolve", "t", "abort", "--participant", "a:1", "--who", "me", "--reason", "r"]).is_ok());
    }

    #[test]
    fn the_help_of_submit_has_the_grammar_and_the_schema() {
        let mut command = Arguments::command();
        let submit = command.find_subcommand_mut("submit").unwrap();
        let help = submit.render_long_help().to_string();
        assert!(
            help.contains("ceiling=NUMBER") && help.contains("\"branches\"") && help.contains("\"line\": 3"),
            "{help}"
        );
    }
}
