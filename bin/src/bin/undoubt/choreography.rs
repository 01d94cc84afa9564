//! `undoubt choreography`: what participants declare of their events, checked, drawn, or made of a saga.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::output::{Format, json_line, line, table};
use crate::show::verdict;
use crate::submit;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use undoubt::declared::{NotRead, read_declarations};
use undoubt_client::{RetryPolicy, Step, Submission, Work};
use undoubt_gateway::document::duration;
use undoubt_stream::choreography::draw::{Language, draw};
use undoubt_stream::choreography::from_saga::{Backward, SagaStep, Terms, from_saga};
use undoubt_stream::choreography::{Choreography, Coupling, Finding, Node, Weight};
use undoubt_stream::declarations::{Declarations, SCHEMA};
use undoubt_stream::template::PLACES;
use undoubt_vocabulary::ParticipantName;

const EXIT_CODES: &str = "Exit codes: 0 there are no faults, 1 there are; hints are none.";

#[derive(Debug, Subcommand)]
pub enum Action {
    Check(Check),
    Draw(Draw),
    From(From),
}

/// Checks a choreography: finds events that nobody hears, reactions that nobody triggers, what a failure leaves in effect, circles.
#[derive(Debug, Args)]
#[command(
    after_help = EXIT_CODES,
    after_long_help = format!("What participants declare, in their settings:\n\n{SCHEMA}\n\nIn work and in events stand:\n{PLACES}\n\n{EXIT_CODES}"),
)]
pub struct Check {
    #[command(flatten)]
    files: Files,
}

/// Draws a choreography, as text for Mermaid or Graphviz.
#[derive(Debug, Args)]
pub struct Draw {
    /// The language of the picture.
    #[arg(long = "as", value_enum, default_value_t = As::Mermaid)]
    language: As,
    #[command(flatten)]
    files: Files,
}

/// Makes a choreography of a saga: what each participant has to declare so that events move the same work.
#[derive(Debug, Args)]
pub struct From {
    /// The saga, as `undoubt submit --file` takes it.
    #[arg(value_name = "FILE")]
    saga: PathBuf,
    /// The name of its topic at each participant, with which the types of its events begin. Default: that of the file.
    #[arg(long)]
    name: Option<String>,
    /// The way back: each step hears of the one behind it, or all hear of each refusal.
    #[arg(long, value_enum, default_value_t = Way::Chain)]
    backward: Way,
    /// The time after which it is undone if it has not ended. Not for a saga with a pivot.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expire: Option<Duration>,
    /// The folder in which to make a file PARTICIPANT.toml for each; without it they are printed.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Files {
    /// The settings of all participants. The name is what they say it is, or what is given.
    #[arg(value_name = "[NAME=]FILE", required = true)]
    files: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum As {
    Mermaid,
    Dot,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    Chain,
    Broadcast,
}

pub fn carry_out(action: Action, global: &Global) -> Result<Exit, Failure> {
    match action {
        Action::Check(Check { files }) => check(&files, global.output),
        Action::Draw(Draw { language, files }) => {
            let language = match language {
                As::Mermaid => Language::Mermaid,
                As::Dot => Language::Dot,
            };
            let picture = draw(&files.read()?, language);
            Exit::shown(match global.output {
                Format::Table => line(picture.trim_end()),
                Format::Json => json_line(&json!({ "picture": picture })),
            })
        }
        Action::From(from) => make(from, global.output),
    }
}

impl Files {
    fn read(&self) -> Result<Choreography, Failure> {
        let participants: Result<Vec<_>, Failure> = self.files.iter().map(|given| participant(given)).collect();
        Choreography::of(participants?).map_err(|why| Failure::new(Exit::Usage, why.to_string()))
    }
}

fn participant(given: &str) -> Result<(ParticipantName, Declarations), Failure> {
    let (name, path) = match given.split_once('=') {
        Some((name, path)) => (Some(name.to_owned()), path),
        None => (None, given),
    };
    let not_read = |why: NotRead| {
        let exit = match &why {
            NotRead::Unreadable { .. } => Exit::Usage,
            NotRead::Faulty { .. } => Exit::Refused,
        };
        Failure::new(exit, why.to_string())
    };
    let refused = |why: String| Failure::new(Exit::Refused, format!("{path}: {why}"));
    let (said, declarations) = read_declarations(Path::new(path)).map_err(not_read)?;
    let name = name.or(said).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            format!("{path} does not say whose it is; add name = \"…\", or give it as NAME={path}"),
        )
    })?;
    Ok((name.parse().map_err(|why| refused(format!("{why}")))?, declarations))
}

