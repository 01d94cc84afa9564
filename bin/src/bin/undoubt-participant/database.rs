//! A participant in front of a database: its run, and what its owner does with the database beside it.

use crate::settings::{KINDS, OF_THEIR_OWN, Resource, Settings};
use anyhow::{Context as _, anyhow};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use undoubt::process::{Failed, Failure, OrFailed as _, ServerArgs, figures_without_store};
use undoubt::servers::participant::{Frame, kind_of};
use undoubt_participant::resource::Branches;
use undoubt_participant::run;
use undoubt_platform::terminal::{say, unless_reader_left};
use undoubt_platform::{OsRandom, Random as _};
use undoubt_sql::Lack;
use undoubt_vocabulary::{Incarnation, ParticipantName};

/// A command on the database of a participant, which its configuration names.
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
            Resource::KeyValue | Resource::Http(_) => {
                let databases: Vec<&str> = KINDS.iter().copied().filter(|kind| !OF_THEIR_OWN.contains(kind)).collect();
                let error = anyhow!(
                    "this participant guards no database, and needs none of that; databases are {}: set resource.kind",
                    databases.join(", ")
                );
                Err(Failed::new(Failure::Configuration, error))
            }
            #[cfg(feature = "postgresql")]
            Resource::PostgreSql { settings, procedures } => {
                self.carry_out_at(postgresql::PostgreSql { settings, procedures }).await
            }
            #[cfg(feature = "mariadb")]
            Resource::MariaDb { settings, procedures } => {
                self.carry_out_at(mariadb::MariaDb { settings, procedures }).await
            }
        }
    }

    async fn carry_out_at(self, database: impl Database) -> Result<(), Failed> {
        match self {
            Command::Check(of) => tell_lacks(&of, &database.check().await),
            Command::Init { show: true, role, of: _ } => tell(database.init_sql(role.as_deref()).trim_end()),
            Command::Init { of, role, show: false } => {
                database.init(role.as_deref()).await.or_failed(Failure::Other)?;
                done(&of, "made", "the schema undoubt is made; start the participant")
            }
            Command::Remove(of) => {
                database.remove().await.or_failed(Failure::Other)?;
                done(&of, "removed", "the schema undoubt is removed")
            }
            Command::Prepared(of) => tell_prepared(&of, &database.prepared().await.or_failed(Failure::Other)?),
        }
    }
}

/// A database, as its owner looks after it.
trait Database {
    fn init_sql(&self, role: Option<&str>) -> String;
    async fn check(&self) -> Vec<Lack>;
    async fn init(&self, role: Option<&str>) -> anyhow::Result<()>;
    async fn remove(&self) -> anyhow::Result<()>;
    async fn prepared(&self) -> anyhow::Result<Vec<Prepared>>;
}

/// A transaction that is prepared in a database.
#[derive(serde::Serialize)]
struct Prepared {
    /// Its name in the database.
    name: String,
    /// True if this participant prepared it.
    ours: bool,
    /// The transaction's id, if this project named it.
    transaction: Option<String>,
    age_ms: Option<u64>,
    /// The role that prepared it, where the database tells.
    role: Option<String>,
    /// The tables that it keeps locks on, where the database tells.
    tables: Vec<String>,
}

/// Serves until it is asked to end. A database that is away is waited for.
pub async fn serve<R: Branches>(
    frame: &Frame,
    resource: impl FnOnce(&ParticipantName) -> anyhow::Result<R>,
) -> Result<(), Failed> {
    let config = frame.config.clone();
    let name = config.name.parse().or_failed(Failure::Configuration)?;
    let resource = resource(&name).or_failed(Failure::Configuration)?;
    let environment = frame.environment(figures_without_store(&frame.board)).await?;
    let ended = run(config, Arc::new(resource), environment, frame.shutdown.clone().asked()).await;
    ended.map_err(|error| Failed::new(kind_of(&error), error))
}

fn tell(text: &str) -> Result<(), Failed> {
    unless_reader_left(say(text)).context("cannot write to the standard output").or_failed(Failure::Other)
}

fn done(of: &Of, what: &str, sentence: &str) -> Result<(), Failed> {
    match of.output {
        Output::Text => tell(sentence),
        Output::Json => tell(&json!({ "schema": what }).to_string()),
    }
}

fn tell_lacks(of: &Of, lacks: &[Lack]) -> Result<(), Failed> {
    match of.output {
        Output::Json => tell(&json!({ "lacks": lacks }).to_string())?,
        Output::Text if lacks.is_empty() => tell("the database has all that the participant needs")?,
        Output::Text => {
            for Lack { what, change, is_needed } in lacks {
                tell(&format!("{}: {what}\n    {change}", if *is_needed { "needed" } else { "advised" }))?;
            }
        }
    }
    let needed = lacks.iter().filter(|lack| lack.is_needed).count();
    if needed == 0 {
        return Ok(());
    }
    let things = if needed == 1 { "thing that" } else { "things that" };
    let error = anyhow!("the database lacks {needed} {things} the participant needs; see above what to change");
    Err(Failed::new(Failure::Configuration, error))
}

