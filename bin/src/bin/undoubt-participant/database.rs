//! A participant in front of a database: its run, and what its owner does with the database beside it.

use crate::settings::{KINDS, Resource, Settings};
use crate::{Frame, kind_of};
use anyhow::{Context as _, anyhow};
use std::path::PathBuf;
use std::sync::Arc;
use undoubt::process::{Failed, Failure, OrFailed as _, ServerArgs, figures_without_store};
use undoubt_participant::run;
use undoubt_platform::terminal::{say, unless_reader_left};

/// What is done with a participant's database, by its configuration.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Tells what the database lacks, each with the line to change. Changes nothing.
    Check(Of),
    /// Makes the schema `undoubt` in the database, in which the participant keeps what it has to know.
    Init {
        #[command(flatten)]
        of: Of,
        /// Show the statements, and run none.
        #[arg(long)]
        show: bool,
        /// The participant's role, where another one makes the schema: it is granted what it needs.
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
    },
    /// Removes the schema `undoubt`. Refused while the participant runs, or anything is in doubt.
    Remove(Of),
    /// Lists all that is prepared in the database, by whomever, the oldest first.
    Prepared(Of),
}

/// The participant whose database it is.
#[derive(Debug, clap::Args)]
pub struct Of {
    /// The participant's settings, as TOML.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Any setting by its name; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = undoubt::settings::parse_assignment)]
    set: Vec<undoubt::settings::Given>,
    /// The form of what is told.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Command {
    pub async fn carry_out(self) -> Result<(), Failed> {
        let of = match &self {
            Command::Check(of) | Command::Init { of, .. } | Command::Remove(of) | Command::Prepared(of) => of,
        };
        let args = ServerArgs::of_file(of.config.clone(), of.set.clone());
        let settings = Settings::read(&args).or_failed(Failure::Configuration)?;
        match settings.resource {
            Resource::KeyValue => {
                let databases: Vec<&str> = KINDS.iter().copied().filter(|kind| *kind != "kv").collect();
                let error = anyhow!(
                    "this participant guards a key-value store, which needs none of that; databases are {}: set resource.kind",
                    databases.join(", ")
                );
                Err(Failed::new(Failure::Configuration, error))
            }
            #[cfg(feature = "postgresql")]
            Resource::PostgreSql { settings, procedures } => postgresql::carry_out(self, &settings, &procedures).await,
        }
    }
}

fn tell(text: &str) -> Result<(), Failed> {
    unless_reader_left(say(text)).context("cannot write to the standard output").or_failed(Failure::Other)
}

#[cfg(feature = "postgresql")]
pub use postgresql::serve as serve_postgresql;

#[cfg(feature = "postgresql")]
mod postgresql {
    use super::{Arc, Command, Failed, Failure, Frame, Of, Output, figures_without_store, kind_of, run, tell};
    use anyhow::anyhow;
    use serde_json::json;
    use undoubt::process::OrFailed as _;
    use undoubt_postgresql::{Lack, PostgreSql, Prepared, Settings, check, init, init_sql, list, remove};
    use undoubt_sql::Procedures;

    /// Serves until it is asked to end. A database that is away is waited for.
    pub async fn serve(frame: &Frame, settings: &Settings, procedures: Procedures) -> Result<(), Failed> {
        let config = frame.config.clone();
        let name = config.name.parse().or_failed(Failure::Configuration)?;
        let resource = PostgreSql::new(settings, &name, procedures).or_failed(Failure::Configuration)?;
        let environment = frame.environment(figures_without_store(&frame.board)).await?;
        let ended = run(config, Arc::new(resource), environment, frame.shutdown.clone().asked()).await;
        ended.map_err(|error| Failed::new(kind_of(&error), error))
    }

    pub async fn carry_out(command: Command, settings: &Settings, procedures: &Procedures) -> Result<(), Failed> {
        match command {
            Command::Check(of) => tell_lacks(&of, &check(settings, procedures).await),
            Command::Init { show: true, role, of: _ } => tell(init_sql(role.as_deref()).trim_end()),
            Command::Init { of, role, show: false } => {
                init(settings, role.as_deref()).await.or_failed(Failure::Other)?;
                done(&of, "made", "the schema undoubt is made; start the participant")
            }
            Command::Remove(of) => {
                remove(settings).await.or_failed(Failure::Other)?;
                done(&of, "removed", "the schema undoubt is removed")
            }
            Command::Prepared(of) => tell_prepared(&of, &list(settings).await.or_failed(Failure::Other)?),
        }
    }

    fn done(of: &Of, what: &str, sentence: &str) -> Result<(), Failed> {
        match of.output {
            Output::Text => tell(sentence),
            Output::Json => tell(&json!({ "schema": what }).to_string()),
        }
    }

    fn tell_lacks(of: &Of, lacks: &[Lack]) -> Result<(), Failed> {
        let needed = lacks.iter().filter(|lack| lack.is_needed).count();
        match of.output {
            Output::Json => {
                let lack = |lack: &Lack| json!({ "what": lack.what, "change": lack.change, "needed": lack.is_needed });
                tell(&json!({ "lacks": lacks.iter().map(lack).collect::<Vec<_>>() }).to_string())?;
            }
            Output::Text if lacks.is_empty() => tell("the database has all that the participant needs")?,
            Output::Text => {
                for Lack { what, change, is_needed } in lacks {
                    tell(&format!("{}: {what}\n    {change}", if *is_needed { "needed" } else { "advised" }))?;
                }
            }
        }
        if needed == 0 {
            return Ok(());
        }
        let things = if needed == 1 { "thing that" } else { "things that" };
        let error = anyhow!("the database lacks {needed} {things} the participant needs; see above what to change");
        Err(Failed::new(Failure::Configuration, error))
    }

    fn tell_prepared(of: &Of, prepared: &[Prepared]) -> Result<(), Failed> {
        if of.output == Output::Json {
            let one = |one: &Prepared| {
                json!({
                    "gid": one.gid,
                    "ours": one.ours,
                    "transaction": one.name.as_ref().map(|name| name.tx.to_string()),
                    "age_ms": u64::try_from(one.age.as_millis()).unwrap_or(u64::MAX),
                    "owner": one.owner,
                    "tables": one.tables,
                })
            };
            return tell(&json!({ "prepared": prepared.iter().map(one).collect::<Vec<_>>() }).to_string());
        }
        if prepared.is_empty() {
            return tell("nothing is prepared in this database");
        }
        for Prepared { gid, name, ours, age, owner, tables } in prepared {
            let whose = match (ours, name) {
                (true, Some(name)) => format!("transaction {}", name.tx),
                (false, Some(name)) => format!("another participant's, transaction {}", name.tx),
                (_, None) => format!("somebody else's, {gid:?}"),
            };
            let tables = if tables.is_empty() { "no table".to_owned() } else { tables.join(", ") };
            tell(&format!("{whose}: for {:.1} s, by role {owner}, locks in {tables}", age.as_secs_f64()))?;
        }
        Ok(())
    }
}
