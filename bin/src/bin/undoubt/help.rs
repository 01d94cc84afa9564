//! The commands in groups, as `undoubt --help` shows them.

use crate::args::Arguments;
use clap::builder::StyledStr;
use clap::{Command, CommandFactory as _};

/// The groups, and the commands of each in their order. A test holds it to the commands that there are.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Serve", &["serve", "gateway"]),
    ("Run transactions", &["submit", "begin", "join", "close", "wait", "cancel", "run"]),
    (
        "Look",
        &[
            "status",
            "history",
            "list",
            "watch",
            "events",
            "subscriptions",
            "top",
            "doubt",
            "describe",
            "participants",
            "participant",
            "branches",
            "audit",
            "choreography",
        ],
    ),
    (
        "Operate",
        &[
            "resolve-step",
            "forget",
            "resolve",
            "release-marks",
            "parked",
            "readers",
            "resume-subscription",
            "accept-loss",
            "recovery",
            "tokens",
            "certs",
            "drain",
        ],
    ),
    ("Try", &["demo", "demo-databases", "conformance", "torture", "restores"]),
    ("Help", &["completions", "help"]),
];

/// Returns the command line with its commands in groups.
pub fn command() -> Command {
    let mut command = Arguments::command();
    command.build();
    let groups = grouped(&command);
    Arguments::command().help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}\nOptions:\n{{options}}{{after-help}}"
    ))
}

fn grouped(command: &Command) -> String {
    let about = |name: &str| {
        let found = command.find_subcommand(name)?;
        found.get_about().map(StyledStr::to_string)
    };
    let width = GROUPS.iter().flat_map(|(_, names)| names.iter()).map(|name| name.len()).max().unwrap_or(0);
    let group = |(title, names): &(&str, &[&str])| {
        let lines = names.iter().map(|name| format!("  {name:<width$}  {}\n", about(name).unwrap_or_default()));
        format!("{title}:\n{}\n", lines.collect::<String>())
    };
    GROUPS.iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_stands_in_one_group_and_every_option_below() {
        let mut command = command();
        command.build();
        let there_are: BTreeSet<&str> = command.get_subcommands().map(Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), there_are);
        assert_eq!(grouped.len(), there_are.len(), "a command stands in two groups");
        let help = command.render_help().to_string();
        for shown in ["Operate:\n", "  doubt ", "--coordinator <URL>", "Exit codes"] {
            assert!(help.contains(shown), "{shown:?} is not in {help}");
        }
    }
}