fn check(files: &Files, format: Format) -> Result<Exit, Failure> {
    let choreography = files.read()?;
    let (findings, couplings) = (choreography.check(), choreography.couplings());
    let of = |weight| findings.iter().filter(|finding| finding.weight() == weight).count();
    let (faults, hints) = (of(Weight::Fault), of(Weight::Hint));
    let printed = match format {
        Format::Json => json_line(&json!({
            "faults": faults,
            "hints": hints,
            "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
            "couplings": couplings.iter().map(|(name, coupling)| (name.to_string(), coupling_json(coupling))).collect::<BTreeMap<_, _>>(),
        })),
        Format::Table => {
            let told = findings.iter().map(|finding| told(finding) + "\n").collect::<String>();
            let rows = couplings.iter().map(coupling_row).collect();
            let who = table(["participant", "knows", "known by"], rows, "");
            line(format!("{told}{faults} faults, {hints} hints\n\n{who}"))
        }
    };
    Ok(verdict(faults == 0).told(printed))
}

fn told(finding: &Finding) -> String {
    let paths = finding.paths().into_iter().map(|path| format!("      {path}\n"));
    format!("{}  {}: {finding}\n{}", finding.weight().as_str(), finding.kind(), paths.collect::<String>())
}

fn finding_json(finding: &Finding) -> Value {
    let paths = finding.paths().into_iter().map(|path| path.0.iter().map(Node::to_string).collect::<Vec<_>>());
    json!({
        "weight": finding.weight().as_str(),
        "kind": finding.kind(),
        "message": finding.to_string(),
        "paths": paths.collect::<Vec<_>>(),
    })
}

