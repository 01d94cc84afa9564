//! The settings of a participant's process: the participant's own, and those of the resource that it guards.

use anyhow::{Context as _, bail};
use serde::Serialize;
use toml::{Table, Value};
use undoubt::process::{ServerArgs, StoreKind};
use undoubt::settings;
use undoubt_participant::Config;
use undoubt_stream::declarations::{Declarations, DeclaredTopic};

/// Tables that the resource reads.
const OF_THE_RESOURCE: [&str; 6] = ["resource", "procedure", "http", "topic", "begin", "on"];

/// All settings, as they are printed and compared when they are read again.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    #[serde(flatten)]
    pub participant: Config,
    /// The tables of the resource, if there are any.
    #[serde(flatten)]
    tables: Table,
    #[serde(skip)]
    pub resource: Resource,
    /// The topics that it publishes to, and its reactions to what others publish.
    #[serde(skip)]
    pub declarations: Declarations,
}

/// The resource that a participant guards.
#[derive(Clone, Debug)]
pub enum Resource {
    /// A key-value store in the data folder.
    KeyValue,
    /// Services that are called over HTTP.
    Http(undoubt_http::Settings),
    #[cfg(feature = "postgresql")]
    PostgreSql { settings: undoubt_postgresql::Settings, procedures: undoubt_sql::Procedures },
    #[cfg(feature = "mariadb")]
    MariaDb { settings: undoubt_mariadb::Settings, procedures: undoubt_sql::Procedures },
}

impl Settings {
    /// Reads all settings from where they are given, and checks them.
    pub fn read(args: &ServerArgs) -> anyhow::Result<Settings> {
        let file = args.config.as_deref();
        let (participant, tables): (Config, Table) =
            settings::effective_beside(file, "UNDOUBT_PARTICIPANT", &args.given(), &OF_THE_RESOURCE)?;
        participant.check().context("the configuration is not usable")?;
        StoreKind::chosen(&participant.store).context("the configuration is not usable")?;
        let text = file.map(std::fs::read_to_string).transpose().context("cannot read the configuration")?;
        let text = text.as_deref().unwrap_or_default();
        let resource = resource(&tables, text)?;
        let declarations = Declarations::read(text)?;
        check_declarations(&resource, &declarations)?;
        Ok(Settings { participant, tables, resource, declarations })
    }
}

/// Refuses declarations that this resource cannot carry out.
fn check_declarations(resource: &Resource, declarations: &Declarations) -> anyhow::Result<()> {
    match resource {
        Resource::KeyValue => match declarations.reactions.iter().find(|reaction| reaction.asks_services()) {
            Some(reaction) => bail!(
                "[[on]] {}: a reaction over a key-value store is one local transaction with its position, and a request is none; \
                 let a participant over HTTP services react (resource.kind = {:?})",
                reaction.name,
                undoubt_http::KIND
            ),
            None => Ok(()),
        },
        Resource::Http(_) => {
            for reaction in &declarations.reactions {
                if let Some(fault) = reaction.fault_over_http() {
                    bail!("[[on]] {}: {fault}", reaction.name);
                }
            }
            match declarations.topics.iter().find(|declared| declared.topic.sourced) {
                Some(DeclaredTopic { topic, .. }) => bail!(
                    "[[topic]] {}: entities with versions are of a participant over a key-value store; leave out sourced",
                    topic.name
                ),
                None => Ok(()),
            }
        }
        #[cfg(feature = "postgresql")]
        Resource::PostgreSql { .. } => Ok(()),
        #[cfg(feature = "mariadb")]
        Resource::MariaDb { .. } => Ok(()),
    }
}

impl Resource {
    /// Returns the settings of the services that it calls, if it does.
    pub fn services(&self) -> Option<&undoubt_http::Settings> {
        match self {
            Resource::Http(settings) => Some(settings),
            Resource::KeyValue => None,
            #[cfg(feature = "postgresql")]
            Resource::PostgreSql { .. } => None,
            #[cfg(feature = "mariadb")]
            Resource::MariaDb { .. } => None,
        }
    }
}

/// Returns the resource of these tables. `text`: the file that they come from, whose lines faults name.
fn resource(tables: &Table, text: &str) -> anyhow::Result<Resource> {
    let table = match tables.get("resource") {
        None => Table::new(),
        Some(Value::Table(table)) => table.clone(),
        Some(_) => bail!("resource is a table; write [resource] and, below it, kind = \"postgresql\""),
    };
    let kind = table.get("kind").map_or(Some("kv"), Value::as_str);
    let kind = kind.context("resource.kind is a text")?;
    if tables.contains_key("http") && kind != undoubt_http::KIND {
        bail!(
            "[http] is for a participant over HTTP services; set resource.kind to {:?}, or leave it out",
            undoubt_http::KIND
        );
    }
    match kind {
        undoubt_http::KIND => {
            refuse_tables_of_databases(&table, tables, "calls HTTP services, whose settings are in [http]")?;
            let table = tables.get("http").cloned().unwrap_or_else(|| Value::Table(Table::new()));
            let settings: undoubt_http::Settings = table.try_into().context("[http]")?;
            settings.check()?;
            Ok(Resource::Http(settings))
        }
        "kv" => {
            refuse_tables_of_databases(&table, tables, "guards a key-value store")?;
            Ok(Resource::KeyValue)
        }
        #[cfg(feature = "postgresql")]
        undoubt_postgresql::KIND => {
            let settings: undoubt_postgresql::Settings = Value::Table(table).try_into().context("[resource]")?;
            settings.check()?;
            let procedures = undoubt_sql::Procedures::read(text, undoubt_sql::Dialect::PostgreSql)?;
            Ok(Resource::PostgreSql { settings, procedures })
        }
        #[cfg(feature = "mariadb")]
        undoubt_mariadb::KIND => {
            let settings: undoubt_mariadb::Settings = Value::Table(table).try_into().context("[resource]")?;
            settings.check()?;
            let procedures = undoubt_sql::Procedures::read(text, undoubt_sql::Dialect::MariaDb)?;
            Ok(Resource::MariaDb { settings, procedures })
        }
        other => bail!("resource.kind is {other:?}; this build knows {}", KINDS.join(", ")),
    }
}

/// Refuses what only a participant in front of a database has.
fn refuse_tables_of_databases(resource: &Table, tables: &Table, does: &str) -> anyhow::Result<()> {
    let other = resource.keys().find(|key| *key != "kind").map(|key| format!("resource.{key}"));
    let procedure = tables.contains_key("procedure").then(|| "procedure".to_owned());
    match other.or(procedure) {
        Some(other) => {
            bail!("{other} is for a database, and this participant {does}; set resource.kind, or leave it out")
        }
        None => Ok(()),
    }
}

/// The kinds of resources that are no databases.
pub const OF_THEIR_OWN: [&str; 2] = ["kv", undoubt_http::KIND];

/// The kinds of resources that this build knows.
pub const KINDS: &[&str] = &[
    "kv",
    undoubt_http::KIND,
    #[cfg(feature = "postgresql")]
    undoubt_postgresql::KIND,
    #[cfg(feature = "mariadb")]
    undoubt_mariadb::KIND,
];
