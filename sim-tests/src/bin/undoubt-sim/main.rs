//! `undoubt-sim`: how we know.
//!
//! Ends with 0 if all is sound, with 1 if something is broken, and with 2 if it was not used rightly.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

mod compare;
mod explore;
mod failure;
mod hash;
mod mutants;
mod output;
mod replay;
mod scenarios;
mod shrink;
mod source;
mod sweep;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use undoubt_platform::terminal::complain;

/// Proves it: explores what can happen to Undoubt's state machines, and simulates its servers under every fault.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follow every interleaving and every fault within a budget through small worlds.
    Explore(explore::Explore),
    /// Run many seeds, each a world with faults of its own, until one breaks a rule.
    Sweep(sweep::Sweep),
    /// Run one seed or plan again, and look at it.
    Replay(replay::Replay),
    /// Make a plan that breaks a rule as small as it can be.
    Shrink(shrink::Shrink),
    /// Run the named scenarios, one for each line of the fault catalogue.
    Scenarios(scenarios::Scenarios),
    /// See how many seeds it takes to find each planted bug.
    Mutants(mutants::Mutants),
    /// Set two-phase commit and sagas side by side under the same failures.
    Compare(compare::Compare),
    /// Print what identifies each seed's run: two runs of a seed have the same hash, or something leaked in.
    Hash(hash::Hash),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Explore(command) => return command.run(),
        Command::Sweep(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Shrink(command) => command.run(),
        Command::Scenarios(command) => command.run(),
        Command::Mutants(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Hash(command) => command.run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
