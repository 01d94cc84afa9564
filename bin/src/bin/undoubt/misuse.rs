//! A command line that cannot be carried out, told in the form it asks for.

use crate::exit::Exit;
use crate::output::json_line;
use clap::error::ErrorKind;
use std::ffi::OsString;
use undoubt_platform::terminal::complain;

/// Tells what clap found, or shows the help that was asked for.
pub fn end(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> Exit {
    if !error.use_stderr() {
        return Exit::shown(error.print()).unwrap_or_else(|failure| {
            complain(format_args!("error: {}", failure.message));
            failure.exit
        });
    }
    // If neither can be written, the exit code still says it.
    let _ = error.print();
    if wants_json(arguments.map(|argument| argument.to_string_lossy().into_owned())) {
        let error = serde_json::json!({ "kind": Exit::Usage.kind(), "message": message(error) });
        let _ = json_line(&serde_json::json!({ "error": error }));
    }
    Exit::Usage
}

/// Returns what is wrong, without the general usage that follows it.
fn message(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given; `undoubt --help` lists them".to_owned();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = text.find("\n\nUsage:").or_else(|| text.find("\n\nFor more information")).unwrap_or(text.len());
    text[..end].trim().to_owned()
}

/// Returns true if `--output json` is among the arguments, though they could not be read.
fn wants_json(arguments: impl Iterator<Item = String>) -> bool {
    let mut arguments = arguments.skip(1).take_while(|argument| argument != "--");
    while let Some(argument) = arguments.next() {
        let Some(given) = output_in(&argument) else { continue };
        let value = if given.is_empty() { arguments.next().unwrap_or_default() } else { given.to_owned() };
        if value.strip_prefix('=').unwrap_or(&value) == "json" {
            return true;
        }
    }
    false
}

/// Returns what stands behind `--output`, or behind `-o` (which may share its dash with options that take no value).
fn output_in(argument: &str) -> Option<&str> {
    match argument.strip_prefix("--") {
        Some(long) => long.strip_prefix("output").filter(|rest| rest.is_empty() || rest.starts_with('=')),
        None => argument.strip_prefix('-')?.trim_start_matches(['v', 'y']).strip_prefix('o'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;
    use clap::Parser;

    fn json(line: &str) -> bool {
        wants_json(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn the_output_asked_for_is_found_in_a_line_that_cannot_be_read() {
        let wanted = [
            "u --bogus -o json",
            "u x --output=json",
            "u --output json --bogus",
            "u -ojson",
            "u -vo json",
            "u -o=json",
        ];
        assert!(wanted.iter().all(|line| json(line)), "{wanted:?}");
        let not = ["u", "u -o table", "u --outputs json", "u json", "u -- -o json", "u -o", "u --output=table json"];
        assert!(!not.iter().any(|line| json(line)), "{not:?}");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_usage() {
        let said = |line: &[&str]| message(&Arguments::try_parse_from(line).unwrap_err());
        assert_eq!(said(&["undoubt"]), "no command is given; `undoubt --help` lists them");
        let unknown = said(&["undoubt", "describe", "--bogus"]);
        assert!(unknown.contains("--bogus") && !unknown.contains("Usage") && !unknown.contains("error:"), "{unknown}");
        let wrong = said(&["undoubt", "status", "0xabc"]);
        assert!(wrong.contains("hexadecimal") && !wrong.contains("--help"), "{wrong}");
    }
}