fn tell_prepared(of: &Of, prepared: &[Prepared]) -> Result<(), Failed> {
    match of.output {
        Output::Json => return tell(&json!({ "prepared": prepared }).to_string()),
        Output::Text if prepared.is_empty() => return tell("nothing is prepared in this database"),
        Output::Text => {}
    }
    for Prepared { name, ours, transaction, age_ms, role, tables } in prepared {
        let mut line = match (ours, transaction) {
            (true, Some(transaction)) => format!("transaction {transaction}"),
            (false, Some(transaction)) => format!("another participant's, transaction {transaction}"),
            (_, None) => format!("somebody else's, {name:?}"),
        };
        line.extend(age_ms.map(|age_ms| format!(", for {:.1} s", Duration::from_millis(age_ms).as_secs_f64())));
        line.extend(role.iter().map(|role| format!(", by role {role}")));
        if !tables.is_empty() {
            line.push_str(&format!(", locks in {}", tables.join(", ")));
        }
        tell(&line)?;
    }
    Ok(())
}

#[cfg(any(feature = "postgresql", feature = "mariadb"))]
fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Draws what tells this start's events from those of any other.
#[cfg(any(feature = "postgresql", feature = "mariadb"))]
fn incarnation() -> Incarnation {
    let mut drawn = [0; 16];
    OsRandom::new().fill(&mut drawn);
    Incarnation(drawn)
}

#[cfg(feature = "postgresql")]
pub mod postgresql {
    use super::{Database, Prepared, incarnation, millis};
    use std::sync::Arc;
    use undoubt_platform::SystemClock;
    use undoubt_postgresql::{Settings, check, init, init_sql, list, remove};
    use undoubt_sql::{Lack, Procedures};
    use undoubt_stream::declarations::Declarations;
    use undoubt_vocabulary::ParticipantName;

    /// Returns the resource, which publishes if there are topics to publish to.
    pub fn open(
        settings: &Settings,
        name: &ParticipantName,
        procedures: Procedures,
        declarations: &Declarations,
    ) -> anyhow::Result<undoubt_postgresql::PostgreSql> {
        let resource = undoubt_postgresql::PostgreSql::new(settings, name, procedures)?;
        if declarations.topics.is_empty() {
            return Ok(resource);
        }
        Ok(resource.publishing(declarations, incarnation(), Arc::new(SystemClock))?)
    }

    pub struct PostgreSql {
        pub settings: Settings,
        pub procedures: Procedures,
    }

    impl Database for PostgreSql {
        fn init_sql(&self, role: Option<&str>) -> String {
            init_sql(role)
        }

        async fn check(&self) -> Vec<Lack> {
            check(&self.settings, &self.procedures).await
        }

        async fn init(&self, role: Option<&str>) -> anyhow::Result<()> {
            Ok(init(&self.settings, role).await?)
        }

        async fn remove(&self) -> anyhow::Result<()> {
            Ok(remove(&self.settings).await?)
        }

        async fn prepared(&self) -> anyhow::Result<Vec<Prepared>> {
            let listed = list(&self.settings).await?.into_iter();
            let prepared = listed.map(|one| Prepared {
                transaction: one.name.map(|name| name.tx.to_string()),
                name: one.gid,
                ours: one.ours,
                age_ms: Some(millis(one.age)),
                role: Some(one.owner),
                tables: one.tables,
            });
            Ok(prepared.collect())
        }
    }
}

#[cfg(feature = "mariadb")]
pub mod mariadb {
    use super::{Database, Prepared, incarnation, millis};
    use std::sync::Arc;
    use undoubt_mariadb::{Settings, check, init, init_sql, list, remove};
    use undoubt_platform::SystemClock;
    use undoubt_sql::{Lack, Procedures};
    use undoubt_stream::declarations::Declarations;
    use undoubt_vocabulary::ParticipantName;

    /// Returns the resource, which publishes if there are topics to publish to.
    pub fn open(
        settings: &Settings,
        name: &ParticipantName,
        procedures: Procedures,
        declarations: &Declarations,
    ) -> anyhow::Result<undoubt_mariadb::MariaDb> {
        let resource = undoubt_mariadb::MariaDb::new(settings, name, procedures)?;
        if declarations.topics.is_empty() {
            return Ok(resource);
        }
        Ok(resource.publishing(declarations, incarnation(), Arc::new(SystemClock))?)
    }

    pub struct MariaDb {
        pub settings: Settings,
        pub procedures: Procedures,
    }

    impl Database for MariaDb {
        fn init_sql(&self, role: Option<&str>) -> String {
            init_sql(role)
        }

        async fn check(&self) -> Vec<Lack> {
            check(&self.settings, &self.procedures).await
        }

        async fn init(&self, role: Option<&str>) -> anyhow::Result<()> {
            Ok(init(&self.settings, role).await?)
        }

        async fn remove(&self) -> anyhow::Result<()> {
            Ok(remove(&self.settings).await?)
        }

        async fn prepared(&self) -> anyhow::Result<Vec<Prepared>> {
            let listed = list(&self.settings).await?.into_iter();
            let prepared = listed.map(|one| Prepared {
                transaction: one.name.map(|name| name.tx.to_string()),
                name: one.xid,
                ours: one.ours,
                age_ms: one.age.map(millis),
                role: None,
                tables: Vec::new(),
            });
            Ok(prepared.collect())
        }
    }
}