fn coupling_json(Coupling { knows, known_by }: &Coupling) -> Value {
    let kinds = |kinds: &std::collections::BTreeSet<_>| kinds.iter().map(ToString::to_string).collect::<Vec<_>>();
    let knows = knows.iter().map(|(name, known)| (name.to_string(), kinds(known)));
    json!({
        "knows": knows.collect::<BTreeMap<_, _>>(),
        "known_by": known_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn coupling_row((name, Coupling { knows, known_by }): (&ParticipantName, &Coupling)) -> [String; 3] {
    let knows = knows.iter().map(|(other, kinds)| {
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        format!("{other}: {}", kinds.join(", "))
    });
    let known_by: Vec<String> = known_by.iter().map(ToString::to_string).collect();
    [name.to_string(), knows.collect::<Vec<_>>().join("; "), known_by.join(", ")]
}

fn make(from: From, format: Format) -> Result<Exit, Failure> {
    let refused = |why: String| Failure::new(Exit::Refused, format!("{}: {why}", from.saga.display()));
    let steps = match submit::from_file(&from.saga)? {
        Submission::Saga(saga) => saga.steps().iter().map(step).collect::<Vec<_>>(),
        Submission::Auto(auto) => auto.saga().steps().iter().map(step).collect(),
        Submission::Transaction(_) | _ => {
            return Err(refused("it has branches, and no steps that events could move; give a saga".to_owned()));
        }
    };
    let stem = || from.saga.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = from.name.or_else(stem).unwrap_or_default();
    let backward = match from.backward {
        Way::Chain => Backward::Chain,
        Way::Broadcast => Backward::Broadcast,
    };
    let files = from_saga(&steps, &Terms { name, backward, expire: from.expire });
    let files = files.map_err(|why| Failure::new(Exit::Refused, format!("{}: {why}", from.saga.display())))?;
    let files: BTreeMap<String, String> =
        files.into_iter().map(|(name, text)| (name.to_string(), format!("name = \"{name}\"\n\n{text}"))).collect();
    if let Some(folder) = &from.into {
        return written(folder, &files, format);
    }
    Exit::shown(match format {
        Format::Table => {
            let parts: Vec<String> = files.iter().map(|(name, text)| format!("# ---- {name}.toml\n{text}")).collect();
            line(parts.join("\n").trim_end())
        }
        Format::Json => json_line(&json!({ "participants": files })),
    })
}

fn written(folder: &Path, files: &BTreeMap<String, String>, format: Format) -> Result<Exit, Failure> {
    let failure = |path: &Path, error| Failure::new(Exit::Usage, format!("cannot write {}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| failure(folder, error))?;
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = folder.join(format!("{name}.toml"));
        // What somebody else wrote stays.
        let file = fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        file.map_err(|error| failure(&path, error))?;
        paths.push(path.display().to_string());
    }
    Exit::shown(match format {
        Format::Table => line(paths.join("\n")),
        Format::Json => json_line(&json!({ "files": paths })),
    })
}

fn step(step: &Step) -> SagaStep {
    let attempts = step.retry_policy().max_attempts;
    SagaStep {
        name: step.name().to_owned(),
        participant: step.participant().to_owned(),
        action: step.action().texts(),
        compensation: step.compensation().map(Work::texts),
        after: step.comes_after().map(<[String]>::to_vec),
        pivot: step.is_pivot(),
        attempts: (attempts != RetryPolicy::default().max_attempts).then_some(attempts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: &str = r#"{"id": "trip-1", "mode": "saga", "steps": [
        {"name": "flight", "at": "airline", "do": ["add seats -1 floor=0"], "undo": ["add seats 1"]},
        {"name": "hotel", "at": "hotels", "do": ["put room/7 taken"], "undo": ["delete room/7"], "after": []},
        {"name": "pay", "at": "bank", "do": ["put seat value-from=flight.0"], "after": ["flight", "hotel"], "pivot": true},
        {"name": "tell", "at": "post", "do": ["put mail paid"], "attempts": 20}
    ]}"#;

    /// Writes the choreography of the trip, and returns the names of its files.
    fn trip(folder: &Path, backward: Way) -> Vec<String> {
        let saga = folder.join("trip.json");
        fs::write(&saga, TRIP).unwrap();
        let from = From { saga, name: None, backward, expire: None, into: Some(folder.join("made")) };
        assert_eq!(make(from, Format::Json).unwrap(), Exit::Done);
        let made = |name: &str| folder.join("made").join(format!("{name}.toml")).display().to_string();
        ["airline", "bank", "hotels", "post"].map(made).to_vec()
    }

    #[test]
    fn what_is_made_of_a_saga_has_no_faults_and_what_is_broken_has() {
        for backward in [Way::Chain, Way::Broadcast] {
            let folder = tempfile::tempdir().unwrap();
            let files = trip(folder.path(), backward);
            let check = || check(&Files { files: files.clone() }, Format::Json).unwrap();
            assert_eq!(check(), Exit::Done);
            let hotels = fs::read_to_string(&files[2]).unwrap();
            fs::write(&files[2], hotels.replace("trip.pay.refused", "trip.pay.failed")).unwrap();
            assert_eq!(check(), Exit::Unexpected);
        }
    }

    #[test]
    fn a_finding_tells_its_way_to_people_and_programs() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { files: trip(folder.path(), Way::Chain)[..3].to_vec() };
        let findings = files.read().unwrap().check();
        let faults: Vec<&Finding> = findings.iter().filter(|finding| finding.weight() == Weight::Fault).collect();
        let [fault] = &faults[..] else { panic!("{findings:#?}") };
        assert!(
            told(fault).starts_with("fault  unheard: nobody hears trip.pay.done (trip at bank)"),
            "{}",
            told(fault)
        );
        assert_eq!(finding_json(fault)["paths"][0].as_array().unwrap().len(), 7);
    }

    #[test]
    fn what_cannot_be_read_says_which_file_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        let read = |text: &str, given: &str| {
            fs::write(&path, text).unwrap();
            participant(&given.replace("FILE", &path.display().to_string())).map(|(name, _)| name.to_string())
        };
        assert_eq!(read("name = \"a\"", "FILE").unwrap(), "a");
        assert_eq!(read("name = \"a\"", "b=FILE").unwrap(), "b");
        let nameless = read("", "FILE").unwrap_err();
        assert!(nameless.exit == Exit::Usage && nameless.message.contains("add name ="), "{}", nameless.message);
        let faulty = read("name = \"a\"\n[[on]]\nname = \"x\"", "FILE").unwrap_err();
        assert!(faulty.exit == Exit::Refused && faulty.message.contains("missing field"), "{}", faulty.message);
        assert_eq!(participant("nowhere.toml").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn only_a_saga_has_steps_and_no_file_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        trip(folder.path(), Way::Chain);
        let saga = folder.path().join("trip.json");
        let again = |into| From { saga: saga.clone(), name: None, backward: Way::Chain, expire: None, into };
        assert_eq!(make(again(Some(folder.path().join("made"))), Format::Json).unwrap_err().exit, Exit::Usage);
        fs::write(&saga, r#"{"branches": {"a": ["get x"]}}"#).unwrap();
        assert_eq!(make(again(None), Format::Json).unwrap_err().exit, Exit::Refused);
    }
}
