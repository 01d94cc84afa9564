//! `undoubt`: submits transactions and looks after them.
//!
//! One module for each thing it does; `args` is the command line, `exit` what it ends with, `json` what programs read.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

mod address_book;
mod args;
mod audit;
mod choreography;
mod conformance;
mod doubt;
mod events;
mod exit;
mod gateway;
mod help;
mod inspect;
mod lines;
mod misuse;
mod open_saga;
mod operate;
mod output;
mod readers;
mod restores;
mod run;
mod secrets;
mod serve;
mod show;
mod submit;
mod subscriptions;
mod top;

use address_book::AddressBook;
use args::{Arguments, Command, Global, ParticipantsAction, Program};
use clap::FromArgMatches as _;
use clap::parser::ValueSource;
use exit::{Exit, Failure};
use output::{Format, json_line};
use std::io;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use undoubt::process::{self, has_colours, log_fields, run_server};
use undoubt_client::{Client, ClientOptions, HeldFilter, HeldQuery, ParticipantClient};
use undoubt_platform::terminal::{complain, say};

fn main() -> ExitCode {
    match parse() {
        Ok(Arguments { program: Program::Serve(serve), .. }) => process::exit(run_server(serve.carry_out())),
        Ok(Arguments { global, program: Program::Gateway(serve) }) => {
            process::exit(run_server(serve.carry_out(global.credentials)))
        }
        Ok(Arguments { global, program: Program::Ask(command) }) => ask(command, &global).into(),
        Err(error) => misuse::end(&error, std::env::args_os()).into(),
    }
}

#[tokio::main]
async fn ask(command: Command, global: &Global) -> Exit {
    trace(global.verbose);
    match carry_out(command, global).await {
        Ok(exit) => exit,
        Err(failure) => {
            report(&failure, global.output);
            failure.exit
        }
    }
}

fn parse() -> Result<Arguments, clap::Error> {
    let matches = help::command().try_get_matches()?;
    let mut arguments = Arguments::from_arg_matches(&matches)?;
    if let Program::Gateway(serve) = &mut arguments.program {
        let source = matches.subcommand_matches("gateway").and_then(|gateway| gateway.value_source("coordinator"));
        serve.names_coordinators = source.is_some_and(|source| source != ValueSource::DefaultValue);
    }
    Ok(arguments)
}

async fn carry_out(command: Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::Submit(submit) => submit::submit(submit, global).await,
        Command::Begin(begin) => open_saga::begin(begin, global).await,
        Command::Join(join) => open_saga::join(join, global).await,
        Command::Close(close) => open_saga::close(close, global).await,
        Command::Status { tx } => inspect::status(&tx, global).await,
        Command::Wait { tx } => inspect::wait(&tx, global).await,
        Command::History { tx } => inspect::history(&tx, global).await,
        Command::List(list) => inspect::list(&list, global).await,
        Command::Watch { tx, after } => inspect::watch(tx, after, global).await,
        Command::Events(arguments) => events::events(&arguments, global).await,
        Command::Subscriptions(arguments) => subscriptions::subscriptions(&arguments, global).await,
        Command::Parked(arguments) => subscriptions::parked(&arguments, global).await,
        Command::Readers(arguments) => readers::readers(&arguments, global).await,
        Command::ResumeSubscription(arguments) => subscriptions::resume(&arguments, global).await,
        Command::Cancel { tx } => inspect::cancel(&tx, global).await,
        Command::Describe => operate::describe(global).await,
        Command::Participants { action: None } => operate::participants(global).await,
        Command::Participants { action: Some(ParticipantsAction::Pin(pin)) } => {
            operate::pin_coordinator(&pin, global).await
        }
        Command::Participants { action: Some(ParticipantsAction::Accept(accept)) } => {
            operate::accept_participant(&accept, global).await
        }
        Command::AcceptLoss(accept) => operate::accept_loss(&accept, global).await,
        Command::Participant { participant } => operate::participant(&participant, global).await,
        Command::Top(arguments) => top::top(arguments, global).await,
        Command::Audit(arguments) => audit::audit(&arguments, global).await,
        Command::Doubt(arguments) => doubt::doubt(&arguments, global).await,
        Command::Branches { participant, in_doubt, limit, after } => {
            let filter = if in_doubt { HeldFilter::InDoubt } else { HeldFilter::All };
            let mut query = HeldQuery::of(filter).limit(limit);
            query.after = after;
            operate::branches(&participant, &query, global).await
        }
        Command::Resolve(resolve) => operate::resolve(&resolve, global).await,
        Command::Forget(forget) => operate::forget(&forget, global).await,
        Command::ResolveStep(resolve) => operate::resolve_step(&resolve, global).await,
        Command::ReleaseMarks(release) => operate::release_marks(&release, global).await,
        Command::Recovery { action } => operate::recovery(action, global).await,
        Command::Choreography { action } => choreography::carry_out(action, global),
        Command::Demo { seed } => show::run_demo(seed, global).await,
        Command::DemoDatabases(args) => show::run_databases(&args, global).await,
        Command::Torture(torture) => show::run_torture(&torture, global).await,
        Command::Conformance(arguments) => conformance::check(*arguments, global).await,
        Command::Restores(restores) => restores::run_restores(&restores, global).await,
        Command::Tokens { action: args::TokensAction::New } => secrets::new_token(global),
        Command::Certs { action: args::CertsAction::Init(init) } => secrets::init_certificates(&init, global),
        Command::Drain => operate::drain(global).await,
        Command::Run(run) => run::run_load(&run, global).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut help::command(), "undoubt", &mut script);
            Exit::shown(say(String::from_utf8_lossy(&script).trim_end()))
        }
    }
}

impl Global {
    fn options(&self) -> ClientOptions {
        ClientOptions::default().deadline(self.timeout)
    }

    fn identified(&self) -> Result<ClientOptions, Failure> {
        Ok(self.credentials.give(self.options())?)
    }

    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect_lazy(&self.coordinator, self.identified()?)?)
    }

    /// Returns a client of the participant with this name or address.
    async fn participant_called(&self, participant: &str) -> Result<ParticipantClient, Failure> {
        self.participant(&AddressBook::address_of(participant, self).await?)
    }

    fn participant(&self, url: &str) -> Result<ParticipantClient, Failure> {
        Ok(ParticipantClient::connect_lazy(url, self.identified()?)?)
    }
}

fn trace(verbose: bool) {
    let filter = if verbose { EnvFilter::new("undoubt=debug,undoubt_client=debug") } else { EnvFilter::new("off") };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(has_colours());
    builder.log_internal_errors(false).fmt_fields(log_fields()).init();
}

fn report(failure: &Failure, format: Format) {
    complain(format_args!("error: {}", failure.message));
    if format == Format::Json {
        // If this cannot be written either, the exit code still says it.
        let _ = json_line(&serde_json::json!({ "error": failure.json() }));
    }
}
